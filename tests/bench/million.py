"""A million requests over promotes and rollbacks there and back, with 200 websockets, at the highest rate at which the
machine stays under 70 % busy. Called by `make bench-million`: some minutes."""
import re
import subprocess
import time

from lib import figures as measured
from lib.bench import SHORT, Figures, Machine, cpu_seconds
from lib.service import TOOL, Service

REQUESTS = 20_000 if SHORT else 1_000_000
CYCLES = 1 if SHORT else 4     # at least: each a promote, and a promote that is rolled back
SOCKETS = 200
BUSY_MAX = 70
LOOK = 2 if SHORT else 5       # seconds for each rate that is tried
RATES = [500, 700, 1000] if SHORT else [1000, 1400, 2000, 2800, 4000, 4800, 5600, 6400, 7200, 8000, 9000, 10000, 12000, 14000, 16000, 18000, 20000]


def try_rate(service, rate):
    """(machine busy, Caddy's share of both cores, stolen: per cent; lost)"""
    machine, caddy, began = Machine(), cpu_seconds(service.caddy.pid), time.monotonic()
    done = subprocess.run([TOOL, "probe", f"http://127.0.0.1:{service.front_port}/", "--rate", str(rate), "--duration", f"{LOOK}s",
                           "--timeout", "30s", "--data", measured.rpc_body(method="getSlot")],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    busy, steal = machine.read()
    share = 100 * (cpu_seconds(service.caddy.pid) - caddy) / (time.monotonic() - began) / 2
    return busy, share, steal, int(re.search(r"(\d+) lost$", done.stdout)[1])


def highest_rate(service):
    """The highest of RATES with everything on the machine under BUSY_MAX and none lost (None: not even the lowest);
    what was seen of each."""
    best, seen = None, []
    for rate in RATES:
        # one look of two, since a moment of other work is no limit
        busy, share, steal, lost = min(try_rate(service, rate), try_rate(service, rate))
        seen.append(f"{rate}/s: {busy:.0f} % busy, {share:.0f} % by Caddy, {steal:.1f} % stolen, {lost} lost")
        if busy >= BUSY_MAX or lost:
            break
        best = rate
    return best, seen


def test_a_million():
    with Figures(f"{REQUESTS:,} requests over promotes and rollbacks, {SOCKETS} websockets") as figures, \
            Service(measured.SPEC) as service:
        service.start()
        rate, seen = highest_rate(service)
        for line in seen:
            figures.add("looking for the rate", line)
        figures.add("rate", f"{rate or RATES[0]}/s", f"the highest tried that leaves the cores under {BUSY_MAX} % busy", rate is not None)
        rate = rate or RATES[0]
        logs = ",".join(f"{service.dir}/requests-{c}.log" for c in ("green", "blue"))
        machine, caddy, began = Machine(), cpu_seconds(service.caddy.pid), time.monotonic()
        # slow ones so that some are always under way at a flip: about four, however high the rate
        with measured.Load(service, rate, sockets=SOCKETS, slow_every=rate // 2, more=["--executed", logs]) as load:
            cycles = 0
            while cycles < CYCLES or rate * (time.monotonic() - began) < 1.02 * REQUESTS:
                measured.promotes(service, 1)
                measured.rollbacks(service, 1)
                cycles += 1
            result = load.end()
        took = time.monotonic() - began
        busy, steal = machine.read()
        share = 100 * (cpu_seconds(service.caddy.pid) - caddy) / took / 2
        sockets, executed = result["websockets"], result["executed"]
        figures.add("upgrades", f"{cycles} promoted and kept, {cycles} promoted and rolled back: {3 * cycles} flips in {took:.0f} s")
        figures.add("sent", f"{result['sent']:,}", f"at least {REQUESTS:,}", result["sent"] >= REQUESTS, always=True)
        figures.add("lost", f"{result['lost']}; {result['outcomes']}", "0", result["lost"] == 0, always=True)
        figures.add("answered twice", str(result["duplicate_answers"]), "0", result["duplicate_answers"] == 0, always=True)
        figures.add("executed, by the backends' own logs", f"{executed['requests']:,}, {executed['twice']} of them twice",
                    "every answered one, none twice",
                    executed["requests"] == result["answered"] and not executed["twice"] and not executed["failed"], always=True)
        figures.add("websockets", f"{sockets['open']} open in the end; {sockets['drops']} drops, when an old side stopped; "
                    f"{sockets['first_try']} back at the first try", f"{SOCKETS} open, each back at the first try",
                    sockets["open"] == SOCKETS and sockets["drops"] == sockets["first_try"], always=True)
        figures.add("latency", f"p50 {result['latency_ms']['p50']:.2f}, p99 {result['latency_ms']['p99']:.1f}, "
                    f"p99.9 {result['latency_ms']['p99.9']:.1f} ms; longest gap {result['longest_gap_ms']:.1f} ms")
        figures.add("machine meanwhile", f"{busy:.0f} % busy with everything (cloning too), {share:.0f} % by Caddy, {steal:.1f} % stolen")
        figures.add("the probe", f"own lateness p99 {result['lateness_ms']['p99']:.2f} ms, stalled for {result['stalls_ms']:.0f} ms in all")
        assert not result["failures"], result["failures"][:10]
