"""Laws of strata and of scores within them: names, order and unit of measure mean nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_assets.stats import cssi
from interp_assets.stats.kmeans import kmeans_labels, lloyd
from interp_assets.stats.strata import StrataError, resized_strata
from tests.properties.laws import REFUSED, law

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def points(draw):
    """Some points in few dimensions, several of them the same."""
    rng = np.random.default_rng(draw(SEEDS))
    table = rng.normal(size=(draw(st.integers(1, 25)), draw(st.integers(1, 3))))
    return table.round(draw(st.sampled_from([0, 1, 6])))


def spread(table, label):
    """Sum of squared distances to the means of clusters."""
    return sum(((table[label == k] - table[label == k].mean(axis=0)) ** 2).sum() for k in np.unique(label))


@law("k-means: labels lie in range, and equal points share a cluster", 100)
@given(points(), SEEDS, st.data())
def test_equal_points_share_a_cluster(table, seed, data):
    clusters = data.draw(st.integers(1, len(table)))
    label = kmeans_labels(table, clusters, np.random.default_rng(seed))
    assert label.shape == (len(table),)
    assert ((label >= 0) & (label < clusters)).all()
    for row in np.unique(table, axis=0):
        same = (table == row).all(axis=1)
        assert np.unique(label[same]).size == 1
    again = kmeans_labels(table, clusters, np.random.default_rng(seed))
    np.testing.assert_array_equal(again, label)


@law("k-means: more rounds never spread clusters more, and the unit of measure changes nothing", 80)
@given(points(), SEEDS, st.data())
def test_rounds_only_tighten(table, seed, data):
    clusters = data.draw(st.integers(1, len(table)))
    start = np.random.default_rng(seed).permutation(table)[:clusters].copy()
    found = [spread(table, lloyd(table, start, rounds)) for rounds in (1, 2, 5, 30)]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(found))
    np.testing.assert_array_equal(lloyd(4.0 * table, 4.0 * start, 5), lloyd(table, start, 5))


@law("strata brought to another number: exactly that many, whole ones merged or one cut", 80)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 8), SEEDS)
def test_resized_strata_have_the_number_asked_for(label, wanted, seed):
    label = np.array(label)
    try:
        found = resized_strata(label, wanted, np.random.default_rng(seed))
    except StrataError:
        assert wanted > label.size
        return REFUSED
    assert np.unique(found).size == wanted
    if wanted <= np.unique(label).size:
        assert all(np.unique(found[label == k]).size == 1 for k in np.unique(label)), "a stratum was cut"
    return None


@st.composite
def expression(draw):
    """Cells of regulators and targets with labels of strata."""
    rng = np.random.default_rng(draw(SEEDS))
    cells, strata = draw(st.integers(8, 40)), draw(st.integers(1, 4))
    values = rng.normal(size=(cells, 5)) + rng.normal(size=(cells, 1))
    label = rng.integers(-1, strata, cells)
    label[:strata] = np.arange(strata)
    return values[:, :2], values[:, 2:], label, strata


@law("CSSI: correlation within strata equals numpy's", 80)
@given(expression())
def test_correlation_within_strata_is_that_of_numpy(cells):
    regulators, targets, label, strata = cells
    found, size = cssi.stratum_correlations(cssi.edge_products(regulators, targets), label, strata)
    for k in range(strata):
        inside = label == k
        assert size[0, k] == inside.sum()
        if inside.sum() < 3:
            continue
        expected = np.corrcoef(regulators[inside].T, targets[inside].T)[:2, 2:].ravel()
        np.testing.assert_allclose(found[0, k], expected, atol=1e-8)


@law("CSSI: names of strata, order of cells and unit of measure change no score", 80)
@given(expression(), SEEDS)
def test_names_and_order_change_no_score(cells, seed):
    regulators, targets, label, strata = cells
    rng = np.random.default_rng(seed)

    def combined(x, y, names):
        score, size = cssi.stratum_correlations(cssi.edge_products(x, y), names, strata)
        pooled = np.corrcoef(x.T, y.T)[:2, 2:].ravel()
        return cssi.aggregate(score, size, pooled, minimum=4)

    before = combined(regulators, targets, label)
    renamed = np.append(rng.permutation(strata), -1)[label]
    order = rng.permutation(label.size)
    for after in (
        combined(regulators, targets, renamed),
        combined(regulators[order], targets[order], label[order]),
        combined(3.0 * regulators + 7.0, 0.5 * targets - 2.0, label),
    ):
        for name in cssi.AGGREGATORS:
            np.testing.assert_allclose(after[name], before[name], atol=1e-7, err_msg=name)


@law("CSSI: one stratum of all cells gives the pooled score, in every aggregator that keeps its size", 60)
@given(expression())
def test_one_stratum_is_the_pooled_score(cells):
    regulators, targets, label, _ = cells
    score, size = cssi.stratum_correlations(cssi.edge_products(regulators, targets), np.zeros_like(label), 1)
    pooled = np.corrcoef(regulators.T, targets.T)[:2, 2:].ravel()
    found = cssi.aggregate(score, size, pooled, minimum=1)
    for name in ("max", "mean", "plain_mean"):
        np.testing.assert_allclose(found[name][0], np.abs(pooled), atol=1e-8)
    for name in ("range", "deviation", "weighted_deviation", "spread"):
        np.testing.assert_allclose(found[name][0], 0.0, atol=1e-8)


@law("CSSI: no aggregator rises above the strongest stratum, and mean never above max", 80)
@given(expression())
def test_aggregators_keep_their_bounds(cells):
    regulators, targets, label, strata = cells
    score, size = cssi.stratum_correlations(cssi.edge_products(regulators, targets), label, strata)
    found = cssi.aggregate(score, size, np.zeros(6), minimum=4)
    strongest = found["max"]
    held = np.isfinite(strongest)
    for name in ("mean", "plain_mean", "deviation", "weighted_deviation", "spread"):
        assert (found[name][held] <= strongest[held] + 1e-12).all(), name
    assert (found["range"][held] <= 2 * strongest[held] + 1e-12).all()
    assert (found["deviation"][held] >= found["weighted_deviation"][held] - 1e-12).all()


@law("CSSI: p and called edges lie in 0 to 1, an observed value that is missing has no p", 40)
@given(expression(), SEEDS)
def test_significance_stays_in_range(cells, seed):
    regulators, targets, label, strata = cells
    score, size = cssi.stratum_correlations(cssi.edge_products(regulators, targets), label, strata)
    scenic = cssi.aggregate(score, size, np.zeros(6), ("scenic",), minimum=4)["scenic"]
    for name, p in cssi.edge_p(score, size, scenic, 4, np.random.default_rng(seed)).items():
        kept = p[np.isfinite(p)]
        assert ((kept >= 0) & (kept <= 1)).all(), name
        false_share, power, called = cssi.called_edges(p, np.arange(6) < 2)
        for share in (false_share, power):
            assert np.isnan(share).all() or ((share >= 0) & (share <= 1)).all()
        assert ((called >= 0) & (called <= 6)).all()
    draws = np.random.default_rng(seed).random(9)
    assert np.isnan(cssi.exceedance_p(draws, float("nan")))
    assert cssi.exceedance_p(draws, 2.0) == pytest.approx(0.1)
