"""A service whose volumes are ZFS file systems, for the tests inside the VM of tests/lab."""
import hashlib
import json
import os
import subprocess

import pytest

from . import rpcnode
from .service import Service

VOLUMES = ("ledger", "accounts")
RESERVED = {"reservation": "20971520", "refreservation": "10485760"}     # of the ledger: these move to whoever is live
needs_zfs = pytest.mark.skipif(not os.path.exists("/dev/zfs"), reason="no ZFS here: make test-lab runs this in a VM")


def zfs(*args, expect=0):
    done = subprocess.run(["zfs", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == expect, f"zfs {' '.join(map(str, args))}: {done.stderr}"
    return done.stdout


def values(dataset, *names):
    """{property: value} in plain numbers."""
    rows = zfs("get", "-H", "-p", "-o", "property,value", ",".join(names), dataset).splitlines()
    return dict(row.split("\t") for row in rows)


def permissions(dataset):
    return {line.strip() for line in zfs("allow", dataset).split("---- Permissions on ")[1].splitlines()[1:]}


def digest(folder):
    """A checksum of every file below, by name and content."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".changeover":
            sums[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return sums


class ZfsService(Service):
    """Its data lies on tank/SERVICE/COLOUR-VOLUME; tank/SERVICE/other is somebody else's."""

    def __init__(self, spec=None, volumes=VOLUMES, versions=("1.0.0",)):
        # slots as seldom as the real ones have them: an emulated machine with other work falls behind at ten a second
        super().__init__(name="node", files=20, size="256K", slot_ms=400, versions=versions)
        self.newest, self.volumes = 1, volumes
        self.parent = f"tank/{self.dir.name}"
        self.change_spec({
            "volumes": {v: {"driver": "zfs", "path": f"{self.dir}/${{colour}}/{v}",
                            "dataset": f"{self.parent}/${{colour}}-{v}", "exclude": None} for v in volumes},
            "gate": {"deadline": "10m"}, **(spec or {})})

    def run(self, *args, timeout=600, **kw):
        return super().run(*args, timeout=timeout, **kw)  # an emulated machine is slow

    def next_version(self):
        self.newest += 1
        version = f"{self.newest}.0.0"
        rpcnode.make_version(self.dir / "versions" / version, version)
        return version

    def sides(self):
        live = self.live()
        return live, "blue" if live == "green" else "green"

    def dataset(self, colour, volume="ledger"):
        return f"{self.parent}/{colour}-{volume}"

    def start(self, version="1.0.0"):
        rpcnode.init(self.network.ledger, self.network.accounts, 1, "1K", self.slots + 10)
        self.network.start()
        self.network.wait_health(timeout=60)
        zfs("create", self.parent)
        zfs("create", "-o", f"mountpoint={self.dir}/other", f"{self.parent}/other")
        (self.dir / "other" / "precious").write_bytes(os.urandom(100000))
        self.precious = digest(self.dir / "other")
        for v in self.volumes:
            zfs("create", "-o", f"mountpoint={self.dir}/green/{v}", "-o", "recordsize=16K", "-o", "quota=4G",
                self.dataset("green", v))
            zfs("allow", "-u", "nobody", "snapshot,hold", self.dataset("green", v))
        zfs("set", *(f"{k}={v}" for k, v in RESERVED.items()), self.dataset("green"))
        (self.dir / "blue").mkdir()
        (self.dir / "green/accounts").mkdir(exist_ok=True)
        rpcnode.init(self.dir / "green/ledger", self.dir / "green/accounts", self.files, self.size, self.slots)
        for v in VOLUMES:
            (self.dir / "green" / v / "fixed").write_bytes(os.urandom(300000))
        self.fixed = {v: digest(self.dir / "green" / v)["fixed"] for v in VOLUMES}
        self.run("start", "--version", version)
        self.caddy.start()
        self.run("traffic", "install", "-y")
        return self

    def graph(self):
        """{name below the parent: origin} of every dataset and snapshot."""
        rows = [r.split("\t") for r in
                zfs("list", "-H", "-r", "-t", "all", "-o", "name,origin", self.parent).splitlines()]
        return {name.removeprefix(self.parent + "/"): origin.removeprefix(self.parent + "/")
                for name, origin in rows if name != self.parent}

    def events(self):
        """What the journal has of the last upgrade, in one text."""
        return "\n".join(text for text, in self.query(
            "SELECT text FROM events WHERE upgrade=(SELECT id FROM upgrades ORDER BY created DESC LIMIT 1) ORDER BY rowid"))

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
        assert values(self.dataset(live), *RESERVED) == RESERVED
        due = zfs("get", "-H", "-s", "local", "-o", "property", "all", self.dataset(live))
        assert "changeover:service" in due and "changeover:due" not in due and "changeover:retired" not in due

    def drop_retired(self, colour, upgrade, fixed):
        """What --retire has kept: nobody's any more, out of the way, its data whole; destroyed then, as its owner may."""
        for v in VOLUMES:
            name = f"{self.dataset(colour, v)}.retired-{upgrade}"
            assert values(name, "canmount", "mounted", "mountpoint", "reservation", "refreservation") == {
                "canmount": "noauto", "mounted": "no", "mountpoint": "none", "reservation": "0", "refreservation": "0"}
            own = zfs("get", "-H", "-s", "local", "-o", "property,value", "all", name)
            assert f"changeover:retired\tservice {self.name}, {colour}, volume {v}, upgrade {upgrade}" in own
            assert own.count("changeover:") == 1, own
            place = self.dir / f"look-{v}"
            place.mkdir()
            zfs("set", f"mountpoint={place}", name)
            zfs("mount", name)
            assert digest(place)["fixed"] == fixed[v]
            zfs("unmount", name)
            zfs("destroy", name)
            place.rmdir()

    def close(self):
        self.end_processes()
        for row in zfs("list", "-H", "-r", "-t", "snapshot", "-o", "name,userrefs", self.parent).splitlines():
            name, refs = row.split("\t")
            for hold in zfs("holds", "-H", name).splitlines() if int(refs) else ():
                zfs("release", hold.split("\t")[1], name)
        for row in zfs("list", "-H", "-r", "-t", "filesystem", "-o", "name", self.parent).splitlines():
            subprocess.run(["zfs", "unmount", "-f", row], capture_output=True)
        zfs("destroy", "-R", self.parent)
        super().close()
