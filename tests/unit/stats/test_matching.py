"""Matching equals naive searches, sees no label of the fold it matches, and reports what it left unbalanced."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from interp_assets.stats import matching
from interp_assets.stats.crossfit import TooLittleDataError, plan_folds
from interp_assets.stats.incremental import candidate_pairs
from interp_assets.stats.matching import (
    balance,
    nearest,
    paired_by_rank,
    propensity_matching,
    restricted_plan,
    standardised_mean_difference,
)


def screen(perturbations=60, genes=120, seed=0, confound=1.2):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=genes)
    label = (rng.random((perturbations, genes)) < 1 / (1 + np.exp(3.0 - confound * z))).astype(np.int8)
    source = rng.permutation(genes)[:perturbations]
    label[np.arange(perturbations), source] = -1
    features = np.column_stack([np.exp(0.6 * z + rng.normal(0, 0.5, genes)), np.exp(z), rng.normal(size=genes) - z])
    pairs = candidate_pairs(label, source)
    plan = plan_folds("perturbation", pairs.perturbation, pairs.target, folds=5, seed=[seed])
    return features, pairs, plan


def matched(features, pairs, plan, matches=5, seed=0):
    return propensity_matching(features, pairs, plan, matches=matches, rng=np.random.default_rng(seed))


def fold_of(pairs, plan):
    fold = np.empty(pairs.size, dtype=int)
    for number, part in enumerate(plan.folds):
        fold[part.test] = number
    return fold


def test_distances_equal_a_nearest_neighbour_search():
    rng = np.random.default_rng(0)
    for case in range(60):
        offered = rng.integers(0, 2 + case, rng.integers(5, 60)) / 7
        wanted = rng.integers(-3, 5 + case, 20) / 7
        k = int(rng.integers(1, 6))
        found = nearest(wanted, offered, k, rng)
        assert all(np.unique(row).size == k for row in found)
        expected = NearestNeighbors(n_neighbors=k).fit(offered[:, None]).kneighbors(wanted[:, None])[0]
        got = np.sort(np.abs(wanted[:, None] - offered[found]), axis=1)
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_ties_are_broken_at_random_and_not_by_position():
    # Ten equal negatives, three wanted by each of many positives: every one is taken about equally often.
    found = nearest(np.zeros(4000), np.r_[np.zeros(10), 5.0], 3, np.random.default_rng(0))
    counts = np.bincount(found.ravel(), minlength=11)
    assert counts[10] == 0
    assert np.abs(counts[:10] - 1200).max() < 5 * np.sqrt(4000 * 0.3 * 0.7)
    same = [nearest(np.zeros(9), np.zeros(40), 3, np.random.default_rng(4)) for _ in range(2)]
    np.testing.assert_array_equal(*same)


def test_the_propensity_equals_scikit_learn_fold_by_fold():
    features, pairs, plan = screen()
    found = matched(features, pairs, plan)
    fold, positive = fold_of(pairs, plan), pairs.positive

    def counted(folds, target):
        return (positive & np.isin(fold, folds) & (pairs.target == target)).sum()

    for test in range(5):
        training = [f for f in range(5) if f != test]
        table = {t: counted(training, t) for t in np.unique(pairs.target)}
        own = {(f, t): counted([f], t) for f in training for t in table}
        here, there = fold == test, fold != test
        n_test = np.array([table[t] for t in pairs.target[here]], dtype=float)
        n_train = np.array(
            [(table[t] - own[f, t]) * 4 / 3 for f, t in zip(fold[there], pairs.target[there], strict=True)]
        )
        np.testing.assert_array_equal(found.n_affected[here], n_test)
        x = np.column_stack([features[pairs.target[there]], n_train])
        scale = StandardScaler().fit(x)
        model = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10, max_iter=5000)
        model.fit(scale.transform(x), positive[there])
        new = scale.transform(np.column_stack([features[pairs.target[here]], n_test]))
        np.testing.assert_allclose(found.log_odds[here], model.decision_function(new), atol=1e-3)


def test_matches_lie_in_the_fold_of_their_positive_and_are_its_nearest():
    features, pairs, plan = screen(seed=1)
    found = matched(features, pairs, plan)
    fold = fold_of(pairs, plan)
    assert found.negative.shape == (int(pairs.positive.sum()), 5)
    assert pairs.positive[found.positive].all()
    assert not pairs.positive[found.negative].any()
    assert (fold[found.negative] == fold[found.positive][:, None]).all()
    for number in range(0, found.positive.size, 17):
        at = found.positive[number]
        pool = np.flatnonzero((fold == fold[at]) & ~pairs.positive)
        distance = np.sort(np.abs(found.log_odds[pool] - found.log_odds[at]))[:5]
        got = np.sort(np.abs(found.log_odds[found.negative[number]] - found.log_odds[at]))
        np.testing.assert_allclose(got, distance, atol=1e-12)


def test_labels_of_a_fold_move_neither_its_counts_nor_its_propensity():
    features, pairs, plan = screen(seed=2)
    before = matched(features, pairs, plan)
    test = plan.folds[2].test
    pairs.positive[test] = ~pairs.positive[test]
    after = matched(features, pairs, plan)
    np.testing.assert_array_equal(after.n_affected[test], before.n_affected[test])
    np.testing.assert_array_equal(after.log_odds[test], before.log_odds[test])
    assert not np.array_equal(np.delete(after.n_affected, test), np.delete(before.n_affected, test))


def test_counts_from_test_labels_would_pretend_a_signal_in_noise():
    """The trap: in noise a count that holds the own outcome predicts it, the cross-fitted one does not."""
    honest, leaking = [], []
    for seed in range(12):
        features, pairs, plan = screen(30, 100, seed, confound=0.0)
        found = matched(features, pairs, plan, matches=2)
        everything = np.bincount(pairs.target[pairs.positive], minlength=100)[pairs.target]
        honest.append(roc_auc_score(pairs.positive, found.n_affected))
        leaking.append(roc_auc_score(pairs.positive, everything))
    assert abs(np.mean(honest) - 0.5) < 0.02
    assert np.mean(leaking) > 0.6


def test_reuse_balances_trivially_and_distinct_pairs_do_not():
    features, pairs, plan = screen(100, 200)
    found = matched(features, pairs, plan)
    covariates = np.column_stack([features[pairs.target], found.n_affected])
    smd = balance(covariates, pairs.positive, found)
    assert (smd.before > 0.4).sum() >= 3
    assert (smd.reused < 0.02).all()
    assert smd.distinct[3] > 0.1, "the number of affected perturbations fails, as in the published study"
    np.testing.assert_array_equal(found.distinct_negative, np.unique(found.negative))
    assert found.distinct.sum() == found.positive.size + found.distinct_negative.size


def test_standardised_mean_difference_by_hand_and_without_spread():
    one, other = np.array([[1.0, 2.0, 3.0]]).T, np.array([[2.0, 4.0]]).T
    assert standardised_mean_difference(one, other) == pytest.approx(1.0 / np.sqrt((1 + 2) / 2))
    same = np.ones((3, 1))
    assert standardised_mean_difference(same, same) == 0.0
    assert np.isinf(standardised_mean_difference(same, 2 * same))


def test_one_fold_assignment_serves_all_pairs_and_the_matched_ones():
    features, pairs, plan = screen()
    kept = matched(features, pairs, plan).distinct
    part = restricted_plan(plan, kept)
    np.testing.assert_array_equal(fold_of(pairs.subset(kept), part), fold_of(pairs, plan)[kept])
    with pytest.raises(TooLittleDataError, match="keeps no training or no test"):
        restricted_plan(plan, np.arange(kept.size) == 0)


def test_too_few_negatives_or_folds_are_refused():
    features, pairs, plan = screen()
    with pytest.raises(TooLittleDataError, match="matches"):
        matched(features, pairs, plan, matches=10_000)
    for split, folds in (("perturbation", 2), ("target_gene", 5), ("joint", 5)):
        other = plan_folds(split, pairs.perturbation, pairs.target, folds=folds, seed=[0])
        with pytest.raises(ValueError, match="3 or more folds over perturbations"):
            matched(features, pairs, other)
    with pytest.raises(ValueError, match="cannot give"):
        nearest(np.zeros(1), np.zeros(2), 3, np.random.default_rng(0))


def naive_pairs(label, rank, caliper):
    kept = []
    positives, negatives = set(np.flatnonzero(label == 1)), set(np.flatnonzero(label == 0))
    while True:
        close = [
            (abs(rank[i] - rank[j]), i, j) for i in positives for j in negatives if abs(rank[i] - rank[j]) <= caliper
        ]
        if not close:
            return kept
        _, i, j = min(close)
        kept.append((i, j))
        positives.remove(i)
        negatives.remove(j)


def test_expression_pairs_equal_a_naive_search_and_take_the_signal_out():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=300)
    label = (rng.random((25, 300)) < 1 / (1 + np.exp(2.0 - 1.2 * mean))).astype(np.int8)
    label[rng.random(label.shape) > 0.25] = -1
    paired = paired_by_rank(label, mean, 0.05)
    rank = np.argsort(np.argsort(mean)) + 1
    for row in range(25):
        expected = naive_pairs(label[row], rank, 15)
        assert set(np.flatnonzero(paired[row] == 1)) == {i for i, _ in expected}
        assert set(np.flatnonzero(paired[row] == 0)) == {j for _, j in expected}

    def auroc(table):
        return np.mean([roc_auc_score(row[row >= 0], mean[row >= 0]) for row in table if np.ptp(row[row >= 0]) == 1])

    assert auroc(label) > 0.7
    assert auroc(paired) == pytest.approx(0.5, abs=0.03)
    assert (paired == 1).sum() > 0.85 * (label == 1).sum()


def test_a_positive_without_a_negative_in_reach_drops_out():
    label = np.array([[1, 0, -1, -1, 1]], dtype=np.int8)
    paired = paired_by_rank(label, np.arange(5.0), 0.2)
    np.testing.assert_array_equal(paired, [[1, 0, -1, -1, -1]])
    assert (matching.paired_by_rank(np.array([[1, 1, -1]], dtype=np.int8), np.arange(3.0), 1.0) == -1).all()
