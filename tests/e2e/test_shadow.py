"""The answers of both colours are compared before the flip."""
import pathlib
import struct

import pytest

from lib.service import Service
from lib.waiting import wait_for

SHADOW = {
    "requests": [
        {"method": "getBlock", "params": ["${slot}"]},
        {"name": "account", "method": "getAccountInfo", "params": [7], "slot_field": "result.context.slot"},
    ],
    "ignore": ["result.context.apiVersion"],
    "samples": 4,
    "back": 50,
    "deadline": "10s",
}
ACCOUNT = struct.Struct("=QQ32s")


@pytest.fixture(scope="module")
def service():
    with Service({"shadow": SHADOW, "bake": "0s"}) as s:
        yield s.start()


def account_file(service, colour):
    return pathlib.Path(service.dir / colour / "accounts/run/account-00007")


def test_equal_answers_go_on_and_different_ones_do_not(service):
    service.run("prepare", "-t", "2.0.0")
    assert "promote/shadow" in service.run("plan").stdout

    path, other = account_file(service, "blue"), account_file(service, "green")
    right = path.read_bytes()
    slot, lamports, data = ACCOUNT.unpack(right)
    path.write_bytes(ACCOUNT.pack(slot, lamports + 1, data))
    pid = service.pid("green")
    asked = lambda: service.run("check", "--fast", expect=None).stdout
    assert f"account at slot " in asked() and f"result.value.lamports: green {lamports}, blue {lamports + 1}" in asked()

    done = service.run("promote", expect=4)
    for word in ("answers of green and blue differ, at most 0 may", "account at slot ",
                 f"result.value.lamports: green {lamports}, blue {lamports + 1}", "shadow.ignore", "green serves as before"):
        assert word in done.stderr, done.stderr
    assert "getBlock" not in done.stderr, "blocks are the same"
    assert service.flags() == ["active-green"] and service.pid("green") == pid and service.identity() == "green"
    assert service.state() == "prepared"

    path.write_bytes(right)
    assert other.read_bytes() == right
    said = asked()
    assert "ok       shadow    2 of 2 answers are the same on green and blue" in said, said
    done = service.run("promote")
    assert "8 of 8 answers of 2 requests are the same on green and blue" in done.stderr, done.stderr
    assert service.live() == "blue"
    service.run("cleanup", "-y")


def test_one_that_stands_still_is_waited_for_until_the_deadline(service):
    """Behind is not different: what could not be compared is named, and live keeps the traffic."""
    slots = {"method": "getSlot", "field": "result"}
    service.change_spec({"shadow": {"deadline": "1s", "slot": slots}, "gate": {"checks": [{"ports": {}}]},
                         "runtime": {"command": service.spec["runtime"]["command"] + ["--stall-after-slots", "0"]}})
    service.run("prepare", "-t", "3.0.0")
    port = service.ports["green"]["rpc"]
    slot = service.rpc("getSlot", port=port)
    live = service.ports["blue"]["rpc"]
    wait_for(lambda: service.rpc("getSlot", port=live) > slot + 3, "live to go on")
    done = service.run("promote", expect=4)
    assert "could not be compared in time: account: no answers of one slot: blue's is of" in done.stderr, done.stderr
    assert "differ, at most" not in done.stderr
    assert service.flags() == ["active-blue"] and service.identity() == "blue"
    service.run("rollback", "-y")
    service.run("cleanup", "-y")


def test_questions_that_live_does_not_answer_are_said_before_there_is_a_standby(service):
    assert service.state() == "steady"
    live = service.live()
    assert "ok       shadow    live answers what will be compared" in service.run("check", "--fast").stdout
    before = service.spec
    try:
        service.change_spec({"shadow": {"requests": SHADOW["requests"] + [{"method": "getNothing"}]}})
        said = service.run("check", "--fast", expect=1).stdout
        assert f"live does not answer what will be compared: getNothing: {live}: error -32601" in said, said
        assert "blue: " not in said.split("getNothing: ")[1].splitlines()[0].replace(f"{live}: ", "", 1), said
        assert "mend: shadow.requests" in said
    finally:
        service.spec = before
        service.write_spec()
