"""A set of volumes on different things (ZFS, memory, XFS on a RAM disk) is one moment of a service at full work."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from lib.moment import make_data, prepare_at_work
from lib.service import BUILD

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/zfs"), reason="no ZFS here: make test-lab runs this in a VM")


# A machine of 3 GB, emulated: its writers must leave something to the tool.
SMALL = {"space": {"floor": "64MB", "last_floor": "32MB"}, "freeze": {"max": "60s"}, "runtime": {"nice": 15}}


def run(*command):
    subprocess.run(list(map(str, command)), check=True)


@pytest.fixture
def place():
    where = pathlib.Path(tempfile.mkdtemp(prefix="changeover-moment-", dir="/dev/shm"))
    where.chmod(0o755)
    (where / "blue").mkdir()
    yield where
    shutil.rmtree(where)


@pytest.fixture
def first_on_zfs(place):
    """green's volume `first` is a dataset; blue's will be."""
    parent = f"tank/{place.name}"
    run("zfs", "create", parent)
    run("zfs", "create", "-p", "-o", f"mountpoint={place}/green/first", f"{parent}/green")
    yield {"driver": "zfs", "dataset": f"{parent}/${{colour}}"}
    for row in subprocess.run(["zfs", "list", "-H", "-r", "-t", "snapshot", "-o", "name", parent], capture_output=True,
                              text=True).stdout.splitlines():
        subprocess.run(["zfs", "release", "changeover", row], capture_output=True)
    run("zfs", "destroy", "-R", "-f", parent)


@pytest.fixture
def second_on_brd(place):
    """Both colours' volume `second` lies on one XFS on a RAM disk (brd), as agave's accounts do."""
    run("modprobe", "brd", "rd_nr=1", "rd_size=1048576")
    run("mkfs.xfs", "-q", "-f", "-m", "reflink=1", "/dev/ram0")
    disk = place / "disk"
    disk.mkdir()
    run("mount", "/dev/ram0", disk)
    for colour in ("green", "blue"):
        (disk / colour).mkdir()
        (place / colour).mkdir(exist_ok=True)
        (place / colour / "second").symlink_to(disk / colour)
    yield {"driver": "reflink", "path": f"{disk}/${{colour}}"}
    run("umount", disk)
    run("modprobe", "-r", "brd")


def is_one_moment(place, volumes):
    make_data(place / "green")
    wrong, said = prepare_at_work(BUILD / "busy", place, volumes, spec=SMALL)
    assert wrong == []
    assert re.search(r"cloned; green was paused for ", said), said


def test_zfs_and_memory(place, first_on_zfs):
    is_one_moment(place, {"first": first_on_zfs, "second": {"driver": "copy"}})


def test_zfs_and_a_ram_disk(place, first_on_zfs, second_on_brd):
    is_one_moment(place, {"first": first_on_zfs, "second": second_on_brd})
