"""The criteria of a claim, recomputed from the result tables.

What belongs here: tables and thresholds in, one outcome with its reason out. What does not: how the tables
were computed, or what follows for a claim (`qc_standards.gate`). Thresholds come from
``registry/claims.yaml``; a missing number can make a criterion not evaluable, never pass it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qc_standards.causal_use import causally_used
from qc_standards.claims import CriterionSpec
from qc_standards.criterion_parts import (
    BASELINES,
    GAIN_METRICS,
    LEARNERS,
    SPLITS,
    CriterionPart,
    CriterionResult,
    conjunction,
    gain_parts,
    lacking_of,
    numbers_of,
    one_row,
    short_of_resamples,
    summed_up,
)
from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError, is_missing
from qc_standards.multiplicity import benjamini_hochberg
from qc_standards.published_findings import baselines_win, equal_to_correlation, matched_gain_null, no_gain
from qc_standards.records import Outcome

RESIDUAL_LEARNERS: Final = ("ols", "boosting")


def bootstrap_mean_interval(
    values: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of the mean, resampling the entries of ``values`` (one per perturbation)."""
    draws = rng.integers(0, values.size, size=(resamples, values.size))
    means = values[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _auroc_by_perturbation(evidence: Evidence) -> pd.DataFrame:
    rows = evidence.rows("perturbation_auroc", role=PRIMARY_ROLE, subset="all")
    if rows.duplicated(["dataset", "perturbation", "score"]).any():
        raise MissingEvidenceError("table perturbation_auroc repeats a perturbation and score")
    wide = rows.pivot(index=["dataset", "perturbation"], columns="score", values="auroc").sort_index()
    lacking = [score for score in ("attention", *BASELINES) if score not in wide.columns]
    if lacking:
        raise MissingEvidenceError(f"table perturbation_auroc has no score {', '.join(lacking)}")
    return wide[["attention", *BASELINES]]


def _baseline_part(
    baseline: str, difference: NDArray[np.float64], q: float, thresholds: Mapping[str, float]
) -> CriterionPart:
    place = BASELINES.index(baseline)
    rng = np.random.default_rng([int(thresholds["seed"]), place])
    low, high = bootstrap_mean_interval(difference, int(thresholds["bootstrap"]), rng)
    mean = float(difference.mean())
    if high < 0.0:
        outcome = Outcome.FAIL
    elif q < thresholds["alpha"] and mean > 0.0:
        outcome = Outcome.PASS
    else:
        outcome = Outcome.UNDECIDED
    reason = f"attention - {baseline} {mean:+.3f} [{low:+.3f}, {high:+.3f}], q {q:.2g}, n {difference.size}"
    numbers = {"mean": mean, "ci_low": low, "ci_high": high, "q": q, "n": float(difference.size)}
    return CriterionPart(name=baseline, outcome=outcome, reason=reason, numbers=numbers)


def beats_baselines(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Criterion a: attention beats target variance, mean and 1 - dropout, perturbation by perturbation.

    One-sided Wilcoxon signed-rank per baseline, BH over the three. The unit is the perturbation; all scores
    must be present for the same perturbations.
    """
    from scipy.stats import wilcoxon

    wide = _auroc_by_perturbation(evidence)
    if wide.isna().to_numpy().any():
        raise MissingEvidenceError("table perturbation_auroc lacks a score for some perturbations")
    least = int(spec.thresholds["min_perturbations"])
    if len(wide) < least:
        reason = f"{len(wide)} evaluable perturbations, at least {least} are needed"
        return CriterionResult(id=spec.id, title=spec.title, outcome=Outcome.NOT_EVALUABLE, reason=reason, parts=())
    attention = wide["attention"].to_numpy(dtype=np.float64)
    differences = {name: attention - wide[name].to_numpy(dtype=np.float64) for name in BASELINES}
    p = [float(wilcoxon(d, alternative="greater").pvalue) if d.any() else 1.0 for d in differences.values()]
    q = benjamini_hochberg(p, len(BASELINES))
    parts = [
        _baseline_part(name, difference, float(q[i]), spec.thresholds)
        for i, (name, difference) in enumerate(differences.items())
    ]
    return conjunction(spec, parts)


def adds_value(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Criterion b: the gain over gene-level features has a lower bound above .005 in all 18 cells.

    Three splits x two learners x {AUROC, AUPRC, R-precision}, edge "attention". A cell whose whole interval
    lies below .005 fails the criterion; a missing cell makes it not evaluable.
    """
    gain = spec.thresholds["gain"]

    def judge(low: float, high: float) -> Outcome:
        if low > gain:
            return Outcome.PASS
        return Outcome.FAIL if high < gain else Outcome.UNDECIDED

    cells = list(product(SPLITS, LEARNERS, GAIN_METRICS))
    result = conjunction(spec, gain_parts(evidence, "attention", cells, judge))
    if any(part.outcome is Outcome.NOT_EVALUABLE for part in result.parts):
        gaps = [part.reason for part in result.parts if part.outcome is Outcome.NOT_EVALUABLE]
        return CriterionResult(
            id=spec.id,
            title=spec.title,
            outcome=Outcome.NOT_EVALUABLE,
            reason=f"{len(gaps)} of {len(cells)} combinations cannot be judged; {gaps[0]}",
            parts=result.parts,
        )
    deciding = [part for part in result.parts if part.outcome is result.outcome]
    worst = min(deciding, key=lambda part: part.numbers["ci_low"] or 0.0)
    text = f"{len(deciding)} of {len(cells)} combinations {result.outcome}; worst is {worst.reason}"
    return summed_up(result, text)


def _judge_retention(numbers: Mapping[str, float | None], t: Mapping[str, float], short: str) -> tuple[Outcome, str]:
    raw, raw_low, kept, high = (numbers[k] for k in ("auroc_raw", "raw_ci_low", "kept", "kept_ci_high"))
    if raw is None or raw_low is None:
        return Outcome.NOT_EVALUABLE, "raw recovery has no value or interval"
    if raw < t["raw"] or raw_low <= t["chance"]:
        return Outcome.FAIL, f"nothing to retain: raw AUROC {raw:.3f}, lower bound {raw_low:.3f}"
    if short or kept is None or high is None:
        return Outcome.NOT_EVALUABLE, short or "retained share has no value or interval"
    told = f"keeps {kept:.2f} (upper bound {high:.2f}) of the above-chance recovery, raw AUROC {raw:.3f}"
    if kept >= t["kept"]:
        return Outcome.PASS, told
    return (Outcome.FAIL if high < t["kept"] else Outcome.UNDECIDED), told


def _retention_part(evidence: Evidence, learner: str, t: Mapping[str, float]) -> CriterionPart:
    reference = evidence.primary_reference("residual_summary")
    rows = evidence.rows("residual_summary", role=PRIMARY_ROLE, edge="attention", reference=reference, learner=learner)
    row = one_row(rows, f"residual_summary attention/{reference}/{learner}")
    numbers = numbers_of(row, ("auroc_raw", "raw_ci_low", "auroc_residual", "kept", "kept_ci_low", "kept_ci_high"))
    outcome, told = _judge_retention(numbers, t, short_of_resamples(row))
    return CriterionPart(
        name=f"residual/{learner}", outcome=outcome, reason=f"{learner} on {reference}: {told}", numbers=numbers
    )


def null_defects(row: Mapping[Any, Any], t: Mapping[str, float]) -> list[str]:
    """Why a degree-preserving null cannot be read: too few draws, no mixing, invariant statistic, ..."""
    numbers = numbers_of(row, ("observed", "null_mean", "null_sd", "z", "mean_jaccard", "tradeable_regulators"))
    lacking = lacking_of(numbers)
    if lacking:
        return [f"{', '.join(lacking)} not available {row.get('reason') or ''}".strip()]
    checks = (
        (short_of_resamples(row, "draws"), True),
        (f"null sd {numbers['null_sd']:.1g}: statistic is invariant", _below(numbers, t, "null_sd")),
        (f"mean Jaccard distance {numbers['mean_jaccard']:.2f}: no mixing", _below(numbers, t, "mean_jaccard")),
        (
            f"{numbers['tradeable_regulators']:.0f} tradeable regulators",
            _below(numbers, t, "tradeable_regulators"),
        ),
        ("degrees were not kept", is_missing(row["degrees_kept"]) or not bool(row["degrees_kept"])),
    )
    return [text for text, broken in checks if text and broken]


_LIMITS: Final = MappingProxyType(
    {"null_sd": "min_null_sd", "mean_jaccard": "min_jaccard", "tradeable_regulators": "min_tradeable"}
)


def _below(numbers: Mapping[str, float | None], t: Mapping[str, float], name: str) -> bool:
    value = numbers[name]
    return value is None or value < t[_LIMITS[name]]


def _degree_part(evidence: Evidence, t: Mapping[str, float]) -> CriterionPart:
    reference = evidence.primary_reference("degree_null")
    rows = evidence.rows("degree_null", role=PRIMARY_ROLE, edge="attention", reference=reference, null="curveball")
    row = one_row(rows, f"degree_null attention/{reference}/curveball")
    numbers = numbers_of(row, ("observed", "null_mean", "null_sd", "z", "mean_jaccard"))
    defects = null_defects(row, t)
    observed, null_mean, z = numbers["observed"], numbers["null_mean"], numbers["z"]
    if defects or observed is None or null_mean is None or z is None:
        return CriterionPart(
            name="degree",
            outcome=Outcome.NOT_EVALUABLE,
            reason=f"degree null on {reference} is not evaluable: {'; '.join(defects)}",
            numbers=numbers,
        )
    excess = observed - null_mean
    outcome = Outcome.PASS if z > t["z"] and excess >= t["excess"] else Outcome.FAIL
    reason = f"z {z:.1f} and {excess:+.3f} AUROC over degree-preserving networks of {reference}"
    return CriterionPart(name="degree", outcome=outcome, reason=reason, numbers=numbers)


def survives_confounds(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Criterion c: recovery kept by cross-fitted residuals (OLS and boosting), and beyond degree.

    kept = (AUROC_res - .5) / (AUROC_raw - .5); fails as "nothing to retain" without raw recovery. The degree
    null must have mixed, kept degrees and moved the statistic, else z is not evaluable.
    """
    t = spec.thresholds
    parts = [
        _part_or_gap(f"residual/{name}", partial(_retention_part, evidence, name, t)) for name in RESIDUAL_LEARNERS
    ]
    parts.append(_part_or_gap("degree", partial(_degree_part, evidence, t)))
    result = conjunction(spec, parts)
    why = evidence.why_absent(spec.tests) if result.outcome is Outcome.NOT_EVALUABLE else ""
    return summed_up(result, f"{result.reason} ({why})") if why else result


def _part_or_gap(name: str, judge: Callable[[], CriterionPart]) -> CriterionPart:
    """Judged part, or a not evaluable one when its evidence is missing, so that other parts still speak."""
    try:
        return judge()
    except MissingEvidenceError as error:
        return CriterionPart(name=name, outcome=Outcome.NOT_EVALUABLE, reason=str(error), numbers={})


CRITERIA: Final[Mapping[str, Callable[[Evidence, CriterionSpec], CriterionResult]]] = MappingProxyType(
    {
        "a": beats_baselines,
        "b": adds_value,
        "c": survives_confounds,
        "d": causally_used,
        "equal_to_correlation": equal_to_correlation,
        "no_incremental_gain": no_gain,
        "matched_gain_null": matched_gain_null,
        "baselines_win": baselines_win,
    }
)


def judge_criterion(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Outcome of one criterion; missing evidence is *not evaluable* with the reason of the skipped rows."""
    if spec.id not in CRITERIA:
        raise ValueError(f"criterion {spec.id} is declared but has no definition in code")
    try:
        return CRITERIA[spec.id](evidence, spec)
    except MissingEvidenceError as error:
        why = evidence.why_absent(spec.tests)
        reason = f"{error} ({why})" if why else str(error)
        return CriterionResult(id=spec.id, title=spec.title, outcome=Outcome.NOT_EVALUABLE, reason=reason)
