"""The probe inside promote: a baseline, the limits that decide, and what is said of it."""
import json
import os
import re
import signal
import subprocess

from lib.answering import Answering
from lib.service import Service
from lib.waiting import wait_for

GET_SLOT = '{"jsonrpc":"2.0","id":1,"method":"getSlot"}'
SLOW = 20  # seconds of grace for a busy machine, where a deadline is not what is tested
# Wide where a busy machine may be slow; each test narrows what it is about.
LIMITS = {"max_lost": 0, "p99_ratio": 1000000, "p99_floor_ms": 600000, "max_gap_ms": 600000}


def start(limits=None, bake="1s", probe=None, **spec):
    section = {"body": GET_SLOT, "rate": 200, "baseline": "1s", "timeout": "15s", "limits": {**LIMITS, **(limits or {})},
               **(probe or {})}
    service = Service(spec={"probe": section, "bake": bake, **spec}, files=5, size="64K")
    try:
        return service.start()
    except BaseException:
        service.close()
        raise


# A version that is slow beyond what a busy machine does to the baseline (up to four seconds of p99).
SLOW_MS, SLOW_LIMITS = 800, {"p99_ratio": 0.2, "p99_floor_ms": 400}
SLOW_SAID = r"changeover: p99 (\d+) ms is ([0-9.]+) x the baseline, limit 0.2: flipped back to green"


def slow_version(service, version):
    (service.dir / "versions" / version / "DEFAULT-ARGS").write_text(f"--delay-ms\n{SLOW_MS}\n")


def promote(service, *args):
    """promote in the background, come to the bake."""
    p = subprocess.Popen(service.argv("promote", *args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: baking(service), "the bake", 3 * SLOW)
    except BaseException:
        p.kill()
        p.communicate()
        raise
    return p


def baking(service):
    return service.query("SELECT 1 FROM steps WHERE step='promote/bake'")


def history(service):
    newest = json.loads(service.run("history", "-o", "json").stdout)[0]
    return newest, [row["text"] for row in json.loads(service.run("history", newest["id"], "-o", "json").stdout)]


def runs(service):
    """{part: result} of the journal."""
    rows = service.query("SELECT part, result FROM probes WHERE part NOT LIKE 'websockets %' ORDER BY rowid")
    return {part: json.loads(text) for part, text in rows}


def test_it_passes_and_tells():
    with start(probe={"websockets": 5}, traffic={"drain": {"websockets": "10m"}}) as service:  # not for the probe's own
        plan = service.run("plan", "-t", "2.0.0").stdout
        assert re.search(r"probe: as a client would, 200 POST a second to http://:?.*getSlot.*5 websockets.*reads and changes nothing",
                         plan.replace("\n", " ")), plan
        service.run("prepare", "-t", "2.0.0")
        done = service.run("promote")
        for word in (r"promote/baseline +\d+ sent, 0 lost, p99 [0-9.]+ ms", r"the probe: \d+ requests sent, 0 lost; p99 .* before the flip, .* "
                     r"around it, .* after; at most .* without a good answer", r"the probe's websockets: 5 held open, 0 never dropped, 5 dropped \(\d "
                     r"with a close frame\), 5 reconnected \(5 at the first try\); the first event came [0-9.]+ ms after the drop "
                     r"\(median\), at most [0-9.]+ ms; \d+ events missed", r"websockets: 5 stayed at green through the flip; 5 closed at once "
                     r"by its stop",
                     r"slots ran back by at most \d+", r"baking.*200/s: \d+ sent, 0 lost, p99"):
            assert re.search(word, done.stderr), (word, done.stderr)
        found = runs(service)
        assert list(found) == ["baseline", "promote/baseline 1", "promote/baseline 1 series"]
        run = found["promote/baseline 1"]
        assert run["lost"] == 0 and run["sent"] == run["answered"] > 400 and run["in_flight"] == 0
        assert [(f["from"], f["to"]) for f in run["windows"]["flips"]] == [("green", "blue")]
        assert run["baseline"]["p99_ms"] == found["baseline"]["p99_ms"] > 0
        assert "requests sent, 0 lost" in service.status()["probe"]
        newest, events = history(service)
        assert newest["probe"] == f"0 of {run['sent']} lost"
        assert any(e.startswith("the probe: ") for e in events) and any(e.startswith("the probe's websockets: 5 held") for e in events)
        page = service.run("report").stdout
        for word in ("What users saw", "flip to blue", "5 held open", "baseline", "requests sent", "the largest step back was"):
            assert word in page, word
        assert f"{run['sent']} requests sent" in page
        cleaned = service.run("cleanup", "-y")
        assert "the probe's websockets: 5 held open" in cleaned.stderr and "requests sent, 0 lost" in cleaned.stderr


def test_a_slow_version_is_flipped_back():
    with start(SLOW_LIMITS, bake="20s", probe={"baseline": "5s"}) as service:
        slow_version(service, "2.0.0")
        service.run("prepare", "-t", "2.0.0")
        done = service.run("promote", expect=1)
        said = re.search(SLOW_SAID, done.stderr)
        assert said and int(said[1]) >= SLOW_MS and float(said[2]) > 0.2, done.stderr
        assert service.flags() == ["active-green"] and service.state() == "rolled-back" and service.identity() == "green"
        run = runs(service)["promote/baseline 1"]
        assert run["lost"] == 0 and run["broken"] in done.stderr
        flips = [(f["from"], f["to"]) for f in run["windows"]["flips"]]  # late answers may make it look like more of them
        assert flips[0] == ("green", "blue") and flips[-1] == ("blue", "green")
        assert run["broken"] in service.status()["probe"] and run["broken"] in service.run("report").stdout


def test_a_lost_request_flips_back():
    with start(bake="60s") as service:
        service.run("prepare", "-t", "2.0.0")
        p = promote(service)
        service.fault("blue", "errors")
        err = p.communicate(timeout=60)[1]
        assert p.returncode == 1, err
        assert re.search(r"changeover: \d+ requests? lost \(status: status 500: .*\), limit 0: flipped back to green", err), err
        assert service.flags() == ["active-green"] and service.state() == "rolled-back"


def test_a_slot_further_back_than_allowed_flips_back():
    with Answering(colour="green") as front, start(bake="60s", probe={"url": front.url, "max_step_back": 20}) as service:
        front.result = 1000
        service.run("prepare", "-t", "2.0.0")
        p = promote(service)
        front.result = 981      # as much as is allowed
        wait_for(lambda: '"step_back":19' in str(service.query("SELECT result FROM probes")), "what was seen so far", SLOW)
        assert p.poll() is None
        front.result = 979
        err = p.communicate(timeout=60)[1]
        assert p.returncode == 1, err
        assert re.search(r"\d+ requests? lost \(stale slot: slot 979 is 21 behind what was already seen\), limit 0: flipped back", err), err
        assert "slots ran back by at most 21" in err, err


def test_a_gap_flips_back():
    with start({"max_gap_ms": 3000}, bake="60s") as service:
        service.run("prepare", "-t", "2.0.0")
        p = promote(service)
        pid = service.pid("blue")
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: service.state() == "rolling-back", "the way back", 3 * SLOW)
        os.kill(pid, signal.SIGCONT)
        err = p.communicate(timeout=60)[1]
        assert p.returncode == 1, err
        assert re.search(r"changeover: no good answer for \d+ ms, limit 3000 ms: flipped back to green", err), err


