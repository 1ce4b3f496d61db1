"""The probe inside a promote that holds requests (writes: client): who waits is late and not lost, the pause is a figure of its own,
what is lost counts, and nothing goes back over writes."""
import json
import re
import signal
import subprocess

from lib.caddy import each_caddy
from lib.service import Service
from lib.stopped import SLOW, Stopped
from lib.waiting import wait_for
from lib.writers import Writers

GET_SLOT = '{"jsonrpc":"2.0","id":1,"method":"getSlot"}'
WIDE = {"max_lost": 0, "p99_ratio": 1000000, "p99_floor_ms": 600000, "max_gap_ms": 600000}


def make(binary=None, limits=None, probe=None, hold="60s", bake="2s", **spec):
    section = {"body": GET_SLOT, "rate": 100, "baseline": "2s", "timeout": "15s", "limits": {**WIDE, **(limits or {})}, **(probe or {})}
    service = Service({"writes": "client", "freeze": {"max": "60s"}, "bake": bake, "probe": section, **spec},
                      caddy=binary and binary())
    try:
        service.may_be_bad()
        service.change_spec({"probe": {"executed": [f"{service.dir}/requests-${{colour}}.log"]},
                             "traffic": {"hold": {"max": hold}}})
        return service.start()
    except BaseException:
        service.close()
        raise


def runs(service):
    """{part: result} of the journal, without the figures over time."""
    found = {part: json.loads(text) for part, text in service.query("SELECT part, result FROM probes ORDER BY rowid")}
    return {part: run for part, run in found.items() if not part.endswith(" series")}


# The pause is made longer than a busy machine's worst moment, and the limits lie between the two.
PAUSE_S, LIMIT_MS = 6, 4000


@each_caddy
def test_the_pause_is_told_apart_and_nobody_is_lost(binary):
    with make(binary, {"max_gap_ms": LIMIT_MS, "p99_ratio": 0.0001, "p99_floor_ms": LIMIT_MS},
              probe={"websockets": 5}, hooks={"after_clone": ["/bin/sleep", str(PAUSE_S)]}) as service, Writers(service) as writers:
        plan = " ".join(service.run("plan", "-t", "2.0.0").stdout.split())
        assert "beside the pause in which requests wait (then it sends ever fewer; one that is lost: back to green)" in plan, plan
        assert "more than 0 executed twice" in plan
        service.run("prepare", "-t", "2.0.0")
        done = service.run("promote")
        run = runs(service)["promote/baseline 1"]
        hold = run["hold"]
        said = re.search(r"the probe: (\d+) requests sent, 0 lost; .*; held for (\d+) ms, (\d+) requests waited, none lost; "
                         r"(\d+) executed by the backends' own logs, 0 of them twice", done.stderr)
        assert said, done.stderr
        assert int(said[2]) >= PAUSE_S * 1000 and int(said[3]) == hold["waited"] >= 20
        assert run["lost"] == hold["lost"] == hold["left"] == 0 and run["sent"] == sum(run["outcomes"].values())
        assert hold["pause_ms"] >= PAUSE_S * 1000 and hold["longest_wait_ms"] >= PAUSE_S * 1000
        assert run["longest_gap_ms"] < LIMIT_MS and run["latency_ms"]["max"] < LIMIT_MS
        assert hold["not_sent"] > hold["waited"]        # ever fewer
        assert run["executed"] == {"requests": run["sent"], "twice": 0, "first_twice": [], "failed": False}
        assert [(f["from"], f["to"]) for f in run["windows"]["flips"]] == [("green", "blue")]
        assert "held for" in service.status()["probe"]
        sockets = run["websockets"]     # closed by the stop of green; the way back waits with everybody
        assert sockets["open"] == sockets["wanted"] == 5 and sockets["drops"] == sockets["reconnects"] == 5, sockets
        assert sockets["longest_away_ms"] >= PAUSE_S * 1000, sockets
        page = service.run("report").stdout
        assert f"{hold['waited']} waited and were answered, 0 were lost" in page and f"executed {run['sent']} of them, 0 twice" in page
        writers.on()
        writers.account("blue")


@each_caddy
def test_a_new_colour_that_never_passes_loses_no_request_of_the_probe(binary):
    with make(binary, hold="10s") as service:
        service.run("prepare", "-t", "2.0.0")
        with Stopped(service, "hold/flip:done", "promote") as tool:
            (service.dir / "bad-blue").touch()
            said = tool.go_on(expect=1)
        assert "went back to green, no write was lost" in said, said
        run = runs(service)["promote/baseline 1"]
        assert run["lost"] == 0 and run["hold"]["waited"] > 5 and run["hold"]["left"] == 0, run["hold"]
        assert run["hold"]["longest_wait_ms"] > run["hold"]["pause_ms"] / 2
        assert service.identity() == "green" and {c["name"] for c in run["colours"]} >= {"green"}
        assert run["executed"]["twice"] == 0 and run["executed"]["requests"] == run["sent"]


