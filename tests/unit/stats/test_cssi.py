"""Stratified scores equal naive loops; sums over label sets equal one computation each."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, pearsonr, rankdata
from sklearn.metrics import roc_auc_score

from interp_assets.stats.cssi import (
    AGGREGATORS,
    aggregate,
    best_of,
    called_edges,
    edge_p,
    edge_products,
    exceedance_p,
    fisher_p,
    recovery,
    stratum_correlations,
    weighted_correlations,
)
from interp_assets.stats.ranking import r_precision


@pytest.fixture
def world():
    rng = np.random.default_rng(0)
    x, y = 50 + rng.normal(size=(90, 3)), 0.01 * rng.normal(size=(90, 4))
    y[:, 0] += 0.008 * (x[:, 1] - 50)
    return x, y, rng


def test_every_label_set_equals_one_correlation_at_a_time(world):
    x, y, rng = world
    labels = rng.integers(-1, 4, (7, 90))
    found, size = stratum_correlations(edge_products(x, y), labels, 4)
    for draw, k in np.ndindex(7, 4):
        inside = labels[draw] == k
        assert size[draw, k] == inside.sum()
        naive = [pearsonr(x[inside, i], y[inside, j]).statistic for i in range(3) for j in range(4)]
        np.testing.assert_allclose(found[draw, k], naive, atol=1e-9)


def test_weights_are_multiplicities(world):
    x, y, rng = world
    drawn = rng.integers(0, 90, 90)
    weight = np.bincount(drawn, minlength=90)
    found = weighted_correlations(edge_products(x, y), weight[None])[0]
    naive = np.corrcoef(np.hstack([x, y])[drawn].T)[:3, 3:].ravel()
    np.testing.assert_allclose(found, naive, atol=1e-9)


def test_constant_genes_and_tiny_strata_have_no_correlation(world):
    x, y, _ = world
    x[:, 2] = 7.0
    labels = np.r_[np.zeros(89, dtype=int), 1]
    found, size = stratum_correlations(edge_products(x, y), labels, 3)
    assert size.tolist() == [[89, 1, 0]]
    assert np.isnan(found[0, 0, 8:]).all()
    assert np.isfinite(found[0, 0, :8]).all()
    assert np.isnan(found[0, 1:]).all()
    with pytest.raises(ValueError, match="labels of shape"):
        stratum_correlations(edge_products(x, y), labels[:5], 3)
    with pytest.raises(ValueError, match="finite"):
        edge_products(np.full((4, 1), np.nan), y[:4])


def naive_scores(score, size, pooled, minimum):
    kept = [k for k in range(len(size)) if size[k] >= minimum]
    ranks = {k: rankdata(np.where(np.isfinite(score[k]), np.abs(score[k]), -1)) / score.shape[1] for k in kept}
    found = {name: np.full(score.shape[1], np.nan) for name in AGGREGATORS}
    for edge in range(score.shape[1]):
        held = [k for k in kept if np.isfinite(score[k, edge])]
        if not held:
            continue
        s, n = np.array([score[k, edge] for k in held]), np.array([size[k] for k in held], dtype=float)
        found["max"][edge] = np.abs(s).max()
        found["mean"][edge] = abs((n * s).sum() / n.sum())
        found["plain_mean"][edge] = abs(s.mean())
        found["range"][edge] = s.max() - s.min()
        found["deviation"][edge] = np.abs(s - pooled[edge]).max()
        found["weighted_deviation"][edge] = (n * np.abs(s - pooled[edge])).sum() / n.sum()
        found["spread"][edge] = s.std()
        found["scenic"][edge] = sum(size[k] * ranks[k][edge] for k in kept) / sum(size[k] for k in kept)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_aggregators_equal_a_loop_over_edges(seed):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=(3, 5, 12))
    score[rng.random(score.shape) < 0.3] = np.nan
    score[:, :, 4] = np.nan
    size, pooled = rng.integers(10, 60, (3, 5)), rng.normal(size=12)
    found = aggregate(score, size, pooled, minimum=20)
    for draw in range(3):
        expected = naive_scores(score[draw], size[draw], pooled, 20)
        for name in AGGREGATORS:
            np.testing.assert_allclose(found[name][draw], expected[name], atol=1e-12, err_msg=name)
    with pytest.raises(ValueError, match="median is no aggregator"):
        aggregate(score, size, pooled, ("median",), minimum=20)


def test_no_stratum_left_gives_no_number():
    found = aggregate(np.ones((2, 3)), np.array([5, 6]), np.ones(3), minimum=20)
    assert all(np.isnan(values).all() for values in found.values())


@pytest.mark.parametrize("edges", [30, 3000])
def test_recovery_equals_scikit_learn_and_r_precision(edges):
    rng = np.random.default_rng(edges)
    true = rng.random(edges) < 0.1
    true[:2] = True, False
    score = np.round(rng.normal(size=(6, edges)) + true, 1)
    auroc, f1 = recovery(score, true)
    np.testing.assert_allclose(auroc, [roc_auc_score(true, row) for row in score], atol=1e-12)
    np.testing.assert_allclose(f1, r_precision(score, np.tile(true.astype(np.int8), (6, 1))), atol=1e-12)


def test_missing_scores_tie_with_the_lowest_and_empty_rows_have_none():
    true = np.array([True, False, True, False])
    score = np.array([[0.5, np.nan, np.nan, 0.2], [np.nan] * 4])
    auroc, f1 = recovery(score, true)
    assert auroc[0] == roc_auc_score(true, [0.5, 0.2, 0.2, 0.2])
    assert np.isnan([auroc[1], f1[1]]).all()
    with pytest.raises(ValueError, match="both kinds"):
        recovery(score, np.ones(4, dtype=bool))


def test_fisher_p_is_close_to_the_exact_test():
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    y = 0.15 * x + rng.normal(size=200)
    exact = pearsonr(x, y)
    assert fisher_p(exact.statistic, 200) == pytest.approx(exact.pvalue, rel=0.05)
    assert np.isnan(fisher_p(0.5, 3))


def test_called_edges_equal_a_loop():
    rng = np.random.default_rng(2)
    true = rng.random(40) < 0.3
    p = np.where(true, 1e-4, 1.0) * rng.random((5, 40))
    false_share, power, count = called_edges(p, true)
    for row in range(5):
        call = false_discovery_control(p[row]) <= 0.05
        assert count[row] == call.sum()
        assert power[row] == (call & true).sum() / true.sum()
        assert false_share[row] == (call & ~true).sum() / max(1, call.sum())
    p[0, 3] = np.nan
    assert np.isnan(called_edges(p, true)[1][0])


def test_edge_p_is_level_without_association():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(400, 5)), rng.normal(size=(400, 40))
    labels = rng.integers(0, 5, (20, 400))
    score, size = stratum_correlations(edge_products(x, y), labels, 5)
    scenic = aggregate(score, size, score[:, 0], ("scenic",), minimum=20)["scenic"]
    p = edge_p(score, size, scenic, 20, rng)
    assert set(p) == {"max", "mean", "scenic"}
    for name, values in p.items():
        assert 0.03 < (values <= 0.05).mean() < 0.08, name


def test_exceedance_and_best_choice():
    assert exceedance_p([0.1, 0.2, 0.3], 0.2) == 3 / 4
    assert exceedance_p([0.1, np.nan], 5.0) == 2 / 3
    assert np.isnan(exceedance_p([0.1, 0.2], np.nan))
    best, which = best_of({"a": np.array([0.1, np.nan]), "b": np.array([0.0, 0.5])})
    assert best.tolist() == [0.1, 0.5]
    assert which.tolist() == [0, 1]


def test_edges_of_one_weighted_mean_rank_are_tied_exactly():
    """Regression: sums of shares parted them by rounding, and a tie decides who is among the best."""
    rng = np.random.default_rng(5)
    size, score = np.array([7, 11, 13, 7, 11]), rng.random((5, 700))
    whole = (2 * rankdata(score, axis=1)).astype(int).T @ size
    found = aggregate(score, size, score.mean(axis=0), ("scenic",), minimum=1)["scenic"]
    assert np.unique(whole).size < whole.size
    np.testing.assert_array_equal(whole[:, None] == whole, found[:, None] == found)
    np.testing.assert_allclose(found, whole / (2 * 700 * size.sum()), rtol=1e-14)
