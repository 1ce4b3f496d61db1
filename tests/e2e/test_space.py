"""The space floors, on a file system that is filled by somebody else."""
import os
import re
import shutil
import subprocess

import pytest

from lib import rpcnode
from lib.loopdev import LoopDevice
from lib.overwriter import Overwriter
from lib.service import Service
from lib.waiting import wait_for

MB = 1000 * 1000


@pytest.fixture
def service():
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    s = Service(spec={"space": {"floor": "30MB", "last_floor": "10MB"}})
    place = s.dir / "blue"

    def start():
        s.start()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M,mode=755", "none", str(place)])
        if done.returncode != 0:
            pytest.skip("mounting is not allowed here")
        return s

    try:
        yield start
    finally:
        s.end_processes()
        subprocess.run(["umount", "-l", str(place)], stderr=subprocess.DEVNULL)
        s.close()


def fill(place, keep):
    """Leaves `keep` bytes free."""
    stat = os.statvfs(place)
    with open(place / f"fill-{keep}", "wb") as f:
        f.write(b"x" * (stat.f_bavail * stat.f_frsize - keep))


def test_first_the_standby_is_stopped_then_its_clone_goes(service):
    s = service()
    s.run("prepare", "-t", "2.0.0")
    fill(s.dir / "blue", 20 * MB)
    wait_for(lambda: s.state() == "rolled-back", "the guard to stop the standby", 30)
    assert s.pid("blue") == 0 and (s.dir / "blue/ledger").exists()
    fill(s.dir / "blue", 5 * MB)
    wait_for(lambda: not (s.dir / "blue/ledger").exists(), "the guard to destroy the clone", 30)
    wait_for(lambda: s.state() == "steady", "the end", 30)
    assert s.identity() == "green" and s.flags() == ["active-green"]


class Filling(Service):
    """Its data shares blocks on a small file system, on which both sides' data would not fit twice."""

    def __init__(self, kind, driver, megabytes):
        self.disk, self.kind = LoopDevice(megabytes, kind), kind
        try:
            super().__init__(files=5, size="64K")
        except BaseException:
            self.disk.close()
            raise
        self.change_spec({
            "volumes": {v: {"driver": driver, "path": f"{self.disk.path}/${{colour}}/{v}", "exclude": None}
                        for v in ("ledger", "accounts")},
            "space": {"floor": "150MB", "last_floor": "100MB"}})

    def start(self):
        for colour in ("green", "blue"):
            (self.dir / colour).symlink_to(self.disk.path / colour)
            (self.disk.path / colour).mkdir()
        rpcnode.init(self.network.ledger, self.network.accounts, 1, "1K", self.slots + 10)
        self.network.start()
        self.network.wait_health()
        for v in ("ledger", "accounts"):
            place = self.disk.path / "green" / v
            if self.kind == "btrfs":
                subprocess.run(["btrfs", "-q", "subvolume", "create", place], check=True)
            else:
                place.mkdir()
        rpcnode.init(self.dir / "green/ledger", self.dir / "green/accounts", self.files, self.size, self.slots)
        self.run("start", "--version", "1.0.0")
        self.caddy.start()
        self.run("traffic", "install", "-y")
        return self

    def close(self):
        try:
            super().close()
        finally:
            self.disk.close()


@pytest.mark.parametrize("kind, driver, disk, data", [("xfs", "reflink", 700, 360), ("btrfs", "btrfs", 900, 420)])
def test_live_writes_on_until_the_floors_act_and_never_finds_the_disk_full(kind, driver, disk, data):
    """Stopping the standby frees nothing: what live overwrites goes on filling the disk, until the clone goes."""
    service = Filling(kind, driver, disk)
    try:
        service.start()
        writer = Overwriter(service.disk.path / "green/ledger/blob", data, rate=12)
        service.run("prepare", "-t", "2.0.0")
        assert 2 * (data << 20) > shutil.disk_usage(service.disk.path).total * 0.9, "both would fit: nothing to see"
        with writer:
            space = {}

            def forecast():
                space.update(service.status()["space"] or {})
                return space.get("full_in_seconds") and writer.written > 60
            wait_for(forecast, "a forecast", 60)
            assert 4 << 20 < space["bytes_per_second"] < 36 << 20, space
            expected = space["free_bytes"] / space["bytes_per_second"]
            assert abs(space["full_in_seconds"] - expected) <= 1 + expected / 100, space
            assert re.search(r" MB/s less.*: full in [0-9.]+ \w+( [0-9]+ s)? at this rate", space["text"]), space
            assert re.search(r"^Space: +[0-9.]+ MB free at .* at this rate$", service.run("status").stdout, re.M)
            wait_for(lambda: service.state() == "rolled-back", "the guard to stop the standby", 60)
            assert service.pid("blue") == 0 and (service.disk.path / "blue/ledger").exists()
            assert "full in " in service.logs() and "stopping the standby" in service.logs()
            wait_for(lambda: not (service.disk.path / "blue/ledger").exists(), "the guard to destroy the clone", 60)
            wait_for(lambda: service.state() == "steady", "the end", 30)
            writer.rate = 80
            writer.on(data + 50)
        writer.account()
        assert service.identity() == "green" and service.flags() == ["active-green"]
        assert service.status()["space"] is None
    finally:
        service.close()


def test_live_on_a_disk_of_its_own_gains_nothing_by_the_end_of_the_standby(service):
    """What is full is said, and nothing is destroyed for it."""
    s = service()
    s.run("prepare", "-t", "2.0.0")
    with LoopDevice(300) as disk:                   # green's accounts move there, with live none the wiser
        live = s.dir / "green/accounts"
        subprocess.run(["cp", "-a", f"{live}/.", disk.path], check=True)
        subprocess.run(["mount", "--bind", disk.path, live], check=True)
        try:
            fill(live, 8 * MB)
            wait_for(lambda: any("nothing that the other side gives back would help" in n for n in s.status()["notes"]),
                     "status to say so", 20)
            note = next(n for n in s.status()["notes"] if "nothing that" in n)
            assert "below the" in note and str(live) in note, note
            assert s.state() == "prepared" and s.pid("blue") and (s.dir / "blue/accounts").exists()
        finally:
            subprocess.run(["umount", live], check=True)
    assert s.state() == "prepared"


def test_after_the_flip_the_time_left_is_said_once_and_nothing_goes():
    s = Filling("ext4", "copy", 400)
    try:
        s.start()
        s.run("prepare", "-t", "2.0.0")
        s.run("promote")
        fill(s.disk.path, 140 * MB)
        said = r"only .* free at .*, below the first floor: nothing is destroyed by itself after the flip"
        wait_for(lambda: re.search(said, s.logs()), "the guard's warning", 30)
        fill(s.disk.path, 120 * MB)
        wait_for(lambda: (s.status()["space"] or {}).get("free_bytes", 1 << 40) < 125 * MB, "another look", 20)
        note = next(n for n in s.status()["notes"] if re.search(said, n))
        assert "changeover cleanup makes room" in note
        assert s.state() == "promoted" and (s.dir / "green/ledger").exists()
        assert len(re.findall(said, s.logs())) == 1
    finally:
        s.close()
