"""Analysis 20: the perturbation-first AUROC over a grid of fold thresholds, control cells and genes.

27 conditions: three fold thresholds x three control sets x three gene lists around the primary configuration, which
is one of them and equals analysis 19. Everything a condition needs was computed from its own cells
(`readings.sensitivity_grid`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.perturbation_first import evaluable, score_aurocs
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    reading_or_reason,
    role_or_reason,
    row,
    skip,
    skip_all,
)
from interp_assets.cells.differential import LabelRule, benjamini_hochberg
from interp_assets.readings.records import Reading
from interp_assets.stats.one_sample import OneSample, one_sample_t
from interp_assets.stats.ranking import rank_rows
from interp_assets.stats.resampling import group_weights, percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 20
READING: Final = "sensitivity_grid"
# Thresholds .25, .5 and 1 around the primary .5 (paper 2.4), as multiples of the screen's own.
FOLD_FACTORS: Final = (0.5, 1.0, 2.0)
FACTORS: Final = ("cell_factors", "gene_factors")
BASE: Final = 1
LEVEL: Final = 0.005  # the declared hypothesis: every condition below it
CHANCE: Final = 0.5
EDGES: Final = ("attention", "correlation")
GENE_LEVEL: Final = ("variance", "mean", "one_minus_dropout")
SETTINGS: Final = ("analysis_depth", "bootstrap", "min_positives", "min_negatives")
UNTESTED: Final = "conditions without two perturbations of different AUROC have no test, so their maximum has no p"


Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One cell of the grid by the places of its fold, control set and gene list; ``same_as`` an equal one, or ""."""

    fold: int
    cells: int
    genes: int
    same_as: str = ""

    @property
    def place(self) -> Place:
        """Places in `FOLD_FACTORS`, control sets and gene lists."""
        return self.fold, self.cells, self.genes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Conditions, and AUROC by score: conditions x perturbations, NaN where a perturbation is not evaluable."""

    conditions: tuple[Condition, ...]
    auroc: Mapping[str, NDArray[np.float64]]
    filled: Mapping[str, NDArray[np.float64]]
    perturbations: NDArray[np.str_]

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Conditions that count: each set of numbers once."""
        return np.array([not condition.same_as for condition in self.conditions])


def sensitivity_grid(inputs: AnalysisInputs) -> AnalysisOutput:
    """Mean AUROC of attention, correlation and gene-level features in every condition, and its test against chance.

    Labels: Benjamini-Hochberg within the perturbation over the genes of the condition, and the fold threshold.
    Scores are ranked over the genes the release knows. A one-sided one-sample t-test over perturbations in each
    condition; A20.1 reports the number below .005 and the largest p (all must hold, so no correction is due), A20.2
    the range of means and how often the best gene-level feature is above attention (paper section 5, analysis 20).

    Table ``sensitivity_grid``: one row a condition and score; ``same_as`` names a condition of the same numbers, which
    counts once. ``base_difference`` is the largest difference to an AUROC of analysis 19, in the base condition only.
    """
    used = chosen_settings(inputs, *SETTINGS)
    role, reading = role_or_reason(inputs, "primary_screen"), reading_or_reason(inputs, READING)
    if isinstance(role, str):
        return skip_all(inputs, role)
    if isinstance(reading, str):
        return skip_all(inputs, reading, role=role)
    layer = analysis_layer(inputs, role)
    _check(role, reading, layer)
    grid = _grid(inputs, reading)
    tests = {score: one_sample_t(values, CHANCE) for score, values in grid.auroc.items()}
    table = _table(role, reading, grid, tests, layer)
    table = table.merge(_base_difference(inputs, role, grid, layer), on=["condition", "score"], how="left")
    results = [_row(inputs, role, spec.test_id, grid, tests, table, used | _told(reading)) for spec in inputs.tests]
    return collect(inputs, results, {"sensitivity_grid": table})


