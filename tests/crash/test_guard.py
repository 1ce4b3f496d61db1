"""The guard keeps what was promised with a deadline, whoever is killed; and after a reboot exactly those instances run that the
state says. What becomes of writes when a bake fails: tests/e2e/test_promises.py."""
import json
import os
import signal
import time

import pytest

from lib.waiting import wait_for
from rig import Rig


@pytest.fixture(scope="module")
def rig():
    with Rig(load=200) as r:
        yield r
        account = r.load.stop()
        assert account["lost"] == 0, account


def promised(rig, within):
    """An upgrade that waits to be confirmed: (from, to)."""
    rig.prepare()
    rig.run("promote", "--confirm-within", within)
    source, target = rig.sides()
    assert rig.service.state() == "awaiting-confirm"
    return source, target


def wait_rolled_back(rig, what, source, timeout=20):
    wait_for(lambda: rig.query("SELECT state FROM upgrades WHERE ended IS NULL") == [("rolled-back",)],
             f"{what}: the rollback", timeout)
    rig.settled(what, "rolled-back", source, [source])


def clean(rig, what):
    live = rig.service.live()
    rig.run("cleanup", "-y")
    rig.settled(what + ", cleaned up", "steady", live, [live])


def test_silence_rolls_back_although_guards_are_killed(rig):
    source, target = promised(rig, "3s")
    deadline = time.monotonic() + 3
    for role in "abab":     # one at a time: the other one starts it again
        before = wait_for(lambda: (lambda g: g if len(g) == 2 else None)(rig.guards()), "both guards", 3)
        os.kill(before[role], signal.SIGKILL)
        wait_for(lambda: rig.guards().get(role, before[role]) != before[role] or
                 rig.query("SELECT state FROM upgrades WHERE ended IS NULL") != [("awaiting-confirm",)],
                 f"guard {role} to be there again", 3)
    wait_rolled_back(rig, "silence", source)
    assert time.monotonic() - deadline < 15
    clean(rig, "silence")


@pytest.mark.parametrize("point", ["rollback/gate:intended", "rollback/flip:applied", "rollback/stop:applied",
                                   "state:rolling-back"])
def test_the_other_guard_goes_on_with_a_killed_ones_rollback(rig, point):
    """The guards inherit the rule of promote; one of them comes to the point, once."""
    rig.prepare()
    marker, env = rig.fault("kill", point)
    for _ in range(2):      # of the guards that prepare has started none knows the rule
        rig.kill_guards()
    rig.run("promote", "--confirm-within", "500ms", env=env)
    source, _ = rig.sides()
    wait_for(marker.exists, f"a guard at {point}", 20)
    wait_rolled_back(rig, f"a guard killed at {point}", source)
    marker.unlink()
    clean(rig, f"a guard killed at {point}")


def test_silence_counts_from_the_flip_when_the_tool_is_killed(rig):
    rig.prepare()
    source, target = rig.sides()
    rig.kill_at("promote/verify:intended", "promote", "--confirm-within", "1s")
    wait_rolled_back(rig, "promote killed after its flip", source)
    clean(rig, "promote killed after its flip")


def test_killed_before_the_flip_nothing_is_taken_back(rig):
    rig.prepare()
    source, target = rig.sides()
    rig.kill_at("flip:created" if target == "blue" else "promote/flip:intended", "promote", "--confirm-within", "300ms")
    wait_for(lambda: not rig.query("SELECT * FROM deadlines"), "the guard to let the promise go", 10)
    rig.look("killed before the flip", "promoting", source)
    rig.run("resume")       # waits to be confirmed, as promote was asked to
    wait_rolled_back(rig, "resumed", source)
    clean(rig, "resumed")


def test_both_guards_killed_at_once(rig):
    source, target = promised(rig, "2s")
    rig.kill_guards()
    time.sleep(2.5)         # it is the absence of something that is looked at
    rig.settled("no guard", "awaiting-confirm", target, [source, target], guards=0)
    assert "guard" in json.dumps(rig.service.status()).lower()
    rig.run("start", "--boot")      # what the boot unit runs; any changing command does the same
    wait_rolled_back(rig, "late", source)
    clean(rig, "late")


def test_confirm_keeps(rig):
    source, target = promised(rig, "3s")
    rig.run("confirm")
    rig.settled("confirmed", "promoted", target, [target])
    assert rig.query("SELECT * FROM deadlines") == []
    time.sleep(3.2)         # the time is over, and nothing happens
    rig.settled("confirmed, long ago", "promoted", target, [target])
    clean(rig, "confirmed")


def test_promise_is_kept_although_the_spec_is_broken_meanwhile(rig):
    source, target = promised(rig, "2s")
    good = rig.service.spec_path.read_text()
    try:
        rig.service.spec_path.write_text("service: [broken\n")
        wait_for(lambda: rig.query("SELECT state FROM upgrades WHERE ended IS NULL") == [("rolled-back",)],
                 "the rollback", 20)
    finally:
        rig.service.spec_path.write_text(good)
    rig.settled("a broken spec", "rolled-back", source, [source])
    clean(rig, "a broken spec")


