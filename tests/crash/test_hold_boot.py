"""The power goes while requests wait (writes: client): after the boot exactly those instances run that the state says, the hold is
somebody's, resume goes forward and rollback goes back, and every write that a client was told of is there, once."""
import json
import os
import pathlib
import sqlite3

import pytest

import recovery
from lib import rpcnode
from lib.waiting import wait_for
from rig import Rig

FULL = os.environ.get("CHANGEOVER_CRASH") == "full"
BEFORE = "0e7a1c52-0000-4000-8000-000000000000"     # the boot that was
SPEC = {"writes": "client", "freeze": {"max": "60s"}, "probe": None, "shadow": None,
        "traffic": {"verify_requests": 10, "hold": {"max": "10m"}}}


@pytest.fixture
def rig():
    with Rig(SPEC, load=0) as r:
        yield r


def write(rig, texts):
    for text in texts:
        rpcnode.call(rig.service.front_port, "sendTransaction", text, timeout=60)["result"]
    return texts


def reboot(rig):
    """Everything is gone at once, the proxy with what waits in it too; whatever was noted is of another boot. Then the proxy comes
    back, and what the boot unit runs."""
    network = f"{rig.service.dir}/network/"
    rig.service.caddy.kill()
    rig.service.end_processes(spare=lambda _, argv: network in argv)
    for path in (rig.state_dir / "runtime").glob("*/run.json"):
        run = json.loads(path.read_text())
        path.write_text(json.dumps({**run, "boot_id": BEFORE}))
    db = sqlite3.connect(rig.state_dir / "journal.db", timeout=10)
    db.execute("UPDATE deadlines SET boot_id=?, boottime=0", (BEFORE,))
    db.commit()
    db.close()
    rig.service.caddy.start()
    rig.run("start", "--boot")


def running(step, source, target):
    """Who runs after a boot, when that step of the hold was the last one that was done."""
    order = recovery.HOLD_STEPS["hold"].index(step)

    def since(name):
        return order >= recovery.HOLD_STEPS["hold"].index(name)

    if since("boot-on"):
        return [target]
    if since("boot-off"):
        return []
    return [source] if since("rehearsal-boot-off") else [source, target]


def held(rig, target):
    return (rig.service.flag_dir / f"hold-{target}").exists() and not (rig.service.flag_dir / f"open-{target}").exists()


def account(rig, colour, told):
    """All that was told is in that colour's own data, once."""
    lines = (pathlib.Path(rig.service.dir) / colour / "ledger" / "transactions.log").read_text().splitlines()
    texts = [line.split()[2] for line in lines]
    assert len(texts) == len(set(texts)) and set(told) <= set(texts), sorted(set(told) - set(texts))[:5]


STEPS = [s for s in recovery.HOLD_STEPS["hold"] if s not in ("probe", "priority")]


@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_a_reboot_after_each_step(rig, way):
    told = []
    steps = STEPS if FULL else [s for n, s in enumerate(STEPS) if s in ("flip", "stop", "clone", "start", "gate", "release") or
                                n % 2 == (way == "resume")]
    for n, step in enumerate(steps):
        what = f"rebooted after hold/{step}, then {way}"
        rig.prepare()
        source, target = rig.sides()
        told += write(rig, [f"{way}-{n}-{i}" for i in range(10)])
        rig.kill_at(f"hold/{step}:done", "promote")
        waits = held(rig, target)
        reboot(rig)
        want = rig.wanted(running(step, source, target), 2)
        wait_for(lambda: rig.census() == want, f"{what}: {want}, {rig.census()}", 10)
        released = STEPS.index(step) >= STEPS.index("release")
        if not released and rig.service.flags() == [f"active-{target}"]:
            assert waits and held(rig, target), what      # nobody was let go to a side that has not passed
            wait_for(lambda: "HOLD" in rig.service.status()["traffic"], "a proxy that says so within status's 500 ms", 30)
        status = rig.service.status()
        assert status["state"] == "promoting" and status["guard"] == "lives", (what, status)
        if way == "rollback" and not released:
            rig.run("rollback")
            rig.settled(what, "rolled-back", source, [source])
            live = source
        else:
            if way == "rollback":
                assert "loses writes" in rig.run("rollback", expect=2).stderr, what
            rig.run("resume")
            rig.settled(what, "promoted", target, [target])
            live = target
        told += write(rig, [f"{way}-{n}-after-{i}" for i in range(5)])
        account(rig, live, told)
        rig.run("cleanup", "-y")


def going_back_by_itself(rig, source, told):
    wait_for(lambda: rig.query("SELECT state FROM upgrades WHERE ended IS NULL") == [("rolled-back",)], "the guard to go back", 60)
    rig.settled("the guard went back after a boot", "rolled-back", source, [source])
    told += write(rig, ["after"])
    account(rig, source, told)


def test_the_hold_that_a_boot_finds_ends_at_its_ceiling():
    with Rig({**SPEC, "traffic": {"verify_requests": 10, "hold": {"max": "10s"}}}, load=0) as rig:
        rig.prepare()
        source, target = rig.sides()
        told = write(rig, ["before"])
        rig.kill_at("hold/clone:done", "promote")
        reboot(rig)
        going_back_by_itself(rig, source, told)


def test_a_machine_that_was_off_for_long_goes_back_at_once(rig):
    rig.prepare()
    source, target = rig.sides()
    told = write(rig, ["before"])
    rig.kill_at("hold/start:done", "promote")
    db = sqlite3.connect(rig.state_dir / "journal.db", timeout=10)      # the ceiling was an hour ago
    db.execute("UPDATE deadlines SET wall=wall-3600000000000*2, boot_id=?, boottime=0", (BEFORE,))
    db.commit()
    db.close()
    reboot(rig)
    going_back_by_itself(rig, source, told)
