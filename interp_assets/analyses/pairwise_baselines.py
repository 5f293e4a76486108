"""Extended analysis E6: whether an edge score finds more than a trivial score of the same pair.

Three scores that know nothing of regulation stand beside attention and correlation: how close two genes lie in the
ranked list of a cell, how often both are detected, and the product of their mean expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.pair_scores import PRODUCT, PairScore, expression_pairs, observed_spearman
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
from interp_assets.analyses.score_contrasts import (
    CHANCE,
    SCREEN,
    SETTINGS,
    Contrast,
    Recovered,
    Truth,
    contrast,
    contrast_columns,
    reference_truths,
    screen_truth,
)
from interp_assets.analyses.scores import FilledScores, check_same_cells, edge_scores, subsets
from interp_assets.edges.records import EdgeMatrix
from interp_assets.stats.rank_residual import Variant, residual_rows
from qc_standards.records import TestResult

NUMBER: Final = 106  # generators of its own, apart from those of analysis 6
EDGES: Final = ("attention", "correlation")
RANK_DISTANCE: Final = "rank_distance"
CO_DETECTION: Final = "co_detection"
BASELINES: Final = (RANK_DISTANCE, CO_DETECTION, PRODUCT)
DECIDING: Final[Variant] = "normal scores, cubic"
REFERENCE: Final = "primary reference"
NO_PERTURBATION: Final = "no perturbation has enough positive and negative candidates; see perturbation_exclusions"
DIFFERENCES: Final[Mapping[str, tuple[str, str, str]]] = {
    "E6.1": (SCREEN, "attention", RANK_DISTANCE),
    "E6.2": (SCREEN, "attention", CO_DETECTION),
    "E6.3": (SCREEN, "attention", PRODUCT),
    "E6.4": (SCREEN, "correlation", RANK_DISTANCE),
    "E6.5": (SCREEN, "correlation", CO_DETECTION),
    "E6.6": (SCREEN, "correlation", PRODUCT),
    "E6.9": (REFERENCE, "attention", RANK_DISTANCE),
    "E6.10": (REFERENCE, "attention", CO_DETECTION),
    "E6.11": (REFERENCE, "attention", PRODUCT),
    "E6.12": (REFERENCE, "correlation", RANK_DISTANCE),
    "E6.13": (REFERENCE, "correlation", CO_DETECTION),
    "E6.14": (REFERENCE, "correlation", PRODUCT),
}
BEYOND: Final[Mapping[str, tuple[str, str]]] = {
    "E6.7": (SCREEN, "attention"),
    "E6.8": (SCREEN, "correlation"),
    "E6.15": (REFERENCE, "attention"),
    "E6.16": (REFERENCE, "correlation"),
}
ASSOCIATIONS: Final[Mapping[str, str]] = {"E6.17": RANK_DISTANCE, "E6.18": CO_DETECTION, "E6.19": PRODUCT}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Every score against one truth, and the remainder of the edges under each variant.

    ``ranked`` are the edges as ranks within each unit with nothing taken out. Against a reference, ranks within a
    regulator drop what separates regulators, so that a remainder is to be compared with them and not with the score.
    """

    truth: Truth
    scores: Mapping[str, Recovered]
    ranked: Mapping[str, Recovered]
    residuals: Mapping[tuple[str, Variant], Recovered]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """Everything judged: the first reference is the primary one unless ``no_reference`` says why it is not there."""

    role: RoleInputs
    layer: int
    scores: Mapping[str, FilledScores]
    judged: tuple[_Judged, ...]
    no_reference: str
    margin: float

    def against(self, truth: str) -> _Judged | str:
        """Scores against the whole screen or the primary reference, or the reason why there are none."""
        name = self.role.primary_reference if truth == REFERENCE else truth
        for one in self.judged:
            if (one.truth.name, one.truth.subset) == (name, "all"):
                return one
        return self.no_reference if truth == REFERENCE else NO_PERTURBATION


