"""SIGKILL of the tool, of the guard, and of both, at each step boundary: resume goes forward, rollback goes back, as the state
table (recovery.py, docs/recovery.md) says, under a load of 500 requests a second that loses nothing.

The boundaries come from the tool: `changeover plan` names the steps of prepare and promote, the journal those of rollback and
cleanup. `make test` kills once at every boundary; `make test-crash` (CHANGEOVER_CRASH=full) takes every boundary with every victim
and both ways on, each from the beginning.
"""
import json
import os
import pathlib
import signal
import subprocess

import pytest

import recovery
from lib.waiting import wait_for
from recovery import MOMENTS
from rig import Rig

FULL = os.environ.get("CHANGEOVER_CRASH") == "full"


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        yield r
        account = r.load.stop()
        assert account["lost"] == 0, account


@pytest.fixture(scope="module")
def steps(rig):
    """{phase: [step]}: what a whole upgrade, and one that is rolled back before and after the flip, go through."""
    plan = json.loads(rig.run("plan", "-t", "1.0.0", "-o", "json").stdout)
    found = {phase: [s["step"] for s in plan[phase]] for phase in ("prepare", "promote", "finish")}
    rig.prepare()
    rig.run("rollback")
    found["rollback-before"] = rig.steps("rollback")
    rig.run("cleanup", "-y")
    rig.prepare()
    rig.run("promote")
    for phase in ("prepare", "promote", "finish"):
        assert rig.steps(phase) == found[phase], "plan shows other steps than were run"
    rig.run("rollback")
    found["rollback"] = rig.steps("rollback")
    rig.run("cleanup", "-y")
    found["cleanup"] = rig.steps("cleanup")
    for phase, names in found.items():
        assert names, f"no steps in {phase}"
    return found


def colour(rig, side):
    source, target = rig.sides()
    return {"from": source, "to": target}[side]


def settled(rig, what, end, **kw):
    rig.settled(what, end.state, colour(rig, end.live), [colour(rig, side) for side in end.running], **kw)


def clean(rig, what):
    """Ends the upgrade and shows that only live is left."""
    live = rig.service.live()
    rig.run("cleanup", "-y")
    rig.settled(what + ", cleaned up", "steady", live, [live])


def boundaries(names, in_one_go=False):
    """in_one_go: those that one upgrade can be killed at in turn. A flip found applied is settled by the flags, so that it never
    comes to :done any more; test_killed_inside_the_flip has its :applied."""
    return [(step, moment) for step in names for moment in MOMENTS
            if not (in_one_go and step.endswith("/flip") and moment == "applied")]


def chain(rig, phase, names, first, after_flip=True, end=None, ways=(("resume",),)):
    """Killed at one boundary after the other, each time gone on with by one of `ways`, to the end of it."""
    command = first
    source, target = rig.sides()
    sides = {"from": source, "to": target}
    for i, (step, moment) in enumerate(boundaries(names, in_one_go=True)):
        rig.kill_at(f"{step}:{moment}", *command)
        want = recovery.row(phase, names, step, moment, after_flip)
        rig.look(f"killed at {step}:{moment}", want.state, sides[want.live])
        command = ways[i % len(ways)]
        end = want.resume
    rig.run(*command)
    rig.settled(f"{phase} killed at every boundary", end.state, sides[end.live], [sides[s] for s in end.running])


def test_resume_goes_forward_from_every_boundary(rig, steps):
    chain(rig, "prepare", steps["prepare"], rig.prepare_args())
    chain(rig, "promote", steps["promote"], ("promote",))
    rig.run("rollback")     # the next promote is killed in its second half
    clean(rig, "promote killed at every boundary")
    rig.prepare()
    chain(rig, "finish", steps["finish"], ("promote",))
    chain(rig, "cleanup", steps["cleanup"], ("cleanup", "-y"))


def test_the_table_knows_every_step(steps):
    """Hooks apart: they stand where the spec wants them, and run at least once."""
    for phase, names in recovery.STEPS.items():
        run = ["destroy-VOLUME" if s.startswith("cleanup/destroy-") else s.split("/")[1] for s in steps[phase]]
        assert list(dict.fromkeys(run)) == names, phase
    assert set(steps["rollback-before"]) < set(steps["rollback"])