def _check(role: RoleInputs, reading: Reading, layer: int) -> None:
    """Refuse a reading of other cells or of another layer than the edges of this role."""
    if reading.facts["cells_hash"] != role.cells_hash or int(reading.facts["layer"]) != layer:
        raise ValueError(
            f"{role.dataset}: the grid was read in layer {reading.facts['layer']} of cells "
            f"{reading.facts['cells_hash'][:12]}, the analyses read layer {layer} of {role.cells_hash[:12]}; "
            f"materialise {READING} again"
        )


def name_of(place: Place, facts: Mapping[str, Any]) -> str:
    """Name of a condition by its fold threshold and factors: ``fold 0.5, cells x1, genes x1``."""
    fold = FOLD_FACTORS[place[0]] * float(facts["log_fold"])
    return f"fold {fold:g}, cells x{facts['cell_factors'][place[1]]:g}, genes x{facts['gene_factors'][place[2]]:g}"


def conditions(facts: Mapping[str, Any]) -> tuple[Condition, ...]:
    """All conditions; one whose cells and genes resolve to those of another says so. The base is never the copy."""
    cell_sets, gene_lists = (range(len(facts[key])) for key in FACTORS)
    places = list(itertools.product(range(len(FOLD_FACTORS)), cell_sets, gene_lists))
    first: dict[tuple[int, ...], Place] = {}
    for place in sorted(places, key=lambda at: tuple(abs(number - BASE) for number in at)):
        first.setdefault(_resolved(place, facts), place)
    found = []
    for place in places:
        same = first[_resolved(place, facts)]
        fold, cells, genes = place
        found.append(
            Condition(fold=fold, cells=cells, genes=genes, same_as="" if same == place else name_of(same, facts))
        )
    return tuple(found)


def _resolved(place: Place, facts: Mapping[str, Any]) -> tuple[int, ...]:
    """Fold, cells and genes that a condition really has."""
    fold, cells, genes = place
    of_cells = (facts["edge_cells"][cells], facts["outcome_cells"][cells])
    return (fold, *of_cells, facts["genes_tested"][genes], facts["genes_scored"][genes])


def _grid(inputs: AnalysisInputs, reading: Reading) -> _Grid:
    facts = reading.facts
    planned = conditions(facts)
    shape = (len(planned), len(reading.arrays["perturbations"]))
    auroc = {score: np.full(shape, np.nan) for score in (*EDGES, *GENE_LEVEL)}
    filled = {score: np.full(len(planned), np.nan) for score in EDGES}
    numbers = {condition.place: number for number, condition in enumerate(planned)}
    for cells, genes in itertools.product(*(range(len(facts[key])) for key in FACTORS)):
        labels = _labels(reading, cells, genes)
        for score, (values, share) in _scores(reading, cells, genes).items():
            ranked = rank_rows(values)
            for fold, label in enumerate(labels):
                at = numbers[fold, cells, genes]
                found = ranked.auroc(label)
                auroc[score][at] = np.where(evaluable(inputs, label), found, np.nan)
                if score in filled:
                    filled[score][at] = share
    return _Grid(
        conditions=planned, auroc=auroc, filled=filled, perturbations=np.asarray(reading.arrays["perturbations"])
    )


def _labels(reading: Reading, cells: int, genes: int) -> list[NDArray[np.int8]]:
    """Labels over the known genes of a list, one for each fold threshold; BH over all its tested genes."""
    listed, known = reading.arrays["universe"][genes], np.asarray(reading.arrays["known"])
    p, log_fold = (np.asarray(reading.arrays[name][cells])[:, listed] for name in ("p", "log_fold"))
    q = benjamini_hochberg(p)
    found = []
    for factor in FOLD_FACTORS:
        rule = LabelRule(q=float(reading.facts["q"]), log_fold=factor * float(reading.facts["log_fold"]))
        passes = (q < rule.q) & (np.abs(log_fold) > rule.log_fold)
        found.append(np.where(np.isnan(p), -1, passes).astype(np.int8)[:, known[listed]])
    return found


