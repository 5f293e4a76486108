"""Analysis 4: whether the components that carry a regulator-target pair are the same in another tissue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from interp_assets.analyses.component_effects import (
    ROLES,
    RunPair,
    reading_settings,
    tissue_source,
    traced,
)
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput
from interp_assets.analyses.rows import chosen_settings, collect, generator, row, skip, skip_all
from interp_assets.readings.records import Reading
from interp_assets.stats.profile_agreement import (
    permutation_p,
    permuted_rank_correlations,
    rank_correlations,
    resampled_rank_correlations,
)
from interp_assets.stats.resampling import Interval, percentile_interval
from qc_standards.records import TestResult

Float = NDArray[np.float64]
NUMBER: Final = 4
LEVEL: Final = 0.05
TISSUES: Final = {
    "A04.1": ("tissues[1]", "tissues[2]"),
    "A04.2": ("tissues[1]", "tissues[3]"),
    "A04.3": ("tissues[2]", "tissues[3]"),
}
RULE: Final = "mean over pairs and granularities; components permuted for all pairs of a tissue together"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """One regulator-target pair at one granularity in two tissues, and its correlation under every draw."""

    first: RunPair
    second: RunPair
    rho: float
    null: Float
    draws: Float
    p: float

    @property
    def roles(self) -> tuple[str, str]:
        """Both tissues."""
        return self.first.role, self.second.role

    @property
    def components(self) -> int:
        """Components of the granularity."""
        return int(self.first.single.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """All comparisons, those that had to be left out with the reason, and pairs that do not belong together.

    ``mismatched`` holds by tissues the correlations between *different* regulator-target pairs of one granularity:
    what agrees as well as the same pair does is no property of the pair.
    """

    comparisons: list[_Comparison]
    left_out: list[str]
    mismatched: dict[tuple[str, str], Float]


def cross_tissue(inputs: AnalysisInputs) -> AnalysisOutput:
    """Spearman correlation between the mean component effects of the same pair in two tissues (paper analysis 4).

    A comparison is one regulator-target pair at one granularity in two tissues. Its p permutes components
    (``tissue_permutations``), its interval resamples them (``tissue_bootstrap``; a draw in which a profile does not
    vary is drawn again), q is Benjamini-Hochberg over all comparisons. In a permutation all pairs of one tissue get the
    same order of components, as their profiles share what makes a component large in all of them.

    Rows: A04.1 to A04.3 mean correlation of two tissues over every pair and granularity they share (never the best
    one), two-sided; A04.4 the largest |rho| of all against its own permutations; A04.5 mean over all comparisons with
    its interval (statistic: comparisons with q <= .05). Tables `cross_tissue_effects` (one a comparison) and
    `cross_tissue_summary` (one for two tissues, with the mean correlation between different pairs beside).
    """
    found = traced(inputs)
    if isinstance(found, str):
        return skip_all(inputs, found)
    reading, pairs = found
    compared = _compared(inputs, pairs)
    if not compared.comparisons:
        why = "; ".join(compared.left_out) or "no regulator-target pair was traced in two tissues"
        return skip_all(inputs, f"{why}; give the study two tissues that share listed pairs")
    effects = _effects(compared.comparisons)
    tables = {"cross_tissue_effects": effects, "cross_tissue_summary": _summary(compared)}
    results = [_tissue_row(inputs, reading, compared, test_id, roles) for test_id, roles in TISSUES.items()]
    results += [_omnibus_row(inputs, reading, compared), _interval_row(inputs, reading, compared, effects)]
    return collect(inputs, results, tables)


def _compared(inputs: AnalysisInputs, pairs: Sequence[RunPair]) -> _Compared:
    found = _Compared(comparisons=[], left_out=_same_cells(pairs), mismatched={})
    for number, granularity in enumerate(dict.fromkeys(pair.granularity for pair in pairs)):
        own = [pair for pair in pairs if pair.granularity == granularity and pair.single.shape[0] > 1]
        flat = [pair for pair in own if np.ptp(pair.mean) == 0.0]
        found.left_out.extend(
            f"{pair.regulator} to {pair.target} in {pair.role}: all {granularity} components have the same effect"
            for pair in flat
        )
        _compare(inputs, [pair for pair in own if np.ptp(pair.mean) > 0.0], number, found)
    return found


def _same_cells(pairs: Sequence[RunPair]) -> list[str]:
    """Tissues that are the same cells under two names; comparing them says nothing."""
    hashes = {pair.role: pair.cells_hash for pair in pairs}
    return [
        f"{first} and {second} hold the same cells"
        for first, second in combinations(ROLES, 2)
        if first in hashes and hashes[first] == hashes.get(second)
    ]


def _compare(inputs: AnalysisInputs, pairs: Sequence[RunPair], number: int, found: _Compared) -> None:
    """Comparisons of one granularity, added to those found."""
    used = chosen_settings(inputs, "tissue_bootstrap", "tissue_permutations")
    together = [
        (i, j)
        for i, j in combinations(range(len(pairs)), 2)
        if pairs[i].role != pairs[j].role and pairs[i].cells_hash != pairs[j].cells_hash
    ]
    same = [(i, j) for i, j in together if _pair_of(pairs[i]) == _pair_of(pairs[j])]
    if not same:
        return
    profiles = np.stack([pair.mean for pair in pairs])
    source = [ROLES.index(pair.role) for pair in pairs]
    rho = rank_correlations(profiles, same)
    permuting, resampling = (generator(inputs, NUMBER, purpose, number) for purpose in (1, 2))
    null = permuted_rank_correlations(profiles, same, source, permuting, int(used["tissue_permutations"]))
    draws = resampled_rank_correlations(profiles, same, resampling, int(used["tissue_bootstrap"]))
    for place, (p, (i, j)) in enumerate(zip(permutation_p(rho, null), same, strict=True)):
        first, second = sorted((pairs[i], pairs[j]), key=lambda pair: ROLES.index(pair.role))
        found.comparisons.append(
            _Comparison(
                first=first,
                second=second,
                rho=float(rho[place]),
                null=null[:, place],
                draws=draws[:, place],
                p=float(p),
            )
        )
    other = [(i, j) for i, j in together if _pair_of(pairs[i]) != _pair_of(pairs[j])]
    for (i, j), value in zip(other, rank_correlations(profiles, other) if other else (), strict=True):
        lower, upper = sorted((pairs[i].role, pairs[j].role))
        found.mismatched[lower, upper] = np.append(found.mismatched.get((lower, upper), np.empty(0)), value)


def _pair_of(pair: RunPair) -> tuple[str, str]:
    return pair.regulator, pair.target


def _effects(comparisons: Sequence[_Comparison]) -> pd.DataFrame:
    q = false_discovery_control([one.p for one in comparisons])
    rows = []
    for one, adjusted in zip(comparisons, q, strict=True):
        interval = percentile_interval(one.draws, requested=one.draws.size)
        rows.append(
            {
                "tissue_a": one.first.role,
                "tissue_b": one.second.role,
                "dataset_a": one.first.dataset,
                "dataset_b": one.second.dataset,
                "regulator": one.first.regulator,
                "target": one.first.target,
                "granularity": one.first.granularity,
                "components": one.components,
                "cells_a": one.first.cells,
                "cells_b": one.second.cells,
                "rho": one.rho,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "p": one.p,
                "q": float(adjusted),
                "permutations": one.null.size,
                "resamples_requested": interval.resamples_requested,
                "resamples_done": interval.resamples_done,
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mean:
    """Mean correlation over some comparisons, its interval and its permutations."""

    rho: float
    interval: Interval
    null: Float

    @property
    def p(self) -> float:
        """Two-sided permutation p."""
        return float(permutation_p([self.rho], self.null[:, None])[0])


def _mean(comparisons: Sequence[_Comparison]) -> _Mean:
    draws = np.stack([one.draws for one in comparisons]).mean(axis=0)
    return _Mean(
        rho=float(np.mean([one.rho for one in comparisons])),
        interval=percentile_interval(draws, requested=draws.size),
        null=np.stack([one.null for one in comparisons]).mean(axis=0),
    )


def _summary(compared: _Compared) -> pd.DataFrame:
    rows = []
    for roles in TISSUES.values():
        own = [one for one in compared.comparisons if one.roles == roles]
        if not own:
            continue
        mean, others = _mean(own), compared.mismatched.get(roles, np.empty(0))
        rows.append(
            {
                "tissue_a": roles[0],
                "tissue_b": roles[1],
                "comparisons": len(own),
                "mean_rho": mean.rho,
                "ci_low": mean.interval.low,
                "ci_high": mean.interval.high,
                "p": mean.p,
                "mismatched_comparisons": others.size,
                "mismatched_mean_rho": float(others.mean()) if others.size else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def _settings(
    inputs: AnalysisInputs, reading: Reading, comparisons: Sequence[_Comparison], compared: _Compared
) -> dict[str, Any]:
    every = [pair for one in comparisons for pair in (one.first, one.second)]
    return chosen_settings(inputs, "tissue_bootstrap", "tissue_permutations") | {
        **reading_settings(reading, every),
        "comparisons": len(comparisons),
        "left_out": compared.left_out,
        "pairs": sorted({f"{pair.regulator}>{pair.target}" for pair in every}),
        "rule": RULE,
    }


def _components(comparisons: Sequence[_Comparison]) -> int:
    """Components behind some comparisons, each granularity counted once."""
    return sum({one.first.granularity: one.components for one in comparisons}.values())


def _filed(
    inputs: AnalysisInputs,
    test_id: str,
    comparisons: Sequence[_Comparison],
    settings: dict[str, Any],
    *,
    direction: str,
    **numbers: Any,
) -> TestResult:
    """Row over all tissues of its comparisons."""
    source = tissue_source(inputs, list(dict.fromkeys(role for one in comparisons for role in one.roles)))
    if isinstance(source, str):
        return skip(inputs, test_id, source)
    return row(inputs, source, test_id, settings=settings, layer=None, direction=direction, **numbers)


def _tissue_row(
    inputs: AnalysisInputs, reading: Reading, compared: _Compared, test_id: str, roles: tuple[str, str]
) -> TestResult:
    own = [one for one in compared.comparisons if one.roles == roles]
    if not own:
        reasons = reading.facts.get("reasons", {})
        said = [str(reasons[role]) for role in roles if role in reasons] or compared.left_out
        why = "; ".join(said) or "no regulator-target pair was traced in both"
        return skip(inputs, test_id, f"{roles[0]} and {roles[1]} cannot be compared: {why}")
    mean, others = _mean(own), compared.mismatched.get(roles, np.empty(0))
    settings = _settings(inputs, reading, own, compared) | {
        "mismatched_mean_rho": float(others.mean()) if others.size else None,
        "rho": {f"{one.first.regulator}>{one.first.target} {one.first.granularity}": one.rho for one in own},
    }
    return _filed(
        inputs,
        test_id,
        own,
        settings,
        statistic=mean.rho,
        effect=mean.rho,
        ci_low=mean.interval.low,
        ci_high=mean.interval.high,
        p=mean.p,
        n=_components(own),
        null_name="components permuted in each tissue",
        null_mean=float(mean.null.mean()),
        null_sd=float(mean.null.std(ddof=1)) if mean.null.size > 1 else None,
        resamples_requested=mean.interval.resamples_requested,
        resamples_done=mean.interval.resamples_done,
        direction="mean rank correlation of component effects between two tissues: above 0, the same components carry "
        "the pairs in both",
    )


def _omnibus_row(inputs: AnalysisInputs, reading: Reading, compared: _Compared) -> TestResult:
    comparisons = compared.comparisons
    largest = max(abs(one.rho) for one in comparisons)
    null = np.abs(np.stack([one.null for one in comparisons])).max(axis=0)
    settings = _settings(inputs, reading, comparisons, compared) | {"smallest_p": 1 / (1 + null.size)}
    return _filed(
        inputs,
        "A04.4",
        comparisons,
        settings,
        statistic=largest,
        effect=largest,
        p=float(permutation_p([largest], null[:, None])[0]),
        n=len(comparisons),
        null_name="components permuted in each tissue",
        null_mean=float(null.mean()),
        null_sd=float(null.std(ddof=1)) if null.size > 1 else None,
        resamples_requested=null.size,
        resamples_done=null.size,
        direction="largest absolute rank correlation of all comparisons: above the permuted ones, at least one pair "
        "has components that agree, or disagree, between tissues",
    )


def _interval_row(inputs: AnalysisInputs, reading: Reading, compared: _Compared, effects: pd.DataFrame) -> TestResult:
    mean = _mean(compared.comparisons)
    settings = _settings(inputs, reading, compared.comparisons, compared) | {
        "interval_above_0": int((effects["ci_low"] > 0).sum()),
        "interval_below_0": int((effects["ci_high"] < 0).sum()),
        "level": LEVEL,
        "rho_highest": float(effects["rho"].max()),
        "rho_lowest": float(effects["rho"].min()),
    }
    return _filed(
        inputs,
        "A04.5",
        compared.comparisons,
        settings,
        statistic=float((effects["q"] <= LEVEL).sum()),
        effect=mean.rho,
        ci_low=mean.interval.low,
        ci_high=mean.interval.high,
        n=len(compared.comparisons),
        resamples_requested=mean.interval.resamples_requested,
        resamples_done=mean.interval.resamples_done,
        direction="mean rank correlation over all comparisons, components resampled; each interval is in "
        "cross_tissue_effects; statistic = comparisons with q <= .05",
    )
