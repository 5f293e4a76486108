from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interp_assets.cells.differential import LabelRule, called
from interp_assets.cells.halves import cells_tested
from interp_assets.cells.planted import _scale_counts, draw_universe, plant
from interp_assets.cells.planted_labels import screen_labels
from interp_assets.cells.planted_network import draw_network, gene_moments, normal_score
from interp_assets.cells.planted_params import PlantedParams
from interp_assets.cells.planted_scores import confound_only, planted_score, shuffled, source_permuted


def test_universe_has_asked_size_holds_its_regulators_and_keeps_gene_order(base, pairs, params):
    universe, regulators = draw_universe(base, pairs, params())
    assert len(universe) == len(set(universe)) == 200
    assert len(regulators) == 12
    assert set(regulators) <= set(universe)
    assert set(regulators) <= set(pairs["tf"])
    assert universe.tolist() == [gene for gene in base.genes if gene in set(universe)]
    targets = [pairs.loc[(pairs["tf"] == r) & pairs["target"].isin(universe)].shape[0] for r in regulators]
    assert min(targets) >= 3


def test_universe_can_ignore_a_held_out_part_of_the_cells(base, pairs, params):
    first = (base.obs["cell_type"] == "alpha").to_numpy()
    whole, _ = draw_universe(base, pairs, params())
    part, _ = draw_universe(base, pairs, params(), cells=first)
    only = replace(base, control=first)
    assert part.tolist() == draw_universe(only, pairs, params())[0].tolist()
    assert part.tolist() != whole.tolist()


def test_network_edges_are_real_pairs_or_real_two_step_paths(base, pairs, params):
    knobs = params(edges_per_regulator=40.0, min_filled_share=0.3)
    network = draw_network(base.genes, gene_moments(base, base.control), pairs, knobs)
    known = set(zip(pairs["tf"], pairs["target"], strict=True))
    targets_of = pairs.groupby("tf")["target"].agg(set).to_dict()
    eligible = dict(zip(network.universe, network.eligible, strict=True))
    kinds = network.edges["kind"].value_counts()
    assert kinds["direct"] > 0
    assert kinds["indirect"] > 0
    for tf, target, kind in network.edges[["tf", "target", "kind"]].itertuples(index=False):
        assert tf != target
        assert eligible[target]
        if kind == "direct":
            assert (tf, target) in known
        else:
            assert (tf, target) not in known
            assert any(target in targets_of.get(middle, ()) for middle in targets_of[tf])
    dense = pd.DataFrame(network.weight, index=network.regulators, columns=network.universe)
    assert np.count_nonzero(dense) == len(network.edges) == network.facts["edges_drawn"]
    for row in network.edges.head(20).itertuples():
        assert dense.loc[row.tf, row.target] == pytest.approx(row.weight)


def test_direct_edges_prefer_variable_genes(base, pairs, params):
    def mean_score(kappa: float) -> float:
        knobs = params(kappa=kappa, edges_per_regulator=5.0)
        network = draw_network(base.genes, gene_moments(base, base.control), pairs, knobs)
        at = pd.Index(network.universe).get_indexer(network.edges["target"])
        return float(network.variance_score[at].mean())

    assert mean_score(2.0) > mean_score(0.0) + 0.2


def test_counts_stay_whole_and_change_only_where_a_fold_was_asked(base, pairs, params):
    screen = plant(base, pairs, params())
    assert screen.counts.dtype == np.int32
    assert screen.counts.data.min() > 0
    assert screen.counts.shape == (12 * 40, 300)
    source = pd.Index(base.obs.index).get_indexer(screen.obs["source_cell"])
    difference = (screen.counts - base.counts[source]).toarray()
    folds = dict(zip(screen.perturbations, screen.log_fold, strict=True))
    at = pd.Index(base.genes).get_indexer(screen.universe)
    for name in screen.perturbations:
        rows = (screen.obs["perturbation"] == name).to_numpy()
        assert len(set(source[rows])) == rows.sum() == 40
        moved = np.flatnonzero(np.abs(difference[rows]).sum(axis=0))
        asked = at[folds[name] != 0]
        assert set(moved) <= set(asked)
        down = at[folds[name] < 0]
        assert difference[np.ix_(rows, down)].max() <= 0


def test_same_seeds_give_same_cells_and_the_network_seed_alone_fixes_the_truth(base, pairs, params):
    first, again = plant(base, pairs, params()), plant(base, pairs, params())
    assert (first.counts != again.counts).nnz == 0
    other = plant(base, pairs, params(seed=1))
    assert (first.counts != other.counts).nnz > 0
    np.testing.assert_array_equal(first.planted_weight, other.planted_weight)
    assert not np.array_equal(first.planted_weight, plant(base, pairs, params(network_seed=1)).planted_weight)


