"""Ports of 127.0.0.1 for tests: disjoint blocks, also between test runs at the same time.

A block is held by an abstract unix socket of this process (gone with it, leaving nothing behind)
and lies below the kernel's ephemeral range, so no client socket can take one of its ports.
"""
import os
import random
import socket

FIRST, LAST, BLOCK = 20000, 32000, 40


def is_free(port):
    """True if nobody has the port, TCP or UDP."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as s:
            if kind == socket.SOCK_STREAM:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


class PortBlock:
    """BLOCK consecutive ports. take() hands out the next one, take_range(n) the next n."""

    def __init__(self, first, lock):
        self.first, self.last, self._lock = first, first + BLOCK - 1, lock
        self._next = first

    def take(self):
        return self.take_range(1)[0]

    def take_range(self, n):
        """(first, last) of n consecutive ports."""
        first = self._next
        if first + n - 1 > self.last:
            raise AssertionError(f"a block has only {BLOCK} ports: take another one")
        self._next += n
        return first, first + n - 1

    def release(self):
        self._lock.close()


def take_block():
    """A block of free ports that no other test has, until it is released or this process ends."""
    starts = list(range(FIRST, LAST, BLOCK))
    random.Random(os.getpid()).shuffle(starts)
    for first in starts:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            lock.bind(f"\0changeover-test-ports-{first}")
        except OSError:
            lock.close()
            continue
        if all(is_free(port) for port in range(first, first + BLOCK)):
            return PortBlock(first, lock)
        lock.close()
    raise AssertionError("no free block of ports")


def bound_ports(pid):
    """{("tcp"|"udp", port)} that the process has bound on IPv4; of TCP only the listeners."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:       # closed meanwhile
            continue
        if link.startswith("socket:["):
            inodes.add(link[8:-1])
    found = set()
    for kind, states in (("tcp", {"0A"}), ("udp", {"07"})):
        with open(f"/proc/net/{kind}") as table:
            rows = [line.split() for line in table.read().splitlines()[1:]]
        found |= {(kind, int(r[1].split(":")[1], 16)) for r in rows if r[9] in inodes and r[3] in states}
    return found
