"""adopt: the first contact with a process that somebody started by hand, and with flips that somebody made by hand."""
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys

import pytest

from lib.caddy import unprivileged
from lib.prometheus import PromService
from lib.waiting import wait_for

CHECKS = [{"http": {"path": "/-/ready", "status": 200, "body": "Prometheus Server is Ready."}},
          {"version": {"path": "/api/v1/status/buildinfo", "field": "data.version"}}, {"ports": {}}]
QUICK = {"gate": {"passes": 2, "interval": "50ms", "checks": CHECKS}, "bake": "100ms"}


@pytest.fixture
def prom():
    with PromService(QUICK) as p:
        yield p


@pytest.fixture
def adopted(prom):
    prom.start_by_hand()
    prom.front()
    return prom


def by_hand(prom, colour):
    """Types what the README of the flag directory says: two commands, in its order."""
    text = (prom.flag_dir / "README").read_text()
    part = text.split(f"To send the traffic to {colour} by hand")[1]
    commands = re.findall(r"^    (\S.*)$", part, re.M)[:2]
    assert commands[0].startswith("install ") and commands[1].startswith("rm ")
    for command in commands:
        subprocess.run(["sh", "-ec", command], check=True, timeout=10)
    assert prom.flags() == [f"active-{colour}"]


CHANGING = [["prepare"], ["promote"], ["confirm"], ["rollback"], ["cleanup", "-y"], ["resume"], ["start"], ["stop", "-y"],
            ["forget", "-y"]]


def contradicted(prom, journal, flags):
    """Every command says so, and changes nothing."""
    before = prom.status()
    assert before["contradiction"] and before["live"] == journal and before["flags"] == flags
    assert prom.run("status", "-q", expect=3)
    for command in CHANGING:
        done = prom.run(*command, expect=3)
        assert f"the journal says that {journal} is live" in done.stderr, command
        assert f"say {flags}" in done.stderr and f"changeover adopt --live {flags}" in done.stderr, command
    after = prom.status()
    for key in ("state", "live", "flags", "upgrade"):
        assert after[key] == before[key]
    assert [c["pid"] for c in after["colours"]] == [c["pid"] for c in before["colours"]]


def answers(prom):
    """Which colour's process answers through the front."""
    start = prom.ask("status/runtimeinfo")["startTime"]
    for colour in ("green", "blue"):
        if prom.ready(colour) and prom.ask("status/runtimeinfo", colour)["startTime"] == start:
            return colour
    return None


# --- first contact ----------------------------------------------------------------------------------------------------

def test_a_running_process_is_adopted_as_it_is(prom):
    user = unprivileged()
    ids = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    if user:
        os.chown(prom.data["green"], user.pw_uid, user.pw_gid)
        prom.own_programs()
    prom.start_by_hand(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (777, 888)), umask=0o027, **ids)
    pid = prom.by_hand.pid
    started = prom.ask("status/runtimeinfo", "green")["startTime"]
    said = prom.run("adopt").stdout
    assert f"process {pid} is green's instance now; nothing about it was changed" in said
    assert "it can be started again by: cd" in said and "the spec differs" not in said
    record = json.loads((prom.dir / "state/prometheus/runtime/green/adopted.json").read_text())
    assert record["argv"] == prom.command("green")
    assert record["cwd"] == [str(prom.dir)] and "STARTED_BY=hand" in record["env"]
    assert record["uid"] == (user.pw_uid if user else os.getuid()) and record["umask"] == 0o027
    assert prom.pid("green") == pid and prom.ask("status/runtimeinfo", "green")["startTime"] == started
    assert json.loads((prom.data["green"] / ".changeover").read_text())["colour"] == "green"
    assert prom.flags() == ["active-green"] and prom.status()["version"].startswith("2.42")
    assert "adopted already" in prom.run("adopt", expect=1).stderr

    # started again by us it is the same, down to its limits
    prom.caddy.start()
    prom.run("traffic", "install", "-y")
    prom.run("stop", "-y")
    assert prom.by_hand.wait(10) == 0
    prom.run("start")
    again = pathlib.Path(f"/proc/{prom.pid('green')}")
    assert prom.pid("green") != pid
    assert again.joinpath("cmdline").read_bytes().decode().split("\0")[:-1] == prom.command("green")
    assert b"STARTED_BY=hand" in again.joinpath("environ").read_bytes().split(b"\0")
    assert os.readlink(again / "cwd") == str(prom.dir)
    assert re.search(r"Max core file size +777 +888 ", again.joinpath("limits").read_text())
    status = again.joinpath("status").read_text()
    assert re.search(r"^Umask:\t0027$", status, re.M)
    if user:
        assert re.search(rf"^Uid:\t{user.pw_uid}\t{user.pw_uid}\t", status, re.M)


