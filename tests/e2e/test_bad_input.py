"""Bad input and bad luck: a clear error with the next step, live untouched, nothing lost."""
import os
import shutil
import socket
import subprocess

import pytest

from lib import rpcnode
from lib.service import Service
from lib.waiting import wait_for

FAST_GATE = {"gate": {"deadline": "4s"}}


@pytest.fixture(scope="module")
def shared():
    with Service() as s:
        yield s.start()


@pytest.fixture
def service(shared):
    """The shared service, steady on green; whatever a test leaves open is taken back by the tool itself."""
    before = shared.pid("green")
    spec = shared.spec
    yield shared
    shared.spec = spec
    shared.write_spec()
    if shared.state() not in ("steady", "rolled-back"):
        shared.run("rollback", timeout=60)
    if shared.state() == "rolled-back":
        shared.run("cleanup", "-y")
    assert_untouched(shared, before)


def assert_untouched(service, pid):
    """Live serves through Caddy as the same process; nothing of a standby is left."""
    assert service.flags() == ["active-green"]
    assert service.pid("green") == pid
    assert service.identity() == "green"
    assert not (service.dir / "blue/ledger").exists()


def refused(service, *args, expect=1, says=()):
    """The command fails with that status, says those words and what to type next. Returns its stderr."""
    done = service.run(*args, expect=expect)
    for words in says:
        assert words in done.stderr, done.stderr
    assert "next: " in done.stderr, done.stderr
    return done.stderr


def prepare(service, *args, expect=1, says=()):
    return refused(service, "prepare", "-t", "2.0.0", *args, expect=expect, says=says)


def test_a_wrong_spec_says_everything_at_once(service):
    service.spec_path.write_text(service.spec_path.read_text().replace("writes: replayed", "writes: nowhere")
                                 + "\ncolour: blue\n")
    said = service.run("prepare", "-t", "2.0.0", expect=2).stderr
    assert "changeover.yml:2:" in said and "replayed" in said, said
    assert "colour" in said and said.count("changeover.yml:") >= 2, said


def test_no_spec(service):
    done = subprocess.run([service.argv("x")[0], "status", "-f", "/nonexistent.yml"], capture_output=True, text=True)
    assert done.returncode == 2 and "changeover init" in done.stderr, done.stderr


def test_taken_port(service):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", service.ports["blue"]["rpc"]))
        s.listen()
        prepare(service, says=[str(service.ports["blue"]["rpc"]), "port"])


def test_equal_identities(service):
    blue = service.dir / "blue.json"
    keep = blue.read_bytes()
    shutil.copy(service.dir / "green.json", blue)
    try:
        prepare(service, says=["identit"])
    finally:
        blue.write_bytes(keep)


def test_missing_binary(service):
    refused(service, "prepare", "-t", "9.9.9", says=["9.9.9"])


def test_version_policy(service):
    refused(service, "prepare", "-t", "0.1.0", says=["version", "0.1.0"])


def test_wrong_version(service):
    folder = service.dir / "versions/2.5.0"
    rpcnode.make_version(folder, "2.5.0", default_args=["--report-version", "1.0.0"])
    service.change_spec(FAST_GATE)
    refused(service, "prepare", "-t", "2.5.0", expect=4, says=["version", "1.0.0"])


def test_a_standby_that_crashes(service):
    rpcnode.make_version(service.dir / "versions/2.5.1", "2.5.1", default_args=["--crash-after-ms", "300"])
    refused(service, "prepare", "-t", "2.5.1", expect=4, says=["blue"])


def test_a_standby_that_hangs(service):
    rpcnode.make_version(service.dir / "versions/2.5.2", "2.5.2", default_args=["--hang"])
    service.change_spec(merge_gate_timeout())
    refused(service, "prepare", "-t", "2.5.2", expect=4, says=["no answer"])


def merge_gate_timeout():
    return {"gate": {"deadline": "3s"}}


def test_a_standby_that_stays_behind(service):
    rpcnode.make_version(service.dir / "versions/2.5.3", "2.5.3", default_args=["--always-behind", "500"])
    service.change_spec(FAST_GATE)
    refused(service, "prepare", "-t", "2.5.3", expect=4, says=["behind"])


def test_a_standby_that_hears_nobody_says_ok_for_ever(service):
    rpcnode.make_version(service.dir / "versions/2.5.4", "2.5.4", default_args=["--deaf"])
    service.change_spec(FAST_GATE)
    refused(service, "prepare", "-t", "2.5.4", expect=4)
    assert rpcnode.call(service.ports["blue"]["rpc"], "getHealth")["result"] == "ok"


def test_a_version_that_serves_and_then_cannot_follow(service):
    rpcnode.make_version(service.dir / "versions/2.5.5", "2.5.5",
                         default_args=["--stall-after-slots", "3", "--exit-after-stall-ms", "3000"])
    service.change_spec({"gate": {"deadline": "20s", "passes": 10}})
    refused(service, "prepare", "-t", "2.5.5", expect=4)


def test_an_argument_that_the_new_version_does_not_know(service):
    rpcnode.make_version(service.dir / "versions/2.5.6", "2.5.6", rules=["-log-requests"])
    service.change_spec({"runtime": {"validate": [{"append": ["--help"], "status": 0}]}})
    refused(service, "prepare", "-t", "2.5.6", says=["--log-requests"])


def test_unreadable_data(service):
    link = service.dir / "green/ledger/odd"
    os.mkfifo(link)
    os.unlink(link)
    secret = service.dir / "green/ledger/secret"
    secret.write_text("x")
    user = "nobody"
    if os.geteuid() == 0:
        pytest.skip("root reads everything; an unreadable file needs another user")
    secret.chmod(0)
    try:
        prepare(service, says=["secret"])
    finally:
        secret.chmod(0o600)
        secret.unlink()


