import pytest

from lib.zfs import ZfsService


@pytest.fixture(scope="module")
def kept():
    services = []
    yield services
    for s in services:
        s.close()


@pytest.fixture
def service(kept):
    """Steady, green or blue live: the one of the test before, unless that left it half way."""
    if kept and kept[0].state() == "steady":
        return kept[0]
    while kept:
        kept.pop().close()
    kept.append(ZfsService())
    return kept[0].start()
