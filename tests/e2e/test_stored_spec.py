"""The spec file is edited, broken, renamed or removed while an upgrade is open: what runs goes on by the stored one."""
import json

import pytest

from lib.service import Service
from lib.waiting import wait_for


@pytest.fixture
def service():
    with Service() as s:
        s.start()
        yield s


def broken(text):
    return text + "\nnonsense: 1\n"


def cut(text):
    return text + "\n  bad: [\n"


def renamed(text):
    return text.replace("service: node", "service: other")


@pytest.mark.parametrize("damage", [broken, cut, renamed, None])
def test_rollback_and_cleanup_need_no_file(service, damage):
    good = service.spec_path.read_text()
    service.run("prepare", "-t", "2.0.0")
    if damage:
        service.spec_path.write_text(damage(good))
    else:
        service.spec_path.unlink()
    status = service.status()
    assert (status["service"], status["state"]) == ("node", "prepared")
    assert any("goes on by the spec that it was started with" in n for n in status["notes"]), status["notes"]
    service.run("plan", expect=2 if damage is not renamed else None)  # what looks at the file says what is wrong
    said = service.run("rollback").stderr
    assert "goes on by the spec that it was started with" in said
    service.run("cleanup", "-y")
    assert service.status()["state"] == "steady"
    refused = service.run("prepare", "-t", "2.0.0", expect=2).stderr
    assert "nothing new is begun by the stored spec" in refused
    service.spec_path.write_text(good)
    assert service.status()["notes"] == []
    service.run("check", "--fast")


def test_silence_rolls_back_although_the_file_is_broken(service):
    good = service.spec_path.read_text()
    service.run("prepare", "-t", "2.0.0")
    service.run("promote", "--confirm-within", "2s")
    service.spec_path.write_text(broken(good))
    wait_for(lambda: service.flags() == ["active-green"], "the guard to roll back on silence", 30)
    wait_for(lambda: service.state() == "rolled-back", "the rollback to end", 30)


def test_an_edit_counts_from_the_next_prepare(service):
    service.run("prepare", "-t", "2.0.0")
    service.change_spec({"bake": "1s"})
    assert any("counts from the next prepare" in n for n in service.status()["notes"])
    plan = json.loads(service.run("plan", "-o", "json").stdout)
    assert any("for 300 ms" in s["effect"] for s in plan["promote"])
    service.run("promote")
    service.run("cleanup", "-y")
    plan = json.loads(service.run("plan", "-t", "3.0.0", "-o", "json").stdout)
    assert any("for 1 s" in s["effect"] for s in plan["promote"]), plan["promote"]
