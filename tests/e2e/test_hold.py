"""A service of which only one may write (writes: client): requests wait while the old side is stopped and cloned, and whatever
becomes of the new one, each write that a client was told of is there afterwards, once."""
import os
import pathlib
import re
import signal
import subprocess
import time

from lib.caddy import each_caddy
from lib.service import Service
from lib.waiting import wait_for
from lib.writers import Writers

SLOW = 60


def make(binary=None, hold="60s", **spec):
    """The service, not started. A file bad-COLOUR makes that colour fail its gate."""
    service = Service({"writes": "client", "freeze": {"max": "60s"}, **spec}, caddy=binary and binary())
    try:
        service.may_be_bad()
        service.change_spec({"traffic": {"hold": {"max": hold}}})
        return service
    except BaseException:
        service.close()
        raise


def left(service):
    """What a finished upgrade leaves in the flag directory beside the live flag."""
    return {p.name for p in service.flag_dir.iterdir()} - {"README", "lock", "owner"}


@each_caddy
def test_every_acknowledged_write_is_there_after_an_upgrade(binary):
    with make(binary) as service:
        service.start()
        with Writers(service) as writers:
            plan = service.run("plan", "-t", "2.0.0").stdout
            assert "requests wait, at most 1 m" in plan and "release" in plan, plan
            for version, old, new in (("2.0.0", "green", "blue"), ("3.0.0", "blue", "green")):
                service.run("prepare", "-t", version)
                said = service.run("promote").stderr
                assert "requests waited for" in said, said
                assert (service.live(), service.identity()) == (new, new)
                assert left(service) == {f"active-{new}"}
                assert service.pid(old) == 0
                writers.on()
                refused = service.run("rollback", expect=2).stderr
                assert "loses writes" in refused and f"in {new}'s volumes only" in refused, refused
                service.run("cleanup", "-y")
            total = writers.account("green")
            assert total > 500


