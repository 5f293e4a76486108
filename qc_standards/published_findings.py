"""Published findings as criteria: the sentences of the paper that a release may repeat or contradict.

What belongs here: the definitions behind ``equal_to_correlation``, ``no_incremental_gain`` and
``baselines_win``. What does not: the four criteria of the headline claim (`qc_standards.criteria`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from qc_standards.claims import CriterionSpec
from qc_standards.criterion_parts import (
    BASELINES,
    LEARNERS,
    SPLITS,
    CriterionPart,
    CriterionResult,
    conjunction,
    gain_parts,
    lacking_of,
    number_or_none,
    numbers_of,
    one_row,
    short_of_resamples,
)
from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError
from qc_standards.records import Outcome


def no_gain(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Published claim 8: every AUROC gain is bounded below .005, with power to have seen one."""
    gain = spec.thresholds["gain"]

    def judge(low: float, high: float) -> Outcome:
        if high < gain:
            return Outcome.PASS
        return Outcome.FAIL if low > gain else Outcome.UNDECIDED

    attention = [(split, learner, "auroc") for split, learner in product(SPLITS, LEARNERS)]
    correlation = [("perturbation", "logistic", "auroc")]
    parts = gain_parts(evidence, "attention", attention, judge)
    parts += gain_parts(evidence, "correlation", correlation, judge)
    parts += [_power_part(evidence, edge, spec.thresholds["power"]) for edge in ("attention", "correlation")]
    return conjunction(spec, parts)


def _power_part(evidence: Evidence, edge: str, least: float) -> CriterionPart:
    row = one_row(evidence.rows("incremental_power", edge=edge), f"incremental_power {edge}")
    power = number_or_none(row["power"])
    if power is None:
        outcome, reason = Outcome.NOT_EVALUABLE, f"{edge}: power was not simulated"
    else:
        outcome = Outcome.PASS if power >= least else Outcome.UNDECIDED
        reason = f"{edge}: power {power:.2f} for a gain of {float(row['true_gain']):.3f}"
    return CriterionPart(name=f"{edge}/power", outcome=outcome, reason=reason, numbers={"power": power})


def equal_to_correlation(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Published claim 6 as an equivalence: two one-sided tests within the margin, never a large p."""
    row = one_row(
        evidence.rows("attention_vs_correlation", role=PRIMARY_ROLE, subset="all"), "attention_vs_correlation"
    )
    numbers = numbers_of(row, ("mean_difference", "ci_low", "ci_high", "p_tost", "equivalence_margin"))
    lacking = lacking_of(numbers)
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
    return conjunction(spec, [part])


def baselines_win(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Published claim 9: each baseline minus edge is above 0, and its declared row significant in family A."""
    rows = evidence.rows("baseline_differences", role=PRIMARY_ROLE, subset="all")
    parts = []
    pairs = list(product(("correlation", "attention"), BASELINES))
    for (edge, baseline), test_id in zip(pairs, spec.tests, strict=True):
        chosen = rows[(rows["edge"] == edge) & (rows["baseline"] == baseline)]
        row = one_row(chosen, f"baseline_differences {baseline} against {edge}")
        parts.append(_win_part(row, edge, baseline, _significant_a(evidence, test_id)))
    return conjunction(spec, parts)


def _significant_a(evidence: Evidence, test_id: str) -> bool:
    row = evidence.tests.loc[evidence.tests["test_id"] == test_id, "significant_a"]
    return len(row) == 1 and bool(row.iloc[0])


def _win_part(row: Mapping[Any, Any], edge: str, baseline: str, significant: bool) -> CriterionPart:
    numbers = numbers_of(row, ("mean_difference", "ci_low", "ci_high"))
    low, high, mean = numbers["ci_low"], numbers["ci_high"], numbers["mean_difference"]
    name = f"{baseline} against {edge}"
    short = short_of_resamples(row)
    if short or low is None or high is None or mean is None:
        reason = f"{name}: {short or 'no interval'}"
        return CriterionPart(name=name, outcome=Outcome.NOT_EVALUABLE, reason=reason, numbers=numbers)
    outcome = Outcome.PASS if low > 0.0 and significant else Outcome.UNDECIDED
    if high < 0.0:
        outcome = Outcome.FAIL
    shown = "significant" if significant else "not significant"
    reason = f"{name} {mean:+.3f} [{low:+.3f}, {high:+.3f}], {shown} in family A"
    return CriterionPart(name=name, outcome=outcome, reason=reason, numbers=numbers)