def test_an_upgrade_begun_while_the_guards_leave_has_guards(rig):
    for _ in range(2):
        rig.prepare()
        live, target = rig.sides()
        rig.run("rollback")
        rig.run("cleanup", "-y")
        rig.prepare()
        rig.settled("prepared at once after a cleanup", "prepared", live, [live, target])
        rig.run("rollback")
        rig.run("cleanup", "-y")
    clean_state = rig.service.live()
    rig.settled("steady", "steady", clean_state, [clean_state])


def reboot(rig):
    """As the power would: everything of the service is gone at once, but for the network and the proxy."""
    victims = [pid for pid, argv in rig.service.processes() if f"{rig.service.dir}/network/" not in argv]
    while victims:
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        victims = [pid for pid, argv in rig.service.processes() if f"{rig.service.dir}/network/" not in argv]


def test_after_a_reboot_those_run_that_the_state_says():
    with Rig(load=0) as rig:
        def booted(what, state, live, running):
            reboot(rig)
            rig.run("start", "--boot")
            wait_for(lambda: answers(rig, live), f"{what}: {live} to answer", 20)
            rig.settled(what + ", booted", state, live, running)

        source, target = rig.sides()
        booted("steady", "steady", source, [source])
        rig.prepare()
        booted("prepared", "prepared", source, [source, target])
        rig.run("prepare")      # is still good: waits at the gate again
        rig.run("promote", "--confirm-within", "10m")
        booted("awaiting-confirm", "awaiting-confirm", target, [source, target])
        rig.run("confirm")
        booted("promoted", "promoted", target, [target])
        rig.run("rollback")
        booted("rolled-back", "rolled-back", source, [source])
        rig.run("cleanup", "-y")
        booted("steady again", "steady", source, [source])


def test_a_boot_starts_live_although_the_standby_cannot_start():
    with Rig(load=0) as rig:
        for _ in range(2):      # live is either colour
            rig.prepare()
            source, target = rig.sides()
            reboot(rig)
            version = rig.query("SELECT version_to FROM upgrades WHERE ended IS NULL")[0][0]
            binary = rig.service.dir / "versions" / version / "rpcnode"
            binary.rename(f"{binary}.away")
            done = rig.run("start", "--boot", expect=1)
            assert target in done.stderr
            wait_for(lambda: answers(rig, source), f"{source} to answer", 20)
            rig.settled("booted without its standby", "prepared", source, [source])
            os.rename(f"{binary}.away", binary)
            rig.run("prepare")      # starts it again
            rig.settled("prepared again", "prepared", source, [source, target])
            rig.run("promote")
            rig.run("cleanup", "-y")


def answers(rig, colour):
    try:
        return rig.service.identity() == colour
    except (OSError, ValueError, AssertionError):
        return False


def test_rollback_after_a_reboot_starts_what_was_started_before():
    """The old side was started by the killed rollback; the power took it; the rollback starts it again, without a boot unit."""
    with Rig(load=0) as rig:
        rig.prepare()
        rig.run("promote")
        source, target = rig.sides()
        rig.kill_at("rollback/gate:intended", "rollback")
        reboot(rig)
        rig.run("rollback")
        rig.settled("rolled back after a reboot", "rolled-back", source, [source])


@pytest.mark.parametrize("writes", ["both", "client"])
def test_no_promise_without_consent(writes):
    with Rig({"writes": writes}, load=0) as rig:
        rig.prepare()
        source, target = rig.sides()
        for _ in range(2):      # a refused wish leaves nothing behind
            done = rig.run("promote", "--confirm-within", "3s", expect=2)
            assert "--accept-loss" in done.stderr
            rig.settled("refused", "prepared", source, [source, target])
        assert rig.query("SELECT * FROM meta WHERE key='confirm_within'") == []
        rig.run("promote", *(["--accept-loss"] if writes == "client" else []))
        rig.settled("promoted plainly", "promoted", target, [target])


def test_a_guard_that_cannot_begin_stops_prepare_with_the_upgrade_open(rig):
    """Nothing is promised without it; what is begun is said to be half way, and both ways on are open."""
    rig.kill_guards()
    log = rig.state_dir / "guard.log"
    log.unlink(missing_ok=True)
    log.mkdir()
    stopped = rig.run(*rig.prepare_args(), expect=3)
    assert "guard.log" in stopped.stderr and "changeover rollback" in stopped.stderr, stopped.stderr
    live, _ = rig.sides()
    assert rig.service.state() == "preparing" and rig.steps("prepare") == []
    log.rmdir()
    rig.run("rollback")
    clean(rig, "prepare without a guard")
    assert rig.service.live() == live
