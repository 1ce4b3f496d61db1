"""SIGKILL of the tool at each step while requests wait (writes: client): resume goes forward, rollback goes back, as the state
table (recovery.py) says; no write that a client was told of is lost, and no request."""
import contextlib
import os

import pytest

import recovery
from lib.waiting import wait_for
from lib.writers import Writers
from recovery import MOMENTS
from rig import Rig

FULL = os.environ.get("CHANGEOVER_CRASH") == "full"
SPEC = {"writes": "client", "freeze": {"max": "60s"}, "traffic": {"verify_requests": 10, "hold": {"max": "10m"}}}


@pytest.fixture
def rig():
    with Rig(SPEC, load=0) as r:
        yield r


@contextlib.contextmanager
def writing(rig):
    """What was told is on the side that is live in the end. A client waits through many kills in a row."""
    with Writers(rig.service, n=8, patience=900) as writers:
        yield writers
        writers.account(rig.service.live())


def boundaries(phases):
    """A flip that was applied is settled by the flags, and comes to its :done no more."""
    return [(phase, step, moment) for phase, names in phases for step in names for moment in MOMENTS
            if not (step == "flip" and moment == "applied")]


def look(rig, phase, step, moment):
    want = recovery.hold_row(phase, step, moment)
    status = rig.service.status()
    assert status["state"] == want.state, (phase, step, moment, status)
    if want.live == "waits":
        assert rig.service.flags() != [], (phase, step, moment)
        wait_for(lambda: "HOLD" in rig.service.status()["traffic"], "a proxy that says so within status's 500 ms", 30)
    else:
        source, target = rig.sides()
        live = {"from": source, "to": target}[want.live]
        assert rig.service.identity() == live, (phase, step, moment)
    return want


def kill_and_look(rig, command, phase, step, moment):
    rig.kill_at(f"{phase}/{step}:{moment}", *command)
    return look(rig, phase, step, moment)


def test_the_steps_are_those_of_the_table(rig):
    rig.prepare()
    rig.run("promote")
    for phase in ("promote", "hold", "finish"):
        assert [s.split("/")[1] for s in rig.steps(phase)] == recovery.HOLD_STEPS[phase], phase


def test_resume_goes_forward_from_every_boundary(rig):
    with writing(rig) as writers:
        rig.prepare()
        command = ("promote",)
        for phase, step, moment in boundaries([(p, recovery.HOLD_STEPS[p]) for p in ("promote", "hold", "finish")]):
            kill_and_look(rig, command, phase, step, moment)
            command = ("resume",)
        source, target = rig.sides()
        rig.run("resume")
        rig.settled("killed at every boundary", "promoted", target, [target])
        writers.on()
        rig.run("cleanup", "-y")


def test_rollback_goes_back_from_every_step(rig):
    """One moment of each step, in turn; of flip and release each."""
    with writing(rig) as writers:
        n = 0
        for phase in ("promote", "hold") if FULL else ("hold",):
            for step in recovery.HOLD_STEPS[phase]:
                n += 1
                for moment in MOMENTS if step in ("flip", "release") else [MOMENTS[n % len(MOMENTS)]]:
                    back_from(rig, writers, phase, step, moment)


def back_from(rig, writers, phase, step, moment):
    rig.prepare()
    source, target = rig.sides()
    want = kill_and_look(rig, ("promote",), phase, step, moment)
    if want.rollback.refused:
        assert "loses writes" in rig.run("rollback", expect=2).stderr, (phase, step, moment)
        rig.run("resume")
        rig.settled(f"killed at {step}:{moment}, refused, resumed", "promoted", target, [target])
    else:
        rig.run("rollback")
        rig.settled(f"killed at {step}:{moment}, rolled back", "rolled-back", source, [source])
    writers.on()
    rig.run("cleanup", "-y")


def test_a_rollback_killed_at_every_boundary_while_requests_wait(rig):
    with writing(rig) as writers:
        rig.prepare()
        source, target = rig.sides()
        rig.kill_at("hold/gate:intended", "promote")
        for phase, step, moment in boundaries([("rollback", recovery.HOLD_STEPS["rollback"])]):
            kill_and_look(rig, ("rollback",), phase, step, moment)
        rig.run("rollback")
        rig.settled("a rollback killed at every boundary", "rolled-back", source, [source])
        writers.on()
        rig.run("cleanup", "-y")


@pytest.mark.parametrize("point", ["hold:created", "hold:opened", "hold:removed"])
def test_killed_inside_a_change_of_the_hold(rig, point):
    with writing(rig) as writers:
        rig.prepare()
        source, target = rig.sides()
        rig.kill_at(point, "promote")
        done = rig.run("rollback", expect=0 if point == "hold:created" else 2)
        if point != "hold:created":
            assert "loses writes" in done.stderr
            rig.run("resume")
        live = rig.service.live()
        assert live == (source if point == "hold:created" else target)
        rig.settled(f"killed at {point}", rig.service.state(), live, [live])
        writers.on()


def test_killed_while_it_hands_back_what_waits(rig):
    """The forwarder outlives the tool: what it has taken on is answered."""
    with writing(rig) as writers:
        rig.prepare()
        source, target = rig.sides()
        rig.kill_at("hold/gate:intended", "promote")
        for point in ("back:listens", "hold:opened", "hold:removed", "rollback/give-back:applied"):
            rig.kill_at(point, "rollback")
            assert rig.service.identity() == source
        wait_for(lambda: len(writers.told) > 0, "writes")
        rig.run("rollback")
        rig.settled("killed while it handed back", "rolled-back", source, [source])
        writers.on()
