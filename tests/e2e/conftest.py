"""Fixtures of the tests of the traffic driver."""
import pytest

from lib.backend import Backend
from lib.caddy import Caddy, binaries
from lib.ports import take_block
from lib.proxied import OTHER_SITE, Host


@pytest.fixture(params=binaries(), ids=lambda b: b[0])
def host(request, tmp_path, tool):
    block = take_block()
    admin, front, other, g, b, which, pg, pb = (block.take() for _ in range(8))
    text = f"{{\n\tadmin 127.0.0.1:{admin}\n}}\n" + OTHER_SITE % other
    with Backend(g, "green-1") as green, Backend(b, "blue-1") as blue, \
            Caddy(text, admin, request.param[1]()) as caddy:
        h = Host(tmp_path, tool, caddy, (which, pg, pb), (green, blue), front)
        h.other, h.caddy_name = other, request.param[0]
        yield h
    block.release()
