"""The memory returns what was computed, keyed by content, within its bound."""

from __future__ import annotations

import numpy as np

from interp_assets.stats.fit_memory import FitMemory, content_key


def test_same_content_is_computed_once():
    memory, calls = FitMemory(), []

    def compute():
        calls.append(1)
        return np.arange(3.0)

    for _ in range(3):
        key = content_key(np.arange(4), "learner", 5)
        assert memory.recall(key, compute, lambda a: a.nbytes).tolist() == [0.0, 1.0, 2.0]
    assert len(calls) == memory.computed == 1


def test_any_change_of_content_changes_the_key():
    base = np.arange(6.0)
    keys = {
        content_key(base),
        content_key(base.astype(np.float32)),
        content_key(base.reshape(2, 3)),
        content_key(base[::-1]),
        content_key(base, 1),
        content_key(base, "1"),
        content_key(base + 0.0, 2),
    }
    assert len(keys) == 7
    assert content_key(base[::-1]) == content_key(base[::-1].copy())


def test_oldest_results_leave_first():
    memory = FitMemory(megabytes=1.0)
    for name in ("a", "b", "c", "a"):
        memory.recall(name, lambda kept=name: kept, lambda _: 400_000)
    assert memory.computed == 4  # "a" had left for "c"
    memory.recall("c", lambda: "again", lambda _: 400_000)
    assert memory.computed == 4
    memory.recall("b", lambda: "b", lambda _: 400_000)
    assert memory.computed == 5


def test_result_larger_than_the_bound_is_returned_and_not_kept():
    memory = FitMemory(megabytes=0.001)
    for _ in range(2):
        assert memory.recall("big", lambda: 7, lambda _: 10**6) == 7
    assert memory.computed == 2
