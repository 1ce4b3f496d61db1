"""After a reboot, in any state, exactly the instances run that the state says, and a promise goes on."""

import pytest

from lib.service import Service
from lib.waiting import wait_for


@pytest.fixture
def service():
    with Service() as s:
        yield s.start()


def reboot(service):
    """All that the service has is gone at once, as after a power cut; then what the boot unit runs."""
    network = service.network.process.pid
    service.end_processes(spare=lambda pid, _: pid == network)
    service.run("start", "--boot")
    return [c for c in ("green", "blue") if service.pid(c)]


def test_exactly_what_the_state_says_runs_after_a_boot(service):
    assert reboot(service) == ["green"]
    service.run("prepare", "-t", "2.0.0")
    assert reboot(service) == ["green", "blue"]
    assert service.status()["guard"] == "lives"
    service.run("promote")
    assert reboot(service) == ["blue"]
    wait_for(lambda: service.identity() == "blue", "blue to answer", 20)
    service.run("rollback")
    assert reboot(service) == ["green"]
    service.run("cleanup", "-y")
    service.run("stop", "-y")
    assert reboot(service) == []


def test_silence_rolls_back_over_a_boot(service):
    service.run("prepare", "-t", "2.0.0")
    service.run("promote", "--confirm-within", "5s")
    assert service.flags() == ["active-blue"]
    good = service.spec_path.read_text()
    service.spec_path.write_text(good + "\nnonsense: 1\n")  # what is stored brings it back all the same
    assert reboot(service) == ["green", "blue"]
    wait_for(lambda: service.state() == "rolled-back", "the guard to roll back", 40)
    assert service.flags() == ["active-green"]
    assert service.identity() == "green"
