"""Steps 3 and 5 of the first user's document: its own commands as they stand, over TLS, with this test's ports, host
and log file in their place; and what those commands cannot see. docs/first-user.md has every line of them."""
import json
import os
import re
import signal
import subprocess

import pytest

from lib.backend import Backend
from lib.caddy import Caddy
from lib.ports import take_block
from lib.rpcnode import ROOT
from lib.service import TOOL, Service
from lib.tls import make_certificate
from lib.waiting import wait_for

SITE = """biscayne.vaasl.io {
  reverse_proxy {
    to localhost:8899 localhost:8897
    health_uri /health
    health_interval 5s
    health_timeout 3s
    lb_policy first
  }
}
"""
STEP_3 = """# Start a test HTTP server on :8897 with /health
python3 -c "
from http.server import HTTPServer, BaseHTTPRequestHandler
class H(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'ok')
HTTPServer(('', 8897), H).serve_forever()
" &
# Verify Caddy discovers it
sleep 10
curl -sf https://biscayne.vaasl.io/health
# assert: 200
kill %1
"""
PROBE = """# Start continuous health probe in background
while true; do
  curl -sf -o /dev/null -w "%{http_code} %{time_total}\\n" \\
    https://biscayne.vaasl.io/health || echo "FAIL $(date)"
  sleep 0.5
done > /tmp/health-probe.log &
"""
UPGRADE = """# Execute full blue-green upgrade
./scripts/blue-green-prepare.sh --target-version v2.2.1
# wait for blue to sync...
./scripts/blue-green-promote.sh
"""
END = """# Stop probe
kill %1
# assert: no FAIL lines in probe log
grep -c FAIL /tmp/health-probe.log
# assert: 0
"""
BLOCK = '{"jsonrpc":"2.0","id":0,"method":"getBlock","params":[150]}'


@pytest.mark.parametrize("text", [SITE, STEP_3, PROBE, UPGRADE, END])
def test_they_are_the_documents_own(text):
    def bare(line):
        return re.sub(r"[`*\s]+", " ", line.replace("\\|", "|")).strip()

    document = (ROOT / "docs/first-user.md").read_text()
    lines = {bare(piece) for cell in re.split(r"(?<!\\)\||\n", document) for piece in cell.split("<br>")}
    missing = [line for line in text.splitlines() if bare(line) not in lines]
    assert missing == []


