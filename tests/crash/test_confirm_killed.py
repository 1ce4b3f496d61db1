"""SIGKILL of tool and guards while a promote with a probe waits to be confirmed, and in the confirm: resume, confirm and rollback end
where they should, and what the probe had found is kept."""
import contextlib
import json

import pytest

from rig import Rig


@pytest.fixture(scope="module")
def rig():
    with Rig(load=200) as r:
        yield r
        account = r.load.stop()
        assert account["lost"] == 0, account


def probes(rig):
    """{part: result} of the open upgrade, without the figures over time."""
    rows = rig.query("SELECT part, result FROM probes WHERE part NOT LIKE 'websockets %' AND upgrade=(SELECT id FROM upgrades WHERE ended IS NULL)")
    return {part: json.loads(text) for part, text in rows if not part.endswith(" series")}


def awaiting(rig):
    """(from, to, what the promote's probe found)."""
    rig.prepare()
    rig.run("promote", "--confirm-within", "10m")
    source, target = rig.sides()
    rig.settled("promoted", "awaiting-confirm", target, [source, target])
    found = probes(rig)
    run = found["promote/baseline 1"]
    assert set(found) == {"baseline", "promote/baseline 1"} and run["lost"] == 0 and run["sent"] > 100
    assert [(f["from"], f["to"]) for f in run["windows"]["flips"]] == [(source, target)]
    return source, target, found


@contextlib.contextmanager
def kept(rig, found):
    """Whatever happens in between, that is still there; and the page that is made of it shows it."""
    yield
    now = probes(rig)
    assert {part: now.get(part) for part in found} == found
    sent = sum(run["sent"] for part, run in now.items() if part != "baseline")
    assert all(run["lost"] == 0 for run in now.values()), now
    assert f"{sent} requests sent, 0 lost" in rig.service.status()["probe"]
    page = rig.run("report").stdout
    assert f"flip to {rig.sides()[1]}" in page and f"{found['promote/baseline 1']['sent']} requests sent" in page


def clean(rig):
    live = rig.service.live()
    rig.run("cleanup", "-y")
    rig.settled("cleaned up", "steady", live, [live])


@pytest.mark.parametrize("command, state", [("confirm", "promoted"), ("rollback", "rolled-back")])
def test_guards_killed_while_it_waits(rig, command, state):
    source, target, found = awaiting(rig)
    with kept(rig, found):
        rig.kill_guards()
        rig.settled("no guard", "awaiting-confirm", target, [source, target], guards=0)
        assert "nothing is half way" in rig.run("resume").stderr
        rig.settled("resumed, with nothing to do", "awaiting-confirm", target, [source, target], guards=None)
        rig.kill_guards()
        rig.run(command)
        live = target if command == "confirm" else source
        rig.settled(command, state, live, [live])
        assert rig.query("SELECT * FROM deadlines") == []
    clean(rig)


@pytest.mark.parametrize("point", ["state:awaiting-confirm", "promote/bake:done"])
def test_tool_and_guards_killed_as_it_begins_to_wait(rig, point):
    """The promise is in the journal since the flip; what the probe had seen by its last store is, too."""
    rig.prepare()
    source, target = rig.sides()
    rig.kill_at(point, "promote", "--confirm-within", "10m")
    rig.kill_guards()
    state = "awaiting-confirm" if point.startswith("state:") else "promoting"
    rig.look("killed", state, target)
    baseline = probes(rig)["baseline"]
    rig.run("resume")
    rig.settled("resumed", "awaiting-confirm", target, [source, target])
    rig.run("confirm")
    rig.settled("confirmed", "promoted", target, [target])
    found = probes(rig)
    assert found["baseline"] == baseline and all(run["lost"] == 0 for run in found.values())
    if state == "promoting":    # judged anew, by the baseline of before
        assert found["promote/baseline 2"]["baseline"]["p99_ms"] == baseline["p99_ms"]
    clean(rig)


@pytest.mark.parametrize("point", ["state:promoting", "finish/probe:done", "finish/drain:done", "finish/stop:applied", "state:promoted"])
@pytest.mark.parametrize("command", ["resume", "confirm", "rollback"])
def test_tool_and_guards_killed_in_the_confirm(rig, point, command):
    source, target, found = awaiting(rig)
    with kept(rig, found):
        rig.kill_at(point, "confirm")
        rig.kill_guards()
        over = point == "state:promoted"
        rig.look(f"killed at {point}", "promoted" if over else "promoting", target)
        assert rig.query("SELECT * FROM deadlines") == []       # whoever confirmed has decided
        rig.run(command)
        live = source if command == "rollback" else target
        rig.settled(f"killed at {point}, {command}", "rolled-back" if live == source else "promoted", live, [live])
    clean(rig)
