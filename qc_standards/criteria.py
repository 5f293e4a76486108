"""The criteria of a claim, recomputed from the result tables.

What belongs here: tables and thresholds in, one outcome with its reason out. What does not: how the tables
were computed, or what follows for a claim (`qc_standards.gate`). Thresholds come from
``registry/claims.yaml``; a missing number can make a criterion not evaluable, never pass it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qc_standards.claims import CriterionSpec
from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError, is_missing
from qc_standards.multiplicity import benjamini_hochberg
from qc_standards.records import Outcome

BASELINES: Final = ("variance", "mean", "one_minus_dropout")
SPLITS: Final = ("perturbation", "target_gene", "joint")
LEARNERS: Final = ("logistic", "boosting")
GAIN_METRICS: Final = ("auroc", "auprc", "r_precision")
RESIDUAL_LEARNERS: Final = ("ols", "boosting")


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionPart:
    """One comparison inside a criterion, with the numbers that decided it."""

    name: str
    outcome: Outcome
    reason: str
    numbers: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionResult:
    """Outcome of one criterion; ``reason`` is one sentence with the deciding numbers."""

    id: str
    title: str
    outcome: Outcome
    reason: str
    parts: tuple[CriterionPart, ...] = ()


def combine(outcomes: Sequence[Outcome]) -> Outcome:
    """Outcome of a conjunction: any fail, else any not evaluable, else any undecided, else pass.

    An empty conjunction is not evaluable: an evaluation of nothing is no pass.
    """
    for outcome in (Outcome.FAIL, Outcome.NOT_EVALUABLE, Outcome.UNDECIDED):
        if outcome in outcomes:
            return outcome
    return Outcome.PASS if outcomes else Outcome.NOT_EVALUABLE


def bootstrap_mean_interval(
    values: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of the mean, resampling the entries of ``values`` (one per perturbation)."""
    draws = rng.integers(0, values.size, size=(resamples, values.size))
    means = values[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _number(value: Any) -> float | None:
    number = math.nan if value is None or value is pd.NA else float(value)
    return None if math.isnan(number) else number


def _numbers(row: Mapping[Any, Any], columns: Sequence[str]) -> dict[str, float | None]:
    return {column: _number(row[column]) for column in columns}


def _one_row(frame: pd.DataFrame, what: str) -> dict[Any, Any]:
    if len(frame) != 1:
        raise MissingEvidenceError(f"{what}: {len(frame)} rows instead of 1")
    return dict(frame.iloc[0].to_dict())


def _lacking(numbers: Mapping[str, float | None]) -> list[str]:
    return [name for name, value in numbers.items() if value is None]


def _short_of_resamples(row: Mapping[Any, Any], kind: str = "resamples") -> str:
    requested, done = _number(row[f"{kind}_requested"]), _number(row[f"{kind}_done"])
    if requested is None or done is None or done < max(requested, 1.0):
        return f"{kind} done {done} of {requested}"
    return ""


def _told(deciding: Sequence[CriterionPart], total: int) -> str:
    """Reasons of the deciding parts; many like ones are counted and the first is shown."""
    if len(deciding) <= 3:
        return "; ".join(part.reason for part in deciding)
    return f"{len(deciding)} of {total} parts {deciding[0].outcome}; for example {deciding[0].reason}"


def _result(spec: CriterionSpec, parts: Sequence[CriterionPart]) -> CriterionResult:
    outcome = combine([part.outcome for part in parts])
    deciding = [part for part in parts if part.outcome is outcome]
    return CriterionResult(
        id=spec.id,
        title=spec.title,
        outcome=outcome,
        reason=_told(deciding, len(parts)),
        parts=tuple(parts),
    )


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
    return _result(spec, parts)


def _gain_cell(rows: pd.DataFrame, cell: tuple[str, str, str]) -> tuple[str, dict[str, float | None], str]:
    split, learner, metric = cell
    name = f"{split}/{learner}/{metric}"
    chosen = rows[(rows["split"] == split) & (rows["learner"] == learner) & (rows["metric"] == metric)]
    row = _one_row(chosen, f"incremental_value {name}")
    numbers = _numbers(row, ("delta", "ci_low", "ci_high"))
    return name, numbers, _short_of_resamples(row)


def _gain_parts(
    evidence: Evidence,
    edge: str,
    cells: Sequence[tuple[str, str, str]],
    judge: Callable[[float, float], Outcome],
) -> list[CriterionPart]:
    rows = evidence.rows("incremental_value", role=PRIMARY_ROLE, edge=edge)
    parts = []
    for cell in cells:
        name, numbers, short = _gain_cell(rows, cell)
        low, high = numbers["ci_low"], numbers["ci_high"]
        if short or low is None or high is None:
            outcome, reason = Outcome.NOT_EVALUABLE, f"{edge} {name}: {short or 'no interval'}"
        else:
            outcome = judge(low, high)
            delta = numbers["delta"]
            shown = "?" if delta is None else f"{delta:+.4f}"
            reason = f"{edge} {name} gain {shown} [{low:+.4f}, {high:+.4f}]"
        parts.append(CriterionPart(name=f"{edge}/{name}", outcome=outcome, reason=reason, numbers=numbers))
    return parts


def _summed_up(result: CriterionResult, text: str) -> CriterionResult:
    """Same result with one sentence in place of a long list of like parts."""
    return CriterionResult(id=result.id, title=result.title, outcome=result.outcome, reason=text, parts=result.parts)


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
    result = _result(spec, _gain_parts(evidence, "attention", cells, judge))
    if any(part.outcome is Outcome.NOT_EVALUABLE for part in result.parts):
        gaps = [part.reason for part in result.parts if part.outcome is Outcome.NOT_EVALUABLE]
        return CriterionResult(
            id=spec.id,
            title=spec.title,
            outcome=Outcome.NOT_EVALUABLE,
            reason=f"{len(gaps)} of {len(cells)} cells cannot be judged; {gaps[0]}",
            parts=result.parts,
        )
    deciding = [part for part in result.parts if part.outcome is result.outcome]
    worst = min(deciding, key=lambda part: part.numbers["ci_low"] or 0.0)
    text = f"{len(deciding)} of {len(cells)} cells {result.outcome}; worst is {worst.reason}"
    return _summed_up(result, text)


def no_gain(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Published claim 8: every AUROC gain is bounded below .005, with power to have seen one."""
    gain = spec.thresholds["gain"]

    def judge(low: float, high: float) -> Outcome:
        if high < gain:
            return Outcome.PASS
        return Outcome.FAIL if low > gain else Outcome.UNDECIDED

    attention = [(split, learner, "auroc") for split, learner in product(SPLITS, LEARNERS)]
    correlation = [("perturbation", "logistic", "auroc")]
    parts = _gain_parts(evidence, "attention", attention, judge)
    parts += _gain_parts(evidence, "correlation", correlation, judge)
    parts += [_power_part(evidence, edge, spec.thresholds["power"]) for edge in ("attention", "correlation")]
    return _result(spec, parts)


def _power_part(evidence: Evidence, edge: str, least: float) -> CriterionPart:
    row = _one_row(evidence.rows("incremental_power", edge=edge), f"incremental_power {edge}")
    power = _number(row["power"])
    if power is None:
        outcome, reason = Outcome.NOT_EVALUABLE, f"{edge}: power was not simulated"
    else:
        outcome = Outcome.PASS if power >= least else Outcome.UNDECIDED
        reason = f"{edge}: power {power:.2f} for a gain of {float(row['true_gain']):.3f}"
    return CriterionPart(name=f"{edge}/power", outcome=outcome, reason=reason, numbers={"power": power})


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
    row = _one_row(rows, f"residual_summary attention/{reference}/{learner}")
    numbers = _numbers(row, ("auroc_raw", "raw_ci_low", "auroc_residual", "kept", "kept_ci_low", "kept_ci_high"))
    outcome, told = _judge_retention(numbers, t, _short_of_resamples(row))
    return CriterionPart(
        name=f"residual/{learner}", outcome=outcome, reason=f"{learner} on {reference}: {told}", numbers=numbers
    )


def null_defects(row: Mapping[Any, Any], t: Mapping[str, float]) -> list[str]:
    """Why a degree-preserving null cannot be read: too few draws, no mixing, invariant statistic, ..."""
    numbers = _numbers(row, ("observed", "null_mean", "null_sd", "z", "mean_jaccard", "tradeable_regulators"))
    lacking = _lacking(numbers)
    if lacking:
        return [f"{', '.join(lacking)} not available {row.get('reason') or ''}".strip()]
    checks = (
        (_short_of_resamples(row, "draws"), True),
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
    row = _one_row(rows, f"degree_null attention/{reference}/curveball")
    numbers = _numbers(row, ("observed", "null_mean", "null_sd", "z", "mean_jaccard"))
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
    result = _result(spec, parts)
    why = evidence.why_absent(spec.tests) if result.outcome is Outcome.NOT_EVALUABLE else ""
    return _summed_up(result, f"{result.reason} ({why})") if why else result


def _part_or_gap(name: str, judge: Callable[[], CriterionPart]) -> CriterionPart:
    """Judged part, or a not evaluable one when its evidence is missing, so that other parts still speak."""
    try:
        return judge()
    except MissingEvidenceError as error:
        return CriterionPart(name=name, outcome=Outcome.NOT_EVALUABLE, reason=str(error), numbers={})


def causally_used(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Criterion d: not evaluable until the causal ablation is built, whatever tables are present."""
    return CriterionResult(
        id=spec.id, title=spec.title, outcome=Outcome.NOT_EVALUABLE, reason="causal ablation not built"
    )


def equal_to_correlation(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Published claim 6 as an equivalence: two one-sided tests within the margin, never a large p."""
    row = _one_row(
        evidence.rows("attention_vs_correlation", role=PRIMARY_ROLE, subset="all"), "attention_vs_correlation"
    )
    numbers = _numbers(row, ("mean_difference", "ci_low", "ci_high", "p_tost", "equivalence_margin"))
    lacking = _lacking(numbers)
    if lacking:
        raise MissingEvidenceError(f"attention_vs_correlation: no {', '.join(lacking)}")
    mean, low, high, p_tost, used = (float(value or 0.0) for value in numbers.values())
    margin = spec.thresholds["margin"]
    if used > margin:
        raise MissingEvidenceError(f"equivalence was tested within {used:g}, the claim needs {margin:g}")
    if p_tost < spec.thresholds["alpha"]:
        outcome = Outcome.PASS
    else:
        outcome = Outcome.FAIL if low > margin or high < -margin else Outcome.UNDECIDED
    reason = (
        f"attention - correlation {mean:+.3f} [{low:+.3f}, {high:+.3f}], "
        f"equivalence p {p_tost:.2g} within {used:g}, n {int(row['n'])}"
    )
    part = CriterionPart(name="equivalence", outcome=outcome, reason=reason, numbers=numbers)
    return _result(spec, [part])


def baselines_win(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Published claim 9: each baseline minus edge is above 0, and its declared row significant in family A."""
    rows = evidence.rows("baseline_differences", role=PRIMARY_ROLE, subset="all")
    parts = []
    pairs = list(product(("correlation", "attention"), BASELINES))
    for (edge, baseline), test_id in zip(pairs, spec.tests, strict=True):
        chosen = rows[(rows["edge"] == edge) & (rows["baseline"] == baseline)]
        row = _one_row(chosen, f"baseline_differences {baseline} against {edge}")
        parts.append(_win_part(row, edge, baseline, _significant_a(evidence, test_id)))
    return _result(spec, parts)


def _significant_a(evidence: Evidence, test_id: str) -> bool:
    row = evidence.tests.loc[evidence.tests["test_id"] == test_id, "significant_a"]
    return len(row) == 1 and bool(row.iloc[0])


def _win_part(row: Mapping[Any, Any], edge: str, baseline: str, significant: bool) -> CriterionPart:
    numbers = _numbers(row, ("mean_difference", "ci_low", "ci_high"))
    low, high, mean = numbers["ci_low"], numbers["ci_high"], numbers["mean_difference"]
    name = f"{baseline} against {edge}"
    short = _short_of_resamples(row)
    if short or low is None or high is None or mean is None:
        reason = f"{name}: {short or 'no interval'}"
        return CriterionPart(name=name, outcome=Outcome.NOT_EVALUABLE, reason=reason, numbers=numbers)
    outcome = Outcome.PASS if low > 0.0 and significant else Outcome.UNDECIDED
    if high < 0.0:
        outcome = Outcome.FAIL
    shown = "significant" if significant else "not significant"
    reason = f"{name} {mean:+.3f} [{low:+.3f}, {high:+.3f}], {shown} in family A"
    return CriterionPart(name=name, outcome=outcome, reason=reason, numbers=numbers)


CRITERIA: Final[Mapping[str, Callable[[Evidence, CriterionSpec], CriterionResult]]] = MappingProxyType(
    {
        "a": beats_baselines,
        "b": adds_value,
        "c": survives_confounds,
        "d": causally_used,
        "equal_to_correlation": equal_to_correlation,
        "no_incremental_gain": no_gain,
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
