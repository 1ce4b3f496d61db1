"""Websockets in an upgrade, with the real Caddy: they stay through the flip; then the old side closes them one after the other where
it can (stop.websockets), else its stop closes them all. All come back at the first try, on the new side, and what they missed is
counted. By the servers' own logs, not only by the probe's word."""
import collections
import json
import re
import socket
import subprocess

import pytest

from lib import figures
from lib.caddy import binaries
from lib.service import Service
from lib.waiting import wait_for

SOCKETS, SPREAD = 200, 3
CLOSED = r"(\d+(?:\.\d+)?) s"
CADDYS = [pytest.param(how, binary, id=f"{how}-{name}") for name, binary in binaries()
          for how in ("command", "signal") if how == "command" or name == "debian"]

Row = collections.namedtuple("Row", "what number slot sent at")


def make(how=None, binary=None, websockets=None, spread=f"{SPREAD}s", args=(), **spec):
    """The service, started. how: command, signal, or None for one that cannot; websockets: another stop.websockets; args: of the node."""
    service = Service(spec, files=5, size="64K", caddy=binary and binary())
    try:
        node = service.spec["runtime"]["command"] + ["--log-websockets", f"{service.dir}/ws-${{colour}}.log", *args]
        asked = {"spread": spread, "signal": "USR1"} if how == "signal" else \
                {"spread": spread, "command": [*service.spec["stop"]["command"][:3], "close-websockets", "${spread}"]}
        if how == "signal":
            node += ["--ws-close-over", "${spread_ms}"]
        service.change_spec({"runtime": {"command": node}, "stop": {"websockets": websockets or (asked if how else None)}})
        return service.start()
    except BaseException:
        service.close()
        raise


def log(service, colour, what):
    """Its rows of one kind, by the node itself."""
    path = service.dir / f"ws-{colour}.log"
    rows = (line.split() for line in path.read_text().splitlines()) if path.exists() else ()
    return [Row(r[0], *map(int, r[1:])) for r in rows if r[0] == what]


def open_at(service, colour, n):
    """n websockets are at this side, and each has had an event."""
    wait_for(lambda: len(log(service, colour, "first")) - len(log(service, colour, "last")) == n, f"{n} websockets at {colour}", 20)


def spread_over(rows):
    """(seconds from the first to the last, the largest share of them in any tenth of it)"""
    at = sorted(r.at for r in rows)
    tenth = (at[-1] - at[0]) / 10
    most = max(sum(1 for b in at if a <= b < a + tenth) for a in at)
    return (at[-1] - at[0]) / 1e9, most / len(at)


def missed(service, old, new, firsts):
    """By the nodes' own logs: the slots between the last that a websocket had at the old side and its first at the new one, all
    websockets together. Those that came twice count below zero."""
    return sum(r.slot for r in firsts) - sum(r.slot for r in log(service, old, "last")) - len(firsts)


