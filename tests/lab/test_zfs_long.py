"""Upgrade after upgrade, while somebody else takes a snapshot of everything each second: three of them, or thirty with
CHANGEOVER_LAB=full."""
import os
import subprocess
import threading
import time

from lib.zfs import VOLUMES, needs_zfs, values, zfs

pytestmark = needs_zfs
ROUNDS = 30 if os.environ.get("CHANGEOVER_LAB") == "full" else 3
KEPT = 3    # of each dataset: the older ones go, as such programs do


class Snapshotter:
    """Takes one of every dataset below the parent each second, by time in its name, and destroys its own old ones."""

    def __init__(self, parent):
        self.parent, self.taken, self.lists = parent, 0, {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def quietly(self, *args):
        """A dataset that goes just then is no news."""
        return subprocess.run(["zfs", *args], capture_output=True, text=True)

    def work(self):
        while not self.over.wait(1):
            for name in self.quietly("list", "-H", "-r", "-t", "filesystem", "-o", "name", self.parent).stdout.split():
                if name != self.parent and self.quietly("snapshot", f"{name}@auto-{time.time_ns()}").returncode == 0:
                    self.taken += 1
            for name in self.quietly("list", "-H", "-r", "-t", "filesystem", "-o", "name", self.parent).stdout.split():
                own = self.quietly("list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", "-s", "createtxg", name).stdout.split()
                for old in [s for s in own if "@auto-" in s][:-KEPT]:
                    self.quietly("destroy", old)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def shape(service, live):
    """All but the snapshots of others: what hangs on what, and what live is like."""
    graph = {name: origin for name, origin in service.graph().items() if "@auto-" not in name}
    table = {v: {k: x for k, x in values(service.dataset(live, v), "all").items() if k in SAME} for v in VOLUMES}
    return {n.replace(live, "LIVE"): o.replace(live, "LIVE") for n, o in graph.items()}, table


SAME = ("recordsize", "quota", "refquota", "canmount", "mounted", "origin", "reservation", "refreservation", "compression",
        "changeover:service", "changeover:volume")


def test_the_last_one_looks_like_the_first(service):
    shapes, took = [], []
    with Snapshotter(service.parent) as others:
        for n in range(ROUNDS):
            _, new = service.sides()
            begun, taken = time.monotonic(), others.taken
            service.run("prepare", "-t", service.next_version())
            service.run("promote")
            # theirs are on both sides
            service.run("cleanup", "-y", "--destroy-snapshots")
            took.append(time.monotonic() - begun)
            assert service.state() == "steady" and service.live() == new
            shapes.append(shape(service, new))
            assert others.taken > taken
            print(f"upgrade {n + 1} of {ROUNDS}: {took[-1]:.0f} s, {others.taken} snapshots of others so far", flush=True)
    assert all(s == shapes[2] for s in shapes), [s for s in shapes if s != shapes[2]][:1]
    graph, _ = shapes[-1]
    assert graph == {"other": "-", **{f"LIVE-{v}": "-" for v in VOLUMES}}
    for name in [n for n in service.graph() if "@auto-" in n]:
        zfs("destroy", f"{service.parent}/{name}")
    service.looks_clean(service.live())
    print(f"first three {took[:3]}, last three {took[-3:]} s")
