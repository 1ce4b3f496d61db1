"""A real service that this project did not write: Debian's Prometheus behind Debian's Caddy, with other flags."""
import datetime
import http.client
import json
import re
import threading
import time
import urllib.parse

import pytest

from lib.prometheus import METRICS, SAMPLES, SERIES, TOTAL, PromService
from lib.waiting import wait_for

RATE = 40       # queries a second


class Queries:
    """Range and instant queries through the front at a constant rate; each answer must be right to the last digit."""

    def __init__(self, prom):
        self.prom, self.stopping = prom, threading.Event()
        self.sent, self.failed, self.by_colour, self.slowest = 0, [], {}, 0.0
        end = prom.bulk_end
        self.asks = [self._ask("query_range", query='sum(bulk_3{s=~"1."})', start=end - 600, end=end, step=30),
                     self._ask("query", query="sum(bulk_7)", time=end),
                     self._ask("query", query="sum(series)"),
                     self._ask("query", query='max_over_time(bulk_2{s="24"}[1h])', time=end)]
        self.lock = threading.Lock()
        self.expected = {}
        workers = 8
        self.threads = [threading.Thread(target=self._run, args=(i, workers)) for i in range(workers)]

    @staticmethod
    def _ask(kind, **args):
        return f"/api/v1/{kind}?{urllib.parse.urlencode(args)}"

    def _result(self, answer):
        found = json.loads(answer)
        assert found["status"] == "success", found
        # what is asked of "now" has the time of now in it
        return [(r["metric"], r.get("values") or r["value"][1]) for r in found["data"]["result"]]

    def _get(self, connection, ask):
        connection.request("GET", ask)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body[:300])
        return self._result(body), answer.getheader("X-Changeover-Colour")

    def _run(self, first, every):
        connection = http.client.HTTPConnection("127.0.0.1", self.prom.front_port, timeout=20)
        begin = time.monotonic()
        number = first
        while not self.stopping.wait(max(0.0, begin + number / RATE - time.monotonic())):
            ask = self.asks[number // every % len(self.asks)]
            started = time.monotonic()
            try:
                result, colour = self._get(connection, ask)
                bad = None if result == self.expected[ask] else (ask, result, self.expected[ask])
            except Exception as e:  # pylint: disable=broad-except
                bad, colour = (ask, repr(e)), None
                connection.close()
            with self.lock:
                self.sent += 1
                self.by_colour[colour] = self.by_colour.get(colour, 0) + 1
                self.slowest = max(self.slowest, time.monotonic() - started)
                if bad:
                    self.failed.append(bad)
            number += every
        connection.close()

    def __enter__(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.prom.front_port, timeout=20)
        for ask in self.asks:
            self.expected[ask] = self._get(connection, ask)[0]
            assert self.expected[ask], ask
        connection.close()
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for t in self.threads:
            t.join()


@pytest.fixture
def prom():
    with PromService() as p:
        p.make_data()
        p.start_by_hand()
        yield p


def moment(text):
    """The last time that the clock showed HH:MM:SS.T, as seconds since the epoch."""
    clock = datetime.datetime.strptime(text, "%H:%M:%S.%f").time()
    now = datetime.datetime.now()
    then = datetime.datetime.combine(now.date(), clock)
    return (then if then <= now else then - datetime.timedelta(days=1)).timestamp()


def hole_of(text):
    """(words, begin, end) of the hole that the tool reports: times rounded down to a tenth of a second."""
    found = re.search(r"blue has a hole of ([\d.]+ m?s) in its data: (\S+) \(the clone\) to (\S+) ", text)
    assert found, text
    return found.group(1), moment(found.group(2)), moment(found.group(3))


def check_equal(prom, snapshot):
    """Every series of both colours is the same up to the snapshot: what was imported, and what was scraped."""
    for metric in range(METRICS):
        raw = [prom.samples(c, f"bulk_{metric}", prom.bulk_start - 1, prom.bulk_end) for c in ("green", "blue")]
        assert len(raw[0]) == SERIES and raw[0] == raw[1]
        assert all(len(values) == SAMPLES for values in raw[0].values())
    scraped = [prom.samples(c, '{job="exporter"}', snapshot - 60, snapshot) for c in ("green", "blue")]
    assert len(scraped[0]) > 200 and scraped[0] == scraped[1]
    assert sum(map(len, scraped[0].values())) > 1000


def hole_in_data(prom, colour, snapshot):
    """Seconds between the last sample of before the snapshot and the first one after it."""
    times = [t for values in prom.samples(colour, "up", snapshot - 30, time.time()).values() for t, _ in values]
    before, after = [t for t in times if t <= snapshot], [t for t in times if t > snapshot]
    return min(after) - max(before) if before and after else None


def flags(prom):
    return prom.ask("status/flags")["storage.tsdb.retention.time"]


def test_other_flags_without_a_failed_query(prom, capsys):
    prom.front()
    assert prom.status()["version"].startswith("2.42")
    wait_for(lambda: prom.exporter.scrapes > 8, "some scrapes")
    with Queries(prom) as queries:
        prom.change_spec({"config": {"retention": "30d"}})
        words, snapshot, ready = hole_of(prom.run("prepare").stdout)
        assert prom.state() == "prepared"
        assert any(words in note for note in prom.status()["notes"])
        assert flags(prom) == "15d"
        check_equal(prom, snapshot)
        in_data = wait_for(lambda: hole_in_data(prom, "blue", snapshot), "blue scrapes for itself")
        # between samples: the hole, apart from an interval of scrapes at each end of it, and the gate's passes
        assert abs(in_data - (ready - snapshot)) < 2 * prom.INTERVAL + 0.5
        assert hole_in_data(prom, "green", snapshot) < 2.5 * prom.INTERVAL      # its pause is no hole

        prom.run("promote")
        assert prom.live() == "blue" and flags(prom) == "30d"
        refused = prom.run("rollback", expect=2)
        assert "loses writes" in refused.stderr and "--accept-loss" in refused.stderr and "blue" in refused.stderr
        assert prom.state() == "promoted"
        prom.run("rollback", "--accept-loss")
        assert prom.live() == "green" and flags(prom) == "15d"
        prom.run("cleanup", "-y")
        assert not prom.data["blue"].exists() or not list(prom.data["blue"].iterdir())

        prom.run("prepare")
        prom.run("promote")
        prom.run("cleanup", "-y")
        assert prom.live() == "blue" and prom.state() == "steady"
        assert not prom.data["green"].exists() or not list(prom.data["green"].iterdir())
        assert flags(prom) == "30d"
    assert queries.failed == []
    assert min(queries.by_colour.get("green", 0), queries.by_colour.get("blue", 0)) > RATE / 2
    with capsys.disabled():
        print(f"\n  prometheus: {queries.sent} queries while {TOTAL} samples moved and came back, {len(queries.failed)} "
              f"failed, slowest {queries.slowest * 1000:.0f} ms; blue's hole {words}, {in_data:.1f} s between its "
              f"samples at a scrape interval of {prom.INTERVAL} s")


def test_a_wrong_flag_or_config_touches_nothing(prom):
    prom.front()
    command = prom.spec["runtime"]["command"]
    prom.change_spec({"runtime": {"command": command + ["--storage.tsdb.colour=blue"]}})
    assert "unknown long flag" in prom.run("prepare", expect=1).stderr
    prom.change_spec({"runtime": {"command": command}})
    prom.config.write_text("global: {scrape_interval: soon}\n")
    assert "promtool" in prom.run("prepare", expect=1).stderr
    assert prom.state() == "steady" and prom.ready("green") and not prom.data["blue"].exists()


def test_the_example_is_whole(root, tool, tmp_path):
    spec = root / "examples/prometheus/changeover.yml"
    done = tool("plan", "-f", spec, "--state-dir", tmp_path, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert "/var/lib/prometheus-blue/metrics2" in done.stdout
