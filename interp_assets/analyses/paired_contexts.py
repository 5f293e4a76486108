"""Attention against correlation in one screen at one layer: paired AUROCs, evidence, rows and table records.

What belongs here: what analyses 28, 33 and 37 share for one context. What does not: which contexts they ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, RoleInputs
from interp_assets.analyses.perturbation_first import evaluable
from interp_assets.analyses.rows import row, skip
from interp_assets.analyses.scores import candidate_labels, edge_scores
from interp_assets.edges.layers import relative_depth
from interp_assets.stats.paired import cohens_d, smallest_attainable_p
from interp_assets.stats.ranking import rank_rows
from interp_assets.stats.replication import ALPHA, ContextEvidence, context_evidence
from qc_standards.records import TestResult

# Layers as the publication names them, of 0..17, as relative depths. "L18" of an 18-layer model is its last one.
DEPTHS: Final[Mapping[str, float]] = {"L6": 6 / 17, "L13": 13 / 17, "L15": 15 / 17, "L18": 1.0}
EDGES: Final = ("attention", "correlation")
# Below five perturbations the smallest two-sided p is .125: nothing could be told (planted.md section 4, criterion a).
FEWEST: Final = 5
COLUMNS: Final = (
    *("comparison", "context", "setting", "n_perturbations", "mean_difference", "sd_difference", "ci_low", "ci_high"),
    *("margin", "smallest_p", "detectable_difference", "power_at_margin", "reading"),
    *("role", "dataset", "data_origin", "context_mismatch", "layer", "depth", "n_genes", "mean_attention"),
    *("mean_correlation", "p", "cohen_d", "p_equivalent", "equivalent", "resamples_requested", "resamples_done"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedScores:
    """AUROC of attention and of correlation for the same perturbations (n) of one screen."""

    role: RoleInputs
    layer: int
    perturbations: NDArray[np.str_]
    attention: NDArray[np.float64]
    correlation: NDArray[np.float64]
    missing_share: Mapping[str, float]

    @property
    def difference(self) -> NDArray[np.float64]:
        """Attention minus correlation (n)."""
        return self.attention - self.correlation


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One context: its scores, its evidence, and how it is called in tables."""

    scores: PairedScores
    evidence: ContextEvidence
    name: str
    setting: str
    comparison: str


def paired_scores(
    inputs: AnalysisInputs, role: RoleInputs, layer: int, only: NDArray[np.bool_] | None = None
) -> PairedScores:
    """Paired AUROCs of the evaluable perturbations of a screen, or of those among them under ``only`` (P)."""
    label = candidate_labels(role)
    keep = evaluable(inputs, label) if only is None else evaluable(inputs, label) & only
    values, shares = {}, {}
    for edge in EDGES:
        filled = edge_scores(role, edge, layer)
        values[edge] = row_aurocs(filled.score[role.source], label, keep)
        shares[edge] = filled.filled_share
    return PairedScores(role=role, layer=layer, perturbations=role.perturbations[keep], missing_share=shares, **values)


