"""Upgrades of a service whose volumes are ZFS file systems, on the real OpenZFS: inside the VM of tests/lab/run."""
import hashlib
import json
import os
import subprocess

import pytest

from lib import rpcnode
from lib.service import Service

VOLUMES = ("ledger", "accounts")
pytestmark = pytest.mark.skipif(not os.path.exists("/dev/zfs"), reason="no ZFS here: make test-lab runs this in a VM")


def zfs(*args, expect=0):
    done = subprocess.run(["zfs", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == expect, f"zfs {' '.join(map(str, args))}: {done.stderr}"
    return done.stdout


def digest(folder):
    """A checksum of every file below, by name and content."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".changeover":
            sums[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return sums


class ZfsService(Service):
    """Its data lies on tank/SERVICE/COLOUR-VOLUME; tank/SERVICE/other is somebody else's."""

    def __init__(self, spec=None):
        super().__init__(name="node", files=20, size="256K", versions=[f"{n}.0.0" for n in range(1, 20)])
        self.newest = 1
        self.parent = f"tank/{self.dir.name}"
        self.change_spec({
            "volumes": {v: {"driver": "zfs", "path": f"{self.dir}/${{colour}}/{v}",
                            "dataset": f"{self.parent}/${{colour}}-{v}", "exclude": None} for v in VOLUMES},
            "gate": {"deadline": "3m"}, **(spec or {})})

    def run(self, *args, timeout=600, **kw):
        return super().run(*args, timeout=timeout, **kw)  # an emulated machine is slow

    def next_version(self):
        self.newest += 1
        return f"{self.newest}.0.0"

    def sides(self):
        live = self.live()
        return live, "blue" if live == "green" else "green"

    def dataset(self, colour, volume="ledger"):
        return f"{self.parent}/{colour}-{volume}"

    def start(self):
        rpcnode.init(self.network.ledger, self.network.accounts, 1, "1K", self.slots + 10)
        self.network.start()
        self.network.wait_health(timeout=60)
        zfs("create", self.parent)
        zfs("create", "-o", f"mountpoint={self.dir}/other", f"{self.parent}/other")
        (self.dir / "other" / "precious").write_bytes(os.urandom(100000))
        self.precious = digest(self.dir / "other")
        for v in VOLUMES:
            zfs("create", "-o", f"mountpoint={self.dir}/green/{v}", "-o", "recordsize=16K", "-o", "quota=4G",
                self.dataset("green", v))
        (self.dir / "blue").mkdir()
        rpcnode.init(self.dir / "green/ledger", self.dir / "green/accounts", self.files, self.size, self.slots)
        for v in VOLUMES:
            (self.dir / "green" / v / "fixed").write_bytes(os.urandom(300000))
        self.fixed = {v: digest(self.dir / "green" / v)["fixed"] for v in VOLUMES}
        self.run("start", "--version", "1.0.0")
        self.caddy.start()
        self.run("traffic", "install", "-y")
        return self

    def graph(self):
        """{name below the parent: origin} of every dataset and snapshot."""
        rows = [r.split("\t") for r in
                zfs("list", "-H", "-r", "-t", "all", "-o", "name,origin", self.parent).splitlines()]
        return {name.removeprefix(self.parent + "/"): origin.removeprefix(self.parent + "/")
                for name, origin in rows if name != self.parent}

    def properties(self, colour):
        names = "recordsize,quota,canmount,mountpoint,mounted,changeover:service,changeover:colour"
        rows = {}
        for v in VOLUMES:
            for row in zfs("get", "-H", "-o", "property,value,source", names, self.dataset(colour, v)).splitlines():
                rows[v, row.split("\t")[0]] = row.split("\t")[1:]
        return json.loads(json.dumps(sorted((*k, *v) for k, v in rows.items())).replace(f"/{colour}/", "/COLOUR/")
                          .replace(f'"{colour}"', '"COLOUR"'))

    def looks_clean(self, live):
        """Only live's datasets, which hang on nothing, and nothing of ours left on them; nobody else's data changed."""
        assert self.graph() == {"other": "-", **{f"{live}-{v}": "-" for v in VOLUMES}}
        assert digest(self.dir / "other") == self.precious
        for v in VOLUMES:
            assert digest(self.dir / live / v)["fixed"] == self.fixed[v]

    def close(self):
        self.end_processes()
        for row in zfs("list", "-H", "-r", "-t", "snapshot", "-o", "name,userrefs", self.parent).splitlines():
            name, refs = row.split("\t")
            for hold in zfs("holds", "-H", name).splitlines() if int(refs) else ():
                zfs("release", hold.split("\t")[1], name)
        for row in zfs("list", "-H", "-r", "-o", "name", self.parent).splitlines():
            subprocess.run(["zfs", "unmount", "-f", row], capture_output=True)
        zfs("destroy", "-R", self.parent)
        super().close()


@pytest.fixture(scope="module")
def kept():
    services = []
    yield services
    for s in services:
        s.close()


@pytest.fixture
def service(kept):
    """Steady, green or blue live: the one of the test before, unless that left it half way."""
    if kept and kept[0].state() == "steady":
        return kept[0]
    while kept:
        kept.pop().close()
    kept.append(ZfsService())
    return kept[0].start()


def test_ping_pong_looks_the_same_every_time(service):
    service.looks_clean(service.live())
    first = None
    for _ in range(3):
        old, new = service.sides()
        version = service.next_version()
        said = service.run("prepare", "-t", version)
        assert "was not paused" in said.stderr, said.stderr
        upgrade = service.status()["upgrade"]
        for v in VOLUMES:
            assert service.graph()[f"{new}-{v}"] == f"{old}-{v}@changeover-{upgrade}"
            assert "changeover\t" in zfs("holds", "-H", f"{service.dataset(old, v)}@changeover-{upgrade}")
            assert digest(service.dir / new / v)["fixed"] == service.fixed[v]
        both = zfs("get", "-H", "-p", "-o", "value", "createtxg",
                   *(f"{service.dataset(old, v)}@changeover-{upgrade}" for v in VOLUMES)).split()
        assert len(set(both)) == 1, "one point in time"
        service.run("promote")
        assert service.rpc("getVersion")["solana-core"] == version and service.identity() == new
        service.run("cleanup", "-y")
        assert service.live() == new
        service.looks_clean(new)
        first = first or service.properties(new)
        assert service.properties(new) == first
    assert ["ledger", "recordsize", "16K", "local"] in first and ["ledger", "quota", "4G", "local"] in first


def test_what_is_somebody_elses_stops_cleanup(service):
    old, new = service.sides()
    zfs("snapshot", f"{service.dataset(old)}@backup-old")
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    mine = f"{service.dataset(old)}@backup-new"
    zfs("snapshot", mine)
    zfs("create", "-o", "mountpoint=none", f"{service.dataset(old, 'accounts')}/child")
    before = service.graph()
    refused = service.run("cleanup", "-y", expect=3)
    assert mine in refused.stderr and "@backup-old" not in refused.stderr and "zfs destroy" in refused.stderr
    assert service.graph() == before, "nothing was promoted, nothing destroyed"
    zfs("destroy", mine)
    refused = service.run("resume", expect=3)
    assert f"{old}-accounts/child" in refused.stderr
    zfs("destroy", f"{service.dataset(old, 'accounts')}/child")
    service.run("resume")
    # the older one has moved to live with its history
    assert service.graph()[f"{new}-ledger@backup-old"] == "-"
    zfs("destroy", f"{service.dataset(new)}@backup-old")
    service.looks_clean(new)


def test_back_after_the_promote_destroys_only_the_clone(service):
    live, other = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    service.run("rollback")
    assert service.live() == live and f"{other}-ledger" in service.graph()
    service.run("cleanup", "-y")
    service.looks_clean(live)


def test_a_hold_a_clone_and_an_open_file_stop_cleanup(service):
    live, other = service.sides()
    service.run("prepare", "-t", service.next_version())
    snapshot = f"{service.dataset(live)}@changeover-{service.status()['upgrade']}"
    zfs("hold", "backlog", snapshot)
    zfs("clone", "-o", "mountpoint=none", snapshot, f"{service.parent}/copy")
    service.run("rollback")
    refused = service.run("cleanup", "-y", expect=3)
    assert "held: backlog" in refused.stderr and "copy" in refused.stderr
    zfs("destroy", f"{service.parent}/copy")
    zfs("release", "backlog", snapshot)
    with open(service.dir / other / "ledger/fixed", "rb"):
        refused = service.run("resume", expect=3)
        assert "busy" in refused.stderr and "fuser -vm" in refused.stderr
    service.run("resume")
    service.looks_clean(live)


@pytest.mark.parametrize("point,then", [("snapshot", "rollback"), ("hold", "resume"), ("clone", "resume"),
                                        ("mount", "rollback"), ("set", "resume")])
def test_killed_in_mid_clone(service, point, then):
    live, other = service.sides()
    marker = service.dir / f"fired-{point}"
    killed = service.run("prepare", "-t", service.next_version(), expect=None,
                         env={"CHANGEOVER_FAULT": f"kill@zfs/{point}@{marker}"})
    assert marker.exists(), killed.stderr
    service.run(then)
    if then == "resume":
        assert service.state() == "prepared"
        assert digest(service.dir / other / "ledger")["fixed"] == service.fixed["ledger"]
        service.run("rollback")
    service.run("cleanup", "-y", expect=None)
    assert service.state() == "steady"
    service.looks_clean(live)


@pytest.mark.parametrize("point", ["promote", "unmount", "release", "destroy"])
def test_killed_in_mid_cleanup(service, point):
    _, new = service.sides()
    marker = service.dir / f"fired-{point}"
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    service.run("cleanup", "-y", expect=None, env={"CHANGEOVER_FAULT": f"kill@zfs/{point}@{marker}"})
    assert marker.exists()
    service.run("resume")
    assert service.state() == "steady" and service.live() == new
    service.looks_clean(new)


def test_a_dataset_that_is_not_ours_is_never_touched(service):
    _, other = service.sides()
    zfs("create", "-o", f"mountpoint={service.dir}/{other}/ledger", service.dataset(other))
    theirs = service.dir / other / "ledger/theirs"
    theirs.write_text("theirs")
    before = service.graph()
    refused = service.run("prepare", "-t", service.next_version(), expect=None)
    assert refused.returncode != 0 and "carries no mark" in refused.stdout + refused.stderr
    service.run("rollback", expect=None)
    service.run("cleanup", "-y", expect=None)
    assert service.graph() == before and theirs.read_text() == "theirs"
    zfs("destroy", service.dataset(other))


def test_a_zvol_is_refused_in_words():
    service = ZfsService()
    try:
        zfs("create", service.parent)
        for v in VOLUMES:
            zfs("create", "-V", "32M", service.dataset("green", v))
            (service.dir / "green" / v).mkdir(parents=True)
        said = service.run("check", "-t", "2.0.0", expect=None)
        assert f"'{service.dataset('green')}' is a volume, and only file systems are supported" in said.stdout
    finally:
        service.close()
