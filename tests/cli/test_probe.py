"""The probe against a server with faults injected: each is reported exactly, and nothing else."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest


GET_SLOT = '{"jsonrpc":"2.0","id":"mine","method":"getSlot","params":[]}'
OUTCOMES = ["ok", "bad", "refused", "reset", "timed out", "unsent"]


@pytest.fixture
def faulty(root):
    """faulty("drop@100", ...) starts the server and gives (HTTP URL, websocket URL)."""
    started = []

    def start(*faults, args=()):
        argv = [sys.executable, root / "tests/lib/faulty.py", *args]
        for f in faults:
            argv += ["--fault", f]
        p = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, text=True)
        started.append(p)
        port, ws = p.stdout.readline().strip(), p.stdout.readline().strip()
        assert port and ws
        return f"http://127.0.0.1:{port}/", f"ws://127.0.0.1:{ws}/"

    yield start
    for p in started:
        p.kill()
        p.wait()


@pytest.fixture
def probe(tool):
    """Runs it and gives its figures; the sum always has to hold."""

    def run(url, *args, rate=200, duration="1s", data=GET_SLOT, sent=None):
        more = ["--data", data] if data else []
        r = tool("probe", url, "--rate", rate, "--duration", duration, "-o", "json", *more, *args)
        assert r.returncode in (0, 1), r.stderr
        j = json.loads(r.stdout)
        assert j["sent"] == sum(j["outcomes"][o] for o in OUTCOMES)
        assert j["sent"] == pytest.approx(sent or rate * float(duration[:-1]), abs=1)
        assert (r.returncode == 0) == j["clean"]
        return j

    return run


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def failed(j):
    """[(number, outcome or kind of bad answer)]"""
    return [(f["number"], f.get("bad", f["outcome"])) for f in j["failures"]]


def test_a_good_server_loses_nothing(faulty, probe):
    j = probe(faulty()[0])
    assert j["clean"] and j["lost"] == 0 and j["answered"] == 200 and failed(j) == []
    assert j["colours"] == [pytest.approx({**j["colours"][0], "name": "green", "ok": 200, "bad": 0})]
    assert j["slots"]["step_back"] == 0 and j["slots"]["last"] > j["slots"]["first"]
    assert j["connections"] < 50


@pytest.mark.parametrize("fault, kind", [
    ("drop", "timed out"), ("reset", "reset"), ("close", "reset"), ("swap", "other's answer"),
    ("status", "status"), ("error", "JSON-RPC error"), ("garbage", "not HTTP"), ("stale", "stale slot")])
def test_one_fault_is_one_loss(faulty, probe, fault, kind):
    j = probe(faulty(f"{fault}@100")[0], "--timeout", "500ms", "--max-step-back", "20")
    assert failed(j) == [(100, kind)]
    assert j["lost"] == 1 and j["answered"] == j["sent"] - 1 and not j["clean"]


def test_a_request_that_is_not_counted_ends_the_probe(faulty, build):
    """sent = in flight + the sum of the outcomes: figures that do not add up are never printed."""
    if b"CHANGEOVER_FAULT" not in (build / "src/changeover").read_bytes():
        pytest.skip("this build has no fault points")
    r = subprocess.run([build / "src/changeover", "probe", faulty("status@20")[0], "--rate", "200", "--duration", "500ms"],
                       capture_output=True, env={**os.environ, "CHANGEOVER_FAULT": "fail@probe/count-loss"})
    assert r.returncode == -signal.SIGABRT and r.stdout == b""


def test_all_of_them_at_once(faulty, probe):
    faults = ["drop@20", "reset@40", "swap@60", "status@80", "error@100", "garbage@120", "close@140", "stale@160"]
    j = probe(faulty(*faults)[0], "--timeout", "500ms", "--max-step-back", "20")
    assert sorted(failed(j)) == [(20, "timed out"), (40, "reset"), (60, "other's answer"), (80, "status"),
                                 (100, "JSON-RPC error"), (120, "not HTTP"), (140, "reset"), (160, "stale slot")]


def test_two_answers_to_one_request(faulty, probe):
    j = probe(faulty("twice@100")[0])
    assert j["duplicate_answers"] == 1 and j["lost"] == 0 and not j["clean"]


def test_a_frozen_second_is_charged_to_all_that_should_have_been_answered(faulty, probe):
    j = probe(faulty("freeze=1@200")[0], duration="3s")
    assert j["lost"] == 0
    late = j["lateness_ms"]["max"]  # what a busy machine adds
    assert 990 - late <= j["longest_gap_ms"] <= 1200 + late
    assert j["longest_gap_at_ms"] == pytest.approx(995, abs=60 + late)
    # a third of all requests fell into it, evenly: a closed loop would have seen a single slow one
    assert j["latency_ms"]["max"] == pytest.approx(1000, abs=150 + late)
    assert j["latency_ms"]["p90"] == pytest.approx(700, abs=140 + late)
    assert j["latency_ms"]["p50"] < 100 + late


def test_a_gap_that_the_probe_slept_through_is_not_the_servers(faulty, build, tmp_path):
    url, _ = faulty()
    log = tmp_path / "log"
    p = subprocess.Popen([build / "src/changeover", "probe", url, "--rate", "200", "--duration", "3s", "--data", GET_SLOT,
                          "-o", "json", "--log", log], stdout=subprocess.PIPE)
    wait_for(lambda: log.exists() and log.stat().st_size)
    p.send_signal(signal.SIGSTOP)
    time.sleep(1)  # the length of the stall
    p.send_signal(signal.SIGCONT)
    j = json.loads(p.communicate(timeout=20)[0])
    assert j["lost"] == 0 and j["sent"] == 600
    assert j["stalls_ms"] > 900 and j["longest_gap_ms"] < 300
    assert j["lateness_ms"]["max"] > 900


def test_requests_that_find_no_connection_are_counted(faulty, probe):
    j = probe(faulty("freeze=1@50")[0], "--connections", "10", "--timeout", "300ms")
    assert j["outcomes"]["unsent"] > 50 and j["outcomes"]["timed out"] >= 10
    assert j["lost"] == j["outcomes"]["unsent"] + j["outcomes"]["timed out"]


def test_a_closed_port_is_refused(faulty, probe):
    j = probe(faulty("refuse=0.3@60")[0], duration="2s")
    assert (60, "reset") in failed(j)
    assert {kind for _, kind in failed(j)} == {"reset", "refused"}
    assert 40 <= j["outcomes"]["refused"] <= 90
    late = j["lateness_ms"]["max"]
    assert 290 - late <= j["longest_gap_ms"] <= 500 + late


def test_nobody_listens(probe, tool):
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        j = probe(f"http://127.0.0.1:{s.getsockname()[1]}/", data=None)
    assert j["outcomes"]["refused"] == j["sent"] == 200
    assert j["longest_gap_ms"] + j["stalls_ms"] >= 990 >= j["longest_gap_ms"] - 20


def test_the_colours_of_a_flip(faulty, probe):
    j = probe(faulty(args=["--flip-at", "121"])[0])
    assert {c["name"]: c["ok"] for c in j["colours"]} == {"green": 120, "blue": 80}
    green, blue = j["colours"]
    assert green["last_ms"] < blue["first_ms"]


def test_the_colour_from_a_field_of_the_answer(faulty, probe):
    args = ["--flip-at", "121", "--name-in-body"]
    j = probe(faulty(args=args)[0], "--colour-field", "context.node", "--colour-header", "X-None")
    assert [(c["name"], c["ok"]) for c in j["colours"]] == [("green", 120), ("blue", 80)]
    assert [(f["from"], f["to"]) for f in j["windows"]["flips"]] == [("green", "blue")]
    # an answer without the field: the header; without either: nobody
    assert {c["name"] for c in probe(faulty(args=args)[0], "--colour-field", "context.no")["colours"]} == {"green", "blue"}
    j = probe(faulty(args=args)[0], "--colour-header", "X-None")
    assert {c["name"] for c in j["colours"]} == {"-"}


def test_latencies_before_around_and_after_a_flip(faulty, probe):
    j = probe(faulty(args=["--flip-at", "301"])[0], duration="3s")
    w = j["windows"]
    assert [(f["from"], f["to"]) for f in w["flips"]] == [("green", "blue")]
    assert w["flips"][0]["at_ms"] == pytest.approx(j["colours"][1]["first_ms"], abs=1)
    assert sum(w[k]["count"] for k in ("before", "during", "after")) == j["answered"] == 600
    assert w["during"]["count"] == pytest.approx(200, abs=40) and w["before"]["count"] == pytest.approx(200, abs=40)
    assert "windows" not in probe(faulty()[0])


def test_the_frozen_second_is_in_the_window_of_the_flip_alone(faulty, probe):
    w = probe(faulty("freeze=0.4@420", args=["--flip-at", "415"])[0], duration="4s")["windows"]
    assert w["during"]["max"] > 350 > w["before"]["max"] and w["during"]["p90"] > 2 * w["before"]["p90"]


def test_a_series_over_time(faulty, probe):
    j = probe(faulty("freeze=0.5@100", args=["--flip-at", "301"])[0], "--series", "200ms", "--timeout", "300ms", duration="2s")
    s = j["series"]
    assert s["every_ms"] == 200 and s["colours"] == ["green", "blue"] and 10 <= len(s["windows"]) <= 12
    columns = [sum(c) for c in zip(*s["windows"])]
    assert columns[0] == j["sent"] and columns[1] == j["lost"] > 10
    assert columns[6:] == [c["ok"] for c in j["colours"]]
    assert all(w[2] <= w[3] <= w[4] <= w[5] for w in s["windows"])


def test_a_ramp(faulty, probe):
    j = probe(faulty()[0], "--ramp-to", "300", "--series", "500ms", rate=100, duration="2s", sent=400)
    assert j["lost"] == 0
    sent = [w[0] for w in j["series"]["windows"][:4]]  # 62, 87, 112, 138 but for lateness
    assert sent[0] + 40 < sent[3] and sent == sorted(sent)
    assert probe(faulty()[0], "--ramp-to", "50", rate=150, duration="2s", sent=200)["lost"] == 0


def test_slow_requests_have_a_timeout_of_their_own(faulty, probe):
    j = probe(faulty(args=["--slow", "0.8"])[0], "--timeout", "300ms", "--slow-every", "50", "--slow-body",
              '{"jsonrpc":"2.0","method":"slow","id":0}', "--slow-timeout", "5s")
    assert j["slow"] == 4 and j["lost"] == 0
    assert 800 <= j["latency_ms"]["max"] < 1000 and j["latency_ms"]["p90"] < 200
    assert j["longest_gap_ms"] < 300  # the slow ones that end after the last request are no gap


def test_fresh_connections(faulty, probe):
    j = probe(faulty()[0], "--fresh", "25")
    assert j["lost"] == 0 and 50 <= j["connections"] <= 80
    assert probe(faulty()[0], "--fresh", "100")["connections"] == 200


def test_chunked_answers_and_get(faulty, probe):
    assert probe(faulty(args=["--chunked"])[0])["lost"] == 0
    j = probe(faulty()[0], "--expect-body", '"result": *"ok"', data=None)
    assert j["lost"] == 0
    j = probe(faulty()[0], "--expect-body", "^ok$", data=None)
    assert j["outcomes"]["bad"] == j["sent"] == j["bad"]["body"]
    assert probe(faulty()[0], "--expect-status", "204")["bad"]["status"] == 200


def test_bodies_of_a_file_in_turn(faulty, probe, tmp_path):
    path = tmp_path / "bodies"
    path.write_text(GET_SLOT + '\n\n{"method": "getHealth", "jsonrpc": "2.0"}\nnot json\n')
    j = probe(faulty()[0], "--body-file", path, "--plain", data=None)
    assert j["lost"] > 60  # the server cuts what is no JSON: the third body really went out
    path.write_text(GET_SLOT + '\n\n{"method": "getHealth", "jsonrpc": "2.0"}\n')
    assert probe(faulty()[0], "--body-file", path, data=None)["lost"] == 0


def test_the_log_is_the_seeds(faulty, tool, tmp_path):
    log = tmp_path / "log"
    url, _ = faulty("drop@10", "reset@20")
    r = tool("probe", url, "--rate", 100, "--duration", "500ms", "--timeout", "300ms", "--data", GET_SLOT, "--log", log)
    lines = log.read_text().splitlines()
    assert len(lines) == 50 and sum("FAIL" in l for l in lines) == 2
    assert sum(bool(re.fullmatch(r"200 \d\.\d{4}", l)) for l in lines) == 48
    assert r.returncode == 1 and r.stdout.splitlines()[-1] == "50 sent, 48 answered, 2 lost"
    assert "#10 " in r.stdout and "#20 " in r.stdout and r.stderr == ""


def over_tls(url):
    return url.replace("http://127.0.0.1", "https://localhost")


def test_the_same_faults_over_tls(faulty, probe, certificate):
    cert, both = certificate
    faults = ["drop@20", "reset@41", "swap@60", "status@80", "error@100", "close@140", "stale@160"]
    url, _ = faulty(*faults, args=["--tls", both])
    j = probe(over_tls(url), "--cacert", cert, "--timeout", "3s", "--max-step-back", "20", "--fresh", "5")
    # 41 goes over a kept connection, where libcurl sends it again and would hide it
    assert sorted(failed(j)) == [(20, "timed out"), (41, "reset"), (60, "other's answer"), (80, "status"),
                                 (100, "JSON-RPC error"), (140, "reset"), (160, "stale slot")]
    assert {c["name"] for c in j["colours"]} == {"green"} and j["slots"]["last"] > j["slots"]["first"]
    assert 10 <= j["connections"] < 120  # a busy machine needs more


def test_two_answers_to_one_request_over_tls(faulty, probe, certificate):
    cert, both = certificate
    url, _ = faulty("twice@60", "twice@101", args=["--tls", both])
    j = probe(over_tls(url), "--cacert", cert, "--fresh", "50")
    assert j["duplicate_answers"] == 2 and j["lost"] == 0 and not j["clean"], j


def test_a_frozen_second_over_tls(faulty, probe, certificate):
    cert, both = certificate
    url, _ = faulty("freeze=1@200", args=["--tls", both])
    j = probe(over_tls(url), "--cacert", cert, duration="4s")  # on a busy machine the freeze begins late
    assert j["lost"] == 0 and 990 <= j["longest_gap_ms"] <= 1300


def test_an_unknown_certificate_is_refused(faulty, probe, certificate):
    cert, both = certificate
    url = over_tls(faulty(args=["--tls", both])[0])
    j = probe(url)
    assert j["outcomes"]["refused"] == 200 and "certificate" in j["failures"][0]["detail"]
    assert probe(url, "--insecure")["lost"] == 0


def test_websockets_that_stay(faulty, probe):
    url, ws = faulty()
    j = probe(url, "--websockets", "20", "--ws-url", ws)
    w = j["websockets"]
    assert j["clean"] and w["open"] == w["stayed"] == 20 and w["drops"] == w["gaps"] == 0
    assert w["events"] > 20 * 20


@pytest.mark.parametrize("fault, closed", [("kick", 0), ("kick-close", 20)])
def test_websockets_that_are_dropped_come_back_at_the_first_try(faulty, probe, fault, closed):
    url, ws = faulty(f"{fault}@100", "skip=7@60")
    j = probe(url, "--websockets", "20", "--ws-url", ws)
    w = j["websockets"]
    assert j["clean"] and w["open"] == 20 and w["stayed"] == 0
    assert w["drops"] == w["reconnects"] == w["first_try"] == 20 and w["closed"] == closed
    assert w["gaps"] == 20 and w["missed"] == 20 * 7 and w["backward"] == 0
    assert 20 * 1 <= w["missed_away"] <= 20 * 20 and 40 < w["longest_away_ms"] < 400


def test_websockets_that_nobody_serves(faulty, probe):
    j = probe(faulty()[0], "--websockets", "2", "--ws-url", "ws://127.0.0.1:1/")
    assert not j["clean"] and j["lost"] == 0
    assert j["websockets"]["open"] == 0 and j["websockets"]["refused"] > 10
    assert j["websockets"]["refused_why"] == "Connection refused"


def test_a_thousand_websockets(faulty, probe):
    url, ws = faulty(args=["--slot-ms", "200"])
    j = probe(url, "--websockets", "1000", "--ws-url", ws, rate=100, duration="3s")
    w = j["websockets"]
    assert j["clean"] and w["open"] == w["stayed"] == 1000 and w["drops"] == w["gaps"] == w["refused"] == 0


def over_wss(url):
    return url.replace("ws://127.0.0.1", "wss://localhost")


@pytest.mark.parametrize("fault, closed", [(None, 0), ("kick", 0), ("kick-close", 40)])
def test_websockets_over_tls(faulty, probe, certificate, fault, closed):
    """Also beside requests in the clear; many, for so long that libcurl looks after its idle connections."""
    cert, both = certificate
    url, ws = faulty(*([f"{fault}@350", "skip=7@300"] if fault else []), args=["--tls-ws", both, "--slot-ms", "50"])
    j = probe(url, "--websockets", "40", "--ws-url", over_wss(ws), "--cacert", cert, rate=100, duration="5s")
    w = j["websockets"]
    assert j["clean"] and w["open"] == 40 and w["refused"] == 0 and w["events"] > 40 * 20, w
    if not fault:
        assert w["stayed"] == 40 and w["drops"] == w["gaps"] == 0
    else:
        assert w["stayed"] == 0 and w["drops"] == w["reconnects"] == w["first_try"] == 40 and w["closed"] == closed, w
        assert w["gaps"] == 40 and w["missed"] == 40 * 7 and w["backward"] == 0, w


def test_many_websockets_over_tls_do_not_hold_up_each_other(faulty, probe, certificate):
    """All are cut at once, and each handshake costs the probe a millisecond."""
    cert, both = certificate
    url, ws = faulty("kick@600", args=["--tls-ws", both, "--slot-ms", "400"])
    j = probe(url, "--websockets", "200", "--ws-url", over_wss(ws), "--cacert", cert, rate=100, duration="9s")
    w = j["websockets"]
    assert j["clean"] and w["open"] == 200 and w["drops"] == w["reconnects"] == 200 and w["refused"] == 0, w


def test_requests_and_websockets_over_tls_alone(faulty, probe, certificate):
    cert, both = certificate
    url, ws = faulty("drop@60", args=["--tls", both, "--tls-ws", both])
    j = probe(over_tls(url), "--cacert", cert, "--websockets", "20", "--ws-url", over_wss(ws), "--timeout", "3s", rate=100)
    assert failed(j) == [(60, "timed out")] and j["lost"] == 1
    assert j["websockets"]["stayed"] == 20


def test_a_websocket_server_that_nobody_knows_is_refused(faulty, probe, certificate):
    cert, both = certificate
    url, ws = faulty(args=["--tls-ws", both])
    j = probe(url, "--websockets", "2", "--ws-url", over_wss(ws))
    assert not j["clean"] and j["lost"] == 0 and j["websockets"]["open"] == 0
    assert "certificate" in j["websockets"]["refused_why"].lower()
    assert probe(url, "--websockets", "2", "--ws-url", over_wss(ws), "--insecure")["clean"]
    assert not probe(url, "--websockets", "2", "--ws-url", ws)["clean"]  # TLS is not spoken to in the clear


def test_interrupted_it_waits_for_what_is_in_flight(faulty, build, tmp_path):
    log = tmp_path / "log"
    url, _ = faulty(args=["--slow", "0.5"])
    p = subprocess.Popen([build / "src/changeover", "probe", url, "--rate", "100", "--data", GET_SLOT, "--slow-every",
                          "10", "--slow-body", '{"method":"slow","id":1}', "-o", "json", "--log", log], stdout=subprocess.PIPE)
    wait_for(lambda: log.exists() and log.stat().st_size)
    p.send_signal(signal.SIGINT)
    j = json.loads(p.communicate(timeout=10)[0])
    assert p.returncode == 0 and j["lost"] == 0 and j["sent"] == j["answered"] > 10


def test_the_self_test_finds_each_fault_and_nothing_else(tool):
    r = tool("probe", "--self-test")
    assert r.returncode == 0 and r.stderr == "", r.stdout + r.stderr
    assert r.stdout.splitlines()[-1].startswith("self-test passed: 8 of 8 rows ok")


@pytest.mark.parametrize("fault", ["swap", "drop"])
def test_the_self_test_can_fail(tool, build, fault):
    if b"CHANGEOVER_FAULT" not in (build / "src/changeover").read_bytes():
        pytest.skip("this build has no fault points")
    r = tool("probe", "--self-test", "-o", "json", env={**os.environ, "CHANGEOVER_FAULT": f"fail@self-test/{fault}"})
    j = json.loads(r.stdout)
    assert r.returncode == 1 and not j["ok"]
    missed = {row["fault"] for row in j["rows"] if not row["ok"]}
    # the last three may fail as well where the machine keeps the probe waiting
    assert missed - {"refuse", "freeze", "nothing else"} == {fault}


@pytest.mark.parametrize("args, word", [
    ([], "--self-test"), (["http://127.0.0.1:1/", "--self-test"], "--self-test"), (["ftp://x/"], "ftp"), (["http://127.0.0.1:1/", "--http", "3"], "--http"), (["http://127.0.0.1:1/", "--rate", "x"], "--rate"),
    (["http://127.0.0.1:1/", "--duration", "5"], "unit"), (["http://127.0.0.1:1/", "--expect-body", "("], "expression"),
    (["http://127.0.0.1:1/", "--websockets", "2"], "ws://"), (["http://127.0.0.1:1/", "--header", "x"], "NAME: VALUE"),
    (["http://127.0.0.1:1/", "--ramp-to", "9"], "duration"), (["http://127.0.0.1:1/", "--series", "1ms"], "10 ms"),
    (["http://127.0.0.1:1/", "--slow-every", "2"], "--slow-body")])
def test_wrong_use_is_2(tool, args, word):
    r = tool("probe", *args)
    assert r.returncode == 2 and word in r.stderr and r.stdout == ""
