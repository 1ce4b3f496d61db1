"""The Caddy driver with the real Caddy in front of two small backends."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import pytest

from lib.backend import Backend
from lib.caddy import binaries
from lib.proxied import BLUE, GREEN, Load, colour_of, get
from lib.waiting import wait_for


def test_installs_once_and_takes_it_out_to_the_byte(host):
    before = host.caddy.path.read_bytes()
    dry = host.traffic("install", "--live", "green", "-n")
    assert "+http://:" in dry.stdout and host.caddy.path.read_bytes() == before
    assert not host.flags.exists()
    done = host.install()
    assert "@@" in done.stdout
    assert colour_of(*host.get()) == GREEN
    assert get(host.other)[1] == "other site"
    facts = host.show()
    assert (facts["installed"], facts["flag"], facts["seen"]) == (True, "green", "green"), facts
    with_block = host.caddy.path.read_bytes()
    again = host.install()
    assert again.stdout == "installed already; Caddy chooses green\n" and host.caddy.path.read_bytes() == with_block
    assert "rm -f" in (host.flags / "README").read_text()
    host.traffic("uninstall", "-y")
    assert host.caddy.path.read_bytes() == before
    with pytest.raises(OSError):
        host.get()
    assert get(host.other)[1] == "other site"
    assert host.show()["installed"] is False


def test_a_dry_run_moves_nothing_and_results_are_json_where_that_is_asked(host):
    """Programs read stdout: one JSON value there, whatever the subcommand."""
    host.install()
    for args in (["install"], ["point", "blue"]):
        said = json.loads(host.traffic(*args, "-n", "-y", "-o", "json").stdout)
        assert said["message"] is not None, said
        assert colour_of(*host.get()) == GREEN
    assert "blue could take" in host.traffic("point", "blue", "-n").stdout
    assert "no dry run" in host.traffic("uninstall", "-n", "-y", ok=False).stderr
    assert "reverse_proxy" in json.loads(host.traffic("render", "-o", "json").stdout)["message"]
    for args in (["preview", "blue"], ["verify", "green"], ["install", "-y"], ["point", "blue", "-y"]):
        done = host.traffic(*args, "-o", "json")
        assert json.loads(done.stdout)["message"], done
    assert colour_of(*host.get()) == BLUE
    json.loads(host.traffic("uninstall", "-y", "-o", "json").stdout)


def test_an_edited_spec_is_said_and_installed_on_demand(host):
    host.install()
    host.write_spec("  failover: true\n")
    facts = host.show()
    assert facts["installed"] and "brings it up to date" in facts["text"]
    assert "@demo_failover" in host.install().stdout
    assert host.show()["text"] == ""
    text = host.caddy.path.read_text().replace("lb_policy first", "lb_policy random")   # by hand
    host.caddy.path.write_text(text)
    host.caddy.load(text)
    facts = host.show()
    assert not facts["installed"] and "is not the one for this spec" in facts["text"]
    host.install()
    assert host.show()["installed"]


def test_refuses_a_caddy_that_runs_another_configuration(host):
    before = host.caddy.path.read_bytes()
    host.caddy.load(host.caddy.path.read_text() + f"http://127.0.0.1:{host.front} {{\n\trespond hello\n}}\n")
    done = host.traffic("install", "--live", "green", "-y", ok=False)
    assert done.returncode == 1
    assert "runs another configuration" in done.stderr and "caddy reload" in done.stderr
    assert host.caddy.path.read_bytes() == before
    assert host.get()[1] == "hello"


def test_install_goes_on_after_a_crash_between_file_and_load(host):
    env = {**os.environ, "CHANGEOVER_FAULT": "kill@traffic:written"}
    done = host.traffic("install", "--live", "green", "-y", ok=False, env=env)
    assert done.returncode == -9
    assert "# changeover demo begin" in host.caddy.path.read_text()
    assert host.show()["installed"] is False
    host.install()
    assert colour_of(*host.get()) == GREEN


def test_a_block_that_caddy_refuses_changes_nothing(host):
    broken = host.caddy.path.read_text() + "http://:1 {\n\tno_such_directive\n}\n"
    host.caddy.path.write_text(broken)
    done = host.traffic("install", "--live", "green", "-y", ok=False)
    assert done.returncode != 0 and host.caddy.path.read_text() == broken


def test_caddy_that_is_down_is_named(host):
    host.install()
    host.caddy.stop()
    facts = host.show()
    assert facts["reachable"] is False and facts["seen"] == "none" and facts["flag"] == "green"
    done = host.traffic("install", "-y", ok=False)
    assert done.returncode == 1 and host.caddy.admin in done.stderr and "traffic.admin" in done.stderr


def test_a_hung_caddy_is_no_answer_in_time(host, sanitized):
    host.install()
    os.kill(host.caddy.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        facts = host.show()
        took = time.monotonic() - begun
    finally:
        os.kill(host.caddy.pid, signal.SIGCONT)
    assert (facts["reachable"], facts["seen"], facts["flag"]) == (False, "none", "green"), facts
    assert took < 1.0 or sanitized, took


def test_flips_under_load_lose_nothing(host, sanitized):
    host.install()
    took = []
    with Load(host.front) as load:
        for i in range(10):
            to = "blue" if i % 2 == 0 else "green"
            host.traffic("preview", to)
            begun = time.monotonic()
            host.traffic("point", to, "-y")     # preview, flip, proof
            took.append(time.monotonic() - begun)
    assert sorted(took)[5] < 1.0 or sanitized, took
    assert load.failed == []
    assert min(load.answers["green-1"], load.answers["blue-1"]) > 100
    host.caddy.kill()
    host.traffic("show", ok=False)
    host.caddy.start()
    assert colour_of(*host.get()) == GREEN      # the flags outlive Caddy


def test_a_flip_waits_until_caddys_own_checks_have_seen_the_new_colour(host):
    host.write_spec("  when_unhealthy: fail\n")
    host.install()
    with Load(host.front, threads=4) as load:
        for to, standby in (("blue", host.blue), ("green", host.green)):
            standby.health = "behind"
            seen = standby.checks
            wait_for(lambda: standby.checks >= seen + 3, "Caddy's checks, which take it for down")
            standby.health = "ok"
            host.traffic("point", to, "-y")
    assert load.failed == []
    assert load.answers["blue-1"] > 10


@pytest.mark.parametrize("point, colour", [
    ("flip:created", "green"), ("flip:created-synced", "green"), ("flip:removed", "blue"), ("flip:done", "blue")])
def test_a_flip_killed_anywhere_is_one_side_or_the_other(host, point, colour):
    host.install()
    env = {**os.environ, "CHANGEOVER_FAULT": f"kill@{point}"}
    assert host.traffic("point", "blue", "-y", ok=False, env=env).returncode == -9
    assert host.get()[1] == f"{colour}-1"
    assert host.show()["flag"] == colour
    host.traffic("point", "blue", "-y")
    assert colour_of(*host.get()) == BLUE
    assert not (host.flags / "active-green").exists()


def test_without_a_readable_flag_503_that_recovers_without_a_reload(host):
    host.install()
    (host.flags / "active-green").unlink()
    status, body, headers = host.get()
    assert (status, headers["X-Changeover-Colour"], headers["Retry-After"]) == (503, "none", "1")
    assert str(host.flags) in body
    facts = host.show()
    assert (facts["flag"], facts["seen"]) == ("none", "none")
    (host.flags / "active-green").touch()
    assert colour_of(*host.get()) == GREEN


@pytest.mark.skipif(os.geteuid() != 0, reason="Caddy is our own user's: it may read all that we may")
def test_flags_that_caddy_may_not_see_are_found_by_behaviour(host):
    host.install()
    host.flags.chmod(0o700)
    assert host.get()[0] == 503
    facts = host.show()
    assert (facts["flag"], facts["seen"]) == ("green", "none") and "sees no flag" in facts["text"]
    done = host.traffic("point", "blue", "-y", ok=False)
    assert done.returncode == 1 and not (host.flags / "active-blue").exists()
    host.flags.chmod(0o755)
    assert colour_of(*host.get()) == GREEN


@pytest.mark.skipif(os.geteuid() != 0, reason="Caddy is our own user's: it may read all that we may")
def test_install_with_flags_that_caddy_may_not_see_is_undone(host):
    before = host.caddy.path.read_bytes()
    host.flags.parent.mkdir(mode=0o700)
    done = host.traffic("install", "--live", "green", "-y", ok=False)
    assert done.returncode == 1 and "chmod o+x" in done.stderr
    assert host.caddy.path.read_bytes() == before
    assert host.show()["installed"] is False


def test_preview_needs_a_healthy_colour_that_says_who_it_is(host):
    host.install()
    host.traffic("preview", "blue")
    host.blue.health = "behind"
    done = host.traffic("preview", "blue", ok=False)
    assert done.returncode == 1 and "behind" in done.stderr
    host.blue.health, host.blue.name = "ok", "green-1"
    done = host.traffic("preview", "blue", ok=False)
    assert done.returncode == 1 and "both colours answer 'green-1'" in done.stderr
    assert host.traffic("point", "blue", "-y", ok=False).returncode == 1
    assert host.get()[1] == "green-1" and host.show()["flag"] == "green"


def replace_in_block(host, old, new, count):
    """Points Caddy's running block elsewhere, behind the tool's back."""
    text = host.caddy.path.read_text()
    assert text.count(old) >= min(count, 2)
    host.caddy.path.write_text(text.replace(old, new, count))
    host.caddy.load(host.caddy.path.read_text())


def test_the_proof_fails_when_both_colours_point_at_one_port(host):
    host.install()
    # the front's handler of blue dials green; the previews are right
    replace_in_block(host, f"127.0.0.1:{host.blue.port}", f"127.0.0.1:{host.green.port}", 1)
    host.traffic("preview", "blue")
    done = host.traffic("point", "blue", "-y", ok=False)
    assert done.returncode == 3, done.stderr
    assert "was answered by 'green-1', not by blue ('blue-1')" in done.stderr
    assert "traffic point green" in done.stderr


def test_the_proof_fails_when_the_previews_do_too(host):
    host.install()
    replace_in_block(host, f"127.0.0.1:{host.blue.port}", f"127.0.0.1:{host.green.port}", 99)
    done = host.traffic("preview", "blue", ok=False)
    assert done.returncode == 1 and "reaches something else" in done.stderr
    host.flags.joinpath("active-blue").touch()
    host.flags.joinpath("active-green").unlink()
    done = host.traffic("verify", "blue", ok=False)
    assert done.returncode == 1 and "not proven" in done.stderr


def test_the_proof_fails_while_caddy_still_sends_requests_to_the_old_colour(host):
    """By a handler that does not obey the flags: the kernel's counters show it."""
    host.install()
    extra = host.caddy.path.read_text() + \
        f"http://127.0.0.1:{host.other + 20} {{\n\treverse_proxy 127.0.0.1:{host.green.port}\n}}\n"
    host.caddy.load(extra)
    with Load(host.other + 20, threads=4):
        done = host.traffic("point", "blue", "-y", ok=False)
    assert done.returncode == 3 and "still sends requests to green" in done.stderr, done.stderr


