"""What happens to the proxy while it stands between two colours: it dies, is reloaded, is written to by somebody else, live is
ill or gone. With each Caddy that there is, as a user of its own; no row may reach a colour that the flags do not name."""
import json
import os
import signal
import subprocess
import time

import pytest

from lib import rpcnode
from lib.caddy import each_caddy
from lib.proxied import BLUE, GREEN, Load, colour_of
from lib.service import Service
from lib.waiting import wait_for
from lib.ws import WsClient, WsError


def answer(host):
    """(status, body, colour), or None while nobody listens."""
    try:
        return colour_of(*host.get())
    except OSError:
        return None


def restarted(host):
    host.caddy.kill()
    host.caddy.start()


def loads(host):
    """How often this Caddy has taken a configuration."""
    return sum('"load complete"' in line or "autosaved config" in line for line in host.caddy.log().splitlines())


@pytest.mark.parametrize("point, colour", [
    ("flip:created", "green"), ("flip:created-synced", "green"), ("flip:removed", "blue"), ("flip:done", "blue")])
def test_caddy_and_tool_killed_in_the_flip(host, point, colour):
    """Both at once, between any two operations: the restarted Caddy serves what the flags say, never the other one."""
    host.install()
    env = {**os.environ, "CHANGEOVER_FAULT": f"kill@{point}"}
    assert host.traffic("point", "blue", "-y", ok=False, env=env).returncode == -signal.SIGKILL
    restarted(host)
    before = {"green": host.green.requests, "blue": host.blue.requests}
    want = GREEN if colour == "green" else BLUE
    assert {answer(host) for _ in range(20)} == {want}
    other = "blue" if colour == "green" else "green"
    assert getattr(host, other).requests == before[other]
    host.traffic("point", "blue", "-y")
    assert answer(host) == BLUE


def test_caddy_killed_while_the_tool_is_in_its_flip(host):
    """The flag is moved, nobody can prove it: 3 and the next command; with Caddy back that command ends it."""
    host.install()
    env = {**os.environ, "CHANGEOVER_FAULT": "stop@flip:removed"}
    argv = [rpcnode.BUILD / "src" / "changeover", "traffic", "point", "blue", "-y", "-f", host.spec_path, "--state-dir", host.tmp / "state"]
    tool = subprocess.Popen(list(map(str, argv)), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: not (host.flags / "active-green").exists(), "the flag to move")
        host.caddy.kill()
        tool.send_signal(signal.SIGCONT)
        said = tool.communicate(timeout=60)[1]
    finally:
        tool.kill()
        tool.wait()
    assert tool.returncode == 3 and "changeover " in said, said
    host.caddy.start()
    assert answer(host) == BLUE
    host.traffic("point", "blue", "-y")
    assert answer(host) == BLUE


def test_what_a_killed_caddy_costs_is_a_moment_and_never_another_colour(host):
    host.install()
    host.traffic("point", "blue", "-y")
    green = host.green.requests
    with Load(host.front, threads=4) as load:
        wait_for(lambda: load.answers.get("blue-1", 0) > 50, "answers")
        restarted(host)
        counted = load.answers["blue-1"]
        wait_for(lambda: load.answers["blue-1"] > counted + 50, "answers of the restarted one")
    assert load.failed, "a killed proxy loses what it has in its hands"
    assert all(isinstance(f, str) for f in load.failed), "broken connections, and no bad answer"
    assert set(load.answers) == {"blue-1"} and host.green.requests == green


def test_a_reload_of_the_unchanged_file_moves_nothing(host):
    """An admin's own `caddy reload`: the flags decide afterwards as before. A forced one drops websockets on 2.6, not on 2.11."""
    host.write_spec("  websockets: same_port\n")
    host.install()
    host.traffic("point", "blue", "-y")
    with host.websocket():
        wait_for(lambda: host.blue.websockets == 1, "the websocket")
        for force in (False, True, True):
            before = host.blue.websockets
            host.caddy.load(host.caddy.path.read_text(), force)
            assert {answer(host) for _ in range(10)} == {BLUE}
            if not force or host.caddy_name == "new":
                assert host.blue.websockets == before
            else:
                wait_for(lambda: host.blue.websockets == 0, "2.6 to drop it")
    assert host.show()["flag"] == "blue"


def test_a_flip_never_reloads(host):
    host.install()
    seen = loads(host)
    assert seen > 0
    for colour in ("blue", "green"):
        host.traffic("preview", colour)
        host.traffic("point", colour, "-y")
    assert loads(host) == seen


