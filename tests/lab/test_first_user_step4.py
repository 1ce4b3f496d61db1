"""Step 4 of the first user's document inside the VM, with the process runtime: its own commands as they stand, on a pool,
datasets and ports of the names that it uses. docs/first-user.md has every line of them."""
import os
import pathlib
import subprocess

import pytest

from lib.rpcnode import ROOT
from lib.service import TOOL
from lib.zfs import ZfsService, digest, needs_zfs, zfs

SEED = os.environ.get("CHANGEOVER_SEED")
pytestmark = [needs_zfs, pytest.mark.skipif(not SEED, reason="CHANGEOVER_SEED: the first user's document is not here")]
PREPARE = "./scripts/blue-green-prepare.sh --target-version v2.2.1"
CLONED = "zfs list biscayne/DATA/volumes/solana-blue"
HEALTHY = "timeout 600 bash -c 'until curl -sf http://localhost:8897/health; do sleep 5; done'"
BACK = "zfs destroy biscayne/DATA/volumes/solana-blue"


def document():
    return {line.strip() for line in pathlib.Path(SEED).read_text().splitlines()}


@pytest.mark.parametrize("line", [PREPARE, CLONED, HEALTHY, BACK])
def test_it_is_the_documents_own(line):
    assert line in document()


class Theirs(ZfsService):
    """As on their host: solana and solana-blue below biscayne/DATA/volumes, RPC on 8899 and 8897."""

    def __init__(self):
        super().__init__(versions=("v2.2.0", "v2.2.1"), volumes=("ledger",))
        self.parent = "biscayne/DATA/volumes"
        ports = {"green": 8899, "blue": 8897}
        self.ports = {c: {**self.ports[c], "rpc": p, "ws": p + 100} for c, p in ports.items()}
        self.change_spec({
            "colours": {c: {"ports": {"rpc": p, "ws": p + 100}, "config": {"dataset": self.dataset(c)}} for c, p in ports.items()},
            "volumes": {"ledger": {"dataset": "${config.dataset}"},
                        "accounts": {"driver": "copy"}},
            "space": {"floor": "100MB", "last_floor": "50MB"},  # a small machine
            "runtime": {"version": {"output": "rpcnode (v[0-9.]+)"}}})

    def dataset(self, colour, volume="ledger"):
        return f"{self.parent}/solana" + ("-blue" if colour == "blue" else "")


@pytest.fixture
def theirs():
    image = "/var/tmp/biscayne"
    subprocess.run(["truncate", "-s", "2G", image], check=True)
    subprocess.run(["zpool", "create", "-O", "mountpoint=none", "biscayne", image], check=True)
    zfs("create", "biscayne/DATA")
    service = Theirs()
    try:
        yield service.start("v2.2.0")
    finally:
        service.close()
        subprocess.run(["zpool", "destroy", "biscayne"], check=True)
        os.unlink(image)


def test_step_4(theirs):
    env = {**os.environ, "CHANGEOVER": str(TOOL), "CHANGEOVER_SPEC": str(theirs.spec_path),
           "CHANGEOVER_STATE_DIR": str(theirs.dir / "state")}

    def bash(line, expect=0):
        done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
        assert done.returncode == expect, (line, done.stdout, done.stderr)
        return done.stdout

    fixed = digest(theirs.dir / "green/ledger")["fixed"]
    bash(PREPARE)
    # assert: ZFS clone exists
    assert "biscayne/DATA/volumes/solana-blue" in bash(CLONED)
    assert theirs.graph()["solana-blue"].startswith("solana@changeover-")
    # assert: blue deployment exists and is catching up (no Kubernetes here: the process)
    blue = next(c for c in theirs.status()["colours"] if c["colour"] == "blue")
    assert blue["pid"] and blue["version"] == "v2.2.1" and blue["role"] == "standby"
    # assert: blue RPC eventually becomes healthy
    assert bash(HEALTHY) == "ok"
    assert theirs.rpc("getVersion", port=8897)["solana-core"] == "v2.2.1"
    # what it does not assert: green serves on, its data is as it was, and blue's is a clone of it
    assert theirs.identity() == "green" and theirs.live() == "green"
    assert digest(theirs.dir / "green/ledger")["fixed"] == digest(theirs.dir / "blue/ledger")["fixed"] == fixed
    # its other two scripts: to blue, and (a second upgrade would be the next) what step 12 would have destroyed is live
    bash("./scripts/blue-green-promote.sh")
    assert theirs.live() == "blue" and theirs.identity() == "blue"
    refused = subprocess.run(BACK.split(), capture_output=True, text=True)
    assert refused.returncode != 0 and digest(theirs.dir / "blue/ledger")["fixed"] == fixed
    bash("./scripts/blue-green-rollback.sh")
    assert theirs.live() == "green" and digest(theirs.dir / "green/ledger")["fixed"] == fixed
    theirs.run("cleanup", "-y")
    assert theirs.graph() == {"other": "-", "solana": "-"}
