"""The cloner beside what everybody has: cp -a and rsync -a, a memcpy, and a bare look at every file. Called by
`make bench-clone`: some minutes, and up to 30 GB of disk for a while (CHANGEOVER_BENCH_DIR: where).

Runs that are compared alternate, on one file system, warm; a ratio is that of their medians. What a command leaves to be
written out is waited for between two runs, and is in the clone's own figure, which ends on disk."""
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import pytest

from lib.bench import SHORT, Figures, Machine
from lib.loopdev import LoopDevice
from lib.peak import Peak
from lib.service import TOOL, Service

MANY = 20_000 if SHORT else 400_000
SOME = 4_000 if SHORT else 40_000
LARGE = 10 if SHORT else 200
TMPFS_FILES = 26 if SHORT else 265      # of 64 KiB to 16 MiB: 2 GiB
ROUNDS = 1 if SHORT else 3
THREADS = len(os.sched_getaffinity(0))
DISK = os.environ.get("CHANGEOVER_BENCH_DIR", "/var/tmp")
SOURCE = pathlib.Path(__file__).with_name("trees.c")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    binary = tmp_path_factory.mktemp("trees") / "trees"
    subprocess.run(["cc", "-O2", "-pthread", "-o", binary, SOURCE], check=True)

    def run(*argv):
        return subprocess.run([binary, *map(str, argv)], check=True, stdout=subprocess.PIPE, text=True).stdout

    run.binary = binary
    return run


def wait_for_disk(path):
    subprocess.run(["sync", "-f", path], check=True)


def seconds(*argv, after=None):
    """(wall time, peak memory) of a command; after: a path whose file system is then waited for, too."""
    began = time.monotonic()
    done = Peak(argv)
    assert done.returncode == 0, argv
    if not after:
        return done.seconds, done.bytes
    wait_for_disk(after)
    return time.monotonic() - began, done.bytes


class Race:
    """Commands from SRC to a new directory each, in turn."""

    def __init__(self, src, place, keep=True):
        self.src, self.place, self.keep, self.n = src, place, keep, 0
        self.took, self.peak = {}, 0

    def run(self, name, *argv, synced=False):
        dst = self.place / f"{name.split()[0]}.{self.n}"
        self.n += 1
        wait_for_disk(self.place)
        took, peak = seconds(*[a if a is not None else dst for a in argv], after=dst if synced else None)
        self.took.setdefault(name, []).append(took)
        if argv[0] == TOOL:
            self.peak = max(self.peak, peak)
        if not self.keep:
            shutil.rmtree(dst)

    def ours(self, how):
        self.run("ours", TOOL, "clone", self.src, None, how, "-q")

    def cp(self, *more, name="cp", synced=False):
        self.run(name, "cp", "-a", *more, self.src, None, synced=synced)

    def rsync(self):
        self.run("rsync", "rsync", "-a", f"{self.src}/", None)

    def median(self, name):
        return statistics.median(self.took[name])

    def ratio(self, name):
        return self.median("ours") / self.median(name)

    def show(self, figures, title, bars):
        for name, bar in bars.items():
            figures.add(f"{title}: beside {name}", f"{self.ratio(name):.3f}: {self.median('ours'):.2f} s, {self.median(name):.2f} s "
                        f"({len(self.took[name])} pairs)", f"at most {bar}", self.ratio(name) <= bar)


def memory_for(gigabytes):
    """A folder in memory if there is that much of it, else None: then it is the disk."""
    with open("/proc/meminfo") as f:
        left = int(re.search(r"MemAvailable: +(\d+)", f.read())[1]) << 10
    return "/dev/shm" if left > gigabytes << 30 else None


def machine_line(figures, machine):
    busy, steal = machine.read()
    figures.add("machine meanwhile", f"load {os.getloadavg()[0]:.1f}, {busy:.0f} % busy, {steal:.1f} % stolen")


def xfs(megabytes, where):
    return LoopDevice(megabytes, "xfs", where)


# ---- reflink ----

