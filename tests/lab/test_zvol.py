"""Upgrades of a service with a ZFS file system, an XFS and an ext4 on zvols, on the real OpenZFS: inside the VM."""
import os
import pathlib
import signal
import subprocess
import time

import pytest

from lib.service import steady
from lib.waiting import wait_for
from lib.zfs import digest, needs_zfs, permissions, values, zfs
from lib.zvol import VOLUMES, ZVOLS, ZvolService, dataset_of, mount_of, run

FSTAB = pathlib.Path("/etc/fstab")
pytestmark = needs_zfs


@pytest.fixture
def service(kept):
    """Steady, green or blue live."""
    return steady(kept, ZvolService)


def test_ping_pong_of_file_systems_and_volumes(service):
    service.looks_clean(service.live())
    for turn in range(2):
        old, new = service.sides()
        said = service.run("prepare", "-t", service.next_version())
        assert "was paused for" in said.stderr and "systemd does not run here" in said.stderr
        upgrade = service.status()["upgrade"]
        txgs = zfs("get", "-H", "-p", "-o", "value", "createtxg",
                   *(f"{service.dataset(old, v)}@changeover-{upgrade}" for v in VOLUMES)).split()
        assert len(txgs) == 3 and len(set(txgs)) == 1, "one point in time"
        for v, (fs, _) in ZVOLS.items():
            device, kind, options = mount_of(service.dir / new / v)
            assert dataset_of(device) == service.dataset(new, v) and kind == fs
            assert {"rw", "noatime"} <= options and ("nouuid" in options) == (fs == "xfs")
            assert digest(service.dir / new / v)["fixed"] == service.fixed[v]
        before = digest(service.dir / old / "index")
        (service.dir / new / "index" / "fixed").write_bytes(b"the standby's own")
        assert digest(service.dir / old / "index") == before, "live's is another"
        (service.dir / new / "index" / "fixed").write_bytes((service.dir / old / "index" / "fixed").read_bytes())
        service.run("promote")
        assert service.identity() == new
        service.run("cleanup", "-y")
        assert service.live() == new
        service.looks_clean(new)


SET = {"compression": "gzip-3", "logbias": "throughput", "primarycache": "metadata", "snapdev": "visible", "copies": "2",
       "com.sun:auto-snapshot": "false", "org.example:backup": "tier 2, nightly"}


def test_what_was_set_on_a_volume_goes_along(service):
    """The table of both sides, before and after; what is reserved moves when the old side gives it up."""
    old, new = service.sides()
    zfs("set", *(f"{k}={v}" for k, v in SET.items()), service.dataset(old, "index"))
    zfs("allow", "-l", "-u", "nobody", "snapshot,send", service.dataset(old, "index"))
    zfs("allow", "-e", "diff", service.dataset(old, "index"))
    table = (*SET, "volsize", "volblocksize", "volmode", "checksum", "refreservation")
    wanted, allowed = values(service.dataset(old, "index"), *table), permissions(service.dataset(old, "index"))
    assert SET.items() <= wanted.items() and len(allowed) > 2, (wanted, allowed)
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    assert values(service.dataset(new, "index"), *table) == {**wanted, "refreservation": "0"}
    assert permissions(service.dataset(new, "index")) == allowed
    assert values(service.dataset(old, "index"), *table) == wanted
    service.run("cleanup", "-y")
    assert values(service.dataset(new, "index"), *table) == wanted and permissions(service.dataset(new, "index")) == allowed
    service.looks_clean(new)


def test_the_device_is_known_by_itself_not_by_a_link_that_is_left(service):
    live, other = service.sides()
    device = mount_of(service.dir / live / "ledger")[0]
    link = pathlib.Path(f"/dev/zvol/{service.dataset(other)}")
    link.unlink(missing_ok=True)
    run("udevadm", "control", "--stop-exec-queue")
    try:
        link.symlink_to(device)  # as after a rename: the old link, and udev has not come round
        service.run("prepare", "-t", service.next_version())
        mounted = mount_of(service.dir / other / "ledger")[0]
        assert mounted != device and dataset_of(mounted) == service.dataset(other)
    finally:
        link.unlink(missing_ok=True)
        run("udevadm", "control", "--start-exec-queue")
    service.run("rollback")
    service.run("cleanup", "-y")
    service.looks_clean(live)


