"""One-sample t-tests of many conditions: equal to scipy's, also over resamples; nothing from nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from interp_assets.stats.one_sample import one_sample_t


def values(seed: int = 0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    table = 0.5 + shift + 0.1 * rng.normal(size=(6, 30))
    table[rng.random(table.shape) < 0.2] = np.nan
    return table


def test_it_equals_scipy_on_each_condition():
    table = values(shift=0.02)
    found = one_sample_t(table, 0.5)
    for number, row in enumerate(table):
        own = row[~np.isnan(row)]
        wanted = stats.ttest_1samp(own, 0.5, alternative="greater")
        assert found.n[0, number] == own.size
        assert found.t[0, number] == pytest.approx(wanted.statistic)
        assert found.p[0, number] == pytest.approx(wanted.pvalue)
        assert found.sd[0, number] == pytest.approx(own.std(ddof=1))
        assert found.mean[0, number] == pytest.approx(own.mean())


def test_weights_repeat_units():
    table = values(1)
    weights = np.random.default_rng(2).multinomial(30, np.full(30, 1 / 30), size=4)
    found = one_sample_t(table, 0.5, weights)
    for draw, condition in np.ndindex(4, 6):
        row = np.repeat(table[condition], weights[draw])
        wanted = stats.ttest_1samp(row[~np.isnan(row)], 0.5, alternative="greater")
        assert found.t[draw, condition] == pytest.approx(wanted.statistic)
        assert found.p[draw, condition] == pytest.approx(wanted.pvalue)


def test_noise_is_called_at_its_level():
    draws = 0.5 + np.random.default_rng(3).normal(size=(4000, 25))
    p = one_sample_t(draws, 0.5).p[0]
    assert abs((p < 0.05).mean() - 0.05) < 0.012
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_too_few_or_equal_units_have_no_test():
    found = one_sample_t([[0.7, np.nan, np.nan], [0.7, 0.7, 0.7], [np.nan] * 3], 0.5)
    assert np.isnan(found.p[0]).all()
    assert found.n[0].tolist() == [1, 3, 0]
    assert found.mean[0, 1] == pytest.approx(0.7)
    assert np.isnan(found.mean[0, 2])


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="conditions x units"):
        one_sample_t([[0.5, 0.6]], 0.5, [[1, 1, 1]])
    with pytest.raises(ValueError, match="infinite"):
        one_sample_t([[np.inf, 0.6]], 0.5)