def _scores(reading: Reading, cells: int, genes: int) -> dict[str, tuple[NDArray[np.float64], float]]:
    """Scores over the known genes of a list by name, with the share of pairs that no cell gave one."""
    kept = np.asarray(reading.arrays["universe"][genes]) & np.asarray(reading.arrays["known"])
    found: dict[str, tuple[NDArray[np.float64], float]] = {}
    for edge in EDGES:
        rows = np.asarray(reading.arrays[edge][cells])[:, kept].astype(np.float64)
        own = np.flatnonzero(kept) == np.asarray(reading.arrays["source"])[:, None]
        missing = np.isnan(rows)
        lowest = float(reading.arrays[f"{edge}_lowest"][cells, genes])
        if np.isnan(lowest):
            continue
        rows[missing | own] = lowest
        found[edge] = rows, float((missing & ~own).sum() / max(1, (~own).sum()))
    statistics = {name: np.asarray(reading.arrays[name][cells])[kept] for name in ("mean", "variance", "dropout")}
    statistics["one_minus_dropout"] = 1.0 - statistics.pop("dropout")
    return found | {name: (statistics[name], 0.0) for name in GENE_LEVEL}


def _table(role: RoleInputs, reading: Reading, grid: _Grid, tests: Mapping[str, OneSample], layer: int) -> pd.DataFrame:
    facts = reading.facts
    means = np.array([tests[name].mean[0] for name in GENE_LEVEL])
    rows = []
    for number, condition in enumerate(grid.conditions):
        best = means[:, number].argmax() if np.isfinite(means[:, number]).all() else None
        gene_level = np.nan if best is None else means[best, number]
        fold, cells, genes = condition.place
        for score, test in tests.items():
            mean = test.mean[0, number]
            rows.append(
                {
                    "role": role.role,
                    "dataset": role.dataset,
                    "condition": name_of(condition.place, facts),
                    "same_as": condition.same_as,
                    "is_base": condition.place == (BASE, BASE, BASE),
                    "score": score,
                    "layer": layer if score == "attention" else pd.NA,
                    "log_fold": FOLD_FACTORS[fold] * float(facts["log_fold"]),
                    "cell_factor": float(facts["cell_factors"][cells]),
                    "edge_cells": int(facts["edge_cells"][cells]),
                    "outcome_cells": int(facts["outcome_cells"][cells]),
                    "gene_factor": float(facts["gene_factors"][genes]),
                    "genes_tested": int(facts["genes_tested"][genes]),
                    "genes_scored": int(facts["genes_scored"][genes]),
                    "n": int(test.n[0, number]),
                    "mean_auroc": mean,
                    "sd_auroc": test.sd[0, number],
                    "statistic": test.t[0, number],
                    "p": test.p[0, number],
                    "filled_share": grid.filled[score][number] if score in grid.filled else 0.0,
                    "gene_level_best": "" if best is None else GENE_LEVEL[best],
                    "gene_level_auroc": gene_level,
                    "gene_level_minus_score": gene_level - mean,
                    "gene_level_wins": bool(gene_level > mean) if np.isfinite(gene_level - mean) else pd.NA,
                }
            )
    return pd.DataFrame(rows).astype({"layer": "Int64", "gene_level_wins": "boolean"})


def _base_difference(inputs: AnalysisInputs, role: RoleInputs, grid: _Grid, layer: int) -> pd.DataFrame:
    """Largest difference between an AUROC of the base condition and that of analysis 19, by score."""
    primary, _ = score_aurocs(inputs, role, layer, (*EDGES, *GENE_LEVEL))
    own = next(n for n, condition in enumerate(grid.conditions) if condition.place == (BASE, BASE, BASE))
    rows = []
    for score, values in grid.auroc.items():
        told = primary[(primary["score"] == score) & (primary["subset"] == "all")].set_index("perturbation")["auroc"]
        mine = pd.Series(values[own], index=grid.perturbations).dropna()
        if set(told.index) != set(mine.index):
            raise ValueError(
                f"{role.dataset}: the base condition of the grid tests {len(mine)} perturbations, analysis 19 "
                f"{len(told)}; cells or labels have changed since the grid was read, materialise {READING} again"
            )
        difference = (mine - told.reindex(mine.index)).abs().max()
        rows.append({"score": score, "base_difference": float(difference)})
    return pd.DataFrame(rows).assign(condition=_name_in(grid, own, inputs))


