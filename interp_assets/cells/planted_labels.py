"""Outcomes of a planted screen, called like those of a real one, and the truth beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.differential import LabelRule
from interp_assets.cells.outcome_tables import positions
from interp_assets.cells.outcomes import labels_from_cells
from interp_assets.cells.planted import PlantedScreen
from interp_assets.cells.planted_network import control_pool
from interp_assets.cells.prepare import CONTROL, normalised_log
from interp_assets.cells.records import PreparedCells, ScreenLabels


def screen_labels(base: PreparedCells, screen: PlantedScreen, *, keep_cells: bool = False) -> ScreenLabels:
    """Outcome of a planted screen: Welch's t of each perturbation against the control cells of `base`.

    A pair is positive when its q (Benjamini-Hochberg within the perturbation) is below ``q_threshold`` and
    the difference of mean log1p counts per 10,000 exceeds ``lfc_threshold`` in size; a library-size shift
    makes far more pairs significant than it moves. The perturbed gene itself is no candidate. Perturbed
    cells are made from control cells, which the test treats as independent of each other.

    ``facts`` carry the positive rate, the share of positives that have a planted edge, the share of edges
    that were called, and two noise-free ceilings (per-perturbation AUROC of the planted weights and of the
    true folds); None where they are undefined. With ``keep_cells`` the labels hold the tested cells, which nothing
    else stores.
    """
    cells = screen_cells(base, screen)
    params = screen.params
    labels = labels_from_cells(
        cells,
        control=cells.control,
        modality=params.modality,
        rule=LabelRule(q=params.q_threshold, log_fold=params.lfc_threshold, min_cells=params.min_cells),
        planted_weight=pd.DataFrame(screen.planted_weight, index=screen.perturbations, columns=screen.universe),
    )
    labels = replace(labels, facts={**labels.facts, **screen.facts, **_truth_facts(screen, labels)})
    if not keep_cells:
        return labels
    group = positions(labels.perturbations, cells.obs["perturbation"].to_numpy(dtype=np.str_))
    group[cells.control] = -1
    # Cells of a perturbation without labels would pass for control cells.
    kept = cells.control | (group >= 0)
    return replace(labels, tested_log=cells.log[kept], tested_group=group[kept].astype(np.int32))


def screen_cells(base: PreparedCells, screen: PlantedScreen) -> PreparedCells:
    """Control cells of `base` followed by the perturbed cells, restricted to the scored universe.

    Both are normalised by their totals over *all* genes before the restriction. Where ``cell_types`` limits
    the screen, only control cells of those types are compared with; otherwise type would pass for effect.
    """
    from scipy import sparse

    column = pd.Index(base.genes).get_indexer(screen.universe)
    rows = np.flatnonzero(control_pool(base, screen.params))
    perturbed = len(screen.obs)
    obs = base.obs.iloc[rows].assign(perturbation=CONTROL)
    return replace(
        base,
        data_origin="semi_synthetic",
        counts=sparse.vstack([base.counts[rows][:, column], screen.counts[:, column]], format="csr"),
        log=sparse.vstack([base.log[rows][:, column], normalised_log(screen.counts)[:, column]], format="csr"),
        genes=screen.universe,
        universe=screen.universe,
        obs=pd.concat([obs, screen.obs]),
        control=np.repeat([True, False], [len(rows), perturbed]),
        facts={**base.facts, **screen.facts},
    )


def _truth_facts(screen: PlantedScreen, labels: ScreenLabels) -> dict[str, Any]:
    positive: NDArray[np.bool_] = labels.label == 1
    weight = np.zeros(positive.shape) if labels.planted_weight is None else labels.planted_weight
    row = pd.Index(screen.perturbations).get_indexer(labels.perturbations)
    edges, count = weight != 0, int(positive.sum())
    return {
        "positives_with_edge": float(edges[positive].mean()) if count else None,
        "edges_called": float(positive[edges].mean()) if edges.any() else None,
        "planted_ceiling": _mean_auroc(np.abs(weight), labels.label),
        "effect_ceiling": _mean_auroc(np.abs(screen.log_fold[row]), labels.label),
    }


def _mean_auroc(score: NDArray[np.floating[Any]], label: NDArray[np.int8]) -> float | None:
    """Mean per-perturbation AUROC over perturbations with both labels; None if there is none."""
    from interp_assets.stats.ranking import auroc

    both = (label == 1).any(axis=1) & (label == 0).any(axis=1)
    return float(auroc(score[both], label[both]).mean()) if both.any() else None
