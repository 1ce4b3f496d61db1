"""What is left for live on ZFS: a pool that fills up while the two sides diverge, and limits of live's own. Inside the VM of tests/lab/run."""
import hashlib
import os
import pathlib
import re
import subprocess

import pytest

from lib import rpcnode
from lib.overwriter import Overwriter
from lib.service import Service
from lib.waiting import wait_for

MB = 1 << 20
VOLUMES = ("ledger", "accounts")
pytestmark = pytest.mark.skipif(not os.path.exists("/dev/zfs"), reason="no ZFS here: make test-lab runs this in a VM")


def run(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, args))}: {done.stderr}"
    return done.stdout


class PoolService(Service):
    """Its data lies on POOL/COLOUR-VOLUME; POOL/other is somebody else's."""

    def __init__(self, pool, floor, last_floor):
        super().__init__(name="node", files=5, size="64K")
        self.pool = pool
        self.change_spec({
            "volumes": {v: {"driver": "zfs", "path": f"{self.dir}/${{colour}}/{v}",
                            "dataset": f"{pool}/${{colour}}-{v}", "exclude": None} for v in VOLUMES},
            "gate": {"deadline": "3m"}, "space": {"floor": floor, "last_floor": last_floor}})

    def run(self, *args, timeout=600, **kw):
        return super().run(*args, timeout=timeout, **kw)  # an emulated machine is slow

    def start(self):
        rpcnode.init(self.network.ledger, self.network.accounts, 1, "1K", self.slots + 10)
        self.network.start()
        self.network.wait_health(timeout=60)
        run("zfs", "create", "-o", f"mountpoint={self.dir}/other", f"{self.pool}/other")
        (self.dir / "other/precious").write_bytes(os.urandom(100000))
        self.precious = self.sum_of("other/precious")
        for v in VOLUMES:
            run("zfs", "create", "-o", f"mountpoint={self.dir}/green/{v}", f"{self.pool}/green-{v}")
        (self.dir / "blue").mkdir()
        rpcnode.init(self.dir / "green/ledger", self.dir / "green/accounts", self.files, self.size, self.slots)
        self.super_start()
        return self

    def super_start(self):
        Service.run(self, "start", "--version", "1.0.0", timeout=600)
        self.caddy.start()
        self.run("traffic", "install", "-y")

    def sum_of(self, name):
        return hashlib.sha256((self.dir / name).read_bytes()).hexdigest()

    def datasets(self):
        return run("zfs", "list", "-H", "-r", "-t", "all", "-o", "name", self.pool).split()

    def number(self, colour, name):
        return int(run("zfs", "get", "-H", "-p", "-o", "value", name, f"{self.pool}/{colour}-ledger"))

    def samples(self):
        path = self.dir / "state/node/space"
        return path.read_text().count("\n") if path.exists() else 0

    def another_look(self):
        """The guard has looked twice more: what it would do it has begun."""
        n = self.samples()
        wait_for(lambda: self.samples() > n + 8, "the guard to look", 60)


@pytest.fixture
def small_pool():
    """Of half a GB, in memory."""
    pathlib.Path("/sys/module/zfs/parameters/zfs_arc_max").write_text(str(256 * MB))
    image = pathlib.Path("/dev/shm/small")
    with image.open("wb") as f:
        f.truncate(512 * MB)
    run("zpool", "create", "-O", "mountpoint=none", "small", image)
    yield "small"
    subprocess.run(["zpool", "destroy", "-f", "small"])
    image.unlink()