def test_killed_in_the_hold_and_resumed():
    with make() as service, Writers(service) as writers:
        service.run("prepare", "-t", "2.0.0")
        service.run("promote", expect=-signal.SIGKILL, env={"CHANGEOVER_FAULT": f"kill@hold/clone:done@{service.dir}/fault"})
        done = service.run("resume")
        found = runs(service)
        again = found["hold/probe 2"]
        assert again["hold"]["waited"] > 0 and again["hold"]["lost"] == again["lost"] == 0, again
        assert again["baseline"]["p99_ms"] == found["baseline"]["p99_ms"] > 0
        assert re.search(r"held for \d+ ms, \d+ requests waited, none lost", done.stderr), done.stderr
        assert again["executed"]["twice"] == 0
        writers.account("blue")


def test_a_command_that_ends_in_the_hold_leaves_what_waits():
    """What became of those is not known: neither lost nor answered."""
    with make() as service:
        service.run("prepare", "-t", "2.0.0")
        with Stopped(service, "hold/start:done", "promote") as tool:
            tool.process.send_signal(signal.SIGINT)
            said = tool.go_on(expect=3)
        run = runs(service)["promote/baseline 1"]
        left = run["hold"]["left"]
        assert left > 0 and run["outcomes"]["left waiting"] == left and run["lost"] == 0, run
        assert f"none lost ({left} still waited when a command ended: what became of them is not known)" in said, said
        service.run("rollback")
        assert service.identity() == "green"
        back = runs(service)["rollback/probe 1"]
        assert back["lost"] == 0 and back["hold"]["lost"] == 0 and "green" in {c["name"] for c in back["colours"]}, back


def test_a_request_lost_in_the_hold_goes_back_without_losing_a_write():
    with make() as service:
        service.run("prepare", "-t", "2.0.0")
        with Stopped(service, "hold/start:done", "promote") as tool:
            service.caddy.kill()
            service.caddy.start()
            said = tool.go_on(expect=1)
        assert re.search(r"went back to green, no write was lost: hold/gate: \d+ requests? lost \(reset: .*\), limit 0", said), said
        run = runs(service)["promote/baseline 1"]
        assert run["hold"]["lost"] == run["lost"] > 0 and run["outcomes"]["reset"] > 0
        assert service.state() == "rolled-back" and service.identity() == "green"


def test_nothing_goes_back_over_writes_once_they_are_let_go():
    with make(bake="60s") as service:
        service.run("prepare", "-t", "2.0.0")
        promote = subprocess.Popen(service.argv("promote"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        wait_for(lambda: service.query("SELECT 1 FROM steps WHERE step='hold/bake'"), "the bake", SLOW)
        service.fault("blue", "errors")
        said = promote.communicate(timeout=SLOW)[1]
        assert promote.returncode == 3, said
        assert "blue stays live, because going back would lose writes" in said and "limit 0" in said, said
        assert service.flags() == ["active-blue"] and service.state() == "promoting"


def test_a_request_that_is_executed_twice_breaks_a_limit():
    """The backend's log is what counts: here it says one number again, as a proxy that tries again would make it."""
    with make(writes="replayed", bake="60s") as service:
        service.run("prepare", "-t", "2.0.0")
        promote = subprocess.Popen(service.argv("promote"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        wait_for(lambda: service.query("SELECT 1 FROM steps WHERE step='promote/bake'"), "the bake", SLOW)
        log = service.dir / "requests-blue.log"
        line = wait_for(lambda: [li for li in log.read_text().splitlines() if li.split()[0] == "getSlot" and li.split()[1].isdigit()],
                        "a request of the probe", SLOW)[0]    # a whole line: the last one may be half written
        with open(log, "a") as f:
            f.write(line + "\n")
        said = promote.communicate(timeout=SLOW)[1]
        assert promote.returncode == 1, said
        number = line.split()[1]
        assert f"changeover: 1 request executed twice (the first: #{number}), limit 0: flipped back to green" in said, said
        assert runs(service)["promote/baseline 1"]["executed"]["twice"] == 1
        assert service.flags() == ["active-green"] and service.state() == "rolled-back"
