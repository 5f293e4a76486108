"""Analysis 15: the share of edge variance that gene-level covariates explain.

Correlation is explained beside attention, as the yardstick of the source. Folds by target gene give the
numbers; folds by pair let a learner recognise genes and stand in the table for comparison only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    role_or_reason,
    row,
    skip,
    skip_all,
)
from interp_assets.analyses.scores import check_same_cells, edge_scores, gene_scores
from interp_assets.stats.crossfit import Boosting, TooLittleDataError
from interp_assets.stats.explained import (
    FOLDS_BY,
    Explained,
    FoldsBy,
    ScoredPairs,
    explained_variance,
)
from interp_assets.stats.fit_memory import SHARED_FITS, FitMemory
from interp_assets.stats.ranking import fill_missing
from qc_standards.records import TestResult

Variant = Literal["absolute", "signed"]
Learner = Literal["ols", "boosting"]
LEARNERS: Final[tuple[Learner, ...]] = ("ols", "boosting")
NUMBER: Final = 15
COVARIATES: Final = ("mean", "variance", "one_minus_dropout")
ROWS: Final[Mapping[str, tuple[str, Learner]]] = {
    "A15.1": ("attention", "ols"),
    "A15.2": ("correlation", "ols"),
    "A15.3": ("attention", "boosting"),
    "A15.4": ("correlation", "boosting"),
}
COLUMNS: Final = (
    "role", "dataset", "edge", "variant", "learner", "folds_by", "r2", "ci_low", "ci_high", "n_pairs", "n_targets",
    "resamples_requested", "resamples_done", "missing_share",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantScore:
    """One edge score in one variant over all ordered pairs (genes x genes), and the share that was filled."""

    edge: str
    variant: Variant
    score: NDArray[np.float64]
    missing_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CovariateFit:
    """What the covariates explain of one score under one learner and fold grouping, or why there is no number."""

    scored: VariantScore
    learner: Learner
    folds_by: FoldsBy
    explained: Explained | None = None
    reason: str = ""


def covariate_explanation(inputs: AnalysisInputs) -> AnalysisOutput:
    """Out-of-fold R2 of attention and correlation on mean, variance and dropout of source and target.

    Pairs are each perturbed gene against every other evaluable gene, or a random sample of them
    (``covariate_pairs``; 0 takes all), the same for every score. Rows carry R2 of the absolute score with folds
    by target gene and its interval over target genes (paper section 5, analysis 15); R2 is pooled over folds,
    about the mean of all pairs, and may be negative. Table `covariate_r2` holds both fold groupings and, for
    correlation, the signed score as well; attention is never negative, so its two variants are one. A fit
    whose folds by target gene cannot be filled is absent from the table and its row is skipped with the reason.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    check_same_cells(role)
    if role.source.size == 0:
        return skip_all(inputs, f"{role.dataset} has no perturbed gene among the evaluable genes", role=role)
    layer = analysis_layer(inputs, role)
    source, target = covariate_pairs(inputs, role)
    fits = [
        covariate_fit(inputs, role, scored, source, target, learner, folds_by)
        for scored in variant_scores(role, layer)
        for learner in LEARNERS
        for folds_by in FOLDS_BY
    ]
    at = {(fit.scored.edge, fit.scored.variant, fit.learner, fit.folds_by): fit for fit in fits}
    # A number by pair never stands alone: without its counterpart by target gene nobody could see the leak.
    lines = [
        _table_row(role, fit, fit.explained)
        for fit in fits
        if fit.explained is not None
        and at[fit.scored.edge, fit.scored.variant, fit.learner, "target_gene"].explained is not None
    ]
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    results = [
        _row(inputs, role, spec.test_id, at[edge, "absolute", learner, "target_gene"], layer)
        for spec in inputs.tests
        for edge, learner in [ROWS[spec.test_id]]
    ]
    return collect(inputs, results, {} if table.empty else {"covariate_r2": table})