def test_confirm_goes_forward_from_every_boundary(rig, steps):
    rig.prepare()
    rig.run("promote", "--confirm-within", "10m")
    source, target = rig.sides()
    rig.settled("promote --confirm-within", "awaiting-confirm", target, [source, target])
    chain(rig, "finish", steps["finish"], ("confirm",))
    clean(rig, "confirm killed at every boundary")


def test_rollback_goes_on_from_every_boundary(rig, steps):
    rig.prepare()
    chain(rig, "rollback", steps["rollback-before"], ("rollback",), after_flip=False, ways=(("rollback",), ("resume",)))
    chain(rig, "cleanup", steps["cleanup"], ("cleanup", "-y"), after_flip=False, ways=(("cleanup", "-y"), ("resume",)))
    rig.prepare()
    rig.run("promote")
    chain(rig, "rollback", steps["rollback"], ("rollback",), ways=(("resume",), ("rollback",)))
    clean(rig, "rollback killed at every boundary")


def test_rollback_goes_back_from_every_step(rig, steps):
    """Each moment of the flip, and of the other steps one moment each, in turn."""
    n = 0
    for phase in ("prepare", "promote", "finish"):
        for step in steps[phase]:
            n += 1
            for moment in MOMENTS if step.endswith("/flip") else [MOMENTS[n % len(MOMENTS)]]:
                back_from(rig, phase, steps[phase], step, moment)


def back_from(rig, phase, names, step, moment, victims=("tool",)):
    what = f"killed at {step}:{moment}, rolled back"
    if phase == "prepare":
        command = rig.prepare_args()
    else:
        rig.prepare()
        command = ("promote",)
    kill(rig, victims, f"{step}:{moment}", command)
    want = recovery.row(phase, names, step, moment)
    rig.look(what, want.state, colour(rig, want.live))
    rig.run("rollback")
    settled(rig, what, want.rollback)
    clean(rig, what)


def kill(rig, victims, point, command):
    if victims == ("guard",):
        kill_guards_at(rig, point, command)
        return
    rig.kill_at(point, *command)
    if "guard" in victims:
        rig.kill_guards()


def kill_guards_at(rig, point, command):
    """The tool stands still at the point while both guards are killed, then goes on and ends well."""
    marker, env = rig.fault("stop", point)
    tool = subprocess.Popen(rig.service.argv(*command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**os.environ, **env})
    try:
        wait_for(lambda: marker.exists() and stands_still(tool.pid), f"the tool to stand still at {point}", 30)
        rig.kill_guards()
        tool.send_signal(signal.SIGCONT)
        out, err = tool.communicate(timeout=120)
        assert tool.returncode == 0, (point, out, err)
    finally:
        if tool.poll() is None:
            tool.kill()
            tool.communicate()
    marker.unlink()


