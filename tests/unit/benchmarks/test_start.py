"""Times of commands and imports: fresh processes, the heavy packages they load, and no time for one that fails."""

from __future__ import annotations

import pytest

from benchmarks.start import TIMES, Start, measure


def start(*words: str, goal: float = 60.0) -> Start:
    return Start(path="tried", goal=goal, words=lambda: words)


def test_a_process_is_timed_and_its_heavy_packages_are_named() -> None:
    found = measure(start("-c", "import json, numpy"), rounds=2)
    assert found.loads == ("numpy",)
    assert 0 < found.low <= found.seconds <= found.high
    assert found.processor_s > 0
    assert (found.met, found.rounds) == (True, 2)


def test_a_goal_that_is_not_reached_is_missed() -> None:
    assert not measure(start("-c", "pass", goal=1e-6), rounds=1).met


def test_a_command_that_fails_has_no_time() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)exit code 3: .*broken"):
        measure(start("-c", "import sys; print('broken', file=sys.stderr); sys.exit(3)"), rounds=1)


def test_light_ways_in_load_nothing_heavy() -> None:
    light = {each.path: each for each in TIMES if each.goal <= 0.5}
    assert len(light) == 4
    assert all(measure(each, rounds=1).loads == () for each in light.values())
