"""Analysis 2: whether effects of single components add up, and whether their ranking survives that they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from interp_assets.analyses.coalition_tables import complete_values, interaction_rows, shapley_rows
from interp_assets.analyses.component_effects import (
    ROLES,
    RunPair,
    rank_agreement,
    reading_settings,
    tissue_source,
    traced,
)
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, CellSample
from interp_assets.analyses.rows import chosen_settings, collect, generator, row, skip, skip_all
from interp_assets.readings.records import Reading
from interp_assets.stats.games import (
    BUDGETS,
    LAMBDAS,
    Z_95,
    NonAdditivity,
    aggregate_interaction,
    ranking_certificate,
)
from interp_assets.stats.paired import SignedRank, signed_rank
from interp_assets.stats.resampling import Interval, percentile_interval
from qc_standards.records import TestResult

Float = NDArray[np.float64]
NUMBER: Final = 2
FALSE_POSITIVE_RATE: Final = 0.05  # |R| > 1.96 SE where components add up
LOOSE, STRICT = 1.0, 3.0  # budget factors that A02.2 compares
ONE_CELL: Final = "every run-pair was traced in a single cell, so no effect has a standard error; raise mediation_cells"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subset:
    """Some run-pairs with their bounds, and what they say together."""

    name: str
    granularity: str
    error: str
    bounds: tuple[NonAdditivity, ...]

    @property
    def lower(self) -> Float:
        """A_lb of every run-pair."""
        return np.array([bound.lower_bound for bound in self.bounds], dtype=np.float64)

    @property
    def errors_known(self) -> bool:
        """Whether every bound has a standard error; without one any residual is above 0, and not in 5 of 100."""
        return all(bound.se_known for bound in self.bounds)

    @property
    def relative(self) -> Float:
        """A_lb / |TE| of the run-pairs whose total effect is not 0."""
        values = np.array([bound.relative for bound in self.bounds], dtype=np.float64)
        return values[np.isfinite(values)]


def mediation_bias(inputs: AnalysisInputs) -> AnalysisOutput:
    """Lower bounds on the interaction between components, and certificates of their ranking (paper section 4).

    A run-pair is a regulator-target pair in a tissue at a granularity. Those traced in one cell have a standard error
    of 0, so that any residual counts as positive: they are left out of both rows and reported beside.

    Rows: A02.1 median A_lb / |TE| (statistic: share of run-pairs with A_lb > 0), p the larger of the signed-rank one of
    A_lb against 0 and the binomial one of so many A_lb > 0 where parts add up; A02.2 certified share of component pairs
    at budget factor 3 minus at 1, signed-rank of the loss. Intervals over run-pairs (``mediation_bootstrap``).

    Tables: `mediation_run_pairs` (one a run-pair: TE, sum of single effects, R, SE, A_lb; ``_paired`` with the standard
    error of R over the same cells; agreement of the ranking by |m| with that by Shapley value), `mediation_summary`
    (rate and median by subset, granularity and standard error, with signed-rank and binomial p, the latter only where
    every standard error is known),
    `mediation_components` (mean, SD, count of every single effect), `mediation_certificate` (by budget shape and
    factor), `mediation_interactions` (by number of components), `mediation_shapley`.
    """
    found = traced(inputs)
    if isinstance(found, str):
        return skip_all(inputs, found)
    reading, pairs = found
    roles = [role for role in ROLES if any(pair.role == role for pair in pairs)]
    source = tissue_source(inputs, roles)
    if isinstance(source, str):
        return skip_all(inputs, source)
    shapley = [shapley_rows(pair, reading) for pair in pairs]
    tables = {
        "mediation_run_pairs": pd.DataFrame([_run_pair(*both) for both in zip(pairs, shapley, strict=True)]),
        "mediation_summary": _summary(inputs, pairs),
        "mediation_components": pd.concat([_components(pair) for pair in pairs], ignore_index=True),
        "mediation_certificate": _certificate(pairs),
        "mediation_interactions": pd.DataFrame([line for pair in pairs for line in interaction_rows(pair)]),
        "mediation_shapley": pd.concat(shapley, ignore_index=True),
    }
    tested = [pair for pair in pairs if pair.cells > 1]
    if not tested:
        results = [skip(inputs, spec.test_id, ONE_CELL, role=source) for spec in inputs.tests]
    else:
        results = [
            _bound_row(inputs, source, reading, pairs, tested),
            _certificate_row(inputs, source, reading, pairs, tested),
        ]
    return collect(inputs, results, tables)


def _run_pair(pair: RunPair, shapley: pd.DataFrame) -> dict[str, Any]:
    plain, paired = pair.bound, pair.paired_bound
    values = complete_values(pair)
    single, fair = (np.abs(shapley[name].to_numpy(dtype=np.float64)) for name in ("single", "shapley"))
    return {
        **pair.names,
        "cells_hash": pair.cells_hash,
        "reference": pair.reference,
        "components": pair.single.shape[0],
        "cells": pair.cells,
        "set_cells": pair.joint.shape[1],
        "total": float(pair.total.mean()),
        "total_sd": float(pair.total.std(ddof=1)) if pair.cells > 1 else float("nan"),
        "single_sum": float(pair.mean.sum()),
        "residual": plain.residual,
        "se": plain.se,
        "lower_bound": plain.lower_bound,
        "relative": plain.relative,
        "positive": plain.lower_bound > 0,
        "se_paired": paired.se,
        "lower_bound_paired": paired.lower_bound,
        "relative_paired": paired.relative,
        "positive_paired": paired.lower_bound > 0,
        "se_known": plain.se_known,
        "aggregate_interaction": float("nan") if values is None else float(aggregate_interaction(values.mean(axis=0))),
        "top_component": str(pair.components["name"].iloc[int(np.abs(pair.mean).argmax())]),
        "shapley_rank_agreement": rank_agreement(single, fair),
        "shapley_same_top": bool(single.argmax() == fair.argmax()),
    }


def _components(pair: RunPair) -> pd.DataFrame:
    return pd.DataFrame(
        {
            **pair.names,
            "component": pair.components["component"],
            "name": pair.components["name"],
            "layer": pair.components["layer"],
            "heads": pair.components["heads"],
            "mean": pair.mean,
            "sd": pair.sd if pair.cells > 1 else np.nan,
            "cells": pair.cells,
            "se": pair.se if pair.cells > 1 else np.nan,
            "changed": (pair.single != 0).any(axis=1),
        }
    )


def _certificate(pairs: Sequence[RunPair]) -> pd.DataFrame:
    """Certificates of every run-pair with two components or more, by budget shape and factor."""
    rows = []
    for pair in pairs:
        if pair.single.shape[0] < 2:
            continue
        for budget in BUDGETS:
            for one in ranking_certificate(pair.mean, pair.se, pair.bound.lower_bound, lambdas=LAMBDAS, budget=budget):
                numbers = {
                    "budget": one.budget,
                    "budget_factor": one.budget_factor,
                    "certified": one.certified,
                    "component_pairs": one.pairs,
                    "certified_share": one.certified_share,
                    "top_certified": one.top_certified,
                    "cells": pair.cells,
                }
                rows.append({**pair.names, **numbers})
    return pd.DataFrame(rows)


def _subsets(pairs: Sequence[RunPair]) -> list[_Subset]:
    """Run-pairs by number of cells and granularity, under both standard errors; empty ones left out."""
    kinds: dict[str, Callable[[RunPair], bool]] = {
        "more_than_one_cell": lambda pair: pair.cells > 1,
        "all": lambda pair: True,
        "one_cell": lambda pair: pair.cells == 1,
    }
    errors: dict[str, Callable[[RunPair], NonAdditivity]] = {
        "independent": lambda pair: pair.bound,
        "paired": lambda pair: pair.paired_bound,
    }
    found = []
    for name, belongs in kinds.items():
        for granularity in ("all", *dict.fromkeys(pair.granularity for pair in pairs)):
            chosen = [pair for pair in pairs if belongs(pair) and granularity in ("all", pair.granularity)]
            for error, bound in errors.items():
                if chosen:
                    bounds = tuple(bound(pair) for pair in chosen)
                    found.append(_Subset(name=name, granularity=granularity, error=error, bounds=bounds))
    return found


def _summary(inputs: AnalysisInputs, pairs: Sequence[RunPair]) -> pd.DataFrame:
    rows = []
    for number, one in enumerate(_subsets(pairs)):
        positive, tried = int((one.lower > 0).sum()), len(one.bounds)
        rate = _interval(inputs, (one.lower > 0).astype(np.float64), np.mean, 3, number)
        median = _interval(inputs, one.relative, np.median, 4, number)
        rows.append(
            {
                "subset": one.name,
                "granularity": one.granularity,
                "standard_error": one.error,
                "run_pairs": tried,
                "positive": positive,
                "rate": positive / tried,
                "rate_ci_low": rate.low,
                "rate_ci_high": rate.high,
                "median_relative": float(np.median(one.relative)) if one.relative.size else float("nan"),
                "median_ci_low": median.low,
                "median_ci_high": median.high,
                "signed_rank_p": _ranked(one.lower).p,
                "binomial_p": _binomial_p(positive, tried) if one.errors_known else float("nan"),
                "resamples_requested": rate.resamples_requested,
                "resamples_done": rate.resamples_done,
            }
        )
    return pd.DataFrame(rows)


def _interval(inputs: AnalysisInputs, values: Float, statistic: Callable[..., Any], *purpose: int) -> Interval:
    """Percentile interval over run-pairs; none for fewer than two."""
    resamples = int(chosen_settings(inputs, "mediation_bootstrap")["mediation_bootstrap"])
    if values.size < 2:
        return Interval(float("nan"), float("nan"), resamples, 0)
    drawn = generator(inputs, NUMBER, *purpose).integers(0, values.size, (resamples, values.size))
    return percentile_interval(statistic(values[drawn], axis=1), requested=resamples)


def _ranked(values: Float) -> SignedRank:
    """Signed-rank test of numbers that cannot be negative, zeros dropped beforehand so that few of them are exact.

    All signs are equal, so p is 2**-k for k numbers above 0: it counts them and weighs nothing.
    """
    above = values[values > 0]
    return signed_rank(above if above.size else values, "greater")


def _binomial_p(positive: int, tried: int) -> float:
    """P of at least so many positive bounds where each has the false positive rate of |R| > 1.96 SE."""
    return float(binomtest(positive, tried, FALSE_POSITIVE_RATE, alternative="greater").pvalue)


def _settings(
    inputs: AnalysisInputs, reading: Reading, pairs: Sequence[RunPair], tested: Sequence[RunPair]
) -> dict[str, Any]:
    return chosen_settings(inputs, "mediation_bootstrap") | {
        **reading_settings(reading, pairs),
        "run_pairs": {"tested": len(tested), "of_one_cell": len(pairs) - len(tested)},
        "standard_error": "independent",
        "z": Z_95,
    }


def _short(interval: Interval, tested: int) -> str:
    if interval.resamples_done:
        return ""
    return f"{tested} run-pair of more than one cell: no interval over run-pairs; trace more pairs or tissues"


def _bound_row(
    inputs: AnalysisInputs,
    source: CellSample,
    reading: Reading,
    pairs: Sequence[RunPair],
    tested: Sequence[RunPair],
) -> TestResult:
    bounds = [pair.bound for pair in tested]
    lower = np.array([bound.lower_bound for bound in bounds])
    relative = np.array([bound.relative for bound in bounds])
    relative = relative[np.isfinite(relative)]
    interval = _interval(inputs, relative, np.median, 1)
    ranked = _ranked(lower)
    positive = int((lower > 0).sum())
    binomial = _binomial_p(positive, len(tested))
    settings = _settings(inputs, reading, pairs, tested) | {
        "binomial_p": binomial,
        "positive": positive,
        "positive_paired": int(sum(pair.paired_bound.lower_bound > 0 for pair in tested)),
        "signed_rank_p": ranked.p,
    }
    return _filed(
        inputs,
        source,
        "A02.1",
        settings,
        interval,
        ranked,
        tested,
        statistic=float((lower > 0).mean()),
        effect=float(np.median(relative)) if relative.size else float("nan"),
        # 2**-k of k bounds above 0 is no p where many run-pairs make some of them by chance
        p=max(ranked.p, binomial),
        null_name="components add up, A_lb = 0",
        direction="median lower bound on the interaction as a share of the total effect: above 0, single components do "
        "not add up; statistic = share of run-pairs where the bound is above 0",
    )


def _certificate_row(
    inputs: AnalysisInputs,
    source: CellSample,
    reading: Reading,
    pairs: Sequence[RunPair],
    tested: Sequence[RunPair],
) -> TestResult:
    ranked_pairs = [pair for pair in tested if pair.single.shape[0] > 1]
    if not ranked_pairs:
        return skip(inputs, "A02.2", "no run-pair has two components to rank; the model has one layer", role=source)
    certificates = [
        ranking_certificate(pair.mean, pair.se, pair.bound.lower_bound, lambdas=(LOOSE, STRICT))
        for pair in ranked_pairs
    ]
    shares = np.array([[one.certified_share for one in both] for both in certificates])
    lost = shares[:, 0] - shares[:, 1]
    interval = _interval(inputs, -lost, np.mean, 2)
    ranked = _ranked(lost)
    settings = _settings(inputs, reading, pairs, ranked_pairs) | {
        "budget": "uniform",
        "budget_factors": [LOOSE, STRICT],
        "certified_share": [float(share) for share in shares.mean(axis=0)],
        "run_pairs_that_lose": int((lost > 0).sum()),
    }
    return _filed(
        inputs,
        source,
        "A02.2",
        settings,
        interval,
        ranked,
        ranked_pairs,
        statistic=float(shares[:, 0].mean()),
        effect=float(-lost.mean()),
        p=ranked.p,
        null_name="no run-pair loses a certified pair",
        direction="certified share of component pairs at three times the bound minus at once the bound: below 0, the "
        "ranking does not withstand interactions; statistic = share at once the bound; a share can only fall, so p "
        "counts the run-pairs that lose and weighs nothing",
    )


def _filed(
    inputs: AnalysisInputs,
    source: CellSample,
    test_id: str,
    settings: dict[str, Any],
    interval: Interval,
    ranked: SignedRank,
    tested: Sequence[RunPair],
    *,
    direction: str,
    **numbers: Any,
) -> TestResult:
    """Row over run-pairs of all tissues."""
    return row(
        inputs,
        source,
        test_id,
        settings=settings | {"smallest_p": ranked.smallest_p, "signed_rank": ranked.method},
        layer=None,
        reason=_short(interval, len(tested)),
        ci_low=interval.low,
        ci_high=interval.high,
        n=len(tested),
        null_mean=0.0,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction=direction,
        **numbers,
    )
