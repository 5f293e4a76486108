"""Analysis 7: whether regulators move before their targets along diffusion pseudotime.

What belongs here: lags, nulls, rows and tables. Which pairs are tested and how cells are ordered is in `trajectories`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, CellSample, Pooled
from interp_assets.analyses.pooled import pooled_source
from interp_assets.analyses.rows import chosen_settings, collect, generator, row, sample_or_reason, skip, skip_all
from interp_assets.analyses.trajectories import (
    COMPONENTS,
    LEAST_DETECTION,
    NEIGHBOURS,
    VARIABLE_GENES,
    Lineage,
    lineage,
)
from interp_assets.stats.edge_transfer import permutation_p
from interp_assets.stats.lagged import (
    OUTCOMES,
    LaggedPairs,
    LagPeaks,
    binned_means,
    joined_peaks,
    lag_peaks,
    random_pair_peaks,
    shuffled_peaks,
)
from interp_assets.stats.resampling import Interval, group_weights, percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 7
ROLES: Final = tuple(f"trajectory[{n}]" for n in (1, 2, 3))
LINEAGE_ROWS: Final = {"A07.4": ROLES[0], "A07.5": ROLES[1], "A07.6": ROLES[2]}
NULLS: Final = ("shuffled", "random_pairs")
COMPUTED: Final = "computed"
STORED: Final = "stored"
SETTINGS: Final = (
    "bootstrap",
    "directionality_pairs",
    "pseudotime_bins",
    "pseudotime_lags",
    "pseudotime_weak",
    "pseudotime_shuffles",
    "random_pair_sets",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Peaks of the pairs of one lineage, or of several together: as observed (P), and under each null (draws x P)."""

    observed: LagPeaks
    nulls: Mapping[str, LagPeaks]
    tf: NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tested:
    """A lineage with its audit, the lag curves behind it, and the peaks along the stored pseudotime."""

    lineage: Lineage
    audit: Audit
    curves: NDArray[np.float64]
    stored: LagPeaks | None


def pseudotime_directionality(inputs: AnalysisInputs) -> AnalysisOutput:
    """Lagged cross-correlation of curated signed pairs along pseudotime computed without the genes under test.

    Cells are ordered by diffusion pseudotime on the most variable of the untested genes, rooted on the side of cells
    that the dataset knows to be early, cut into bins of equal size, and the regulator is compared with the target over
    lags of up to ``pseudotime_lags`` bins (see `stats.lagged`). Consistent: the largest absolute correlation lies at a
    positive lag and has the expected sign. Chance is what shuffled pseudotime gives, not 0; the second null are
    expression-matched random pairs along the real order, which any two genes that change along a lineage would pass.

    Rows: rate over all lineages (A07.1), mean score against shuffled pseudotime (A07.2) and against random pairs
    (A07.3), rate of each lineage (A07.4 to A07.6). Tables `pseudotime_pairs`, `pseudotime_lags`, `pseudotime_null`,
    `pseudotime_draws`, `pseudotime_outcomes`, `pseudotime_lineages`. In `pseudotime_pairs` the column ``pseudotime`` is
    `stored` where the dataset's own was used: it was computed from the genes under test and no row rests on it.
    """
    used = chosen_settings(inputs, *SETTINGS)
    tested: dict[str, _Tested] = {}
    reasons: dict[str, str] = {}
    for number, role in enumerate(ROLES):
        sample = sample_or_reason(inputs, role)
        found = sample if isinstance(sample, str) else _known_already(sample, tested) or lineage(sample, used)
        if isinstance(found, str):
            reasons[role] = found
        else:
            tested[role] = _test(inputs, found, number, used)
    if not tested:
        told = dict.fromkeys(reasons.values())
        return skip_all(inputs, "; ".join(told), role=next(iter(inputs.samples.values()), None))
    whole = _together([one.audit for one in tested.values()])
    results = [_row(inputs, tested, whole, reasons, spec.test_id, used) for spec in inputs.tests]
    return collect(inputs, results, _tables(tested, whole))