def test_what_cannot_work_is_refused_in_words():
    service = ZvolService()
    was = FSTAB.read_text() if FSTAB.exists() else ""
    ledger = service.dir / "green/ledger"

    def refused(words):
        said = service.run("check", "-t", "2.0.0", expect=1).stdout
        assert words in " ".join(said.split()), said

    try:
        service.make_data()
        device = mount_of(ledger)[0]
        FSTAB.write_text(f"UUID=1234 {ledger} xfs defaults 0 0\n")
        refused("line 1 of /etc/fstab mounts")
        FSTAB.write_text(f"# blue\n/dev/zvol/x {service.dir}/blue/ledger xfs defaults 0 0\n")
        refused("line 2 of /etc/fstab mounts")
        FSTAB.write_text("")
        run("mount", "-o", "remount,ro", ledger)
        refused("is mounted read-only")
        run("umount", ledger)
        refused("is not mounted at")
        run("mount", device, service.dir / "blue")
        refused(f"is mounted at '{service.dir}/blue', not at")
        run("umount", service.dir / "blue")
        run("mkswap", device)
        run("swapon", device)
        refused("is used by swap")
        run("swapoff", device)
        run("dmsetup", "create", "onzvol", "--table", f"0 2048 linear {device} 0")
        refused("is used by device dm-")
        run("dmsetup", "remove", "--retry", "onzvol")
        run("mkfs.btrfs", "-f", "-q", device)
        run("mount", device, ledger)
        refused("is not mounted at")  # btrfs has a device number of its own, so it is not known to be on the zvol
        run("umount", ledger)
        zfs("set", "volmode=none", service.dataset("green"))
        refused("has no block device")
        assert digest(service.dir / "other") == service.precious
    finally:
        run("swapoff", "-a", expect=None)
        run("dmsetup", "remove", "onzvol", expect=None)
        FSTAB.write_text(was)
        service.close()


def test_a_clone_that_can_only_be_read_is_refused(service):
    live, other = service.sides()
    for name in [service.dataset(live, v) for v in VOLUMES] + [f"{service.parent}/other"]:
        zfs("set", "readonly=off", name)
    zfs("set", "readonly=on", service.parent)  # what the clone will inherit
    try:
        refused = service.run("prepare", "-t", service.next_version(), expect=1)
        assert "mount" in refused.stderr and "read-only" in refused.stderr or "write-protected" in refused.stderr
    finally:
        zfs("set", "readonly=off", service.parent)
    assert not mount_of(service.dir / other / "ledger")
    all_undone(service, live)


def test_a_volume_that_is_in_use_stops_cleanup_and_says_by_whom(service):
    live, other = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("rollback")
    with open(service.dir / other / "index/fixed", "rb"):
        refused = service.run("cleanup", "-y", expect=3)
        assert "busy" in refused.stderr and "fuser -vm" in refused.stderr
    device = mount_of(service.dir / other / "index")[0]
    elsewhere = service.dir / "elsewhere"
    elsewhere.mkdir()
    run("mount", device, elsewhere)
    refused = service.run("resume", expect=3)
    assert f"mounted at '{elsewhere}'" in refused.stderr, refused.stderr
    assert digest(elsewhere)["fixed"] == service.fixed["index"]
    run("umount", elsewhere)
    elsewhere.rmdir()
    service.run("resume")
    service.looks_clean(live)


