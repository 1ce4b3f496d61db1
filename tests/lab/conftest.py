import pytest

from lib.service import steady
from lib.zfs import ZfsService


@pytest.fixture
def service(kept):
    """Steady, green or blue live."""
    return steady(kept, ZfsService)
