"""Standards evaluated: YAML -> Great Expectations suite -> result, with every vacuous pass closed.

Great Expectations passes on empty tables, all-null columns, empty suites and unknown types. Here every suite
starts with the declared rows, keys and not-null columns; its size and types are checked after building;
evaluated = expected > 0; a missing column is an error and not a QC failure; results are matched by id. Great
Expectations is imported inside functions only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from qc_standards.content import table_hash
from qc_standards.demands import KEY_COLUMN
from qc_standards.demands import expectation_specs as expectation_specs
from qc_standards.evidence import Evidence, MissingEvidenceError, is_missing, select
from qc_standards.metrics import view
from qc_standards.records import Outcome
from qc_standards.standards import Standard
from qc_standards.standards import required_columns as required_columns


class SuiteError(RuntimeError):
    """Great Expectations did not evaluate the suite it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of one expectation: what was observed, or the error that kept it from being evaluated."""

    id: str
    success: bool
    observed: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardResult:
    """Result of one standard. ``applies`` is False where the standard does not concern the release."""

    id: str
    version: str
    title: str
    kind: str
    severity: str
    applies_to: str
    outcome: Outcome
    applies: bool
    reason: str
    content_hash: str
    checks: tuple[CheckResult, ...] = ()

    @property
    def blocking(self) -> bool:
        """Whether the standard applies, is critical and did not pass."""
        return self.applies and self.severity == "critical" and self.outcome is not Outcome.PASS

    @property
    def unexamined(self) -> bool:
        """Whether the standard applies and its table, or a column of it, was not there to be looked at."""
        return self.applies and self.outcome is Outcome.NOT_EVALUABLE and not self.checks


def build_suite(standard: Standard) -> Any:
    """Great Expectations suite of a standard, with its size and types compared to the file.

    Raises `SuiteError` when an expectation was dropped or changed on the way in.
    """
    import great_expectations as gx

    from qc_standards.expectations import expectation_class, row_condition

    _batch_definition()  # a suite can only be built once a context exists
    specs = expectation_specs(standard)
    suite = gx.ExpectationSuite(name=f"{standard.id}-{standard.version}")
    for spec in specs:
        about = {"row_condition": row_condition(spec.where)} if spec.where else {}
        made = expectation_class(spec.type)
        suite.add_expectation(made(**spec.arguments, **about, meta={"id": spec.id}, severity=standard.severity))
    built = sorted((item.meta["id"], item.expectation_type) for item in suite.expectations)
    if built != sorted((spec.id, spec.type) for spec in specs):
        raise SuiteError(f"{standard.id}: suite holds {built}, the file declares {len(specs)} expectations")
    return suite


@functools.cache
def _batch_definition() -> Any:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("qc_standards")
    return source.add_dataframe_asset("metrics").add_batch_definition_whole_dataframe("all")


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A standard, equal to another one of the same file content."""

    content_hash: str
    standard: Standard = field(compare=False)


@functools.lru_cache(maxsize=128)
def _suite(keyed: _Keyed) -> Any:
    return build_suite(keyed.standard)


def _prepared(standard: Standard, frame: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in required_columns(standard) if column not in frame.columns]
    if missing:
        raise MissingEvidenceError(f"{standard.applies_to} lacks column {', '.join(missing)}")
    chosen = select(frame, dict(standard.select), standard.applies_to)
    chosen = chosen.loc[:, list(required_columns(standard))].reset_index(drop=True)
    if standard.keys:
        parts = [chosen[column].astype(str) for column in standard.keys.columns]
        key = parts[0]
        for part in parts[1:]:
            key = key + "|" + part
        chosen = chosen.assign(**{KEY_COLUMN: key})
    return chosen


def _text(value: Any) -> str:
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    return str(getattr(value, "item", lambda: value)())


def _observed(result: Any) -> str:
    found = result.result or {}
    if "partial_missing_list" in found:
        return _set_gap(found)
    if "observed_value" in found and found["observed_value"] is not None:
        return _text(found["observed_value"])
    count, total = found.get("unexpected_count"), found.get("element_count")
    if count is None:
        return "nothing observed"
    sample = _text(found.get("partial_unexpected_list", [])[:3])
    return f"{_text(count)} of {_text(total)} rows" + (f" (for example {sample})" if sample else "")


def _set_gap(found: Mapping[str, Any]) -> str:
    """Values missing from a set and values outside it, sorted: Great Expectations lists them in no order."""
    told = []
    for kind in ("missing", "unexpected"):
        count, listed = int(found.get(f"{kind}_count") or 0), found.get(f"partial_{kind}_list", [])
        shown = sorted(_text(value) for value in listed)[:3] if count == len(listed) else []
        more = f" and {count - len(shown)} more" if shown and count > len(shown) else ""
        if count:
            told.append(f"{count} {kind}" + (f": {', '.join(shown)}{more}" if shown else ""))
    return "; ".join(told) or "all there and no other"


