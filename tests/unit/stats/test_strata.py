"""Strata and simulated states: sizes kept, structure destroyed where it must be, closed forms met."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from interp_assets.stats import strata
from interp_assets.stats.kmeans import kmeans_labels, lloyd, spread_centres
from interp_assets.stats.state_mixtures import (
    BLOOD_SHARES,
    IMMUNE_SHARES,
    blood_cells,
    immune_types,
    multi_state,
    pooled_correlation,
    state_sizes,
)


@pytest.mark.parametrize("clusters", [1, 2, 5, 11])
def test_lloyd_equals_scikit_learn_from_the_same_start(clusters):
    rng = np.random.default_rng(clusters)
    points = rng.normal(size=(200, 4))
    start = spread_centres(points, clusters, rng)
    expected = KMeans(clusters, init=start, n_init=1, max_iter=300, tol=0).fit(points).labels_
    assert np.array_equal(lloyd(points, start, 300), expected)
    assert all((points == centre).all(axis=1).any() for centre in start)
    with pytest.raises(ValueError, match="at least as many points"):
        kmeans_labels(points[:1], 2, rng)


def test_separated_groups_are_found_and_permuted_genes_lose_them():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1, 2], 60)
    values = rng.normal(size=(180, 12)) + 6 * rng.normal(size=(3, 12))[truth]
    scores = strata.principal_scores(values, 4)
    np.testing.assert_allclose(np.abs(scores), np.abs(PCA(4).fit_transform(values)), atol=1e-8)
    label, method = strata.estimated_strata(scores, 6, rng)
    assert method == ("leiden" if strata.leiden_available() else "k-means, number by silhouette")
    assert adjusted_rand_score(truth, label) > 0.95
    broken = strata.kmeans_strata(strata.gene_permuted_scores(values, rng), 3, rng)
    assert abs(adjusted_rand_score(truth, broken)) < 0.1


def test_null_strata():
    rng = np.random.default_rng(2)
    label = np.repeat([0, 1, 2], [50, 30, 20])
    shuffled = strata.shuffled_strata(label, rng, 40)
    assert all(np.bincount(row).tolist() == [50, 30, 20] for row in shuffled)
    assert np.unique(shuffled, axis=0).shape[0] == 40
    uniform = strata.random_strata(600, 4, rng, 50)
    assert np.bincount(uniform.ravel()) == pytest.approx([7500] * 4, rel=0.05)


@pytest.mark.parametrize("wanted", [2, 3, 6, 9])
def test_known_strata_are_merged_or_cut(wanted):
    label = np.repeat([0, 1, 2, 3, 4, 5], 20)
    found = strata.resized_strata(label, wanted, np.random.default_rng(3))
    assert np.unique(found).tolist() == list(range(wanted))
    pairs = {(int(one), int(other)) for one, other in zip(label, found, strict=True)}
    assert len(pairs) == max(6, wanted)  # merging never cuts a state, cutting never mixes two
    with pytest.raises(strata.StrataError, match="cannot form"):
        strata.resized_strata(np.array([0, 1]), 3, np.random.default_rng(0))


def test_more_strata_than_the_cells_allow_are_refused():
    strata.require_cells(200, 10, 20)
    with pytest.raises(strata.StrataError, match="at most 10 strata"):
        strata.require_cells(200, 11, 20)
    with pytest.raises(strata.StrataError, match="fall into no two strata"):
        strata.chosen_kmeans(np.zeros((5, 2)), 1, np.random.default_rng(0))


def test_leiden_is_never_replaced_under_its_name(monkeypatch):
    monkeypatch.setattr(strata, "leiden_available", lambda: False)
    with pytest.raises(strata.StrataError, match="scanpy and igraph"):
        strata.leiden_strata(np.zeros((4, 2)), 0)


@pytest.mark.parametrize(("cells", "states", "edges"), [(200, 2, 14), (600, 6, 14), (1500, 12, 26)])
def test_synthetic_states_have_the_declared_edges_and_strength(cells, states, edges):
    mixture = multi_state(np.random.default_rng(4), cells * 20, states)
    assert mixture.true.sum() == edges
    assert (mixture.active.sum(axis=0) == states).sum() == 2
    state, regulator, target = (int(i[0]) for i in np.nonzero(mixture.active))
    inside = mixture.state == state
    x, y = mixture.expression[inside, regulator], mixture.expression[inside, mixture.targets[target]]
    drivers = mixture.active[state, :, target].sum()
    assert np.corrcoef(x, y)[0, 1] == pytest.approx(0.5 / np.sqrt(1 + 0.25 * drivers), abs=0.06)
    with pytest.raises(ValueError, match="do not fit"):
        multi_state(np.random.default_rng(0), 500, 80)


def test_structured_and_blood_designs():
    assert sum(IMMUNE_SHARES) == pytest.approx(1)
    assert sum(BLOOD_SHARES) == pytest.approx(1)
    immune = immune_types(np.random.default_rng(5), 5000)
    assert (immune.states, int(immune.true.sum()), immune.expression.shape) == (15, 15, (5000, 40))
    assert np.bincount(immune.state).tolist() == state_sizes(5000, IMMUNE_SHARES).tolist()
    assert (immune.active.sum(axis=(1, 2)) == 1).all()
    blood = blood_cells(np.random.default_rng(5))
    assert (blood.states, int(blood.true.sum()), blood.expression.shape) == (8, 22, (3000, 245))
    assert blood.expression.min() == 0
    assert (blood.expression == 0).mean() == pytest.approx(0.17, abs=0.03)


def test_pooled_correlation_is_the_law_of_total_covariance():
    rng = np.random.default_rng(6)
    share, mean = np.array([0.5, 0.3, 0.2]), rng.normal(size=(3, 2))
    covariance = np.array([0.6, 0.0, -0.3])
    drawn = [
        rng.multivariate_normal(mean[k], [[1, covariance[k]], [covariance[k], 1]], int(200_000 * share[k]))
        for k in range(3)
    ]
    total, within, between = pooled_correlation(share, mean, np.ones((3, 2)), covariance)
    assert total == pytest.approx(np.corrcoef(np.vstack(drawn).T)[0, 1], abs=0.01)
    assert within + between == total
    assert pooled_correlation([0.1, 0.9], np.zeros((2, 2)), np.ones((2, 2)), [0.7, 0])[0] == pytest.approx(0.07)
