"""The proxy is killed (SIGKILL) and started again while requests wait in it: each write that a client was told of is there, once, every
request that went down with it is reported to its client, and the upgrade goes on, or back."""
import pytest

from lib.caddy import each_caddy
from lib.load import Load
from lib.service import Service
from lib.stopped import SLOW, Stopped
from lib.waiting import wait_for
from lib.writers import Writers

CLIENTS = 16


def make(binary, **spec):
    """The service with this Caddy, started. A file bad-COLOUR makes that colour fail its gate."""
    service = Service({"freeze": {"max": "60s"}, **spec}, caddy=binary())
    try:
        service.may_be_bad()
        return service.start()
    except BaseException:
        service.close()
        raise


def restart(service):
    service.caddy.kill()
    service.caddy.start()


def account_of(load):
    """Of an open-loop client: each request has ended as exactly one thing, and none is lost but those that a killed proxy had or
    refused, and the few that one just started, which takes its upstreams for healthy, answers itself with 503."""
    found = load.stop()
    out = found["outcomes"]
    assert found["sent"] == sum(out.values()) and found["in_flight"] == 0, found
    told = [f for f in found["failures"] if f["outcome"] == "bad"]
    assert found["lost"] == out["reset"] + out["refused"] + out["bad"], found["failures"][:5]
    assert all("503" in f["detail"] for f in told) and out["bad"] <= 20, told[:5]
    assert found["duplicate_answers"] == 0
    return found


HOLD = {"writes": "client", "traffic": {"hold": {"max": "5m"}}}


@each_caddy
@pytest.mark.parametrize("point", ["hold/hold:done", "hold/flip:done", "hold/clone:done", "hold/gate:done", "hold/release:done"])
def test_in_the_hold_the_upgrade_goes_on(binary, point):
    with make(binary, **HOLD) as service, Writers(service, CLIENTS) as writers:
        service.run("prepare", "-t", "2.0.0")
        # more patient than any pause here: what is lost is lost by the kill
        with Load(service, rate=100, args=["--timeout", "120s"]) as load, Stopped(service, point, "promote") as tool:
            waits = point not in ("hold/hold:done", "hold/release:done")
            if waits:
                told = len(writers.told)
                wait_for(lambda: holding(service, writers), "every client to wait", SLOW)
                assert len(writers.told) - told <= CLIENTS
            failed = len(writers.failed)
            restart(service)
            if waits:   # each of them had one request there, and is told that it is lost
                wait_for(lambda: len(writers.failed) >= failed + CLIENTS, "every client to be told", SLOW)
            killed = len(writers.failed) - failed
            tool.go_on()
            writers.on()
            found = account_of(load)
        assert (service.state(), service.identity()) == ("promoted", "blue")
        assert {p.name for p in service.flag_dir.glob("hold-*")} | {p.name for p in service.flag_dir.glob("open-*")} == set()
        print(f"{point}: {killed} requests of {CLIENTS} writers, and {found['lost']} of {found['sent']} of the load lost: "
              f"{found['outcomes']}")
        assert found["outcomes"]["reset"] > 0 or not waits
        assert all("timed out" not in why and "Timeout" not in why for _, why in writers.failed), writers.failed[:5]
        writers.account("blue", failed=len(writers.failed))


def holding(service, writers):
    """Nobody has been told anything for a while: all wait."""
    told = len(writers.told)
    try:
        wait_for(lambda: len(writers.told) > told, "a write", 1)
    except AssertionError:
        return True
    return False


@each_caddy
def test_in_the_hold_and_then_it_goes_back(binary):
    with make(binary, **HOLD) as service, Writers(service, CLIENTS) as writers:
        service.run("prepare", "-t", "2.0.0")
        with Stopped(service, "hold/start:done", "promote") as tool:
            wait_for(lambda: holding(service, writers), "every client to wait", SLOW)
            for n in range(1, 6):   # until its first check a Caddy takes everybody for healthy: blue listens, and must get nothing
                failed = len(writers.failed)
                restart(service)
                wait_for(lambda: len(writers.failed) >= failed + CLIENTS, f"every client to be told, {n}", SLOW)
                wait_for(lambda: holding(service, writers), "every client to wait again", SLOW)
            (service.dir / "bad-blue").touch()
            service.change_spec({"traffic": {"hold": {"max": "5m"}}})
            tool.process.send_signal(2)     # by hand: the gate would be waited for
            said = tool.go_on(expect=3)
        assert "changeover rollback (goes back)" in said, said
        service.run("rollback")
        assert (service.state(), service.live(), service.identity()) == ("rolled-back", "green", "green")
        writers.on()
        assert "sendTransaction" not in (service.dir / "requests-blue.log").read_text()
        writers.account("green", failed=len(writers.failed))


@each_caddy
def test_while_what_waits_is_handed_back(binary):
    with make(binary, **HOLD) as service, Writers(service, CLIENTS) as writers:
        service.run("prepare", "-t", "2.0.0")
        env = {"CHANGEOVER_FAULT": f"kill@hold/gate:intended@{service.dir}/fault"}
        service.run("promote", expect=-9, env=env)
        wait_for(lambda: holding(service, writers), "every client to wait", SLOW)
        with Stopped(service, "back:listens", "rollback") as tool:
            restart(service)
            wait_for(lambda: len(writers.failed) >= 1, "a client to be told", SLOW)
            tool.go_on()
        assert (service.state(), service.identity()) == ("rolled-back", "green")
        writers.on()
        assert "sendTransaction" not in (service.dir / "requests-blue.log").read_text()
        writers.account("green", failed=len(writers.failed))
