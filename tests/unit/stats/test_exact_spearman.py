"""Few units: p equals scipy's exact permutation test, many units: scipy's t approximation."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest
from scipy import stats

from interp_assets.stats.exact_spearman import spearman_test


@pytest.mark.parametrize("n", [4, 5, 6])
@pytest.mark.parametrize("ties", [False, True])
def test_exact_p_equals_scipys_permutation_test(n, ties):
    rng = np.random.default_rng(n)
    x, y = np.arange(n), rng.integers(0, 3, n) if ties else rng.normal(size=n)
    found = spearman_test(x, y)
    scipys = stats.permutation_test(
        (y,), lambda side: stats.spearmanr(x, side).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert found.p == pytest.approx(min(1.0, np.mean(np.abs(scipys.null_distribution) >= abs(found.rho) - 1e-9)))
    assert found.method == "exact"


def test_the_smallest_p_is_that_of_a_perfect_order():
    assert spearman_test(range(4), [1, 2, 3, 4]).p == spearman_test(range(4), [2, 1, 4, 3]).smallest_p == 2 / 24
    assert spearman_test(range(6), [6, 5, 4, 3, 2, 1]).p == 2 / 720
    tied = spearman_test(range(4), [0, 0, 1, 1])
    assert tied.p == tied.smallest_p == pytest.approx(8 / 24)


def test_many_units_follow_the_t_approximation_and_never_reach_zero():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 18))
    found, scipys = spearman_test(x, y), stats.spearmanr(x, y)
    assert (found.rho, found.p) == (pytest.approx(scipys.statistic), pytest.approx(scipys.pvalue))
    assert found.method == "t approximation"
    assert spearman_test(x, x).p == 2 / factorial(18)


def test_a_constant_side_has_no_correlation_and_bad_input_is_refused():
    constant = spearman_test(range(5), [1.0] * 5)
    assert np.isnan([constant.rho, constant.p, constant.smallest_p]).all()
    with pytest.raises(ValueError, match="at least 4 units"):
        spearman_test([1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match="no value"):
        spearman_test([1, 2, 3, np.nan], [1, 2, 3, 4])


def test_under_no_relation_p_is_at_most_alpha_that_often():
    rng = np.random.default_rng(2)
    p = np.array([spearman_test(range(6), rng.normal(size=6)).p for _ in range(800)])
    assert (p <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 800)
    assert (p <= 0.5).mean() > 0.4
