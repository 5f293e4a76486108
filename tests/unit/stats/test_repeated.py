"""Correlation over units x conditions: r of scipy, p that keeps its level although conditions share a unit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from interp_assets.stats.repeated import repeated_correlation


def correlation(x, y, seed=0, **changes):
    keywords = {"permutations": 199, "resamples": 100} | changes
    return repeated_correlation(x, y, np.random.default_rng(seed), **keywords)


def units(effect, rng, count=6):
    """Units that differ in level; y follows x by ``effect`` within each."""
    x = np.tile([0.0, 0.1, 0.2, 0.3], (count, 1)) + 0.01 * rng.normal(size=(count, 4))
    return x, effect * x + 0.05 * rng.normal(size=(count, 1)) + 0.02 * rng.normal(size=(count, 4))


def test_r_equals_scipy_over_all_points_and_by_unit():
    x, y = units(-1.0, np.random.default_rng(1))
    found = correlation(x, y)
    assert found.r == pytest.approx(pearsonr(x.ravel(), y.ravel()).statistic)
    np.testing.assert_allclose(found.by_unit, [pearsonr(a, b).statistic for a, b in zip(x, y, strict=True)])
    assert found.interval.low < found.r < found.interval.high


def test_a_planted_trend_is_found_in_its_direction_only():
    x, y = units(-1.0, np.random.default_rng(2))
    assert correlation(x, y).p == 1 / 200
    assert correlation(x, y, alternative="greater").p > 0.9
    assert correlation(x, -y).p > 0.9


def test_units_that_differ_give_no_finding():
    rng = np.random.default_rng(3)
    p = [correlation(*units(0.0, rng), seed=k, permutations=99, resamples=1).p for k in range(200)]
    assert 0.01 < np.mean(np.array(p) <= 0.05) < 0.1


def test_interval_equals_a_loop_over_resampled_units():
    x, y = units(-0.5, np.random.default_rng(4))
    found = correlation(x, y, permutations=1, resamples=2000)
    rng = np.random.default_rng(5)
    loop = []
    for _ in range(2000):
        drawn = rng.integers(0, 6, 6)
        loop.append(np.corrcoef(x[drawn].ravel(), y[drawn].ravel())[0, 1])
    low, high = np.quantile(loop, (0.025, 0.975))
    assert (found.interval.low, found.interval.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_one_unit_has_no_interval_and_a_constant_side_no_correlation():
    x, y = units(-1.0, np.random.default_rng(6), count=1)
    assert correlation(x, y).interval.resamples_done == 0
    with pytest.raises(ValueError, match="same everywhere"):
        correlation(np.ones((2, 3)), np.arange(6.0).reshape(2, 3))
    with pytest.raises(ValueError, match="missing"):
        correlation(np.array([[1.0, np.nan]]), np.array([[1.0, 2.0]]))
    with pytest.raises(ValueError, match="units x conditions"):
        correlation(np.ones(3), np.ones(3))