class Place:
    """Where the commands run here: host and ports of this test for those of the document."""

    def __init__(self, folder, front, standby, cert, env=()):
        self.folder, self.front, self.standby, self.cert = folder, front, standby, cert
        self.log = folder / "health-probe.log"
        self.env = {**os.environ, "CURL_CA_BUNDLE": str(cert), "no_proxy": "*", **dict(env)}

    def here(self, text):
        return (text.replace("biscayne.vaasl.io", f"localhost:{self.front}").replace("8897", str(self.standby))
                .replace("/tmp/health-probe.log", str(self.log)))

    def run(self, text, timeout=120):
        """In a bash of its own, which is ended with everything that it has started."""
        with open(self.folder / "said", "w+") as out, open(self.folder / "complained", "w+") as err:
            shell = subprocess.Popen(["bash", "-c", self.here(text)], cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=err, start_new_session=True)
            try:
                shell.wait(timeout)
            finally:
                try:
                    os.killpg(shell.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                shell.wait()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(text, shell.returncode, out.read(), err.read())


class Probe:
    """`changeover probe` beside it, over TLS; end() has its JSON."""

    def __init__(self, place, *args, rate=100):
        self.log = place.folder / "own.log"
        self.process = subprocess.Popen(
            [TOOL, "probe", f"https://localhost:{place.front}/", "--cacert", place.cert, "--rate", str(rate), "--timeout", "15s",
             "--log", self.log, "-o", "json", *map(str, args)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return json.loads(self.process.communicate(timeout=30)[0])

    def __enter__(self):
        wait_for(lambda: self.log.exists() and self.log.stat().st_size, "the first answers", 15)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def theirs():
    """Caddy with the document's own site, A and B behind it: (place, A, B's port)."""
    block = take_block()
    front, admin, a, b = (block.take() for _ in range(4))
    caddy = Caddy("", admin)
    cert, key = make_certificate(caddy.dir)
    place = Place(caddy.dir, front, b, cert)
    site = place.here(SITE).replace("8899", str(a)).replace("localhost:%d {\n" % front, "localhost:%d {\n  tls %s %s\n" % (front, cert, key))
    caddy.path.write_text("{\n  admin 127.0.0.1:%d\n  auto_https disable_redirects\n  skip_install_trust\n}\n%s" % (admin, site))
    try:
        with Backend(a, "A") as one, caddy:
            yield place, one, b
    finally:
        block.release()


def test_step_3_passes_and_moves_nothing(theirs):
    place, _, _ = theirs
    with Probe(place, "--colour-header", "X-Instance") as probe:
        done = place.run(STEP_3)
        seen = probe.end()
    assert done.returncode == 0 and done.stdout == "ok", done.stderr
    assert "GET /health" in done.stderr                      # Caddy has discovered the new one: its checks
    assert seen["lost"] == 0 and [c["name"] for c in seen["colours"]] == ["A"], "and every request is still at A"


def test_step_3_when_it_does_shift_loses_requests(theirs):
    """Both healthy for a while, then A goes, as the document's Phase 4 has it."""
    place, one, port = theirs
    with Backend(port, "B") as other:
        wait_for(lambda: other.checks >= 2, "Caddy's checks of B", 30)
        with Probe(place, "--colour-header", "X-Instance") as probe:
            one.stop()
            wait_for(lambda: other.requests > 50, "requests at B", 30)
            seen = probe.end()
    assert seen["lost"] > 0 and {"A", "B"} <= {c["name"] for c in seen["colours"]}
    print(f"the document's own shift: {seen['lost']} of {seen['sent']} lost, {seen['longest_gap_ms']:.0f} ms without an answer")


class Ours:
    """A service behind our block, with TLS, versions named as in the document."""

    def __init__(self):
        service = self.service = Service(versions=("v2.2.0", "v2.2.1"))
        cert, key = make_certificate(service.caddy.dir)
        service.caddy.path.write_text("{\n\tadmin 127.0.0.1:%d\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
                                      % service.admin_port)
        service.change_spec({"runtime": {"version": {"output": "rpcnode (v[0-9.]+)"}},
                             "traffic": {"site": f"https://localhost:{service.front_port}",
                                         "tls": {"cert": str(cert), "key": str(key)}}})
        self.place = Place(service.dir, service.front_port, service.ports["blue"]["rpc"], cert,
                           {"CHANGEOVER": str(TOOL), "CHANGEOVER_SPEC": str(service.spec_path),
                            "CHANGEOVER_STATE_DIR": str(service.dir / "state")})

    def __enter__(self):
        try:
            self.service.start("v2.2.0")
        except BaseException:
            self.service.close()
            raise
        return self

    def __exit__(self, *_):
        self.service.close()


@pytest.fixture
def ours():
    with Ours() as o:
        yield o


def health_log(place):
    return place.log.read_text().splitlines()


def test_step_3_with_our_block_does_not_even_dial_it(ours):
    """Whatever listens on the standby's port: it is no standby until it is prepared."""
    with Probe(ours.place, "--data", BLOCK) as probe:
        done = ours.place.run(STEP_3)
        seen = probe.end()
    assert done.returncode == 0 and done.stdout == "ok", done.stderr
    assert "GET" not in done.stderr
    assert seen["lost"] == 0 and [c["name"] for c in seen["colours"]] == ["green"]


def test_step_5_as_it_stands(ours):
    service, place = ours.service, ours.place
    logs = ",".join(f"{service.dir}/requests-{c}.log" for c in ("green", "blue"))
    with Probe(place, "--data", BLOCK, "--executed", logs, "--fresh", "20", "--websockets", "20", "--ws-url",
               f"wss://localhost:{place.front}/", rate=200) as probe:
        done = place.run(PROBE + UPGRADE + END)
        seen = probe.end()
    # what it asserts: grep prints 0 ... and ends with 1, since it has found nothing
    assert done.stdout.splitlines()[-1] == "0" and done.returncode == 1, done.stdout + done.stderr + service.logs()
    assert len(health_log(place)) >= 2 and all(re.fullmatch(r"200 0\.\d+", line) for line in health_log(place))
    status = service.status()
    assert (status["state"], status["live"], status["version"]) == ("promoted", "blue", "v2.2.1")
    # what it cannot see: two requests a second, of one kind, on a connection each
    assert seen["lost"] == 0 and seen["duplicate_answers"] == 0, seen["failures"]
    assert [c["name"] for c in seen["colours"]] == ["green", "blue"] and all(c["ok"] > 20 for c in seen["colours"])
    assert seen["executed"]["requests"] == seen["sent"] and seen["executed"]["twice"] == 0
    sockets = seen["websockets"]
    assert sockets["open"] == 20 and sockets["drops"] == sockets["first_try"] == 20  # once, when the old side stopped


def test_step_5_takes_every_answer_for_good(ours):
    """A node that is behind says so with status 200; POSTs are never tried."""
    service, place = ours.service, ours.place
    ledger = service.dir / "green/ledger"
    node = service.dir / "versions/v2.2.0/rpcnode"
    subprocess.run([node, "--ledger", ledger, "fault", "behind"], check=True, capture_output=True, timeout=20)
    done = place.run(PROBE + "sleep 3\n" + END)
    assert done.stdout.splitlines()[-1] == "0" and len(health_log(place)) >= 3
    health = subprocess.run([TOOL, "probe", f"https://localhost:{place.front}/health", "--cacert", place.cert, "--duration", "1s",
                             "--rate", "50", "--expect-body", "^ok$", "-o", "json"], stdout=subprocess.PIPE, timeout=60)
    seen = json.loads(health.stdout)
    assert seen["sent"] == seen["bad"]["body"] == 50 and "behind" in seen["failures"][0]["detail"]
