"""Parts of a reference: what is left out is no candidate, and size-matched draws equal ranking each anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from interp_assets.stats.resampling import group_weights
from interp_assets.stats.subsets import (
    matched_positions,
    size_matched_recovery,
    subset_labels,
    subset_recovery,
    two_sided_p,
)


def world(seed=0, regulators=6, genes=30, rate=0.25, known=0.5, ties=True):
    rng = np.random.default_rng(seed)
    candidate = np.arange(regulators)[:, None] != np.arange(genes)[None, :]
    member = (rng.random(candidate.shape) < rate) & candidate
    scores = rng.normal(size=candidate.shape) + member
    part = member & (rng.random(candidate.shape) < known)
    return (np.round(scores) if ties else scores), candidate, member, part


def naive(scores, labels):
    """Pooled AUROC and AUROC by row of labels with -1 left out."""
    keep = labels >= 0
    pooled = roc_auc_score(labels[keep], scores[keep]) if {0, 1} <= set(labels[keep]) else np.nan
    each = [
        roc_auc_score(label[label >= 0], score[label >= 0]) if {0, 1} <= set(label.tolist()) else np.nan
        for score, label in zip(scores, labels, strict=True)
    ]
    return pooled, np.array(each)


def test_what_is_left_out_is_neither_positive_nor_negative():
    _, candidate, member, part = world()
    part[2] = False
    labels = subset_labels(candidate, member, part)
    assert (labels[part] == 1).all()
    assert (labels[member & ~part] == -1).all()
    assert (labels[~candidate] == -1).all()
    assert (labels[2] == -1).all(), "a regulator without a positive drops out with its candidates"
    rest = candidate & ~member
    rest[2] = False
    assert (labels[rest] == 0).all()
    with pytest.raises(ValueError, match="must lie inside the reference"):
        subset_labels(candidate, part, member)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_recovery_and_resamples_equal_scikit_learn_on_repeated_regulators(seed):
    scores, candidate, member, part = world(seed)
    labels = subset_labels(candidate, member, part)
    weights = group_weights(6, 8, np.random.default_rng(seed))
    found = subset_recovery(scores, labels, weights)
    pooled, each = naive(scores, labels)
    np.testing.assert_allclose(found.auroc, pooled, atol=1e-12)
    np.testing.assert_allclose(found.by_regulator, each, atol=1e-12)
    assert found.n_candidates.sum() == (labels >= 0).sum()
    assert found.regulators == part.any(axis=1).sum()
    for draw, mean, weight in zip(found.draws, found.mean_draws, weights, strict=True):
        rows = np.repeat(np.arange(6), weight)
        expected, per_row = naive(scores[rows], labels[rows])
        np.testing.assert_allclose(draw, expected, atol=1e-12)
        per_row = per_row[np.isfinite(per_row)]
        np.testing.assert_allclose(mean, per_row.mean() if per_row.size else np.nan, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.6, 0.9]))
def test_size_matched_draws_equal_ranking_each_labelling_anew(seed, known):
    scores, candidate, member, part = world(seed, known=known)
    found = size_matched_recovery(scores, candidate, member, part, np.random.default_rng(seed), 12)
    if not part.any():
        assert np.isnan(found.draws).all()
        return
    stays = part.any(axis=1)
    regulator, target = np.nonzero(member & stays[:, None])
    taken = matched_positions(regulator, part.sum(axis=1), np.random.default_rng(seed), 12)
    for draw, mean, positions in zip(found.draws, found.mean_draws, taken, strict=True):
        chosen = np.zeros_like(member)
        chosen[regulator[positions], target[positions]] = True
        np.testing.assert_array_equal(chosen.sum(axis=1), part.sum(axis=1))
        pooled, each = naive(scores, subset_labels(candidate, member, chosen))
        np.testing.assert_allclose(draw, pooled, atol=1e-12)
        np.testing.assert_allclose(mean, np.nanmean(each), atol=1e-12)


def test_draws_average_to_what_is_expected_and_to_all_positives_of_a_regulator():
    scores, candidate, member, part = world(3, genes=60)
    part[1] = False
    found = size_matched_recovery(scores, candidate, member, part, np.random.default_rng(0), 4000)
    assert found.draws.mean() == pytest.approx(found.expected, abs=4 * found.draws.std() / 4000**0.5)
    assert found.mean_draws.mean() == pytest.approx(found.expected_mean, abs=4 * found.mean_draws.std() / 4000**0.5)
    whole = naive(scores, subset_labels(candidate, member, member))[1]
    np.testing.assert_allclose(found.by_regulator[[0, 2, 3, 4, 5]], whole[[0, 2, 3, 4, 5]], atol=0.01)
    assert np.isnan(found.by_regulator[1])
    assert found.movable == 5


def test_every_positive_of_a_regulator_is_drawn_equally_often():
    regulator = np.array([0, 0, 0, 0, 2, 2, 2])
    taken = matched_positions(regulator, np.array([1, 0, 2]), np.random.default_rng(0), 6000)
    assert taken.shape == (6000, 3)
    np.testing.assert_array_equal(regulator[taken], np.tile([0, 2, 2], (6000, 1)))
    assert (taken[:, 1] != taken[:, 2]).all(), "without replacement"
    shares = np.bincount(taken.ravel(), minlength=7) / 6000
    np.testing.assert_allclose(shares, [0.25] * 4 + [2 / 3] * 3, atol=0.03)


def test_p_is_uniform_for_a_random_part_and_small_for_a_better_one():
    small = {"random": 0, "better": 0}
    for seed in range(80):
        scores, candidate, member, part = world(seed, ties=False, genes=60)
        better = member & (scores > np.quantile(scores[member], 0.6))
        for name, chosen in {"random": part, "better": better}.items():
            p = size_matched_recovery(scores, candidate, member, chosen, np.random.default_rng(seed), 59).p
            small[name] += p <= 0.05
    assert small["random"] <= 10, "four expected of 80 at .05"
    assert small["better"] == 80


def test_two_sided_p_counts_both_tails_and_ties():
    draws = np.array([0.4, 0.5, 0.6, 0.7])
    assert two_sided_p(draws, 0.7, 0.5) == 2 / 5
    assert two_sided_p(draws, 0.4, 0.5) == 4 / 5
    assert two_sided_p(draws, 0.9, 0.5) == 1 / 5
    assert np.isnan(two_sided_p(draws, float("nan"), 0.5))


def test_parts_that_cannot_differ_have_no_p():
    scores, candidate, member, _ = world()
    part = member.copy()
    part[3:] = False
    found = size_matched_recovery(scores, candidate, member, part, np.random.default_rng(0), 20)
    assert found.movable == 0
    assert np.isnan([found.p, found.mean_p]).all()
    assert np.ptp(found.draws) == 0.0
    with pytest.raises(ValueError, match="at least one"):
        size_matched_recovery(scores, candidate, member, part, np.random.default_rng(0), 0)


def test_without_a_negative_there_is_no_number():
    scores, candidate, member, part = world(rate=1.0)
    labels = subset_labels(candidate, member, part)
    found = subset_recovery(scores, labels, group_weights(6, 5, np.random.default_rng(0)))
    assert np.isnan(found.auroc)
    assert np.isnan(found.regulator_mean)
    matched = size_matched_recovery(scores, candidate, member, part, np.random.default_rng(0), 5)
    assert np.isnan([*matched.draws, *matched.mean_draws, matched.p]).all()
