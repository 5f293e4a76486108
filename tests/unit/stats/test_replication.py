"""What a context could have shown: power against statsmodels, intervals against a loop and by their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, wilcoxon
from statsmodels.stats.power import TTestPower

from interp_assets.stats.paired import Equivalence, equivalence_test, signed_rank
from interp_assets.stats.replication import (
    context_evidence,
    detectable_difference,
    power_to_detect,
    read_context,
    studentised_interval,
)
from interp_assets.stats.resampling import Interval, bootstrap_mean


@pytest.mark.parametrize("n", [3, 5, 7, 30, 90])
@pytest.mark.parametrize("size", [0.0, 0.1, 0.5, 0.9])
def test_power_equals_statsmodels(n, size):
    expected = TTestPower().power(effect_size=size, nobs=n, alpha=0.05)
    assert power_to_detect(size * 0.2, n, 0.2) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [3, 5, 7, 77, 1167])
def test_the_detectable_difference_is_found_with_the_stated_power(n):
    gap = detectable_difference(n, 0.13)
    assert power_to_detect(gap, n, 0.13) == pytest.approx(0.8, abs=1e-6)
    assert power_to_detect(-gap, n, 0.13) == pytest.approx(0.8, abs=1e-6)


def test_simulated_power_agrees():
    rng = np.random.default_rng(0)
    gap = detectable_difference(30, 1.0)
    draws = rng.normal(gap, 1.0, (2000, 30))
    t = draws.mean(1) / (draws.std(1, ddof=1) / math.sqrt(30))
    assert (np.abs(t) > 2.045).mean() == pytest.approx(0.8, abs=0.03)


def test_extremes_stay_numbers():
    assert power_to_detect(10.0, 1000, 0.01) == 1.0
    assert power_to_detect(0.1, 300, 0.2) == pytest.approx(1.0, abs=1e-10)
    assert power_to_detect(0.02, 50, 0.0) == 1.0
    assert power_to_detect(0.0, 50, 0.0) == 0.05
    assert detectable_difference(50, 0.0) == 0.0


def test_interval_equals_a_loop_over_the_same_draws():
    values = np.random.default_rng(3).exponential(size=9)
    got = studentised_interval(values, np.random.default_rng(5), 500)
    rng = np.random.default_rng(5)
    draws = [drawn for drawn in values[rng.integers(0, 9, (500, 9))] if len(set(drawn)) > 1]
    ratios = [(drawn.mean() - values.mean()) / (drawn.std(ddof=1) / 3) for drawn in draws]
    low, high = np.percentile(ratios, [2.5, 97.5])
    error = values.std(ddof=1) / 3
    assert got.low == pytest.approx(values.mean() - high * error, abs=1e-12)
    assert got.high == pytest.approx(values.mean() - low * error, abs=1e-12)
    assert (got.resamples_requested, got.resamples_done) == (500, len(ratios))


def test_many_units_give_the_usual_intervals():
    values = np.random.default_rng(1).normal(0.05, 0.2, 800)
    got = studentised_interval(values, np.random.default_rng(2), 4000)
    plain = bootstrap_mean(values, np.random.default_rng(2), 4000)
    other = bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(4))
    assert (got.low, got.high) == pytest.approx((plain.low, plain.high), abs=0.002)
    bca = other.confidence_interval
    assert (got.low, got.high) == pytest.approx((bca.low, bca.high), abs=0.002)


def test_seven_units_are_covered_where_percentiles_are_not():
    rng = np.random.default_rng(8)
    studentised = percentile = 0
    for values in rng.normal(size=(400, 7)):
        interval = studentised_interval(values, rng, 400)
        plain = bootstrap_mean(values, rng, 400)
        studentised += interval.low < 0 < interval.high
        percentile += plain.low < 0 < plain.high
    assert studentised / 400 == pytest.approx(0.95, abs=0.035)
    assert percentile / 400 < 0.92


def test_a_context_holds_the_numbers_of_its_parts():
    values = np.random.default_rng(2).normal(0.03, 0.1, 25)
    found = context_evidence(values, 0.02, np.random.default_rng(0), 300)
    assert found.test == signed_rank(values)
    assert found.test.p == pytest.approx(wilcoxon(values, method="exact").pvalue, abs=1e-15)
    assert found.equivalence == equivalence_test(values, 0.02)
    assert found.sd == pytest.approx(values.std(ddof=1))
    assert found.detectable == detectable_difference(25, found.sd)
    assert found.power_at_margin == power_to_detect(0.02, 25, found.sd)
    assert found.interval.low < found.mean < found.interval.high


def test_five_units_reach_no_level_and_so_have_no_power():
    found = context_evidence([0.5, 0.4, 0.45, 0.55, 0.52], 0.02, np.random.default_rng(0), 300)
    assert found.interval.low > 0
    assert found.test.smallest_p == 0.0625
    assert found.power_at_margin == 0.0
    assert found.reading == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "smallest", "equivalent", "expected"),
    [
        (0.01, 0.1, 0.01, False, "greater"),
        (-0.1, -0.01, 0.01, False, "smaller"),
        (-0.01, 0.015, 0.01, True, "equal"),
        (-0.01, 0.015, 0.01, False, "undecided"),
        (-0.03, 0.015, 0.01, True, "undecided"),
        (-0.1, 0.1, 0.01, False, "undecided"),
        (0.01, 0.1, 0.0625, False, "undecided"),
        (math.nan, 0.1, 0.01, False, "undecided"),
    ],
)
def test_reading(low, high, smallest, equivalent, expected):
    equal = Equivalence(0.0, 0.01 if equivalent else 0.4, 0.02, equivalent)
    assert read_context(Interval(low, high, 10, 10), smallest, equal) == expected


def test_noise_reads_greater_or_smaller_no_more_often_than_the_level():
    rng = np.random.default_rng(4)
    read = [context_evidence(values, 0.02, rng, 300).reading for values in rng.normal(0, 0.1, (150, 20))]
    assert sum(word in ("greater", "smaller") for word in read) / 150 < 0.1


def test_units_that_are_alike_have_an_interval_of_no_width():
    assert studentised_interval([0.1] * 6, np.random.default_rng(0), 10) == Interval(0.1, 0.1, 10, 10)
    zero = context_evidence(np.zeros(8), 0.02, np.random.default_rng(0), 10)
    assert (zero.sd, zero.test.p, zero.reading) == (0.0, 1.0, "undecided")


@pytest.mark.parametrize("values", [[1.0], [1.0, math.nan], [[1.0, 2.0]]])
def test_bad_units_are_refused(values):
    with pytest.raises(ValueError, match="unit"):
        studentised_interval(values, np.random.default_rng(0), 10)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="resamples"):
        studentised_interval([1.0, 2.0], np.random.default_rng(0), 0)
    with pytest.raises(ValueError, match="3 units"):
        power_to_detect(0.1, 2, 0.1)
    with pytest.raises(ValueError, match="power"):
        detectable_difference(10, 0.1, power=0.01)
