"""The cluster of tests/cluster itself: however it ends, nothing of it is left."""
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from lib import kubernetes
from lib.waiting import wait_for

SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys")


def machine(directory):
    """What that cluster could leave behind, but for processes; others may be at work beside it."""
    mounts = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    ours = sorted(m for m in mounts if m.startswith((str(directory), "/run", "/var/", "/proc/sys/", "/etc/")))
    links = sorted(line.split(": ")[1] for line in kubernetes.run("ip", "-o", "link").splitlines()
                   if ": veth" not in line)  # those of the first cluster's pods come and go
    group = "changeover-test-" + hashlib.sha256(str(directory).encode()).hexdigest()[:8]
    groups = sorted(str(d) for d in pathlib.Path("/sys/fs/cgroup").glob(f"**/{group}"))
    return ours, links, groups, [pathlib.Path("/proc/sys", s).read_text() for s in SYSCTLS]


def in_namespace(pidns):
    found = []
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(p / "ns/pid") == pidns:
                found.append(p.name)
        except OSError:
            pass
    return found


@pytest.fixture
def second(own, tmp_path_factory):
    """The environment of another cluster beside the one that the tests run on, and its `cluster` command."""
    work = pathlib.Path(subprocess.check_output(["mktemp", "-d", "/var/tmp/changeover-cluster.XXXXXX"], text=True).strip())

    class Second:
        dir, env = work, {**os.environ, "CLUSTER_DIR": str(work)}

        def do(self, *args, **kw):
            return subprocess.run([kubernetes.HERE / "cluster", *args], env=self.env, capture_output=True, text=True,
                                  timeout=240, stdin=subprocess.DEVNULL, **kw)

    s = Second()
    yield s
    s.do("down", "wipe")
    shutil.rmtree(work)


def test_killed_or_taken_down_it_leaves_nothing(second):
    before = machine(second.dir)
    up = second.do("up")
    assert up.returncode == 0, up.stderr
    assert second.do("up").returncode == 1  # it runs already
    outer = int((second.dir / "run/outer").read_text().split()[0])
    init = (second.dir / "run/init").read_text().split()[0]
    pidns = os.readlink(f"/proc/{init}/ns/pid")
    assert len(in_namespace(pidns)) > 6 and machine(second.dir) != before  # there is something to be left
    os.kill(outer, signal.SIGKILL)
    wait_for(lambda: not in_namespace(pidns), "every process of it is gone", timeout=20)
    assert second.do("kubectl", "get", "nodes").returncode == 1
    assert second.do("down").returncode == 0
    assert machine(second.dir) == before
    up = second.do("up")  # with the state that the killed one left
    assert up.returncode == 0, up.stderr
    pidns = os.readlink(f"/proc/{(second.dir / 'run/init').read_text().split()[0]}/ns/pid")
    assert second.do("down", "wipe").returncode == 0
    assert in_namespace(pidns) == [] and machine(second.dir) == before
    assert list(second.dir.iterdir()) == []


def test_a_start_that_fails_leaves_nothing(second, tmp_path):
    before = machine(second.dir)
    programs = tmp_path / "bin"
    programs.mkdir()
    for p in pathlib.Path(os.environ["KUBE_BIN"]).iterdir():
        (programs / p.name).symlink_to(p)
    (programs / "kubelet").unlink()
    (programs / "kubelet").write_text("#!/bin/sh\necho this kubelet does not like it here >&2\nexit 7\n")
    (programs / "kubelet").chmod(0o755)
    second.env["KUBE_BIN"] = str(programs)
    up = second.do("up")
    assert up.returncode == 1
    assert "kubelet ended with status 7" in up.stderr and "does not like it here" in up.stderr
    assert machine(second.dir) == before and not (second.dir / "run").exists()


@pytest.mark.parametrize("env, words", [
    ({"CLUSTER_DIR": "/run/cluster"}, "hidden inside of the cluster"),
    ({"CLUSTER_DIR": "/var/tmp/" + "x" * 80}, "too long for the path of a socket"),
    ({"CLUSTER_DIR": "/var/tmp/a b"}, "only letters, digits"),
    ({"KUBE_BIN": "/nonexistent"}, "no kubelet in /nonexistent"),
    ({"PARTS": "/nonexistent"}, "no containerd in /nonexistent"),
])
def test_what_cannot_be_is_said(second, env, words):
    second.env.update(env)
    up = second.do("up")
    assert up.returncode == 1 and words in up.stderr