def test_a_line_of_fstab_for_the_old_side_stops_cleanup(service):
    live, other = service.sides()
    service.run("prepare", "-t", service.next_version())
    service.run("rollback")
    before = service.graph()
    was = FSTAB.read_text() if FSTAB.exists() else ""
    line = f"/dev/zvol/{service.dataset(other, 'index')} {service.dir}/{other}/index ext4"
    try:
        FSTAB.write_text(f"{was}# ours\n{line} noatime 0 0\n")
        refused = service.run("cleanup", "-y", expect=3)
        assert f"line {was.count(chr(10)) + 2} of /etc/fstab" in refused.stderr and "nofail" in refused.stderr, refused.stderr
        assert service.dataset(other, "index") in " ".join(f"{service.parent}/{name}" for name in service.graph())
        assert service.graph().items() <= before.items()
        assert digest(service.dir / other / "index")["fixed"] == service.fixed["index"]
        FSTAB.write_text(f"{was}{line} noatime,nofail 0 0\n")
        service.run("resume")
    finally:
        FSTAB.write_text(was)
    service.looks_clean(live)


@pytest.mark.parametrize("point,then", [("zfs/clone", "resume"), ("zvol/mount", "rollback"), ("zvol/mount", "resume")])
def test_killed_in_mid_clone(service, point, then):
    live, other = service.sides()
    marker = service.dir / f"fired-{point.replace('/', '-')}-{then}"
    killed = service.run("prepare", "-t", service.next_version(), expect=None,
                         env={"CHANGEOVER_FAULT": f"kill@{point}@{marker}"})
    assert marker.exists(), killed.stderr
    service.run(then)
    if then == "resume":
        assert service.state() == "prepared"
        assert digest(service.dir / other / "ledger")["fixed"] == service.fixed["ledger"]
        service.run("rollback")
    service.run("cleanup", "-y", expect=None)
    assert service.state() == "steady"
    service.looks_clean(live)


@pytest.mark.parametrize("point", ["zvol/umount", "zfs/destroy"])
def test_killed_in_mid_cleanup(service, point):
    _, new = service.sides()
    marker = service.dir / f"fired-{point.replace('/', '-')}"
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    service.run("cleanup", "-y", expect=None, env={"CHANGEOVER_FAULT": f"kill@{point}@{marker}"})
    assert marker.exists()
    service.run("resume")
    assert service.state() == "steady" and service.live() == new
    service.looks_clean(new)


def test_nothing_starts_on_an_empty_mount_point(service):
    live, _ = service.sides()
    path = service.dir / live / "ledger"
    service.run("stop", "-y")
    device = mount_of(path)[0]
    run("umount", path)
    refused = service.run("start", expect=None)
    assert refused.returncode != 0 and str(path) in refused.stderr and not service.pid(live)
    assert list(path.iterdir()) == [], "nothing was made there"
    run("mount", "-o", "noatime", device, path)
    service.run("start")
    assert service.identity() == live
    service.looks_clean(live)


# ---- fsfreeze ----

def writes(path):
    """Whether a write to the file system is through within 2 s. One that is not cannot be killed: it ends with the thaw."""
    writer = subprocess.Popen(["touch", f"{path}/probe-{time.monotonic_ns()}"])
    try:
        return writer.wait(2) == 0
    except subprocess.TimeoutExpired:
        return False


def frozen_spec(service, on, most="10s"):
    service.change_spec({"freeze": {"max": most},
                         "volumes": {v: {"fsfreeze": True if on else None} for v in ZVOLS}})


@pytest.fixture
def freezing(service):
    frozen_spec(service, True)
    yield service
    for v in ZVOLS:
        run("fsfreeze", "-u", service.dir / service.live() / v, expect=None)
    frozen_spec(service, False)


def end_upgrade(service, live):
    service.run("rollback")
    service.run("cleanup", "-y", expect=None)
    all_undone(service, live)


def all_undone(service, live):
    assert service.state() == "steady" and service.live() == live
    service.looks_clean(live)


def holders():
    return subprocess.run(["pgrep", "-x", "changeover-ice"], capture_output=True).returncode == 0