def test_nothing_flips_back_over_writes():
    with start(bake="60s", writes="both") as service:
        service.run("prepare", "-t", "2.0.0")
        p = promote(service)
        service.fault("blue", "errors")
        err = p.communicate(timeout=60)[1]
        assert p.returncode == 3, err
        assert "blue stays live, because going back would lose writes" in err and "limit 0" in err, err
        assert "changeover promote --no-probe (goes on with blue), or changeover rollback --accept-loss" in err
        assert service.flags() == ["active-blue"] and service.state() == "promoting"
        service.fault("blue", "none")
        going = subprocess.Popen(service.argv("promote", "--no-probe"), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: service.query("SELECT 1 FROM steps WHERE result LIKE '%--no-probe%'"), "the probe's step", SLOW)
        os.kill(going.pid, signal.SIGINT)
        said = going.communicate(timeout=60)[1]
        assert "no probe: --no-probe" in said and service.flags() == ["active-blue"], said


def test_killed_in_the_bake_and_resumed():
    with start({"p99_ratio": 1000}, bake="10s") as service:
        service.run("prepare", "-t", "2.0.0")
        p = promote(service)
        wait_for(lambda: "promote/baseline 1" in runs(service), "what was seen so far in the journal", SLOW)
        p.kill()
        p.communicate()
        assert service.state() == "promoting"
        done = service.run("resume")
        assert re.search(r"the probe begins anew; the baseline of before the flip: p99 [0-9.]+ ms", done.stderr), done.stderr
        found = runs(service)
        assert found["promote/baseline 2"]["baseline"]["p99_ms"] == found["baseline"]["p99_ms"]
        sent = found["promote/baseline 1"]["sent"] + found["promote/baseline 2"]["sent"]
        assert f"the probe: {sent} requests sent, 0 lost" in done.stderr
        assert service.state() == "promoted"


def test_a_resumed_bake_is_judged_by_the_kept_baseline():
    with start(SLOW_LIMITS, bake="20s", probe={"baseline": "3s"}) as service:
        slow_version(service, "2.0.0")
        service.run("prepare", "-t", "2.0.0")
        fault_at = {"CHANGEOVER_FAULT": f"kill@promote/flip:applied@{service.dir}/fault"}
        service.run("promote", expect=-signal.SIGKILL, env=fault_at)
        assert service.flags() == ["active-blue"]
        err = service.run("resume", expect=1).stderr
        assert re.search(SLOW_SAID, err), err
        assert service.flags() == ["active-green"]


def test_live_that_loses_requests_is_said_before_the_flip():
    with Answering(colour="green") as front, start(probe={"url": front.url}) as service:
        service.run("prepare", "-t", "2.0.0")   # and its trial is good
        front.status = 500
        done = service.run("promote", expect=4)
        assert re.search(r"the probe lost \d+ of \d+ requests to green before the flip, limit 0 \(the first: status: ", done.stderr)
        assert "next: mend that, or promote --no-probe; green serves as before" in done.stderr
        assert service.flags() == ["active-green"] and service.state() == "prepared"


def test_a_flip_by_hand_has_no_baseline():
    with start() as service:
        service.run("prepare", "-t", "2.0.0")
        (service.flag_dir / "active-blue").touch()
        (service.flag_dir / "active-green").unlink()
        done = service.run("adopt", "--live", "blue", "-y")
        assert "there is no baseline of before the flip: p99 is not judged" in done.stderr, done.stderr
        assert service.state() == "promoted"


def test_rollback_and_confirm_are_watched_too():
    with start(probe={"websockets": 2}) as service:
        service.run("prepare", "-t", "2.0.0")
        service.run("promote", "--confirm-within", "10m")
        confirmed = service.run("confirm")
        assert "the probe's websockets: 2 held open" in confirmed.stderr and "requests sent, 0 lost" in confirmed.stderr
        back = service.run("rollback")
        assert "requests sent, 0 lost" in back.stderr
        assert [p for p in runs(service) if "series" not in p] == [
            "baseline", "promote/baseline 1", "finish/probe 1", "rollback/probe 1"]
