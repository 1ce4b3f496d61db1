"""What cleanup does with what others have on the loser; what goes along to a clone; who may do what: on the real OpenZFS."""
import json
import os
import shutil
import subprocess

import pytest

from lib.service import TOOL
from lib.zfs import RESERVED, VOLUMES, digest, needs_zfs, permissions, values, zfs

pytestmark = needs_zfs


def promoted(service):
    """(old, new, upgrade) of an upgrade that was promoted."""
    old, new = service.sides()
    service.run("prepare", "-t", service.next_version())
    upgrade = service.status()["upgrade"]
    service.run("promote")
    return old, new, upgrade


def test_snapshots_of_others_go_by_name_when_asked(service):
    old, new, _ = promoted(service)
    theirs = [f"{service.dataset(old)}@theirs-1", f"{service.dataset(old)}@theirs-2", f"{service.dataset(old, 'accounts')}@theirs-1"]
    mark, kept = f"{service.dataset(old)}#theirs", f"{service.dataset(new)}@theirs-1"
    for name in [*theirs, kept]:
        zfs("snapshot", name)
    zfs("bookmark", theirs[0], mark)
    zfs("hold", "backup", theirs[1])
    before = service.graph()
    refused = service.run("cleanup", "-y", expect=3)
    assert "--retire" in refused.stderr and theirs[0] in refused.stderr and service.graph() == before
    # listed, and asked: nobody answers here
    refused = service.run("cleanup", "--destroy-snapshots", expect=2)
    assert all(f"to be destroyed: {name}" in refused.stderr for name in [theirs[0], theirs[2], mark]), refused.stderr
    assert kept not in refused.stderr and service.graph() == before
    # what is held is not taken, and nothing else before it either
    refused = service.run("cleanup", "--destroy-snapshots", "-y", expect=3)
    assert f"{theirs[1]} (held: backup)" in refused.stderr and service.graph() == before
    zfs("release", "backup", theirs[1])
    planned = json.loads(service.run("cleanup", "-n", "-o", "json").stdout)   # as it was told to, also without saying it again
    step = next(s for s in planned if s["step"] == "cleanup/destroy-ledger")
    origins = {n["name"]: n["origin"] for n in step["graph"]}
    assert "the snapshots of others" in step["effect"] and theirs[0] in origins
    assert origins[service.dataset(new)].startswith(service.dataset(old) + "@changeover-")
    said = service.run("resume")
    assert service.state() == "steady", said.stderr
    journal = service.events()
    assert all(f"destroying {name}: not ours" in journal for name in [*theirs, mark])
    assert service.graph()[f"{new}-ledger@theirs-1"] == "-"
    zfs("destroy", kept)
    service.looks_clean(new)


def test_the_graph_before_and_after(service):
    old, new, upgrade = promoted(service)
    done = service.run("cleanup", "-y", "-o", "json")
    said = json.loads(done.stdout)
    before, after = ({n["name"]: n["origin"] for n in said[k] if n["kind"] != "snapshot"} for k in ("graph_before", "graph_after"))
    assert before == {service.dataset(c, v): f"{service.dataset(old, v)}@changeover-{upgrade}" if c == new else ""
                      for c in (old, new) for v in VOLUMES}
    assert after == {service.dataset(new, v): "" for v in VOLUMES}
    service.looks_clean(new)
    # and in words
    service.run("prepare", "-t", service.next_version())
    service.run("rollback")
    shown = service.run("cleanup", "-n").stdout
    assert f"{service.dataset(old)}, a clone of {service.dataset(new)}@changeover-" in shown
    said = service.run("cleanup", "-y").stderr
    assert "the data sets before:" in said and "the data sets after:" in said
    service.looks_clean(new)


