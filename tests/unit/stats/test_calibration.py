"""Calibrators, calibration error and conformal sets against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from interp_assets.stats.calibration import (
    CALIBRATE,
    FIT,
    TEST,
    bin_sums,
    calibrated,
    conformal_sets,
    conformal_threshold,
    contradicted_p,
    equal_mass_bins,
    equal_width_bins,
    perturbation_shares,
    perturbation_weights,
    split_parts,
)


def drawn(pairs, seed, slope=4.0):
    """Scores and labels: the odds of an edge rise with the score."""
    rng = np.random.default_rng(seed)
    score = rng.random(pairs)
    label = (rng.random(pairs) < 1 / (1 + np.exp(2.5 - slope * score))).astype(np.int8)
    return score, label


def test_parts_are_half_and_quarters_in_every_stratum():
    strata = np.repeat([0, 1, 2], [40, 20, 3])
    part = split_parts(strata, np.random.default_rng(0))
    assert [(part[strata == 0] == k).sum() for k in (FIT, CALIBRATE, TEST)] == [20, 10, 10]
    assert [(part[strata == 1] == k).sum() for k in (FIT, CALIBRATE, TEST)] == [10, 5, 5]


def test_isotonic_and_platt_are_those_of_scikit_learn():
    (score, label), (new, _) = drawn(400, 0), drawn(50, 1)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(score, label).predict(new)
    assert np.allclose(calibrated("isotonic", score, label, new), isotonic)
    platt = LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000).fit(score[:, None], label)
    assert np.allclose(calibrated("platt", score, label, new), platt.predict_proba(new[:, None])[:, 1], atol=1e-4)
    assert calibrated("raw", score, label, new).tolist() == new.tolist()
    assert np.allclose(calibrated("platt", np.full(400, 0.3), label, new), label.mean())
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrated("raw", score, label, np.array([1.2]))
    with pytest.raises(ValueError, match="edges and others"):
        calibrated("isotonic", score, np.zeros(400, dtype=np.int8), new)


def naive_ece(probability, label, bin_of):
    total = 0.0
    for number in np.unique(bin_of):
        inside = bin_of == number
        total += inside.mean() * abs(probability[inside].mean() - label[inside].mean())
    return total


@pytest.mark.parametrize("cut", [equal_width_bins, equal_mass_bins])
def test_ece_equals_a_loop_also_under_resampling(cut):
    score, label = drawn(300, 2)
    perturbation = np.arange(300) % 7
    bin_of = cut(score, 10)
    sums = bin_sums(score, label, perturbation, bin_of, (7, 10))
    assert np.isclose(sums.ece()[0], naive_ece(score, label, bin_of))
    weights = perturbation_weights(7, 5, np.random.default_rng(0))
    for drawn_ece, weight in zip(sums.ece(weights), weights, strict=True):
        repeated = np.concatenate([np.repeat(np.flatnonzero(perturbation == k), int(w)) for k, w in enumerate(weight)])
        assert np.isclose(drawn_ece, naive_ece(score[repeated], label[repeated], bin_of[repeated]))


def test_bins_of_equal_size_keep_ties_together():
    assert np.bincount(equal_mass_bins(np.random.default_rng(0).random(100), 10)).tolist() == [10] * 10
    tied = equal_mass_bins(np.repeat([0.0, 0.5], [70, 30]), 10)
    assert np.unique(tied).tolist() == [0, 7]


def test_the_truth_is_calibrated_and_a_distorted_score_is_not():
    score, _ = drawn(20_000, 3)
    truth = 1 / (1 + np.exp(2.5 - 4 * score))
    label = (np.random.default_rng(4).random(score.size) < truth).astype(np.int8)
    nobody = np.zeros(score.size, dtype=np.int64)

    def ece(probability):
        return bin_sums(probability, label, nobody, equal_width_bins(probability, 10), (1, 10)).ece()[0]

    assert ece(truth) < 0.015
    assert ece(np.sqrt(truth)) > 0.1
    assert ece(calibrated("isotonic", score[::2], label[::2], score)) < 0.03


def test_the_threshold_is_an_order_statistic():
    values = np.random.default_rng(0).random(99)
    assert conformal_threshold(values, 0.05) == np.sort(values)[94]
    assert conformal_threshold(values[:10], 0.05) == np.inf


def naive_sets(probability, label, new, alpha):
    wrong = sorted(1 - p if y == 1 else p for p, y in zip(probability, label, strict=True))
    place = int(np.ceil((len(wrong) + 1) * (1 - alpha)))
    limit = wrong[place - 1] if place <= len(wrong) else np.inf
    return [(1 - p <= limit, p <= limit) for p in new]


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_conformal_sets_equal_a_loop_and_shares_add_up(alpha):
    (score, label), (new, truth) = drawn(120, 5), drawn(90, 6)
    found = conformal_sets(score, label, new, alpha, by_class=False)
    assert list(zip(found.edge.tolist(), found.other.tolist(), strict=True)) == naive_sets(score, label, new, alpha)
    assert sum(found.shares) == pytest.approx(1.0)
    perturbation = np.arange(90) % 6
    covered = found.covered(truth)
    weights = perturbation_weights(6, 4, np.random.default_rng(1))
    for share, weight in zip(perturbation_shares(covered, perturbation, weights), weights, strict=True):
        assert np.isclose(share, np.average(covered, weights=weight[perturbation]))


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_coverage_is_nominal_over_many_screens_overall_and_in_each_class(alpha):
    overall, edges, others = [], [], []
    for seed in range(300):
        (score, label), (new, truth) = drawn(150, seed), drawn(150, 1000 + seed)
        overall.append(conformal_sets(score, label, new, alpha, by_class=False).covered(truth).mean())
        covered = conformal_sets(score, label, new, alpha, by_class=True).covered(truth)
        edges.append(covered[truth == 1].mean())
        others.append(covered[truth == 0].mean())
    # The promise is between 1 - alpha and 1 - alpha + 1 / (n + 1), n the pairs behind a threshold.
    assert 1 - alpha - 0.006 < np.mean(overall) < 1 - alpha + 1 / 151 + 0.006
    for inside in (edges, others):
        assert 1 - alpha - 0.012 < np.mean(inside) < 1 - alpha + 0.035


def test_a_class_without_calibration_pairs_is_never_excluded():
    found = conformal_sets(np.array([0.1, 0.2]), np.zeros(2, dtype=np.int8), np.array([0.9]), 0.5, by_class=True)
    assert found.edge.tolist() == [True]
    assert found.other.tolist() == [False]


def test_a_resample_without_a_number_speaks_against_the_gain():
    draws = np.array([0.2, 0.1, 0.3, -0.1])
    assert contradicted_p(draws) == 2 / 5
    assert contradicted_p(np.append(draws, [0.0, np.nan])) == 4 / 7
