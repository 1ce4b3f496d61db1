"""What the benchmarks are made of: bars that are missed fail, and control windows that are fair."""
import importlib.util
import random

import pytest

from lib import bench


@pytest.fixture
def tail(root):
    spec = importlib.util.spec_from_file_location("bench_flip_tail", root / "tests/bench/bench_flip_tail.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_bar_that_is_missed_fails_after_all_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(bench, "SHORT", False)
    with pytest.raises(AssertionError, match="missed: cost$"):
        with bench.Figures("title") as figures:
            figures.add("cost", "9", "under 5", False)
            figures.add("rate", "7", "at least 5", True)
    assert "[under 5: MISSED]" in capsys.readouterr().out
    monkeypatch.setattr(bench, "SHORT", True)
    with bench.Figures("title") as figures:
        figures.add("cost", "9", "under 5", False)
    with pytest.raises(AssertionError):
        with bench.Figures("title") as figures:
            figures.add("lost", "9", "0", False, always=True)


def test_the_steal_of_a_run_decides_whether_it_counts(monkeypatch):
    monkeypatch.setattr(bench, "SHORT", False)
    stolen = iter([9.0, 7.0, 1.0])

    class Machine:
        def read(self):
            return 50, next(stolen)
    monkeypatch.setattr(bench, "Machine", Machine)
    runs = iter("abc")
    assert bench.unstolen(lambda: next(runs)) == ("c", 1.0)


def test_control_windows_touch_neither_a_flip_nor_each_other(tail):
    flips = [5.0, 9.3, 14.0]
    one, other = tail.draw(flips, 30, 3, random.Random(7))
    assert len(one) == len(other) == 3
    middles = sorted(flips + one + other)
    assert all(b - a >= 1 for a, b in zip(middles, middles[1:])) and 2 <= min(middles) and max(middles) <= 29
    with pytest.raises(AssertionError, match="too short"):
        tail.draw(flips, 8, 3, random.Random(7))


def test_a_window_is_what_ended_within_half_a_second_of_it(tail, tmp_path):
    log = tmp_path / "log"
    log.write_text("".join(f"200 {i / 1e4:.4f}\n" for i in range(4 * tail.RATE)))
    found = tail.window(tail.answers(log), 2.0)
    assert len(found) == tail.RATE and found[0] == pytest.approx(1.5 * tail.RATE / 10) and found[-1] < 2.5 * tail.RATE / 10