def test_without_identify_there_is_no_proof(host):
    host.write_spec("  identify: {}\n")
    host.traffic("install", "--live", "green", "-y", ok=False)
    done = host.traffic("preview", "blue", ok=False)
    assert done.returncode == 2 and "traffic.identify" in done.stderr


def colours(facts):
    return {row["colour"]: row for row in facts["colours"]}


def test_drain_tells_requests_websockets_and_direct_clients(host):
    host.write_spec("  websockets: same_port\n")
    host.install()
    host.green.slow = 3.0
    threads = [threading.Thread(target=host.get, args=("/slow",), kwargs={"timeout": 10}) for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for t in threads:
            t.start()
        for _ in range(2):
            stack.enter_context(host.websocket())
        direct = stack.enter_context(socket.create_connection(("127.0.0.1", host.green.port)))
        wait_for(lambda: host.green.in_flight == 3 and host.green.websockets == 2, "all in flight")
        row = colours(host.show())["green"]
        assert (row["requests"], row["websockets"], row["direct"]) == (3, 2, 1), row
        assert f"127.0.0.1:{direct.getsockname()[1]}" in row["peers"] and f"pid {os.getpid()}" in row["peers"]
        host.write_spec("  websockets: same_port\n  ignore_peers: [127.0.0.1]\n")
        assert colours(host.show())["green"]["direct"] == 0
        for t in threads:
            t.join()
        row = colours(host.show())["green"]
        assert (row["requests"], row["websockets"]) == (0, 2), row
    wait_for(lambda: colours(host.show())["green"]["websockets"] == 0, "websockets gone")
    assert colours(host.show())["blue"]["requests"] == 0


def test_requests_of_the_last_seconds_are_counted_by_colour(host):
    log = host.caddy.home / "access.log"
    host.write_spec(f"  access_log: {log}\n")
    host.install()
    for _ in range(7):
        host.get()
    host.traffic("point", "blue", "-y")         # its proof sends 20
    for _ in range(5):
        host.get()
    for f in ("active-blue",):
        (host.flags / f).unlink()
    host.get()
    (host.flags / "active-blue").touch()

    def counted():
        facts = host.show("--last", "60s")
        c = colours(facts)
        return (c["green"]["answered"], c["blue"]["answered"], facts["last"]["no_flag"]) == (7, 25, 1) and facts
    wait_for(counted, "7 green, 25 blue, 1 none", timeout=5)
    text = host.traffic("show", "--last", "60s").stdout
    assert "last 60s: 7 to green, 25 to blue, 1 without a flag (503), 1 of all failed" in text


def test_tls_site_with_failover_and_options_of_the_file(host):
    """The file has a global block with a log of its own; the site is served with TLS."""
    text = host.caddy.path.read_text().replace("{\n", "{\n\tauto_https disable_redirects\n\tskip_install_trust\n", 1)
    host.caddy.path.write_text(text)
    host.caddy.load(text)
    spec = host.spec_path
    host.write_spec("  failover: true\n  tls: internal\n")
    spec.write_text(spec.read_text().replace(f'site: ":{host.front}"', f'site: "https://localhost:{host.front}"'))
    done = host.install()
    assert "health_checker.active" in done.stdout

    def curl(*more):
        return subprocess.run(["curl", "-sk", *more, f"https://localhost:{host.front}/"], text=True,
                              capture_output=True, timeout=10).stdout

    wait_for(curl, "Caddy's own certificate")
    assert (curl("--http1.1"), curl("--http2")) == ("green-1", "green-1")
    host.traffic("point", "blue", "-y")
    assert curl() == "blue-1"
    (host.flags / "failover").touch()
    host.blue.stop()
    wait_for(lambda: curl() == "green-1", "failover to green")


@pytest.mark.parametrize("golden", sorted((pathlib.Path(__file__).parents[1] / "golden/caddy").glob("*.caddyfile")),
                         ids=lambda p: p.stem)
def test_every_golden_block_is_read_by_its_caddy(golden):
    found = dict(binaries())
    new = not golden.stem.endswith("-2.6.2")
    binary = found["new" if new else "debian"]()
    done = subprocess.run([binary, "adapt", "--config", golden, "--adapter", "caddyfile"], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr


# --- traffic.retry: what is sent twice is counted -------------------------------------------------

def call(method, **more):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, **more})