@pytest.mark.parametrize("how, binary", CADDYS)
def test_closed_one_after_the_other(how, binary, sanitized):
    with make(how, binary) as service, figures.Load(service, rate=100, sockets=SOCKETS, slow_every=0) as load:
        open_at(service, "green", SOCKETS)
        plan = service.run("plan", "-t", "2.0.0").stdout
        by = r"SIGUSR1 to green" if how == "signal" else r"run /.*/rpcnode --ledger .* close-websockets 3"
        assert re.search(r"finish/websockets +tell green to close its websockets one after the other over 3 s \(" + by +
                         r"\); wait until none is open, at most 5 s; those left are closed by the stop", plan), plan
        service.run("prepare", "-t", "2.0.0")
        said = service.run("promote").stderr
        step = re.search(r"finish/websockets +green closed its 200 websockets one after the other in " + CLOSED, said)
        assert step and 0.9 * SPREAD < float(step[1]) < SPREAD + 2, said
        assert re.search(r"finish/drain +green has no request in flight; 200 websockets left, which it is told to close next", said), said
        assert re.search(r"green closes its websockets: \d+ of 200 closed", said), said
        line = re.search(r"websockets: (200 stayed at green through the flip; 200 closed one after the other in " + CLOSED +
                         r", 0 by its stop)$", said, re.M)
        assert line, said
        open_at(service, "blue", SOCKETS)
        assert_spread(service, "green", sanitized)
        assert service.status()["websockets"] == line[1]
        assert line[1] in service.run("report").stdout
        upgrade = json.loads(service.run("history", "-o", "json").stdout)[0]["id"]
        assert f"websockets: {line[1]}" in service.run("history", upgrade).stdout
        lost_there = missed(service, "green", "blue", log(service, "blue", "first"))

        back = service.run("rollback").stderr
        assert re.search(r"rollback/websockets +blue closed its 200 websockets one after the other in " + CLOSED, back), back
        assert "200 stayed at blue through the flip; 200 closed one after the other in" in back, back
        wait_for(lambda: len(log(service, "green", "first")) == 2 * SOCKETS, "the websockets back at green", 20)
        assert_spread(service, "blue", sanitized)
        again = log(service, "green", "first")[SOCKETS:]
        lost_back = missed(service, "blue", "green", again)
        seen = load.end()
    assert_all_came_back(seen, {"blue": SOCKETS, "green": SOCKETS}, lost_there + lost_back)


def assert_spread(service, colour, sanitized):
    rows = log(service, colour, "closing")
    assert len(rows) == SOCKETS and len(log(service, colour, "last")) >= SOCKETS
    took, share = spread_over(rows)
    assert 0.8 * SPREAD < took < SPREAD + 1.5 and share <= (0.5 if sanitized else 0.3), (took, share)


def assert_all_came_back(seen, by, lost):
    sockets = seen["websockets"]
    drops = sum(by.values())
    assert seen["lost"] == 0 and seen["duplicate_answers"] == 0, seen["failures"][:5]
    assert sockets["open"] == sockets["wanted"] and sockets["stayed"] == sockets["silent"] == sockets["gaps"] == sockets["backward"] == 0, sockets
    assert sockets["drops"] == sockets["reconnects"] == sockets["first_try"] == drops and sockets["refused"] == 0, sockets
    assert sockets["reconnects_by"] == by, sockets
    assert sockets["missed_away"] - sockets["again"] == lost, (sockets, lost)
    first = sockets["first_event_ms"]
    assert first["count"] == drops and 50 <= first["p50"] <= first["max"] == sockets["longest_away_ms"], sockets


def test_closed_at_once_where_the_service_cannot(sanitized):
    with make() as service, figures.Load(service, rate=100, sockets=SOCKETS, slow_every=0) as load:
        open_at(service, "green", SOCKETS)
        service.run("prepare", "-t", "2.0.0")
        said = service.run("promote").stderr
        assert "finish/websockets" not in said and "200 websockets left, which its stop closes" in said, said
        assert re.search(r"websockets: 200 stayed at green through the flip; 200 closed at once by its stop$", said, re.M), said
        open_at(service, "blue", SOCKETS)
        took, _ = spread_over(log(service, "green", "last"))
        assert took < (2 if sanitized else 0.5) and not log(service, "green", "closing")
        lost = missed(service, "green", "blue", log(service, "blue", "first"))
        seen = load.end()
    assert_all_came_back(seen, {"blue": SOCKETS}, lost)


