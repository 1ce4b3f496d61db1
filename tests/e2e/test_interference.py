"""The standby must not disturb live: what weighs it down until it is promoted, and what check says where that has no effect."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

from lib.loopdev import LoopDevice
from lib.service import Service
from lib.waiting import wait_for
from lib.weights import findings

READ_MB, THREADS, SECONDS = 48, 4, 1.5


@pytest.fixture(scope="module")
def disk():
    with LoopDevice() as d:
        yield d


@pytest.mark.parametrize("scheduler, standby, level, words", [
    ("bfq", {"io_weight": 20, "ionice": "idle"}, "ok", "(bfq) honours io_weight and ionice of the standby"),
    ("mq-deadline", {"ionice": "idle"}, "ok", "(mq-deadline) honours ionice of the standby"),
    ("mq-deadline", {"io_weight": 20}, "warning", "is 'mq-deadline', and io_weight of the standby has no effect with it"),
    ("none", {"ionice": "idle"}, "warning", "is 'none', and ionice of the standby has no effect with it"),
])
def test_check_knows_the_scheduler(tool, tmp_path, disk, scheduler, standby, level, words):
    disk.scheduler(scheduler)
    found = findings(tool, tmp_path, disk.path, standby)["io"]
    assert found["level"] == level and words in found["finding"] and disk.name in found["finding"], found
    if level == "warning":
        assert f"/sys/block/{disk.name}/queue/scheduler" in found["mend"] and "brake" in found["mend"], found


def test_check_says_nothing_where_nothing_is_asked_for(tool, tmp_path, disk):
    assert findings(tool, tmp_path, disk.path, {"nice": 5}) == {}


def test_memory_has_no_queue(tool, tmp_path):
    shm = pathlib.Path("/dev/shm")
    if not shm.is_dir() or "tmpfs" not in subprocess.run(["stat", "-f", "-c", "%T", shm], capture_output=True, text=True).stdout:
        pytest.skip("no tmpfs at /dev/shm")
    assert findings(tool, tmp_path, shm / "changeover-none", {"io_weight": 20}) == {}


READER = """
import mmap, os, random, sys, threading, time
open(sys.argv[2] + "/cgroup.procs", "w").write(str(os.getpid()))
counts = [0] * %d
def read(i):
    fd, buf = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 20)
    while time.monotonic() < end:
        os.preadv(fd, [buf], random.randrange(%d) << 20)
        counts[i] += 1
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + float(sys.argv[3])
threads = [threading.Thread(target=read, args=(i,)) for i in range(len(counts))]
[t.start() for t in threads], [t.join() for t in threads]
print(sum(counts))
""" % (THREADS, READ_MB)


def shares(disk, groups):
    """How much of the disk each group's reader gets while all of them want all of it."""
    readers = [subprocess.Popen([sys.executable, "-c", READER, disk.path / f"file-{i}", g, str(SECONDS)], text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE) for i, g in enumerate(groups)]
    try:
        for r in readers:
            assert r.stdout.readline() == "ready\n"
        for r in readers:
            r.stdin.write("go\n")
            r.stdin.flush()
        return [int(r.communicate(timeout=60)[0]) for r in readers]
    finally:
        for r in readers:
            if r.poll() is None:
                r.kill()
                r.communicate()


def test_a_standby_gets_less_until_it_is_promoted(disk):
    """cpu and io by real control groups; the io on a disk with bfq."""
    disk.scheduler("bfq")
    for i in range(2):
        (disk.path / f"file-{i}").write_bytes(bytes(READ_MB << 20))
    os.sync()
    with Service({"runtime": {"standby": {"cpu_weight": 50, "io_weight": 10}}}) as service:
        service.start()
        service.run("prepare", "-t", "2.0.0")
        runs = {c: json.loads(next((service.dir / "state").rglob(f"runtime/{c}/run.json")).read_text())
                for c in ("green", "blue")}
        groups = [runs[c].get("cgroup_io") for c in ("green", "blue")]
        if not all(groups) or not os.path.exists(f"{groups[0]}/blkio.bfq.weight"):
            pytest.skip("no control group weighs io for bfq here")
        cpu = pathlib.Path(runs["blue"]["cgroup_cpu"], "cpu.weight" if runs["blue"]["cgroup_cpu_v2"] else "cpu.shares")
        full = 100 if runs["blue"]["cgroup_cpu_v2"] else 1024
        assert int(cpu.read_text()) == full // 2
        weights = [int(pathlib.Path(g, "blkio.bfq.weight").read_text()) for g in groups]
        assert weights == [100, 10]
        live, standby = shares(disk, groups)
        print(f"io while standby: live {live}, standby {standby}")
        assert standby < 0.6 * live, (live, standby)

        service.run("promote", "--confirm-within", "10m")
        assert int(cpu.read_text()) == full
        old, new = shares(disk, groups)
        print(f"io when promoted: old {old}, new {new}")
        assert new > 0.6 * old, (old, new)

        done = service.run("rollback", "-y")
        assert "rollback/priority" in done.stderr, done.stderr
        service.run("cleanup", "-y")
        service.run("stop", "-y")
        wait_for(lambda: not any(os.path.exists(g) for g in groups), "the control groups to go")
