"""Live's latency while a standby catches up that wants every cpu for itself: without anything against it, with a weight, with
the brake, and without any standby."""
import json
import os
import subprocess

from lib.load import BODY
from lib.rpcnode import BUILD
from lib.service import Service
from lib.waiting import wait_for

RATE, SECONDS = 200, 8
# The new version, with helpers that are busy until it ends.
GREEDY = """#!/bin/sh
for i in 1 2 3 4; do (while kill -0 $$; do :; done) 2>/dev/null & done
exec {} "$@"
"""
CASES = [("no weight, no brake", {}), ("cpu_weight 5", {"cpu_weight": 5}),
         ("brake at 15 ms", {"brake": {"p99": "15ms", "method": "getSlot", "rate": 100, "window": "500ms", "max_pause": "5s"}})]


def p99(service):
    done = subprocess.run([BUILD / "src/changeover", "probe", f"http://127.0.0.1:{service.front_port}/", "--rate", str(RATE),
                           "--duration", f"{SECONDS}s", "--timeout", "15s", "--data", BODY, "-o", "json", "-q"],
                          capture_output=True, text=True, timeout=120)
    result = json.loads(done.stdout)
    assert result["lost"] == 0, result
    return result["latency_ms"]["p50"], result["latency_ms"]["p99"]


def greedy(service, version):
    folder = service.dir / "versions" / version
    os.rename(folder / "rpcnode", folder / "rpcnode-real")
    (folder / "rpcnode").write_text(GREEDY.format(folder / "rpcnode-real"))
    (folder / "rpcnode").chmod(0o755)


def measured(standby):
    with Service({"runtime": {"standby": standby}}, versions=("1.0.0", "2.0.0")) as service:
        greedy(service, "2.0.0")
        service.start()
        service.change_spec({"gate": {"passes": 10000, "interval": "200ms", "deadline": "10m"}})    # it stays at its gate
        alone = p99(service)
        prepare = subprocess.Popen(service.argv("prepare", "-t", "2.0.0"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: service.pid("blue"), "the standby to start", 60)
            busy = p99(service)
        finally:
            prepare.terminate()
            prepare.communicate(timeout=60)
        return alone, busy


def test_live_beside_a_greedy_standby():
    print(f"\nlive at {RATE} POST/s beside a standby that wants all cpus      p50        p99")
    worst = []
    for name, standby in CASES:
        alone, busy = measured(standby)
        worst.append(busy[1])
        print(f"  {'alone':<52} {alone[0]:7.1f} ms {alone[1]:7.1f} ms\n"
              f"  {name:<52} {busy[0]:7.1f} ms {busy[1]:7.1f} ms")
    assert min(worst[1:]) < worst[0], worst