def test_a_drawn_network_can_be_planted_in_other_cells(base, pairs, params):
    first = plant(base, pairs, params())
    beta = replace(base, control=(base.obs["cell_type"] == "beta").to_numpy())
    chosen = tuple(first.perturbations[:4])
    second = plant(beta, pairs, params(perturbations=chosen), network=first.network)
    assert second.perturbations.tolist() == list(chosen)
    np.testing.assert_array_equal(second.planted_weight, first.planted_weight[:4])
    assert set(second.obs["cell_type"]) == {"beta"}


@pytest.mark.parametrize(("modality", "expected"), [("CRISPRi", np.log(0.2)), ("CRISPRa", np.log(4.0))])
def test_empty_world_moves_the_perturbed_gene_only(base, pairs, params, modality, expected):
    screen = plant(base, pairs, params(world="empty", modality=modality))
    own = screen.universe[None, :] == screen.perturbations[:, None]
    np.testing.assert_allclose(screen.log_fold[own], expected, rtol=1e-6)
    assert not screen.log_fold[~own].any()
    assert screen.generic.empty
    assert screen.planted_weight.any()


def test_confound_world_plants_responders_that_ignore_the_network(base, pairs, params):
    screen = plant(base, pairs, params(world="confound", generic_confound=15.0))
    own = screen.universe[None, :] == screen.perturbations[:, None]
    moved = (screen.log_fold != 0) & ~own
    listed = set(zip(screen.generic["perturbation"], screen.generic["gene"], strict=True))
    row, column = np.nonzero(moved)
    assert listed == set(zip(screen.perturbations[row], screen.universe[column], strict=True))
    assert 10 * 12 < len(listed) < 20 * 12
    signs = screen.generic.groupby("gene")["log_fold"].agg(lambda fold: np.sign(fold).nunique())
    assert (signs == 1).all()


def test_modality_turns_the_sign_of_network_effects(base, pairs, params):
    down = plant(base, pairs, params(generic_share=0.0))
    up = plant(base, pairs, params(generic_share=0.0, modality="CRISPRa"))
    edge = down.planted_weight != 0
    assert (np.sign(down.log_fold[edge]) == -np.sign(down.planted_weight[edge])).all()
    assert (np.sign(up.log_fold[edge]) == np.sign(up.planted_weight[edge])).all()


def test_state_bound_edges_act_in_cells_of_that_state_only(base, pairs, params):
    knobs = params(state_share=1.0, edges_per_regulator=3.0, effect=3.0, generic_share=0.0)
    screen = plant(base, pairs, knobs)
    source = pd.Index(base.obs.index).get_indexer(screen.obs["source_cell"])
    change = (screen.counts - base.counts[source]).toarray()
    own = pd.Index(base.genes).get_indexer(screen.obs["perturbation"])
    change[np.arange(len(own)), own] = 0
    beta = (screen.obs["cell_type"] == "beta").to_numpy()
    assert (screen.network.edges["kind"] == "direct").all()
    assert np.abs(change[beta]).sum() > 0
    assert np.abs(change[~beta]).sum() == 0


@pytest.mark.parametrize("fold", [0.4, 2.0, 6.0])
def test_scaled_counts_have_the_asked_mean_and_fill_zeros(fold):
    rng = np.random.default_rng(3)
    rate = rng.gamma(1.0, 1.0, size=(4000, 1))
    counts = rng.poisson(rate)
    found = _scale_counts(counts, np.array([fold]), np.full(counts.shape, counts.mean()), rng)
    assert found.dtype.kind == "i"
    assert found.min() >= 0
    assert found.mean() / counts.mean() == pytest.approx(fold, rel=0.06)
    if fold > 1:
        assert (found == 0).mean() < (counts == 0).mean() - 0.1
        plain = counts + rng.poisson((fold - 1) * counts)
        assert found.var() / found.mean() < 0.8 * plain.var() / plain.mean()


