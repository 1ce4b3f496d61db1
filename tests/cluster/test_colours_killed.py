"""The tool is killed at each step, and the API server goes away: what is left is a state that resume leads on from, and a
healthy colour answers all the while."""
import itertools
import signal
import sqlite3
import subprocess

import pytest

from lib import kubernetes
from lib.colours import Colours
from lib.kubernetes import account
from lib.load import Load
from lib.waiting import wait_for

INSIDE = {"prepare": ["runtime/start:committed"], "promote": ["runtime/stop:scaled", "runtime/stop:gone"],
          "rollback": ["runtime/start:committed", "runtime/stop:scaled"], "cleanup": []}
PHASES = {"prepare": ["prepare"], "promote": ["promote", "finish"], "rollback": ["rollback"], "cleanup": ["cleanup"]}
WHOSE = {"prepare": ("prepared", "green"), "promote": ("promoted", "blue"), "rollback": ("rolled-back", "green"),
         "cleanup": ("steady", "green")}
COMMANDS = {"prepare": ("prepare", "-t", "2.0.0"), "promote": ("promote",), "rollback": ("rollback", "-y"),
            "cleanup": ("cleanup", "-y")}
PROBE = {"body": '{"jsonrpc":"2.0","id":1,"method":"getSlot"}', "rate": 200, "baseline": "500ms", "timeout": "15s",
         "limits": {"max_lost": 0, "p99_ratio": 1000000, "p99_floor_ms": 600000, "max_gap_ms": 600000}}


@pytest.fixture
def service(own, ns, tool, tmp_path):
    config = account(own, ns, tool, tmp_path / "config")
    with Colours(own, ns, config, spec={"probe": PROBE, "bake": "500ms"}, files=10, size="64K") as s:
        yield s.start()
    own.kubectl("delete", "clusterrole,clusterrolebinding", f"changeover-{ns}", "--ignore-not-found")


def query(service, sql):
    db = sqlite3.connect(f"file:{service.dir}/state/{service.name}/journal.db?mode=ro", uri=True, timeout=10)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def settled(service, command, what):
    """As the command would have left it."""
    state, live = WHOSE[command]
    status = service.status()
    assert status["state"] == state and status["live"] == live and not status["contradiction"], (what, status)
    assert service.identity() == live, what
    running = {"green", "blue"} if command == "prepare" else {live}
    for colour in ("green", "blue"):
        pods = service.pods(colour)
        assert len(pods) == (colour in running), (what, colour, [p["metadata"]["name"] for p in pods])
    assert (service.deployment("blue") is None) == (command == "cleanup"), what
    left = [p["metadata"]["name"] for p in service.pods() if p["metadata"]["name"].startswith("changeover-check")]
    assert not left, (what, left)


def ready(service):
    """An API server that has just started answers 403 until it has read the roles."""
    wait_for(lambda: subprocess.run([kubernetes.HERE / "cluster", "kubectl", "get", "--raw", "/readyz"],
                                    capture_output=True).returncode == 0, "the API server", timeout=60)


def points(service):
    """Where to kill each command, by a run of all of them."""
    found = {}
    for command, phases in PHASES.items():
        service.run(*COMMANDS[command])
        steps = [step for phase in phases for step, in query(
            service, f"SELECT step FROM steps WHERE step LIKE '{phase}/%' ORDER BY rowid")]
        found[command] = INSIDE[command] + [f"{s}:{m}" for s in steps for m in ("intended", "applied")
                                            if m == "applied" or s.rpartition("/")[2] in ("start", "stop", "remove")]
    return found


def test_the_tool_killed_at_each_step(service):
    todo = points(service)
    assert "prepare/start:applied" in todo["prepare"] and "finish/stop:applied" in todo["promote"]
    assert "cleanup/remove:applied" in todo["cleanup"] and "rollback/start:intended" in todo["rollback"]
    with Load(service, 100) as load:
        for n, row in enumerate(itertools.zip_longest(*todo.values())):
            for command, point in zip(todo, row):
                what = f"{command} killed at {point}"
                if point is None:
                    service.run(*COMMANDS[command])
                    continue
                marker = service.dir / f"fault-{n}-{command}"
                done = service.run(*COMMANDS[command], expect=None, env={"CHANGEOVER_FAULT": f"kill@{point}@{marker}"})
                assert marker.exists() and done.returncode == -signal.SIGKILL, f"{what}: {done.returncode}\n{done.stderr}"
                load.check(what)
                service.run("resume", "-y")
                settled(service, command, what)
                load.check(f"{what}, and resumed")