def pause(text):
    """Of "green was paused for 37.3 ms", in seconds."""
    found = re.search(r"was paused for (?:(\d+) m )?([0-9.]+) (us|ms|s)\b", text)
    return int(found[1] or 0) * 60 + float(found[2]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[found[3]]


def second_pass(figures, trees, disk):
    """green's data is the tree; 1 % of it is written to right before the pause, by a command of the spec."""
    data = disk.path / "green"
    walks, pauses, ceiling = [], [], 10
    # a service that itself writes next to nothing: two slots a second
    with Service({"freeze": {"max": f"{ceiling}s"}}, versions=("1.0.0", "2.0.0"), slot_ms=500, slots=10, files=1, size="1K") as service:
        (service.dir / "green" / "small").mkdir(parents=True)
        dirty = [str(trees.binary), "dirty", str(data), str(MANY // 100)]
        service.change_spec({"volumes": {
            "data": {"driver": "reflink", "path": f"{disk.path}/${{colour}}"},
            "small": {"driver": "copy", "path": f"{service.dir}/${{colour}}/small", "before_snapshot": dirty}}})
        service.start()
        for _ in range(ROUNDS):
            walks += [float(trees("walk", data, THREADS)) for _ in range(2)]
            pauses.append(pause(service.run("prepare", "-t", "2.0.0", timeout=1200).stderr))
            walks += [float(trees("walk", data, THREADS)) for _ in range(2)]
            service.run("rollback")
            service.run("cleanup", "-y", timeout=600)
    bar = 1.3 * statistics.median(walks)
    figures.add(f"second pass, {MANY // 100:,} of {MANY:,} dirty", f"{statistics.median(pauses) * 1e3:.0f} ms of pause ("
                + ", ".join(f"{p * 1e3:.0f}" for p in pauses) + f"); a parallel statx walk {statistics.median(walks) * 1e3:.0f} ms",
                f"at most 1.3 of the walk: {bar * 1e3:.0f} ms", statistics.median(pauses) <= bar)
    figures.add("never over the ceiling", f"{max(pauses):.2f} s", f"at most {ceiling} s", max(pauses) <= ceiling, always=True)


def test_many_small_files(trees):
    """On a disk: they and what is written meanwhile are more than memory may hold."""
    with Figures(f"{MANY:,} files of 4 to 64 KiB, XFS on a loop device in {DISK}") as figures, xfs(30_000, DISK) as disk:
        machine = Machine()
        src = disk.path / "green"
        src.mkdir()
        trees("make", src, MANY, 4096, 65536)
        race = Race(src, disk.path)
        trees("walk", src, THREADS)     # warm for all of them
        for _ in range(ROUNDS):
            race.ours("--reflink")
            race.cp("--reflink=always")
        for _ in range(ROUNDS):
            race.cp("--reflink=always", name="cp, and on disk", synced=True)
        race.show(figures, "reflink", {"cp": 0.55})
        figures.add("the same beside cp and sync", f"{race.ratio('cp, and on disk'):.3f}: {race.median('cp, and on disk'):.2f} s")
        figures.add("our memory", f"{race.peak / 1e6:.1f} MB", "at most 64 MB", race.peak <= 64e6, always=True)
        second_pass(figures, trees, disk)
        machine_line(figures, machine)


@pytest.mark.parametrize("count, low, high, bar", [(SOME, 4096, 65536, 0.35), (LARGE, 10 << 20, 10 << 20, 0.1)], ids=["small", "large"])
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_beside_copies(trees, where, count, low, high, bar):
    folder = memory_for(14) if where == "memory" else DISK
    if not folder:
        pytest.skip("less than 14 GB of memory are free")
    size = f"{low >> 10} to {high >> 10} KiB" if low != high else f"{low >> 20} MiB"
    with Figures(f"{count:,} files of {size}, reflink on XFS on a loop device in {folder}") as figures, xfs(16_000, folder) as disk:
        machine = Machine()
        src = disk.path / "src"
        src.mkdir()
        trees("make", src, count, low, high)
        race = Race(src, disk.path, keep=False)
        for _ in range(ROUNDS):
            race.ours("--reflink")
            race.cp("--reflink=never")
            race.rsync()
        race.show(figures, "reflink", {"cp": bar, "rsync": bar})
        machine_line(figures, machine)


# ---- copy ----

def test_copy_to_tmpfs(trees):
    if not memory_for(8):
        pytest.skip("less than 8 GB of memory are free")
    work = pathlib.Path(tempfile.mkdtemp(prefix="changeover-bench-", dir="/dev/shm"))
    with Figures(f"copy to tmpfs, {TMPFS_FILES} files of 64 KiB to 16 MiB, {THREADS} threads") as figures:
        try:
            machine = Machine()
            src = work / "src"
            src.mkdir()
            trees("make", src, TMPFS_FILES, 65536, 16 << 20)
            size = sum(f.stat().st_size for f in src.rglob("*") if f.is_file())
            race = Race(src, work, keep=False)
            race.cp(name="not counted")     # the host may have to find the memory first
            for _ in range(2 * ROUNDS):
                race.ours("--copy")
                race.cp()
                race.rsync()
                race.took.setdefault("memcpy", []).append(float(trees("memcpy", src, work / "dst", THREADS)))
                shutil.rmtree(work / "dst")
            figures.add("size", f"{size / 2**30:.2f} GiB")
            race.show(figures, "copy", {"cp": 0.6, "rsync": 0.6, "memcpy": 1.3})
            figures.add("our memory", f"{race.peak / 1e6:.1f} MB", "under 64 MB", race.peak < 64e6, always=True)
            machine_line(figures, machine)
        finally:
            shutil.rmtree(work)
