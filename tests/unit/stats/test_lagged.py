"""Lagged cross-correlation against scipy and plain loops; peaks, classes, nulls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.signal import correlate

from interp_assets.stats.lagged import (
    OUTCOMES,
    LaggedPairs,
    bin_starts,
    binned_means,
    cross_correlation,
    joined_peaks,
    lag_peaks,
    random_pair_peaks,
    shuffled_peaks,
)


def smooth(rng, count, length=60, width=3.0):
    return gaussian_filter1d(rng.normal(size=(count, length)), width, axis=1)


def pairs_of(values, regulator, target, sign, **knobs):
    settings = {"bins": 20, "lags": 5, "weak": 0.1, **knobs}
    return LaggedPairs(
        values=values,
        regulator=np.asarray(regulator),
        target=np.asarray(target),
        expected_sign=np.asarray(sign),
        **settings,
    )


def test_cross_correlation_equals_scipy():
    rng = np.random.default_rng(0)
    one, other = smooth(rng, 4), smooth(rng, 4)
    found = cross_correlation(one, other, 10)
    for pair in range(4):
        z = [(series - series.mean()) / series.std() for series in (one[pair], other[pair])]
        full = correlate(z[1], z[0], mode="full") / 60
        np.testing.assert_allclose(found[pair], full[59 - 10 : 59 + 11], atol=1e-12)


def test_a_delayed_copy_peaks_at_its_delay():
    series = smooth(np.random.default_rng(1), 1, 90)[0]
    for delay in (-4, 0, 4):
        found = cross_correlation(series[20:80], -series[20 - delay : 80 - delay], 10)
        peaks = lag_peaks(found[None], [-1], 0.1)
        assert peaks.lag[0] == delay
        assert OUTCOMES[peaks.outcome[0]] == {-4: "target_leads", 0: "simultaneous", 4: "consistent"}[delay]
        assert np.sign(peaks.score[0]) == np.sign(delay) or delay == 0


def test_slow_trends_are_simultaneous():
    trend = np.linspace(0, 1, 50)
    assert lag_peaks(cross_correlation(trend, trend**1.2, 10)[None], [1], 0.1).lag[0] == 0


def test_a_flat_series_correlates_with_nothing():
    found = cross_correlation(np.ones(40), smooth(np.random.default_rng(0), 1, 40)[0], 10)
    assert (found == 0).all()
    assert OUTCOMES[lag_peaks(found[None], [1], 0.1).outcome[0]] == "weak"


@pytest.mark.parametrize(
    ("curve", "sign", "outcome", "score"),
    [
        ([0.0, 0.1, 0.2, 0.3, 0.9], 1, "consistent", 0.8),
        ([0.0, 0.1, 0.2, 0.3, 0.9], -1, "wrong_sign", -0.3),
        ([-0.9, 0.0, 0.2, 0.3, 0.4], -1, "target_leads", -1.2),
        ([0.1, 0.2, 0.9, 0.3, 0.4], 1, "simultaneous", 0.2),
        ([0.01, 0.02, 0.0, 0.0, 0.05], 1, "weak", 0.03),
        ([0.5, 0.0, 0.0, 0.0, 0.5], 1, "target_leads", 0.0),
    ],
)
def test_classes_and_scores_by_hand(curve, sign, outcome, score):
    found = lag_peaks(np.array([curve]), [sign], 0.1)
    assert OUTCOMES[found.outcome[0]] == outcome
    assert found.score[0] == pytest.approx(score)


def test_bins_are_equal_and_follow_the_order():
    values = np.arange(23.0)[:, None]
    order = np.random.default_rng(0).permutation(23)
    means = binned_means(values, order, 5)[:, 0]
    starts = [*bin_starts(23, 5), 23]
    for at in range(5):
        assert means[at] == pytest.approx(values[order[starts[at] : starts[at + 1]], 0].mean())
    assert set(np.diff(starts)) == {4, 5}


def test_impossible_bins_lags_and_signs_are_refused():
    with pytest.raises(ValueError, match="cannot fill"):
        bin_starts(4, 5)
    with pytest.raises(ValueError, match="lags need"):
        cross_correlation(np.ones(10), np.ones(10), 6)
    with pytest.raises(ValueError, match="expected sign"):
        lag_peaks(np.zeros((2, 5)), [1, 0], 0.1)
    with pytest.raises(ValueError, match="one gene to choose"):
        random_pair_peaks(np.ones((20, 1)), [[0]], [[0]], pairs_of(np.ones((40, 2)), [0], [1], [1]),
                          np.random.default_rng(0), 1)  # fmt: skip


def test_shuffles_equal_a_loop_over_permutations():
    rng = np.random.default_rng(2)
    pairs = pairs_of(rng.normal(size=(103, 4)), [0, 1], [2, 3], [1, -1])
    found = shuffled_peaks(pairs, np.random.default_rng(9), 6)
    again = np.random.default_rng(9)
    for draw in range(6):
        one = pairs.peaks(again.permutation(103))
        np.testing.assert_array_equal(found.lag[draw], one.lag)
        np.testing.assert_allclose(found.score[draw], one.score)
    assert found.rate.shape == found.mean_score.shape == (6,)


def test_noise_is_consistent_by_chance_only():
    """Unrelated genes without direction: the observed rate is a draw of the shuffled one."""
    low = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        pairs = pairs_of(rng.normal(size=(200, 24)), np.arange(12), np.arange(12, 24), rng.choice([-1, 1], 12))
        null = shuffled_peaks(pairs, rng, 39)
        observed = pairs.peaks(np.arange(200))
        low += (1 + (null.mean_score >= observed.mean_score).sum()) / 40 <= 0.05
        assert 0.1 < null.rate.mean() < 0.35
        assert abs(null.mean_score.mean()) < 0.1
    assert low <= 5


def test_random_pairs_draw_two_genes_of_their_pools():
    rng = np.random.default_rng(0)
    means = np.vstack([np.zeros((2, 6)), np.eye(6), np.zeros((12, 6))])  # gene g has its only peak in bin g + 2
    pairs = pairs_of(np.ones((40, 2)), [0, 0], [1, 1], [1, 1])
    found = random_pair_peaks(means, [[0, 1], [2, 3]], [[0, 1], [4, 5]], pairs, rng, 200)
    assert set(found.lag[:, 0]) == {-1, 1}
    assert set(found.lag[:, 1]) == {1, 2, 3}


def test_peaks_are_joined_over_draws_or_pairs():
    part = lag_peaks(np.random.default_rng(0).normal(size=(4, 3, 5)), [1, -1, 1], 0.1)
    assert joined_peaks([part, part], axis=0).lag.shape == (8, 3)
    assert joined_peaks([part, part], axis=-1).score.shape == (4, 6)
