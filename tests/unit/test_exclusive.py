"""The right to write a path: one holder at a time, also when guards are taken away between looks."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from interp_assets import exclusive
from interp_assets.exclusive import alone


def test_the_right_to_write_is_one_at_a_time(tmp_path):
    inside: list[int] = []
    seen: list[int] = []

    def enter() -> None:
        with alone(tmp_path / "file"):
            inside.append(1)
            time.sleep(0.002)
            seen.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 20
    assert not list(tmp_path.iterdir())


def test_a_guard_that_is_taken_away_while_it_is_looked_at_is_asked_for_again(tmp_path, monkeypatch):
    """Regression: the holder before took its guard away between two looks, and the next one failed."""
    real, left = Path.stat, [2]

    def stat(path: Path, **more: object):
        if path.name.endswith(".guard") and left[0]:
            left[0] -= 1
            path.unlink()
        return real(path, **more)

    monkeypatch.setattr(exclusive.Path, "stat", stat)
    with alone(tmp_path / "file"):
        assert (tmp_path / ".file.guard").exists()
    assert left == [0]
    assert not list(tmp_path.iterdir())


def test_the_right_comes_back_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="inside"), alone(tmp_path / "file"):
        raise ValueError("inside")
    with alone(tmp_path / "file"):
        pass
