"""The standby's weights in the control groups of version 2, alone and with bfq, as today's distributions have them: inside the VM
of tests/lab/run, whose first process hands no controller on."""
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

TOP = pathlib.Path("/sys/fs/cgroup")
SLOW = 600      # an emulated machine
READ_MB, THREADS, SECONDS = 24, 4, 3
pytestmark = pytest.mark.skipif(not (TOP / "cgroup.controllers").exists() or not os.path.exists("/usr/sbin/lab-init"),
                                reason="not the lab's VM: make test-lab runs this there")


@pytest.fixture
def controllers():
    """Handed on to the groups of the top, for one test."""
    (TOP / "cgroup.subtree_control").write_text("+cpu +io")
    yield
    try:
        (TOP / "cgroup.subtree_control").write_text("-cpu -io")
    except OSError:     # a test that failed has left groups; the machine ends with its tests
        pass


@pytest.fixture
def disk():
    subprocess.run(["modprobe", "loop"], check=True)
    subprocess.run(["modprobe", "bfq"], check=True)
    with LoopDevice(96) as d:
        yield d


class SlowService(Service):
    def run(self, *args, timeout=SLOW, **kw):
        return super().run(*args, timeout=timeout, **kw)


def test_check_says_that_no_group_weighs_anything(tool, tmp_path, disk):
    disk.scheduler("bfq")
    found = findings(tool, tmp_path, disk.path, {"cpu_weight": 20, "io_weight": 20}, timeout=SLOW)
    for topic, what in (("cpu", "cpu time"), ("io", "io")):
        assert found[topic]["level"] == "warning", found
        assert f"no control group here weighs {what}: runtime.standby.{topic}_weight has no effect" in found[topic]["finding"]
        assert f"echo +{topic} >{TOP}/cgroup.subtree_control" in found[topic]["mend"], found
    assert (TOP / "cgroup.subtree_control").read_text().split() == []       # that is not ours to change


def test_check_knows_the_scheduler_and_zfs(tool, tmp_path, disk, controllers):
    disk.scheduler("bfq")
    found = findings(tool, tmp_path, disk.path, {"cpu_weight": 20, "io_weight": 20}, timeout=SLOW)
    assert "cpu" not in found and found["io"]["level"] == "ok" and "(bfq) honours io_weight" in found["io"]["finding"], found
    disk.scheduler("none")
    found = findings(tool, tmp_path, disk.path, {"io_weight": 20}, timeout=SLOW)
    assert found["io"]["level"] == "warning" and "is 'none', and io_weight of the standby has no effect" in found["io"]["finding"]
    dataset = "tank/weights"
    subprocess.run(["zfs", "create", "-o", f"mountpoint={tmp_path}/zfs", dataset], check=True)
    try:
        found = findings(tool, tmp_path, tmp_path / "zfs", {"io_weight": 20}, timeout=SLOW)
        assert found["io"]["level"] == "warning" and "ZFS orders its io by itself" in found["io"]["finding"], found
    finally:
        subprocess.run(["zfs", "destroy", dataset], check=True)


def group_of(service, colour):
    run = json.loads(next((service.dir / "state").rglob(f"runtime/{colour}/run.json")).read_text())
    assert run["cgroup_cpu"] == run["cgroup_io"] == run["cgroup"] and run["cgroup_cpu_v2"], run
    return pathlib.Path(run["cgroup"])


def weights(group):
    """(cpu.weight, io.bfq.weight); the latter reads "default N" and what devices of their own have."""
    return int((group / "cpu.weight").read_text()), int((group / "io.bfq.weight").read_text().split("\n")[0].split()[-1])


SPIN = "import os, sys\nopen(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))\nprint('ready', flush=True)\nwhile True: pass\n"


