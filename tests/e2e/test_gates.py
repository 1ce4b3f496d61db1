"""A new version that must not get the traffic: each kind of bad standby ends prepare with 4, and live is untouched."""
import pytest

from lib import ports
from lib.service import Service


@pytest.fixture(scope="module")
def service():
    with Service({"gate": {"deadline": "4s"}}) as s:
        yield s.start()


@pytest.fixture(scope="module")
def stray():
    """A port that no colour has declared."""
    block = ports.take_block()
    yield block.take()
    block.release()


def prepare_with(service, *arguments, expect=4, **spec):
    """prepare with these arguments added to the new version's; afterwards back to steady."""
    before = service.spec
    service.change_spec({"runtime": {"command": before["runtime"]["command"] + list(arguments)}, **spec})
    pid = service.pid("green")
    try:
        done = service.run("prepare", "-t", "2.0.0", expect=expect)
        assert service.flags() == ["active-green"]
        assert service.pid("green") == pid, "live is untouched"
        assert service.rpc("getIdentity") == service.rpc("getIdentity", port=service.ports["green"]["rpc"])
        return done.stderr
    finally:
        service.spec = before
        service.write_spec()
        service.run("rollback", "-y", expect=None)
        service.run("cleanup", "-y", expect=None)
        assert service.state() == "steady"


@pytest.mark.parametrize("arguments, words", [
    (["--deaf"], ["'moving' of blue", "stands still at"]),
    (["--always-behind", "50"], ["'http' of blue", "'behind', wanted 'ok'"]),
    (["--report-version", "9.9.9"], ["'version' of blue", "it says that it is 9.9.9, wanted 2.0.0"]),
    (["--hang"], ["of blue did not pass within"]),
    (["--no-ws"], ["of blue did not pass within"]),
    (["--catch-up-rate", "1"], ["'lag' of blue", "slots behind live green", "does not converge"]),
], ids=["deaf", "behind", "version", "hang", "no-websockets", "too-slow"])
def test_it_never_passes(service, arguments, words):
    said = prepare_with(service, *arguments)
    for word in words:
        assert word in said, said


def test_a_socket_outside_every_range(service, stray):
    said = prepare_with(service, "--extra-udp-from", str(stray))
    assert "'ports' of blue" in said and f"port {stray} is in no declared range" in said, said


def test_a_declared_socket_outside_the_ranges(service, stray):
    """The same, allowed by ports.may_also_bind: it passes."""
    prepare_with(service, "--extra-udp-from", str(stray), expect=0,
                 ports={"may_also_bind": [f"udp:{stray}-{stray + 7}"]})


def test_one_that_crashes(service):
    said = prepare_with(service, "--crash-after-ms", "1500", gate={"passes": 100, "deadline": "60s"})
    assert "the instance of blue is gone, ended with status 101" in said, said


def test_one_that_starts_serves_and_then_cannot_follow(service):
    said = prepare_with(service, "--stall-after-slots", "5", "--exit-after-stall-ms", "1500",
                        gate={"passes": 30, "deadline": "60s"})
    assert "the instance of blue is gone, ended with status 1" in said, said
