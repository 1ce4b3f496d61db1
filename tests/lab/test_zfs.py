"""Upgrades of a service whose volumes are ZFS file systems, on the real OpenZFS: inside the VM of tests/lab/run."""
import os
import subprocess

from lib.zfs import VOLUMES, digest, needs_zfs, zfs

pytestmark = needs_zfs


def test_ping_pong_looks_the_same_every_time(service):
    service.looks_clean(service.live())
    first = None
    for _ in range(3):
        old, new = service.sides()
        version = service.next_version()
        said = service.run("prepare", "-t", version)
        assert "was paused for" in said.stderr, said.stderr
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
        assert f"pid {os.getpid()} (" in refused.stderr and "an open file" in refused.stderr, refused.stderr
        assert "fuser -vm" in refused.stderr
    with subprocess.Popen(["sleep", "600"], cwd=service.dir / other / "ledger") as sitting:
        refused = service.run("resume", expect=3)
        assert f"pid {sitting.pid} (sleep: its working directory)" in refused.stderr, refused.stderr
        sitting.kill()
    service.run("resume")
    service.looks_clean(live)


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


def test_what_is_mounted_inside_would_be_missing_and_is_refused(service):
    live, _ = service.sides()
    child = f"{service.dataset(live)}/child"
    zfs("snapshot", f"{service.dataset(live)}@look")
    assert list((service.dir / live / "ledger/.zfs/snapshot/look").iterdir()), "mounted there as soon as somebody looks"
    service.run("check", "-t", service.next_version())
    zfs("create", child)
    try:
        for command in ("check", "prepare"):
            done = service.run(command, "-t", service.next_version(), expect=1)
            assert f"mounted inside, at '{service.dir}/{live}/ledger/child'" in " ".join((done.stdout + done.stderr).split())
    finally:
        zfs("destroy", child)
        zfs("destroy", f"{service.dataset(live)}@look")
    assert service.state() == "steady"
    service.looks_clean(live)
