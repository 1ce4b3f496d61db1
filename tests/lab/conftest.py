import os

import pytest

from lib.service import steady
from lib.zfs import ZfsService


LONG = ("test_zfs_kills", "test_zfs_long")  # as long as all the others


def pytest_collection_modifyitems(items):
    if os.environ.get("CHANGEOVER_LAB") == "short":
        skip = pytest.mark.skip(reason="CHANGEOVER_LAB=short: make test-lab runs it")
        for item in items:
            if item.path.stem in LONG:
                item.add_marker(skip)


@pytest.fixture
def service(kept):
    """Steady, green or blue live."""
    return steady(kept, ZfsService)