def _known_already(sample: CellSample, tested: Mapping[str, _Tested]) -> str:
    """Why a dataset is not tested a second time: its pairs would count twice."""
    return next((f"same as {role}" for role, one in tested.items() if one.lineage.sample.dataset == sample.dataset), "")


def _test(inputs: AnalysisInputs, found: Lineage, number: int, used: Mapping[str, Any]) -> _Tested:
    pairs = found.tested
    curves = pairs.correlations(found.order)
    shuffled = shuffled_peaks(
        _ordered_only(found), generator(inputs, NUMBER, 1, number), int(used["pseudotime_shuffles"])
    )
    random = random_pair_peaks(
        binned_means(found.pool, found.order, pairs.bins),
        found.regulator_pool,
        found.target_pool,
        pairs,
        generator(inputs, NUMBER, 2, number),
        int(used["random_pair_sets"]),
    )
    return _Tested(
        lineage=found,
        audit=Audit(
            observed=lag_peaks(curves, pairs.expected_sign, pairs.weak),
            nulls=dict(zip(NULLS, (shuffled, random), strict=True)),
            tf=found.table["tf"].to_numpy(dtype=np.str_),
        ),
        curves=curves,
        stored=None if found.stored_order is None else pairs.peaks(found.stored_order),
    )


def _ordered_only(found: Lineage) -> LaggedPairs:
    """The pairs over the cells that the ordering reached: the shuffles must meet the same cells."""
    return replace(found.tested, values=found.tested.values[found.order])


def _together(audits: list[Audit]) -> Audit:
    """Pairs of all lineages side by side; draw k of the whole is draw k of every lineage."""
    return Audit(
        observed=joined_peaks([audit.observed for audit in audits], axis=-1),
        nulls={name: joined_peaks([audit.nulls[name] for audit in audits], axis=-1) for name in NULLS},
        tf=np.concatenate([audit.tf for audit in audits]),
    )


def _row(
    inputs: AnalysisInputs,
    tested: Mapping[str, _Tested],
    whole: Audit,
    reasons: Mapping[str, str],
    test_id: str,
    used: Mapping[str, Any],
) -> TestResult:
    role = LINEAGE_ROWS.get(test_id)
    if role is not None and role not in tested:
        sample = inputs.samples.get(role)
        return skip(inputs, test_id, reasons[role], role=sample, settings=used)
    chosen = [tested[role]] if role is not None else list(tested.values())
    audit = chosen[0].audit if role is not None else whole
    if test_id == "A07.2":
        numbers = _against_shuffles(audit)
    elif test_id == "A07.3":
        numbers = _against_random_pairs(audit, _interval(inputs, audit, audit.observed.score, used))
    else:
        numbers = _rate(audit, _interval(inputs, audit, _consistent(audit), used), tests=role is None)
    lost = "" if role is not None else "; ".join(f"{name} left out: {why}" for name, why in reasons.items())
    return row(
        inputs,
        pooled_source(one.lineage.sample for one in chosen),
        test_id,
        settings=_settings(chosen, audit, {k: v for k, v in used.items() if k != "bootstrap" or "ci_low" in numbers}),
        layer=None,
        reason=lost,
        n=int(audit.observed.lag.size),
        **numbers,
    )


def _consistent(audit: Audit) -> NDArray[np.float64]:
    return np.asarray(audit.observed.outcome == OUTCOMES.index("consistent"), dtype=np.float64)


def _interval(inputs: AnalysisInputs, audit: Audit, values: NDArray[np.float64], used: Mapping[str, Any]) -> Interval:
    """Interval of the mean over pairs, resampling regulators: pairs of one regulator are not independent."""
    names, group = np.unique(audit.tf, return_inverse=True)
    resamples = int(used["bootstrap"])
    if names.size < 2:
        return Interval(float("nan"), float("nan"), resamples, 0)
    weights = group_weights(names.size, resamples, generator(inputs, NUMBER, 3))
    draws = (weights @ np.bincount(group, values)) / (weights @ np.bincount(group))
    return percentile_interval(draws, requested=resamples)