def cpu_shares(groups):
    """What each group gets of the processors while both want all of them, by the kernel's own account."""
    def used():
        return [int((g / "cpu.stat").read_text().split()[1]) for g in groups]

    spinners = [subprocess.Popen([sys.executable, "-c", SPIN, g], stdout=subprocess.PIPE, text=True)
                for g in groups for _ in range(os.cpu_count())]
    try:
        for s in spinners:
            assert s.stdout.readline() == "ready\n"
        before = used()
        wait_for(lambda: sum(used()) - sum(before) > os.cpu_count() * SECONDS * 1000000, "cpu time", 120, 0.2)
        got = [a - b for a, b in zip(used(), before)]
        return [g / sum(got) for g in got]
    finally:
        for s in spinners:
            s.kill()
            s.communicate()


READ = """
import mmap, os, random, sys, threading, time
open(sys.argv[2] + "/cgroup.procs", "w").write(str(os.getpid()))
counts = [0] * %d
def read(i):
    fd, buf = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 20)
    while not over:
        os.preadv(fd, [buf], random.randrange(%d) << 20)
        counts[i] += 1
over = False
print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=read, args=(i,)) for i in range(len(counts))]
[t.start() for t in threads]
sys.stdin.readline()
print(sum(counts), flush=True)
over = True
[t.join() for t in threads]
""" % (THREADS, READ_MB)


def io_shares(disk, groups):
    readers = [subprocess.Popen([sys.executable, "-c", READ, disk.path / f"file-{i}", g], text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE) for i, g in enumerate(groups)]

    def tell_all():
        for r in readers:
            r.stdin.write("go\n")
            r.stdin.flush()

    def read_by_now():
        """Bytes, of both, by the groups' own account."""
        text = "".join((g / "io.stat").read_text() for g in groups)
        return sum(int(w.split("=")[1]) for w in text.split() if w.startswith("rbytes="))

    try:
        for r in readers:
            assert r.stdout.readline() == "ready\n"
        before = read_by_now()
        tell_all()
        wait_for(lambda: read_by_now() - before > 400 << 20, "reads", 120, 0.2)
        tell_all()
        got = [int(r.stdout.readline()) for r in readers]
        return [g / sum(got) for g in got]
    finally:
        for r in readers:
            r.kill()
            r.communicate()


def test_a_standby_is_weighed_down_until_it_is_promoted(disk, controllers):
    disk.scheduler("bfq")
    for i in range(2):
        (disk.path / f"file-{i}").write_bytes(bytes(READ_MB << 20))
    os.sync()
    with SlowService({"runtime": {"standby": {"cpu_weight": 10, "io_weight": 10}}, "gate": {"deadline": "5m"},
                      "space": {"floor": "100MB", "last_floor": "50MB"}}, files=5, size="64K") as service:
        service.start()
        service.run("prepare", "-t", "2.0.0")
        live, standby = group_of(service, "green"), group_of(service, "blue")
        assert (weights(live), weights(standby)) == ((100, 100), (10, 10))
        cpu, io = cpu_shares([live, standby]), io_shares(disk, [live, standby])
        print(f"live and its standby: cpu {cpu[0]:.2f} {cpu[1]:.2f}, io {io[0]:.2f} {io[1]:.2f}")
        # 10 to 100: a share of 1 in 11 at most, if both want all of it all the time
        assert cpu[1] < 0.25 and io[1] < 0.35, (cpu, io)

        service.run("promote", "--confirm-within", "10m")
        assert (weights(live), weights(standby)) == ((100, 100), (100, 100))
        cpu, io = cpu_shares([live, standby]), io_shares(disk, [live, standby])
        print(f"once it is promoted: cpu {cpu[0]:.2f} {cpu[1]:.2f}, io {io[0]:.2f} {io[1]:.2f}")
        assert cpu[1] > 0.35 and io[1] > 0.35, (cpu, io)

        service.run("rollback", "-y")
        service.run("cleanup", "-y")
        service.run("stop", "-y")
        wait_for(lambda: not live.exists() and not standby.exists(), "the groups to go")
