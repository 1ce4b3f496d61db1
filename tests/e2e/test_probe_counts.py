"""The probe against real servers: what the node's own log says, HTTP/2 and TLS through Caddy, a front that sends twice."""
import collections
import http.client
import http.server
import json
import threading

import pytest

from lib.caddy import Caddy
from lib.ports import take_block
from lib.rpcnode import RpcNode, init
from lib.tls import make_certificate
from lib.waiting import wait_for

METHODS = ["getSlot", "getBlock", "getVersion"]


@pytest.fixture
def node(tmp_path):
    found = RpcNode(tmp_path / "node", cluster=True)
    init(found.ledger, found.accounts, 1, "1K", 200)
    with found:
        found.wait_health()
        yield found


@pytest.fixture
def bodies(tmp_path):
    path = tmp_path / "bodies"
    path.write_text("".join(json.dumps({"jsonrpc": "2.0", "id": 0, "method": m, "params": [150] if m == "getBlock" else []})
                            + "\n" for m in METHODS))
    return path


@pytest.fixture
def probe(tool, bodies):
    def run(url, *args, status=0):
        r = tool("probe", url, "--rate", 200, "--duration", "2s", "--timeout", "15s", "--body-file", bodies, "-o", "json", *args)
        assert r.returncode == status, r.stdout + r.stderr
        j = json.loads(r.stdout)
        assert j["sent"] == sum(j["outcomes"].values()) == pytest.approx(400, abs=1)
        return j
    return run


def numbers(node):
    """{number: [methods that were executed with it]}"""
    found = collections.defaultdict(list)
    for method, number, _, _ in node.requests():
        if number.isdigit():
            found[int(number)].append(method)
    return found


def test_every_number_is_executed_once_and_the_bodies_come_in_turn(node, probe, tool, bodies):
    j = probe(node.url, "--fresh", "30", "--executed", node.requests_path)
    assert j["executed"] == {"requests": j["sent"], "twice": 0, "first_twice": [], "failed": False}
    assert 120 <= j["connections"] <= 150
    executed = numbers(node)
    assert sorted(executed) == list(range(1, j["sent"] + 1))
    in_turn = [methods[0] for _, methods in sorted(executed.items())]
    assert in_turn[:3] in (METHODS, METHODS[1:] + METHODS[:1], METHODS[2:] + METHODS[:2])
    assert all(a == b for a, b in zip(in_turn, in_turn[3:]))
    # a second run begins its numbers anew: what the log had before is not its own
    assert probe(node.url, "--executed", node.requests_path)["executed"]["twice"] == 0
    r = tool("probe", node.url, "--rate", 50, "--duration", "200ms", "--executed", node.folder / "none")
    assert r.returncode == 1 and "could not be read" in r.stdout


class Twice(http.server.BaseHTTPRequestHandler):
    """Sends on each request, and the one with the number 100 a second time: its client sees one good answer."""
    protocol_version, node = "HTTP/1.1", None

    def do_POST(self):
        number = self.headers["X-Changeover-Probe"]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for _ in range(2 if number == "100" else 1):
            link = http.client.HTTPConnection("127.0.0.1", self.node.rpc_port, timeout=15)
            link.request("POST", "/", body, {"Content-Type": "application/json", "X-Changeover-Probe": number})
            answer = link.getresponse().read()
            link.close()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Front(http.server.ThreadingHTTPServer):
    request_queue_size = 256


def test_a_request_that_is_executed_twice_is_found_in_the_log(node, probe):
    Twice.node = node
    front = Front(("127.0.0.1", 0), Twice)
    threading.Thread(target=front.serve_forever, args=(0.02,), daemon=True).start()
    try:
        j = probe(f"http://127.0.0.1:{front.server_address[1]}/", "--executed", f"{node.requests_path}", status=1)
    finally:
        front.shutdown()
        front.server_close()
    assert j["lost"] == 0 and j["duplicate_answers"] == 0 and not j["clean"]
    assert j["executed"]["twice"] == 1 and j["executed"]["first_twice"] == [100]
    assert [m for m, times in numbers(node).items() if len(times) > 1] == [100]


@pytest.fixture
def secure(node):
    """Caddy with TLS in front of the node: (its port, certificate of who signs it)."""
    block = take_block()
    port, admin = block.take(), block.take()
    front = Caddy("", admin)
    cert, key = make_certificate(front.dir)
    front.path.write_text(f"""{{
	admin 127.0.0.1:{admin}
	auto_https disable_redirects
	skip_install_trust
}}
https://localhost:{port} {{
	bind 127.0.0.1
	tls {cert} {key}
	header X-Spoken {{http.request.proto}}
	@ws header Upgrade websocket
	reverse_proxy @ws 127.0.0.1:{node.ws_port}
	reverse_proxy 127.0.0.1:{node.rpc_port}
}}
""")
    try:
        with front:
            yield port, cert
    finally:
        block.release()


@pytest.mark.parametrize("http_version, spoken", [("2", "HTTP/2.0"), ("1.1", "HTTP/1.1")])
def test_tls_with_websockets_through_caddy(node, probe, secure, http_version, spoken):
    port, cert = secure
    j = probe(f"https://localhost:{port}/", "--cacert", cert, "--http", http_version, "--fresh", "10", "--colour-header", "X-Spoken",
              "--websockets", "50", "--ws-url", f"wss://localhost:{port}/", "--executed", node.requests_path, "--slow-every", "20",
              "--slow-body", '{"jsonrpc":"2.0","id":0,"method":"slow","params":[300]}')
    assert j["clean"] and j["lost"] == 0, j["failures"]
    assert {c["name"] for c in j["colours"]} == {spoken} and j["slow"] == 20
    assert j["executed"]["requests"] == j["sent"] and j["executed"]["twice"] == 0
    assert j["websockets"]["stayed"] == 50 and j["websockets"]["events"] > 50 * 10
    if http_version == "2":  # all but the fresh ones share connections
        assert 40 <= j["connections"] <= 60


def test_the_loss_of_the_backend_is_seen_through_http_2(node, probe, secure):
    port, cert = secure
    threading.Thread(target=lambda: (wait_for(lambda: len(node.requests()) > 100, "requests"), node.process.kill())).start()
    j = probe(f"https://localhost:{port}/", "--cacert", cert, "--http", "2", status=1)
    # Caddy answers 502 without having read the body, and ends some of these streams by a reset
    assert j["lost"] == j["bad"]["status"] + j["outcomes"]["reset"] > 100 and j["bad"]["status"] > 20
    assert any("502" in f["detail"] for f in j["failures"]) and j["answered"] > 50