def test_an_adopted_service_is_upgraded_and_its_process_is_gone(adopted):
    prom, pid = adopted, adopted.by_hand.pid
    prom.change_spec({"config": {"retention": "30d"}})
    prom.run("prepare")
    assert prom.pid("green") == pid and answers(prom) == "green"
    prom.run("promote")
    assert prom.by_hand.wait(10) == 0 and answers(prom) == "blue"
    prom.run("cleanup", "-y")
    assert not prom.data["green"].exists() and prom.state() == "steady" and answers(prom) == "blue"
    assert [p for p, argv in prom.processes() if str(prom.data["green"]) in argv] == []


def test_what_cannot_be_adopted_says_why(prom, tmp_path):
    nobody = prom.run("adopt", expect=1).stderr
    assert f"port {prom.ports['green']['http']}" in nobody and "is it running" in nobody
    assert "nobody listens on port" in prom.run("adopt", "--version", "2.42.0", expect=1).stderr
    assert "--pid takes a process number" in prom.run("adopt", "--pid", "1x", expect=2).stderr
    assert "green or blue" in prom.run("adopt", "--live", "red", expect=2).stderr
    gone = subprocess.Popen(["true"])
    gone.wait()
    prom.start_by_hand()
    assert "no process" in prom.run("adopt", "--pid", gone.pid, expect=1).stderr
    # the flags are somebody's already: blue's
    prom.flag_dir.mkdir(exist_ok=True)
    (prom.flag_dir / "active-blue").touch()
    refused = prom.run("adopt", "--live", "green", expect=1).stderr
    assert "to blue, not to green" in refused and prom.flags() == ["active-blue"]
    (prom.flag_dir / "active-blue").unlink()
    assert prom.status()["live"] == "none"
    assert not (prom.data["green"] / ".changeover").exists()


def test_a_supervised_process_is_refused_by_name(prom, tmp_path):
    """A supervisor would start it again behind our back."""
    runsv = tmp_path / "runsv"
    runsv.write_text(f"#!{sys.executable}\nimport subprocess, sys\nsubprocess.run(sys.argv[1:])\n")
    runsv.chmod(0o755)
    prom.start_by_hand(command=[str(runsv), *prom.command("green")])
    refused = prom.run("adopt", expect=1).stderr
    assert "'runsv'" in refused and f"(process {prom.by_hand.pid})" in refused
    assert "changeover start --live green" in refused
    assert prom.ready("green") and prom.status()["live"] == "none" and prom.flags() == []
    assert not (prom.data["green"] / ".changeover").exists()


def test_forget_takes_the_marks_off_and_adopt_puts_them_on(adopted):
    prom, pid = adopted, adopted.by_hand.pid
    prom.run("forget", expect=2)        # nobody to ask
    assert prom.live() == "green"
    said = prom.run("forget", "-y").stdout
    assert "goes on running" in said
    assert not (prom.data["green"] / ".changeover").exists()
    assert prom.ready("green") and answers(prom) == "green" and prom.status()["live"] == "none"
    assert "nothing to forget" in prom.run("forget", "-y").stdout
    prom.run("adopt")
    assert prom.pid("green") == pid and prom.live() == "green"
    assert (prom.data["green"] / ".changeover").exists()


# --- flips by hand ----------------------------------------------------------------------------------------------------

def test_flipped_by_hand_while_prepared(adopted):
    prom = adopted
    prom.run("prepare")
    by_hand(prom, "blue")
    assert answers(prom) == "blue"
    contradicted(prom, "green", "blue")
    assert "say blue, not green" in prom.run("adopt", "--live", "green", "-y", expect=1).stderr
    assert "nobody" in prom.run("adopt", "--live", "blue", expect=2).stderr
    said = prom.run("adopt", "--live", "blue", "-y")
    assert "promoted" in said.stdout and "changeover cleanup" in said.stderr
    assert prom.by_hand.wait(10) == 0       # drained and stopped, as a promote does
    assert prom.live() == "blue" and prom.state() == "promoted" and answers(prom) == "blue"
    prom.run("cleanup", "-y")
    assert prom.state() == "steady" and not prom.data["green"].exists()
    assert not prom.status()["contradiction"]


def test_flipped_back_by_hand_while_promoted(adopted):
    prom = adopted
    prom.run("prepare")
    prom.run("promote")
    prom.by_hand.wait(10)
    by_hand(prom, "green")
    contradicted(prom, "blue", "green")
    refused = prom.run("adopt", "--live", "green", "-y", expect=1).stderr
    assert "does not run" in refused and "README" in refused
    assert prom.pid("blue") and prom.state() == "promoted"

    # whoever has no tool starts it by hand too: it is taken over
    prom.start_by_hand()
    said = prom.run("adopt", "--live", "green", "-y")
    assert "rolled-back" in said.stdout and "is in blue's volumes only" in said.stderr
    assert prom.pid("green") == prom.by_hand.pid and answers(prom) == "green"
    assert prom.state() == "rolled-back" and not prom.ready("blue")
    prom.run("cleanup", "-y")
    assert prom.state() == "steady" and prom.live() == "green" and not prom.data["blue"].exists()


