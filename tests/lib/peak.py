"""A program's peak of memory: its own, which wait4(2) does not tell, since it counts the process that it was forked from."""
import glob
import os
import pathlib
import re
import select
import subprocess
import time

from .waiting import wait_for


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


def at_its_output(argv, env=None):
    """(peak resident, private) bytes of a program, looked at while it waits to write into a full pipe: its peak to the last byte."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(write, True)
    process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=write, env=env)
    os.close(write)
    try:
        seen = []

        def rests():
            """It does nothing any more: it has all that it will ever have."""
            seen.append(pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
            return len(seen) > 20 and seen[-20] == seen[-1] and \
                any("pipe" in pathlib.Path(w).read_text() for w in glob.glob(f"/proc/{process.pid}/task/*/wchan"))
        wait_for(rests, f"{argv[0]} to print", 20, interval=0.02)
        peak = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())
        rollup = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    finally:
        while os.read(read, 65536):
            pass
        os.close(read)
        process.wait(10)
    private = sum(int(kb) for kb in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", rollup))
    return int(peak[1]) << 10, private << 10
