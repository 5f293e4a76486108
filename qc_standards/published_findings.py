"""Published findings as criteria: the sentences of the paper that a release may repeat or contradict.

What belongs here: the definitions behind ``equal_to_correlation``, ``no_incremental_gain``,
``matched_gain_null`` and ``baselines_win``. What does not: the four criteria of the headline claim
(`qc_standards.criteria`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, Final

import pandas as pd

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
from qc_standards.equality_metrics import flag_differs
from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError, is_missing
from qc_standards.records import Outcome

MATCHED_METRICS: Final = ("auroc", "auprc")


def no_gain(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Published claim 8: every AUROC gain is bounded below .005, with power to have seen one.

    The bound is one-sided: a loss is no gain. Without a readable equivalence test (missing, contradicting its
    flag, within a wider margin) no gain counts as absent; a clear one still fails.
    """
    gain = spec.thresholds["gain"]

    def judge(low: float, high: float) -> Outcome:
        if high < gain:
            return Outcome.PASS
        return Outcome.FAIL if low > gain else Outcome.UNDECIDED

    attention = [(split, learner, "auroc") for split, learner in product(SPLITS, LEARNERS)]
    correlation = [("perturbation", "logistic", "auroc")]
    parts = []
    for edge, cells in (("attention", attention), ("correlation", correlation)):
        rows = evidence.rows("incremental_value", role=PRIMARY_ROLE, edge=edge, metric="auroc")
        judged = gain_parts(evidence, edge, cells, judge)
        parts += [_with_equivalence(part, _cell_of(rows, cell), gain) for part, cell in zip(judged, cells, strict=True)]
    parts += [_power_part(evidence, edge, spec.thresholds["power"]) for edge in ("attention", "correlation")]
    return conjunction(spec, parts)


def _cell_of(rows: pd.DataFrame, cell: tuple[str, str, str]) -> Mapping[Any, Any]:
    split, learner, _ = cell
    return one_row(
        rows[(rows["split"] == split) & (rows["learner"] == learner)], f"incremental_value {split}/{learner}"
    )


def _equivalence_defect(row: Mapping[Any, Any], margin: float) -> str:
    """Why the equivalence test of a gain cannot be read; empty when it can."""
    numbers = numbers_of(row, ("p_equivalent", "margin"))
    lacking = lacking_of(numbers)
    if lacking:
        return f"no {', '.join(lacking)}"
    used = numbers["margin"] or 0.0
    if not 0.0 < used <= margin:
        return f"equivalence was tested within {used:g}, the claim needs {margin:g}"
    return "the flag of equivalence contradicts its p" if flag_differs(row["equivalent"], row["p_equivalent"]) else ""


def _with_equivalence(part: CriterionPart, row: Mapping[Any, Any], margin: float) -> CriterionPart:
    """Part of a gain with its equivalence test: without a readable one it can fail and not pass."""
    numbers = {**part.numbers, **numbers_of(row, ("p_equivalent", "margin"))}
    defect = _equivalence_defect(row, margin)
    if defect:
        outcome = part.outcome if part.outcome is Outcome.FAIL else Outcome.NOT_EVALUABLE
        return CriterionPart(name=part.name, outcome=outcome, reason=f"{part.reason}; {defect}", numbers=numbers)
    if part.outcome is Outcome.NOT_EVALUABLE:
        return part
    told = "equal to none" if bool(row["equivalent"]) else "not shown equal to none"
    reason = f"{part.reason}, {told} (equivalence p {float(row['p_equivalent']):.2g} within {float(row['margin']):g})"
    return CriterionPart(name=part.name, outcome=part.outcome, reason=reason, numbers=numbers)


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
    if low > margin or high < -margin:
        outcome = Outcome.FAIL
    elif flag_differs(row["equivalent"], p_tost):
        raise MissingEvidenceError("attention_vs_correlation: the flag of equivalence contradicts its p")
    else:
        outcome = Outcome.PASS if p_tost < spec.thresholds["alpha"] else Outcome.UNDECIDED
    reason = (
        f"attention - correlation {mean:+.3f} [{low:+.3f}, {high:+.3f}], "
        f"equivalence p {p_tost:.2g} within {used:g}, n {int(row['n'])}"
    )
    part = CriterionPart(name="equivalence", outcome=outcome, reason=reason, numbers=numbers)
    return conjunction(spec, [part])


def matched_gain_null(evidence: Evidence, spec: CriterionSpec) -> CriterionResult:
    """Published claim 14: on balanced matched pairs the AUROC gain of attention is equivalent to none.

    Matching that left an imbalance makes it not evaluable in both directions: what looks like a gain may be the
    covariate. The AUPRC gain must be reported; one clearly above the margin keeps the null undecided.
    """
    rows = evidence.rows("matched_value", role=PRIMARY_ROLE, edge="attention")
    chosen = {metric: one_row(rows[rows["metric"] == metric], f"matched_value {metric}") for metric in MATCHED_METRICS}
    unbalanced = [name for name, row in chosen.items() if is_missing(row["balanced"]) or not bool(row["balanced"])]
    if unbalanced:
        raise MissingEvidenceError("matching left an imbalance (matched_balance): the gain may not be read as balanced")
    margin, alpha = spec.thresholds["margin"], spec.thresholds["alpha"]
    parts = [_matched_part(name, row, margin, alpha) for name, row in chosen.items()]
    return conjunction(spec, parts)


def _matched_part(metric: str, row: Mapping[Any, Any], margin: float, alpha: float) -> CriterionPart:
    numbers = numbers_of(row, ("delta", "ci_low", "ci_high", "p_equivalent", "margin"))
    name, lacking = f"attention/matched/{metric}", lacking_of(numbers)
    missing = short_of_resamples(row) or (f"no {', '.join(lacking)}" if lacking else "")
    if missing:
        reason = f"matched {metric} gain: {missing}"
        return CriterionPart(name=name, outcome=Outcome.NOT_EVALUABLE, reason=reason, numbers=numbers)
    delta, low, high, p, used = (float(value or 0.0) for value in numbers.values())
    defect = _equivalence_defect(row, margin)
    if low > margin:
        outcome = Outcome.FAIL if metric == "auroc" else Outcome.UNDECIDED
    elif defect:
        outcome = Outcome.NOT_EVALUABLE
    else:
        outcome = Outcome.PASS if metric == "auprc" or p < alpha else Outcome.UNDECIDED
    reason = (
        f"{metric} gain on {int(row['n_pairs'])} matched pairs {delta:+.4f} [{low:+.4f}, {high:+.4f}], "
        f"equivalence p {p:.2g} within {used:g}{'; ' + defect if defect else ''}"
    )
    return CriterionPart(name=name, outcome=outcome, reason=reason, numbers=numbers)


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
