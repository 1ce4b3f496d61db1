"""SIGKILL between two steps' boundaries: right after a state was committed, and in the middle of the long effects."""
import os
import pathlib
import signal
import subprocess
import threading

import pytest

import recovery
from lib import rpcnode
from lib.waiting import wait_for
from rig import Rig


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        yield r
        account = r.load.stop()
        assert account["lost"] == 0, account


def settled(rig, what, end):
    source, target = rig.sides()
    sides = {"from": source, "to": target}
    rig.settled(what, end.state, sides[end.live], [sides[s] for s in end.running])


def clean(rig, what):
    live = rig.service.live()
    rig.run("cleanup", "-y")
    rig.settled(what + ", cleaned up", "steady", live, [live])


def test_killed_right_after_each_state(rig):
    source, target = rig.sides()
    for state, command, live in [
            ("preparing", rig.prepare_args(), source),
            ("prepared", ("resume",), source),
            ("promoting", ("promote", "--confirm-within", "10m"), source),
            ("awaiting-confirm", ("resume",), target),
            ("promoting", ("confirm",), target),
            ("promoted", ("resume",), target),
            ("rolling-back", ("rollback",), target),
            ("rolled-back", ("resume",), source),
            ("cleaning", ("cleanup", "-y"), source),
            ("steady", ("resume",), source)]:
        rig.kill_at(f"state:{state}", *command)
        rig.look(f"killed at state:{state}", state, live)
    rig.settled("every state", "steady", source, [source])


@pytest.mark.parametrize("state", ["preparing", "promoting"])
def test_rolled_back_right_after_a_state(rig, state):
    if state == "promoting":
        rig.prepare()
    rig.kill_at(f"state:{state}", *(rig.prepare_args() if state == "preparing" else ("promote",)))
    rig.run("rollback")
    settled(rig, f"killed at state:{state}", recovery.ROLLED_BACK)
    clean(rig, f"killed at state:{state}")


def test_prepare_again_goes_on_with_the_version_it_was_killed_with(rig):
    args = rig.prepare_args()
    rig.kill_at("state:preparing", *args)
    rig.run(*args)
    settled(rig, "prepare again", recovery.PREPARED)
    assert {c["version"] for c in rig.service.status()["colours"]} > {args[-1]}
    rig.run("rollback")
    clean(rig, "prepare again")


def flip_by_hand(rig, colour):
    """As the README in the flag directory says."""
    (rig.service.flag_dir / f"active-{colour}").touch(0o644)
    for path in rig.service.flag_dir.glob("active-*"):
        if path.name != f"active-{colour}":
            path.unlink()


def test_killed_while_a_flip_by_hand_is_accepted(rig):
    """A claim that went ahead of the upgrade's state would let the next command stop, or destroy, who serves."""
    rig.prepare()
    source, target = rig.sides()
    flip_by_hand(rig, target)
    rig.kill_at("state:promoting", "adopt", "--live", target, "-y")
    rig.look("a flip by hand, killed", "promoting", target)
    rig.run("resume")
    settled(rig, "a flip by hand, resumed", recovery.PROMOTED)
    clean(rig, "a flip by hand")
    rig.prepare()
    rig.run("promote", "--confirm-within", "10m")
    source, target = rig.sides()
    flip_by_hand(rig, source)
    rig.kill_at("state:rolling-back", "adopt", "--live", source, "-y")
    rig.look("flags put back by hand, killed", "rolling-back", source)
    rig.run("rollback")
    settled(rig, "flags put back by hand", recovery.ROLLED_BACK)
    clean(rig, "flags put back by hand")


# --- in the middle of effects ----------------------------------------------------------------------

def frozen(rig, colour):
    """The processes of a colour's instance that stand still."""
    return [pid for pid, argv in rig.service.processes()
            if f"--identity {rig.service.dir}/{colour}.json" in argv and in_cgroup_freezer(pid)]