def stands_still(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def test_cleanup_cannot_be_rolled_back(rig, steps):
    rig.prepare()
    rig.run("promote")
    live = rig.service.live()
    rig.kill_at(f"{steps['cleanup'][0]}:intended", "cleanup", "-y")
    done = rig.run("rollback", expect=1)
    assert "cleanup" in done.stderr
    rig.look("a refused rollback", "cleaning", live)
    rig.run("resume")
    rig.settled("a cleanup gone on with", "steady", live, [live])


@pytest.mark.parametrize("phase, step", [("prepare", "prepare/clone"), ("promote", "promote/flip"), ("finish", "finish/stop")])
def test_guard_and_tool_killed_at_once(rig, steps, phase, step):
    for way in ("resume", "rollback"):
        what = f"both killed at {step}:applied, {way}"
        command = rig.prepare_args() if phase == "prepare" else rig.prepare() and ("promote",)
        kill(rig, ("tool", "guard"), f"{step}:applied", command)
        want = recovery.row(phase, steps[phase], step, "applied")
        rig.look(what, want.state, colour(rig, want.live))
        rig.run(way)
        end = getattr(want, way)
        settled(rig, what, end)
        if end.state == "prepared":
            rig.run("rollback")
        clean(rig, what)


def test_guards_killed_while_the_tool_works(rig):
    kill_guards_at(rig, "prepare/start:applied", rig.prepare_args())
    source, target = rig.sides()
    rig.settled("prepare without guards", "prepared", source, [source, target], guards=0)
    rig.run("promote")      # every changing command starts the guard again
    rig.settled("promote after that", "promoted", target, [target])
    clean(rig, "guards killed in prepare")


@pytest.mark.parametrize("point", ["flip:created", "flip:created-synced", "flip:removed", "flip:done", "/flip:applied"])
def test_killed_inside_the_flip(rig, point):
    """There and back, since to green and to blue the commit is another one of its two acts."""
    rig.prepare()
    flip_killed(rig, point, "promote")
    rig.run("resume")
    settled(rig, f"promote killed at {point}, resumed", recovery.PROMOTED)
    flip_killed(rig, point, "rollback")
    rig.run("rollback")
    settled(rig, f"rollback killed at {point}", recovery.ROLLED_BACK)
    clean(rig, f"killed at {point}")


def test_rollback_of_half_a_flip(rig):
    for swap in (True, False):      # to both colours
        for point in ("flip:created", "flip:removed"):
            rig.prepare()
            flip_killed(rig, point, "promote")
            rig.run("rollback")
            settled(rig, f"promote killed at {point}, rolled back", recovery.ROLLED_BACK)
            clean(rig, f"promote killed at {point}, rolled back")
        if swap:
            rig.prepare()
            rig.run("promote")
            clean(rig, "the other colour's turn")


def flip_killed(rig, point, command):
    """The flags alone say where the traffic is, before any command has settled it."""
    rig.kill_at(command + point if point[0] == "/" else point, command)
    green = "active-green" in rig.service.flags()
    rig.look(f"{command} killed at {point}", "promoting" if command == "promote" else "rolling-back",
             "green" if green else "blue")


@pytest.mark.skipif(not FULL, reason="the whole product takes long: make test-crash")
@pytest.mark.parametrize("victims", [("tool",), ("guard",), ("tool", "guard")], ids="+".join)
@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_every_boundary_by_itself(rig, steps, victims, way):
    for phase in ("prepare", "promote", "finish", "confirm", "rollback-before", "rollback", "cleanup"):
        names = steps["finish" if phase == "confirm" else phase]
        for step, moment in boundaries(names):
            one(rig, phase, names, step, moment, victims, way)


def one(rig, phase, names, step, moment, victims, way):
    what = f"{'+'.join(victims)} killed at {phase} {step}:{moment}, {way}"
    after_flip = phase != "rollback-before"
    table = {"confirm": "finish", "rollback-before": "rollback"}.get(phase, phase)
    command = lead_up(rig, phase)
    source, target = rig.sides()
    sides = {"from": source, "to": target}
    kill(rig, victims, f"{step}:{moment}", command)
    want = recovery.row(table, names, step, moment, after_flip)
    if "tool" in victims:
        rig.look(what, want.state, sides[want.live])
        end = go_on(rig, want, way)
    else:
        end = want.resume           # the tool has ended well
    if end.state != "steady":
        if "tool" not in victims:
            rig.run("resume")       # nothing to go on with: but the guard is there again
        rig.settled(what, end.state, sides[end.live], [sides[s] for s in end.running])
        if end.state == "prepared":
            rig.run("rollback")
        clean(rig, what)
    else:
        rig.settled(what, "steady", sides[end.live], [sides[end.live]])


def go_on(rig, want, way):
    end = getattr(want, way)
    if end.refused:
        rig.run("rollback", expect=1)
        rig.run("cleanup", "-y")
        return want.resume
    rig.run(way)
    return end


def lead_up(rig, phase):
    """Brings a new upgrade to where `phase` begins; returns the command that runs it."""
    if phase == "prepare":
        return rig.prepare_args()
    rig.prepare()
    if phase in ("promote", "finish"):
        return ("promote",)
    if phase == "confirm":
        rig.run("promote", "--confirm-within", "10m")
        return ("confirm",)
    if phase == "rollback-before":
        return ("rollback",)
    rig.run("promote")
    return ("rollback",) if phase == "rollback" else ("cleanup", "-y")