def _error(result: Any) -> str:
    """Message of a metric that could not be computed; empty when the expectation was really evaluated."""
    info = result.exception_info or {}
    entries = [info] if "raised_exception" in info else list(info.values())
    raised = [entry for entry in entries if isinstance(entry, dict) and entry.get("raised_exception")]
    return str(raised[0].get("exception_message", "metric failed")).splitlines()[0] if raised else ""


@dataclass(frozen=True, slots=True)
class _Question:
    """A standard and the frame it is asked about; equal when both have the same content."""

    content: tuple[str, str, str]
    standard: Standard = field(compare=False)
    frame: pd.DataFrame = field(compare=False)


def evaluate_frame(standard: Standard, frame: pd.DataFrame) -> tuple[CheckResult, ...]:
    """Result of every expectation of a standard over one frame, in the standard's own order.

    The same standard over the same content is evaluated once a process: verdict, figures and report of a
    release ask again. Raises `MissingEvidenceError` for a missing column and `SuiteError` unless as many
    expectations were evaluated as declared, and at least one.
    """
    prepared = _prepared(standard, frame)
    kinds = ",".join(str(kind) for kind in prepared.dtypes)
    return _evaluated(_Question((standard.content_hash, kinds, table_hash(prepared)), standard, prepared))


@functools.lru_cache(maxsize=256)
def _evaluated(question: _Question) -> tuple[CheckResult, ...]:
    standard, prepared = question.standard, question.frame
    suite = _suite(_Keyed(standard.content_hash, standard))
    outcome = _batch_definition().get_batch({"dataframe": prepared}).validate(suite, result_format="SUMMARY")
    specs = expectation_specs(standard)
    by_id = {item.expectation_config.meta["id"]: item for item in outcome.results}
    evaluated = int(outcome.statistics["evaluated_expectations"])
    if not 0 < evaluated == len(specs) or set(by_id) != {spec.id for spec in specs}:
        raise SuiteError(f"{standard.id}: {evaluated} expectations evaluated, {len(specs)} declared")
    return tuple(
        CheckResult(
            id=spec.id,
            success=bool(by_id[spec.id].success),
            observed=_observed(by_id[spec.id]),
            error=_error(by_id[spec.id]),
        )
        for spec in specs
    )


def _result(
    standard: Standard, outcome: Outcome, reason: str, checks: tuple[CheckResult, ...] = (), applies: bool = True
) -> StandardResult:
    return StandardResult(
        id=standard.id,
        version=standard.version,
        title=standard.title,
        kind=standard.kind,
        severity=standard.severity,
        applies_to=standard.applies_to,
        outcome=outcome,
        applies=applies,
        reason=reason,
        content_hash=standard.content_hash,
        checks=checks,
    )


def _concerns(standard: Standard, evaluation: Mapping[str, Any]) -> str:
    """Why a standard does not concern this release; empty when it does.

    A condition that is not stated (an absent column, an empty cell) excludes nothing: `MissingEvidenceError`,
    unless another condition excludes the release anyway.
    """
    stated = {column: evaluation.get(column) for column in standard.applies_when}
    for column, value in stated.items():
        if not is_missing(value) and value not in standard.applies_when[column]:
            return f"does not apply where {column} is {value}"
    unstated = [column for column, value in stated.items() if is_missing(value)]
    if unstated:
        raise MissingEvidenceError(f"table evaluation does not state {', '.join(unstated)}")
    return ""


def _why_absent(standard: Standard, evidence: Evidence, error: MissingEvidenceError) -> str:
    """Message of missing evidence, with the reasons of the battery's rows where the standard names them."""
    why = evidence.why_absent(standard.tests)
    return f"{error} ({why})" if why else str(error)


def _judged(standard: Standard, checks: tuple[CheckResult, ...]) -> StandardResult:
    errors = [f"{check.id}: {check.error}" for check in checks if check.error]
    if errors:
        return _result(standard, Outcome.NOT_EVALUABLE, "; ".join(errors), checks)
    failed = [f"{check.id} ({check.observed})" for check in checks if not check.success]
    if failed:
        return _result(standard, Outcome.FAIL, f"{'; '.join(failed)}. {standard.how_to_fix}", checks)
    return _result(standard, Outcome.PASS, f"{len(checks)} expectations met", checks)


def judge_frame(standard: Standard, frame: pd.DataFrame) -> StandardResult:
    """Outcome of one standard over a frame with the columns of its ``applies_to``, whoever made the frame.

    Raises `MissingEvidenceError` for a missing column.
    """
    return _judged(standard, evaluate_frame(standard, frame))


def judge_standard(standard: Standard, evidence: Evidence) -> StandardResult:
    """Outcome of one standard for one evaluation: pass, fail, or not evaluable with the error."""
    try:
        idle = _concerns(standard, evidence.evaluation) if standard.applies_when else ""
        if idle:
            return _result(standard, Outcome.NOT_EVALUABLE, idle, applies=False)
        return judge_frame(standard, view(evidence, standard.applies_to))
    except MissingEvidenceError as error:
        return _result(standard, Outcome.NOT_EVALUABLE, _why_absent(standard, evidence, error))