@pytest.mark.parametrize("command, point", [
    ("prepare", "prepare/validate:applied"), ("prepare", "runtime/start:committed"), ("prepare", "prepare/start:applied"),
    ("promote", "promote/flip:applied"), ("promote", "runtime/stop:scaled"), ("promote", "finish/stop:applied")])
def test_the_way_back_from_a_kill(service, command, point):
    if command == "promote":
        service.run("prepare", "-t", "2.0.0")
    with Load(service, 100) as load:
        marker = service.dir / "fault"
        service.run(*COMMANDS[command], expect=-signal.SIGKILL, env={"CHANGEOVER_FAULT": f"kill@{point}@{marker}"})
        load.check(f"killed at {point}")
        service.run("rollback", "-y")
        status = service.status()
        assert (status["state"], status["live"], service.identity()) == ("rolled-back", "green", "green")
        assert len(service.pods("green")) == 1 and not service.pods("blue")
        service.run("cleanup", "-y")
        settled(service, "cleanup", point)
        load.check(f"killed at {point}, and back")


def test_the_api_server_is_killed(service):
    """status goes on without it, and says so; with it back, so does the upgrade."""
    service.run("prepare", "-t", "2.0.0")
    service.cluster.do("server", "kill")
    try:
        status = service.status()
        assert status["state"] == "prepared" and service.identity() == "green"
        assert all(c["instance"].startswith("unknown") for c in status["colours"]), status["colours"]
    finally:
        service.cluster.do("server", "start")
    ready(service)
    service.run("promote")
    settled(service, "promote", "after the API server was killed")


@pytest.mark.parametrize("command, step, how", [
    ("promote", "promote/flip", "stop"), ("promote", "promote/bake", "stop"), ("promote", "finish/stop", "stop"),
    ("promote", "finish/stop", "kill"), ("rollback", "rollback/start", "stop")])
def test_the_api_server_is_away_for_20_s(service, command, step, how):
    """In mid-command: it waits, and goes on. A server that was killed has forgotten everybody's rights for a moment when it
    comes back: what ends by that has ended in a state that resume leads on from."""
    service.run("prepare", "-t", "2.0.0")
    if command == "rollback":
        service.run("promote")
    with Load(service, 100) as load:
        marker = service.dir / "fault"
        run = subprocess.Popen(service.argv(*COMMANDS[command]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True,
                               env={"CHANGEOVER_FAULT": f"stop@{step}:intended@{marker}", "PATH": "/usr/bin:/bin"})
        wait_for(marker.exists, "the command stands at the step", timeout=30)
        service.cluster.do("server", how)
        try:
            run.send_signal(signal.SIGCONT)
            with pytest.raises(subprocess.TimeoutExpired):      # the outage itself is what takes 20 s
                run.wait(20)
        finally:
            service.cluster.do("server", {"stop": "cont", "kill": "start"}[how])
        out, err = run.communicate(timeout=150)
        if how == "kill" and run.returncode:
            assert "403" in err and service.status()["state"] == "promoting", f"{run.returncode}: {out}\n{err}"
            ready(service)
            service.run("resume", "-y")
        else:
            assert run.returncode == 0, f"{out}\n{err}"
        settled(service, command, command)
        load.check(command)


def test_the_api_server_is_away_while_blue_catches_up(service):
    """For longer than any call has patience: the gate waits on, says why, and passes when all is there again."""
    service.change_spec({"gate": {"deadline": "10m"}})
    service.may_be_bad()
    bad, said = service.dir / "bad-blue", service.dir / "said"
    bad.touch()
    with open(said, "w") as log:
        run = subprocess.Popen(service.argv(*COMMANDS["prepare"]), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for(lambda: "blue catches up: command" in said.read_text(), "blue is at its gate", timeout=60)
        service.cluster.do("server", "stop")
        try:
            # a minute's patience for each of what one look asks: live first, where it is caught in the middle
            wait_for(lambda: "blue catches up: blue: " in said.read_text(), "the gate says that it cannot see blue", timeout=250)
            assert run.poll() is None
        finally:
            service.cluster.do("server", "cont")
        bad.unlink()
        assert run.wait(60) == 0, said.read_text()
    finally:
        run.kill()
        run.wait()
    settled(service, "prepare", "after the API server was away")
