"""Analysis 25: how much reference recovery remains once gene-level covariates leave the score.

Correlation goes through the same residualisation beside attention, as the yardstick of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    role_or_reason,
    row,
    skip_all,
)
from interp_assets.analyses.scores import (
    ReferencePairs,
    check_same_cells,
    edge_scores,
    gene_scores,
    pairs_or_reason,
    reference_scores,
)
from interp_assets.stats.crossfit import Boosting, TooLittleDataError
from interp_assets.stats.fit_memory import SHARED_FITS, FitMemory
from interp_assets.stats.residual import (
    RESIDUAL_LEARNERS,
    ReferenceScores,
    ResidualLearner,
    Retention,
    retention,
)
from qc_standards.records import TestResult

NUMBER: Final = 25
EDGES: Final = ("attention", "correlation")
COVARIATES: Final = ("mean", "variance", "one_minus_dropout")
SEEDS_OF: Final[Mapping[ResidualLearner, str]] = {
    "ols": "residual_seeds",
    "boosting": "residual_boosting_seeds",
}
ROWS: Final[Mapping[str, tuple[str, ResidualLearner]]] = {
    "A25.1": ("attention", "ols"),
    "A25.2": ("correlation", "ols"),
    "A25.3": ("attention", "boosting"),
}


def cross_fitted_residualisation(inputs: AnalysisInputs) -> AnalysisOutput:
    """Raw and residual recovery of the primary reference, and the share of it that is kept.

    Pairs are each listed regulator against every other gene; covariates are mean, variance and dropout of
    target and regulator; folds group by target gene (paper section 4, analysis 25). Rows carry the
    residual AUROC with its interval over regulators; the statistic is the kept share (A25.1, A25.2) or the
    standard deviation over fold seeds (A25.3). Tables `residual_retention` and `residual_summary`.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    check_same_cells(role)
    pairs = pairs_or_reason(role)
    if isinstance(pairs, str):
        return skip_all(inputs, pairs, role=role)
    layer = analysis_layer(inputs, role)
    try:
        found = {
            (edge, learner): edge_retention(inputs, role, pairs, edge, learner, layer)
            for edge in EDGES
            for learner in RESIDUAL_LEARNERS
        }
    except TooLittleDataError as error:
        return skip_all(inputs, f"reference {pairs.name}: {error}", role=role)
    scored = {spec.test_id: ROWS[spec.test_id] for spec in inputs.tests}
    results = [retention_row(inputs, role, pairs, test, one, found[one], layer) for test, one in scored.items()]
    return collect(inputs, results, retention_tables(role, pairs, found))


def edge_retention(
    inputs: AnalysisInputs,
    role: RoleInputs,
    pairs: ReferencePairs,
    edge: str,
    learner: ResidualLearner,
    layer: int,
    memory: FitMemory = SHARED_FITS,
) -> Retention:
    """Retained share of one edge score under one learner."""
    used = chosen_settings(inputs, "bootstrap", "folds", "boosting", SEEDS_OF[learner])
    return retention(
        scored_pairs(role, pairs, edge, layer),
        None if learner == "ols" else Boosting(**used["boosting"]),
        folds=int(used["folds"]),
        seeds=[inputs.seed + number for number in range(int(used[SEEDS_OF[learner]]))],
        resamples=int(used["bootstrap"]),
        draw_seed=[inputs.seed, NUMBER],
        memory=memory,
    )


def scored_pairs(role: RoleInputs, pairs: ReferencePairs, edge: str, layer: int) -> ReferenceScores:
    """Candidate pairs of the reference with their score and the covariates of target and regulator."""
    genes = gene_scores(role)
    features = np.column_stack([genes[name] for name in COVARIATES])
    regulator, target = np.nonzero(pairs.regulators[:, None] != np.arange(role.genes.size)[None, :])
    source = pairs.regulators[regulator]
    scores = reference_scores(pairs, edge_scores(role, edge, layer).score)
    return ReferenceScores(
        score=scores[regulator, target],
        covariates=np.column_stack([features[target], features[source]]),
        member=pairs.member[regulator, target],
        regulator=regulator,
        target=target,
    )


def retention_tables(
    role: RoleInputs, pairs: ReferencePairs, found: Mapping[tuple[str, ResidualLearner], Retention]
) -> dict[str, pd.DataFrame]:
    """Tables `residual_retention` (one row a fold seed) and `residual_summary` (one a score and learner)."""
    each, summary = [], []
    for (edge, learner), kept in found.items():
        where = {
            "role": role.role,
            "dataset": role.dataset,
            "edge": edge,
            "reference": pairs.name,
            "learner": learner,
        }
        for one in kept.seeds:
            numbers = {"auroc_raw": one.auroc_raw, "auroc_residual": one.auroc_residual, "kept": one.kept}
            counts = {"n_pairs": kept.n_pairs, "n_positive": kept.n_positive}
            each.append({**where, "seed": one.seed, **numbers, **counts})
        summary.append(
            {
                **where,
                "auroc_raw": kept.auroc_raw,
                "raw_ci_low": kept.raw.low,
                "raw_ci_high": kept.raw.high,
                "auroc_residual": kept.auroc_residual,
                "sd_over_seeds": kept.sd_over_seeds,
                "kept": kept.kept,
                "kept_ci_low": kept.kept_interval.low,
                "kept_ci_high": kept.kept_interval.high,
                "resamples_requested": kept.kept_interval.resamples_requested,
                "resamples_done": kept.kept_interval.resamples_done,
                "residual_ci_low": kept.residual.low,
                "residual_ci_high": kept.residual.high,
                "nothing_to_retain": kept.nothing_to_retain,
            }
        )
    return {"residual_retention": pd.DataFrame(each), "residual_summary": pd.DataFrame(summary)}


def retention_row(
    inputs: AnalysisInputs,
    role: RoleInputs,
    pairs: ReferencePairs,
    test_id: str,
    scored: tuple[str, ResidualLearner],
    kept: Retention,
    layer: int,
) -> TestResult:
    """Result row of one score under one learner (``scored``): residual AUROC, and the kept share as the statistic."""
    edge, learner = scored
    used: dict[str, Any] = chosen_settings(inputs, "analysis_depth", "bootstrap", "folds", SEEDS_OF[learner])
    if learner == "boosting":
        used |= chosen_settings(inputs, "boosting")
    used |= {
        "covariates": COVARIATES,
        "edge": edge,
        "learner": learner,
        "missing_rule": "lowest",
        "missing_share": edge_scores(role, edge, layer).filled_share,
        "pairs": kept.n_pairs,
        "reference": pairs.name,
        "reference_pairs": kept.n_positive,
        "statistic": "sd_over_seeds" if test_id == "A25.3" else "kept",
    }
    no_spread = "one fold seed has no spread" if test_id == "A25.3" and len(kept.seeds) == 1 else ""
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        reason="; ".join(why for why in (kept.nothing_to_retain, no_spread) if why),
        statistic=kept.sd_over_seeds if test_id == "A25.3" else kept.kept,
        effect=kept.auroc_residual,
        effect_kind="auroc",
        ci_low=kept.residual.low,
        ci_high=kept.residual.high,
        n=pairs.regulators.size,
        unit="regulator",
        resamples_requested=kept.residual.resamples_requested,
        resamples_done=kept.residual.resamples_done,
        direction="higher means more regulatory",
    )
