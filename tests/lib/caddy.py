"""Run the real Caddy in tests: on ports of its own, as another user where we are root, never the machine's.

    with Caddy(caddyfile_text, admin_port) as caddy:
        caddy.path          the Caddyfile that it runs
        caddy.dir           a directory that its user may search; flags go below it
"""
import functools
import http.client
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest

from .waiting import wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def server_path(name):
    """The program `name` of the private cache of servers (fetched on the first use)."""
    done = subprocess.run([ROOT / "scripts" / "get-servers"], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(done.stdout.strip()) / "usr" / "bin" / name


@functools.cache
def new_caddy():
    """A Caddy of 2.11.2 or later: CHANGEOVER_CADDY_NEW ("none": there is none), else Debian sid's, fetched on the first use.
    None where it cannot be had."""
    given = os.environ.get("CHANGEOVER_CADDY_NEW")
    if not given:
        done = subprocess.run([ROOT / "scripts" / "get-servers", "new"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        given = done.stdout.strip() + "/usr/bin/caddy" if done.returncode == 0 else "none"
    return pathlib.Path(given) if os.path.exists(given) else None


def binaries():
    """[(version word, function that gives the path)] of the Caddys to test with; it skips the test where there is none."""
    return [("debian", lambda: server_path("caddy")),
            ("new", lambda: new_caddy() or pytest.skip("no newer Caddy can be had here: scripts/get-servers new"))]


each_caddy = pytest.mark.parametrize("binary", [b[1] for b in binaries()], ids=[b[0] for b in binaries()])


def unprivileged():
    """Another user to run servers as; None where we are not root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


class Caddy:
    def __init__(self, caddyfile, admin_port, binary=None):
        self.admin = f"127.0.0.1:{admin_port}"
        self.user = unprivileged()
        # pytest's directories are 0700: nobody else may search them
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="changeover-caddy-"))
        self.dir.chmod(0o755)
        self.home = self.dir / "home"
        self.home.mkdir()
        self.path = self.dir / "Caddyfile"
        self.path.write_text(caddyfile)
        self.binary = self.dir / "caddy"
        shutil.copy2(binary or server_path("caddy"), self.binary)
        self.binary.chmod(0o755)
        if self.user:
            os.chown(self.home, self.user.pw_uid, self.user.pw_gid)
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "XDG_DATA_HOME": str(self.home / "data"),
               "XDG_CONFIG_HOME": str(self.home / "config")}
        ids = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "run", "--config", self.path, "--adapter", "caddyfile"], env=env,
                cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **ids)
        wait_for(self.answers, f"Caddy's admin API at {self.admin}; {self.log()[-2000:]}", timeout=20)
        return self

    def log(self):
        return (self.dir / "log").read_text(errors="replace") if (self.dir / "log").exists() else ""

    def request(self, method, path, body=None, headers=None, timeout=10):
        host, port = self.admin.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def answers(self):
        assert self.process.poll() is None, self.log()[-3000:]
        try:
            return self.request("GET", "/config/")[0] == 200
        except OSError:
            return False

    def load(self, caddyfile, force=False):
        """Runs another configuration, without the file; an equal one only with force (as `caddy reload --force`)."""
        headers = {"Content-Type": "text/caddyfile", **({"Cache-Control": "must-revalidate"} if force else {})}
        status, words = self.request("POST", "/load", caddyfile, headers)
        assert status == 200, words

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
        self.process = None

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.process:
            self.process.wait()
        self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()