def row_aurocs(scores: NDArray[np.float64], label: NDArray[np.int8], keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """AUROC (n) of the kept rows of scores P x G against labels P x G."""
    return rank_rows(scores[keep]).auroc(label[keep]) if keep.any() else np.empty(0)


def too_few(n: int, dataset: str) -> str:
    """Why n perturbations cannot decide anything; empty where they can."""
    if n >= FEWEST:
        return ""
    best = f", which reach a two-sided p of {smallest_attainable_p(n):.3g} at best" if n else ""
    return f"{dataset}: perturbations that can be evaluated: {n}{best}; at least {FEWEST} are needed"


def in_context(scores: PairedScores, rng: np.random.Generator, used: Mapping[str, Any], resamples: int) -> Context:
    """Evidence of one context; ``used`` holds the equivalence margin."""
    role, layers = scores.role, scores.role.attention.layers
    return Context(
        scores=scores,
        evidence=context_evidence(scores.difference, float(used["equivalence_margin"]), rng, resamples),
        name=f"{role.role}: {role.dataset}",
        setting=f"layer {scores.layer} of 0..{layers - 1}, all {role.genes.size} evaluable genes",
        comparison=f"attention layer {scores.layer} - correlation",
    )


def context_table(contexts: list[Context]) -> pd.DataFrame:
    """One row a context, as standard QCS-31 reads it.

    A context whose two scores give the same AUROC everywhere has no spread to judge power by and is left out.
    """
    records = [_record(context) for context in contexts if context.evidence.sd > 0.0]
    return pd.DataFrame(records, columns=list(COLUMNS))


def _record(context: Context) -> dict[str, object]:
    scores, found = context.scores, context.evidence
    role = scores.role
    return {
        "comparison": context.comparison,
        "context": context.name,
        "setting": context.setting,
        "n_perturbations": found.n,
        "mean_difference": found.mean,
        "sd_difference": found.sd,
        "ci_low": found.interval.low,
        "ci_high": found.interval.high,
        "margin": found.equivalence.margin,
        "smallest_p": found.test.smallest_p,
        "detectable_difference": found.detectable,
        "power_at_margin": found.power_at_margin,
        "reading": found.reading,
        "role": role.role,
        "dataset": role.dataset,
        "data_origin": str(role.data_origin),
        "context_mismatch": role.context_mismatch,
        "layer": scores.layer,
        "depth": relative_depth(scores.layer, role.attention.layers),
        "n_genes": role.genes.size,
        "mean_attention": scores.attention.mean(),
        "mean_correlation": scores.correlation.mean(),
        "p": found.test.p,
        "cohen_d": cohens_d(scores.difference),
        "p_equivalent": found.equivalence.p,
        "equivalent": found.equivalence.equivalent,
        "resamples_requested": found.interval.resamples_requested,
        "resamples_done": found.interval.resamples_done,
    }


def context_settings(scores: PairedScores, used: Mapping[str, Any], depth: float) -> dict[str, Any]:
    """Settings of a row that holds attention against correlation at a published depth."""
    kept = ("equivalence_margin", "min_negatives", "min_positives")
    return {name: used[name] for name in kept} | {
        "depth": depth,
        "genes": scores.role.genes.size,
        "interval": "studentised bootstrap over perturbations",
        "missing_rule": "lowest",
        "missing_share": dict(scores.missing_share),
    }


def context_row(
    inputs: AnalysisInputs,
    context: Context,
    test_id: str,
    used: Mapping[str, Any],
    what: str = "attention - correlation",
) -> TestResult:
    """Result row of one context: mean difference, interval, signed-rank p, and what could have been found."""
    found = context.evidence
    told = {
        "cohen_d": _number(cohens_d(context.scores.difference)),
        "detectable_difference": found.detectable,
        "equivalent": found.equivalence.equivalent,
        "mean_attention": context.scores.attention.mean(),
        "mean_correlation": context.scores.correlation.mean(),
        "p_equivalent": found.equivalence.p,
        "power_at_margin": found.power_at_margin,
        "reading": found.reading,
        "signed_rank": found.test.method,
        "smallest_attainable_p": found.test.smallest_p,
    }
    return row(
        inputs,
        context.scores.role,
        test_id,
        settings={**used, **told},
        layer=context.scores.layer,
        null_name="no difference",
        **evidence_numbers(found, what),
    )


def evidence_numbers(found: ContextEvidence, what: str) -> dict[str, Any]:
    """Numbers of a row on paired AUROCs of one context, ``what`` naming the difference."""
    return {
        "statistic": found.test.statistic,
        "effect": found.mean,
        "effect_kind": "delta_auroc",
        "ci_low": found.interval.low,
        "ci_high": found.interval.high,
        "p": found.test.p,
        "n": found.n,
        "unit": "perturbation",
        "null_mean": 0.0,
        "resamples_requested": found.interval.resamples_requested,
        "resamples_done": found.interval.resamples_done,
        "direction": f"{what}, {told_power(found)}",
    }


def told_power(found: ContextEvidence) -> str:
    """Reading of a context and what it could have shown, in words.

    The reading goes by the interval of the mean, the p by ranks; on skewed differences the two may part.
    """
    apart, ranked = found.reading in ("greater", "smaller"), found.test.p <= ALPHA
    told = ""
    if apart and not ranked:
        told = " by the interval of the mean, which the signed-rank test does not confirm"
    elif ranked and not apart:
        told = f" by the interval of the mean, though the signed-rank p is at most {ALPHA:g}"
    best = f"reads {found.reading}{told}; smallest attainable p {found.test.smallest_p:.3g}"
    if found.test.smallest_p > ALPHA:
        return f"{best}, so no difference can be found at level {ALPHA:g}"
    return (
        f"{best}, detectable difference {found.detectable:.3g} at power .8, power {found.power_at_margin:.2g} at the "
        f"margin {found.equivalence.margin:g}"
    )


def skipped_context(
    inputs: AnalysisInputs, role: RoleInputs | None, test_id: str, reason: str, layer: int | None = None
) -> TestResult:
    """Row of a context that has nothing to say, or that was already told."""
    return skip(inputs, test_id, reason, role=role, layer=layer)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
