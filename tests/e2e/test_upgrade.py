"""An upgrade from start to end, and back, against a real Caddy."""
import pytest

from lib.service import Service


@pytest.fixture
def service():
    with Service() as s:
        yield s.start()


def test_there_and_on(service):
    assert service.live() == "green"
    service.run("prepare", "-t", "2.0.0")
    assert service.state() == "prepared"
    assert service.flags() == ["active-green"]
    service.run("promote")
    assert service.live() == "blue"
    assert service.flags() == ["active-blue"]
    assert service.rpc("getVersion")["solana-core"] == "2.0.0"
    service.run("cleanup", "-y")
    assert not (service.dir / "green/ledger").exists()
    assert service.state() == "steady"
    service.run("prepare", "-t", "3.0.0")
    service.run("promote")
    service.run("cleanup", "-y")
    assert service.live() == "green"
    assert service.rpc("getVersion")["solana-core"] == "3.0.0"