def test_fsfreeze_is_in_the_plan_and_its_time_is_reported(freezing):
    live, other = freezing.sides()
    version = freezing.next_version()
    plan = freezing.run("plan", "-t", version).stdout
    assert "its file system frozen around the snapshot, at most 10s" in plan.replace("10 s", "10s"), plan
    said = freezing.run("prepare", "-t", version).stderr
    assert f"{len(ZVOLS)} file systems were frozen for" in said, said
    for v in ZVOLS:
        assert writes(freezing.dir / live / v)
    # nothing to replay: all of it was on the device
    assert digest(freezing.dir / other / "index")["fixed"] == freezing.fixed["index"]
    end_upgrade(freezing, live)


def test_killed_inside_the_freeze(freezing):
    live, _ = freezing.sides()
    marker = freezing.dir / "fired-frozen"
    killed = freezing.run("prepare", "-t", freezing.next_version(), expect=None,
                          env={"CHANGEOVER_FAULT": f"kill@zfs/snapshot@{marker}"})
    assert marker.exists(), killed.stderr
    for v in ZVOLS:
        assert writes(freezing.dir / live / v), "thawed, though the tool was killed"
    wait_for(lambda: not holders(), "the holder to be gone", 10)
    end_upgrade(freezing, live)


def test_the_guard_thaws_what_the_tool_and_its_helper_left_frozen(freezing):
    live, _ = freezing.sides()
    marker = freezing.dir / "fired-both"
    with open(freezing.dir / "prepare.log", "w") as log:
        tool = subprocess.Popen(freezing.argv("prepare", "-t", freezing.next_version()), stdin=subprocess.DEVNULL, stdout=log,
                                stderr=log, env={**os.environ, "CHANGEOVER_FAULT": f"stop@zfs/snapshot@{marker}"})
    try:
        wait_for(marker.exists, "the tool to stand still inside the freeze", 60)
        for pid in subprocess.run(["pgrep", "-x", "changeover-ice"], capture_output=True, text=True).stdout.split():
            os.kill(int(pid), signal.SIGKILL)
    finally:
        tool.kill()
        tool.wait()
    wait_for(lambda: all(writes(freezing.dir / live / v) for v in ZVOLS), "the guard to thaw", 60)
    end_upgrade(freezing, live)


def test_the_ceiling_thaws_and_another_pass_follows(freezing):
    live, _ = freezing.sides()
    frozen_spec(freezing, True, "15s")  # longer than an emulated machine takes for the snapshot
    index = freezing.dir / live / "index"
    marker = freezing.dir / "fired-ceiling"
    log = open(freezing.dir / "prepare.log", "w")
    tool = subprocess.Popen(freezing.argv("prepare", "-t", freezing.next_version()), stdin=subprocess.DEVNULL, stdout=log,
                            stderr=log, env={**os.environ, "CHANGEOVER_FAULT": f"stop@zfs/snapshot@{marker}"})
    try:
        wait_for(marker.exists, "the tool to stand still inside the freeze", 60)
        began = time.monotonic()
        assert not writes(index), "frozen"
        wait_for(lambda: writes(index), "the ceiling to thaw it", 40)
        assert time.monotonic() - began < 25
    finally:
        tool.send_signal(signal.SIGCONT)
    assert tool.wait(240) == 0
    said = (freezing.dir / "prepare.log").read_text()
    assert "thawed at freeze.max: another pass" in said, said
    freezing.run("rollback")
    freezing.run("cleanup", "-y")
    freezing.looks_clean(live)


def test_what_somebody_else_has_frozen_stays_frozen(freezing):
    live, _ = freezing.sides()
    index = freezing.dir / live / "index"
    run("fsfreeze", "-f", index)
    refused = freezing.run("prepare", "-t", freezing.next_version(), expect=1)
    assert "another program holds it frozen" in refused.stderr
    assert not writes(index)
    assert writes(freezing.dir / live / "ledger"), "what was frozen before it goes on"
    run("fsfreeze", "-u", index)
    all_undone(freezing, live)
