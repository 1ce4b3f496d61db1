"""The figures that this project promises, measured: for `make bench` in full, for `make test` in short.

    with Service(SPEC) as service, Load(service) as load:
        figures = promotes(service.start(), load, 20)
"""
import collections
import json
import pathlib
import re
import signal
import statistics
import subprocess
import time

from .peak import at_its_output
from .service import TOOL
from .waiting import wait_for

SPEC = {"version_policy": {"downgrade": "any"}, "traffic": {"drain": {"deadline": "30s", "websockets": "1s"}}}
BODIES = [{"method": "getSlot"}, {"method": "getBlock", "params": [150]}, {"method": "getVersion"}]
SOCKETS = 50
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def rpc_body(**fields):
    return json.dumps({"jsonrpc": "2.0", "id": 0, **fields}, separators=(",", ":"))


class Load:
    """`changeover probe` through the front: POSTs, every hundredth a slow one, and websockets. end() has its JSON."""

    def __init__(self, service, rate=800, slow_ms=2000, sockets=SOCKETS, slow_every=100, more=()):
        bodies = service.dir / "bodies"
        bodies.write_text("".join(rpc_body(**b) + "\n" for b in BODIES))
        self.log, self.out = service.dir / "probe.log", service.dir / "probe.json"
        front = f"127.0.0.1:{service.front_port}"
        with open(self.out, "w") as out:
            self.process = subprocess.Popen(
                [TOOL, "probe", f"http://{front}/", "--rate", str(rate), "--body-file", bodies, "--timeout", "30s",
                 "--slow-every", str(slow_every), "--slow-body", rpc_body(method="slow", params=[slow_ms]),
                 "--websockets", str(sockets), "--ws-url", f"ws://{front}/", "--log", self.log, "-o", "json", *more],
                stdin=subprocess.DEVNULL, stdout=out)
        self.service = service

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(90)
        return json.loads(self.out.read_text())

    def __enter__(self):
        try:
            wait_for(lambda: self.log.exists() and self.log.stat().st_size > 1000, "the load's first answers", 20)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def executed(service):
    """{number of a request: how often a backend executed it}, from the backends' own logs."""
    count = collections.Counter()
    for path in service.dir.glob("requests-*.log"):
        rows = (line.split() for line in path.read_text().splitlines())
        count.update(r[1] for r in rows if r[1].isdigit() and not r[0].endswith("slotSubscribe"))
    return count


def seconds(words):
    """'1 m 2.5 s' -> 62.5"""
    return sum(float(n) * UNITS[unit] for n, unit in re.findall(r"([0-9.]+) (us|ms|s|m|h)\b", words))


def steps(said):
    """{step: (its text, seconds)} of what a command said on stderr."""
    found = re.findall(r"^  \S+ ([a-z]+/[a-z-]+) +(.*) \(([0-9][^()]*)\)$", said, re.M)
    return {name: (text, seconds(took)) for name, text, took in found}


def next_version(service):
    return {"1.0.0": "2.0.0", "2.0.0": "3.0.0", "3.0.0": "2.0.0"}[service.status()["version"]]


def promotes(service, n):
    """n promotes, there and back. {"proven": [seconds from the flip to its proof], "stayed": [websockets still open
    on the old side after its drain]}"""
    proven, stayed = [], []
    for _ in range(n):
        service.run("prepare", "-t", next_version(service))
        did = steps(service.run("promote").stderr)
        proven.append(did["promote/flip"][1] + did["promote/verify"][1])
        left = re.search(r"(\d+) websockets left", did["finish/drain"][0])
        stayed.append(int(left[1]) if left else 0)
        service.run("cleanup", "-y")
    return {"proven": proven, "stayed": stayed}


def rollbacks(service, n, apart=0):
    """Seconds of work, apart from the gate, until the traffic is back and proven to be: the old side still runs.
    apart: seconds between the two flips, for what looks at each."""
    work = []
    for _ in range(n):
        service.run("prepare", "-t", next_version(service))
        service.run("promote", "--confirm-within", "5m")
        time.sleep(apart)
        began = time.monotonic()
        did = steps(service.run("rollback", "-y").stderr)
        took = time.monotonic() - began
        names = list(did)
        after = names[names.index("rollback/verify") + 1:]
        work.append(took - did["rollback/gate"][1] - sum(did[name][1] for name in after))
        service.run("cleanup", "-y")
    return work


# --- status


def bare_program(folder):
    """A program that does nothing, and loads the same libraries."""
    needed = subprocess.run(["readelf", "-d", TOOL], stdout=subprocess.PIPE, text=True, check=True).stdout
    libraries = [f"-l:{name}" for name in re.findall(r"\(NEEDED\).*\[(.*)\]", needed)]
    source, program = pathlib.Path(folder) / "bare.c", pathlib.Path(folder) / "bare"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-O2", "-fPIE", "-pie", "-o", program, source, "-Wl,--no-as-needed", "-Wl,-z,relro",
                    "-Wl,-z,now", *libraries], check=True)
    return program


def time_of(argv):
    began = time.perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def status_times(service, folder, n=21, rounds=6, enough=0.010):
    """(median seconds of status, of the bare program), run side by side n times. Other work on the machine only adds:
    if the difference is more than `enough`, again, up to `rounds` times; the best round counts."""
    bare, found = [bare_program(folder)], []
    while len(found) < rounds and not any(own - other <= enough for own, other in found):
        pairs = [(time_of(service.argv("status")), time_of(bare)) for _ in range(n)]
        found.append([statistics.median(column) for column in zip(*pairs)])
    return min(found, key=lambda f: f[0] - f[1])


def status_memory(service):
    """(peak resident, private) bytes of status."""
    return at_its_output(service.argv("status"))


def stripped_size(folder):
    out = pathlib.Path(folder) / "stripped"
    subprocess.run(["strip", "-o", out, TOOL], check=True)
    return out.stat().st_size