def test_live_writes_on_until_the_floors_act_and_never_finds_the_pool_full(small_pool):
    service = PoolService(small_pool, "100MB", "60MB")
    try:
        service.start()
        data = 190
        available = service.number("green", "available")
        assert available < 2 * data * MB, "both sides' data would fit: nothing to see"
        writer = Overwriter(service.dir / "green/ledger/blob", data, rate=3)
        service.run("prepare", "-t", "2.0.0")
        with writer:
            space = {}

            def forecast():
                space.update(service.status()["space"] or {})
                return space.get("full_in_seconds") and space.get("green_bytes_per_second") and writer.written > 10
            wait_for(forecast, "a forecast", 120)
            # what live overwrites is kept by our snapshot, and counts as live's growth
            assert space["green_bytes_per_second"] > space["bytes_per_second"] / 2 > 0, space
            assert re.search(r"\(green \+[0-9.]+ [kM]B/s, blue [-+].*\): full in .* at this rate", space["text"]), space
            wait_for(lambda: service.state() in ("rolled-back", "cleaning", "steady"), "the guard to stop the standby", 180)
            assert service.pid("blue") == 0
            stopped = writer.written
            try:
                wait_for(lambda: service.state() == "steady", "the guard to destroy the clone", 180)
            except AssertionError as e:
                raise AssertionError(f"{e}; {writer.written} MB written, {service.number('green', 'available') >> 20} MB available, "
                                     f"{service.status()}\n{(service.dir / 'state/node/guard.log').read_text()}") from e
            assert writer.written > stopped, "live wrote on while the standby was stopped"
            writer.rate = 40
            writer.on(60, 300)
        writer.account()
        said = (service.dir / "state/node/guard.log").read_text()
        assert re.search(r"only .* at this rate: stopping the standby", said), said
        assert "below the last floor: destroying the data of blue" in said
        assert service.datasets() == ["small", "small/green-accounts", "small/green-ledger", "small/other"]
        assert service.sum_of("other/precious") == service.precious and service.identity() == "green"
    finally:
        service.close()
        subprocess.run(["zfs", "unmount", "-a"])


def test_limits_of_live_and_of_the_standby_are_told_apart():
    pool = "tank/limits"
    run("zfs", "create", pool)
    service = PoolService(pool, "300MB", "100MB")
    try:
        service.start()
        referenced = service.number("green", "referenced")
        run("zfs", "set", f"refquota={referenced + 80 * MB}", f"{pool}/green-ledger")
        assert re.search(r"warning +space +volume ledger of green: 8\d.*MB are left under its refquota",
                         service.run("check", "-t", "2.0.0", expect=None).stdout)
        run("zfs", "set", "refquota=none", f"{pool}/green-ledger")
        service.run("prepare", "-t", "2.0.0")
        wait_for(lambda: service.samples() > 2, "samples", 60)
        assert service.status()["notes"] == [] or "free" not in str(service.status()["notes"])
        # a quota of the standby hurts the standby alone
        run("zfs", "set", f"quota={service.number('blue', 'used') + 50 * MB}", f"{pool}/blue-ledger")
        service.another_look()
        assert service.state() == "prepared" and "left" not in str(service.status()["notes"])
        # a refquota of live does hurt it, and no clone that goes would help
        run("zfs", "set", f"refquota={service.number('green', 'referenced') + 80 * MB}", f"{pool}/green-ledger")
        service.another_look()
        note = str(service.status()["notes"])
        assert re.search(r"only \d+\.?\d* MB left under the refquota of green's volume ledger.*below the last floor: nothing that", note)
        assert "left under the refquota" in service.status()["space"]["text"]
        assert service.state() == "prepared" and service.pid("blue")
        run("zfs", "set", "refquota=none", f"{pool}/green-ledger")
        service.another_look()
        assert service.state() == "prepared" and "left" not in str(service.status()["notes"])
        # its quota counts what our snapshot keeps: there it helps
        run("zfs", "set", f"quota={service.number('green', 'used') + 200 * MB}", f"{pool}/green-ledger")
        wait_for(lambda: service.state() == "rolled-back", "the guard to stop the standby", 60)
        assert f"{pool}/blue-ledger" in service.datasets()
        run("zfs", "set", f"quota={service.number('green', 'used') + 60 * MB}", f"{pool}/green-ledger")
        wait_for(lambda: service.state() == "steady", "the guard to destroy the clone", 120)
        assert service.datasets() == [pool, f"{pool}/green-accounts", f"{pool}/green-ledger", f"{pool}/other"]
        assert service.sum_of("other/precious") == service.precious
    finally:
        service.end_processes()
        for name in reversed(service.datasets()):
            if "@" not in name:
                subprocess.run(["zfs", "unmount", "-f", name], capture_output=True)
        service.close()
        for name in (n for n in run("zfs", "list", "-H", "-r", "-t", "snapshot", "-o", "name", pool).split()):
            subprocess.run(["zfs", "release", "changeover", name], capture_output=True)
        run("zfs", "destroy", "-R", pool)
