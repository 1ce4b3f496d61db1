"""An upgrade from start to end, and back, against a real Caddy."""
import json

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


def test_dry_runs_json_and_reasons(service):
    said = service.run("prepare", "-n", "-t", "2.0.0")
    assert "prepare/clone" in said.stdout and "nothing was changed" in said.stderr
    assert service.state() == "steady"
    done = service.run("prepare", "-t", "2.0.0", "-o", "json", "--reason", "a better version")
    result = json.loads(done.stdout)
    assert result["state"] == "prepared" and result["live"] == "green" and "changeover promote" in result["next"]
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"phase", "step-start", "step-done"} <= {e["event"] for e in events}
    for command, step in (("promote", "promote/flip"), ("rollback", "rollback/stop")):
        steps = json.loads(service.run(command, "-n", "-o", "json").stdout)
        assert step in [s["step"] for s in steps]
    assert service.state() == "prepared"
    result = json.loads(service.run("promote", "--confirm-within", "10m", "-o", "json").stdout)
    assert (result["live"], result["state"]) == ("blue", "awaiting-confirm")
    failed = service.run("prepare", "-t", "3.0.0", "-o", "json", expect=1)
    error = json.loads(failed.stderr.splitlines()[-1])
    assert error["status"] == 1 and "changeover rollback" in error["next"]
    service.run("rollback", "--reason", "changed my mind")
    row = json.loads(service.run("history", "-o", "json").stdout)[0]
    assert row["reason"] == "prepare: a better version; rollback: changed my mind"
    assert "nothing was changed" in service.run("cleanup", "-n").stderr
    for options in (["--retire"], ["--destroy-snapshots"], ["--retire", "--destroy-snapshots"]):    # nothing is on ZFS here
        refused = service.run("cleanup", *options, "-y", expect=2)
        assert options[0] in refused.stderr and (service.dir / "blue/ledger").exists(), refused.stderr
    service.run("cleanup", "-y", "-o", "json")
    assert service.state() == "steady"


def test_a_spec_edited_in_mid_upgrade(service):
    service.run("prepare", "-t", "2.0.0")
    service.change_spec({"bake": "400ms", "traffic": {"verify_requests": 7}})
    said = service.run("promote").stderr
    assert "+bake: 400ms" in said and "-bake: 300ms" in said and "from the next prepare" in said, said
    assert "20 of 20 requests" in said, said
    service.run("cleanup", "-y")
    service.run("prepare", "-t", "3.0.0")
    assert "7 of 7 requests" in service.run("promote").stderr
