"""The probe beside an upgrade: it ends when the upgrade is promoted, and has seen the flip."""
import json
import subprocess

import pytest

from lib.service import Service


@pytest.fixture
def service():
    with Service(files=5, size="64K") as s:
        yield s.start()


def probe(service, *args):
    return service.argv("probe", f"http://127.0.0.1:{service.front_port}/", "--rate", "200", "--until-promoted", "-o", "json",
                        "--data", '{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[]}', *args)


def test_it_ends_with_the_promotion(service):
    p = subprocess.Popen(probe(service), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        service.run("prepare", "-t", "2.0.0")
        assert p.poll() is None
        service.run("promote")
        out, err = p.communicate(timeout=20)
    finally:
        p.kill()
    j = json.loads(out)
    assert p.returncode == 0 and j["lost"] == 0 and err == ""
    assert [(f["from"], f["to"]) for f in j["windows"]["flips"]] == [("green", "blue")]
    again = subprocess.run(probe(service), capture_output=True, text=True, timeout=20)
    assert again.returncode == 1 and "promoted already" in again.stderr