def in_cgroup_freezer(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        groups = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    if state == "T":
        return True
    for line in groups:
        _, kind, path = line.split(":", 2)
        for root in ("/sys/fs/cgroup/freezer", "/sys/fs/cgroup"):
            for name in ("freezer.state", "cgroup.events"):
                file = pathlib.Path(root + path) / name
                if file.exists() and ("FROZEN" in file.read_text() or "frozen 1" in file.read_text()):
                    return True
    return False


@pytest.mark.parametrize("way", ["resume", "rollback"])
@pytest.mark.parametrize("point", ["clone/entry", "clone:ahead", "clone:frozen", "files"])
def test_killed_in_mid_clone(rig, way, point):
    """The first entry that is ever cloned is a trial of the preflight, into a directory of its own."""
    source, target = rig.sides()
    if point == "files":
        some = rig.service.dir / target / "ledger"
        kill_in(rig, "prepare/clone", *rig.prepare_args(), ready=lambda: some.exists() and len(list(some.rglob("*"))) > 3)
    else:
        rig.kill_at(point, *rig.prepare_args())
    wait_for(lambda: not frozen(rig, source), "live to go on", 3)
    rig.look("killed in mid clone", "preparing", source)
    rig.run(way)
    settled(rig, f"killed in mid clone, {way}", getattr(recovery.row("prepare", ["prepare/clone"], "prepare/clone", "intended"), way))
    if way == "resume":
        rig.run("rollback")
    clean(rig, f"killed in mid clone, {way}")


def test_live_goes_on_when_whoever_held_its_freeze_is_killed_too(rig):
    """The tool stands still in the clone; then it and the helper that would thaw are killed at once."""
    source, target = rig.sides()
    marker, env = rig.fault("stop", "clone:frozen")
    tool = subprocess.Popen(rig.service.argv(*rig.prepare_args()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, env={**os.environ, **env})
    try:
        wait_for(marker.exists, "the clone", 20)
        holders = [pid for pid, _ in rig.service.processes() if name_of(pid) == "changeover-ice"]
        for pid in [*holders, tool.pid]:
            os.kill(pid, signal.SIGKILL)
    finally:
        tool.kill()
        tool.wait()
    marker.unlink()
    assert holders, "nobody held a freeze"
    wait_for(lambda: not frozen(rig, source), "the guard to thaw live", 4)
    rig.look("holder killed", "preparing", source)
    rig.run("resume")
    settled(rig, "holder killed, resumed", recovery.PREPARED)
    rig.run("rollback")
    clean(rig, "holder killed")


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def kill_in(rig, step, *command, ready=lambda: True):
    """SIGKILL as soon as the step has been intended and `ready`."""
    tool = subprocess.Popen(rig.service.argv(*command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    try:
        wait_for(lambda: tool.poll() is not None or
                 (rig.query("SELECT 1 FROM steps JOIN upgrades u ON upgrade=u.id WHERE u.ended IS NULL AND step=? AND status=1", step)
                  and ready()), f"{step} to be in work", 30, interval=0.003)
    finally:
        tool.kill()
        out, _ = tool.communicate()
    assert tool.returncode == -signal.SIGKILL, (step, tool.returncode, out)


@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_killed_in_mid_gate(rig, way):
    kill_in(rig, "prepare/gate", *rig.prepare_args())
    rig.run(way)
    settled(rig, f"killed in mid gate, {way}", getattr(recovery.row("prepare", ["prepare/gate"], "prepare/gate", "intended"), way))
    if way == "resume":
        rig.run("rollback")
    clean(rig, f"killed in mid gate, {way}")


@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_killed_in_mid_drain(rig, way):
    """A slow request keeps the old side in its drain; it is answered all the same."""
    rig.prepare()
    answer = []
    client = threading.Thread(target=lambda: answer.append(rpcnode.call(rig.service.front_port, "slow", 2500, timeout=20)))
    client.start()
    try:
        kill_in(rig, "finish/drain", "promote")
        rig.run(way)
    finally:
        client.join(30)
    assert answer and "result" in answer[0], answer
    settled(rig, f"killed in mid drain, {way}", recovery.PROMOTED if way == "resume" else recovery.ROLLED_BACK)
    clean(rig, f"killed in mid drain, {way}")


@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_killed_in_mid_stop(rig, way):
    """The stop command is at work already: a rollback waits for the end that it asked for, and starts the old side anew."""
    rig.prepare()
    source, target = rig.sides()
    before = rig.service.pid(source)
    kill_in(rig, "finish/stop", "promote",
            ready=lambda: any(" exit --force" in argv for _, argv in rig.census()["stranger"]))
    rig.run(way)
    settled(rig, f"killed in mid stop, {way}", recovery.PROMOTED if way == "resume" else recovery.ROLLED_BACK)
    if way == "rollback":
        assert rig.service.pid(source) != before
    clean(rig, f"killed in mid stop, {way}")
