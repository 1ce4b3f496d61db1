"""check tries what the probe of a promote will send, before any upgrade: what is wrong with it is said plainly then."""
import json

import pytest

from lib.answering import Answering
from lib.service import Service
from lib.tls import make_certificate

GET_SLOT = '{"jsonrpc":"2.0","id":1,"method":"getSlot"}'
PROBE = {"body": [GET_SLOT, GET_SLOT.replace("getSlot", "getVersion")], "rate": 200, "baseline": "1s", "timeout": "15s"}


@pytest.fixture(scope="module")
def service():
    with Service({"probe": PROBE, "bake": "1s"}, files=5, size="64K") as s:
        yield s.start()


@pytest.fixture
def spec(service):
    """Changes the section for one test."""
    before = service.spec
    yield lambda **section: service.change_spec({"probe": section})
    service.spec = before
    service.write_spec()


def findings(service, expect):
    done = service.run("check", "--fast", "-o", "json", expect=expect)
    return [f for f in json.loads(done.stdout) if f["topic"] == "probe"]


def the_only(service, level, words, mend):
    found = findings(service, 1 if level == "error" else 0)
    assert len(found) == 1 and found[0]["level"] == level, found
    assert words in found[0]["finding"] and mend in (found[0].get("mend") or ""), found[0]


def test_all_well_and_no_more_than_a_trial(service, spec):
    log = service.dir / "requests-green.log"
    spec(executed=[f"{service.dir}/requests-${{colour}}.log"])
    before = len(log.read_text().splitlines())
    the_only(service, "ok", f"2 trial requests were sent to http://127.0.0.1:{service.front_port}/ and answered well by green", "")
    assert len([li for li in log.read_text().splitlines()[before:] if len(li.split()[1]) > 9]) == 2
    spec(websockets=500)    # one is enough to know
    found, = findings(service, 0)
    assert found["level"] == "ok" and ", and a websocket, and answered" in found["finding"], found


def test_nobody_listens(service, spec):
    spec(url="http://127.0.0.1:1/")
    the_only(service, "error", "http://127.0.0.1:1/, as promote will send them: refused: connect: Connection refused",
             "probe.url in the spec")


def test_a_name_that_is_none(service, spec):
    spec(url="http://nowhere.invalid/")
    found, = findings(service, 1)
    assert found["level"] == "error" and "nowhere.invalid" in found["finding"], found


@pytest.mark.parametrize("status", [404, 503])
def test_a_status(service, spec, status):
    with Answering(status) as s:
        spec(url=s.url)
        found = findings(service, 1)
        error = [f for f in found if f["level"] == "error"]
        assert len(error) == 1 and f"status: status {status}" in error[0]["finding"] and "probe.expect_status" in error[0]["mend"]


def test_a_body(service, spec):
    spec(expect_body="no such thing")
    the_only(service, "error", "body: the body is not as expected", "probe.expect_body")


def test_a_method_that_live_does_not_know(service, spec):
    spec(body=[GET_SLOT, GET_SLOT.replace("getSlot", "getNothing")])
    the_only(service, "error", "JSON-RPC error: JSON-RPC error -32601", "probe.body")


def test_tls_to_a_plain_port_and_a_certificate_of_nobody(service, spec, tmp_path):
    spec(url=f"https://localhost:{service.front_port}/")
    the_only(service, "error", "refused: ", "probe.ca_file")
    cert = make_certificate(tmp_path)
    with Answering(cert=cert, colour="green") as s:
        spec(url=s.url)
        the_only(service, "error", "certificate", "probe.ca_file in the spec: who signs it")
        spec(url=s.url, ca_file=str(cert[0]))
        the_only(service, "ok", "answered well by green", "")


def test_who_answers(service, spec):
    with Answering() as s:
        spec(url=s.url)
        the_only(service, "warning", "does not say which colour it was: there is no header X-Changeover-Colour", "probe.colour_header")
    with Answering(colour="blue") as s:
        spec(url=s.url)
        the_only(service, "error", "is answered by blue, and green is live", "probe.url in the spec")


def test_a_websocket_that_does_not_open(service, spec):
    spec(websockets=5, ws_url="ws://127.0.0.1:1/")
    the_only(service, "error", "a trial websocket to ws://127.0.0.1:1/ does not open: Connection refused", "probe.ws_url")


def test_logs_that_say_nothing(service, spec):
    empty = service.dir / "empty.log"
    empty.write_text("")
    spec(executed=[str(empty)])
    the_only(service, "warning", "the logs of probe.executed say nothing of the requests that were just answered", "probe.executed")


def test_a_proxy_that_is_not_there_is_said_once(service):
    service.caddy.kill()
    try:
        assert findings(service, 1) == []
    finally:
        service.caddy.start()


def test_prepare_begins_nothing_over_it(service, spec):
    spec(url="http://127.0.0.1:1/")
    said = service.run("prepare", "-t", "2.0.0", expect=1).stderr
    assert "probe: a trial request to http://127.0.0.1:1/" in said and "next: probe.url in the spec" in said, said
    assert service.state() == "steady" and not (service.dir / "blue/ledger").exists()