GETS, SLOT, WRITE = ("GET", None), ("POST", call("getSlot")), ("POST", call("sendTransaction", params=["x"]))
NOT_ONE_LISTED_CALL = [
    ("POST", f"[{call('getSlot')},{call('sendTransaction')}]"),
    ("POST", call("sendTransaction", params=[{"method": "getSlot"}])),
    ("POST", '{"\\u006dethod":"sendTransaction","params":[{"method":"getSlot"}]}'),
    ("POST", call("getSlot", params=["x" * 100000])),
    ("PUT", call("getSlot")),
]


def cut_once(host, method, body):
    """(status that the client saw, how often the backend has executed it) when its connection is cut in mid request."""
    host.green.close_connections()
    wait_for(lambda: not host.green.connections, "Caddy's kept connections to be gone")
    host.green.executed.clear()
    host.green.cut = 1
    status = host.get(method=method, body=body, timeout=15)[0]
    host.green.cut = 0
    return status, len(host.green.executed)


def refused_at_first(host, method, body):
    """The same when nobody listens until the request has waited for a while."""
    port, answer = host.green.port, []
    host.green.stop()
    asking = threading.Thread(target=lambda: answer.append(host.get(method=method, body=body, timeout=15)[0]))
    asking.start()
    asking.join(0.5)
    with Backend(port, "green-1") as green:
        asking.join()
        executed = len(green.executed)
    host.green = Backend(port, "green-1")
    host.green.__enter__()
    return answer[0], executed


