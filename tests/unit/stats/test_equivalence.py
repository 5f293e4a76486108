"""Equivalence and two-sided p from draws: by hand, against the interval form, and under noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest
from statsmodels.stats.weightstats import ttost_paired

from interp_assets.stats.equivalence import bootstrap_equivalence, two_sided_p


def bootstrap(values, rng, n=400):
    return values[rng.integers(0, values.size, (n, values.size))].mean(axis=1)


def test_a_small_p_means_that_the_90_percent_interval_lies_inside_the_margin():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        draws = rng.normal(rng.uniform(-0.006, 0.006), 0.002, 200)
        found = bootstrap_equivalence(draws, 0.005)
        low, high = np.quantile(draws, (0.05, 0.95))
        inside = low > -0.005 and high < 0.005
        assert inside or not found.equivalent
        # The two forms may part by the one draw that the (k + 1) / (n + 1) rule counts.
        assert found.equivalent or not inside or found.p < 0.06
        assert found.p == (max((draws <= -0.005).sum(), (draws >= 0.005).sum()) + 1) / 201
        seen.add(found.equivalent)
    assert seen == {True, False}


def test_agrees_with_two_one_sided_t_tests_on_normal_differences():
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.05, 0.12, 0.2):
        values = rng.normal(shift, 0.5, 300)
        expected = ttost_paired(values, np.zeros(300), -0.12, 0.12)[0]
        assert bootstrap_equivalence(bootstrap(values, rng, 4000), 0.12).p == pytest.approx(expected, abs=0.03)


def test_a_difference_at_the_margin_is_called_equivalent_no_more_often_than_the_level():
    rng = np.random.default_rng(2)
    wrong = sum(bootstrap_equivalence(bootstrap(rng.normal(0.1, 0.4, 60), rng), 0.1).equivalent for _ in range(400))
    # 20 expected at .05; 38 is four binomial deviations above.
    assert wrong <= 38


def test_two_sided_p_is_uniform_for_means_around_zero():
    rng = np.random.default_rng(3)
    p = [two_sided_p(bootstrap(rng.normal(0, 1, 80), rng)) for _ in range(300)]
    assert kstest(p, "uniform").pvalue > 0.01


def test_few_draws_prove_nothing_and_none_is_nan():
    assert not bootstrap_equivalence([0.0] * 10, 0.005).equivalent
    nothing = bootstrap_equivalence([np.nan], 0.005)
    assert np.isnan(nothing.p)
    assert not nothing.equivalent
    assert np.isnan(two_sided_p([np.nan]))
    assert two_sided_p([1.0, 2.0, np.nan]) == 2 / 3
    with pytest.raises(ValueError, match="must be positive"):
        bootstrap_equivalence([0.0], 0.0)
