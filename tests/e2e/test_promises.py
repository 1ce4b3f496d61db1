"""What is promised about writes and about silence, tried as a user would."""
import os
import pathlib
import signal
import subprocess
import time

from lib.service import TOOL, Service
from lib.waiting import wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SLOW = 20  # seconds of grace for a busy machine, where a deadline is not what is tested


def start(**spec):
    service = Service(spec=spec)
    try:
        bad = {"command": {"command": ["/usr/bin/test", "!", "-e", f"{service.dir}/bad"]}}
        service.spec["gate"]["checks"].append(bad)
        service.write_spec()
        return service.start()
    except BaseException:
        service.close()
        raise


def guards(service):
    return [pid for pid, argv in service.processes() if " guard " in argv]


def fail_the_bake(service, *args, expect):
    """promote, with the new colour turning bad right after the flip; writes meanwhile. Its output, and the writes."""
    promote = subprocess.Popen(service.argv("promote", *args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    wait_for(lambda: service.flags() == ["active-blue"], "the flip", SLOW)
    written = [service.rpc("sendTransaction", f"after-the-flip-{i}") for i in range(20)]
    (service.dir / "bad").touch()
    out, err = promote.communicate(timeout=60)
    assert promote.returncode == expect, (promote.returncode, out, err)
    return err, written


def test_a_failing_bake_does_not_flip_back_over_writes():
    with start(writes="both", bake="10s") as service:
        service.run("prepare", "-t", "2.0.0")
        refused = service.run("promote", "--confirm-within", "1m", expect=2)
        assert "--accept-loss" in refused.stderr and service.flags() == ["active-green"]
        said, written = fail_the_bake(service, expect=3)
        assert "changeover promote" in said and "changeover rollback --accept-loss" in said, said
        assert service.flags() == ["active-blue"] and service.live() == "blue"
        assert all(service.rpc("getTransaction", w) for w in written)
        refused = service.run("rollback", expect=2).stderr
        assert "loses writes" in refused and "blue" in refused, refused
        assert service.flags() == ["active-blue"]
        (service.dir / "bad").unlink()
        service.change_spec({"bake": "300ms"})  # counts from the next prepare: the bake stays as long
        going = subprocess.Popen(service.argv("promote"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        assert going.wait(90) == 0
        assert service.state() == "promoted"
        assert all(service.rpc("getTransaction", w) for w in written)


def test_a_failing_bake_flips_back_where_the_loss_is_accepted():
    with start(writes="both", bake="10s") as service:
        service.run("prepare", "-t", "2.0.0")
        fail = subprocess.Popen(service.argv("promote", "--accept-loss"), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: service.flags() == ["active-blue"], "the flip", SLOW)
        # bad for blue only: green must pass the gate before it gets the traffic back
        os.kill(service.pid("blue"), signal.SIGKILL)
        said = fail.communicate(timeout=90)[1]
        assert fail.returncode == 1, said
        assert service.flags() == ["active-green"] and service.state() == "rolled-back", said
        assert service.identity() == "green"


def test_writes_of_clients_flip_plainly_only_where_the_loss_is_accepted():
    """Without --accept-loss requests wait: test_hold.py."""
    with start(writes="client") as service:
        service.run("prepare", "-t", "2.0.0")
        lost = service.rpc("sendTransaction", "after-the-clone")
        said = service.run("promote", "--accept-loss").stderr
        assert "hold" not in said and "promote/flip" in said, said
        assert service.flags() == ["active-blue"] and service.rpc("getTransaction", lost) is None
        service.run("cleanup", "-y")


def test_silence_rolls_back_although_the_guards_were_killed():
    with start() as service:
        service.run("prepare", "-t", "2.0.0")
        service.run("promote", "--confirm-within", "30s")     # all three go before that, also on a busy machine
        end = time.monotonic() + 30
        assert "silence rolls it back" in service.run("lock", "--reason", "mine", expect=5).stderr
        for _ in range(3):  # each in turn, as soon as both watch: one that was just forked for the other's place does not yet
            victim = wait_for(lambda: service.status()["guard"] == "lives" and guards(service), "two guards", SLOW)[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: victim not in guards(service), "its end", SLOW)
        assert service.flags() == ["active-blue"] or time.monotonic() > end
        wait_for(lambda: service.flags() == ["active-green"], "the rollback", max(end - time.monotonic(), 0) + SLOW)
        wait_for(lambda: service.state() == "rolled-back", "the rollback's end", SLOW)
        assert service.identity() == "green"


def test_silence_after_all_guards_died_is_kept_by_the_next_command():
    with start() as service:
        service.run("prepare", "-t", "2.0.0")
        service.run("promote", "--confirm-within", "2s")
        for _ in range(50):
            for pid in guards(service):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not guards(service):
                break
        assert "DEAD" in service.status()["guard"]
        service.run("resume")  # whatever command comes next starts them anew
        wait_for(lambda: service.state() == "rolled-back", "the rollback", SLOW + 2)
        assert service.flags() == ["active-green"]


def test_the_scripts_of_the_first_user():
    with start() as service:
        env = {**os.environ, "CHANGEOVER": str(TOOL), "CHANGEOVER_SPEC": str(service.spec_path),
               "CHANGEOVER_STATE_DIR": str(service.dir / "state")}

        def script(name, *args):
            done = subprocess.run([ROOT / f"scripts/blue-green-{name}.sh", *args], env=env, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr

        script("prepare", "--target-version", "2.0.0")
        script("promote")
        assert service.identity() == "blue"
        script("rollback")
        assert service.identity() == "green" and service.state() == "rolled-back"
