from __future__ import annotations

import dataclasses

import pytest

from benchmarks.differential import expression_ways


def test_scanpy_and_ours_find_the_same_t_p_and_q_and_another_answer_is_refused():
    ways = expression_ways(cells=400, genes=60, perturbations=3)
    ours, theirs = ways.ours(), ways.theirs()
    assert ways.agree(ours, theirs).startswith("t, p and q of 180 tests differ by at most")
    with pytest.raises(AssertionError, match="p2: t differs"):
        ways.agree(dataclasses.replace(ours, t=ours.t * [[1.0], [1.0], [1.01]]), theirs)
    with pytest.raises(AssertionError, match="p0: q differs"):
        ways.agree(dataclasses.replace(ours, q=ours.p), theirs)
