"""Clients that write into a service through the front, and account for what they were told.

    with Writers(service) as writers:
        ...                             # an upgrade
        writers.on()                    # whoever serves now takes writes
        writers.account("blue")         # nothing failed; what was told is in blue's data, once
"""
import threading
import time

from . import rpcnode
from .waiting import wait_for


class Writers:
    """Clients that write through the front, each its own texts one after the other, and remember what they were told."""

    def __init__(self, service, n=16, patience=120):
        self.service, self.patience, self.stopping = service, patience, threading.Event()
        self.told, self.failed, self.longest = {}, [], 0
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(n)]

    def run(self, who):
        n = 0
        while not self.stopping.is_set():
            text, begun = f"writer-{who}-{n}", time.monotonic()
            n += 1
            try:
                answer = rpcnode.call(self.service.front_port, "sendTransaction", text, timeout=self.patience)
                self.told[text] = answer["result"]
            except Exception as e:      # whatever it was: the client has lost a request
                self.failed.append((text, repr(e)))
            self.longest = max(self.longest, time.monotonic() - begun)
            self.stopping.wait(0.01)

    def __enter__(self):
        for t in self.threads:
            t.start()
        wait_for(lambda: len(self.told) > 50, "writes")
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for t in self.threads:
            t.join()

    def on(self):
        """Until more was written: whoever serves now takes writes."""
        n = len(self.told)
        wait_for(lambda: len(self.told) > n + 50, "writes to go on", 60)

    def account(self, colour, failed=0):
        """At most `failed` requests have failed, and colour's own data holds what was told, each text once."""
        self.__exit__()
        assert len(self.failed) <= failed, f"{len(self.failed)} requests failed: {self.failed[:5]}"
        lines = (self.service.dir / colour / "ledger" / "transactions.log").read_text().splitlines()
        held = [line.split()[2] for line in lines]
        assert len(held) == len(set(held)), f"{len(held) - len(set(held))} of {len(held)} writes are there twice"
        missing = set(self.told) - set(held)
        assert not missing, f"{len(missing)} of {len(self.told)} acknowledged writes are lost: {sorted(missing)[:5]}"
        for text in list(self.told)[:: max(1, len(self.told) // 50)]:
            assert self.service.rpc("getTransaction", self.told[text])["times"] == 1
        return len(self.told)
