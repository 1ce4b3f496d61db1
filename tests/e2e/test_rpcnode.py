"""The stand-in behaves as the real node was measured to behave: everything else is tested with it."""
import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time

import pytest

from lib import ports, rpcnode
from lib.ports import bound_ports
from lib.rpcnode import RpcError, RpcNode
from lib.waiting import wait_for
from lib.ws import WsClient


@pytest.fixture
def node(tmp_path):
    with RpcNode(tmp_path / "node") as n:
        yield n


@pytest.fixture
def network(tmp_path):
    with RpcNode(tmp_path / "network", cluster=True, slot_ms=20) as n:
        yield n


def raw(port, data, timeout=5.0):
    """Send bytes, read to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(data)
        got = b""
        while True:
            more = s.recv(65536)
            if not more:
                return got
            got += more


def http_once(node, method, path, body=None, headers=None):
    link = http.client.HTTPConnection("127.0.0.1", node.rpc_port, timeout=5)
    link.request(method, path, body, headers or {})
    answer = link.getresponse()
    text = answer.read().decode()
    link.close()
    return answer.status, text, answer


def copy_node(node, folder):
    """What a clone has: ledger and accounts, without the socket."""
    shutil.copytree(node.ledger, folder / "ledger", ignore=shutil.ignore_patterns("admin.rpc"))
    shutil.copytree(node.accounts, folder / "accounts")
    return folder


# health

def test_health_is_200_whatever_it_says(tmp_path):
    with RpcNode(tmp_path / "n", args=["--verify-ms", 400]) as n:
        assert http_once(n, "GET", "/health")[:2] == (200, "unknown")
        with pytest.raises(RpcError) as e:
            n.rpc("getHealth")
        assert (e.value.code, e.value.data) == (-32005, {"numSlotsBehind": None})
        n.wait_health("ok")
        assert http_once(n, "POST", "/health?a=b", "{}")[:2] == (200, "ok")
        assert http_once(n, "HEAD", "/health")[:2] == (200, "")
        assert http_once(n, "GET", "/")[0] == 405
        assert n.rpc("getHealth") == "ok"


def test_behind_until_caught_up(tmp_path):
    rpcnode.init(tmp_path / "network" / "ledger", tmp_path / "network" / "accounts", files=4,
                 size="16K", slots=500)
    with RpcNode(tmp_path / "network", cluster=True) as network, \
            RpcNode(tmp_path / "n", peer=network.url,
                    args=["--catch-up-rate", 400, "--verify-ms", 0]) as n:
        n.wait_health("behind")
        with pytest.raises(RpcError) as e:
            n.rpc("getHealth")
        assert e.value.code == -32005 and e.value.data["numSlotsBehind"] > 128
        assert e.value.message == f"Node is behind by {e.value.data['numSlotsBehind']} slots"
        n.wait_health("ok")
        n.wait_slot(501)


def test_deaf_says_ok_and_stands_still(tmp_path, network):
    with RpcNode(tmp_path / "n", peer=network.url, args=["--deaf"]) as n:
        n.wait_health("ok")
        before = n.slot()
        network.wait_slot(before + 10)
        assert n.slot() == before and n.health() == "ok"


def test_always_behind(tmp_path):
    with RpcNode(tmp_path / "n", args=["--always-behind", 300]) as n:
        n.wait_health("behind")


# answers come from the files

def test_methods(node):
    assert node.rpc("getVersion")["solana-core"] == "3.1.11"
    block = node.wait_slot(3) and node.rpc("getBlock", 2)
    assert (block["blockHeight"], block["parentSlot"]) == (2, 1)
    assert block["previousBlockhash"] == node.rpc("getBlock", 1)["blockhash"]
    with pytest.raises(RpcError) as e:
        node.rpc("getBlock", 10**9)
    assert e.value.code == -32004
    assert node.rpc("getAccountInfo", 2)["value"]["writtenAt"] == 2
    answer = rpcnode.call(node.rpc_port, "getIdentity", request_id="a b")
    assert answer["id"] == "a b" and answer["result"]["identity"] == node.pubkey()
    assert http_once(node, "POST", "/", "{")[1].startswith('{"jsonrpc":"2.0","error":{"code":-32700')
    assert http_once(node, "GET", "/health")[2].headers["X-Backend"] == node.pubkey()


def test_two_nodes_have_the_same_bytes_and_a_wrong_byte_is_seen(tmp_path):
    a = tmp_path / "a"
    rpcnode.init(a / "ledger", a / "accounts", files=20, size="100K", slots=300)
    block = ports.take_block()
    with RpcNode(a, cluster=True, slot_ms=10, ports=block) as n:
        copy_node(n, tmp_path / "b")                       # while it writes
        n.wait_slot(n.slot() + 30)
        with RpcNode(tmp_path / "b", peer=n.url, args=["--catch-up-rate", 1000]) as follower:
            slot = n.slot()
            follower.wait_slot(slot)
            assert follower.rpc("getBlock", slot) == n.rpc("getBlock", slot)
            n.stop()
            n.args = ["--deaf"]         # stands still, so that the other reaches the same slot
            n.start()
            follower.wait_slot(n.slot())
            for i in range(20):
                assert follower.rpc("getDataHash", i) == n.rpc("getDataHash", i) is not None
            follower.stop()
            n.stop()
    data = [p for p in a.rglob("*") if p.suffix in (".sst", ".av") or p.name.startswith("account-")]
    assert len(data) == 20 + 256
    for path in data:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(a)).read_bytes(), path
    segment = tmp_path / "b" / "ledger" / "blocks" / "000000.seg"
    data = bytearray(segment.read_bytes())
    data[100 * 256 + 150] ^= 1
    segment.write_bytes(data)
    with RpcNode(a, ports=ports.take_block()) as n, RpcNode(tmp_path / "b") as other:
        assert n.rpc("getBlock", 100) != other.rpc("getBlock", 100)
        assert n.rpc("getBlock", 101) == other.rpc("getBlock", 101)
    block.release()


def test_an_empty_directory_is_seen(tmp_path, network):
    network.wait_slot(5)
    with RpcNode(tmp_path / "n", args=["--deaf"]) as n:
        assert n.slot() == 0
        with pytest.raises(RpcError):
            n.rpc("getBlock", 3)


def test_a_copy_of_any_moment_opens(tmp_path):
    with RpcNode(tmp_path / "n", slot_ms=5) as n:
        n.wait_slot(50)
        for i in range(3):
            folder = copy_node(n, tmp_path / f"copy{i}")
            tip = int((folder / "ledger" / "slot").read_text().split()[0])
            if i == 1:      # the slot file is two steps ahead of the blocks, and the next one is torn
                os.truncate(folder / "ledger" / "blocks" / "000000.seg", (tip - 1) * 256 + 100)
            if i == 2:
                (folder / "ledger" / "slot").unlink()
            with RpcNode(folder, args=["--deaf"]) as c:
                assert c.rpc("getBlock", c.slot())["blockHeight"] == c.slot()
                assert c.slot() == tip - 2 if i == 1 else c.slot() >= 49


def test_wiped_accounts_are_filled_again(tmp_path):
    rpcnode.init(tmp_path / "n" / "ledger", tmp_path / "n" / "accounts", files=4, size="4K", slots=700)
    with RpcNode(tmp_path / "n", args=["--wipe-accounts", "--deaf"]) as n:
        assert n.rpc("getAccountInfo", 7)["value"]["writtenAt"] == 519
        assert n.rpc("getDataHash", 0) is not None and n.rpc("getDataHash", 3) is None


def test_transactions_stay(tmp_path):
    with RpcNode(tmp_path / "n", args=["--write-through"]) as n:
        signatures = [n.rpc("sendTransaction", f"tx-{i}") for i in range(50)]
        n.rpc("sendTransaction", "tx-7")
        n.signal(signal.SIGKILL)
        n.wait_exit()
        with open(n.ledger / "transactions.log", "a") as f:
            f.write("torn 12")
        n.start()
        assert n.rpc("getTransactionCount") == 51
        assert n.rpc("getTransaction", signatures[7])["times"] == 2
        assert n.rpc("getTransaction", signatures[49])["data"] == "tx-49"
        assert n.rpc("getTransaction", "nothing") is None
        late = n.rpc("sendTransaction", "x")
        n.stop()
        n.start()
        assert n.rpc("getTransaction", late)["data"] == "x" and n.rpc("getTransactionCount") == 52


# following

def test_both_colours_follow_the_network(tmp_path, network):
    with RpcNode(tmp_path / "green", peer=network.url) as green:
        green.wait_slot(network.slot())
        with RpcNode(tmp_path / "blue", peer=network.url) as blue:
            blue.wait_slot(green.slot())
            green.stop()
            blue.wait_slot(network.slot() + 20)
            green.start()
            green.wait_slot(blue.slot())


def test_two_alone_take_over(tmp_path):
    block = ports.take_block()
    other = block.take_range(2)[0]
    lead = ["--lead-if-peer-gone", 200]
    green = RpcNode(tmp_path / "green", ports=block, peer=f"http://127.0.0.1:{other}", args=lead)
    with green:
        green.wait_slot(20)
        with RpcNode(tmp_path / "blue", rpc_port=other, peer=green.url, args=lead) as blue:
            blue.wait_slot(20)
            green.stop()
            last = blue.slot()
            blue.wait_slot(last + 10)
            green.start()
            green.wait_slot(last + 10)
            assert "following" not in blue.log()
    block.release()


def test_of_two_leaders_the_one_behind_follows(tmp_path):
    block = ports.take_block()
    other = block.take_range(2)[0]
    lead = ["--lead-if-peer-gone", 200]
    with RpcNode(tmp_path / "green", ports=block, peer=f"http://127.0.0.1:{other}", args=lead) as green:
        green.wait_slot(3)
        assert "leading" in green.log()
        with RpcNode(tmp_path / "blue", rpc_port=other, cluster=True, slot_ms=10) as blue:
            blue.wait_slot(100)
            wait_for(lambda: "a peer is ahead: following" in green.log(), "green follows")
            green.wait_slot(blue.slot())
    block.release()


def test_serves_then_cannot_follow(tmp_path, network):
    binary = rpcnode.make_version(tmp_path / "v2", "4.0.0",
                                  ["--stall-after-slots", 20, "--exit-after-stall-ms", 600])
    with RpcNode(tmp_path / "n", binary=binary, peer=network.url) as n:
        n.wait_slot(20)
        start = time.monotonic()
        n.wait_health("ok")
        assert n.rpc("getVersion")["solana-core"] == "4.0.0"
        network.wait_slot(30)
        assert n.slot() == 20
        assert n.wait_exit() == 1 and time.monotonic() - start > 0.4
        assert "stood still" in n.log()


def test_crash_hang_and_version(tmp_path):
    with RpcNode(tmp_path / "crash", args=["--crash-after-ms", 300]) as n:
        assert n.wait_exit() == 101
    with RpcNode(tmp_path / "hang", args=["--hang-after-ms", 300]) as n:
        wait_for(lambda: "hanging" in n.log(), "hanging")
        with pytest.raises(TimeoutError):
            n.health(timeout=0.3)
    with RpcNode(tmp_path / "liar", args=["--report-version", "9.9.9"]) as n:
        assert n.rpc("getVersion")["solana-core"] == "9.9.9"


def test_faults_at_run_time(node):
    node.wait_health("ok")
    node.fault("behind")
    assert node.health() == "behind"
    node.fault("errors")
    assert http_once(node, "POST", "/", '{"id":1,"method":"getSlot"}')[0] == 500
    node.fault("stall")
    before = wait_for(lambda: node.slot(), "a slot")
    time.sleep(5 * node.slot_ms / 1000)      # nothing may happen in this time
    assert node.slot() <= before + 1 and node.health() == "ok"
    node.fault("none")
    node.wait_slot(before + 3)
    assert node.admin("fault", "nonsense").returncode == 1
    node.fault("hang")
    with pytest.raises(TimeoutError):
        node.rpc("getSlot", timeout=0.3)
    assert node.stop() == 0


# websockets

def test_slots_on_the_websocket(node):
    assert raw(node.ws_port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    with WsClient(node.ws_port) as ws:
        assert ws.backend == node.pubkey()
        assert ws.subscribe_slots() >= 1
        slots = [ws.next_slot() for _ in range(5)]
        assert slots == list(range(slots[0], slots[0] + 5))
        ws.send_frame(9, b"hello")
        while (frame := ws.receive_frame())[0] != 10:
            pass
        assert frame[1] == b"hello"
        ws.send_frame(8, b"\x03\xe8")
        with pytest.raises(EOFError):
            while True:
                ws.receive_json()


def frames_of(ws, most):
    """Its next frames: an end of them, also where it is never closed."""
    return (ws.receive_frame() for _ in range(most))


@pytest.mark.parametrize("how", ["command", "signal"])
def test_websockets_closed_one_after_the_other(tmp_path, how):
    log = tmp_path / "ws.log"
    with RpcNode(tmp_path / "n", args=["--ws-close-over", 1000, "--log-websockets", log]) as n:
        clients = [WsClient(n.ws_port) for _ in range(20)]
        try:
            for ws in clients:
                ws.subscribe_slots()
                ws.next_slot()
            if how == "signal":
                n.signal(signal.SIGUSR1)
            else:
                assert n.admin("close-websockets", "1").returncode == 0
            wait_for(lambda: "closing" in log.read_text(), "the first to be closed")
            with WsClient(n.ws_port) as late:
                late.subscribe_slots()
                assert n.admin("close-websockets", "0").returncode == 0     # asked again: it is under way
                for ws in clients:
                    assert next(f for f in frames_of(ws, 500) if f[0] == 8)[1] == b"\x03\xe9"
                assert late.next_slot() > 0 and n.health() in ("ok", "unknown")
            rows = [line.split() for line in log.read_text().splitlines()]
            at = sorted(int(r[4]) for r in rows if r[0] == "closing")
            assert len(at) == 20 and 0.7e9 < at[-1] - at[0] < 3e9
            first = {r[1]: int(r[2]) for r in rows if r[0] == "first"}
            last = {r[1]: r for r in rows if r[0] == "last"}
            assert all(int(last[k][3]) == int(last[k][2]) - first[k] + 1 for k in last) and len(last) >= 19
        finally:
            for ws in clients:
                ws.close()
    assert rpcnode.run("--ledger", tmp_path, "close-websockets", "soon").returncode == 1


def test_websocket_on_the_http_port(tmp_path):
    with RpcNode(tmp_path / "n", args=["--ws-on-rpc-port"]) as n:
        with WsClient(n.rpc_port) as ws:
            ws.subscribe_slots()
            assert ws.next_slot() > 0
        assert ("tcp", n.ws_port) not in bound_ports(n.process.pid)


# HTTP

def test_keep_alive_pipelining_and_size(node):
    body = json.dumps({"id": 1, "method": "getSlot", "pad": "x" * 900_000})
    status, text, _ = http_once(node, "POST", "/", body)
    assert status == 200 and "result" in text
    too_long = b"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n"
    assert raw(node.rpc_port, too_long).startswith(b"HTTP/1.1 413")
    one = b'POST / HTTP/1.1\r\nContent-Length: 27\r\n\r\n{"id":1,"method":"getSlot"}'
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert raw(node.rpc_port, one * 4 + last).count(b"HTTP/1.1 200 OK") == 5
    assert raw(node.rpc_port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_slow_requests(node):
    start = time.monotonic()
    assert node.rpc("slow", 300) == 300
    assert time.monotonic() - start >= 0.3
    start = time.monotonic()
    node.rpc("getSlot", headers={"X-Delay-Ms": "200"})
    assert time.monotonic() - start >= 0.2


# ports

def test_bound_ports(tmp_path, node):
    expected = {("tcp", node.rpc_port), ("tcp", node.ws_port), ("tcp", node.gossip_port),
                ("udp", node.gossip_port), ("udp", node.extra_udp_from)}
    expected |= {("udp", p) for p in range(node.dynamic[0], node.dynamic[1] + 1)}
    assert bound_ports(node.process.pid) == expected
    shared = RpcNode(tmp_path / "shared", dynamic=2)
    shared.dynamic, shared.extra_udp_from = (node.dynamic[0], node.dynamic[0] + 3), node.extra_udp_from
    with shared:
        mine = {p for kind, p in bound_ports(shared.process.pid) if kind == "udp"} - {shared.gossip_port}
        assert len(mine) == 5 and min(mine) > node.dynamic[1]


def test_taken_ports(tmp_path, node):
    other = RpcNode(tmp_path / "other", rpc_port=node.rpc_port)
    other.start(wait=False)
    assert other.wait_exit() == 1
    assert "Failed to start validator: Address already in use (os error 98)" in other.log()
    other.close()
    other = RpcNode(tmp_path / "other2")
    other.gossip_port = node.gossip_port
    other.start(wait=False)
    assert other.wait_exit() == 101
    other.close()
    with RpcNode(tmp_path / "other3", ws_port=node.ws_port) as third:
        assert "failed to bind rpc_pubsub listener" in third.log()
        assert third.slot() >= 0


def test_lock(node):
    done = rpcnode.run("--ledger", node.ledger, "--rpc-port", 1)
    assert done.returncode == 1
    assert f"Unable to lock {node.ledger} directory. Check if another validator is running" in done.stderr


# stopping

def test_connections_are_cut_long_before_the_end(tmp_path):
    with RpcNode(tmp_path / "n", args=["--exit-ms", 1500]) as n:
        idle = socket.create_connection(("127.0.0.1", n.rpc_port), timeout=5)
        start = time.monotonic()
        assert n.admin("exit", "--no-wait-for-exit").returncode == 0
        assert idle.recv(1) == b"" and 0.2 < time.monotonic() - start < 1.2
        assert n.process.poll() is None and n.wait_exit() == 0
        idle.close()


def test_exit_cuts_what_is_under_way(node):
    link = http.client.HTTPConnection("127.0.0.1", node.rpc_port, timeout=5)
    link.request("POST", "/", json.dumps({"id": "cut", "method": "slow", "params": [3000]}))
    ws = WsClient(node.ws_port)
    start = time.monotonic()
    assert node.stop() == 0
    assert 0.23 <= time.monotonic() - start < 3
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        link.getresponse()
    with pytest.raises((ConnectionError, EOFError)):
        ws.receive_json()
    ws.close()
    assert not any(row[1] == "cut" for row in node.requests())
    assert node.admin("exit").returncode == 1


def test_term(tmp_path, node):
    node.signal()
    assert node.wait_exit() == -signal.SIGTERM
    with RpcNode(tmp_path / "deaf", args=["--term-deaf"]) as deaf:
        deaf.signal()
        deaf.wait_slot(deaf.slot() + 5)
        deaf.signal(signal.SIGKILL)
    with RpcNode(tmp_path / "graceful", args=["--graceful-term"]) as n:
        answers = []
        t = threading.Thread(target=lambda: answers.append(n.rpc("slow", 500)))
        idle = socket.create_connection(("127.0.0.1", n.rpc_port), timeout=5)
        t.start()
        wait_for(lambda: len(os.listdir(f"/proc/{n.process.pid}/fd")) and _in_flight(n), "a request")
        n.signal()
        assert idle.recv(10) == b""
        idle.close()
        t.join()
        assert answers == [500] and n.wait_exit() == 0


def _in_flight(node):
    """Two clients are connected: the idle one and the slow one."""
    want = f"0100007F:{node.rpc_port:04X}"
    rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    return sum(1 for r in rows if r[1] == want and r[3] == "01" and r[4].endswith(":00000000")) >= 2


def test_request_log_survives_sigkill(node):
    for i in range(200):
        node.rpc("getIdentity", request_id=f"r{i}")
    http_once(node, "GET", "/health", headers={"X-Request-Id": "h 1"})
    node.signal(signal.SIGKILL)
    node.wait_exit()
    rows = node.requests()
    assert sorted(i for m, i, *_ in rows if m == "getIdentity") == sorted(f"r{i}" for i in range(200))
    assert ("GET/health", "h_1", 200) in [row[:3] for row in rows]


# identity

def test_set_identity(tmp_path, node):
    other = rpcnode.keygen(tmp_path / "other.json")
    assert node.admin("set-identity", tmp_path / "other.json").returncode == 0
    assert node.pubkey() == other
    done = node.admin("set-identity", "--require-tower", node.identity)
    assert done.returncode == 1 and "tower" in done.stderr


def test_admin_socket(node):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        here = os.open(node.ledger, os.O_PATH)
        s.connect(f"/proc/self/fd/{here}/admin.rpc")
        os.close(here)
        stream = s.makefile("rw")
        got = {}
        for i, method in enumerate(["pid", "startProgress", "rpcAddress", "startTime", "contactInfo",
                                    "version"]):
            stream.write(json.dumps({"jsonrpc": "2.0", "id": i, "method": method}) + "\n")
            stream.flush()
            got[method] = json.loads(stream.readline())
            assert got[method]["id"] == i
    assert got["pid"]["result"] == node.process.pid
    assert got["startProgress"]["result"] == "Running"
    assert got["rpcAddress"]["result"] == f"127.0.0.1:{node.rpc_port}"
    assert got["contactInfo"]["result"]["id"] == node.pubkey()
    assert "secs_since_epoch" in got["startTime"]["result"] and "error" in got["version"]


def test_the_older_of_two_ends(tmp_path):
    news = ["--gossip-dir", tmp_path / "gossip"]
    with RpcNode(tmp_path / "old", args=news) as old:
        with RpcNode(tmp_path / "new", identity=old.identity, args=news) as new:
            assert old.wait_exit() == 1
            assert "duplicate running instances of the same validator node" in old.log()
            new.wait_slot(new.slot() + 3)


# arguments

def test_arguments_are_checked_as_clap_does(tmp_path):
    good = ["--ledger", tmp_path / "x"]
    assert rpcnode.run(*good, "--rpc-port", "abc", "--help").returncode == 0
    done = rpcnode.run(*good, "--accounts-index-limit", "1", "--help")
    assert done.returncode == 1
    assert "Found argument '--accounts-index-limit' which wasn't expected" in done.stderr
    done = rpcnode.run(*good, "--identity", tmp_path / "none.json")
    assert done.returncode == 1 and "Invalid value for '--identity <KEYPAIR>'" in done.stderr
    done = rpcnode.run(*good, "--identity", tmp_path / "none.json", "--rpc-port", "abc")
    assert "Invalid value for '--rpc-port <PORT>'" in done.stderr
    done = rpcnode.run("--rpc-port", "1")
    assert "required arguments were not provided:\n    --ledger <DIR>" in done.stderr
    assert "--identity <KEYPAIR>" in rpcnode.run(*good, "--require-identity").stderr
    v4 = rpcnode.make_version(tmp_path / "v4", "4.2.1", rules=["+no-ws", "-writes-per-slot"])
    assert "--no-ws" in rpcnode.run(*good, binary=v4).stderr
    assert rpcnode.run(*good, "--writes-per-slot", 1, "--help", binary=v4).returncode == 1
    assert rpcnode.run("--version", binary=v4).stdout.startswith("rpcnode 4.2.1 (src:")
    assert not (tmp_path / "x").exists()


# load

def test_load_on_less_than_half_a_core(node, sanitized):
    """8 connections as fast as they can: 2,000 requests/s must not need half a core."""
    request = (b'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n'
               b'{"jsonrpc":"2.0","id":12345,"method":"getSlot"   }')
    count = 500

    def client():
        with socket.create_connection(("127.0.0.1", node.rpc_port), timeout=10) as s:
            for _ in range(count):
                s.sendall(request)
                assert s.recv(4096).startswith(b"HTTP/1.1 200")

    threads = [threading.Thread(target=client) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    fields = open(f"/proc/{node.process.pid}/stat").read().rsplit(")", 1)[1].split()
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    print(f"{8 * count} requests in {seconds:.2f} s of processor")
    assert len(node.requests()) >= 8 * count
    if not sanitized:
        assert seconds < 0.5 * 8 * count / 2000