def test_a_second_writer_of_the_admin_interface(host):
    """What others add while the block is in place stays, and the flip goes on beside it; what they take away is found."""
    host.install()
    theirs = {"listen": [f"127.0.0.1:{host.other + 20}"],
              "routes": [{"handle": [{"handler": "static_response", "body": "theirs"}]}]}
    status, words = host.caddy.request("PUT", "/config/apps/http/servers/theirs", json.dumps(theirs),
                                       {"Content-Type": "application/json"})
    assert status == 200, words
    with Load(host.front, threads=4) as load:
        host.traffic("point", "blue", "-y")
    assert not load.failed and answer(host) == BLUE
    assert host.get(port=host.other + 20)[1] == "theirs"
    # one that puts a whole configuration in place of ours: nothing is flipped into the void, nothing of theirs overwritten
    host.caddy.load("{\n\tadmin %s\n}\nhttp://127.0.0.1:%d {\n\trespond \"theirs\"\n}\n" % (host.caddy.admin, host.other))
    done = host.traffic("point", "green", "-y", ok=False)
    assert done.returncode == 1 and "caddy" in done.stderr.lower(), done.stderr
    assert not (host.flags / "active-green").exists()
    assert host.get(port=host.other)[1] == "theirs"


def test_both_flags_are_green_and_a_flip_to_blue_mends_it(host):
    host.install()
    (host.flags / "active-blue").touch()
    assert answer(host) == GREEN
    assert host.show()["flag"] == "green"
    host.traffic("point", "blue", "-y")
    assert answer(host) == BLUE and not (host.flags / "active-green").exists()


def test_flags_of_another_service_say_nothing_here(host):
    host.install()
    theirs = host.flags.parent / "elsewhere"
    theirs.mkdir()
    for flag in ("active-blue", "hold", "hold-blue", "open-blue", "failover"):
        (theirs / flag).touch()
    # and a stale one in ours that this block knows nothing of
    (host.flags / "failover").touch()
    assert {answer(host) for _ in range(10)} == {GREEN}
    host.traffic("point", "blue", "-y")
    (theirs / "active-green").touch()
    assert {answer(host) for _ in range(10)} == {BLUE}


@pytest.mark.skipif(os.geteuid() != 0, reason="Caddy is our own user's: it may read all that we may")
def test_a_flag_directory_that_cannot_be_written_changes_nothing(host):
    """Root may write anywhere but where a file system is read-only: so it is made one."""
    host.install()
    subprocess.run(["mount", "--bind", host.flags, host.flags], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", host.flags], check=True)
        done = host.traffic("point", "blue", "-y", ok=False)
        assert done.returncode == 1 and str(host.flags) in done.stderr, done.stderr
        assert answer(host) == GREEN
    finally:
        subprocess.run(["umount", host.flags], check=True)
    host.traffic("point", "blue", "-y")
    assert answer(host) == BLUE


@pytest.mark.parametrize("unhealthy, status", [("serve", 200), ("fail", 503)])
def test_a_blip_of_live_reaches_no_other_colour(host, unhealthy, status):
    """The other one is up, healthy and being prepared; whatever live says of itself, nothing is sent there."""
    host.write_spec(f"  when_unhealthy: {unhealthy}\n")
    host.install()
    before = host.blue.requests
    with Load(host.front, threads=2) as load:
        wait_for(lambda: load.answers.get("green-1", 0) > 20, "answers")
        host.green.health = "behind"
        checks = host.green.checks
        if unhealthy == "fail":
            wait_for(lambda: host.green.checks >= checks + 2 and (answer(host) or (0,))[0] == status, "Caddy to see it", 10)
        else:
            counted = load.answers["green-1"]
            wait_for(lambda: load.answers["green-1"] > counted + 200, "answers as before")
        host.green.health = "ok"
        wait_for(lambda: answer(host) == GREEN, "live to be served again", 10)
    assert host.blue.requests == before and set(load.answers) == {"green-1"}
    assert {s for s, _ in load.failed} <= ({503} if unhealthy == "fail" else set())


def test_without_failover_a_live_that_dies_is_502_and_no_other_colour(host):
    host.install()
    before = host.blue.requests
    host.green.stop()
    assert {answer(host)[0] for _ in range(20)} == {502}
    assert host.blue.requests == before


@each_caddy
def test_websockets_by_the_health_of_the_other_port(binary):
    """They have a port of their own, which has no /health: Caddy asks the colour's RPC port for it (health_port)."""
    with Service({"traffic": {"when_unhealthy": "fail"}}, caddy=binary()) as service:
        service.start()

        def opens():
            try:
                WsClient(service.front_port).sock.close()
                return True
            except (WsError, OSError, EOFError):
                return False
        wait_for(opens, "a websocket through the proxy", 10)
        service.fault("green", "behind")
        wait_for(lambda: not opens(), "no websocket to a colour that is behind", 10)
        service.fault("green", "none")
        wait_for(opens, "websockets again", 10)
        end = time.monotonic() + 1.5    # three rounds of Caddy's checks
        while time.monotonic() < end:
            assert opens()
