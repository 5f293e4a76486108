"""Spread against a margin and agreement of repeats, held against scipy and naive loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from interp_assets.stats.repeats import agreement, reading_of, spread_below


def test_spread_is_the_chi_square_test_of_a_variance():
    values = np.random.default_rng(0).normal(0.7, 0.01, 10)
    found = spread_below(values, 0.02)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.p == pytest.approx(stats.chi2(9).cdf(9 * np.var(values, ddof=1) / 0.0004))
    # The interval holds exactly the spreads that a two-sided test at its level does not reject.
    assert spread_below(values, found.high).p == pytest.approx(0.025)
    assert spread_below(values, found.low).p == pytest.approx(0.975)


def test_spread_keeps_its_level_at_the_margin():
    rng = np.random.default_rng(1)
    called = [spread_below(rng.normal(0.7, 0.02, 10), 0.02).p < 0.05 for _ in range(1000)]
    assert 0.03 < np.mean(called) < 0.07
    found = [spread_below(rng.normal(0.7, 0.005, 10), 0.02).p < 0.05 for _ in range(200)]
    assert np.mean(found) > 0.95


def test_repeats_that_are_all_alike_have_no_spread():
    found = spread_below([0.5, 0.5, 0.5], 0.02)
    assert (found.sd, found.p, found.low, found.high) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("values", [[0.5], [0.5, np.nan], [[0.5, 0.6]], []])
def test_spread_refuses_what_has_none(values):
    with pytest.raises(ValueError, match="repeats with a number each"):
        spread_below(values, 0.02)
    with pytest.raises(ValueError, match="must be positive"):
        spread_below([0.1, 0.2], 0.0)


def test_agreement_equals_loops_over_pairs():
    rng = np.random.default_rng(2)
    scores = np.round(rng.normal(size=300) + rng.normal(size=(5, 300)), 1)
    scores[:, :40] = 0.0  # ties
    found = agreement(scores, 30)
    rho, overlap = [], []
    for one, other in combinations(scores, 2):
        rho.append(stats.spearmanr(one, other).statistic)
        first, second = (set(np.argsort(-each, kind="stable")[:30].tolist()) for each in (one, other))
        overlap.append(len(first & second) / len(first | second))
    assert found.spearman == pytest.approx(np.median(rho), abs=1e-12)
    assert found.overlap == pytest.approx(np.median(overlap))
    assert found.pairs == 10


def test_constant_scores_have_no_rank_agreement():
    found = agreement(np.ones((3, 10)), 2)
    assert np.isnan(found.spearman)
    assert found.overlap == 1.0


@pytest.mark.parametrize("scores", [np.ones((1, 4)), np.array([[1.0, np.nan], [1.0, 2.0]]), np.ones(4)])
def test_agreement_refuses_gaps_and_single_repeats(scores):
    with pytest.raises(ValueError, match="without a gap"):
        agreement(scores, 1)


def test_an_interval_without_bounds_is_undecided():
    assert reading_of(np.nan, np.nan, 0.5) == "undecided"