def test_flipped_back_by_hand_while_it_waits_for_confirm(adopted):
    """The old side still runs: the new one is drained before it is stopped, and silence rolls nothing back later."""
    prom = adopted
    prom.run("prepare")
    prom.run("promote", "--confirm-within", "1h", "--accept-loss")
    assert prom.state() == "awaiting-confirm" and prom.status()["deadline"]
    by_hand(prom, "green")
    contradicted(prom, "blue", "green")
    said = prom.run("adopt", "--live", "green", "-y").stderr
    assert said.index("rollback/drain") < said.index("rollback/stop")
    assert prom.by_hand.poll() is None and prom.pid("green") == prom.by_hand.pid and answers(prom) == "green"
    assert prom.state() == "rolled-back" and not prom.status()["deadline"] and not prom.ready("blue")
    prom.run("cleanup", "-y")
    assert prom.state() == "steady" and prom.live() == "green"


def test_put_back_by_hand_nothing_has_happened(adopted):
    prom = adopted
    by_hand(prom, "blue")       # steady: there is no blue
    contradicted(prom, "green", "blue")
    assert "does not run" in prom.run("adopt", "--live", "blue", "-y", expect=1).stderr
    by_hand(prom, "green")
    assert not prom.status()["contradiction"]
    assert "agree" in prom.run("adopt", "--live", "green", "-y").stdout
    prom.run("prepare")
    assert "agree" in prom.run("adopt", "--live", "green", "-y").stdout
    assert prom.state() == "prepared" and prom.ready("blue")
    prom.run("promote")
    by_hand(prom, "green")
    by_hand(prom, "blue")
    assert answers(prom) == "blue"
    prom.run("cleanup", "-y")
    assert prom.live() == "blue"


# --- locks ------------------------------------------------------------------------------------------------------------

def test_a_lock_is_refused_by_everybody_until_it_is_released(adopted):
    prom = adopted
    assert "needs a reason" in prom.run("lock", expect=2).stderr
    prom.run("lock", "--reason", "the disk is being swapped")
    assert "the disk is being swapped" in prom.status()["lock"]
    for command in [["prepare"], ["stop", "-y"], ["forget", "-y"], ["with-lock", "--", "true"], ["adopt"]]:
        refused = prom.run(*command, expect=5).stderr
        assert "the disk is being swapped" in refused and "changeover lock --release" in refused, command
    prom.run("lock", "--release")
    prom.run("prepare")
    prom.run("lock", "--reason", "again")
    for command in [["prepare"], ["promote"], ["rollback"], ["resume"], ["cleanup", "-y"]]:
        prom.run(*command, expect=5)
    assert prom.state() == "prepared" and prom.ready("blue")


def test_with_lock_keeps_others_off_while_a_program_runs(adopted, tmp_path):
    prom = adopted
    assert prom.run("with-lock", "--", "sh", "-c", "echo it ran; exit 7", expect=7).stdout == "it ran\n"
    go = tmp_path / "go"
    os.mkfifo(go)
    holder = subprocess.Popen(prom.argv("with-lock", "--reason", "a backup", "--", "cat", go), stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: "a backup" in prom.status()["lock"], "the lock is taken")
        for command in [["prepare"], ["with-lock", "--", "touch", tmp_path / "second"]]:
            refused = prom.run(*command, expect=5).stderr
            assert "a backup" in refused and f"pid {holder.pid}" in refused, command
        assert not (tmp_path / "second").exists() and prom.state() == "steady"
    finally:
        go.write_text("go on")
        assert holder.wait(10) == 0
    prom.run("prepare")
    refused = prom.run("with-lock", "--", "touch", tmp_path / "open", expect=5).stderr
    assert "was not run" in refused and not (tmp_path / "open").exists()
    prom.run("with-lock", "--even-if-open", "--", "touch", tmp_path / "open")
    assert (tmp_path / "open").exists()


def test_a_second_run_at_the_same_time_is_refused(adopted, tmp_path):
    prom = adopted
    go = tmp_path / "go"
    os.mkfifo(go)
    prom.change_spec({"hooks": {"after_clone": ["/bin/cat", str(go)]}})
    first = subprocess.Popen(prom.argv("prepare"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: prom.state() == "preparing", "the first run is at work")
        wait_for(lambda: (prom.data["blue"] / ".changeover").exists(), "the clone is there")
        for command in [["prepare"], ["rollback"], ["cleanup", "-y"], ["adopt", "--live", "green", "-y"]]:
            refused = prom.run(*command, expect=5).stderr
            assert "changeover prepare" in refused and f"pid {first.pid}" in refused, command
        assert prom.status()["next"].startswith("wait")
    finally:
        go.write_text("go on")
        assert first.wait(60) == 0
    assert prom.state() == "prepared"


def test_a_killed_run_leaves_no_lock(adopted, tmp_path):
    prom = adopted
    go = tmp_path / "go"
    os.mkfifo(go)
    holder = subprocess.Popen(prom.argv("with-lock", "--", "cat", go), stdin=subprocess.DEVNULL)
    wait_for(lambda: "with-lock" in prom.status()["lock"], "the lock is taken")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    go.write_text("go on")
    prom.run("prepare")
    assert prom.state() == "prepared"
