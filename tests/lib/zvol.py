"""A service on two zvols (XFS, ext4) and a ZFS file system, for the tests inside the VM of tests/lab."""
import fcntl
import os
import pathlib
import subprocess

from . import rpcnode
from .waiting import wait_for
from .zfs import ZfsService, digest, values, zfs

ZVOLS = {"ledger": ("xfs", "400M"), "index": ("ext4", "64M")}
VOLUMES = ("ledger", "index", "accounts")
BLKZNAME = 0x8100127D


def run(*argv, expect=0):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    assert expect is None or done.returncode == expect, f"{argv}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def dataset_of(device):
    """What ZFS calls the volume behind a block device."""
    fd = os.open(device, os.O_RDONLY)
    try:
        return fcntl.ioctl(fd, BLKZNAME, bytes(256)).split(b"\0")[0].decode()
    finally:
        os.close(fd)


def mount_of(path):
    """(device, type, options) of what is mounted at a path."""
    rows = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    found = [r for r in rows if r[1] == str(path)]
    return (found[-1][0], found[-1][2], set(found[-1][3].split(","))) if found else None


class ZvolService(ZfsService):
    """ledger: XFS, index: ext4, each on a zvol; accounts: a ZFS file system; tank/SERVICE/theirs: another's zvol."""

    def __init__(self, spec=None):
        super().__init__()
        self.volumes = VOLUMES
        self.change_spec({
            "volumes": {v: {"driver": "zfs", "path": f"{self.dir}/${{colour}}/{v}",
                            "dataset": f"{self.parent}/${{colour}}-{v}"} for v in VOLUMES},
            "space": {"floor": "20MB", "last_floor": "10MB"}, **(spec or {})})

    def make(self, name, fs, size, path, options="noatime"):
        zfs("create", "-V", size, f"{self.parent}/{name}")
        wait_for(lambda: os.path.exists(f"/dev/zvol/{self.parent}/{name}"), "the device of the new zvol", 30)
        run(f"mkfs.{fs}", "-q", f"/dev/zvol/{self.parent}/{name}")
        path.mkdir(parents=True)
        run("mount", "-o", options, f"/dev/zvol/{self.parent}/{name}", path)

    def make_data(self):
        zfs("create", self.parent)
        zfs("create", "-o", f"mountpoint={self.dir}/other", f"{self.parent}/other")
        (self.dir / "other" / "precious").write_bytes(os.urandom(100000))
        self.precious = digest(self.dir / "other")
        for v, (fs, size) in ZVOLS.items():
            self.make(f"green-{v}", fs, size, self.dir / "green" / v)
        zfs("create", "-o", f"mountpoint={self.dir}/green/accounts", self.dataset("green", "accounts"))
        self.reserved = {v: values(self.dataset("green", v), "refreservation")["refreservation"] for v in ZVOLS}
        (self.dir / "blue").mkdir()

    def start(self, version="1.0.0"):
        rpcnode.init(self.network.ledger, self.network.accounts, 1, "1K", self.slots + 10)
        self.network.start()
        self.network.wait_health(timeout=60)
        self.make_data()
        rpcnode.init(self.dir / "green/ledger", self.dir / "green/accounts", self.files, self.size, self.slots)
        for v in VOLUMES:
            (self.dir / "green" / v / "fixed").write_bytes(os.urandom(300000))
        run("sync")  # a clone of a zvol has what was on the device
        self.fixed = {v: digest(self.dir / "green" / v)["fixed"] for v in VOLUMES}
        self.run("start", "--version", version)
        self.caddy.start()
        self.run("traffic", "install", "-y")
        return self

    def looks_clean(self, live):
        assert self.graph() == {"other": "-", **{f"{live}-{v}": "-" for v in VOLUMES}}
        assert digest(self.dir / "other") == self.precious
        for v, reserved in self.reserved.items():
            assert values(self.dataset(live, v), "refreservation")["refreservation"] == reserved, "moved to live"
        gone = "blue" if live == "green" else "green"
        for v in VOLUMES:
            assert digest(self.dir / live / v)["fixed"] == self.fixed[v]
            assert not mount_of(self.dir / gone / v)
        for v in ZVOLS:
            assert not (self.dir / gone / v).exists()

    def close(self):
        self.end_processes()
        for v in ZVOLS:
            for c in ("green", "blue"):
                path = self.dir / c / v
                run("fsfreeze", "-u", path, expect=None)
                while mount_of(path):
                    run("umount", "-l", path)
        run("udevadm", "settle", "-t", "20", expect=None)
        super().close()
