"""A clone of an instance that writes at full speed is one moment of it, over all its volumes; without the freeze it is not."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from lib.loopdev import LoopDevice
from lib.moment import broken, generation, make_data, prepare_at_work
from lib.service import Service
from lib.waiting import wait_for

SOURCE = pathlib.Path(__file__).with_name("busy.c")


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    binary = tmp_path_factory.mktemp("busy") / "busy"
    subprocess.run(["cc", "-O2", "-o", binary, SOURCE], check=True)
    return binary


@pytest.fixture
def tmpfs():
    place = tempfile.mkdtemp(prefix="changeover-moment-", dir="/dev/shm")
    os.chmod(place, 0o755)
    yield pathlib.Path(place)
    shutil.rmtree(place)


@pytest.fixture
def xfs():
    """On a loop device in memory; where none can be made there is nothing to test."""
    with LoopDevice(6000, "xfs") as disk:  # the floor of space wants 2 GB free; few of them are ever written
        yield disk.path


@pytest.fixture
def btrfs():
    with LoopDevice(6000, "btrfs") as disk:
        yield disk.path


def make_places(green, driver, nested):
    """nested: the second volume is none, but a subvolume in the first."""
    make = (lambda p: subprocess.run(["btrfs", "-q", "subvolume", "create", p], check=True)) if driver == "btrfs" else pathlib.Path.mkdir
    green.mkdir()
    make(green / "first")
    make(green / "first/second" if nested else green / "second")
    if nested:
        (green / "second").symlink_to("first/second")


def prepared(busy, place, driver, nested=False, **volume):
    """How blue's volumes, cloned from a green that is at work, fail to be one moment; and what prepare said."""
    make_places(place / "green", driver, nested)
    make_data(place / "green")
    (place / "blue").mkdir()
    if nested:
        (place / "blue/second").symlink_to("first/second")
    names = ("first",) if nested else ("first", "second")
    # the service's own data asks for no pause: it is for first and second alone
    return prepare_at_work(busy, place, {name: {"driver": driver, **volume} for name in names},
                           {**volume, "consistency": "none"})


@pytest.mark.parametrize("place, driver", [("tmpfs", "copy"), ("xfs", "reflink"), ("xfs", "copy"), ("btrfs", "btrfs")])
def test_the_clone_is_one_moment(busy, place, driver, request):
    wrong, said = prepared(busy, request.getfixturevalue(place), driver)
    assert wrong == []
    assert re.search(r"pass 1 over the data: .*, while green ran on", said), said
    assert re.search(r"cloned; green was paused for .* \(\d+ passes before, the first", said), said


def test_a_subvolume_in_a_subvolume_is_of_the_same_moment(busy, btrfs):
    wrong, said = prepared(busy, btrfs, "btrfs", nested=True)
    assert wrong == [] and re.search(r"cloned; green was paused for [0-9.]+ ms", said), (wrong, said)


def test_verified_where_asked(busy, tmpfs):
    assert prepared(busy, tmpfs, "copy", verify=True)[0] == []


# not btrfs: its snapshots take milliseconds, so that one in six is torn, not each
@pytest.mark.parametrize("place, driver", [("tmpfs", "copy"), ("xfs", "reflink")])
def test_without_the_freeze_it_is_not(busy, place, driver, request):
    wrong, said = prepared(busy, request.getfixturevalue(place), driver, consistency="none")
    assert any(w.startswith(("stored", "brief", "written")) for w in wrong), wrong
    assert "was paused" not in said


@contextlib.contextmanager
def at_work(busy, place, driver, **spec):
    """A service whose green writes below `place`."""
    make_data(place / "green")
    (place / "blue").mkdir()
    with Service() as service:
        command = [str(busy), "${volume.first}", "${volume.second}", "--", *service.spec["runtime"]["command"]]
        volumes = {name: {"driver": driver, "path": f"{place}/${{colour}}/{name}"} for name in ("first", "second")}
        service.change_spec({"volumes": volumes, "runtime": {"command": command}, **spec})
        service.start()
        yield service


def test_at_the_ceiling_it_runs_again_and_another_pass_follows(busy, tmpfs):
    """The tool stands still in the pause until the ceiling has thawed green: that clone is of no one moment, and not kept."""
    with at_work(busy, tmpfs, "copy", freeze={"max": "3s"}) as service:
        marker = service.dir / "fired"
        tool = subprocess.Popen(service.argv("prepare", "-t", "2.0.0"), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                text=True, env={**os.environ, "CHANGEOVER_FAULT": f"stop@clone:frozen@{marker}"})
        try:
            wait_for(marker.exists, "the pause", 30)
            before = generation(tmpfs)
            wait_for(lambda: generation(tmpfs) > before, "green to go on", 10)
            os.kill(tool.pid, signal.SIGCONT)
            said = tool.communicate(timeout=60)[1]
        finally:
            tool.kill()
            tool.wait()
        assert tool.returncode == 0, said
        assert "green was thawed at freeze.max: another pass" in said, said
        assert broken(tmpfs / "blue") == []


def test_killed_after_the_pause_with_files_that_were_only_read(busy, xfs):
    """They were in the tool's memory: the clone is made anew, of another moment."""
    with at_work(busy, xfs, "reflink") as service:
        marker = service.dir / "fired"
        killed = service.run("prepare", "-t", "2.0.0", expect=None, env={"CHANGEOVER_FAULT": f"kill@clone/late@{marker}"})
        assert marker.exists() and killed.returncode == -signal.SIGKILL, killed.stderr
        assert json.loads((xfs / "blue/first/.changeover").read_text())["state"] == "cloning"
        service.run("resume")
        assert service.state() == "prepared"
        assert broken(xfs / "blue") == []
