"""Extended analysis E9: the same attention read from regulator to target, the other way, and both ways together.

Attention of a pair is not symmetric, and which way an edge points is a convention. The convention of this platform is
declared: the regulator is the query, the target the key. Reading the orientation that scores better once outcomes are
known would be a choice on the evaluation data, so that nothing here changes what other analyses read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

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
from interp_assets.analyses.score_contrasts import (
    SCREEN,
    SETTINGS,
    Contrast,
    Recovered,
    ReferenceTruth,
    Truth,
    contrast,
    contrast_columns,
    reference_truths,
    screen_truth,
)
from interp_assets.analyses.scores import edge_scores
from interp_assets.edges.layers import relative_depth
from qc_standards.records import TestResult

NUMBER: Final = 109  # generators of its own, apart from those of analysis 9
DECLARED: Final = "declared"
REFERENCE: Final = "primary reference"
ORIENTATIONS: Final[Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    DECLARED: lambda score: score,
    "transposed": lambda score: score.T,
    "mean": lambda score: (score + score.T) / 2.0,
    "maximum": lambda score: np.maximum(score, score.T),
}
ROWS: Final[Mapping[str, tuple[str, str]]] = {
    "E9.1": (SCREEN, "transposed"),
    "E9.2": (SCREEN, "mean"),
    "E9.3": (SCREEN, "maximum"),
    "E9.4": (REFERENCE, "transposed"),
    "E9.5": (REFERENCE, "mean"),
    "E9.6": (REFERENCE, "maximum"),
}
ASYMMETRY: Final[Mapping[str, str]] = {"E9.7": "attention", "E9.8": "correlation"}
NO_PERTURBATION: Final = "no perturbation has enough positive and negative candidates; see perturbation_exclusions"
ONE_SCORE: Final = (
    "the model looks back, so that a pair has one score, both orders of tokens pooled: no orientation can differ"
)
SYMMETRIC: Final = "lists no direction, so that every orientation reads the same"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One truth and, by layer and orientation, how well attention recovers it."""

    truth: Truth
    found: Mapping[tuple[int, str], Recovered]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Orientations:
    """Both truths where they are there, and the reasons where they are not."""

    role: RoleInputs
    layer: int
    read: Mapping[str, _Read]
    absent: Mapping[str, str]
    margin: float