@each_caddy
def test_a_new_colour_that_never_passes_gives_every_request_back(binary):
    with make(binary, hold="8s") as service:
        service.start()
        with Writers(service) as writers:
            service.run("prepare", "-t", "2.0.0")
            promote = subprocess.Popen(service.argv("promote"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            wait_for(lambda: service.flags() == ["active-blue"], "the flip", SLOW)
            (service.dir / "bad-blue").touch()
            said = promote.communicate(timeout=SLOW)[1]
            assert promote.returncode == 1, said
            assert "gate 'command' of blue" in said and "went back to green, no write was lost" in said, said
            assert (service.state(), service.live(), service.identity()) == ("rolled-back", "green", "green")
            assert left(service) == {"active-green"}
            writers.on()
            # blue said `ok` all the while, and was not asked once
            asked = (service.dir / "requests-blue.log").read_text()
            assert "sendTransaction" not in asked
            writers.account("green")
            service.run("cleanup", "-y")


def test_what_would_take_too_long_is_refused_before_anybody_waits():
    with make(hold="1s") as service:
        service.change_spec({"gate": {"passes": 15}})
        service.start()
        with Writers(service) as writers:
            service.run("prepare", "-t", "2.0.0")
            done = service.run("promote", expect=1).stderr
            assert "requests would wait for about" in done and "traffic.hold.max allows 1 s" in done, done
            assert "--accept-loss" in done and "reflink" in done, done
            assert (service.state(), service.flags()) == ("prepared", ["active-green"])
            assert service.pid("blue") and left(service) == {"active-green"}
            writers.on()
            writers.account("green")


def test_only_the_rest_is_cloned_while_requests_wait():
    """All of it would take some 7 s, at the rate that the spec allows while others are at work: that time is before the hold."""
    with make(volumes={"ledger": {"rate_limit": "1MB"}}) as service:
        service.start()
        with (service.dir / "green/ledger/old").open("wb") as f:
            f.write(os.urandom(6_000_000))
        with Writers(service) as writers:
            service.run("prepare", "-t", "2.0.0")
            said = service.run("promote").stderr
            rest = re.search(r"hold/clone .*cloned in ([0-9.]+ [a-z]+) what changed after (\d+) passes \(the first [0-9.]+ s, ", said)
            assert rest and int(rest[2]) >= 2, said
            waited = re.search(r"requests waited for ([0-9.]+) s", said)
            assert waited and float(waited[1]) < 6, said
            assert (service.dir / "blue/ledger/old").read_bytes() == (service.dir / "green/ledger/old").read_bytes()
            writers.on()
            writers.account("blue")


def test_what_changes_too_fast_is_refused_before_anybody_waits():
    """Passes that stay longer than the hold may be: seen while green serves on."""
    with make(hold="2s") as service:
        service.start()
        with Writers(service) as writers:
            service.run("prepare", "-t", "2.0.0")
            env = {"CHANGEOVER_FAULT": f"stop@clone:pass@{service.dir}/fired"}
            promote = subprocess.Popen(service.argv("promote"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, env={**os.environ, **env})
            wait_for((service.dir / "fired").exists, "a pass before the hold", SLOW)
            began = time.monotonic()
            wait_for(lambda: time.monotonic() > began + 2.5, "the hold's time to pass", SLOW)
            promote.send_signal(signal.SIGCONT)
            said = promote.communicate(timeout=SLOW)[1]
            assert promote.returncode == 1 and "nobody has waited" in said and "went back to green" in said, said
            assert "hold-blue" not in said.split("rollback to green")[0].split("hold/ahead")[1], said
            assert (service.state(), service.live()) == ("rolled-back", "green")
            writers.on()
            writers.account("green")


def kill_at(service, point, *command):
    env = {**os.environ, "CHANGEOVER_FAULT": f"kill@{point}"}
    done = service.run(*command, expect=None, env=env)
    assert done.returncode == -signal.SIGKILL, (point, done.returncode, done.stderr)


def test_the_guard_goes_back_when_the_tool_was_killed():
    with make(hold="8s") as service:
        service.start()
        with Writers(service) as writers:
            service.run("prepare", "-t", "2.0.0")
            kill_at(service, "hold/clone:done", "promote")
            status = service.status()
            assert "requests for blue wait; back to green" in status["deadline"], status
            wait_for(lambda: service.state() == "rolled-back", "the guard to go back", SLOW)
            assert left(service) == {"active-green"} and service.identity() == "green"
            writers.on()
            writers.account("green")


def test_a_tool_that_slept_over_the_ceiling_goes_back():
    with make(hold="8s") as service:
        service.start()
        with Writers(service) as writers:
            service.run("prepare", "-t", "2.0.0")
            env = {**os.environ, "CHANGEOVER_FAULT": "stop@hold/stop:done"}
            promote = subprocess.Popen(service.argv("promote"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, env=env)
            wait_for(lambda: pathlib.Path(f"/proc/{promote.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T",
                     "the tool to stand still", SLOW)
            # it holds the lock: nobody else may go back meanwhile
            wait_for(lambda: service.status()["deadline"].endswith("now"), "the ceiling", SLOW)
            promote.send_signal(signal.SIGCONT)
            said = promote.communicate(timeout=SLOW)[1]
            assert promote.returncode == 1 and "went back to green" in said, said
            assert left(service) == {"active-green"} and service.identity() == "green"
            writers.on()
            writers.account("green")


def test_an_older_block_is_refused_before_anything_is_stopped():
    with make() as service:
        service.change_spec({"writes": "replayed"})
        service.start()
        service.change_spec({"writes": "client"})
        service.run("prepare", "-t", "2.0.0")
        said = service.run("promote", expect=1).stderr
        assert "changeover traffic install" in said, said
        assert service.state() == "prepared" and service.pid("blue")
        service.run("traffic", "install", "-y")
        service.run("promote")
        assert service.identity() == "blue"


def test_without_a_proxy_nobody_can_wait():
    with make() as service:
        service.change_spec({"traffic": {"driver": "none"}})
        service.make_green()
        service.run("start", "--version", "1.0.0")
        service.run("prepare", "-t", "2.0.0")
        said = service.run("promote", expect=1).stderr
        assert "no request can wait" in said and "--accept-loss" in said, said
        assert service.state() == "prepared"