def _name_in(grid: _Grid, number: int, inputs: AnalysisInputs) -> str:
    return name_of(grid.conditions[number].place, inputs.readings[READING].facts)


def _told(reading: Reading) -> dict[str, Any]:
    facts = reading.facts
    return {
        "grid_edge_cells": facts["grid_edge_cells"],
        "edge_cells": facts["edge_cells"],
        "outcome_cells": facts["outcome_cells"],
        "genes_tested": facts["genes_tested"],
        "genes_scored": facts["genes_scored"],
        "log_fold": [factor * float(facts["log_fold"]) for factor in FOLD_FACTORS],
        "q": facts["q"],
        "level": LEVEL,
        "score": "attention",
        "missing": "lowest score of any pair of the condition",
        "test": "one-sample t, greater",
    }


def _row(
    inputs: AnalysisInputs,
    role: RoleInputs,
    test_id: str,
    grid: _Grid,
    tests: Mapping[str, OneSample],
    table: pd.DataFrame,
    used: dict[str, Any],
) -> TestResult:
    layer = analysis_layer(inputs, role)
    counted = grid.counted
    values = grid.auroc["attention"][counted]
    mean, p = tests["attention"].mean[0, counted], tests["attention"].p[0, counted]
    base = table[table["is_base"] & (table["score"] == "attention")]
    used = used | {
        "conditions": len(grid.conditions),
        "conditions_same_as_another": int((~counted).sum()),
        "conditions_untested": int(np.isnan(p).sum()),
        "largest_missing_share": _plain(pd.Series(grid.filled["attention"][counted]).max()),
        "base_difference": _plain(base["base_difference"].item()),
    }
    if not np.isfinite(mean).any():
        reason = "no perturbation has enough positive and negative candidates in any condition; see sensitivity_grid"
        return skip(inputs, test_id, reason, role=role, settings=used, layer=layer)
    weights = group_weights(values.shape[1], used["bootstrap"], generator(inputs, NUMBER, int(test_id[-1])))
    drawn = one_sample_t(values, CHANCE, weights)
    shared: dict[str, Any] = {"settings": used, "layer": layer, "n": int(counted.sum()), "unit": "condition"}
    if test_id == "A20.1":
        interval = percentile_interval((drawn.p < LEVEL).sum(axis=1), requested=used["bootstrap"])
        untested = bool(np.isnan(p).any())
        numbers: dict[str, Any] = {
            "reason": UNTESTED if untested else "",
            "statistic": float(np.nanmin(mean)),
            "effect": int((p < LEVEL).sum()),
            "p": None if untested else float(p.max()),
            "null_name": "AUROC .5 in every condition",
            "null_mean": LEVEL * int(counted.sum()),
            "direction": f"conditions of {int(counted.sum())} with p below {LEVEL}; p is the largest of them, the "
            "statistic the lowest mean AUROC",
        }
    else:
        interval = percentile_interval(drawn.mean.max(axis=1) - drawn.mean.min(axis=1), requested=used["bootstrap"])
        wins = table[(table["score"] == "attention") & (table["same_as"] == "")]["gene_level_wins"].dropna()
        numbers = {
            "statistic": int(wins.sum()),
            "effect": float(np.nanmax(mean) - np.nanmin(mean)),
            "null_name": "none, a description",
            "direction": f"mean AUROC runs from {np.nanmin(mean):.3f} to {np.nanmax(mean):.3f}; the statistic counts "
            f"conditions of {len(wins)} in which the best gene-level feature is above attention",
        }
    return row(
        inputs,
        role,
        test_id,
        ci_low=interval.low,
        ci_high=interval.high,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        **shared,
        **numbers,
    )


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
