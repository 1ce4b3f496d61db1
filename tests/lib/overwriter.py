"""A live service's own writing: a file that is overwritten over and over, each block with bytes of its own.

    with Overwriter(path, megabytes=200, rate=10) as writer:    # made in full at once; 10 MB a second from then on
        ...
        writer.on(50)                   # 50 MB more
    writer.account()                    # no write failed, and the file holds what was written last
"""
import os
import random
import threading
import time

from .waiting import wait_for

MB = 1 << 20


def block(number):
    """1 MiB that no file system can share or compress, told by its number."""
    return random.Random(number).randbytes(MB)


class Overwriter:
    def __init__(self, path, megabytes, rate):
        self.path, self.n, self.rate = path, megabytes, rate
        self.last = list(range(megabytes))      # which number each block holds
        self.written, self.failed, self.stopping = 0, None, threading.Event()
        with open(path, "wb") as f:
            for number in self.last:
                f.write(block(number))
            os.fsync(f.fileno())
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        begun = time.monotonic()
        with open(self.path, "r+b", buffering=0) as f:
            while not self.stopping.is_set():
                at, number = self.written % self.n, self.n + self.written
                try:
                    os.pwrite(f.fileno(), block(number), at * MB)
                    os.fsync(f.fileno())
                except OSError as e:
                    self.failed = f"after {self.written} MiB: {e!r}"
                    return
                self.last[at] = number
                self.written += 1
                self.stopping.wait(max(0, begun + self.written / self.rate - time.monotonic()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def on(self, megabytes, timeout=120):
        want = self.written + megabytes
        wait_for(lambda: self.failed or self.written >= want, f"{megabytes} MiB more", timeout)
        assert not self.failed, self.failed

    def account(self):
        self.__exit__()
        assert not self.failed, self.failed
        with open(self.path, "rb") as f:
            for at, number in enumerate(self.last):
                assert f.read(MB) == block(number), f"block {at} is not what was written last"
            assert f.read(1) == b""
