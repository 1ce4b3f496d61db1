"""What every test shares: where the repository and the build under test are, and how to run the tool."""
import os
import pathlib
import subprocess

import pytest

from lib.backend import Backend
from lib.caddy import Caddy, binaries
from lib.ports import take_block
from lib.proxied import OTHER_SITE, Host
from lib.tls import make_certificate

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("CHANGEOVER_BUILD", ROOT / "build")).resolve()


def pytest_configure(config):
    if not (BUILD / "src" / "changeover").exists():
        pytest.exit(f"there is no tool in {BUILD}: build it first (make)", returncode=2)


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def build():
    return BUILD


@pytest.fixture(scope="session")
def sanitized():
    """The build carries sanitizers: figures of time and memory mean nothing."""
    return bool(os.environ.get("CHANGEOVER_SANITIZED"))


@pytest.fixture(scope="session")
def tool():
    """tool("status", "-q", ...) runs it to its end: .returncode, .stdout, .stderr (text)."""

    def run(*args, **kw):
        kw.setdefault("timeout", 60)
        kw.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([BUILD / "src" / "changeover", *map(str, args)],
                              capture_output=True, text=True, **kw)

    return run


@pytest.fixture(params=binaries(), ids=lambda b: b[0])
def host(request, tmp_path, tool):
    """Two small backends behind a Caddy, each of those that there are in turn (lib.proxied)."""
    binary, block = request.param[1](), take_block()
    admin, front, other, g, b, which, pg, pb = (block.take() for _ in range(8))
    text = f"{{\n\tadmin 127.0.0.1:{admin}\n}}\n" + OTHER_SITE % other
    with Backend(g, "green-1") as green, Backend(b, "blue-1") as blue, \
            Caddy(text, admin, binary) as caddy:
        h = Host(tmp_path, tool, caddy, (which, pg, pb), (green, blue), front)
        h.other, h.caddy_name = other, request.param[0]
        yield h
    block.release()


@pytest.fixture(scope="module")
def kept():
    """Services that outlive a test (lib.service.steady); closed at the end of the module."""
    services = []
    yield services
    for s in services:
        s.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, certificate with key) of a server called localhost"""
    d = tmp_path_factory.mktemp("tls")
    cert, key = make_certificate(d)
    (d / "both").write_text(cert.read_text() + key.read_text())
    return cert, d / "both"
