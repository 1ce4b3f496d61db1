"""Instances that a test has killed leave their control groups: only a stop by the tool removes them."""
import json
import os
import pathlib

from .waiting import wait_for


def remove_left(folder):
    """Removes the (empty) control groups of every instance whose records lie below `folder`."""
    groups = set()
    for record in pathlib.Path(folder).rglob("run.json"):
        try:
            run = json.loads(record.read_text())
        except ValueError:
            continue
        groups |= {run[key] for key in ("cgroup", "cgroup_cpu", "cgroup_io") if run.get(key)}
    wait_for(lambda: all(_gone(g) for g in groups), f"the control groups to go: {groups}")
    for parent in {os.path.dirname(g) for g in groups}:
        _gone(parent)       # stays while it has others


def _gone(group):
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:         # a process in it is not reaped yet
        return False
    return True
