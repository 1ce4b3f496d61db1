"""The space floors, on a file system that is filled by somebody else."""
import os
import subprocess

import pytest

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
