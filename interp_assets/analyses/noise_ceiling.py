"""Analysis E7: what the screen itself would let a score reach, measured by random halves of its cells.

Absolute log folds of one half rank the genes, the other half says which of them respond. A half holds half of the
cells, so that both sides are noisier than in the whole screen and the ceiling is a cautious one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.baselines import MUST_BEAT
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, CellSample, RoleInputs
from interp_assets.analyses.perturbation_first import evaluable, paired_aurocs, score_aurocs
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    role_or_reason,
    row,
    sample_or_reason,
    skip,
    skip_all,
)
from interp_assets.analyses.scores import candidate_labels, check_same_cells
from interp_assets.cells.differential import LabelRule, called
from interp_assets.cells.halves import cells_tested, half_outcomes
from interp_assets.cells.outcome_tables import positions
from interp_assets.stats.paired import signed_rank
from interp_assets.stats.ranking import rank_rows
from interp_assets.stats.resampling import Interval, bootstrap_mean, bootstrap_statistic, paired_mean_difference
from qc_standards.records import TestResult

Float = NDArray[np.float64]
NUMBER: Final = 107  # keeps the draws apart from those of analysis 7
ROLE: Final = "primary_screen"
EDGES: Final = ("attention", "correlation")
SCORES: Final = (*EDGES, *MUST_BEAT)
SETTINGS: Final = ("analysis_depth", "bootstrap", "ceiling_draws", "min_positives", "min_negatives")
CHANCE: Final = 0.5
# A perturbation that has enough responding genes in a few lucky halves alone would raise the ceiling.
LEAST_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """AUROC of the other half's effects by perturbation (n), beside scores of the same perturbations.

    ``values`` are means over the draws and directions that had enough positives and negatives, ``share`` (n) is the
    share of them that had. ``by_t``: the same, ranked by the absolute t. ``missing`` is the filled share of pairs.
    """

    role: RoleInputs
    layer: int
    draws: int
    perturbations: NDArray[np.str_]
    values: Float
    share: Float
    by_t: Float
    scores: Mapping[str, Float]
    missing: Mapping[str, float]
    lost: int

    @property
    def best(self) -> str:
        """Gene-level baseline with the highest mean on these perturbations."""
        return max(MUST_BEAT, key=lambda name: float(self.scores[name].mean()))


def noise_ceiling(inputs: AnalysisInputs) -> AnalysisOutput:
    """Ceiling of the primary screen, and how much of it attention and the best gene-level baseline reach.

    Every perturbation's cells, and the cells it is compared with, are split at random ``ceiling_draws`` times. A draw
    gives two AUROCs a perturbation, one a direction: |difference of mean log1p| in one half against the labels of the
    other, called by the screen's own rule. Their mean over draws is the perturbation's ceiling; intervals resample
    perturbations. Scores are set beside it with the labels of all cells, on the same perturbations and candidates.

    Tables
    ------
    ``noise_ceiling`` : one row a score, as standard QCS-38 reads it. ``noise_ceiling_perturbations`` : perturbation,
    its ceiling, the share of draws behind it, ceiling ranked by |t|, AUROC of every score.
    """
    used = chosen_settings(inputs, *SETTINGS)
    role, sample = role_or_reason(inputs, ROLE), sample_or_reason(inputs, ROLE)
    if isinstance(role, str) or isinstance(sample, str):
        return skip_all(inputs, role if isinstance(role, str) else str(sample))
    check_same_cells(role)
    found = _ceiling(inputs, role, sample, int(used["ceiling_draws"]))
    if isinstance(found, str):
        return skip_all(inputs, found, role=role)
    interval = bootstrap_mean(found.values, generator(inputs, NUMBER, 1), int(used["bootstrap"]))
    results = [_row(inputs, found, interval, used, spec.test_id) for spec in inputs.tests]
    tables = {"noise_ceiling": _table(found, interval), "noise_ceiling_perturbations": _by_perturbation(found)}
    return collect(inputs, results, tables)


def _ceiling(inputs: AnalysisInputs, role: RoleInputs, sample: CellSample, draws: int) -> Ceiling | str:
    if draws < 1:
        return f"ceiling_draws = {draws}; ask for one random half or more"
    tested = cells_tested(sample.cells, sample.labels)
    if isinstance(tested, str):
        return tested
    layer = analysis_layer(inputs, role)
    frame, missing = score_aurocs(inputs, role, layer, SCORES)
    whole = candidate_labels(role)
    kept = np.flatnonzero(evaluable(inputs, whole))
    outcomes = sample.labels
    at = np.ix_(positions(outcomes.perturbations, role.perturbations[kept]), positions(outcomes.genes, role.genes))
    rule = LabelRule(**outcomes.facts["rule"])
    rng = generator(inputs, NUMBER, 0)
    values = np.full((2, draws, 2, kept.size), np.nan)  # by log fold and by t, draws, directions, perturbations
    for draw in range(draws):
        pair = half_outcomes(tested, rng)
        for way, (ranked, judged) in enumerate((pair, pair[::-1])):
            label = np.where(whole[kept] < 0, -1, called(judged, rule)[at]).astype(np.int8)
            enough = evaluable(inputs, label)
            for place, effect in enumerate((ranked.log_fold, ranked.t)):
                # Own genes and genes that no cell of the half holds have no effect; neither may lead.
                size = np.abs(np.nan_to_num(effect[at]))
                values[place, draw, way, enough] = rank_rows(size[enough]).auroc(label[enough]) if enough.any() else []
    defined = np.isfinite(values[0])
    repeated = defined.mean(axis=(0, 1)) >= LEAST_SHARE
    if not repeated.any():
        return _nothing(role, kept.size)
    means = np.nanmean(values[..., repeated], axis=(1, 2))
    scores = {name: found[repeated] for name, found in paired_aurocs(frame, "all").items()}
    return Ceiling(
        role=role,
        layer=layer,
        draws=draws,
        perturbations=role.perturbations[kept][repeated],
        values=means[0],
        by_t=means[1],
        share=defined.mean(axis=(0, 1))[repeated],
        scores=scores,
        missing=missing,
        lost=int(kept.size - repeated.sum()),
    )


def _nothing(role: RoleInputs, count: int) -> str:
    if not count:
        return "no perturbation has enough positive and negative candidates; see perturbation_exclusions"
    return (
        f"{role.dataset}: none of {count} perturbations has enough responding genes in half of its cells in at least "
        f"{LEAST_SHARE:.0%} of the draws; the screen has too few cells a perturbation for a ceiling"
    )


def _table(found: Ceiling, interval: Interval) -> pd.DataFrame:
    """One row a score; see standard QCS-38."""
    about = {"context": f"{found.role.role}: {found.role.dataset}"}
    numbers = {
        "n_perturbations": found.values.size,
        "draws_requested": found.draws,
        "draws_done": found.draws,
        "ceiling": float(found.values.mean()),
        "ci_low": interval.low,
        "ci_high": interval.high,
    }
    best = float(found.scores[found.best].mean())
    more = {"best_baseline_name": found.best, "perturbations_without_ceiling": found.lost}
    return pd.DataFrame(
        [
            {
                **about,
                "score": name,
                **numbers,
                "auroc": float(found.scores[name].mean()),
                "best_baseline": best,
                **more,
            }
            for name in SCORES
        ]
    )


def _by_perturbation(found: Ceiling) -> pd.DataFrame:
    frame = {"perturbation": found.perturbations.astype(object), "ceiling": found.values}
    more = {"ceiling_by_t": found.by_t, "share_of_draws": found.share}
    return pd.DataFrame({**frame, **more, **{name: found.scores[name] for name in SCORES}})


def _row(
    inputs: AnalysisInputs, found: Ceiling, interval: Interval, used: Mapping[str, Any], test_id: str
) -> TestResult:
    settings = dict(used) | {
        "ranked_by": "absolute difference of mean log1p",
        "ceiling": float(found.values.mean()),
        "ceiling_by_t": float(found.by_t.mean()),
        "share_of_draws": float(found.share.mean()),
        "perturbations_without_ceiling": found.lost,
    }
    if test_id == "E7.1":
        numbers = _repeats_itself(found, interval)
    elif test_id == "E7.2":
        if not interval.low > CHANCE:
            why = (
                f"the ceiling, {found.values.mean():.3f} from {interval.low:.3f}, is not above chance: nothing to share"
            )
            return skip(inputs, test_id, why, role=found.role, settings=settings, layer=found.layer)
        numbers = _share(inputs, found, int(used["bootstrap"]))
    else:
        score = "attention" if test_id == "E7.3" else found.best
        # Gene-level statistics lack no pair; an edge score says how many it lacks.
        settings |= {"score": score, **({"missing_share": found.missing[score]} if score in EDGES else {})}
        numbers = _below(inputs, found, score, int(used["bootstrap"]))
    return row(
        inputs,
        found.role,
        test_id,
        settings=settings,
        layer=found.layer,
        n=found.values.size,
        unit="perturbation",
        **numbers,
    )


def _resamples(interval: Interval) -> dict[str, Any]:
    return {
        "ci_low": interval.low,
        "ci_high": interval.high,
        "resamples_requested": interval.resamples_requested,
        "resamples_done": interval.resamples_done,
    }


def _repeats_itself(found: Ceiling, interval: Interval) -> dict[str, Any]:
    test = signed_rank(found.values - CHANCE, "greater")
    return {
        "statistic": test.statistic,
        "effect": float(found.values.mean()),
        "p": test.p,
        "null_name": "chance",
        "null_mean": CHANCE,
        "direction": f"above .5; mean over {found.draws} random halves and both directions. A half holds half of the "
        "cells, so that the whole screen would let a score reach more",
        **_resamples(interval),
    }


def _share(inputs: AnalysisInputs, found: Ceiling, resamples: int) -> dict[str, Any]:
    attention = found.scores["attention"] - CHANCE
    above = found.values - CHANCE
    interval = bootstrap_statistic(
        above.size, lambda at: _quotient(attention[at], above[at]), generator(inputs, NUMBER, 2), resamples
    )
    return {
        "effect": _quotient(attention, above),
        "direction": "(AUROC of attention - .5) / (ceiling - .5), means over the same perturbations; 1 is the ceiling",
        **_resamples(interval),
    }


def _quotient(score: Float, ceiling: Float) -> float:
    """Quotient of two means; NaN where the ceiling of a draw is not above chance."""
    return float(score.mean() / ceiling.mean()) if ceiling.mean() > 0 else float("nan")


def _below(inputs: AnalysisInputs, found: Ceiling, score: str, resamples: int) -> dict[str, Any]:
    values = found.scores[score]
    test = signed_rank(values - found.values, "less")
    purpose = 3 if score == "attention" else 4
    difference = paired_mean_difference(values, found.values, generator(inputs, NUMBER, purpose), resamples)
    chosen = "" if score == "attention" else f"; {score} was chosen as the best of {len(MUST_BEAT)} on this screen"
    return {
        "statistic": test.statistic,
        "effect": difference.mean,
        "p": test.p,
        "null_name": "no difference",
        "null_mean": 0.0,
        "direction": f"{score} - ceiling; below 0 means that the screen would let a score reach more{chosen}",
        **_resamples(difference.interval),
    }
