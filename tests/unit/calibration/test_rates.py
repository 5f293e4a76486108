from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from interp_assets.calibration.rates import crossing, rate


@pytest.mark.parametrize(("count", "n"), [(0, 300), (1, 300), (15, 300), (150, 300), (299, 300), (300, 300), (0, 1)])
def test_limits_are_those_of_clopper_and_pearson(count, n):
    found = rate(count, n)
    assert (found.low, found.high) == pytest.approx(proportion_confint(count, n, 0.05, method="beta"), abs=1e-10)
    one_sided = binomtest(count, n, alternative="less").proportion_ci(0.95, method="exact")
    assert found.upper == pytest.approx(one_sided.high, abs=1e-10)


def test_no_event_in_n_seeds_leaves_the_rule_of_three():
    assert rate(0, 300).upper == pytest.approx(1 - 0.05 ** (1 / 300))
    assert rate(0, 300).low == 0.0


def test_limits_cover_at_least_as_often_as_they_say():
    n, true = 40, 0.07
    chances = [(binomtest(k, n).k, rate(k, n)) for k in range(n + 1)]
    from scipy.stats import binom

    covered = sum(binom.pmf(k, n, true) for k, found in chances if found.low <= true <= found.high)
    below = sum(binom.pmf(k, n, true) for k, found in chances if true <= found.upper)
    assert covered >= 0.95
    assert below >= 0.95


def test_nothing_counted_is_no_rate():
    found = rate(0, 0)
    assert np.isnan([found.value, found.low, found.high, found.upper]).all()


@pytest.mark.parametrize(("count", "n"), [(-1, 3), (4, 3)])
def test_an_impossible_count_is_refused(count, n):
    with pytest.raises(ValueError, match="lies between 0 and n"):
        rate(count, n)


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        ([0.0, 0.6, 1.0], 2 * 2**0.5),
        ([0.0, 0.8, 1.0], 2.0),
        ([0.9, 0.9, 1.0], 1.0),
        ([0.0, 0.5, 0.79], None),
        ([0.9, 0.4, 1.0], 2 * 2 ** (0.4 / 0.6)),
        ([0.9, np.nan, 1.0], None),
    ],
    ids=["between", "on a strength", "from the start", "never", "falls below again", "unknown before"],
)
def test_crossing_is_where_power_stays_above(power, expected):
    found = crossing([1.0, 2.0, 4.0], power)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_a_curve_goes_from_weak_to_strong():
    with pytest.raises(ValueError, match="weakest first"):
        crossing([2.0, 1.0], [0.1, 0.9])
