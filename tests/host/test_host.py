"""The first user's combination, once, together: both colours Deployments of a Kubernetes, their data on a zvol with XFS and on a
ZFS file system, Caddy with TLS in front; steps 4 and 5 of the document as they stand, then the way back, and an upgrade to its
end. tests/host/suite runs this in the lab's VM."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from lib import kubernetes, rpcnode
from lib.colours import Colours
from lib.load import Load
from lib.rpcnode import ROOT
from lib.service import TOOL
from lib.waiting import wait_for
from lib.zfs import digest, values, zfs
from lib.zvol import dataset_of, mount_of, run

SEED = os.environ.get("CHANGEOVER_SEED")
pytestmark = pytest.mark.skipif(not SEED or "CLUSTER_DIR" not in os.environ or not os.path.exists("/dev/zfs"),
                                reason="needs ZFS, a cluster and the first user's document: make test-host starts a VM with them")
NAMESPACE, HOST = "agave", "biscayne.vaasl.io"
PORTS = {"green": {"rpc": 8899, "ws": 8900, "gossip": 8001, "dynamic": "9000-9025"},
         "blue": {"rpc": 8897, "ws": 8898, "gossip": 8101, "dynamic": "10100-10125"}}
VOLUMES = {"ledger": "biscayne/DATA/volumes/solana", "accounts": "biscayne/DATA/srv/accounts"}
RATE = 10   # requests a second beside the document's two: an emulated machine has other work


def commands(step):
    """The test of a step, as it stands in the document, but for the name of the namespace."""
    section = re.search(rf"^### Step {step}:.*?(?=^### |\Z)", pathlib.Path(SEED).read_text(), re.M | re.S)[0]
    return re.search(r"^```bash\n(.*?)^```", section, re.M | re.S)[1].replace("<ns>", NAMESPACE)


class Biscayne(Colours):
    """As on their host: agave-green and agave-blue, RPC on 8899 and 8897, solana and solana-blue."""

    def __init__(self, cluster, config):
        super().__init__(cluster, NAMESPACE, config, versions=("v2.2.0", "v2.2.1"), name="agave", files=20, size="256K",
                         slot_ms=400)
        self.ca = self.caddy.home / "data/caddy/pki/authorities/local/root.crt"
        self.caddy.path.write_text("{\n\tadmin 127.0.0.1:%d\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
                                   % self.admin_port)
        self.ports = {c: {**self.ports[c], **p} for c, p in PORTS.items()}
        self.change_spec({
            "colours": {c: {"ports": p, "config": {v: self.dataset(c, v) for v in VOLUMES}} for c, p in self.ports.items()},
            "volumes": {v: {"driver": "zfs", "path": f"{self.dir}/${{colour}}/{v}", "dataset": f"${{config.{v}}}",
                            "exclude": None} for v in VOLUMES},
            "runtime": {"version": {"output": "rpcnode (v[0-9.]+)"}, "kubernetes": {"start_within": "10m"}},
            "stop": {"grace": "60s"},
            "traffic": {"site": f"https://{HOST}", "tls": "internal"},
            "gate": {"deadline": "10m"},
            "space": {"floor": "100MB", "last_floor": "50MB"}})

    @staticmethod
    def dataset(colour, volume):
        return VOLUMES[volume] + ("-blue" if colour == "blue" else "")

    def run(self, *args, timeout=1200, **kw):
        return super().run(*args, timeout=timeout, **kw)  # an emulated machine is slow

    def make_green(self):
        rpcnode.init(self.network.ledger, self.network.accounts, 1, "1K", self.slots + 10)
        self.network.start()
        self.network.wait_health(timeout=60)
        for parent in ("biscayne/DATA", "biscayne/DATA/volumes", "biscayne/DATA/srv"):
            zfs("create", parent)
        device, ledger = pathlib.Path("/dev/zvol") / VOLUMES["ledger"], self.dir / "green/ledger"
        zfs("create", "-V", "1G", VOLUMES["ledger"])
        wait_for(device.exists, "the device of the new zvol", 60)
        run("mkfs.xfs", "-q", device)
        ledger.mkdir(parents=True)
        run("mount", "-o", "noatime", device, ledger)
        zfs("create", "-o", f"mountpoint={self.dir}/green/accounts", VOLUMES["accounts"])
        (self.dir / "blue").mkdir()
        rpcnode.init(ledger, self.dir / "green/accounts", self.files, self.size, self.slots)
        for v in VOLUMES:
            (self.dir / "green" / v / "fixed").write_bytes(os.urandom(300000))
        run("sync")  # a clone of a zvol has what was on the device
        self.fixed = self.digests("green")
        self.reserved = values(VOLUMES["ledger"], "refreservation")

    def digests(self, colour):
        return {v: digest(self.dir / colour / v)["fixed"] for v in VOLUMES}

    def looks_clean(self, live):
        """Of both data sets only live's is there, which hangs on nothing; of the other side nothing."""
        rows = [r.split("\t") for r in zfs("list", "-H", "-r", "-t", "all", "-o", "name,origin", "biscayne/DATA").splitlines()]
        parents = ("biscayne/DATA", "biscayne/DATA/srv", "biscayne/DATA/volumes")
        assert {name: origin for name, origin in rows if name not in parents} == {self.dataset(live, v): "-" for v in VOLUMES}
        gone = "blue" if live == "green" else "green"
        assert self.deployment(gone) is None and not self.pods(gone)
        for v in VOLUMES:
            assert not mount_of(self.dir / gone / v)
        assert values(self.dataset(live, "ledger"), "refreservation") == self.reserved, "moved to live"
        assert self.digests(live) == self.fixed and self.state() == "steady" and self.live() == live

    def close(self):
        """The VM, and the pool with it, ends with the tests."""
        self.end_processes()
        self.cluster.kubectl("delete", "deployment", "--all", "-n", self.ns, "--wait=false")
        self.caddy.close()