def test_retire_keeps_everything_and_frees_the_names(service):
    old, new, upgrade = promoted(service)
    service.run("cleanup", "--retire", "--destroy-snapshots", expect=2)
    snapshot = f"{service.dataset(old)}@theirs"
    zfs("snapshot", snapshot)
    zfs("hold", "backup", snapshot)
    zfs("clone", "-o", f"mountpoint={service.dir}/copy", snapshot, f"{service.parent}/copy")
    zfs("create", f"{service.dataset(old, 'accounts')}/child")      # mounted inside, as children are
    (service.dir / old / "accounts/child/theirs").write_text("theirs")
    data = {v: digest(service.dir / old / v) for v in VOLUMES}
    shown = service.run("cleanup", "--retire", "-n").stdout
    assert f"rename {service.dataset(old)} to {service.dataset(old)}.retired-{upgrade}" in shown
    service.run("cleanup", "--retire", "-y")
    assert service.state() == "steady" and service.live() == new
    retired = {v: f"{service.dataset(old, v)}.retired-{upgrade}" for v in VOLUMES}
    graph = service.graph()
    assert graph[f"{new}-ledger"] == graph[f"{new}-accounts"] == "-"
    assert graph["copy"] == f"{old}-ledger.retired-{upgrade}@theirs" and f"{old}-ledger" not in graph
    assert digest(service.dir / "copy")["fixed"] == service.fixed["ledger"]
    assert not any((service.dir / old / v).exists() and any((service.dir / old / v).iterdir()) for v in VOLUMES)
    # the next ones are as if it were not there
    for _ in range(2):
        a, b, _ = promoted(service)
        service.run("cleanup", "-y")
        assert service.live() == b
    assert service.live() == new
    zfs("release", "backup", f"{retired['ledger']}@theirs")
    zfs("destroy", f"{service.parent}/copy")
    zfs("destroy", f"{retired['ledger']}@theirs")
    zfs("set", f"mountpoint={service.dir}/look", f"{retired['accounts']}")
    # with OpenZFS 2.3 setting a mount point mounts the children alone: their parent first
    if values(f"{retired['accounts']}/child", "mounted") == {"mounted": "yes"}:
        zfs("unmount", f"{retired['accounts']}/child")
    zfs("mount", retired["accounts"])
    zfs("mount", f"{retired['accounts']}/child")
    assert digest(service.dir / "look") == data["accounts"]         # the child's file with it
    zfs("set", "mountpoint=none", retired["accounts"])
    zfs("destroy", f"{retired['accounts']}/child")
    service.drop_retired(old, upgrade, service.fixed)
    service.looks_clean(new)


def test_retire_of_a_clone_that_lost(service):
    live, other = service.sides()
    service.run("prepare", "-t", service.next_version())
    upgrade = service.status()["upgrade"]
    service.run("rollback")
    with open(service.dir / other / "ledger/fixed", "rb"):
        refused = service.run("cleanup", "--retire", "-y", expect=3)
        assert f"pid {os.getpid()} (" in refused.stderr
    service.run("resume")
    assert service.graph()[f"{other}-ledger.retired-{upgrade}"] == f"{live}-ledger@changeover-{upgrade}"
    service.drop_retired(other, upgrade, service.fixed)
    service.looks_clean(live)


PROPERTIES = {"recordsize": "16384", "compression": "gzip-3", "acltype": "posix", "xattr": "sa", "atime": "off", "quota": "4294967296",
              "refquota": "3221225472", "logbias": "throughput", "primarycache": "metadata", "com.sun:auto-snapshot": "false",
              "org.example:backup": "tier 2, nightly"}


def test_what_was_set_on_live_goes_along(service):
    """The table of both sides, before and after, through two upgrades; what was not set is inherited as it was."""
    live = service.live()
    zfs("set", *(f"{k}={v}" for k, v in PROPERTIES.items()), service.dataset(live))
    zfs("allow", "-s", "@keep", "snapshot,hold", service.dataset(live))
    zfs("allow", "-l", "-u", "nobody", "@keep,send", service.dataset(live))
    zfs("allow", "-d", "-g", "nogroup", "mount", service.dataset(live))
    zfs("allow", "-e", "diff", service.dataset(live))
    zfs("allow", "-c", "destroy", service.dataset(live))
    allowed = permissions(service.dataset(live))
    assert len(allowed) > 8, allowed
    wanted = values(service.dataset(live), *PROPERTIES, *RESERVED)
    assert {**wanted, "xattr": "sa"} == {**PROPERTIES, **RESERVED}      # 2.3 says `on` for sa
    for _ in range(2):
        old, new, _ = promoted(service)
        table = {c: values(service.dataset(c), *wanted) for c in (old, new)}
        assert table[old] == wanted
        assert table[new] == {**wanted, "reservation": "0", "refreservation": "0"}     # not twice while both are there
        assert permissions(service.dataset(new)) == allowed
        service.run("cleanup", "-y")
        assert values(service.dataset(new), *wanted) == wanted and permissions(service.dataset(new)) == allowed
        assert "local" not in zfs("get", "-H", "-o", "source", "sync", service.dataset(new))
        service.looks_clean(new)


def test_limits_of_the_clone_may_be_its_own(service):
    live, other = service.sides()
    limits = ("quota", "refquota")
    before = values(service.dataset(live), *limits)
    zfs("set", "quota=3G", "refquota=none", service.dataset(live))
    service.change_spec({"volumes": {"ledger": {"quota": "2GiB", "refquota": "1GiB"}}})
    service.run("prepare", "-t", service.next_version())
    assert values(service.dataset(other), *limits) == {"quota": str(2 << 30), "refquota": str(1 << 30)}
    assert values(service.dataset(live), *limits) == {"quota": str(3 << 30), "refquota": "0"}
    service.run("rollback")
    service.run("cleanup", "-y")
    service.change_spec({"volumes": {"ledger": {"quota": None, "refquota": None}}})
    zfs("set", *(f"{k}={v if v != '0' else 'none'}" for k, v in before.items()), service.dataset(live))
    service.looks_clean(live)


