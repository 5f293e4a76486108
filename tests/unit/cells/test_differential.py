from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats
from statsmodels.stats.multitest import multipletests

from interp_assets.cells.differential import (
    LabelRule,
    benjamini_hochberg,
    called,
    differential_expression,
    expression_against_the_rest,
    rank_sum_expression,
    ranks_against_the_rest,
    welch_t,
)
from interp_assets.cells.prepare import normalised_log

CELLS, GENES = 150, 40


@pytest.fixture
def screen():
    """Log matrix, perturbation of every cell (-1 control), position of each perturbed gene."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(rng.lognormal(0, 1, size=GENES), size=(CELLS, GENES))
    group = np.repeat([-1, 0, 1, 2], [60, 40, 30, 20])
    counts[group == 0, :6] *= 4
    counts[:, 0] = 0
    return normalised_log(sparse.csr_matrix(counts)), group, np.array([3, -1, 7])


def test_welch_equals_scipy_on_every_tested_gene(screen):
    log, group, own = screen
    found = differential_expression(log, group, group == -1, own)
    dense = log.toarray().astype(np.float64)
    for k in range(3):
        with np.errstate(invalid="ignore"):
            expected = stats.ttest_ind(dense[group == k], dense[group == -1], equal_var=False)
        tested = np.ones(GENES, bool)
        tested[0] = False  # never seen: scipy gives NaN, the rule here is p = 1
        if own[k] >= 0:
            tested[own[k]] = False
        np.testing.assert_allclose(found.t[k, tested], expected.statistic[tested], rtol=1e-8)
        np.testing.assert_allclose(found.p[k, tested], expected.pvalue[tested], rtol=1e-7)
        assert found.p[k, 0] == 1.0
        assert np.isnan(found.t[k, 0])


def test_welch_equals_scanpy(screen):
    import anndata
    import scanpy

    log, group, _ = screen
    data = anndata.AnnData(log.astype(np.float64))
    data.var_names = [f"G{i}" for i in range(GENES)]
    data.obs["guide"] = [f"p{value}" for value in group]
    data.uns["log1p"] = {"base": None}
    scanpy.tl.rank_genes_groups(data, "guide", reference="p-1", method="t-test")
    found = differential_expression(log, group, group == -1, np.full(3, -1))
    for k in range(3):
        table = scanpy.get.rank_genes_groups_df(data, f"p{k}").set_index("names")
        table = table.loc[[f"G{i}" for i in range(GENES)]]
        np.testing.assert_allclose(np.nan_to_num(found.t[k]), table["scores"], rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(found.p[k], table["pvals"], rtol=1e-5)
        np.testing.assert_allclose(found.q[k], table["pvals_adj"], rtol=1e-5)


def test_the_fold_is_the_difference_of_mean_log1p(screen):
    log, group, own = screen
    found = differential_expression(log, group, group == -1, own)
    dense = log.toarray().astype(np.float64)
    expected = dense[group == 0].mean(axis=0) - dense[group == -1].mean(axis=0)
    tested = np.arange(GENES) != 3
    np.testing.assert_allclose(found.log_fold[0, tested], expected[tested], atol=1e-12)


def test_the_perturbed_gene_is_no_candidate_and_no_test(screen):
    log, group, own = screen
    found = differential_expression(log, group, group == -1, own)
    for table in (found.p, found.q, found.log_fold, found.t):
        assert np.isnan(table[0, 3])
        assert np.isnan(table[2, 7])
    assert not np.isnan(found.p[1]).any()
    rest = np.arange(GENES) != 3
    np.testing.assert_allclose(found.q[0, rest], stats.false_discovery_control(found.p[0, rest]), rtol=1e-12)


def test_bh_equals_scipy_and_statsmodels_row_by_row():
    p = np.random.default_rng(0).uniform(size=(4, 50)) ** 2
    p[1, ::7] = np.nan
    p[2, :5] = p[2, 5]
    q = benjamini_hochberg(p)
    for row_p, row_q in zip(p, q, strict=True):
        tested = ~np.isnan(row_p)
        np.testing.assert_allclose(row_q[tested], stats.false_discovery_control(row_p[tested]), rtol=1e-12)
        np.testing.assert_allclose(row_q[tested], multipletests(row_p[tested], method="fdr_bh")[1], rtol=1e-12)
        assert np.isnan(row_q[~tested]).all()


@pytest.mark.parametrize(
    ("mean", "variance", "cells", "p"),
    [(1.0, 0.0, 5.0, 1.0), (2.0, 0.0, 5.0, 1.0), (2.0, np.nan, 1.0, 1.0)],
    ids=["equal and constant", "different and constant", "one cell"],
)
def test_groups_without_variance_are_never_called(mean, variance, cells, p):
    t, found = welch_t(*(np.array([value]) for value in (mean, variance, cells, 1.0, 0.0)), 20.0)
    assert np.isnan(t[0])
    assert found[0] == p


def test_labels_need_both_a_small_q_and_a_large_fold(screen):
    log, group, own = screen
    found = differential_expression(log, group, group == -1, own)
    label = called(found, LabelRule(q=0.05, log_fold=0.5))
    expected = (found.q < 0.05) & (np.abs(found.log_fold) > 0.5)
    assert label[0, 3] == -1
    assert label[2, 7] == -1
    candidates = ~np.isnan(found.p)
    np.testing.assert_array_equal(label[candidates] == 1, expected[candidates])
    assert (label == 1).any()
    assert (called(found, LabelRule(log_fold=0.0)) == 1).sum() > (label == 1).sum()
    assert (called(found, LabelRule(q=1.1)) == 1).sum() > (label == 1).sum()
    assert not (called(found, LabelRule(log_fold=50.0)) == 1).any()


def test_control_cells_must_be_control_cells(screen):
    log, group, own = screen
    with pytest.raises(ValueError, match="also carry a perturbation"):
        differential_expression(log, group, group <= 0, own)
    with pytest.raises(ValueError, match="at least 2 are needed"):
        differential_expression(log, group, np.zeros(CELLS, bool), own)


@pytest.fixture
def tied_screen():
    """Genes from never to always seen, many ties, a large control group and groups of 2 to 80 cells."""
    rng = np.random.default_rng(8)
    group = np.repeat([-1, 0, 1, 2, 4], [900, 80, 30, 2, 9])
    counts = rng.poisson(np.geomspace(1e-3, 20.0, GENES), size=(group.size, GENES))
    counts[group == 0, 20:30] *= 6
    counts[:, 0] = 0
    counts[:, 1] = np.arange(group.size) == 3
    return sparse.csr_matrix(counts), group


@pytest.mark.parametrize("width", [np.float32, np.float64])
def test_rank_sum_equals_scipy_on_every_tested_gene(tied_screen, width):
    counts, group = tied_screen
    log = normalised_log(counts).astype(width)
    control = group == -1
    found = rank_sum_expression(log, group, control, np.full(5, -1))
    # On float32 scipy counts ties in single precision and is off by up to 1e-5.
    dense = log.toarray().astype(np.float64)
    for k in (0, 1, 2, 4):
        expected = stats.mannwhitneyu(dense[group == k], dense[control], axis=0, method="asymptotic")
        np.testing.assert_array_equal(found.t[k], expected.statistic)
        np.testing.assert_allclose(found.p[k, 1:], expected.pvalue[1:], rtol=1e-10, atol=0)
        assert found.p[k, 0] == 1.0  # never seen in any cell
    assert np.nanmin(found.p) < 1e-20  # the tail is compared too
    for table in (found.t, found.p, found.q):
        assert np.isnan(table[3]).all()  # no cell
    assert found.cells.tolist() == [80, 30, 2, 0, 9]


def test_ranks_against_the_rest_equal_scipy(tied_screen):
    counts, group = tied_screen
    group = np.where(group < 0, 3, group)
    log = normalised_log(counts)
    found = ranks_against_the_rest(log, group, 5, np.array([4, -1, -1, -1, 5]))
    dense = log.toarray().astype(np.float64)
    tested = np.arange(1, GENES)
    for k in range(5):
        expected = stats.mannwhitneyu(dense[group == k], dense[group != k], axis=0, method="asymptotic")
        kept = tested[~np.isnan(found.p[k, tested])]
        np.testing.assert_allclose(found.p[k, kept], expected.pvalue[kept], rtol=1e-10, atol=0)
        np.testing.assert_allclose(
            found.log_fold[k, kept], (dense[group == k].mean(0) - dense[group != k].mean(0))[kept], atol=1e-12
        )
    assert np.isnan(found.p[[0, 4], [4, 5]]).all()
    with pytest.raises(ValueError, match="80 cells are in no group"):
        ranks_against_the_rest(log, np.where(group == 0, -1, group), 5, np.full(5, -1))


def test_rank_sum_says_nothing_on_the_way(screen, capfd):
    log, group, own = screen
    rank_sum_expression(log, group, group == -1, own)
    assert capfd.readouterr() == ("", "")


def test_the_rest_is_all_cells_outside_the_group(screen):
    log, _, own = screen
    rng = np.random.default_rng(3)
    held = rng.random((3, CELLS)) < 0.3
    assert (held.sum(axis=0) > 1).any()  # cells of several perturbations
    found = expression_against_the_rest(log, sparse.csr_matrix(held, dtype=np.float64), own)
    dense = log.toarray().astype(np.float64)
    for k in range(3):
        with np.errstate(invalid="ignore"):
            expected = stats.ttest_ind(dense[held[k]], dense[~held[k]], equal_var=False)
        tested = ~np.isnan(found.p[k]) & ~np.isnan(expected.pvalue)
        assert tested.sum() >= GENES - 2
        np.testing.assert_allclose(found.p[k, tested], expected.pvalue[tested], rtol=1e-8)
        difference = dense[held[k]].mean(axis=0) - dense[~held[k]].mean(axis=0)
        np.testing.assert_allclose(found.log_fold[k, tested], difference[tested], atol=1e-12)
    assert found.cells.tolist() == held.sum(axis=1).tolist()
    assert np.isnan(found.p[0, own[0]])


def test_neither_gene_of_a_pair_is_tested(screen):
    log, group, _ = screen
    own = np.array([[3, 5], [-1, -1], [7, -1]])
    for test in (differential_expression, rank_sum_expression):
        found = test(log, group, group == -1, own)
        assert np.flatnonzero(np.isnan(found.p[0])).tolist() == [3, 5]
        assert not np.isnan(found.p[1]).any()
        assert np.flatnonzero(np.isnan(found.p[2])).tolist() == [7]


def test_rank_sum_counts_pairs_like_a_naive_loop(screen):
    log, group, own = screen
    found = rank_sum_expression(log, group, group == -1, own)
    dense = log.toarray().astype(np.float64)
    for k, gene in ((0, 1), (1, 5), (2, 30)):
        ours, theirs = dense[group == k, gene], dense[group == -1, gene]
        wins = sum((a > b) + 0.5 * (a == b) for a in ours for b in theirs)
        assert found.t[k, gene] == pytest.approx(wins)
        assert found.p[k, gene] == pytest.approx(stats.mannwhitneyu(ours, theirs, method="asymptotic").pvalue)
    assert (found.p[[0, 1, 2], [0, 0, 0]] == 1.0).all()  # never seen in any cell
    assert np.isnan(found.p[0, own[0]])
    assert np.isnan(found.q[2, own[2]])


@pytest.mark.parametrize("against", ["control", "the rest"])
def test_groups_without_any_difference_have_p_one_as_in_scipy(against):
    # U of gene 0 is exactly half of all pairs; gene 1 differs.
    log = sparse.csr_matrix(np.array([[0.0, 1.0], [3.0, 2.0], [1.0, 3.0], [2.0, 4.0], [1.0, 5.0], [2.0, 6.0]]))
    group, own = np.array([0, 0, 1, 1, 1, 1]), np.array([-1])
    if against == "control":
        found = rank_sum_expression(log, np.where(group == 1, -1, 0), group == 1, own)
    else:
        found = ranks_against_the_rest(log, group, 2, np.array([-1, -1]))
    dense = log.toarray()
    expected = stats.mannwhitneyu(dense[group == 0], dense[group == 1], method="asymptotic")
    assert expected.statistic[0] == 4.0
    assert found.t[0].tolist() == expected.statistic.tolist()
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert found.p[0, 0] == 1.0


def test_rank_sum_and_welch_share_the_fold(screen):
    log, group, own = screen
    ranks = rank_sum_expression(log, group, group == -1, own)
    welch = differential_expression(log, group, group == -1, own)
    np.testing.assert_allclose(ranks.log_fold, welch.log_fold, atol=1e-6)
