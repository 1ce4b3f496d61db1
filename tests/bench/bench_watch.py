"""A million events of one watch, while a sidecar's new container is waited for: memory stays flat, and what an event costs."""
import json
import re
import subprocess
import time

from lib.bench import SHORT, Figures, cpu_seconds
from lib.fake_kube import POD, FakeKube, stream
from lib.service import TOOL

EVENTS = 50_000 if SHORT else 1_000_000
BATCH = 250


class Crowd:
    """Before a watch's own events come so many others, of the pod as it was."""

    def __init__(self):
        lines = (json.dumps({"type": "MODIFIED", "object": {**POD, "metadata": {**POD["metadata"], "resourceVersion": str(i)}}})
                 for i in range(2, BATCH + 2))
        self.batch = "\n".join(lines).encode() + b"\n"
        self.sent = 0

    def stream(self, h, lines):
        stream(h, b"")
        while self.sent < EVENTS:
            h.wfile.write(b"%x\r\n%s\r\n" % (len(self.batch), self.batch))
            self.sent += BATCH
        h.wfile.write(b"%x\r\n%s\r\n" % (len(lines), lines))
        h.wfile.flush()
        time.sleep(5)  # it reads what it has not read yet


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        found = re.search(r"VmRSS:\s+(\d+)", f.read())
    return int(found[1]) << 10 if found else 0


def test_a_million_events(tmp_path):
    crowd = Crowd()
    early, most, cpu, began = 0, 0, 0.0, time.monotonic()
    with FakeKube({7: crowd}) as api, Figures(f"{EVENTS:,} events of {len(crowd.batch) // BATCH} bytes in one watch") as figures:
        argv = [TOOL, "sidecar", "upgrade", "side", "--image", "new:2", "--pod", "web", "--settle", "100ms", "--timeout", "10m",
                "--kubeconfig", api.kubeconfig(tmp_path / "config")]
        with subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as p:
            while p.poll() is None:
                now = resident(p.pid)
                if crowd.sent >= EVENTS // 20:
                    early = early or now
                    most = max(most, now)
                if crowd.sent < EVENTS:
                    cpu, took = cpu_seconds(p.pid), time.monotonic() - began
                time.sleep(0.02)
        assert p.returncode == 0 and api.applied == ["new:2"]
        figures.add("memory behind 5 % of them", f"{early / 1e6:.2f} MB")
        figures.add("most from then on", f"{most / 1e6:.2f} MB", "at most 0.5 MB more", most <= early + 500_000, always=True)
        figures.add("an event", f"{cpu / EVENTS * 1e6:.1f} us of CPU; {EVENTS / took:,.0f} a second")
