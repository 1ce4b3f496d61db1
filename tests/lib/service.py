"""A whole service for end-to-end tests: a network that makes slots, green under changeover, Caddy in front.

    with Service() as service:
        service.start()                     # green runs version 1.0.0 behind Caddy
        service.run("prepare", "-t", "2.0.0")
        service.run("promote")

Everything lives below one directory that Caddy's user may search, on ports of its own; close() ends every
process that was started here, by pid, also after a failure.
"""
import copy
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import tempfile

import yaml

from . import cgroups
from . import ports as port_blocks
from . import rpcnode
from .caddy import Caddy
from .waiting import wait_for

BUILD = rpcnode.BUILD
TOOL = BUILD / "src" / "changeover"


def merge(base, over):
    """A copy of `base` with `over` laid over it; None deletes a key."""
    out = copy.deepcopy(base)
    for key, value in over.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            out[key] = merge(out[key] if isinstance(out.get(key), dict) else {}, value)
        else:
            out[key] = value
    return out


def crash_words(status):
    """What the kernel said of programs that a signal like SIGSEGV ended: address and library; "" otherwise."""
    if status not in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGABRT):
        return ""
    lines = subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines()
    return "\n".join([line for line in lines if "changeover[" in line][-5:] + [""])


class Service:
    """spec: laid over the default spec. files, size: of green's initial data. caddy: another binary than Debian's."""

    def __init__(self, spec=None, files=50, size="1M", slots=200, slot_ms=100, versions=("1.0.0", "2.0.0", "3.0.0"),
                 name="node", caddy=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="changeover-service-"))
        self.dir.chmod(0o755)
        self.name, self.slot_ms = name, slot_ms
        self.files, self.size, self.slots = files, size, slots
        self.blocks = [port_blocks.take_block() for _ in range(4)]
        self.network = rpcnode.RpcNode(self.dir / "network", cluster=True, ports=self.blocks[0], slot_ms=slot_ms)
        for version in versions:
            rpcnode.make_version(self.dir / "versions" / version, version)
        (self.dir / "state").mkdir(mode=0o700)
        self.pubkeys = {rpcnode.keygen(self.dir / f"{c}.json"): c for c in ("green", "blue")}
        self.ports = {c: self._colour_ports(b) for c, b in zip(("green", "blue"), self.blocks[1:3])}
        front = self.blocks[3]
        self.front_port, self.admin_port, self.which_port = front.take(), front.take(), front.take()
        self.previews = {"green": front.take(), "blue": front.take()}
        self.caddy = Caddy("{\n\tadmin 127.0.0.1:%d\n}\n" % self.admin_port, self.admin_port, caddy)
        self.flag_dir = self.caddy.dir / "flags"
        self.spec_path = self.dir / "changeover.yml"
        self.spec = merge(self._default_spec(), spec or {})
        self.write_spec()

    @staticmethod
    def _colour_ports(block):
        rpc = block.take_range(2)
        dynamic, extra = block.take_range(4), block.take_range(8)
        return {"rpc": rpc[0], "ws": rpc[1], "gossip": block.take(), "dynamic": "%d-%d" % dynamic,
                "extra": "%d-%d" % extra}

    def _default_spec(self):
        node = [f"{self.dir}/versions/${{version}}/rpcnode"]
        ledger = ["--ledger", "${volume.ledger}"]
        return {
            "service": self.name,
            "writes": "replayed",
            "colours": {c: {"ports": self.ports[c], "identity": f"{self.dir}/{c}.json"} for c in self.ports},
            "volumes": {
                "ledger": {"driver": "copy", "path": f"{self.dir}/${{colour}}/ledger", "exclude": ["admin.rpc"]},
                "accounts": {"driver": "copy", "path": f"{self.dir}/${{colour}}/accounts"},
            },
            "freeze": {"max": "10s"},
            "runtime": {
                "command": node + ledger + [
                    "--accounts", "${volume.accounts}", "--identity", "${identity}", "--rpc-port", "${port.rpc}",
                    "--ws-port", "${port.ws}", "--gossip-port", "${port.gossip}",
                    "--dynamic-port-range", "${port.dynamic}", "--dynamic-ports", "4",
                    "--extra-udp-from", "${port.extra.first}", "--slot-ms", str(self.slot_ms),
                    "--peer", self.network.url, "--log-requests", f"{self.dir}/requests-${{colour}}.log"],
                "restart": {"policy": "never"},
                "version": {"command": node + ["--version"], "output": "rpcnode ([0-9.]+)"},
            },
            "traffic": {
                "site": f"http://:{self.front_port}", "flag_dir": str(self.flag_dir), "caddyfile": str(self.caddy.path),
                "admin": f"127.0.0.1:{self.admin_port}", "port": "rpc", "websockets": "own_port", "ws_port": "ws",
                "which_port": self.which_port, "preview_ports": self.previews,
                "health": {"path": "/health", "body": "^ok$"},
                "identify": {"method": "getIdentity", "field": "result.identity"},
                "drain": {"deadline": "5s", "websockets": "1s"},
            },
            "gate": {
                "passes": 2, "interval": "100ms", "deadline": "60s",
                "checks": [
                    {"http": {"path": "/health", "status": 200, "body": "ok"}},
                    {"version": {"method": "getVersion", "field": "result.solana-core"}},
                    {"lag": {"method": "getSlot", "field": "result", "max": 5}},
                    {"moving": {"method": "getSlot", "field": "result", "within": "3s"}},
                    {"websocket": {"port": "ws"}},
                    {"ports": {}},
                ],
            },
            "bake": "300ms",
            "stop": {"command": node + ledger + ["exit", "--force"], "grace": "20s", "kill": False},
        }

    def write_spec(self):
        self.spec_path.write_text(yaml.safe_dump(self.spec, sort_keys=False, width=1000))

    def change_spec(self, over):
        self.spec = merge(self.spec, over)
        self.write_spec()

    def may_be_bad(self):
        """A file bad-COLOUR makes that colour fail its gate, and only that: it answers its health as ever."""
        self.spec["gate"]["checks"].append({"command": {"command": ["/usr/bin/test", "!", "-e", f"{self.dir}/bad-${{colour}}"]}})
        self.write_spec()

    def argv(self, *args):
        return [str(TOOL), *map(str, args[:1]), "-f", str(self.spec_path), "--state-dir", str(self.dir / "state"),
                *map(str, args[1:])]

    def run(self, *args, expect=0, timeout=120, env=None, **kw):
        """The tool to its end; its exit status must be `expect` (None: any)."""
        done = subprocess.run(self.argv(*args), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, **(env or {})}, **kw)
        if expect is not None:
            assert done.returncode == expect, (
                f"changeover {' '.join(map(str, args))}: {done.returncode}, not {expect}\n"
                f"{done.stdout}\n{done.stderr}\n{crash_words(done.returncode)}{self.logs()}")
        return done

    def status(self):
        return json.loads(self.run("status", "-o", "json").stdout)

    def state(self):
        return self.status()["state"]

    def live(self):
        return self.status()["live"]

    def query(self, sql, *args):
        """Rows of the journal."""
        db = sqlite3.connect(f"file:{self.dir}/state/{self.name}/journal.db?mode=ro", uri=True, timeout=10)
        try:
            return db.execute(sql, args).fetchall()
        finally:
            db.close()

    def fault(self, colour, what):
        """From now on that colour's node is behind, stalls, ... ("none": no more)."""
        done = rpcnode.run("--ledger", self.dir / colour / "ledger", "fault", what)
        assert done.returncode == 0, done.stderr

    def flags(self):
        return sorted(p.name for p in self.flag_dir.glob("active-*"))

    def logs(self):
        out = []
        for path in sorted((self.dir / "state").rglob("*.log")):
            out.append(f"--- {path}\n{path.read_text(errors='replace')[-1500:]}")
        return "\n".join(out)

    def make_green(self):
        """The network, and green's data; nothing of the service runs."""
        rpcnode.init(self.network.ledger, self.network.accounts, 1, "1K", self.slots + 10)
        self.network.start()
        self.network.wait_health()
        for volume in ("ledger", "accounts"):
            (self.dir / "green" / volume).mkdir(parents=True)
        (self.dir / "blue").mkdir()
        rpcnode.init(self.dir / "green/ledger", self.dir / "green/accounts", self.files, self.size, self.slots)

    def start(self, version="1.0.0"):
        """Network, green's data, green's first start, Caddy with our block."""
        self.make_green()
        self.run("start", "--version", version)
        self.caddy.start()
        self.run("traffic", "install", "-y")
        return self

    def rpc(self, method, *params, port=None):
        answer = rpcnode.call(port or self.front_port, method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    def identity(self):
        """Whose answer it is, through the front: a colour."""
        key = self.rpc("getIdentity")["identity"]
        return self.pubkeys.get(key, key)

    def pid(self, colour):
        for c in self.status()["colours"]:
            if c["colour"] == colour:
                return c["pid"]
        return 0

    def processes(self):
        """Pids of everything that was started from our directory: instances, shims, guards."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                argv = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(str(self.dir).encode() in a for a in argv):
                found.append((int(entry), b" ".join(argv).decode(errors="replace")))
        return found

    def end_processes(self, spare=lambda pid, argv: False):
        """Ends what the service has left running, again and again, since guards restart each other."""
        def running():
            return [pid for pid, argv in self.processes() if not spare(pid, argv)]

        for _ in range(50):
            left = running()
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                wait_for(lambda: not running(), "the service's processes to be gone", 0.5)
            except AssertionError:
                pass

    def close(self):
        self.end_processes()
        cgroups.remove_left(self.dir / "state")
        if self.network.process:
            self.network.process.wait(10)
        self.caddy.close()
        for block in self.blocks:
            block.release()
        if os.environ.get("CHANGEOVER_KEEP"):
            print("kept:", self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def steady(kept, make):
    """The service of the test before (`kept`, a fixture), if that left it steady, whichever colour is live; else a new one."""
    if kept and kept[0].state() == "steady":
        return kept[0]
    while kept:
        kept.pop().close()
    kept.append(make())
    return kept[0].start()
