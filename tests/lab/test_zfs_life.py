"""What cleanup does with what others have on the loser; what goes along to a clone; who may do what: on the real OpenZFS."""
import json
import os

from lib.zfs import VOLUMES, digest, needs_zfs, zfs

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
    # setting a mount point mounts the children alone: their parent first
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
