"""Upgrades of a service whose volumes are btrfs subvolumes, on a loop device."""
import ctypes
import hashlib
import os
import re
import shutil
import subprocess

import pytest

from lib import rpcnode
from lib.loopdev import LoopDevice
from lib.service import Service, steady

VOLUMES = ("ledger", "accounts")


def btrfs(*args):
    done = subprocess.run(["btrfs", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, f"btrfs {' '.join(map(str, args))}: {done.stderr}"
    return done.stdout


def digest(folder):
    """A checksum of every file below, by name and content."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".changeover"}


class BtrfsService(Service):
    """Its data lies on a btrfs of its own; ledger has subvolumes in it; `other` is somebody else's."""

    def __init__(self, driver="btrfs"):
        self.disk = LoopDevice(1500, "btrfs")
        try:
            super().__init__(name="node", files=20, size="256K", versions=[f"{n}.0.0" for n in range(1, 40)])
        except BaseException:
            self.disk.close()
            raise
        self.root, self.newest = self.disk.path, 1
        self.change_spec({
            "volumes": {v: {"driver": driver, "path": f"{self.root}/${{colour}}/{v}", "exclude": None} for v in VOLUMES},
            "space": {"floor": "50MB", "last_floor": "20MB"}})

    def next_version(self):
        self.newest += 1
        return f"{self.newest}.0.0"

    def sides(self):
        live = self.live()
        return live, "blue" if live == "green" else "green"

    def start(self):
        rpcnode.init(self.network.ledger, self.network.accounts, 1, "1K", self.slots + 10)
        self.network.start()
        self.network.wait_health()
        btrfs("subvolume", "create", self.root / "other")
        (self.root / "other" / "precious").write_bytes(os.urandom(100000))
        self.precious = digest(self.root / "other")
        for colour in ("green", "blue"):
            (self.root / colour).mkdir()
        for v in VOLUMES:
            btrfs("subvolume", "create", self.root / "green" / v)
        rpcnode.init(self.root / "green/ledger", self.root / "green/accounts", self.files, self.size, self.slots)
        self.add_nested("green")
        for v in VOLUMES:
            (self.root / "green" / v / "fixed").write_bytes(os.urandom(300000))
        self.fixed = {v: digest(self.root / "green" / v)["fixed"] for v in VOLUMES}
        self.run("start", "--version", "1.0.0")
        self.caddy.start()
        self.run("traffic", "install", "-y")
        return self

    def add_nested(self, colour):
        for path in ("images", "images/deep", "plain/images"):
            (self.root / colour / "ledger" / path).parent.mkdir(exist_ok=True)
            btrfs("subvolume", "create", self.root / colour / "ledger" / path)
            (self.root / colour / "ledger" / path / "inside").write_text(path)

    def subvolumes(self):
        """The paths of all of them, below the top."""
        return sorted(re.findall(r" path (.+)$", btrfs("subvolume", "list", self.root), re.M))

    def of(self, colour):
        return [f"{colour}/{p}" for p in ("accounts", "ledger", "ledger/images", "ledger/images/deep",
                                          "ledger/plain/images")]

    def looks_clean(self, live):
        """Only live's subvolumes, and nothing of ours beside them; nobody else's data changed."""
        other = "blue" if live == "green" else "green"
        assert self.subvolumes() == sorted([*self.of(live), "other"])
        assert sorted(os.listdir(self.root / live)) == sorted(VOLUMES) and os.listdir(self.root / other) == []
        assert digest(self.root / "other") == self.precious
        self.is_whole(live)

    def is_whole(self, colour):
        for v in VOLUMES:
            assert digest(self.root / colour / v)["fixed"] == self.fixed[v]
        for path in ("images", "images/deep", "plain/images"):
            assert (self.root / colour / "ledger" / path / "inside").read_text() == path

    def close(self):
        try:
            super().close()
        finally:
            self.disk.close()


@pytest.fixture
def service(kept):
    """Steady, green or blue live."""
    return steady(kept, BtrfsService)


def test_ping_pong_looks_the_same_every_time(service):
    service.looks_clean(service.live())
    for _ in range(3):
        old, new = service.sides()
        version = service.next_version()
        free = os.statvfs(service.root).f_bfree
        said = service.run("prepare", "-t", version).stderr
        assert re.search(r"cloned; \w+ was paused for [0-9.]+ ms \(2 passes before", said), said
        service.is_whole(new)
        assert service.subvolumes() == sorted([*service.of(old), *service.of(new), "other"])
        assert os.statvfs(service.root).f_bfree > free - 4000, "the clone shares its blocks"
        service.run("promote")
        assert service.rpc("getVersion")["solana-core"] == version and service.identity() == new
        service.run("cleanup", "-y")
        assert service.live() == new
        service.looks_clean(new)


def test_what_is_somebody_elses_stops_cleanup(service):
    old, new = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    backup = service.root / old / "ledger/backup"
    btrfs("subvolume", "snapshot", "-r", service.root / old / "ledger", backup)
    btrfs("subvolume", "create", service.root / old / "ledger/images/theirs")
    (service.root / old / "ledger/images/theirs/file").write_text("theirs")
    before, data = service.subvolumes(), digest(service.root / old)
    refused = service.run("cleanup", "-y", expect=3)
    assert f"{backup} (read-only)" in refused.stderr and "ledger/images/theirs" in refused.stderr, refused.stderr
    assert "btrfs subvolume delete" in refused.stderr
    assert [p for p in before if "accounts" not in p] == [p for p in service.subvolumes() if "accounts" not in p]
    left = digest(service.root / old)
    assert left == {name: data[name] for name in left} and "ledger/images/theirs/file" in left
    btrfs("subvolume", "delete", backup, service.root / old / "ledger/images/theirs")
    service.run("resume")
    service.looks_clean(new)


def test_a_snapshot_in_the_place_of_the_standby_is_not_ours(service):
    live, other = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("rollback")
    place, aside = service.root / other / "accounts", service.root / "aside"
    place.rename(aside)
    btrfs("subvolume", "snapshot", aside, place)
    refused = service.run("cleanup", "-y", expect=3)
    assert "is not the one that we marked" in refused.stderr, refused.stderr
    assert digest(place)["fixed"] == service.fixed["accounts"]
    btrfs("subvolume", "delete", place)
    aside.rename(place)
    service.run("resume")
    service.looks_clean(live)


def test_a_standby_that_is_mounted_elsewhere_stops_cleanup(service):
    live, other = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("rollback")
    at = service.dir / "mounted"
    at.mkdir()
    subprocess.run(["mount", "-o", f"subvol={other}/ledger", service.disk.device, at], check=True)
    try:
        refused = service.run("cleanup", "-y", expect=3)
        assert f"{at} (a mount of it)" in refused.stderr, refused.stderr
        assert digest(at)["fixed"] == service.fixed["ledger"]
    finally:
        subprocess.run(["umount", at], check=True)
    service.run("resume")
    service.looks_clean(live)


def test_read_only_subvolumes_are_left_out_and_said(service):
    live, other = service.sides()
    backup = service.root / live / "ledger/plain/backup"
    btrfs("subvolume", "snapshot", "-r", service.root / live / "ledger", backup)
    said = service.run("check", "-t", service.next_version()).stdout
    assert "1 read-only subvolume in it is left out of the clone" in said and "plain/backup" in said, said
    service.run("prepare", "-t", f"{service.newest}.0.0")
    assert f"{other}/ledger/plain/backup" not in service.subvolumes()
    assert os.listdir(service.root / other / "ledger/plain/backup") == []
    service.run("rollback")
    service.run("cleanup", "-y")
    assert f"{live}/ledger/plain/backup" in service.subvolumes()
    btrfs("subvolume", "delete", backup)
    service.looks_clean(live)


@pytest.mark.parametrize("point,then", [("btrfs/snapshot", "rollback"), ("btrfs/snapshot", "resume"),
                                        ("btrfs/nested", "rollback"), ("btrfs/nested", "resume"),
                                        ("btrfs/mark", "resume"), ("btrfs/exchange", "rollback"),
                                        ("btrfs/exchange", "resume"), ("clone/settle", "resume")])
def test_killed_in_mid_clone(service, point, then):
    live, other = service.sides()
    marker = service.dir / f"fired-{point.replace('/', '-')}-{then}"
    killed = service.run("prepare", "-t", service.next_version(), expect=None,
                         env={"CHANGEOVER_FAULT": f"kill@{point}@{marker}"})
    assert marker.exists(), killed.stderr
    service.run(then)
    if then == "resume":
        assert service.state() == "prepared"
        service.is_whole(other)
        assert sorted(os.listdir(service.root / other)) == sorted(VOLUMES)
        service.run("rollback")
    service.run("cleanup", "-y", expect=None)
    assert service.state() == "steady"
    service.looks_clean(live)


def test_killed_in_mid_cleanup(service):
    _, new = service.sides()
    marker = service.dir / "fired-delete"
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    service.run("cleanup", "-y", expect=None, env={"CHANGEOVER_FAULT": f"kill@btrfs/delete@{marker}"})
    assert marker.exists()
    service.run("resume")
    assert service.state() == "steady" and service.live() == new
    service.looks_clean(new)


def test_the_space_is_back_when_cleanup_ends(service):
    _, new = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    old = "blue" if new == "green" else "green"
    with open(service.root / old / "accounts/own", "wb") as f:
        f.write(os.urandom(120 << 20))
        os.fsync(f.fileno())
    before = os.statvfs(service.root)
    service.run("cleanup", "-y")
    after = os.statvfs(service.root)
    assert (after.f_bfree - before.f_bfree) * before.f_frsize > 100 << 20
    service.looks_clean(new)


def test_files_without_copy_on_write_stay_as_they_were(service):
    live, other = service.sides()
    file = service.root / live / "accounts/in-place"
    file.touch()
    subprocess.run(["chattr", "+C", file], check=True)
    file.write_bytes(b"a" * 1000000)
    service.run("prepare", "-t", service.next_version())
    with open(file, "r+b") as f:
        f.write(b"b" * 1000000)
        os.fsync(f.fileno())
    clone = service.root / other / "accounts/in-place"
    assert clone.read_bytes() == b"a" * 1000000 and file.read_bytes() == b"b" * 1000000
    assert "C" in subprocess.run(["lsattr", clone], capture_output=True, text=True, check=True).stdout.split()[0]
    service.run("rollback")
    service.run("cleanup", "-y")
    file.unlink()
    service.looks_clean(live)


def test_an_active_swap_file_is_said_in_words(service):
    live, _ = service.sides()
    file = service.root / live / "accounts/swap"
    file.touch()
    subprocess.run(["chattr", "+C", file], check=True)
    file.write_bytes(bytes(8 << 20))
    file.chmod(0o600)
    subprocess.run(["mkswap", file], check=True, capture_output=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.swapon(str(file).encode(), 0) != 0:
        file.unlink()
        pytest.skip("no swap files here")
    try:
        refused = service.run("prepare", "-t", service.next_version(), expect=1)
        assert "active swap file" in refused.stderr, refused.stderr
    finally:
        libc.swapoff(str(file).encode())
        file.unlink()
    assert service.state() == "steady" and service.live() == live
    service.looks_clean(live)


def test_limits_of_a_quota_group_go_along_and_no_group_is_left(service):
    live, other = service.sides()
    btrfs("quota", "enable", service.root)
    try:
        btrfs("qgroup", "limit", "800M", service.root / live / "accounts")
        service.run("prepare", "-t", service.next_version())
        own = btrfs("qgroup", "show", "-re", "--raw", "-f", service.root / other / "accounts").splitlines()[-1].split()
        assert own[3] == str(800 << 20), own
        service.run("promote")
        service.run("cleanup", "-y")
        groups = re.findall(r"^0/(\d+)", btrfs("qgroup", "show", service.root), re.M)
        there = re.findall(r"^ID (\d+)", btrfs("subvolume", "list", service.root), re.M)
        assert sorted(groups) == sorted(["5", *there])
        service.looks_clean(other)
    finally:
        btrfs("quota", "disable", service.root)


def test_auto_takes_it_where_live_is_a_subvolume():
    service = BtrfsService("auto")
    try:
        service.start()
        said = service.run("plan", "-t", "2.0.0").stdout
        assert re.search(rf"ledger: {service.root}/green/ledger -> {service.root}/blue/ledger \(btrfs, ", said), said
        assert re.search(r"green is paused for the snapshots: about [0-9.]+ ms, at most 10 s", said), said
        service.change_spec({"volumes": {"ledger": {"exclude": ["admin.rpc"]}}})
        said = service.run("plan", "-t", "2.0.0").stdout
        assert "/ledger (reflink, " in said and "/accounts (btrfs, " in said, said
        service.change_spec({"volumes": {"ledger": {"exclude": None}}})
        service.run("prepare", "-t", "2.0.0")
        assert service.subvolumes() == sorted([*service.of("green"), *service.of("blue"), "other"])
        service.run("promote")
        service.run("cleanup", "-y")
        service.looks_clean("blue")
    finally:
        service.close()


def test_what_is_no_subvolume_is_refused_in_words():
    service = BtrfsService()
    try:
        for v in VOLUMES:
            (service.root / "green" / v).mkdir(parents=True)
        (service.root / "blue").mkdir()
        said = service.run("check", "-t", "2.0.0", expect=None).stdout
        assert "is no subvolume of its own (driver reflink clones directories" in said, said
        shutil.rmtree(service.root / "green" / "ledger")
        btrfs("subvolume", "create", service.root / "green/ledger")
        subprocess.run(["mount", "-o", "subvol=green/ledger", service.disk.device, service.root / "green/ledger"],
                       check=True)
        try:
            said = service.run("check", "-t", "2.0.0", expect=None).stdout
            assert "is a mount point, and no snapshot can take its place" in said, said
        finally:
            subprocess.run(["umount", service.root / "green/ledger"], check=True)
    finally:
        service.close()


def test_without_root_it_is_refused_in_words():
    service = BtrfsService()
    try:
        for colour in ("green", "blue"):
            (service.root / colour).mkdir()
        for v in VOLUMES:
            btrfs("subvolume", "create", service.root / "green" / v)
        state = service.dir / "nobodys"
        state.mkdir(mode=0o700)
        for path in (state, *service.root.rglob("*")):
            os.chown(path, 65534, 65534)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *service.argv("check", "-t", "2.0.0")]
        nobody[nobody.index("--state-dir") + 1] = str(state)
        said = subprocess.run(nobody, capture_output=True, text=True).stdout
        assert "only root may list and delete subvolumes" in said, said
    finally:
        service.close()
