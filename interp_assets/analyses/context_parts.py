"""Analyses 21, 25 and 26 on another screen than the primary one, by their own functions, and its direct targets.

What belongs here: calling them on a role and naming their tables. What does not: their statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from interp_assets.analyses.baselines import baseline_differences, compared_with_baselines
from interp_assets.analyses.incremental_value import (
    EDGES,
    SETTINGS,
    Cell,
    Comparison,
    comparison_or_reason,
    incremental_cells,
    value_table,
)
from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.paired_contexts import row_aurocs
from interp_assets.analyses.perturbation_first import evaluable
from interp_assets.analyses.residualisation import edge_retention, retention_tables
from interp_assets.analyses.rows import analysis_layer
from interp_assets.analyses.scores import (
    ReferencePairs,
    candidate_labels,
    edge_scores,
    gene_scores,
    pairs_or_reason,
)
from interp_assets.stats.crossfit import TooLittleDataError
from interp_assets.stats.residual import ResidualLearner, Retention

PART_SETTINGS: Final = (*SETTINGS, "min_positives", "min_negatives", "residual_seeds")
LEARNER: Final[ResidualLearner] = "ols"
Retained = tuple[ReferencePairs, Mapping[tuple[str, ResidualLearner], Retention]]
Gained = tuple[Comparison, list[Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextParts:
    """Baselines, residual recovery and incremental value of one screen, each with its numbers or the reason."""

    role: RoleInputs
    baselines: pd.DataFrame | str
    retained: Retained | str
    gained: Gained | str

    def tables(self, prefix: str) -> dict[str, pd.DataFrame]:
        """Tables of the parts that could be made, and one that says of each part whether and why not."""
        made: dict[str, pd.DataFrame] = {}
        if not isinstance(self.baselines, str):
            made["baselines"] = self.baselines
        if not isinstance(self.retained, str):
            made["residual"] = retention_tables(self.role, *self.retained)["residual_summary"]
        if not isinstance(self.gained, str):
            made["incremental"] = value_table(self.role, self.gained[1])
        reasons = {"baselines": self.baselines, "residual": self.retained, "incremental": self.gained}
        told = [
            {
                "role": self.role.role,
                "dataset": self.role.dataset,
                "part": part,
                "made": part in made,
                "reason": found if isinstance(found, str) else "",
            }
            for part, found in reasons.items()
        ]
        return {f"{prefix}_{name}": table for name, table in made.items()} | {f"{prefix}_parts": pd.DataFrame(told)}


def further_parts(inputs: AnalysisInputs, role: RoleInputs) -> ContextParts:
    """Gene-level baselines (21), cross-fitted residuals by least squares (25) and incremental value (26) of a screen.

    All at the layer fixed beforehand, with the folds, seeds and draws of the analyses they repeat.
    """
    return ContextParts(
        role=role,
        baselines=_baselines(inputs, role),
        retained=_retained(inputs, role),
        gained=_gained(inputs, role),
    )


def _baselines(inputs: AnalysisInputs, role: RoleInputs) -> pd.DataFrame | str:
    if not evaluable(inputs, candidate_labels(role)).any():
        return f"{role.dataset}: no perturbation has enough positive and negative candidates"
    return baseline_differences(inputs, compared_with_baselines(inputs, role))


def _retained(inputs: AnalysisInputs, role: RoleInputs) -> Retained | str:
    pairs = pairs_or_reason(role)
    if isinstance(pairs, str):
        return pairs
    layer = analysis_layer(inputs, role)
    try:
        return pairs, {(edge, LEARNER): edge_retention(inputs, role, pairs, edge, LEARNER, layer) for edge in EDGES}
    except TooLittleDataError as error:
        return f"reference {pairs.name}: {error}"


def _gained(inputs: AnalysisInputs, role: RoleInputs) -> Gained | str:
    comparison = comparison_or_reason(inputs, screen=role.role)
    if isinstance(comparison, str):
        return comparison
    cells = incremental_cells(comparison, EDGES, ("perturbation",), ("logistic",))
    return comparison, cells


def direct_targets(inputs: AnalysisInputs, role: RoleInputs) -> pd.DataFrame | str:
    """AUROC of the targets that respond and are listed, by perturbed regulator; or the reason why there is none.

    Positives are genes that respond *and* are targets of the perturbed gene in the primary reference, negatives those
    that do not respond; responders that are not listed may be indirect and drop out (paper section 5, analysis 37).
    Columns: role, dataset, reference, perturbation, n_direct, n_negative, attention, correlation, variance,
    difference (attention - correlation). ``variance`` is the gene-level baseline on the same pairs.
    """
    pairs = pairs_or_reason(role)
    if isinstance(pairs, str):
        return pairs
    label = candidate_labels(role)
    member = np.zeros((role.genes.size, role.genes.size), dtype=bool)
    member[pairs.regulators] = pairs.member
    label[(label == 1) & ~member[role.source]] = -1
    keep = evaluable(inputs, label)
    if not keep.any():
        return (
            f"{role.dataset}: no perturbed gene has enough targets that respond and are listed in {pairs.name}; "
            "a wider reference or universe may"
        )
    layer = analysis_layer(inputs, role)
    values = {edge: row_aurocs(edge_scores(role, edge, layer).score[role.source], label, keep) for edge in EDGES}
    variance = np.broadcast_to(gene_scores(role)["variance"], label.shape)
    return pd.DataFrame(
        {
            "role": role.role,
            "dataset": role.dataset,
            "reference": pairs.name,
            "perturbation": role.perturbations[keep],
            "n_direct": (label[keep] == 1).sum(axis=1),
            "n_negative": (label[keep] == 0).sum(axis=1),
            **values,
            "variance": row_aurocs(variance, label, keep),
            "difference": values["attention"] - values["correlation"],
        }
    )