def say(line):
    """Below what pytest says: an emulated machine is slow, and somebody waits."""
    print("\n" + line, end="", flush=True)


class Stages:
    """How long each stage took, and that nothing was lost in it."""

    def __init__(self):
        self.load = None

    @contextlib.contextmanager
    def __call__(self, name):
        began = time.monotonic()
        yield
        say(f"{time.monotonic() - began:6.1f} s  {name}")
        if self.load:
            self.load.check(name)


@pytest.fixture(scope="module")
def stages():
    return Stages()


@pytest.fixture(scope="module")
def theirs(stages, build, tool, tmp_path_factory):
    """Green under load, and where its user types: kubectl and the scripts as the document calls them."""
    folder = tmp_path_factory.mktemp("host")
    cluster = kubernetes.Cluster(build)
    with stages("images, the account of `kubernetes rbac`"):
        cluster.kubectl("create", "namespace", NAMESPACE)
        service = Biscayne(cluster, kubernetes.account(cluster, NAMESPACE, tool, folder / "config"))
    (folder / "kubectl").write_text(f'#!/bin/sh\nexec {kubernetes.HERE}/cluster kubectl "$@"\n')
    (folder / "kubectl").chmod(0o755)
    service.env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CURL_CA_BUNDLE": str(service.ca),
                   "CHANGEOVER": str(TOOL), "CHANGEOVER_SPEC": str(service.spec_path),
                   "CHANGEOVER_STATE_DIR": str(service.dir / "state")}
    load = Load(service, RATE, args=["--cacert", service.ca])
    load.url = f"https://{HOST}/"
    try:
        with stages("data on a zvol with XFS and on a ZFS file system, green, Caddy"):
            service.start("v2.2.0")
            wait_for(service.ca.exists, "Caddy's own authority", 60)
            wait_for(lambda: bash(service, f"curl -sf https://{HOST}/health").stdout == "ok", "its certificate", 120)
        with load:
            stages.load = load
            yield service
    finally:
        stages.load = None
        load.close()
        service.close()


