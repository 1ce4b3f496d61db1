"""A file system on a loop device of its own, whose io scheduler a test may choose.

    with LoopDevice() as disk:          # skips the test where the machine has no such thing
    with LoopDevice(1000, "btrfs"):     # another one than ext4; the image takes only what is written
        disk.scheduler("bfq")
        disk.path                       # an empty directory
"""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest


MKFS = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"), "btrfs": ("mkfs.btrfs", "-q")}


class LoopDevice:
    """folder: where its image lies, if not in memory."""

    def __init__(self, megabytes=160, kind="ext4", folder=None):
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None      # no other disk's load in its figures
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="changeover-loop-", dir=folder or memory))
        self.path, self.device, self.mounted = self.dir / "mount", None, False
        self.path.mkdir()
        self.dir.chmod(0o755)
        image = self.dir / "image"
        try:
            if os.geteuid() != 0:
                pytest.skip("only root makes loop devices")
            image.write_bytes(b"")
            os.truncate(image, megabytes << 20)
            self.device = self._run("losetup", "--find", "--show", image)
            self._run(*MKFS[kind], self.device)
            self._run("mount", self.device, self.path)
            self.mounted = True
            os.chmod(self.path, 0o755)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _run(*argv):
        try:
            done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60)
        except FileNotFoundError:
            pytest.skip(f"no {argv[0]} here")
        if done.returncode:
            pytest.skip(f"{argv[0]} does not work here: {done.stderr.strip()}")
        return done.stdout.strip()

    @property
    def name(self):
        return pathlib.Path(self.device).name

    @property
    def _queue(self):
        return pathlib.Path(f"/sys/block/{self.name}/queue/scheduler")

    def scheduler(self, name):
        if name not in self._queue.read_text().replace("[", "").replace("]", "").split():
            pytest.skip(f"this kernel has no scheduler {name}")
        self._queue.write_text(name)
        if name == "bfq":       # else whoever has just begun is favoured for seconds, whatever the weights say
            (self._queue.parent / "iosched/low_latency").write_text("0")

    def close(self):
        if self.mounted:
            subprocess.run(["umount", str(self.path)], check=True, timeout=600)
            self.mounted = False
        if self.device:
            if self._queue.exists():
                self._queue.write_text("none")
            subprocess.run(["losetup", "--detach", self.device], check=True, timeout=60)
            self.device = None
        shutil.rmtree(self.dir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
