"""What criteria are made of: their parts, how parts combine, and how one table row is read.

What belongs here: pieces that the four criteria and the published findings share. What does not: the
definition of any criterion (`qc_standards.criteria`, `qc_standards.published_findings`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from qc_standards.claims import CriterionSpec
from qc_standards.evidence import PRIMARY_ROLE, Evidence, MissingEvidenceError
from qc_standards.records import Outcome

BASELINES: Final = ("variance", "mean", "one_minus_dropout")
SPLITS: Final = ("perturbation", "target_gene", "joint")
LEARNERS: Final = ("logistic", "boosting")
GAIN_METRICS: Final = ("auroc", "auprc", "r_precision")


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


def number_or_none(value: Any) -> float | None:
    """Number in a table cell, or None where the cell is empty or not a number."""
    number = math.nan if value is None or value is pd.NA else float(value)
    return None if math.isnan(number) else number


def numbers_of(row: Mapping[Any, Any], columns: Sequence[str]) -> dict[str, float | None]:
    """Numbers of the named columns of one row; None where there is none."""
    return {column: number_or_none(row[column]) for column in columns}


def one_row(frame: pd.DataFrame, what: str) -> dict[Any, Any]:
    """The only row of ``frame``.

    Raises
    ------
    MissingEvidenceError
        When there is none or more than one; ``what`` names the evidence.
    """
    if len(frame) != 1:
        raise MissingEvidenceError(f"{what}: {len(frame)} rows instead of 1")
    return dict(frame.iloc[0].to_dict())


def lacking_of(numbers: Mapping[str, float | None]) -> list[str]:
    """Names whose number is missing."""
    return [name for name, value in numbers.items() if value is None]


def short_of_resamples(row: Mapping[Any, Any], kind: str = "resamples") -> str:
    """Why a row rests on too few resamples or draws, or an empty string when all requested were done."""
    requested, done = number_or_none(row[f"{kind}_requested"]), number_or_none(row[f"{kind}_done"])
    if requested is None or done is None or done < max(requested, 1.0):
        return f"{kind} done {done} of {requested}"
    return ""


def _told(deciding: Sequence[CriterionPart], total: int) -> str:
    """Reasons of the deciding parts; many like ones are counted and the first is shown."""
    if len(deciding) <= 3:
        return "; ".join(part.reason for part in deciding)
    return f"{len(deciding)} of {total} parts {deciding[0].outcome}; for example {deciding[0].reason}"


def conjunction(spec: CriterionSpec, parts: Sequence[CriterionPart]) -> CriterionResult:
    """Result of a criterion that needs all of ``parts``; the reasons of the deciding ones are told."""
    outcome = combine([part.outcome for part in parts])
    deciding = [part for part in parts if part.outcome is outcome]
    return CriterionResult(
        id=spec.id,
        title=spec.title,
        outcome=outcome,
        reason=_told(deciding, len(parts)),
        parts=tuple(parts),
    )


def summed_up(result: CriterionResult, text: str) -> CriterionResult:
    """Same result with one sentence in place of a long list of like parts."""
    return CriterionResult(id=result.id, title=result.title, outcome=result.outcome, reason=text, parts=result.parts)


def _gain_cell(rows: pd.DataFrame, cell: tuple[str, str, str]) -> tuple[str, dict[str, float | None], str]:
    split, learner, metric = cell
    name = f"{split}/{learner}/{metric}"
    chosen = rows[(rows["split"] == split) & (rows["learner"] == learner) & (rows["metric"] == metric)]
    row = one_row(chosen, f"incremental_value {name}")
    numbers = numbers_of(row, ("delta", "ci_low", "ci_high"))
    return name, numbers, short_of_resamples(row)


def gain_parts(
    evidence: Evidence,
    edge: str,
    cells: Sequence[tuple[str, str, str]],
    judge: Callable[[float, float], Outcome],
) -> list[CriterionPart]:
    """One part for each (split, learner, metric) cell of ``incremental_value``, judged by its interval.

    ``judge`` receives the lower and upper bound of the gain. A cell short of resamples or without an interval is
    not evaluable.
    """
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