def _null(name: str, draws: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "null_name": name,
        "null_mean": float(draws.mean()),
        "null_sd": float(draws.std(ddof=1)) if draws.size > 1 else None,
        "resamples_requested": draws.size,
        "resamples_done": draws.size,
    }


def _rate(audit: Audit, interval: Interval, *, tests: bool) -> dict[str, Any]:
    observed, draws = float(audit.observed.rate), audit.nulls["shuffled"].rate
    return {
        "statistic": observed,
        "effect": observed,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": permutation_p(observed, draws) if tests else None,
        "unit": "TF-target pair",
        "direction": "share of pairs whose regulator moves first with the expected sign; chance is the null mean",
        **_null("pseudotime shuffled over cells", draws),
    }


def _against_shuffles(audit: Audit) -> dict[str, Any]:
    observed, draws = float(audit.observed.mean_score), audit.nulls["shuffled"].mean_score
    spread = float(draws.std(ddof=1)) if draws.size > 1 else 0.0
    return {
        "statistic": observed,
        "effect": (observed - float(draws.mean())) / spread if spread > 0 else float("nan"),
        "p": permutation_p(observed, draws),
        "direction": "mean score minus its mean over shuffles, in standard deviations of the shuffles; above 0 means "
        "that regulators move first",
        **_null("pseudotime shuffled over cells", draws),
    }


def _against_random_pairs(audit: Audit, interval: Interval) -> dict[str, Any]:
    observed, draws = float(audit.observed.mean_score), audit.nulls["random_pairs"].mean_score
    expected = float(draws.mean())
    return {
        "statistic": observed,
        "effect": observed - expected,
        "ci_low": interval.low - expected,
        "ci_high": interval.high - expected,
        "p": permutation_p(observed, draws),
        "direction": "mean score minus its mean over random pairs; above 0 means that curated pairs have more "
        "direction than any two genes of such expression",
        **_null("expression-matched random pair sets along the same order", draws),
    }


