"""check against a real service behind a real Caddy: all well, and every kind of bad input with the way on."""
import json
import os
import shutil
import socket
import subprocess

import pytest

from lib import ports
from lib.service import TOOL, Service


@pytest.fixture(scope="module")
def service():
    with Service() as s:
        yield s.start()


def look(service, *args, expect=1):
    """check's findings; nothing may have changed."""
    before = service.flags(), service.pid("green")
    done = service.run("check", "-o", "json", *args, expect=expect)
    assert (service.flags(), service.pid("green")) == before
    return json.loads(done.stdout)


def errors(findings):
    return [f for f in findings if f["level"] == "error"]


def the_only_error(service, topic, words, mend, *args):
    found = errors(look(service, *args))
    assert len(found) == 1, json.dumps(found, indent=1)
    assert found[0]["topic"] == topic
    assert words in found[0]["finding"], found[0]
    assert mend in found[0]["mend"], found[0]


@pytest.fixture
def spec(service):
    """Changes the spec file for one test."""
    before = service.spec
    yield service.change_spec
    service.spec = before
    service.write_spec()


def test_all_well(service):
    done = service.run("check", "-t", "2.0.0")
    assert "0 errors" in done.stdout, done.stdout
    assert "next: changeover plan" in done.stderr
    topics = {f["topic"] for f in look(service, "-t", "2.0.0", expect=0)}
    assert topics >= {"ports", "identity", "space", "freeze", "paths", "data", "traffic", "instance", "version", "state",
                      "kernel", "library"}


def test_a_port_of_the_standby_is_taken(service):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", service.ports["blue"]["ws"]))
        s.listen()
        the_only_error(service, "ports", f"tcp {service.ports['blue']['ws']}: taken by pid {os.getpid()}", "end what has it")


def test_a_port_inside_a_range_is_taken(service):
    first = int(service.ports["blue"]["dynamic"].split("-")[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("0.0.0.0", first + 2))
        the_only_error(service, "ports", f"udp {first + 2}: taken by pid {os.getpid()}", "end what has it")


def test_equal_identities(service):
    key = service.dir / "blue.json"
    kept = key.read_bytes()
    try:
        shutil.copyfile(service.dir / "green.json", key)
        public = service.rpc("getIdentity")["identity"]
        the_only_error(service, "identity", f"green and blue have one identity, {public}", "solana-keygen")
    finally:
        key.write_bytes(kept)


def test_data_that_is_not_ours_at_the_standbys_place(service):
    place = service.dir / "blue/ledger"
    place.mkdir(parents=True)
    try:
        (place / "precious").write_text("somebody's")
        the_only_error(service, "data", "holds data that is not ours", "move it away")
        assert (place / "precious").exists()
    finally:
        shutil.rmtree(place)


def test_the_clones_parent_is_missing(service):
    parent = service.dir / "blue"
    parent.rmdir()
    try:
        found = errors(look(service))
        assert [f["topic"] for f in found] == ["data", "data"], found  # both volumes lie in it
        assert all(f["mend"].startswith(f"mkdir -p {parent} ") for f in found), found
    finally:
        parent.mkdir()


def test_volumes_inside_one_another_by_a_link(service, spec):
    """The spec's own check compares the words; a link (to what does not exist yet) gets past that."""
    link = service.dir / "link-blue"
    link.symlink_to(service.dir / "blue/ledger")
    spec({"volumes": {"accounts": {"path": f"{service.dir}/link-${{colour}}/accounts"}}})
    found = errors(look(service))
    link.unlink()
    assert any(f["topic"] == "paths" and "lies around volume accounts of blue" in f["finding"] for f in found), found


def test_the_pause_is_said_beforehand(service):
    data = [f for f in look(service, expect=0) if f["topic"] == "freeze"]
    assert data and "live stands still for about" in data[0]["finding"] and "at most 10" in data[0]["finding"]


def test_a_downgrade_too_far(service):
    the_only_error(service, "version", "0.9.0 after 1.0.0 is a downgrade", "version_policy", "-t", "0.9.0")


def test_flags_that_contradict_the_journal(service):
    green, blue = service.flag_dir / "active-green", service.flag_dir / "active-blue"
    blue.touch(mode=0o644)
    green.unlink()
    try:
        found = errors(look(service))
        assert [f["topic"] for f in found] == ["traffic"], found
        assert "the flags say that blue is live, the journal says green" in found[0]["finding"]
        assert found[0]["mend"] == "changeover adopt --live blue"
    finally:
        green.touch(mode=0o644)
        blue.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run Caddy as somebody else")
def test_flags_that_caddys_user_cannot_read(service):
    mode = service.flag_dir.stat().st_mode & 0o7777
    service.flag_dir.chmod(0o700)
    try:
        the_only_error(service, "traffic", "its user cannot read them", "chmod a+rx")
    finally:
        service.flag_dir.chmod(mode)


def test_another_service_has_the_same_port_and_path(service):
    other = service.dir / "state/other"
    other.mkdir()
    try:
        text = service.spec_path.read_text().replace("service: node", "service: other", 1)
        (other / "spec.yml").write_text(text)
        found = errors(look(service))
        assert {f["topic"] for f in found} == {"services"}
        assert any("is rpc of green and rpc of service other, green" in f["finding"] for f in found)
        assert any("flag directory" in f["finding"] for f in found)
        assert any("volume ledger of blue" in f["finding"] for f in found)
    finally:
        shutil.rmtree(other)


def test_caddy_is_down(service):
    service.caddy.stop()
    try:
        the_only_error(service, "traffic", "the proxy does not answer", "traffic.admin")
    finally:
        service.caddy.start()


def test_caddy_runs_another_configuration(service):
    service.caddy.load("{\n\tadmin %s\n}\n" % service.caddy.admin)
    try:
        the_only_error(service, "traffic", "does not run with our block", "changeover traffic install")
    finally:
        service.caddy.load(service.caddy.path.read_text())


def test_before_the_first_contact_nothing_is_an_error_that_adopt_would_mend(tmp_path):
    blocks = ports.take_block()
    spec = tmp_path / "changeover.yml"
    data = tmp_path / "green"
    data.mkdir()
    spec.write_text(f"""
service: fresh
writes: both
colours:
  green: {{ports: {{http: {blocks.take()}}}}}
  blue: {{ports: {{http: {blocks.take()}}}}}
volumes: {{data: {{path: "{tmp_path}/${{colour}}"}}}}
runtime: {{command: [/bin/true]}}
traffic: {{driver: none, port: http}}
gate: {{checks: [{{tcp: {{port: http}}}}]}}
""")
    done = subprocess.run([TOOL, "check", "-f", spec, "--state-dir", tmp_path / "state"], capture_output=True, text=True)
    blocks.release()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mend: changeover adopt" in done.stdout
    assert "next: changeover adopt" in done.stderr
    assert not (tmp_path / "state").exists(), "check changes nothing"
