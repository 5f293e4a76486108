"""Top-k recovery, exact tests over runs, relabelled targets, ties: equal to naive counts and to scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from interp_assets.stats.clustered_recovery import outranked
from interp_assets.stats.recovery import (
    jaccard,
    keep_top_targets,
    partial_spearman,
    permuted_spearman,
    sign_test,
    spearman,
    spearman_draws,
    stouffer,
    tie_shares,
    top_edges,
    top_recovery,
    top_shares,
)
from interp_assets.stats.resampling import group_weights, grouped_auroc_bootstrap


def network(seed=0, regulators=5, genes=30, share=0.15, signal=0.0, levels=0):
    """Score R x G, membership, regulators and candidates of a small network."""
    rng = np.random.default_rng(seed)
    own = np.sort(rng.choice(genes, regulators, replace=False))
    candidate = own[:, None] != np.arange(genes)[None, :]
    member = (rng.random((regulators, genes)) < share) & candidate
    score = rng.normal(size=(regulators, genes)) + signal * member
    return (np.round(score * levels) / levels if levels else score), member, own, candidate


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=3, max_size=12), st.integers(1, 15))
def test_top_hits_equal_the_mean_over_all_tied_orders(pairs, k):
    score, positive = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    if positive.all() or not positive.any():
        with pytest.raises(ValueError, match="both kinds"):
            top_recovery(score, positive, [k])
        return
    taken = min(k, score.size)
    threshold = np.sort(score)[::-1][taken - 1]
    above, level = score > threshold, score == threshold
    hits = positive[above].sum() + (taken - above.sum()) * positive[level].mean()
    found = top_recovery(score, positive, [k])
    assert found.hits[0] == pytest.approx(hits)
    assert found.precision[0] == pytest.approx(hits / taken)
    assert found.recall[0] == pytest.approx(hits / positive.sum())
    assert found.f1[0] == pytest.approx(2 * hits / (taken + positive.sum()))
    assert found.expected[0] == pytest.approx(taken * positive.mean())


def test_a_run_without_a_hit_is_zero_and_not_missing():
    found = top_recovery([3.0, 2.0, 1.0], [False, False, True], [1, 2, 3])
    assert found.f1.tolist() == [0.0, 0.0, 0.5]
    assert found.expected.tolist() == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_random_scores_hit_as_often_as_expected():
    rng = np.random.default_rng(0)
    positive = np.arange(400) < 40
    hits = [top_recovery(rng.random(400), positive, [100]).hits[0] for _ in range(300)]
    assert np.mean(hits) == pytest.approx(10.0, abs=0.5)


@pytest.mark.parametrize(("score", "positive", "ks"), [
    ([1.0, np.nan], [True, False], [1]), ([1.0, 2.0], [True, False], []), ([1.0, 2.0], [True, False], [0]),
])  # fmt: skip
def test_wrong_pairs_are_refused(score, positive, ks):
    with pytest.raises(ValueError, match=r"finite score|at least one number"):
        top_recovery(score, positive, ks)


@pytest.mark.parametrize("levels", [0, 1])
def test_shares_of_the_top_give_the_expected_hits(levels):
    score, member, _, candidate = network(3, levels=levels)
    values, held = score[candidate], member[candidate]
    for k in (1, 10, 60):
        share = top_shares(values, k)
        assert share.sum() == pytest.approx(k)
        assert share[held].sum() == pytest.approx(top_recovery(values, held, [k]).hits[0])
    with pytest.raises(ValueError, match="k = 0"):
        top_shares(values, 0)


def test_kept_edges_and_their_overlap():
    assert top_edges([0.1, 0.9, 0.9, 0.5], 2).tolist() == [1, 2]
    assert top_edges([1.0, 1.0, 1.0], 2).tolist() == [0, 1]
    assert jaccard([1, 2], [1, 2]) == 1.0
    assert jaccard([1, 2], [3]) == 0.0
    for wrong in (0, 5):
        with pytest.raises(ValueError, match="of 4 pairs"):
            top_edges([0.1, 0.9, 0.9, 0.5], wrong)
    with pytest.raises(ValueError, match="empty"):
        jaccard([], [])


def test_sign_test_equals_scipy_and_counts_ties_against():
    values = np.array([-1.0, -2.0, 0.5, -0.1, 0.0, -3.0])
    found = sign_test(values, "less")
    assert (found.n, found.below, found.above, found.tied) == (6, 4, 1, 1)
    assert found.p == pytest.approx(stats.binomtest(4, 6, 0.5, alternative="greater").pvalue)
    assert found.p_without_ties == pytest.approx(stats.binomtest(4, 5, 0.5, alternative="greater").pvalue)
    assert sign_test(-values, "greater") == type(found)(
        n=6, below=1, above=4, tied=1, p=found.p, p_without_ties=found.p_without_ties
    )
    assert sign_test([0.0, 0.0], "less").p == 1.0
    for wrong in ([], [np.nan]):
        with pytest.raises(ValueError, match="one finite difference"):
            sign_test(wrong, "less")


def test_sign_test_has_at_most_its_level():
    p = [sign_test(np.random.default_rng(seed).normal(size=9), "less").p for seed in range(400)]
    # P(8 or 9 of 9) = 10 / 512
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(10 / 512, abs=0.02)


def test_permuted_spearman_equals_scipy_and_its_permutation_test():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 4, 6).astype(float), rng.normal(size=6)
    found = permuted_spearman(x, y, rng, 20_000)
    expected = stats.spearmanr(x, y).statistic
    assert found.rho == pytest.approx(expected, abs=1e-12)
    assert spearman(x, y) == pytest.approx(expected, abs=1e-12)
    exact = stats.permutation_test(
        (y,), lambda values: stats.spearmanr(x, values).statistic, permutation_type="pairings", n_resamples=np.inf,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert found.p == pytest.approx(exact.pvalue, abs=0.02)
    less = permuted_spearman(x, y, np.random.default_rng(2), 5000, "less").p
    greater = permuted_spearman(x, y, np.random.default_rng(2), 5000, "greater").p
    assert less + greater == pytest.approx(1.0, abs=0.05)
    assert np.isnan(spearman([1.0, 1.0], [1.0, 2.0]))
    for wrong in (([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), ([1.0] * 4, [1.0, 2.0, 3.0, 4.0]), ([np.nan] * 4, [1.0] * 4)):
        with pytest.raises(ValueError, match=r"at least 4 runs|same value|no value"):
            permuted_spearman(*wrong, rng, 10)


def test_resampled_spearman_equals_scipy_on_the_drawn_runs():
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 3, 9).astype(float), rng.normal(size=9)
    draws = spearman_draws(x, y, np.random.default_rng(1), 20)
    drawn = np.random.default_rng(1).integers(0, 9, (20, 9))
    for draw, at in zip(draws, drawn, strict=True):
        if np.ptp(x[at]) > 0:
            assert draw == pytest.approx(stats.spearmanr(x[at], y[at]).statistic, abs=1e-12)
    assert np.isnan(spearman_draws(np.ones(9), y, rng, 2)).all()


def test_partial_spearman_takes_the_third_quantity_out():
    rng = np.random.default_rng(3)
    cells = rng.normal(size=4000)
    x, y = cells + rng.normal(size=4000), cells + rng.normal(size=4000)
    assert spearman(x, y) > 0.4
    assert partial_spearman(x, y, cells) == pytest.approx(0.0, abs=0.05)
    assert np.isnan(partial_spearman(x, y, x))


def test_stouffer_equals_scipy():
    p = [0.01, 0.2, 0.7]
    expected = stats.combine_pvalues(p, "stouffer")
    assert stouffer(p) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-12)
    assert np.isfinite(stouffer([1.0, 0.5])[0])
    with pytest.raises(ValueError, match="above 0"):
        stouffer([0.0, 0.5])


@pytest.mark.parametrize("levels", [0, 2])
def test_clustered_bootstrap_equals_the_one_over_pairs(levels):
    score, member, _, candidate = network(2, levels=levels)
    weights = group_weights(5, 40, np.random.default_rng(0))
    group = np.nonzero(candidate)[0]
    expected = grouped_auroc_bootstrap(score[candidate], member[candidate].astype(int), group, weights)
    counted = outranked(score, member, candidate)
    np.testing.assert_allclose(counted.draws(weights), expected, atol=1e-12)
    assert counted.auroc == pytest.approx(roc_auc_score(member[candidate], score[candidate]), abs=1e-12)
    with pytest.raises(ValueError, match="finite score"):
        outranked(np.where(member, np.nan, score), member, candidate)
    with pytest.raises(ValueError, match="needs both"):
        outranked(score, np.zeros_like(member), candidate)


def test_ties_taken_apart_equal_counting():
    score, member, own, candidate = network(4, levels=1)
    values, held = score[candidate], member[candidate]
    found = tie_shares(values, held, np.random.default_rng(0), 200)
    pairs = np.sign(values[held][:, None] - values[~held][None, :])
    assert (found.above, found.below, found.tied) == pytest.approx(
        ((pairs > 0).mean(), (pairs < 0).mean(), (pairs == 0).mean())
    )
    assert found.auroc == pytest.approx(roc_auc_score(held, values))
    assert found.broken.mean() == pytest.approx(found.auroc, abs=0.02)
    assert found.worst < found.broken.min() < found.broken.max() < found.best
    kept = keep_top_targets(score, own, 4)
    assert ((kept > 0).sum(axis=1) == 4).all()
    assert not kept[~candidate].any()
    for row in range(5):
        best = np.sort(score[row, candidate[row]])[::-1][:4]
        np.testing.assert_allclose(np.sort(score[row, kept[row] > 0])[::-1], best)
    missing = score.copy()
    missing[0, 3:] = np.nan
    few = keep_top_targets(missing, own, 4)
    assert np.array_equal(few[0] > 0, candidate[0] & (np.arange(30) < 3))
    assert np.array_equal(few[1:] > 0, kept[1:] > 0)
    with pytest.raises(ValueError, match="no target has a score"):
        keep_top_targets(np.full(score.shape, np.nan), own, 4)
    with pytest.raises(ValueError, match="kept = 30"):
        keep_top_targets(score, own, 30)
