"""Agreement of edge scores in two measurements, against scipy and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from interp_assets.stats.edge_transfer import (
    paired_edges,
    permutation_p,
    permuted_agreement,
    rank_edges,
    regulator_bootstrap,
    shared_top,
    sign_agreement,
    spearman,
)


def tables(rng, regulators=6, genes=40, shared=0.7):
    """Symmetric score tables of two measurements that share a part."""
    common, found = rng.normal(size=(genes, genes)), []
    for _ in range(2):
        own = shared * common + (1 - shared) * rng.normal(size=(genes, genes))
        found.append((own + own.T)[:regulators] / 6)
    return found


@pytest.fixture
def edges():
    return paired_edges(*tables(np.random.default_rng(1)))


def test_rank_edges_equal_scipy():
    values = np.random.default_rng(0).poisson(1.0, (50, 7)).astype(float)
    np.testing.assert_allclose(rank_edges(values, 3), spearmanr(values).statistic[:3], atol=1e-12)


def test_a_constant_gene_has_no_score():
    values = np.column_stack([np.ones(9), np.arange(9.0), np.arange(9.0) ** 2])
    found = rank_edges(values, 2)
    assert np.isnan(found[0]).all()
    assert np.isnan(found[:, 0]).all()
    assert found[1, 2] == pytest.approx(1.0)


def test_pairs_of_two_regulators_count_once(edges):
    assert edges.first.size == 6 * 34 + 6 * 5 // 2
    first, second = tables(np.random.default_rng(1))
    for regulator in range(6):
        for gene in range(40):
            place = edges.position[regulator, gene]
            if regulator == gene:
                assert place == -1
                continue
            assert {int(edges.row[place]), int(edges.column[place])} == {regulator, gene}
            assert edges.first[place] == pytest.approx(first[regulator, gene])
            assert edges.second[place] == pytest.approx(second[regulator, gene])
    assert edges.of_regulator(3).size == 39


def test_missing_and_misshapen_scores_are_refused():
    one, other = tables(np.random.default_rng(0))
    other[2, 9] = np.nan
    with pytest.raises(ValueError, match="a score is missing"):
        paired_edges(one, other)
    with pytest.raises(ValueError, match="one shape"):
        paired_edges(one, other[:, :5])
    with pytest.raises(ValueError, match="at least 1"):
        permuted_agreement(paired_edges(one, one), 0.0, (), np.random.default_rng(0), 0)


def test_spearman_equals_scipy_with_ties():
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 5, 40), rng.integers(0, 5, 40)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
    assert np.isnan(spearman([1, 2], [1, 2]))
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_signs_and_strongest_pairs():
    assert sign_agreement([1, -1, 0, 2], [3, 1, 1, 0.1]) == pytest.approx(2 / 3)
    assert np.isnan(sign_agreement([0.0], [1.0]))
    assert shared_top([0.9, -0.8, 0.1, 0.2], [0.1, -0.9, 0.2, 0.8], 2) == 1


def naive(edges, names, floor, tops):
    """The same after renaming, pair by pair."""
    second = edges.second[edges.position[names[edges.row], names[edges.column]]]
    kept = (np.abs(edges.first) >= floor) & (np.abs(second) >= floor)
    own = [
        spearmanr(edges.first[kept & (edges.row == r)], second[kept & (edges.row == r)]).statistic
        if (kept & (edges.row == r)).sum() >= 3
        else np.nan
        for r in range(edges.regulators)
    ]
    return (
        spearmanr(edges.first[kept], second[kept]).statistic,
        spearmanr(edges.first, second).statistic,
        sign_agreement(edges.first[kept], second[kept]),
        int(kept.sum()),
        [shared_top(edges.first, second, k) for k in tops],
        own,
    )


@pytest.mark.parametrize("banded", [False, True])
def test_permuted_agreement_equals_a_plain_loop(edges, banded):
    strata = np.arange(edges.genes) % 3 if banded else None
    found = permuted_agreement(edges, 0.1, (5, 50), np.random.default_rng(7), 4, strata=strata)
    rng = np.random.default_rng(7)
    for draw in range(4):
        names = np.arange(edges.genes)
        groups = np.zeros(edges.genes, int) if strata is None else strata
        for value in np.unique(groups):
            for regulators in (True, False):
                block = np.flatnonzero((groups == value) & ((np.arange(edges.genes) < 6) == regulators))
                names[block] = rng.permutation(block)
        rho, rho_all, signs, kept, top, own = naive(edges, names, 0.1, (5, 50))
        assert found.spearman[draw] == pytest.approx(rho)
        assert found.spearman_all[draw] == pytest.approx(rho_all)
        assert found.sign_agreement[draw] == pytest.approx(signs)
        assert found.pairs[draw] == kept
        assert found.shared_top[draw].tolist() == top
        np.testing.assert_allclose(found.by_regulator[draw], own)
        assert found.pairs_by_regulator[draw].sum() == kept


def test_edge_labels_spread_less_than_gene_labels():
    """Hub genes make pairs depend on each other; permuting edges does not see it."""
    rng = np.random.default_rng(5)
    hub = rng.normal(size=(2, 80))
    one, other = (np.tile(h, (10, 1)) + h[:10, None] + 0.3 * rng.normal(size=(10, 80)) for h in hub)
    edges = paired_edges(one, other)
    gene, edge = (
        permuted_agreement(edges, 0.0, (), np.random.default_rng(0), 200, label=label) for label in ("gene", "edge")
    )
    assert gene.spearman.std() > 2 * edge.spearman.std()
    assert permutation_p(spearman(edges.first, edges.second), gene.spearman, two_sided=True) > 0.05


def test_gene_label_p_is_level_on_noise():
    rejected = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        hub = rng.normal(size=(2, 40))
        edges = paired_edges(*(h[:6, None] + h[None, :] + 0.5 * rng.normal(size=(6, 40)) for h in hub))
        null = permuted_agreement(edges, 0.05, (), rng, 39)
        kept = edges.passing(0.05)
        rejected += (
            permutation_p(spearman(edges.first[kept], edges.second[kept]), null.spearman, two_sided=True) <= 0.05
        )
    assert rejected <= 6


def test_permutation_p_counts_the_observed_one():
    assert permutation_p(3.0, np.array([1.0, 2.0, np.nan])) == pytest.approx(1 / 3)
    assert permutation_p(-3.0, np.array([4.0, 2.0, 1.0]), two_sided=True) == pytest.approx(2 / 4)
    assert np.isnan(permutation_p(np.nan, np.array([1.0])))


def test_bootstrap_over_regulators_equals_weighted_ranks(edges):
    every = np.ones(edges.first.size, dtype=bool)
    weights = np.array([[1, 1, 1, 1, 1, 1], [3, 0, 1, 0, 2, 0]])
    found = regulator_bootstrap(edges, every, weights)
    x, y = rankdata(edges.first), rankdata(edges.second)
    assert found[0] == pytest.approx(spearmanr(edges.first, edges.second).statistic)
    drawn = np.repeat(np.arange(edges.first.size), weights[1][edges.row])
    assert found[1] == pytest.approx(np.corrcoef(x[drawn], y[drawn])[0, 1])
