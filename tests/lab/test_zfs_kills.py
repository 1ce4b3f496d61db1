"""SIGKILL after each zfs command that changes something, on the real OpenZFS; then both ways on."""
import pytest

from lib.zfs import VOLUMES, digest, needs_zfs

pytestmark = needs_zfs
POINTS = ("snapshot", "hold", "clone", "allow", "mount", "set")


def kill_at(service, point, *command):
    marker = service.dir / f"fired-{point}"
    marker.unlink(missing_ok=True)
    done = service.run(*command, expect=None, env={"CHANGEOVER_FAULT": f"kill@zfs/{point}@{marker}"})
    assert marker.exists(), f"{command} never came to zfs/{point}: {done.returncode}\n{done.stdout}\n{done.stderr}"


def clean(service):
    service.run("cleanup", "-y")
    assert service.state() == "steady"


@pytest.mark.parametrize("then", ["resume", "rollback"])
@pytest.mark.parametrize("point", POINTS)
def test_in_prepare(service, point, then):
    live, other = service.sides()
    kill_at(service, point, "prepare", "-t", service.next_version())
    service.run(then)
    if then == "resume":
        assert service.state() == "prepared"
        for v in VOLUMES:
            assert digest(service.dir / other / v)["fixed"] == service.fixed[v]
        service.run("rollback")
    clean(service)
    service.looks_clean(live)


@pytest.mark.parametrize("point", ["set", "promote", "inherit", "unmount", "release", "destroy-d", "destroy"])
def test_in_cleanup_of_the_old_side(service, point):
    _, new = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    kill_at(service, point, "cleanup", "-y")
    refused = service.run("rollback", expect=1)
    assert "on its way out" in refused.stderr
    service.run("resume")
    assert service.state() == "steady" and service.live() == new
    service.looks_clean(new)


@pytest.mark.parametrize("point", ["unmount", "release", "destroy-d", "destroy"])
def test_in_cleanup_of_the_standby(service, point):
    live, _ = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("rollback")
    kill_at(service, point, "cleanup", "-y")
    service.run("rollback", expect=1)
    clean(service)
    service.looks_clean(live)


@pytest.mark.parametrize("point", ["set", "promote", "release", "destroy-d", "rename", "inherit"])
def test_in_cleanup_that_retires(service, point):
    old, new = service.sides()
    service.run("prepare", "-t", service.next_version())
    upgrade = service.status()["upgrade"]
    before = {v: digest(service.dir / old / v) for v in VOLUMES}
    service.run("promote")
    kill_at(service, point, "cleanup", "--retire", "-y")
    service.run("resume")
    assert service.state() == "steady" and service.live() == new
    service.drop_retired(old, upgrade, {v: before[v]["fixed"] for v in VOLUMES})
    service.looks_clean(new)