def bash(service, text, timeout=3600):
    """Typed by the user, in a shell that is ended with everything that it has started."""
    shell = subprocess.Popen(["bash", "-c", text], cwd=ROOT, env=service.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, err = shell.communicate(timeout=timeout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(text, shell.returncode, out, err)


def does(service, text):
    done = bash(service, "set -e\n" + text)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}\n{service.logs()}"
    for line in done.stderr.splitlines():
        if "was paused for" in line or "the switch took" in line:
            say(" " * 10 + line.strip())
    return done.stdout


def test_the_commands_are_the_documents_own():
    for step in (4, 5):
        assert commands(step).splitlines()[-1].strip()
    assert "zfs list biscayne/DATA/volumes/solana-blue" in commands(4) and HOST in commands(5)


def test_step_4(theirs, stages):
    green = theirs.pods("green")[0]["metadata"]["uid"]
    with stages("step 4: prepare, and its assertions"):
        said = does(theirs, commands(4))
    # assert: ZFS clone exists; blue deployment exists; blue RPC is healthy
    assert "biscayne/DATA/volumes/solana-blue" in said and re.search(r"^agave-blue +1/1 ", said, re.M) and said.endswith("ok")
    # what it does not assert: what blue runs on, and that green is as it was
    device, kind, options = mount_of(theirs.dir / "blue/ledger")
    assert dataset_of(device) == theirs.dataset("blue", "ledger") and kind == "xfs" and "nouuid" in options
    assert mount_of(theirs.dir / "blue/accounts")[:2] == (theirs.dataset("blue", "accounts"), "zfs")
    assert theirs.rpc("getVersion", port=8897)["solana-core"] == "v2.2.1"
    assert theirs.live() == "green" and theirs.pods("green")[0]["metadata"]["uid"] == green
    assert theirs.digests("green") == theirs.digests("blue") == theirs.fixed


def test_step_5(theirs, stages):
    with stages("step 5: its probe over prepare and promote"):
        done = bash(theirs, "set -e\n" + commands(5))
    # assert: 0; grep then ends with 1, since it has found nothing
    assert done.stdout.splitlines()[-1] == "0" and done.returncode == 1, done.stdout + done.stderr + theirs.logs()
    log = pathlib.Path("/tmp/health-probe.log").read_text().splitlines()
    assert len(log) > 10 and all(line.startswith("200 ") for line in log), log
    assert theirs.live() == "blue" and theirs.rpc("getVersion", port=8897)["solana-core"] == "v2.2.1"
    assert theirs.deployment("green")["spec"]["replicas"] == 0 and not theirs.pods("green")


def test_rollback(theirs, stages):
    with stages("rollback"):
        does(theirs, "./scripts/blue-green-rollback.sh")
    assert theirs.live() == "green" and theirs.digests("green") == theirs.fixed
    with stages("cleanup: the clones and blue's Deployment go"):
        theirs.run("cleanup", "-y")
    theirs.looks_clean("green")


def test_an_upgrade_to_its_end(theirs, stages):
    """The clones become the data, the zvol under them goes."""
    with stages("prepare again"):
        does(theirs, "./scripts/blue-green-prepare.sh --target-version v2.2.1")
    with stages("promote"):
        does(theirs, "./scripts/blue-green-promote.sh")
    with stages("cleanup: green's Deployment and data go, the clones stay"):
        theirs.run("cleanup", "-y")
    theirs.looks_clean("blue")


def test_nothing_was_lost(theirs, stages):
    seen = stages.load.stop()
    say(f"{seen['sent']} requests sent meanwhile, {seen['lost']} lost")
    assert seen["lost"] == 0 and [c["name"] for c in seen["colours"]] == ["green", "blue"]
