"""Snapshot, clone and mount of four data sets by the tool, beside the same commands typed by hand; small and large.

    tests/lab/suite build -s tests/lab/bench_zfs.py
"""
import os
import sqlite3
import statistics
import subprocess
import time

from lib.bench import SHORT, Figures
from lib.zfs import ZfsService, needs_zfs, zfs

pytestmark = needs_zfs
SETS = ("ledger", "accounts", "snapshots", "index")
SIZES = (100, 200) if SHORT else (100, 2048)    # MB, of all four
ROUNDS = 3


def fill(service, megabytes):
    """What does not compress; the same block again and again, since making it is the slow part here."""
    block = os.urandom(1 << 20)
    for v in SETS:
        folder = service.dir / "green" / v
        with open(folder / f"data-{megabytes}", "wb", buffering=0) as f:
            while int(zfs("get", "-Hpo", "value", "referenced", service.dataset("green", v))) < megabytes // len(SETS) << 20:
                for _ in range(8):
                    f.write(block)
                os.fsync(f.fileno())
                subprocess.run(["zpool", "sync", "tank"], check=True)


def by_tool(service):
    """Seconds of the step, from its intent on disk to its result."""
    service.run("prepare", "-t", service.next_version())
    db = sqlite3.connect(f"file:{service.dir}/state/{service.name}/journal.db?mode=ro", uri=True, timeout=10)
    (begun, ended), = db.execute("SELECT started, ended FROM steps WHERE step='prepare/clone' AND upgrade=?",
                                 (service.status()["upgrade"],)).fetchall()
    db.close()
    service.run("rollback")
    service.run("cleanup", "-y")
    return (ended - begun) / 1e9


def by_hand(service):
    """The commands that change something, in one shell, with what the tool sets."""
    taken = [f"{service.dataset('green', v)}@by-hand" for v in SETS]
    lines = [f"zfs snapshot -o mark:a=1 {' '.join(taken)}", f"zfs hold mine {' '.join(taken)}"]
    for v, snapshot in zip(SETS, taken):
        name = f"{service.parent}/hand-{v}"
        lines += [f"zfs clone -o canmount=noauto -o mountpoint={service.dir}/hand/{v} -o recordsize=16K -o mark:a=1 -o mark:b=1 "
                  f"-o mark:c=1 {snapshot} {name}", f"zfs allow -u nobody snapshot,hold {name}", f"zfs mount {name}",
                  f"zfs set canmount=on {name}"]
    begun = time.monotonic()
    subprocess.run(["sh", "-ec", "\n".join(lines)], check=True)
    took = time.monotonic() - begun
    undo = [f"zfs destroy {service.parent}/hand-{v}" for v in SETS]
    subprocess.run(["sh", "-ec", "\n".join([*undo, f"zfs release mine {' '.join(taken)}",
                                            *(f"zfs destroy {s}" for s in taken)])], check=True)
    return took


def test_clone_of_four_sets():
    with Figures("ZFS: snapshot, clone and mount of 4 data sets") as figures:
        service = ZfsService(volumes=SETS)
        try:
            service.start()
            middle = {}
            for size in SIZES:
                fill(service, size)
                tool, hand = [], []
                for _ in range(ROUNDS):
                    hand.append(by_hand(service))
                    tool.append(by_tool(service))
                middle[size] = a, b = statistics.median(tool), statistics.median(hand)
                figures.add(f"{size} MB, by the tool / by hand", f"{a:.2f} s / {b:.2f} s = {a / b:.2f}", "at most 1.2", a <= 1.2 * b)
            small, large = (middle[s][0] for s in SIZES)
            figures.add("large to small, by the tool", f"{large / small:.2f}", "at most 1.3: instant", large <= 1.3 * small)
        finally:
            service.close()