def orientations(inputs: AnalysisInputs) -> AnalysisOutput:
    """Recovery of the screen and of the primary reference by attention in both orientations, layer by layer.

    Orientations are score[regulator, target] (declared), score[target, regulator] (transposed), and the mean and the
    maximum of the two. Differences are orientation minus declared, paired over the same units; rows are at the frozen
    layer. How asymmetric a score is at all stands beside: the mean absolute difference of the two directions over the
    standard deviation of the score, 0 for correlation by construction.

    Tables
    ------
    ``orientations`` : layer, truth, orientation, AUROC with interval, difference to the declared orientation with
    interval, p, equivalence test and reading.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    found = _orientations(inputs, role)
    results = [_row(inputs, found, spec.test_id) for spec in inputs.tests]
    return collect(inputs, results, {"orientations": _table(found)})


def _orientations(inputs: AnalysisInputs, role: RoleInputs) -> _Orientations:
    truths, absent = _truths(inputs, role)
    found: dict[str, dict[tuple[int, str], Recovered]] = {name: {} for name in truths}
    for layer in range(role.attention.layers):
        score = edge_scores(role, "attention", layer).score
        for orientation, read in ORIENTATIONS.items():
            turned = read(score)
            for name, truth in truths.items():
                found[name][layer, orientation] = truth.recover(truth.rows(turned))
    return _Orientations(
        role=role,
        layer=analysis_layer(inputs, role),
        read={name: _Read(truth=truth, found=found[name]) for name, truth in truths.items()},
        absent=absent,
        margin=float(chosen_settings(inputs, "equivalence_margin")["equivalence_margin"]),
    )


def _truths(inputs: AnalysisInputs, role: RoleInputs) -> tuple[dict[str, Truth], dict[str, str]]:
    truths: dict[str, Truth] = {}
    absent = {SCREEN: NO_PERTURBATION}
    screen = screen_truth(inputs, role, generator(inputs, NUMBER, 1))
    if screen is not None:
        truths[SCREEN] = screen
    references, absent[REFERENCE] = reference_truths(inputs, role, generator(inputs, NUMBER, 2))
    if not absent[REFERENCE]:
        primary: ReferenceTruth = references[0]
        if primary.pairs.directed:
            truths[REFERENCE] = primary
        else:
            absent[REFERENCE] = f"reference {primary.name} {SYMMETRIC}"
    return truths, absent


def _table(found: _Orientations) -> pd.DataFrame:
    role, lines = found.role, []
    for read in found.read.values():
        for (layer, orientation), one in read.found.items():
            gap = contrast(one, read.found[layer, DECLARED], found.margin)
            interval = one.interval
            lines.append(
                {
                    "context": role.role,
                    "dataset": role.dataset,
                    "score": "attention",
                    "truth": read.truth.name,
                    "layer": layer,
                    "depth": relative_depth(layer, role.attention.layers),
                    "frozen": layer == found.layer,
                    "orientation": orientation,
                    "auroc": one.auroc,
                    "auroc_ci_low": interval.low,
                    "auroc_ci_high": interval.high,
                    **contrast_columns(gap, read.truth),
                }
            )
    return pd.DataFrame(lines)


def _row(inputs: AnalysisInputs, found: _Orientations, test_id: str) -> TestResult:
    if test_id in ASYMMETRY:
        return _asymmetry_row(inputs, found, test_id)
    if found.role.attention.facts.get("symmetric"):
        return skip(inputs, test_id, ONE_SCORE, role=found.role, layer=found.layer)
    truth, orientation = ROWS[test_id]
    if truth not in found.read:
        return skip(inputs, test_id, found.absent[truth], role=found.role, layer=found.layer)
    read = found.read[truth]
    one, declared = read.found[found.layer, orientation], read.found[found.layer, DECLARED]
    gap: Contrast = contrast(one, declared, found.margin)
    return row(
        inputs,
        found.role,
        test_id,
        settings=_settings(inputs, found) | {"orientation": orientation, "truth": read.truth.name},
        layer=found.layer,
        statistic=one.auroc,
        effect=gap.difference,
        ci_low=gap.interval.low,
        ci_high=gap.interval.high,
        p=gap.p,
        n=read.truth.units,
        null_name="no difference",
        null_mean=0.0,
        resamples_requested=gap.interval.resamples_requested,
        resamples_done=gap.interval.resamples_done,
        direction=f"{orientation} - declared (query = regulator): {gap.reading}",
    )


def _asymmetry_row(inputs: AnalysisInputs, found: _Orientations, test_id: str) -> TestResult:
    name = ASYMMETRY[test_id]
    score = edge_scores(found.role, name, found.layer).score
    pair = ~np.eye(score.shape[0], dtype=bool)
    spread = float(score[pair].std())
    used = chosen_settings(inputs, "analysis_depth") | {"missing_rule": "lowest", "score": name}
    return row(
        inputs,
        found.role,
        test_id,
        settings=used,
        layer=found.layer,
        effect=float(np.abs(score - score.T)[pair].mean()) / spread if spread > 0.0 else float("nan"),
        n=int(pair.sum()),
        direction="0 means the two directions are the same",
    )


def _settings(inputs: AnalysisInputs, found: _Orientations) -> dict[str, Any]:
    share = edge_scores(found.role, "attention", found.layer).filled_share
    return chosen_settings(inputs, *SETTINGS) | {"missing_rule": "lowest", "missing_share": share}