def pairwise_baselines(inputs: AnalysisInputs) -> AnalysisOutput:
    """Attention and correlation against three trivial scores of the same pairs, on the screen and on references.

    Per truth: AUROC of every score over the same units and candidates, paired differences with an interval over
    units, a p and an equivalence test; and the AUROC of what is left of an edge score within each unit once the three
    trivial scores together have explained what they can (`stats.rank_residual`, fitted without labels).

    Tables
    ------
    ``pairwise_baselines`` : truth, gene subset, score, baseline, mean AUROC of both, their difference with interval,
    p, equivalence test and reading.
    ``pairwise_residual`` : truth, gene subset, score, variant of the regression, AUROC of the score, of its ranks
    within each unit and of what is left of them, interval, one-sided p.
    ``pairwise_association`` : Spearman correlation of attention with each trivial score over all ordered pairs.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    absent = [name for name in (RANK_DISTANCE, CO_DETECTION) if name not in role.trivial]
    if absent:
        return skip_all(inputs, f"{role.dataset}: no score {', '.join(absent)} was computed", role=role)
    compared = _compare(inputs, with_product_of_means(role))
    association = _association(compared)
    results = [_row(inputs, compared, association, spec.test_id) for spec in inputs.tests]
    tables = {
        "pairwise_baselines": _difference_table(compared),
        "pairwise_residual": _residual_table(compared),
        "pairwise_association": association,
    }
    return collect(inputs, results, tables)


def with_product_of_means(role: RoleInputs) -> RoleInputs:
    """The role with the product of the two mean expressions among its trivial scores, from the same cells."""
    product = expression_pairs(role)[PRODUCT].score.astype(np.float32)
    edges = EdgeMatrix(
        name=PRODUCT,
        genes=role.genes,
        score=product,
        cells_behind=role.correlation.cells_behind,  # the means are over the same cells
        cells_hash=role.cells_hash,
    )
    return replace(role, trivial={**role.trivial, PRODUCT: edges})


def _compare(inputs: AnalysisInputs, role: RoleInputs) -> _Compared:
    check_same_cells(role)
    layer = analysis_layer(inputs, role)
    scores = {name: edge_scores(role, name, layer) for name in (*EDGES, *BASELINES)}
    screens = (screen_truth(inputs, role, generator(inputs, NUMBER, 1), subset) for subset in subsets(role))
    truths: list[Truth] = [truth for truth in screens if truth is not None]
    references, why = reference_truths(inputs, role, generator(inputs, NUMBER, 2))
    return _Compared(
        role=role,
        layer=layer,
        scores=scores,
        judged=tuple(_judge(truth, scores) for truth in (*truths, *references)),
        no_reference=why,
        margin=float(chosen_settings(inputs, "equivalence_margin")["equivalence_margin"]),
    )


def _judge(truth: Truth, scores: Mapping[str, FilledScores]) -> _Judged:
    rows = {name: truth.rows(filled.score) for name, filled in scores.items()}
    edges, trivial = (np.stack([rows[name] for name in names]) for names in (EDGES, BASELINES))
    left = residual_rows(edges, trivial, truth.candidates)
    ranks = residual_rows(edges, trivial[:0], truth.candidates)["ranks"]
    return _Judged(
        truth=truth,
        scores={name: truth.recover(each) for name, each in rows.items()},
        ranked={edge: truth.recover(ranks[place]) for place, edge in enumerate(EDGES)},
        residuals={
            (edge, variant): truth.recover(own[place])
            for place, edge in enumerate(EDGES)
            for variant, own in left.items()
        },
    )


def _difference_table(compared: _Compared) -> pd.DataFrame:
    lines = [
        {
            **_where(compared, one),
            "score": edge,
            "baseline": baseline,
            "auroc_score": one.scores[edge].auroc,
            "score_ci_low": one.scores[edge].interval.low,
            "score_ci_high": one.scores[edge].interval.high,
            "auroc_baseline": one.scores[baseline].auroc,
            "baseline_ci_low": one.scores[baseline].interval.low,
            "baseline_ci_high": one.scores[baseline].interval.high,
            **contrast_columns(_contrast(compared, one, edge, baseline), one.truth),
        }
        for one in compared.judged
        for edge in EDGES
        for baseline in BASELINES
    ]
    return pd.DataFrame(lines)


def _residual_table(compared: _Compared) -> pd.DataFrame:
    lines = []
    for one in compared.judged:
        for (edge, variant), left in one.residuals.items():
            interval = left.interval
            lines.append(
                {
                    **_where(compared, one),
                    "score": edge,
                    "variant": variant,
                    "deciding": variant == DECIDING,
                    "auroc_score": one.scores[edge].auroc,
                    "auroc_ranked": one.ranked[edge].auroc,
                    "auroc_residual": left.auroc,
                    "ci_low": interval.low,
                    "ci_high": interval.high,
                    "p": left.p_above_chance,
                    "n_units": one.truth.units,
                    "unit": one.truth.unit,
                    "resamples_requested": interval.resamples_requested,
                    "resamples_done": interval.resamples_done,
                }
            )
    return pd.DataFrame(lines)


def _where(compared: _Compared, one: _Judged) -> dict[str, object]:
    role = compared.role
    return {
        "context": role.role,
        "dataset": role.dataset,
        "truth": one.truth.name,
        "primary": one.truth.name in (SCREEN, role.primary_reference),
        "subset": one.truth.subset,
        "layer": compared.layer,
    }


def _association(compared: _Compared) -> pd.DataFrame:
    """Spearman over the ordered pairs that attention and the trivial score both have."""
    role = compared.role
    matrices = {"attention": role.attention.layer_matrix(compared.layer).score}
    matrices |= {name: role.trivial[name].score for name in BASELINES}
    pairs = {
        name: PairScore(name=name, score=compared.scores[name].score, observed=~np.isnan(raw))
        for name, raw in matrices.items()
    }
    other = ~np.eye(role.genes.size, dtype=bool)
    lines = []
    for name in BASELINES:
        both = pairs["attention"].observed & pairs[name].observed & other
        rho = float(observed_spearman([pairs["attention"], pairs[name]])[0, 1])
        where = {"context": role.role, "dataset": role.dataset, "layer": compared.layer}
        lines.append({**where, "score": "attention", "baseline": name, "spearman": rho, "n_pairs": int(both.sum())})
    return pd.DataFrame(lines)


def _contrast(compared: _Compared, one: _Judged, edge: str, baseline: str) -> Contrast:
    return contrast(one.scores[edge], one.scores[baseline], compared.margin)


def _row(inputs: AnalysisInputs, compared: _Compared, association: pd.DataFrame, test_id: str) -> TestResult:
    if test_id in ASSOCIATIONS:
        return _association_row(inputs, compared, association, test_id)
    named = DIFFERENCES.get(test_id) or BEYOND[test_id]
    one = compared.against(named[0])
    if isinstance(one, str):
        return skip(inputs, test_id, one, role=compared.role, layer=compared.layer)
    if test_id in DIFFERENCES:
        return _difference_row(inputs, compared, one, test_id)
    return _beyond_row(inputs, compared, one, test_id)


def _difference_row(inputs: AnalysisInputs, compared: _Compared, one: _Judged, test_id: str) -> TestResult:
    _, edge, baseline = DIFFERENCES[test_id]
    found = _contrast(compared, one, edge, baseline)
    return row(
        inputs,
        compared.role,
        test_id,
        settings=_settings(inputs, compared, one, (edge, baseline)) | {"p_equivalent": _known(found.equivalence.p)},
        layer=compared.layer,
        statistic=one.scores[edge].auroc,
        effect=found.difference,
        ci_low=found.interval.low,
        ci_high=found.interval.high,
        p=found.p,
        n=one.truth.units,
        null_name="no difference",
        null_mean=0.0,
        resamples_requested=found.interval.resamples_requested,
        resamples_done=found.interval.resamples_done,
        direction=f"{edge} - {baseline}: {found.reading}",
    )


def _beyond_row(inputs: AnalysisInputs, compared: _Compared, one: _Judged, test_id: str) -> TestResult:
    _, edge = BEYOND[test_id]
    left = one.residuals[edge, DECIDING]
    interval = left.interval
    return row(
        inputs,
        compared.role,
        test_id,
        settings=_settings(inputs, compared, one, (edge, *BASELINES)) | {"variant": DECIDING},
        layer=compared.layer,
        statistic=one.ranked[edge].auroc,
        effect=left.auroc,
        ci_low=interval.low,
        ci_high=interval.high,
        p=left.p_above_chance,
        n=one.truth.units,
        null_name="chance",
        null_mean=CHANCE,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction="above .5",
    )


def _association_row(
    inputs: AnalysisInputs, compared: _Compared, association: pd.DataFrame, test_id: str
) -> TestResult:
    found = association[association["baseline"] == ASSOCIATIONS[test_id]].iloc[0]
    used = chosen_settings(inputs, "analysis_depth") | {"baseline": ASSOCIATIONS[test_id], "score": "attention"}
    return row(
        inputs,
        compared.role,
        test_id,
        settings=used,
        layer=compared.layer,
        effect=found["spearman"],
        n=int(found["n_pairs"]),
        direction="higher means attention follows the trivial score",
    )


def _settings(inputs: AnalysisInputs, compared: _Compared, one: _Judged, names: tuple[str, ...]) -> dict[str, Any]:
    shares = {name: compared.scores[name].filled_share for name in names}
    used = chosen_settings(inputs, *SETTINGS)
    return used | {"missing_rule": "lowest", "missing_share": shares, "truth": one.truth.name}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
