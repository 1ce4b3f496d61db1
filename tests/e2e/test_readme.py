"""README's "your first real upgrade", typed as it stands there, by somebody at a terminal."""
import os
import pty
import re
import select
import subprocess
import time

import pytest

from lib.caddy import server_path
from lib.prometheus import PromService
from lib.service import TOOL
from lib.waiting import wait_for

OLD, NEW = "2.52.0", "2.53.0"
SCRIPT = """#!/bin/sh
[ "$1" = --version ] && {{ echo "prometheus, version {version} (branch: HEAD)"; exit 0; }}
exec {program} "$@"
"""


def section(root):
    return (root / "README.md").read_text().split("## Your first real upgrade")[1].split("\n## ")[0]


@pytest.fixture
def prom(root):
    """Green by hand from a "tarball" of OLD, NEW unpacked beside it; README's spec, with this test's paths and ports."""
    with PromService() as p:
        for version in (OLD, NEW):
            program = p.dir / f"opt/prometheus-{version}/prometheus"
            program.parent.mkdir(parents=True)
            program.write_text(SCRIPT.format(version=version, program=server_path("prometheus")))
            program.chmod(0o755)
        spec = re.search(r"```yaml\n(.*?)```", section(root), re.S).group(1)
        for there, here in {"/srv/prometheus": p.dir / "srv", "/opt/": p.dir / "opt/",
                            "/etc/prometheus/prometheus.yml": p.config, "/etc/caddy/Caddyfile": p.caddy.path}.items():
            assert str(there) in spec
            spec = spec.replace(str(there), str(here) + ("/" if there == "/opt/" else ""))
        ports = {9090: p.front_port, 9091: p.ports["green"]["http"], 9092: p.ports["blue"]["http"], 9093: p.which_port,
                 9094: p.previews["green"], 9095: p.previews["blue"]}
        spec = re.sub(r"\b909[0-5]\b", lambda m: str(ports[int(m[0])]), spec)
        more = f"traffic:\n  admin: 127.0.0.1:{p.admin_port}\n  flag_dir: {p.flag_dir}\n"     # not the machine's Caddy
        p.edited = p.dir / "edited.yml"
        p.edited.write_text(spec.replace("traffic:\n", more))
        p.spec_path.unlink()
        (p.dir / "srv/green").mkdir(parents=True)
        p.data = {c: p.dir / "srv" / c for c in p.data}
        p.start_by_hand([str(p.dir / f"opt/prometheus-{OLD}/prometheus"), f"--web.listen-address=127.0.0.1:{ports[9091]}",
                         f"--storage.tsdb.path={p.data['green']}", f"--config.file={p.config}"])
        p.caddy.start()
        yield p


def type_in(prom, command):
    """The command in a shell at a terminal, where every question is answered with yes."""
    editor = prom.dir / "editor"
    editor.write_text(f"#!/bin/sh\ncp {prom.edited} \"$1\"\n")
    editor.chmod(0o755)
    env = {**os.environ, "PATH": f"{TOOL.parent}:{os.environ['PATH']}", "EDITOR": str(editor),
           "CHANGEOVER_STATE_DIR": str(prom.dir / "state")}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(["sh", "-c", command], cwd=prom.dir, env=env, stdin=theirs, stdout=theirs, stderr=theirs,
                               start_new_session=True)
    os.close(theirs)
    said, answered, end = b"", 0, time.monotonic() + 90
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                said += os.read(ours, 65536)
            except OSError:
                break
        questions = len(re.findall(rb"\[y/N\]", said))
        if questions > answered:
            answered = questions
            os.write(ours, b"y\n")
    os.close(ours)
    assert process.wait(10) == 0, f"{command}\n{said.decode()}\n{prom.logs()}"
    return said.decode()


def test_ten_lines(prom, root):
    lines = re.findall(r"^    (\S.*?) +# \d+\. ", section(root), re.M)
    assert len(lines) == 10
    for line in lines:
        type_in(prom, line)
    assert prom.live() == "blue" and prom.state() == "steady"
    assert prom.status()["version"] == NEW
    assert not prom.data["green"].exists() or not list(prom.data["green"].iterdir())
    wait_for(lambda: prom.ready("blue"), "blue serves")
