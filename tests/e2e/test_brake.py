"""The standby is paused while live is slow, and never stays paused, whoever is killed."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from lib.service import Service
from lib.waiting import wait_for

BRAKE = {"p99": "200ms", "method": "getSlot", "rate": 100, "window": "500ms", "max_pause": "60s"}
SPEC = {"runtime": {"standby": {"brake": BRAKE}}, "gate": {"passes": 50, "interval": "100ms"}, "bake": "0s"}


@pytest.fixture(scope="module")
def service():
    with Service(SPEC, slot_ms=100) as s:
        yield s.start()


@pytest.fixture
def clean(service):
    yield
    service.run("rollback", "-y", expect=None)
    service.run("cleanup", "-y", expect=None)


def record(service, colour):
    """run.json: of the upgrade before, or being replaced, until it is there."""
    for path in (service.dir / "state").rglob(f"runtime/{colour}/run.json"):
        return json.loads(path.read_text())
    return {"pid": [0, 0]}


def frozen(service, colour):
    """By its control group; where there is none, by the state of its process."""
    run = record(service, colour)
    if not run.get("cgroup"):
        return pathlib.Path(f"/proc/{run['pid'][0]}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    if run["cgroup_v2"]:
        return pathlib.Path(run["cgroup"], "cgroup.freeze").read_text().strip() == "1"
    return pathlib.Path(run["cgroup"], "freezer.state").read_text().strip() != "THAWED"


class Slow:
    """Live stands still: nobody gets an answer."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)


def preparing(service, version):
    """prepare in the background, at its gate."""
    p = subprocess.Popen(service.argv("prepare", "-t", version), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    wait_for(lambda: os.path.exists(f"/proc/{record(service, 'blue')['pid'][0] or 'none'}"), "the standby to start", 30)
    return p


def test_it_waits_until_live_is_well(service, clean):
    assert "while green's p99 is over 200 ms, blue is paused, at most 1 m at once" in service.run("plan", "-t", "2.0.0").stdout
    p = preparing(service, "2.0.0")
    with Slow(service.pid("green")):
        wait_for(lambda: frozen(service, "blue"), "the standby to be paused", 30)
    said = p.communicate(timeout=120)[1]
    assert p.returncode == 0, said
    assert "blue is paused: green gave " in said or "blue is paused: the p99 of green is " in said, said
    assert "blue goes on after" in said and re.search(r"it was paused \d+ times?, ", said), said
    assert not frozen(service, "blue")


def test_it_is_let_go_when_the_tool_is_killed(service, clean):
    p = preparing(service, "2.0.0")
    with Slow(service.pid("green")):
        wait_for(lambda: frozen(service, "blue"), "the standby to be paused", 30)
        p.kill()
        p.communicate()
        wait_for(lambda: not frozen(service, "blue"), "the standby to go on", 5)
    assert service.state() == "preparing"
    service.run("resume")
    assert service.state() == "prepared"


def test_the_guard_lets_it_go_when_all_are_killed(service, clean):
    """Tool and holder at once: nobody is left who knows, but for the guard."""
    p = preparing(service, "2.0.0")
    with Slow(service.pid("green")):
        wait_for(lambda: frozen(service, "blue"), "the standby to be paused", 30)
        holders = [pid for pid, _ in service.processes() if comm(pid) == "changeover-ice"]
        assert holders
        os.kill(p.pid, signal.SIGSTOP)
        for pid in holders:
            os.kill(pid, signal.SIGKILL)
        p.kill()
        p.communicate()
        wait_for(lambda: not frozen(service, "blue"), "the guard to let the standby go on", 20)
    service.run("rollback", "-y")


def comm(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_a_rollback_ends_a_paused_one(service, clean):
    p = preparing(service, "2.0.0")
    with Slow(service.pid("green")):
        wait_for(lambda: frozen(service, "blue"), "the standby to be paused", 30)
        p.send_signal(signal.SIGINT)
        said = p.communicate(timeout=60)[1]
        assert p.returncode == 3, said
        assert not frozen(service, "blue")
    service.run("rollback", "-y")
    assert service.state() == "rolled-back"
