"""The figures of `make bench` in short: few promotes, the same bounds."""
import pytest

from lib import figures
from lib.service import Service


def test_two_promotes_and_a_rollback_lose_nothing(sanitized):
    with Service(figures.SPEC) as service:
        service.start()
        with figures.Load(service, rate=300 if sanitized else 800) as load:
            moved = figures.promotes(service, 2)
            work = figures.rollbacks(service, 1)
            seen = load.end()
        count = figures.executed(service)
    assert seen["lost"] == 0 and seen["duplicate_answers"] == 0, seen["failures"][:10]
    assert len(count) == seen["answered"] and max(count.values()) == 1
    assert moved["stayed"] == [figures.SOCKETS] * 2             # none dropped at the flip
    sockets = seen["websockets"]
    assert sockets["drops"] == sockets["first_try"] == 2 * figures.SOCKETS and sockets["open"] == figures.SOCKETS
    if not sanitized:
        assert min(moved["proven"]) < 1 and min(work) < 1, (moved, work)


def test_what_status_costs(sanitized, tmp_path):
    if sanitized:
        pytest.skip("figures of a build with sanitizers mean nothing")
    with Service() as service:
        service.start()
        service.run("prepare", "-t", "2.0.0")
        peak, private = figures.status_memory(service)
        own, bare = figures.status_times(service, tmp_path)
    assert peak < 16e6 and private < 4e6, (peak, private)
    assert figures.stripped_size(tmp_path) < 1e6
    # The bound itself (10 ms more, side by side) is make bench's: a busy machine cannot measure it.
    print(f"status {own * 1e3:.1f} ms, a program that only loads the same libraries {bare * 1e3:.1f} ms")
    assert own < 5 * bare + 0.05, (own, bare)