LOST, TWICE, ONCE = (502, 1), (200, 2), (200, 1)


def new_caddy(host):
    return not host.show()["version"].startswith("2.6.")


def test_without_retry_nothing_is_sent_twice(host):
    host.install()
    for request in (GETS, SLOT, WRITE):
        assert cut_once(host, *request) == LOST, request
        assert refused_at_first(host, *request) == (502, 0), request


def test_safe_methods_are_tried_again_and_no_post_runs_twice(host):
    host.write_spec("  retry: safe-methods\n")
    host.install()
    assert cut_once(host, *GETS) == TWICE
    for request in (SLOT, WRITE, ("PUT", "x"), ("DELETE", None)):
        assert cut_once(host, *request) == LOST, request
    assert refused_at_first(host, *GETS) == ONCE
    # what was not sent may be sent: only newer ones still have its body by then
    assert refused_at_first(host, *WRITE) == (ONCE if new_caddy(host) else (502, 0))


def test_only_listed_methods_run_twice(host):
    host.write_spec("  retry: listed\n  retry_methods: [getSlot, getBlock]\n")
    if not new_caddy(host):
        refused = host.traffic("install", "--live", "green", "-y", ok=False)
        assert refused.returncode != 0 and "retry: safe-methods" in refused.stderr
        return
    host.install()
    for request in (GETS, SLOT, ("POST", call("getBlock", params=[7]))):
        assert cut_once(host, *request) == TWICE, request
    for request in (WRITE, *NOT_ONE_LISTED_CALL):
        assert cut_once(host, *request) == LOST, request
    for request in (GETS, SLOT, WRITE):
        assert refused_at_first(host, *request) == ONCE, request
    # what arrives is what was sent
    host.green.executed.clear()
    assert host.get(method="POST", body=SLOT[1])[0] == 200 and host.green.executed == [("POST", SLOT[1])]