@pytest.mark.parametrize("command, warning", [
    (["/bin/false"], r"stop.websockets.command: '/bin/false' ended with status 1 .*; its stop closes its 3 websockets all at once"),
    (["/bin/true"], r"green still has 3 of its 3 websockets after 2\.\d+ s; its stop closes them"),
], ids=["refuses", "does-nothing"])
def test_a_service_that_does_not_do_it_is_stopped_all_the_same(command, warning):
    with make(websockets={"spread": "100ms", "command": command}) as service, figures.Load(service, rate=50, sockets=3) as load:
        open_at(service, "green", 3)
        service.run("prepare", "-t", "2.0.0")
        said = service.run("promote").stderr
        assert re.search(warning, said), said
        assert re.search(r"websockets: 3 stayed at green through the flip; 0 closed one after the other .*, 3 by its stop$", said, re.M), said
        open_at(service, "blue", 3)
        assert load.end()["websockets"]["first_try"] == 3


def test_who_comes_meanwhile_is_not_cut(sanitized):
    """A direct client that comes after the drain, while the websockets are being closed: the old side keeps running."""
    with make("command", traffic={"drain": {"deadline": "3s"}}) as service, figures.Load(service, rate=50, sockets=20):
        open_at(service, "green", 20)
        service.run("prepare", "-t", "2.0.0")
        promote = subprocess.Popen(service.argv("promote"), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: log(service, "green", "closing") or promote.poll() is not None, "the first to be closed", 60)
            with socket.create_connection(("127.0.0.1", service.ports["green"]["rpc"])):
                said = promote.communicate(timeout=60)[1]
        finally:
            promote.kill()
            promote.wait()
        assert promote.returncode == 4, said
        assert "green still has 1 direct connection, past the proxy" in said and "green keeps running" in said, said
        assert service.pid("green")
        said = service.run("promote").stderr
        assert re.search(r"finish/drain +green has no request in flight and no websocket open", said), said
        assert re.search(r"finish/websockets +already true", said), said
        assert "20 stayed at green through the flip; 20 closed one after the other" in said, said


def test_on_the_http_port():
    """They are told from requests by the text that Caddy dials."""
    with make("command", spread="1s", args=["--ws-on-rpc-port"], traffic={"websockets": "same_port", "ws_port": None},
              gate={"checks": [{"http": {"path": "/health", "status": 200, "body": "ok"}}, {"websocket": {}}]}) as service, \
            figures.Load(service, rate=100, sockets=20, slow_every=10, slow_ms=300) as load:
        open_at(service, "green", 20)
        service.run("prepare", "-t", "2.0.0")
        said = service.run("promote").stderr
        assert re.search(r"websockets: 20 stayed at green through the flip; 20 closed one after the other in " + CLOSED +
                         r", 0 by its stop$", said, re.M), said
        open_at(service, "blue", 20)
        lost = missed(service, "green", "blue", log(service, "blue", "first"))
        seen = load.end()
    assert_all_came_back(seen, {"blue": 20}, lost)


def test_the_probe_of_a_promote_tells_what_its_websockets_missed():
    probe = {"body": figures.rpc_body(method="getSlot"), "rate": 100, "baseline": "1s", "timeout": "15s", "websockets": 20,
             "limits": {"max_lost": 0, "p99_ratio": 1000000, "p99_floor_ms": 600000, "max_gap_ms": 600000}}
    with make("signal", spread="1s", probe=probe, bake="1s") as service:
        service.run("prepare", "-t", "2.0.0")
        said = service.run("promote").stderr
        assert "websockets: 20 stayed at green through the flip; 20 closed one after the other in" in said, said
        line = re.search(r"the probe's websockets: (20 held open, 0 never dropped, 20 dropped \(20 with a close frame\), 20 reconnected "
                         r"\(20 at the first try\); the first event came \d+ ms after the drop \(median\), at most \d+ ms; "
                         r"(\d+) events missed)$", said, re.M)
        assert line, said
        lost = missed(service, "green", "blue", log(service, "blue", "first"))
        assert int(line[2]) >= lost, (line[0], lost)
        page = service.run("report").stdout
        assert "Websockets through the proxy" in page and "20 stayed at green through the flip" in page
        assert "20 reconnected (20 at the first try); the first event came" in page
