"""Bands that every planted world keeps, on real pancreas cells from the data wheels, seeds 0 to 2.

The criteria with their bootstraps and nulls are in `test_battery_bands`; here are the cheap numbers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from interp_assets.cells.planted import plant
from interp_assets.cells.planted_labels import screen_labels
from interp_assets.cells.planted_network import control_pool, gene_moments
from interp_assets.cells.planted_params import PlantedParams
from interp_assets.cells.planted_scores import confound_only, planted_score, shuffled, source_permuted


def mean_auroc(score, label) -> float:
    rows = [i for i in range(len(label)) if (label[i] == 1).sum() >= 3]
    table = np.broadcast_to(score, label.shape)
    return float(np.mean([roc_auc_score(label[i][label[i] >= 0], table[i][label[i] >= 0]) for i in rows]))


def world(base, pairs, params: PlantedParams) -> dict[str, float]:
    labels = screen_labels(base, plant(base, pairs, params))
    at = pd.Index(base.genes).get_indexer(labels.genes)
    source = pd.Index(labels.genes).get_indexer(labels.perturbations)
    moments = gene_moments(base, control_pool(base, params))
    ranks = rankdata(base.log[base.control][:, at].toarray(), axis=0)
    correlation = np.abs(np.corrcoef(ranks, rowvar=False))[source]
    rng = np.random.default_rng([params.seed, 9])
    planted = planted_score(labels.planted_weight, params.score_noise, rng)
    z = np.argsort(np.argsort(moments.variance[at])) / len(at)
    scores = {
        "variance": moments.variance[at],
        "mean": moments.mean[at],
        "one_minus_dropout": moments.detection[at],
        "correlation": correlation,
        "planted": planted,
        "shuffled": shuffled(planted, rng),
        "confound": confound_only((z - z.mean()) / z.std(), len(source), rng),
        "source_permuted": source_permuted(correlation, rng),
    }
    found = {name: mean_auroc(score, labels.label) for name, score in scores.items()}
    evaluable = ((labels.label == 1).sum(axis=1) >= 3).sum()
    return found | {
        "rate": labels.facts["positive_rate"],
        "explained": labels.facts["positives_with_edge"],
        "ceiling": labels.facts["planted_ceiling"],
        "evaluable": float(evaluable),
        "edges": float(labels.facts["edges_drawn"]) / labels.facts["edges_asked"],
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_signal_world_looks_like_a_real_screen_and_only_the_network_beats_variance(pancreas, known_pairs, seed):
    found = world(pancreas, known_pairs, PlantedParams(seed=seed, network_seed=seed))
    assert 0.86 <= found["variance"] <= 0.91
    assert 0.60 <= found["correlation"] <= 0.70
    assert 0.018 <= found["rate"] <= 0.035
    assert found["planted"] >= 0.93
    assert found["explained"] >= 0.95
    assert found["evaluable"] >= 95
    assert found["edges"] >= 0.95
    best = max(found["variance"], found["mean"], found["one_minus_dropout"])
    assert found["planted"] - best >= 0.04
    assert found["ceiling"] >= found["planted"]
    assert abs(found["shuffled"] - 0.5) < 0.03
    for confounder in ("correlation", "confound", "source_permuted"):
        assert found[confounder] < best - 0.05


def test_confound_world_gives_the_network_nothing(pancreas, known_pairs):
    found = world(pancreas, known_pairs, PlantedParams(world="confound"))
    assert found["explained"] < 0.25
    assert found["planted"] < 0.62
    assert found["variance"] > 0.86
    assert 0.018 <= found["rate"] <= 0.035


def test_empty_world_has_almost_no_outcome(pancreas, known_pairs):
    labels = screen_labels(pancreas, plant(pancreas, known_pairs, PlantedParams(world="empty")))
    assert ((labels.label == 1).sum(axis=1) >= 3).mean() <= 0.05


def test_weights_carry_no_co_expression_beyond_real_pairs(pancreas, known_pairs):
    """Shuffling targets within the known pairs removes what correlation knows about planted weights."""
    params = PlantedParams(n_perturbations=60)
    screen = plant(pancreas, known_pairs, params)
    edge = screen.planted_weight != 0
    at = pd.Index(pancreas.genes).get_indexer(screen.universe)
    source = pd.Index(screen.universe).get_indexer(screen.perturbations)
    ranks = rankdata(pancreas.log[:, at].toarray(), axis=0)
    correlation = np.abs(np.corrcoef(ranks, rowvar=False))[source]
    size = np.abs(screen.planted_weight[edge])
    kind = screen.network.edges.set_index(["tf", "target"])["kind"]
    row, column = np.nonzero(edge)
    direct = kind.loc[list(zip(screen.perturbations[row], screen.universe[column], strict=True))] == "direct"
    for mask in (direct.to_numpy(), ~direct.to_numpy()):
        r = np.corrcoef(rankdata(size[mask]), rankdata(correlation[edge][mask]))[0, 1]
        assert abs(r) < 4 / np.sqrt(mask.sum())


def test_control_cells_are_untouched(pancreas, known_pairs):
    before = pancreas.counts.copy()
    plant(pancreas, known_pairs, replace(PlantedParams(), n_perturbations=20))
    assert (before != pancreas.counts).nnz == 0
