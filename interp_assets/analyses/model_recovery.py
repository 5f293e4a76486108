"""Analysis 12: whether curated edges are found by this release, by edges that need no model, or by neither.

One release is judged at a time; what other models stand for in the framework are here the scores that need none. The
order of tokens is a score of its own, because in a model that looks back only it decides which attention can exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.cell_runs import (
    ATTENTION,
    CORRELATION,
    FEWEST_POSITIVES,
    ONE_LAYER,
    RunCells,
    RunReference,
    halved_counts,
    run_cells,
)
from interp_assets.analyses.cell_scores import LAYER_CHOSEN_HERE
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput
from interp_assets.analyses.model_mapping import OF_ROW, association_row, association_table, associations
from interp_assets.analyses.model_scores import (
    KINDS,
    TRUNCATED,
    ModelScores,
    in_degree_elsewhere,
    missing_rule_of_order,
    model_scores,
)
from interp_assets.analyses.rows import chosen_settings, collect, generator, row, skip
from interp_assets.stats.clustered_recovery import Outranked, outranked
from interp_assets.stats.mantel import gene_permutations
from interp_assets.stats.per_unit import stratified_auroc_bootstrap
from interp_assets.stats.recovery import stouffer, tie_shares
from interp_assets.stats.relabelled import (
    RelabelledRecovery,
    RelabelledTargets,
    joint_stouffer,
    relabelled_recovery,
    relabelled_targets,
)
from interp_assets.stats.resampling import Interval, group_weights, percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 12
ROLE: Final = "layer_selection"
SETTINGS: Final = (
    "analysis_depth", "bootstrap", "folds", "mantel_permutations", "recovery_bootstrap", "recovery_cells",
)  # fmt: skip
TIE_DRAWS: Final = 20
FEWEST_CELLS: Final = 20
CHANCE: Final = 0.5
# Scores whose recovery is also held against relabelled targets.
RELABELLED: Final = (ATTENTION, ONE_LAYER, CORRELATION)
# Relabelled targets keep which regulators are listed often, so that their AUROC need not be one half: a score that
# beats them may still lie below one half and recovers nothing.
P_RULE: Final = (
    "larger of two: Stouffer's z over the numbers of cells, judged by the same relabelled genes at each of them, and "
    "resampled regulators against one half; the second was added after the first alone had called scores below one half"
)
# What each row used of the settings, beside the numbers of cells.
USED: Final[Mapping[str, tuple[str, ...]]] = {
    "A12.1": ("mantel_permutations", "recovery_bootstrap"),
    "A12.2": ("mantel_permutations", "recovery_bootstrap"),
    "A12.3": ("analysis_depth", "folds", "recovery_bootstrap"),
    "A12.4": ("bootstrap", "recovery_bootstrap"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One score of one number of cells against one reference.

    ``draws`` resample regulators; all are NaN where one regulator leaves nothing to resample.
    """

    score: str
    values: NDArray[np.float64]
    counted: Outranked
    draws: NDArray[np.float64]
    by_edge: Interval | None
    relabelled: RelabelledRecovery | None

    @property
    def interval(self) -> Interval:
        """Interval over regulators."""
        return percentile_interval(self.draws, requested=self.draws.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Models:
    """Everything judged: by reference, number of cells and score."""

    source: RunCells
    counts: tuple[int, ...]
    made: Mapping[int, ModelScores]
    judged: Mapping[tuple[str, int, str], _Judged]

    @property
    def references(self) -> tuple[RunReference, ...]:
        """The primary reference and the second one, where there is one."""
        return self.source.references[:2]


def multi_model_recovery(inputs: AnalysisInputs) -> AnalysisOutput:
    """Recovery of two references by attention at three numbers of cells, beside scores that need no model.

    Edges are the head and layer mean of attention, directed from regulator to target. Intervals resample
    regulators; those over edges, as published, stand beside. p compares with relabelled target genes.

    Tables
    ------
    ``model_recovery`` : reference, cells, score, kind of score, AUROC, interval over regulators and (attention) over
    edges, p against relabelled genes, counts.
    ``model_comparison`` : at the largest number of cells, attention minus each other score, same regulators resampled.
    ``model_ties`` : share of positive-negative pairs that tie, AUROC with ties one half, broken at random, worst, best.
    ``model_mapping`` : attention against co-expression and membership by dataset (see `model_mapping`).
    """
    used = chosen_settings(inputs, *SETTINGS)
    models = _models(inputs, used)
    mapped = associations(inputs)
    results = []
    for spec in inputs.tests:
        if spec.test_id in OF_ROW:
            results.append(association_row(inputs, mapped, spec.test_id))
        elif isinstance(models, str):
            results.append(skip(inputs, spec.test_id, models, role=inputs.samples.get(ROLE)))
        else:
            results.append(_row(inputs, models, spec.test_id, used))
    tables = {}
    if not isinstance(models, str):
        tables = {
            "model_recovery": _recovery_table(models),
            "model_comparison": _comparison_table(models),
            "model_ties": _ties_table(inputs, models),
        }
    table = association_table(mapped)
    return collect(inputs, results, tables if table.empty else {**tables, "model_mapping": table})


def _models(inputs: AnalysisInputs, used: Mapping[str, Any]) -> _Models | str:
    source = run_cells(inputs, ROLE)
    if isinstance(source, str):
        return source
    counts = halved_counts(used["recovery_cells"], source.count)
    if len(set(counts)) != len(counts) or list(counts) != sorted(counts) or counts[0] < FEWEST_CELLS:
        return (
            f"{source.sample.dataset}: {source.count} cells were read one by one, so that the numbers of cells would "
            f"be {list(counts)}; they must rise from {FEWEST_CELLS}: use a larger dataset or other recovery_cells"
        )
    order = generator(inputs, NUMBER, 1).permutation(source.count)
    seed = [inputs.seed, NUMBER, 5]
    made = {
        n: model_scores(source, np.sort(order[:n]), every=n == counts[-1], folds=int(used["folds"]), seed=seed)
        for n in counts
    }
    judged = {}
    for place, reference in enumerate(source.references[:2]):
        weights = group_weights(
            reference.rows.size, int(used["recovery_bootstrap"]), generator(inputs, NUMBER, 6, place)
        )
        relabelled = relabelled_targets(
            reference.member,
            source.averaged.rows[reference.rows],
            gene_permutations(
                source.averaged.genes.size, int(used["mantel_permutations"]), generator(inputs, NUMBER, 7, place)
            ),
        )
        for n in counts:
            given = dict(made[n].scores)
            elsewhere = in_degree_elsewhere(source, reference)
            if n == counts[-1] and elsewhere is not None:
                given["target_in_degree_elsewhere"] = elsewhere
            for name, scores in given.items():
                judged[reference.name, n, name] = _judge(inputs, reference, name, scores, weights, relabelled)
    return _Models(source=source, counts=counts, made=made, judged=judged)


def _judge(
    inputs: AnalysisInputs,
    reference: RunReference,
    name: str,
    scores: NDArray[np.float64],
    weights: NDArray[np.int64],
    relabelled: RelabelledTargets,
) -> _Judged:
    counted = outranked(scores[reference.rows], reference.member, reference.candidate)
    values, by_edge, null = reference.of(scores), None, None
    if name == ATTENTION:
        # Over edges as published; the interval over regulators is the one that is read.
        resamples = int(chosen_settings(inputs, "bootstrap")["bootstrap"])
        over_edges = stratified_auroc_bootstrap(
            values[reference.positive], values[~reference.positive], generator(inputs, NUMBER, 8), resamples
        )
        by_edge = percentile_interval(over_edges, requested=resamples)
    if name in RELABELLED:
        null = relabelled_recovery(scores[reference.rows], relabelled)
    draws = counted.draws(weights) if reference.rows.size > 1 else np.full(weights.shape[0], np.nan)
    return _Judged(score=name, values=values, counted=counted, draws=draws, by_edge=by_edge, relabelled=null)


def _recovery_table(models: _Models) -> pd.DataFrame:
    lines = []
    size = {one.name: one for one in models.references}
    for (reference, cells, name), one in models.judged.items():
        null = one.relabelled
        lines.append(
            {
                "reference": reference,
                "cells": cells,
                "score": name,
                "kind": KINDS[name],
                "auroc": one.counted.auroc,
                "ci_low": one.interval.low,
                "ci_high": one.interval.high,
                "ci_edge_low": one.by_edge.low if one.by_edge else np.nan,
                "ci_edge_high": one.by_edge.high if one.by_edge else np.nan,
                "p_relabelled": null.p if null else np.nan,
                "null_mean": float(null.null.mean()) if null else np.nan,
                "null_sd": float(null.null.std()) if null else np.nan,
                "positives": int(size[reference].member.sum()),
                "pairs": int(size[reference].candidate.sum()),
                "regulators": int(size[reference].rows.size),
                "missing_share": models.made[cells].missing_share.get(name, np.nan),
            }
        )
    return pd.DataFrame(lines)


def _comparison_table(models: _Models) -> pd.DataFrame:
    lines = []
    cells = models.counts[-1]
    for reference in models.references:
        own = models.judged[reference.name, cells, ATTENTION]
        for (network, n, name), one in models.judged.items():
            if (network, n) != (reference.name, cells) or name == ATTENTION:
                continue
            interval = percentile_interval(own.draws - one.draws, requested=own.draws.size)
            lines.append(
                {
                    "reference": network,
                    "cells": cells,
                    "score": name,
                    "kind": KINDS[name],
                    "auroc": one.counted.auroc,
                    "auroc_attention": own.counted.auroc,
                    "difference": own.counted.auroc - one.counted.auroc,
                    "ci_low": interval.low,
                    "ci_high": interval.high,
                    "regulators": int(reference.rows.size),
                    "resamples_requested": interval.resamples_requested,
                    "resamples_done": interval.resamples_done,
                }
            )
    return pd.DataFrame(lines)


def _ties_table(inputs: AnalysisInputs, models: _Models) -> pd.DataFrame:
    lines = []
    for reference in models.references:
        for name in (ATTENTION, TRUNCATED, CORRELATION):
            values = models.judged[reference.name, models.counts[-1], name].values
            found = tie_shares(values, reference.positive, generator(inputs, NUMBER, 9), TIE_DRAWS)
            lines.append(
                {
                    "reference": reference.name,
                    "cells": models.counts[-1],
                    "score": name,
                    "tied_share": found.tied,
                    "lowest_share": float((values == values.min()).mean()),
                    "auroc_ties_half": found.auroc,
                    "auroc_broken_mean": float(found.broken.mean()),
                    "auroc_broken_sd": float(found.broken.std(ddof=1)),
                    "auroc_ties_against": found.worst,
                    "auroc_ties_for": found.best,
                    "draws": TIE_DRAWS,
                }
            )
    return pd.DataFrame(lines)


def _row(inputs: AnalysisInputs, models: _Models, test_id: str, used: Mapping[str, Any]) -> TestResult:
    source = models.source
    settings = {name: used[name] for name in ("recovery_cells", *USED[test_id])} | {
        "cells": list(models.counts),
        "counts_rule": "all counts are halved until the largest fits; a larger one holds the smaller ones",
        "edge": ATTENTION,
        "layer_rule": "mean over all layers; none is chosen",
        "missing_rule": "lowest",
        "missing_share": [models.made[n].missing_share[ATTENTION] for n in models.counts],
    }
    wanted = 1 if test_id == "A12.2" else 0
    if wanted >= len(models.references):
        why = f"{source.sample.dataset}: only reference {models.references[0].name} has {FEWEST_POSITIVES} pairs among "
        why += "the read genes; add another one to `references` of the study"
        return skip(inputs, test_id, why, role=source.sample, settings=settings)
    reference = models.references[wanted]
    settings |= {"reference": reference.name, "positives": int(reference.member.sum())}
    make = {"A12.1": _recovery, "A12.2": _recovery, "A12.3": _side_by_side, "A12.4": _intervals}[test_id]
    numbers = make(models, reference)
    settings |= numbers.pop("settings")
    return row(inputs, source.sample, test_id, settings=settings, layer=None, **numbers)


def _recovery(models: _Models, reference: RunReference) -> dict[str, Any]:
    found = [models.judged[reference.name, n, ATTENTION] for n in models.counts]
    nulls = [one.relabelled for one in found if one.relabelled]
    z, p_relabelled = joint_stouffer(nulls)
    draws = np.mean([one.draws for one in found], axis=0)
    interval = percentile_interval(draws, requested=draws.size)
    together = np.mean([one.null for one in nulls], axis=0)
    mean = float(np.mean([one.counted.auroc for one in found]))
    seen = draws[np.isfinite(draws)]
    p_half = float((np.sum(seen <= CHANCE) + 1) / (seen.size + 1)) if seen.size else float("nan")
    return {
        "settings": {
            "auroc": [one.counted.auroc for one in found],
            "p": [one.p for one in nulls],
            "p_against_half": _number(p_half),
            "p_relabelled": _number(p_relabelled),
            "p_rule": P_RULE,
            "p_if_independent": stouffer([one.p for one in nulls])[1],
        },
        "statistic": z,
        "effect": mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": float(np.max([p_relabelled, p_half])),
        "n": int(reference.rows.size),
        "unit": "regulator",
        "null_name": "relabelled target genes",
        "null_mean": float(together.mean()),
        "null_sd": float(together.std(ddof=1)) if together.size > 1 else None,
        "resamples_requested": int(together.size),
        "resamples_done": int(together.size),
        "direction": f"mean AUROC of attention for {reference.name} over the numbers of cells; above {CHANCE} means "
        f"that listed pairs get more attention. p: {P_RULE}",
    }


def _side_by_side(models: _Models, reference: RunReference) -> dict[str, Any]:
    cells = models.counts[-1]
    own, other = (models.judged[reference.name, cells, name] for name in (ATTENTION, CORRELATION))
    interval = percentile_interval(own.draws - other.draws, requested=own.draws.size)
    every = {
        name: one.counted.auroc for (net, n, name), one in models.judged.items() if (net, n) == (reference.name, cells)
    }
    return {
        "settings": {
            "auroc": every,
            "absent": dict(models.made[cells].absent),
            "missing_rule_of_token_order": missing_rule_of_order(models.source),
            "layer_of_attention": models.source.layer,
            "layer_told": LAYER_CHOSEN_HERE,
        },
        "statistic": own.counted.auroc,
        "effect": own.counted.auroc - other.counted.auroc,
        "effect_kind": "delta_auroc",
        "ci_low": interval.low,
        "ci_high": interval.high,
        "n": int(reference.rows.size),
        "unit": "regulator",
        "null_name": "no difference",
        "null_mean": 0.0,
        "resamples_requested": interval.resamples_requested,
        "resamples_done": interval.resamples_done,
        "direction": f"AUROC of attention minus that of correlation at {cells} cells; near 0 with both near {CHANCE} "
        f"means that they fail alike. The settings list every score; of {ONE_LAYER!r} there, {LAYER_CHOSEN_HERE}",
    }


def _intervals(models: _Models, reference: RunReference) -> dict[str, Any]:
    every = {(net, n): one for (net, n, name), one in models.judged.items() if name == ATTENTION}
    intervals = {key: one.interval for key, one in every.items()}
    known = {key: one for key, one in intervals.items() if one.resamples_done}
    held = [one.low <= CHANCE <= one.high for one in known.values()]
    by_edge = [one.by_edge.low <= CHANCE <= one.by_edge.high for one in every.values() if one.by_edge]
    own = every[reference.name, models.counts[-1]]
    return {
        "settings": {
            "intervals": len(held),
            "intervals_with_half": int(np.sum(held)),
            "edge_intervals_with_half": int(np.sum(by_edge)),
            "intervals_absent": len(intervals) - len(known),
            "each": {f"{net} at {n}": [one.low, one.high] for (net, n), one in known.items()},
        },
        "statistic": own.counted.auroc,
        "effect": own.counted.auroc,
        "effect_kind": "auroc",
        "ci_low": own.interval.low,
        "ci_high": own.interval.high,
        "n": int(reference.rows.size),
        "unit": "regulator",
        "null_name": "chance",
        "null_mean": CHANCE,
        "resamples_requested": own.interval.resamples_requested,
        "resamples_done": own.interval.resamples_done,
        "direction": f"AUROC of attention at {models.counts[-1]} cells with its interval over regulators; one that "
        f"holds {CHANCE} cannot tell attention from chance. The settings count such intervals",
    }


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
