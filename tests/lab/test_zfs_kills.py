"""SIGKILL after each zfs command that changes something, on the real OpenZFS; then both ways on."""
import pytest

from lib.zfs import VOLUMES, digest, needs_zfs

pytestmark = needs_zfs
PREPARE = ["snapshot", "hold", "clone", "allow", "mount", "set"]
END = ["release", "destroy-d", "destroy"]
# the reservation noted as due, live promoted, the reservation moved, the file system unmounted
OLD_SIDE = ["set", "promote", "inherit", "unmount", *END]
# the old name's mark and mount point, the new name, the mark taken off
RETIRE = ["set", "promote", "inherit", "release", "destroy-d", "set", "rename", "inherit"]


def kill_at(service, point, *command):
    marker = service.dir / f"fired-{point}"
    marker.unlink(missing_ok=True)
    done = service.run(*command, expect=None, env={"CHANGEOVER_FAULT": f"kill@zfs/{point}@{marker}"})
    assert marker.exists(), f"{command} never came to zfs/{point}: {done.returncode}\n{done.stdout}\n{done.stderr}"


def kill_at_each(service, points, *command):
    """The command is killed at the first, the resume after it at the second, and so on."""
    for n, point in enumerate(points):
        kill_at(service, point, *(("resume",) if n else command))
        yield point


def clean(service):
    service.run("cleanup", "-y")
    assert service.state() == "steady"


def test_forward_from_each_point_of_prepare(service):
    live, other = service.sides()
    for _ in kill_at_each(service, PREPARE, "prepare", "-t", service.next_version()):
        assert digest(service.dir / live / "ledger")["fixed"] == service.fixed["ledger"]
    service.run("resume")
    assert service.state() == "prepared"
    for v in VOLUMES:
        assert digest(service.dir / other / v)["fixed"] == service.fixed[v]
    service.run("rollback")
    clean(service)
    service.looks_clean(live)


@pytest.mark.parametrize("point", PREPARE)
def test_back_from_prepare(service, point):
    live, _ = service.sides()
    kill_at(service, point, "prepare", "-t", service.next_version())
    service.run("rollback")
    clean(service)
    service.looks_clean(live)


def test_the_end_of_the_old_side(service):
    _, new = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    for _ in kill_at_each(service, OLD_SIDE, "cleanup", "-y"):
        refused = service.run("rollback", expect=1)
        assert "on its way out" in refused.stderr
        assert digest(service.dir / new / "ledger")["fixed"] == service.fixed["ledger"]
    service.run("resume")
    assert service.state() == "steady" and service.live() == new
    service.looks_clean(new)


def test_the_end_of_a_standby(service):
    live, _ = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("rollback")
    for _ in kill_at_each(service, ["unmount", *END], "cleanup", "-y"):
        assert digest(service.dir / live / "ledger")["fixed"] == service.fixed["ledger"]
    clean(service)
    service.looks_clean(live)


def test_a_side_that_is_retired(service):
    old, new = service.sides()
    service.run("prepare", "-t", service.next_version())
    upgrade = service.status()["upgrade"]
    service.run("promote")
    for _ in kill_at_each(service, RETIRE, "cleanup", "--retire", "-y"):
        assert digest(service.dir / new / "ledger")["fixed"] == service.fixed["ledger"]
    service.run("resume")
    assert service.state() == "steady" and service.live() == new
    service.drop_retired(old, upgrade, service.fixed)
    service.looks_clean(new)