def test_a_reservation_without_room_is_said_until_it_is_there(service):
    old, new, _ = promoted(service)
    marker = service.dir / "fired-due"
    marker.unlink(missing_ok=True)
    service.run("cleanup", "-y", expect=None, env={"CHANGEOVER_FAULT": f"kill@zfs/set@{marker}"})
    assert marker.exists()
    # what is due is noted; meanwhile the room goes
    zfs("set", "refreservation=none", "reservation=none", service.dataset(old))
    used = int(values(service.parent, "used")["used"])
    zfs("set", f"quota={used + (4 << 20)}", service.parent)
    said = service.run("resume")
    assert service.state() == "steady" and service.live() == new
    assert "lacks what was reserved" in said.stderr, said.stderr
    for _ in range(2):
        notes = "\n".join(service.status()["notes"])
        assert "zfs set reservation=20971520" in notes, notes
    assert values(service.dataset(new), "reservation") == {"reservation": "0"}
    zfs("set", "quota=none", service.parent)
    command = next(n for n in service.status()["notes"] if "lacks" in n).split("zfs ")[-1].split()
    zfs(*command)
    assert values(service.dataset(new), *RESERVED) == RESERVED and service.status()["notes"] == []
    # the next upgrade takes it from there
    promoted(service)
    service.run("cleanup", "-y")
    service.looks_clean(service.live())


@pytest.fixture
def somebody(service):
    """A user of the machine with a copy of the service's spec and journal that is theirs."""
    uid = 65534
    os.chmod("/dev/zfs", 0o666)     # as Debian's udev rule does
    mine = service.dir / "somebody"
    subprocess.run(["cp", "-a", service.dir / "state", mine], check=True)
    subprocess.run(["chown", "-R", f"{uid}:{uid}", mine], check=True)
    tool = shutil.copy(TOOL, service.dir / "tool")      # the VM's own copy lies where nobody else may look

    def run(*args, expect=0):
        argv = [tool, *service.argv(*args)[1:]]
        argv[argv.index("--state-dir") + 1] = str(mine)
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, user=uid, group=uid, extra_groups=[],
                              env={**os.environ, "HOME": "/nonexistent"}, timeout=300)
        assert expect is None or done.returncode == expect, done.stdout + done.stderr
        return done

    def zfs_as(*args):
        return subprocess.run(["zfs", *map(str, args)], capture_output=True, text=True, user=uid, group=uid, extra_groups=[])

    yield run, zfs_as
    subprocess.run(["rm", "-rf", mine, tool], check=True)


def test_who_is_not_root(service, somebody):
    """What zfs allow can give works; the rest is said before anything is touched."""
    run, zfs_as = somebody
    live, other = service.sides()
    graph = service.graph()
    dataset = service.dataset(live)
    assert json.loads(run("status", "-o", "json").stdout)["live"] == live       # inspect, as they are
    found = json.loads(run("check", "-t", service.next_version(), "-o", "json", expect=1).stdout)
    rights = [f for f in found if f["topic"] == "rights"]
    missing = [f for f in rights if "which 'nobody' has not" in f["finding"]]
    assert any(f["finding"].startswith("prepare/clone needs clone,userprop on " + dataset) for f in missing), rights
    assert any("cleanup needs" in f["finding"] for f in missing)
    assert any("only root may" in f["finding"] and "prepare/clone mounts" in f["finding"] for f in rights)
    assert [f for f in found if f["topic"] == "space" and f["level"] == "ok"], "space"
    # what it says mends it, all but what is root's
    for f in missing:
        subprocess.run(f["mend"].split(), check=True)
    found = json.loads(run("check", "-t", service.next_version(), "-o", "json", expect=1).stdout)
    rights = [f for f in found if f["topic"] == "rights"]
    assert not any("has not" in f["finding"] for f in rights)
    assert any("prepare/clone: 'nobody' may snapshot,hold,clone,userprop on " + dataset in f["finding"] for f in rights), rights
    assert len([f for f in rights if f["level"] == "error"]) == len(VOLUMES)
    # snapshot, hold and send by the commands of the tool, as that user
    zfs("allow", "-u", "nobody", "send", dataset)
    taken = f"{dataset}@by-nobody"
    for args in (["snapshot", "-o", "changeover:snapshot=x", taken], ["hold", "changeover", taken], ["send", "-n", "-P", taken],
                 ["release", "changeover", taken], ["destroy", taken]):
        done = zfs_as(*args)
        assert done.returncode == 0, (args, done.stderr)
    refused = run("prepare", "-t", service.next_version(), expect=None)
    assert refused.returncode == 1 and service.graph() == graph and service.state() == "steady", refused.stderr
    zfs("unallow", "-u", "nobody", service.parent)
    for v in VOLUMES:
        zfs("unallow", "-u", "nobody", service.dataset(live, v))
        zfs("allow", "-u", "nobody", "snapshot,hold", service.dataset(live, v))
    service.looks_clean(live)
