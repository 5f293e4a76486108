"""Pair correlations judged by relabelled genes: equal to slow loops, level under the null, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from interp_assets.stats.mantel import (
    gene_bootstrap,
    gene_permutations,
    mantel_membership,
    mantel_test,
    mantel_tests,
    pair_ranks,
    spearman_of_pairs,
)

PAIR = ~np.eye(12, dtype=bool)


def scores(seed=0, genes=12, symmetric=False):
    table = np.round(np.random.default_rng(seed).normal(size=(genes, genes)), 1)
    return table + table.T if symmetric else table


@pytest.mark.parametrize("symmetric", [False, True])
def test_correlation_and_null_equal_scipy_on_relabelled_matrices(symmetric):
    one, other = scores(1), scores(2, symmetric=symmetric)
    relabelled = gene_permutations(12, 30, np.random.default_rng(0))
    found = mantel_test(pair_ranks(one), pair_ranks(other), relabelled)
    assert found.correlation == pytest.approx(spearmanr(one[PAIR], other[PAIR]).statistic, abs=1e-12)
    null = np.array([spearmanr(one[np.ix_(g, g)][PAIR], other[PAIR]).statistic for g in relabelled])
    assert found.null_mean == pytest.approx(null.mean(), abs=1e-12)
    assert found.null_sd == pytest.approx(null.std(ddof=1), abs=1e-12)
    assert found.p == (1 + (np.abs(null) >= abs(found.correlation)).sum()) / 31
    assert found.p_greater == (1 + (null >= found.correlation).sum()) / 31
    assert (found.n_genes, found.n_pairs, found.permutations) == (12, 132, 30)


def test_several_scores_meet_the_same_relabelled_genes():
    own, others = pair_ranks(scores(1)), [pair_ranks(scores(2)), pair_ranks(scores(3, symmetric=True))]
    relabelled = gene_permutations(12, 40, np.random.default_rng(0))
    together = mantel_tests(own, others, relabelled)
    for one, other in zip(together, others, strict=True):
        alone = mantel_test(own, other, relabelled)
        assert (one.p, one.p_greater) == (alone.p, alone.p_greater)
        assert one.null_sd == pytest.approx(alone.null_sd, abs=1e-12)


def test_identical_labellings_count_as_extreme():
    own = pair_ranks(scores(1))
    unchanged = np.tile(np.arange(12), (5, 1))
    assert mantel_test(own, pair_ranks(scores(2)), unchanged).p == 1.0


def test_membership_equals_the_full_test_on_zeros_and_ones():
    score, rng = scores(4), np.random.default_rng(5)
    source, target = np.nonzero((rng.random((12, 12)) < 0.15) & PAIR)
    listed = np.zeros((12, 12))
    listed[source, target] = 1.0
    relabelled = gene_permutations(12, 60, rng)
    found = mantel_membership(pair_ranks(score), source, target, relabelled)
    assert found.correlation == pytest.approx(spearmanr(score[PAIR], listed[PAIR]).statistic, abs=1e-12)
    null = [spearmanr(score[np.ix_(g, g)][PAIR], listed[PAIR]).statistic for g in relabelled]
    assert found.null_mean == pytest.approx(np.mean(null), abs=1e-12)


def test_the_level_holds_where_pairs_share_genes_and_a_pair_test_fails():
    rng = np.random.default_rng(6)
    wrong, right = 0, 0
    for _ in range(60):
        # Row and column effects on both sides, unrelated: pairs of one gene go together.
        one, other = (np.add.outer(rng.normal(size=25), rng.normal(size=25)) for _ in range(2))
        pairs = ~np.eye(25, dtype=bool)
        wrong += spearmanr(one[pairs], other[pairs]).pvalue <= 0.05
        relabelled = gene_permutations(25, 99, rng)
        right += mantel_test(pair_ranks(one), pair_ranks(other), relabelled).p <= 0.05
    assert right <= 9  # three expected of 60, three binomial deviations above is eight
    assert wrong > 25


def test_a_planted_association_is_found_with_its_size():
    rng = np.random.default_rng(7)
    base = rng.normal(size=(60, 60))
    other = 0.6 * base + 0.8 * rng.normal(size=(60, 60))
    own, ranks = pair_ranks(base), pair_ranks(other)
    found = mantel_test(own, ranks, gene_permutations(60, 99, rng))
    assert found.p == 0.01
    assert found.correlation == pytest.approx(6 / np.pi * np.arcsin(0.3), abs=0.03)
    draws = gene_bootstrap(own, [ranks], rng, 200)[0]
    assert draws.mean() == pytest.approx(found.correlation, abs=0.02)
    assert np.quantile(draws, 0.025) < found.correlation < np.quantile(draws, 0.975)


def test_bootstrap_equals_repeating_the_pairs_of_drawn_genes():
    one, other = pair_ranks(scores(1)), pair_ranks(scores(2))
    draws = gene_bootstrap(one, [other], np.random.default_rng(3), 8)[0]
    weights = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=8)
    for draw, weight in zip(draws, weights, strict=True):
        times = np.outer(weight, weight)[PAIR]
        x, y = (np.repeat(each.values[PAIR], times) for each in (one, other))
        assert draw == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)


def test_spearman_is_symmetric_and_one_with_itself():
    one, other = pair_ranks(scores(1)), pair_ranks(scores(2))
    assert spearman_of_pairs(one, one) == pytest.approx(1.0)
    assert spearman_of_pairs(one, other) == pytest.approx(spearman_of_pairs(other, one))


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (np.zeros((3, 3)), "at least 4 x 4"),
        (np.zeros((5, 4)), "at least 4 x 4"),
        (np.full((5, 5), np.nan), "missing or infinite"),
        (np.ones((5, 5)), "same score"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(table, why):
    with pytest.raises(ValueError, match=why):
        pair_ranks(table)


def test_wrong_pairs_and_sizes_are_refused():
    ranks = pair_ranks(scores(1))
    relabelled = gene_permutations(12, 3, np.random.default_rng(0))
    for source, target in (([0, 0], [1, 1]), ([0], [0]), ([], [])):
        with pytest.raises(ValueError, match="distinct pairs"):
            mantel_membership(ranks, source, target, relabelled)
    with pytest.raises(ValueError, match="12 and 6 genes"):
        spearman_of_pairs(ranks, pair_ranks(scores(1, genes=6)))
    with pytest.raises(ValueError, match="at least one"):
        gene_permutations(5, 0, np.random.default_rng(0))
