"""Bootstraps against plain loops, closed forms and scikit-learn on repeated pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from interp_assets.stats.resampling import (
    bootstrap_mean,
    bootstrap_statistic,
    group_weights,
    grouped_auroc_bootstrap,
    grouped_average_precision_bootstrap,
    paired_mean_difference,
    percentile_interval,
)


def pairs(seed: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, groups = 400, 9
    scores = rng.normal(size=n)
    labels = (rng.random(n) < 0.2 + 0.2 * (scores > 0)).astype(int)
    return np.round(scores, 0) if ties else scores, labels, rng.integers(0, groups, n)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("fast", "plain"),
    [
        (grouped_auroc_bootstrap, roc_auc_score),
        (grouped_average_precision_bootstrap, average_precision_score),
    ],
    ids=["auroc", "average_precision"],
)
def test_grouped_bootstrap_equals_repeating_the_pairs(fast, plain, ties):
    scores, labels, groups = pairs(1, ties=ties)
    weights = group_weights(9, 25, np.random.default_rng(2))
    expected = []
    for drawn in weights:
        again = np.repeat(np.arange(scores.size), drawn[groups])
        expected.append(plain(labels[again], scores[again]))
    np.testing.assert_allclose(fast(scores, labels, groups, weights), expected, rtol=0, atol=1e-12)


def test_a_resample_without_one_label_has_no_value():
    scores, labels, groups = [1.0, 2.0, 3.0, 4.0], [1, 1, 0, 1], [0, 0, 1, 1]
    weights = [[2, 0], [0, 2], [1, 1], [0, 0]]
    for bootstrap in (grouped_auroc_bootstrap, grouped_average_precision_bootstrap):
        assert np.isnan(bootstrap(scores, labels, groups, weights)).tolist() == [True, False, False, True]


def test_group_weights_draw_as_many_groups_as_there_are():
    weights = group_weights(7, 500, np.random.default_rng(0))
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 2]}, "labels 0 or 1"),
        ({"scores": [0.0, np.nan]}, "finite"),
        ({"groups": [0, 3]}, "group numbers"),
        ({"weights": [[0.5, 1.0]]}, "whole numbers"),
        ({"labels": [0]}, "one-dimensional"),
        ({"weights": [[-1, 2]]}, "not negative"),
    ],
)
def test_grouped_bootstrap_refuses_bad_input(change, message):
    good = {"scores": [0.0, 1.0], "labels": [0, 1], "groups": [0, 1], "weights": [[1, 1]]}
    with pytest.raises(ValueError, match=message):
        grouped_auroc_bootstrap(**(good | change))


def test_bootstrap_of_the_mean_equals_a_loop_and_the_normal_interval():
    values = np.random.default_rng(5).normal(0.7, 0.2, 400)
    interval = bootstrap_mean(values, np.random.default_rng(9), 2000)
    rng = np.random.default_rng(9)
    draws = [values[rng.integers(0, 400, 400)].mean() for _ in range(2000)]
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), abs=1e-12)
    half = norm.ppf(0.975) * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert (interval.resamples_requested, interval.resamples_done) == (2000, 2000)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(400):
        interval = bootstrap_mean(rng.normal(size=40), rng, 200)
        hits += interval.low <= 0.0 <= interval.high
    # Percentile intervals of 40 units cover about .93; the bounds are four binomial deviations wide.
    assert 0.88 <= hits / 400 <= 0.98


def test_paired_difference_resamples_units_together():
    rng = np.random.default_rng(0)
    baseline = rng.normal(size=50)
    shifted = paired_mean_difference(baseline + 0.25, baseline, rng, 100)
    assert shifted.mean == pytest.approx(0.25)
    assert (shifted.interval.low, shifted.interval.high) == pytest.approx((0.25, 0.25))
    with pytest.raises(ValueError, match="same units"):
        paired_mean_difference([1.0, 2.0], [1.0], rng, 10)


def test_large_bootstraps_do_not_depend_on_the_block_size(monkeypatch):
    values = np.random.default_rng(1).normal(size=30)
    whole = bootstrap_mean(values, np.random.default_rng(2), 101)
    monkeypatch.setattr("interp_assets.stats.resampling.BLOCK", 70)
    assert bootstrap_mean(values, np.random.default_rng(2), 101) == whole


def test_draws_without_a_value_are_counted_out():
    interval = bootstrap_statistic(4, lambda at: float("nan") if 0 in at else 1.0, np.random.default_rng(0), 200)
    assert interval.resamples_requested == 200
    assert 0 < interval.resamples_done < 200
    assert interval.low == interval.high == 1.0
    none = percentile_interval([np.nan], requested=1)
    assert np.isnan(none.low)
    assert none.resamples_done == 0


@pytest.mark.parametrize(
    ("values", "resamples", "message"),
    [([1.0, np.nan], 10, "no value"), ([], 10, "one value a unit"), ([1.0], 0, "at least one")],
)
def test_bootstrap_refuses_missing_units(values, resamples, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(values, np.random.default_rng(0), resamples)
