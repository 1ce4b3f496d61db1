"""The demo, shortened: its closing line, and that it leaves nothing behind."""
import os
import re
import signal
import subprocess
import tempfile
import time

import pytest

from lib.waiting import wait_for


def left_behind(place):
    """What still runs from below the demo's directories, and what is mounted there."""
    found = [line for line in open("/proc/mounts") if place in line]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv = open(f"/proc/{pid}/cmdline", "rb").read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if place in argv:
            found.append(f"{pid}: {argv}")
    return found + os.listdir(place)


@pytest.fixture
def place():
    """A directory that Caddy's user may search (pytest's own is closed by whichever pytest starts next)."""
    with tempfile.TemporaryDirectory(prefix="changeover-demo-test-") as name:
        os.chmod(name, 0o755)
        yield name


@pytest.fixture
def demo(root, place):
    def start(**kw):
        return subprocess.Popen([root / "examples/demo/run", "--small"], env={**os.environ, "TMPDIR": place},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    return start


def test_it_loses_nothing_and_leaves_nothing(demo, place):
    began = time.monotonic()
    with demo() as run:
        text = run.communicate(timeout=200)[0]
    assert run.returncode == 0, text
    sent, answered, lost = map(int, re.fullmatch(r"(\d+) sent, (\d+) answered, (\d+) lost", text.splitlines()[-1]).groups())
    assert sent == answered > 1000 and lost == 0
    assert f"executed    {sent:,}: " in text and "; 0 of them twice" in text
    assert "150 drops" in text and "150 reconnected at the first try" in text
    assert left_behind(place) == []
    print(f"{time.monotonic() - began:.1f} s")


def test_an_interruption_leaves_nothing(demo, place):
    with demo(start_new_session=True) as run:
        seen = ""
        while "prepare: green 1.0.0" not in seen:
            line = run.stdout.readline()
            assert line, seen
            seen += line
        os.killpg(run.pid, signal.SIGINT)       # as Ctrl-C does: every process of the foreground
        seen += run.communicate(timeout=60)[0]
    assert run.returncode == 1, seen
    wait_for(lambda: not left_behind(place), "nothing left of the demo", 5)
