"""The probe's proof over TLS and HTTP/2: what the self-test injects into HTTP/1.1, by a server that does it to streams."""
import json
import subprocess
import sys

import pytest


GET_SLOT = '{"jsonrpc":"2.0","id":1,"method":"getSlot"}'
RATE, SECONDS = 250, 4     # what the server, in Python, keeps up with on a busy machine, too


@pytest.fixture
def probed(root, tool, certificate):
    """The figures of a probe of a server with these faults."""
    started = []

    def run(*faults, args=(), rate=RATE):
        argv = [sys.executable, root / "tests/lib/faulty_h2.py", "--tls", certificate[1]]
        for f in faults:
            argv += ["--fault", f]
        p = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, text=True)
        started.append(p)
        port, _ = p.stdout.readline().strip(), p.stdout.readline()
        r = tool("probe", f"https://localhost:{port}/", "--cacert", certificate[0], "--http", "2", "--rate", rate, "--duration",
                 f"{SECONDS}s", "--timeout", "15s", "--data", GET_SLOT, "--max-step-back", "20", "-o", "json", *args)
        assert r.returncode in (0, 1), r.stderr
        j = json.loads(r.stdout)
        assert j["sent"] == sum(j["outcomes"].values()) == pytest.approx(rate * SECONDS, abs=1)
        return j

    yield run
    for p in started:
        p.kill()
        p.wait()


def failed(j):
    return sorted((f["number"], f.get("bad", f["outcome"])) for f in j["failures"])


def test_a_good_server_loses_nothing_on_few_connections(probed):
    j = probed()
    assert j["clean"] and j["lost"] == 0 and j["connections"] < RATE * SECONDS / 2, (j["failures"], j["connections"])
    assert [c["name"] for c in j["colours"]] == ["green"]


def test_each_fault_is_found_and_nothing_else(probed):
    """A stream that is refused would be sent again by libcurl: a client that does not would have lost it, so it counts."""
    j = probed("drop@50", "reset@100", "swap@150", "stale@200", "status@250", "error@300", "close@350", "refuse-stream@400",
               args=("--timeout", "6s"))
    assert failed(j) == [(50, "timed out"), (100, "reset"), (150, "other's answer"), (200, "stale slot"), (250, "status"),
                         (300, "JSON-RPC error"), (350, "reset"), (400, "reset")], j["failures"]


def test_a_frozen_second_is_charged_to_all(probed):
    j = probed("freeze=1@500")
    gap, stalls = j["longest_gap_ms"], j["stalls_ms"]   # what the probe itself slept through is taken off
    assert j["lost"] == 0 and gap <= 1400 and gap + stalls >= 990, (gap, stalls)
    charged = RATE * 0.5 * 0.95 / (RATE * SECONDS)      # half a second's requests waited longer than half a second
    assert charged > 0.1 and j["latency_ms"]["p90"] > 400, j["latency_ms"]


def test_a_connection_that_is_cut_loses_what_was_on_it_and_no_more(probed):
    j = probed("freeze=0.1@400", "cut@420")
    lost = failed(j)
    assert lost and {why for _, why in lost} == {"reset"} and j["connections"] >= 2, j["failures"]
    numbers = [n for n, _ in lost]
    assert 420 in numbers and max(numbers) - min(numbers) < RATE * 0.6, numbers


def test_a_moment_without_a_listener(probed):
    j = probed("refuse=0.3@400")
    assert j["outcomes"]["refused"] > 20 and j["outcomes"]["reset"] >= 1, j["outcomes"]
    assert j["lost"] == j["outcomes"]["refused"] + j["outcomes"]["reset"], j["outcomes"]
    assert 250 - j["stalls_ms"] <= j["longest_gap_ms"] < 1500    # what the probe itself slept through is taken off


def test_a_polite_end_of_the_connection_loses_nothing(probed):
    j = probed("goaway@400")
    assert j["lost"] == 0 and j["connections"] >= 2, (j["failures"][:3], j["connections"])


def test_a_second_answer_belongs_to_no_stream(probed):
    """HTTP/2 has no place for it: what comes on a stream that has ended is nobody's, and disturbs nobody."""
    j = probed("twice@400")
    assert j["lost"] == 0, j["failures"][:3]