def _settings(chosen: list[_Tested], audit: Audit, used: Mapping[str, Any]) -> dict[str, Any]:
    random = audit.nulls["random_pairs"]
    return {
        **used,
        "bins": "equal numbers of cells",
        "components": COMPONENTS,
        "cells_in_several_lineages": _shared_cells(chosen),
        "genes_under_test": "left out of the ordering; the dataset says which cells are early and of the lineage",
        "least_detection": LEAST_DETECTION,
        "lineages": {one.lineage.sample.role: {**_plain(one.lineage.facts)} for one in chosen},
        "neighbours": NEIGHBOURS,
        "random_pairs_rate": float(random.rate.mean()),
        "reference": sorted({name for one in chosen for name in one.lineage.table["reference"]}),
        "regulators": int(np.unique(audit.tf).size),
        "score": "largest correlation of the expected sign at a positive lag minus that at a negative lag",
        "variable_genes": VARIABLE_GENES,
    }


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts without NaN: a number that does not exist is null."""
    return {name: None if isinstance(fact, float) and np.isnan(fact) else fact for name, fact in facts.items()}


def _shared_cells(chosen: list[_Tested]) -> int:
    """Cells that several lineages have, by name: the lineages are shuffled apart, as if they had none."""
    names = [one.lineage.sample.cells for one in chosen]
    counts = pd.Series(np.concatenate([cells.obs.index[cells.control] for cells in names])).value_counts()
    return int((counts > 1).sum())


def _tables(tested: Mapping[str, _Tested], whole: Audit) -> dict[str, pd.DataFrame]:
    scopes = {"all": whole, **{role: one.audit for role, one in tested.items()}}
    samples = {"all": [one.lineage.sample for one in tested.values()]}
    samples |= {role: [one.lineage.sample] for role, one in tested.items()}
    told = {scope: _origin(pooled_source(held)) for scope, held in samples.items()}
    return {
        "pseudotime_pairs": pd.concat([frame for one in tested.values() for frame in _pairs(one)], ignore_index=True),
        "pseudotime_lags": pd.concat([_curves(one) for one in tested.values()], ignore_index=True),
        "pseudotime_null": pd.DataFrame(
            {**line, **told[scope]} for scope, audit in scopes.items() for line in _against(scope, audit)
        ),
        "pseudotime_draws": pd.concat(
            [frame.assign(**told[scope]) for scope, audit in scopes.items() for frame in _draws(scope, audit)],
            ignore_index=True,
        ),
        "pseudotime_outcomes": pd.DataFrame(
            {**line, **told[scope]} for scope, audit in scopes.items() for line in _outcomes(scope, audit)
        ),
        "pseudotime_lineages": pd.DataFrame([{**_where(one), **one.lineage.facts} for one in tested.values()]),
    }


def _where(one: _Tested) -> dict[str, str]:
    return {"role": one.lineage.sample.role, **_origin(one.lineage.sample)}


def _origin(source: CellSample | Pooled) -> dict[str, str]:
    return {"dataset": source.dataset, "data_origin": str(source.data_origin)}


def _pairs(one: _Tested) -> Iterator[pd.DataFrame]:
    for name, peaks in ((COMPUTED, one.audit.observed), (STORED, one.stored)):
        if peaks is None:
            continue
        found = one.lineage.table.assign(
            **_where(one),
            pseudotime=name,
            peak_lag=peaks.lag,
            peak=peaks.peak,
            score=peaks.score,
            outcome=np.array(OUTCOMES)[peaks.outcome],
        )
        yield found.assign(consistent=found["outcome"] == "consistent")


def _curves(one: _Tested) -> pd.DataFrame:
    pairs, table = one.lineage.tested, one.lineage.table
    lags = np.arange(-pairs.lags, pairs.lags + 1)
    return pd.DataFrame(
        {
            **_where(one),
            "tf": np.repeat(table["tf"].to_numpy(), lags.size),
            "target": np.repeat(table["target"].to_numpy(), lags.size),
            "expected_sign": np.repeat(table["expected_sign"].to_numpy(), lags.size),
            "lag": np.tile(lags, len(table)),
            "correlation": one.curves.ravel(),
        }
    )


def _statistics(peaks: LagPeaks) -> dict[str, NDArray[np.float64]]:
    return {"consistency_rate": peaks.rate, "mean_score": peaks.mean_score}


def _against(scope: str, audit: Audit) -> Iterator[dict[str, Any]]:
    for null, peaks in audit.nulls.items():
        for statistic, draws in _statistics(peaks).items():
            observed = float(_statistics(audit.observed)[statistic])
            yield {
                "scope": scope,
                "null": null,
                "statistic": statistic,
                "n_pairs": audit.observed.lag.size,
                "observed": observed,
                "null_mean": float(draws.mean()),
                "null_sd": float(draws.std(ddof=1)) if draws.size > 1 else np.nan,
                "p": permutation_p(observed, draws),
                "draws": draws.size,
            }


def _draws(scope: str, audit: Audit) -> Iterator[pd.DataFrame]:
    for null, peaks in audit.nulls.items():
        for statistic, values in _statistics(peaks).items():
            told = {"scope": scope, "null": null, "statistic": statistic, "draw": np.arange(values.size)}
            yield pd.DataFrame({**told, "value": values})


def _outcomes(scope: str, audit: Audit) -> Iterator[dict[str, Any]]:
    """How many pairs end in each class, and the share that each null puts there."""
    for code, name in enumerate(OUTCOMES):
        count = int((audit.observed.outcome == code).sum())
        yield {
            "scope": scope,
            "outcome": name,
            "n_pairs": count,
            "share": count / audit.observed.outcome.size,
            **{f"share_{null}": float((peaks.outcome == code).mean()) for null, peaks in audit.nulls.items()},
        }
