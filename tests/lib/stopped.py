"""A run of the tool that stands still at a fault point until it is told to go on."""
import os
import pathlib
import signal
import subprocess

from .waiting import wait_for

SLOW = 60


class Stopped:
    """with Stopped(service, "hold/clone:done", "promote") as tool: ...; said = tool.go_on()"""

    def __init__(self, service, point, *command):
        self.point = point
        self.process = subprocess.Popen(service.argv(*command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "CHANGEOVER_FAULT": f"stop@{point}"})

    def _stands(self):
        assert self.process.poll() is None, self.process.communicate()[1]
        return pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"

    def go_on(self, expect=0, timeout=2 * SLOW):
        """What it says on its standard error until it ends."""
        self.process.send_signal(signal.SIGCONT)
        said = self.process.communicate(timeout=timeout)[1]
        assert self.process.returncode == expect, (self.point, self.process.returncode, said)
        return said

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def __enter__(self):
        try:
            wait_for(self._stands, f"the tool to stand still at {self.point}", SLOW)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