def test_labels_equal_a_plain_welch_test_with_bh_and_the_fold_rule(base, pairs, params):
    screen = plant(base, pairs, params())
    labels = screen_labels(base, screen)
    assert labels.data_origin == "semi_synthetic"
    assert labels.kind == "cells"
    at = pd.Index(base.genes).get_indexer(labels.genes)

    def log(counts):
        dense = counts.toarray().astype(float)
        return np.log1p(dense / dense.sum(axis=1, keepdims=True) * 1e4)[:, at]

    control = log(base.counts)
    for i, name in enumerate(labels.perturbations[:3]):
        treated = log(screen.counts[(screen.obs["perturbation"] == name).to_numpy()])
        p = stats.ttest_ind(treated, control, equal_var=False).pvalue
        own = labels.genes == name
        q = np.ones(len(p))
        q[~own] = stats.false_discovery_control(np.nan_to_num(p[~own], nan=1.0))
        fold = treated.mean(axis=0) - control.mean(axis=0)
        expected = np.where(own, -1, (q < 0.05) & (np.abs(fold) > 0.5))
        np.testing.assert_array_equal(labels.label[i], expected)
        assert (expected == 1).sum() > 0
    weight = pd.DataFrame(screen.planted_weight, index=screen.perturbations, columns=screen.universe)
    np.testing.assert_array_equal(labels.planted_weight, weight.loc[labels.perturbations, labels.genes])


def test_label_facts_are_those_of_the_label_matrix(base, pairs, params):
    from sklearn.metrics import roc_auc_score

    labels = screen_labels(base, plant(base, pairs, params()))
    positive = labels.label == 1
    facts = labels.facts
    assert facts["positive_rate"] == pytest.approx(positive.sum() / (labels.label >= 0).sum())
    assert facts["positives_with_edge"] == pytest.approx((labels.planted_weight[positive] != 0).mean())
    ceiling = [
        roc_auc_score(row[row >= 0], np.abs(weight)[row >= 0])
        for row, weight in zip(labels.label, labels.planted_weight, strict=True)
        if (row == 1).any()
    ]
    assert facts["planted_ceiling"] == pytest.approx(np.mean(ceiling))


def test_cell_types_limit_both_sides_of_the_comparison(base, pairs, params):
    screen = plant(base, pairs, params(cell_types=("alpha",)))
    labels = screen_labels(base, screen)
    assert set(screen.obs["cell_type"]) == {"alpha"}
    assert labels.facts["control_cells_compared"] == 80


def test_scores_keep_what_their_name_says(rng=np.random.default_rng(0)):  # noqa: B008
    weight = rng.normal(size=(20, 50)) * (rng.random((20, 50)) < 0.2)
    assert planted_score(weight, 0.0, rng) == pytest.approx(np.abs(weight) / 1.8)
    noise = planted_score(np.zeros((200, 200)), 0.25, rng)
    assert noise.std() == pytest.approx(0.25, rel=0.03)
    mixed = shuffled(weight, rng)
    np.testing.assert_allclose(np.sort(mixed, axis=1), np.sort(weight, axis=1))
    assert not np.array_equal(mixed, weight)
    rows = source_permuted(weight, rng)
    np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(weight, axis=0))
    assert not np.array_equal(rows, weight)
    z = normal_score(rng.random(500))
    confound = confound_only(z, 300, rng)
    assert np.corrcoef(confound.mean(axis=0), z)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_perturbations": 40}, "n_perturbations"),
        ({"n_genes": 5000}, "n_genes"),
        ({"cells_per_perturbation": 500}, "cells_per_perturbation"),
        ({"cell_type_column": "kind", "cell_types": ("alpha",)}, "cell_type_column"),
        ({"edges_per_regulator": 400.0}, "edges_per_regulator"),
        ({"universe": ("g000", "nowhere")}, "nowhere"),
        ({"perturbations": ("g299",)}, "g299"),
    ],
)
def test_what_cannot_be_planted_is_refused_by_name(base, pairs, params, changes, says):
    with pytest.raises(ValueError, match=says):
        plant(base, pairs, params(**changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"top_variance_share": 1.2}, "top_variance_share"),
        ({"n_genes": 0}, "n_genes"),
        ({"world": "real"}, "world"),
        ({"modality": "knockout"}, "modality"),
        ({"generic_share": 1.0}, "generic_share"),
    ],
)
def test_impossible_knobs_are_refused_by_name(changes, says):
    with pytest.raises(ValueError, match=says):
        PlantedParams(**changes)


def test_pairs_without_their_columns_are_refused(base, params):
    with pytest.raises(ValueError, match="target"):
        plant(base, pd.DataFrame({"tf": ["g000"], "gene": ["g001"]}), params())


def test_kept_cells_of_a_planted_screen_give_its_labels_again(base, pairs, params):
    screen = plant(base, pairs, params())
    labels = screen_labels(base, screen, keep_cells=True)
    tested = cells_tested(base, labels)
    again = called(tested.outcome(np.ones(labels.tested_group.size, dtype=bool)), LabelRule(**labels.facts["rule"]))
    np.testing.assert_array_equal(again, labels.label)
    bare = screen_labels(base, screen)
    assert bare.tested_log is None
    assert isinstance(cells_tested(base, bare), str)
