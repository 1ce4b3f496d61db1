"""failover: true. The flag exists only while the guard looks and the other colour is good; then a live that dies costs
little, and a standby that is not good is never served from."""
import os
import signal
import time

import pytest

from lib.caddy import binaries
from lib.service import Service
from lib.waiting import wait_for


@pytest.fixture(params=binaries(), ids=lambda b: b[0])
def service(request):
    with Service({"traffic": {"failover": True}}, caddy=request.param[1]()) as s:
        yield s.start()


def flag(service):
    return (service.flag_dir / "failover").exists()


def answered(service):
    try:
        return service.rpc("getIdentity")["identity"]
    except (OSError, AssertionError, ValueError):
        return None


def test_the_flag_follows_the_standby(service):
    assert not flag(service)
    service.run("prepare", "-t", "2.0.0")
    wait_for(lambda: flag(service), "both colours to be found good", 15)
    service.fault("blue", "stall")
    wait_for(lambda: not flag(service), "a standby that stands still to take the flag away", 15)
    assert service.identity() == "green"
    service.fault("blue", "none")
    wait_for(lambda: flag(service), "the flag to be back", 15)
    service.run("rollback")
    assert not flag(service)


def test_a_live_that_dies_is_served_by_the_standby(service):
    service.run("prepare", "-t", "2.0.0")
    wait_for(lambda: flag(service), "both colours to be found good", 15)
    os.kill(service.pid("green"), signal.SIGKILL)
    blue = next(k for k, c in service.pubkeys.items() if c == "blue")
    wait_for(lambda: answered(service) == blue, "the standby to answer", 5)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert answered(service) == blue
        time.sleep(0.05)


def test_a_flag_without_a_guard_is_removed(service):
    service.run("prepare", "-t", "2.0.0")
    service.run("rollback")
    (service.flag_dir / "failover").touch()
    wait_for(lambda: not flag(service), "the guard to remove a flag that nobody asked for", 15)
