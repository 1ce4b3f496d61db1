"""SIGKILL of the tool while the old side closes its websockets one after the other: resume goes forward, rollback goes back, no
request is lost, and each websocket is open in the end."""
import re
import signal
import subprocess

import pytest

import recovery
from lib.load import Load
from lib.waiting import wait_for
from rig import Rig

SOCKETS = 40


@pytest.fixture(scope="module")
def rig():
    made = Rig(load=0)
    service = made.service
    node, stop = service.spec["runtime"]["command"], service.spec["stop"]["command"]
    service.change_spec({
        "runtime": {"command": node + ["--log-websockets", f"{service.dir}/ws-${{colour}}.log"]},
        "stop": {"websockets": {"spread": "4s", "command": [*stop[:3], "close-websockets", "${spread}"]}}})
    with made as r:
        front = f"ws://127.0.0.1:{service.front_port}/"
        with Load(service, 200, args=["--websockets", SOCKETS, "--ws-url", front]) as load:
            r.load = load
            wait_open(r)
            yield r
            account = load.stop()
        assert account["lost"] == 0 and account["websockets"]["open"] == SOCKETS, account["websockets"]
        assert account["websockets"]["refused"] == 0, account["websockets"]


def wait_open(rig):
    """All are open at the front, wherever."""
    wait_for(lambda: sum(websockets(rig, c) for c in ("green", "blue")) == SOCKETS, "all websockets", 30)


def websockets(rig, colour):
    words = {c["colour"]: c["traffic"] for c in rig.service.status()["colours"]}[colour]
    found = re.search(r"(\d+) websockets", words)
    return int(found[1]) if found else 0


def closings(rig, colour):
    path = rig.service.dir / f"ws-{colour}.log"
    return path.read_text().count("closing ") if path.exists() else 0


def end_inside(rig, number, *command):
    """The signal when some of them are closed and some are not. The exit status, and what was said."""
    old = rig.sides()[0]
    before = closings(rig, old)
    tool = subprocess.Popen(rig.service.argv(*command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True)
    try:
        wait_for(lambda: closings(rig, old) >= before + 5 or tool.poll() is not None, "some websockets to be closed", 60)
        tool.send_signal(number)
        said = tool.communicate(timeout=20)[1]
    finally:
        tool.kill()
        tool.wait()
    assert 5 <= closings(rig, old) - before < SOCKETS
    return tool.returncode, said


def ends(rig, what, end):
    source, target = rig.sides()
    sides = {"from": source, "to": target}
    live = sides[end.live]
    rig.settled(what, end.state, live, [sides[s] for s in end.running])
    wait_for(lambda: websockets(rig, live) == SOCKETS, f"{what}: all websockets at {live}", 30)


def clean(rig):
    rig.run("cleanup", "-y")


def test_killed_inside_and_resumed(rig):
    rig.prepare()
    assert end_inside(rig, signal.SIGKILL, "promote")[0] == -signal.SIGKILL
    source, target = rig.sides()
    rig.look("killed while websockets are closed", "promoting", target)
    assert rig.query("SELECT status FROM steps WHERE step='finish/websockets' ORDER BY rowid DESC LIMIT 1")
    said = rig.run("resume").stderr
    assert re.search(rf"websockets: {SOCKETS} stayed at {source} through the flip; {SOCKETS} closed one after the other.*, 0 by its stop$",
                     said, re.M), said
    ends(rig, "resumed", recovery.PROMOTED)
    clean(rig)


def test_asked_to_end_inside_and_resumed(rig):
    rig.prepare()
    status, said = end_inside(rig, signal.SIGINT, "promote")
    assert status == 3 and "asked to end while" in said and "changeover resume" in said, said
    rig.look("asked to end while websockets are closed", "promoting", rig.sides()[1])
    rig.run("resume")
    ends(rig, "resumed", recovery.PROMOTED)
    clean(rig)


def test_killed_inside_and_rolled_back(rig):
    rig.prepare()
    assert end_inside(rig, signal.SIGKILL, "promote")[0] == -signal.SIGKILL
    rig.run("rollback")
    ends(rig, "rolled back", recovery.ROLLED_BACK)
    clean(rig)


@pytest.mark.parametrize("way", ["resume", "rollback"])
@pytest.mark.parametrize("moment", recovery.MOMENTS)
def test_killed_at_each_boundary(rig, moment, way):
    rig.prepare()
    rig.kill_at(f"finish/websockets:{moment}", "promote")
    rig.look(f"killed at finish/websockets:{moment}", "promoting", rig.sides()[1])
    said = rig.run(way).stderr
    if way == "resume":
        assert f"{SOCKETS} closed one after the other" in said, said
    ends(rig, f"killed at {moment}, {way}", recovery.PROMOTED if way == "resume" else recovery.ROLLED_BACK)
    clean(rig)


def test_a_rollback_killed_inside_goes_on(rig):
    rig.prepare()
    rig.run("promote")
    wait_open(rig)
    source, target = rig.sides()
    before = closings(rig, target)
    tool = subprocess.Popen(rig.service.argv("rollback"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: closings(rig, target) >= before + 5 or tool.poll() is not None, "some websockets to be closed", 60)
    finally:
        tool.kill()
        tool.wait()
    rig.look("a rollback killed while websockets are closed", "rolling-back", source)
    rig.run("rollback")
    ends(rig, "rolled back at last", recovery.ROLLED_BACK)
    clean(rig)
