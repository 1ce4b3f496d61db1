"""The power is cut while promoted, while rolled back, and after a cleanup: a VM with Debian's systemd as process 1
comes up by itself with the right data and exactly one instance. Run on the host, by tests/lab/suite."""
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
DIED = 125
pytestmark = pytest.mark.skipif("LAB_PARCEL" not in os.environ, reason="boots VMs: make test-lab")


class Machine:
    """Its disk (the pool) and the layer over its root file system live on from boot to boot."""

    def __init__(self, folder):
        self.env = {**os.environ, "LAB_DISK": str(folder / "disk"), "LAB_ROOT": str(folder / "root")}

    def boot(self, phase, then_cut):
        cut = "; echo b >/proc/sysrq-trigger; sleep 60" if then_cut else ""
        command = f"set -e; PYTHONDONTWRITEBYTECODE=1 CHANGEOVER_BUILD=/host/build CHANGEOVER_CACHE=/host/cache " \
                  f"python3 tests/lab/cut.py {phase}{cut}"
        done = subprocess.run([HERE / "run", os.environ["LAB_PARCEL"], command], env=self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        said = done.stdout[-6000:] + done.stderr
        assert f"cut: {phase} is done" in done.stdout, said
        assert done.returncode == (DIED if then_cut else 0), said


def test_the_right_side_comes_up_by_itself_after_each_power_cut(tmp_path):
    machine = Machine(tmp_path)
    machine.boot("first-boot", True)
    machine.boot("promoted", True)
    machine.boot("rolled-back", True)
    machine.boot("cleanup", False)
