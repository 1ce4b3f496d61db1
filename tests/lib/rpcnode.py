"""Run examples/rpcnode, the stand-in for an agave node, in tests.

    network = RpcNode(tmp_path / "net", cluster=True, ports=take_block())
    with network, RpcNode(tmp_path / "a", peer=network.url) as node:
        node.rpc("getSlot")
"""
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess

from . import ports as port_blocks
from .waiting import wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("CHANGEOVER_BUILD", ROOT / "build")).resolve()
BINARY = BUILD / "examples" / "rpcnode" / "rpcnode"


def make_version(folder, version, default_args=(), rules=()):
    """A copy of the binary in `folder` that says it is `version`; returns its path.

    default_args: arguments it has in itself (a faulty version); rules: "-name" it no longer knows
    --name, "+name" it requires it.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "VERSION").write_text(version + "\n")
    (folder / "DEFAULT-ARGS").write_text("".join(f"{a}\n" for a in default_args))
    (folder / "ARGUMENT-RULES").write_text("".join(f"{r}\n" for r in rules))
    return pathlib.Path(shutil.copy2(BINARY, folder / "rpcnode"))


def run(*args, binary=BINARY, timeout=30):
    """Run rpcnode to its end: .returncode, .stdout, .stderr (text)."""
    return subprocess.run([str(binary), *map(str, args)], stdin=subprocess.DEVNULL, timeout=timeout,
                          capture_output=True, text=True)


def keygen(path):
    """A new keypair file; returns its public key."""
    done = run("keygen", path)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[1]


def init(ledger, accounts, files=100, size="1M", slots=1000):
    done = run("init", "--ledger", ledger, "--accounts", accounts, "--files", files, "--bytes", size,
               "--slots", slots)
    assert done.returncode == 0, done.stderr


def call(port, method, *params, timeout=5.0, headers=None, request_id=1):
    """One JSON-RPC request on a connection of its own; the whole answer."""
    body = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        link.request("POST", "/", body, {"Content-Type": "application/json", **(headers or {})})
        return json.loads(link.getresponse().read())
    finally:
        link.close()


class RpcError(Exception):
    """A JSON-RPC error: .code, .message, .data."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code, self.message, self.data = error["code"], error["message"], error.get("data")


class RpcNode:
    """One node: its folder holds ledger/, accounts/, identity.json, log and requests.log.

    folder    made if missing; ledger, accounts, identity: other paths for those
    binary    of make_version(); cluster: the network's leader; peer: a URL or a list of them
    ports     a PortBlock to take RPC, websocket, gossip and the dynamic range from (else its own)
    args      more arguments, as strings or numbers
    """

    def __init__(self, folder, *, name=None, binary=BINARY, cluster=False, peer=(), ports=None,
                 rpc_port=None, ws_port=None, identity=None, ledger=None, accounts=None, slot_ms=50,
                 dynamic=4, args=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ledger = pathlib.Path(ledger or self.folder / "ledger")
        self.accounts = pathlib.Path(accounts or self.folder / "accounts")
        self.identity = pathlib.Path(identity or self.folder / "identity.json")
        self.name, self.binary, self.cluster, self.slot_ms = name, binary, cluster, slot_ms
        self.peers = [peer] if isinstance(peer, str) else list(peer)
        self._own_block = None if ports else port_blocks.take_block()
        block = ports or self._own_block
        self.rpc_port = rpc_port or block.take_range(2)[0]
        self.ws_port = ws_port or self.rpc_port + 1
        self.gossip_port = block.take()
        self.dynamic = block.take_range(dynamic)
        self.extra_udp_from = block.take_range(2)[0]
        self.args = list(args)
        self.log_path, self.requests_path = self.folder / "log", self.folder / "requests.log"
        self.process = None
        if not self.identity.exists():
            keygen(self.identity)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def argv(self):
        """What start() runs: also for a spec, or for adopting."""
        argv = [self.binary] + (["cluster"] if self.cluster else [])
        argv += ["--ledger", self.ledger, "--accounts", self.accounts, "--identity", self.identity,
                 "--rpc-port", self.rpc_port, "--ws-port", self.ws_port,
                 "--gossip-port", self.gossip_port,
                 "--dynamic-port-range", f"{self.dynamic[0]}-{self.dynamic[1]}",
                 "--dynamic-ports", self.dynamic[1] - self.dynamic[0] + 1,
                 "--extra-udp-from", self.extra_udp_from, "--slot-ms", self.slot_ms,
                 "--log-requests", self.requests_path]
        argv += ["--name", self.name] if self.name else []
        for peer in self.peers:
            argv += ["--peer", peer]
        return [str(a) for a in argv + self.args]

    def start(self, wait=True):
        """Start; with `wait` until it answers (or AssertionError with its log)."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)
        if wait:
            wait_for(lambda: self.answers() or self.process.poll() is not None, "an answer")
            assert self.process.poll() is None, self.log()
        return self

    def answers(self):
        try:
            return self.health() in ("ok", "behind", "unknown")
        except OSError:
            return False

    def health(self, timeout=5.0):
        """The body of GET /health."""
        link = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=timeout)
        try:
            link.request("GET", "/health")
            return link.getresponse().read().decode()
        finally:
            link.close()

    def rpc(self, method, *params, **kw):
        """The result; RpcError if the answer is an error."""
        answer = call(self.rpc_port, method, *params, **kw)
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    def slot(self):
        return self.rpc("getSlot")

    def pubkey(self):
        return self.rpc("getIdentity")["identity"]

    def wait_health(self, body="ok", timeout=10.0):
        wait_for(lambda: self.health() == body, f"health {body} of {self.folder.name}", timeout)

    def wait_slot(self, slot, timeout=10.0):
        return wait_for(lambda: self.slot() >= slot and self.slot(), f"slot {slot}", timeout)

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def requests(self, chain=False):
        """(method, id, status, ns) of each request executed; those of following nodes if `chain`."""
        if not self.requests_path.exists():
            return []
        rows = [line.split() for line in self.requests_path.read_text().splitlines()]
        return [(m, i, int(s), int(ns)) for m, i, s, ns in rows if chain or i != "chain"]

    def admin(self, *args):
        """`rpcnode --ledger LEDGER ARGS` with this node's binary."""
        return run("--ledger", self.ledger, *args, binary=self.binary)

    def fault(self, name):
        """From now on: behind, errors, stall, hang, or none."""
        done = self.admin("fault", name)
        assert done.returncode == 0, done.stderr

    def wait_exit(self, timeout=10.0):
        return self.process.wait(timeout)

    def stop(self):
        """As an operator would: exit --force, which returns when it is gone. The exit status."""
        if self.process and self.process.poll() is None:
            done = self.admin("exit", "--force")
            if done.returncode != 0:
                self.process.kill()
            self.process.wait(10)
        return self.process.returncode if self.process else None

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def close(self):
        """End it whatever it takes, and give its ports back."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self._own_block:
            self._own_block.release()
            self._own_block = None

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *_):
        self.close()
