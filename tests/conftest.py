"""What every test shares: where the repository and the build under test are, and how to run the tool."""
import os
import pathlib
import subprocess

import pytest

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