def covariate_pairs(inputs: AnalysisInputs, role: RoleInputs) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Gene positions (source, target) of the analysed pairs, in row order: all, or a sample without replacement."""
    perturbed = np.unique(role.source)
    row_number, target = np.nonzero(perturbed[:, None] != np.arange(role.genes.size)[None, :])
    source = perturbed[row_number].astype(np.intp)
    most = int(chosen_settings(inputs, "covariate_pairs")["covariate_pairs"])
    if not 0 < most < source.size:
        return source, target
    taken = np.sort(generator(inputs, NUMBER, 2).choice(source.size, most, replace=False))
    return source[taken], target[taken]


def variant_scores(role: RoleInputs, layer: int) -> list[VariantScore]:
    """Attention and correlation as they are ranked everywhere, and correlation with its sign where it is known.

    A missing absolute score takes the lowest one; part of what covariates explain is then which pairs were
    seen, so the share travels along. A missing signed correlation takes the strength nearest 0: the lowest
    would call an unobserved pair the most strongly repressed.

    Raises
    ------
    ValueError
        If the signed correlation belongs to other genes or other cells than the absolute one.
    """
    found = []
    for edge in ("attention", "correlation"):
        filled = edge_scores(role, edge, layer)
        found.append(VariantScore(edge=edge, variant="absolute", score=filled.score, missing_share=filled.filled_share))
    signed = role.signed_correlation
    if signed is None:
        return found
    if signed.cells_hash != role.correlation.cells_hash or not np.array_equal(signed.genes, role.genes):
        raise ValueError(
            f"{role.dataset}: signed correlation has other genes or cells ({signed.cells_hash[:12]}) than the "
            f"absolute one ({role.correlation.cells_hash[:12]}); recompute both on the same sampled control cells"
        )
    strength, share = fill_missing(np.abs(signed.score))
    score = np.where(np.isnan(signed.score), strength, signed.score.astype(np.float64))
    found.append(VariantScore(edge="correlation", variant="signed", score=score, missing_share=share))
    return found


def covariate_fit(
    inputs: AnalysisInputs,
    role: RoleInputs,
    scored: VariantScore,
    source: NDArray[np.intp],
    target: NDArray[np.intp],
    learner: Learner,
    folds_by: FoldsBy,
    memory: FitMemory = SHARED_FITS,
) -> CovariateFit:
    """What the covariates of source and target explain of one score, or the reason why folds cannot be filled."""
    used = chosen_settings(inputs, "bootstrap", "folds", "boosting")
    genes = gene_scores(role)
    features = np.column_stack([genes[name] for name in COVARIATES])
    pairs = ScoredPairs(
        score=scored.score[source, target],
        covariates=np.column_stack([features[target], features[source]]),
        source=source,
        target=target,
    )
    try:
        explained = explained_variance(
            pairs,
            None if learner == "ols" else Boosting(**used["boosting"], seed=inputs.seed),
            folds_by=folds_by,
            folds=int(used["folds"]),
            fold_seed=[inputs.seed, NUMBER, 0],
            resamples=int(used["bootstrap"]),
            draw_seed=[inputs.seed, NUMBER, 1],
            memory=memory,
        )
    except TooLittleDataError as error:
        return CovariateFit(scored=scored, learner=learner, folds_by=folds_by, reason=f"{role.dataset}: {error}")
    return CovariateFit(scored=scored, learner=learner, folds_by=folds_by, explained=explained)


def _table_row(role: RoleInputs, fit: CovariateFit, explained: Explained) -> dict[str, object]:
    return {
        "role": role.role,
        "dataset": role.dataset,
        "edge": fit.scored.edge,
        "variant": fit.scored.variant,
        "learner": fit.learner,
        "folds_by": fit.folds_by,
        "r2": explained.r2,
        "ci_low": explained.interval.low,
        "ci_high": explained.interval.high,
        "n_pairs": explained.n_pairs,
        "n_targets": explained.n_targets,
        "resamples_requested": explained.interval.resamples_requested,
        "resamples_done": explained.interval.resamples_done,
        "missing_share": fit.scored.missing_share,
    }


def _row(inputs: AnalysisInputs, role: RoleInputs, test_id: str, fit: CovariateFit, layer: int) -> TestResult:
    used: dict[str, Any] = chosen_settings(inputs, "analysis_depth", "bootstrap", "covariate_pairs", "folds")
    if fit.learner == "boosting":
        used |= chosen_settings(inputs, "boosting")
    used |= {
        "covariates": COVARIATES,
        "covariates_of": ("target", "source"),
        "edge": fit.scored.edge,
        "folds_by": fit.folds_by,
        "interval_over": "target gene",
        "learner": fit.learner,
        "missing_rule": "lowest",
        "missing_share": fit.scored.missing_share,
        "variant": fit.scored.variant,
    }
    explained = fit.explained
    if explained is None:
        return skip(inputs, test_id, fit.reason, role=role, settings=used, layer=layer)
    used |= {"pairs": explained.n_pairs, "targets": explained.n_targets}
    constant = f"{fit.scored.edge} is the same for every pair: it has no variance to explain"
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        reason=constant if np.isnan(explained.r2) else "",
        effect=explained.r2,
        effect_kind="r2",
        ci_low=explained.interval.low,
        ci_high=explained.interval.high,
        n=explained.n_pairs,
        unit="gene pair",
        resamples_requested=explained.interval.resamples_requested,
        resamples_done=explained.interval.resamples_done,
        direction="higher means more of the edge score is explained by gene-level covariates",
    )
