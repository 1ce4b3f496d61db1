"""A prepare that is killed between copying and the disk: no volume of another point in time is kept."""
import json
import shutil

import pytest

from lib.service import Service


@pytest.mark.parametrize("whole", [True, False])
def test_only_a_whole_set_is_kept(whole):
    with Service() as service:
        service.start()
        marker = service.dir / "fired"
        r = service.run("prepare", "-t", "2.0.0", expect=None, env={"CHANGEOVER_FAULT": f"kill@clone/settle@{marker}"})
        assert marker.exists() and r.returncode != 0
        blue = service.dir / "blue"
        states = [json.loads((blue / v / ".changeover").read_text())["state"] for v in ("ledger", "accounts")]
        assert states == ["copied", "copied"]
        (blue / "ledger" / "from-the-first-attempt").touch()
        if not whole:
            shutil.rmtree(blue / "accounts")
        service.run("resume")
        assert service.state() == "prepared"
        assert (blue / "ledger" / "from-the-first-attempt").exists() == whole
        for volume in ("ledger", "accounts"):
            assert json.loads((blue / volume / ".changeover").read_text())["state"] == "ready"
