"""An independent load through the front, for as long as a test wants: `changeover probe` as a process of its own.

    with Load(service) as load:
        ...                                  # slow is not lost: a busy machine has 15 s for an answer
        load.check("what was done meanwhile")    # nothing lost so far
    assert load.result["lost"] == 0
"""
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile

from .rpcnode import BUILD
from .waiting import wait_for

BODY = '{"jsonrpc":"2.0","id":1,"method":"getSlot"}'


class Load:
    def __init__(self, service, rate=500, body=BODY, args=()):
        self.url = f"http://127.0.0.1:{service.front_port}/"
        self.rate, self.body, self.args = rate, body, list(args)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="changeover-load-"))
        self.log, self.out, self.process, self.result = self.dir / "log", self.dir / "out", None, None
        self._read, self._failed = 0, []

    def start(self):
        with open(self.out, "wb") as out, open(self.dir / "err", "wb") as err:
            self.process = subprocess.Popen(
                [BUILD / "src" / "changeover", "probe", self.url, "--rate", str(self.rate), "--data", self.body,
                 "--timeout", "15s", "--log", self.log, "-o", "json", "-q", *map(str, self.args)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        wait_for(lambda: self.log.exists() and self.log.stat().st_size, "the first answers to the load")
        return self

    def lost(self):
        """The lines of the requests that failed so far."""
        with open(self.log, "rb") as log:
            log.seek(self._read)
            text = log.read()
        text = text[:text.rfind(b"\n") + 1]
        self._read += len(text)
        self._failed += [line.decode() for line in text.splitlines() if line.startswith(b"FAIL")]
        return self._failed

    def check(self, what):
        assert self.process.poll() is None, (self.dir / "err").read_text()
        lost = self.lost()
        assert not lost, f"{what}: {len(lost)} requests lost: {lost[:5]}"

    def stop(self):
        """Ends it, and returns its own account."""
        if self.process and self.result is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
            self.result = json.loads(self.out.read_text() or "{}")
        return self.result

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()
