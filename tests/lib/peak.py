"""A program's peak of memory: its own, which wait4(2) does not tell, since it counts the process that it was forked from."""
import os
import re
import select
import subprocess
import time


class Peak:
    """Runs argv to its end: returncode, out, seconds, bytes (the peak, looked at each 10 ms)."""

    def __init__(self, argv, timeout=600):
        began = time.monotonic()
        process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.bytes = 0
        try:
            with open(f"/proc/{process.pid}/status") as status:
                watch = os.pidfd_open(process.pid)
                try:
                    while process.poll() is None and time.monotonic() < began + timeout:
                        self._look(status)
                        select.select([watch], [], [], 0.01)
                finally:
                    os.close(watch)
            self.seconds = time.monotonic() - began
            self.out = process.stdout.read()
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
        self.returncode = process.returncode

    def _look(self, status):
        status.seek(0)
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read())
        if found:
            self.bytes = max(self.bytes, int(found[1]) << 10)