def test_foreign_data_where_the_clone_should_go(service):
    place = service.dir / "blue/ledger"
    place.mkdir()
    (place / "somebody's").write_text("work of years")
    try:
        prepare(service, says=[str(place)])
        assert (place / "somebody's").read_text() == "work of years"
    finally:
        shutil.rmtree(place)


def test_full_disk_in_mid_clone(service):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    small = service.dir / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k,mode=755", "small", small], check=True)
    try:
        service.change_spec({"volumes": {"ledger": {"path": None, "green": f"{service.dir}/green/ledger",
                                                    "blue": f"{small}/ledger"}}})
        prepare(service, says=["space"])
        assert not (small / "ledger").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_caddy_down(service):
    service.caddy.stop()
    try:
        prepare(service, says=["Caddy"])
    finally:
        service.caddy.start()
    wait_for(lambda: service.identity() == "green", "Caddy serves again")


def test_caddy_of_another_config(service):
    text = service.caddy.path.read_text()
    service.caddy.load("{\n\tadmin 127.0.0.1:%d\n}\nhttp://:%d {\n\trespond \"hello\"\n}\n"
                       % (service.admin_port, service.front_port))
    try:
        prepare(service, says=["changeover traffic install"])
    finally:
        service.caddy.load(text)


def test_flags_that_caddy_cannot_read(service):
    if os.geteuid() != 0:
        pytest.skip("Caddy runs as another user only where we are root")
    service.flag_dir.chmod(0o700)
    try:
        prepare(service, says=[str(service.flag_dir)])
    finally:
        service.flag_dir.chmod(0o755)


def test_flags_that_contradict_the_journal(service):
    (service.flag_dir / "active-blue").touch()
    (service.flag_dir / "active-green").unlink()
    try:
        said = prepare(service, expect=3, says=["green", "blue", "adopt --live blue"])
        assert "nothing was changed" in said
        assert service.run("status", "-q", expect=None).returncode == 3
    finally:
        (service.flag_dir / "active-green").touch()
        (service.flag_dir / "active-blue").unlink()


def test_no_flag_at_all(service):
    (service.flag_dir / "active-green").unlink()
    try:
        for command in (("prepare", "-t", "2.0.0"), ("adopt", "--live", "green", "-y")):
            done = service.run(*command, expect=None)
            assert done.returncode in (1, 3) and "next: changeover traffic install" in done.stderr, done.stderr
    finally:
        service.run("traffic", "install", "-y")
    assert service.flags() == ["active-green"]


def test_a_second_run_at_the_same_time(service):
    service.change_spec({"gate": {"passes": 40}})
    first = subprocess.Popen(service.argv("prepare", "-t", "2.0.0"), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: service.state() == "preparing", "the first run to be at work")
        prepare(service, expect=5, says=["locked by", str(first.pid)])
    finally:
        assert first.wait(60) == 0


def test_a_read_only_state_directory(service):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount read-only")
    state = service.dir / "state"
    subprocess.run(["mount", "--bind", state, state], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", state], check=True)
        prepare(service)
    finally:
        subprocess.run(["umount", state], check=True)


def test_a_corrupt_state_file(service):
    journal = service.dir / "state/node/journal.db"
    keep = {p: p.read_bytes() for p in journal.parent.glob("journal.db*")}
    journal.write_bytes(b"\0garbage" * 4096)
    try:
        prepare(service, expect=3, says=["damaged", "adopt --live"])
    finally:
        for p in journal.parent.glob("journal.db*"):
            p.unlink()
        for p, content in keep.items():
            p.write_bytes(content)


def test_two_services_that_share_a_path(service):
    other = service.dir / "other.yml"
    text = service.spec_path.read_text().replace("service: node", "service: other", 1)
    other.write_text(text)
    args = service.argv("check")
    args[args.index(str(service.spec_path))] = str(other)
    done = subprocess.run(args, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "node" in done.stdout and "ledger" in done.stdout, done.stdout


def test_two_state_directories_for_one_service(service):
    args = service.argv("check")
    args[args.index(str(service.dir / "state"))] = str(service.dir / "elsewhere")
    done = subprocess.run(args, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and f"{service.dir}/state/node" in done.stdout, done.stdout + done.stderr
    assert f"--state-dir {service.dir}/state" in done.stdout, done.stdout


def test_a_clone_that_would_pause_live_for_too_long(service):
    service.change_spec({"freeze": {"max": "1ms"}})
    prepare(service, says=["freeze.max", "reflink", "consistency: none"])


def test_nothing_is_open(service):
    for command in ("promote", "rollback", "confirm"):
        refused(service, command, says=["no upgrade is open"])
    service.run("cleanup", "-y")
    service.run("resume")


def test_another_target_while_one_is_open(service):
    service.run("prepare", "-t", "2.0.0")
    refused(service, "prepare", "-t", "3.0.0", says=["2.0.0", "changeover rollback"])
    service.run("prepare", "-t", "2.0.0")
    service.run("rollback")
    refused(service, "prepare", "-t", "3.0.0", says=["changeover cleanup"])


def test_a_direct_client_holds_the_drain(service):
    """Ends with 4, names it, and stops nothing; then goes on with --drop."""
    service.change_spec({"traffic": {"drain": {"deadline": "1s"}}})
    service.run("prepare", "-t", "2.0.0")
    with socket.create_connection(("127.0.0.1", service.ports["green"]["rpc"])) as direct:
        said = refused(service, "promote", expect=4, says=["direct", str(direct.getsockname()[1]), "--drop"])
        assert "nothing was stopped" in said
        assert rpcnode.call(service.ports["green"]["rpc"], "getHealth")["result"] == "ok"
        assert service.identity() == "blue"
    service.run("rollback")
