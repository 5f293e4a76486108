"""Domain expectations: small subclasses of Great Expectations, named as sentences.

Importing this module imports Great Expectations (seconds); only `qc_standards.suites` does so, inside its
functions. Thresholds never live here: a standard's YAML states them, and its hash is their version.
"""

from __future__ import annotations

import functools
import operator
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.execution_engine import ExecutionEngine, PandasExecutionEngine
from great_expectations.execution_engine.execution_engine import MetricDomainTypes
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.expectations.row_conditions import Column, RowConditionType

from qc_standards.standards import Condition


class ExpectRowsAsDeclared(gxe.ExpectTableRowCountToBeBetween):  # type: ignore[misc]
    """Exactly the declared rows are there; without this most expectations pass on an empty table."""

    description: str = "exactly the declared rows are there"


class ExpectKeysAsDeclared(gxe.ExpectColumnDistinctValuesToEqualSet):  # type: ignore[misc]
    """Every declared combination is there and no other."""

    description: str = "every declared combination is there and no other"


class ExpectKeysUnique(gxe.ExpectColumnValuesToBeUnique):  # type: ignore[misc]
    """No combination is reported twice."""

    description: str = "no combination is reported twice"


class ExpectDoneAsRequested(gxe.ExpectColumnPairValuesToBeEqual):  # type: ignore[misc]
    """As many resamples, draws or hashes as asked for; rows with a missing number count as failures."""

    ignore_row_if: str = "neither"
    description: str = "what was done equals what was requested"


class _FrameMetric(TableMetricProvider):  # type: ignore[misc]
    """One number of the rows that an expectation is about, all of them where it names none.

    None where it names rows and the table has no such row: that is met, as it is for expectations about cells. A
    table without any row fails by its number of rows, and by the number here.
    """

    domain_keys = ("batch_id", "table", "row_condition", "condition_parser")

    @classmethod
    @abstractmethod
    def number(cls, frame: pd.DataFrame, keys: Mapping[str, Any]) -> float:
        """Return the number of a frame; ``keys`` are the arguments named in ``value_keys``."""

    @metric_value(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # noqa: N805
        execution_engine: ExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any],
    ) -> float | None:
        frame, _, _ = execution_engine.get_compute_domain(metric_domain_kwargs, domain_type=MetricDomainTypes.TABLE)
        if frame.empty and metric_domain_kwargs.get("row_condition") is not None:
            return None
        return cls.number(frame, metric_value_kwargs)


class IntervalShare(_FrameMetric):
    """Share of rows whose estimate lies inside its own interval; NaN anywhere counts as outside."""

    metric_name = "table.qc.interval_share"
    value_keys = ("low", "high", "estimate", "slack")

    @classmethod
    def number(cls, frame: pd.DataFrame, keys: Mapping[str, Any]) -> float:
        """Return the share; 0 without rows."""
        inside = (frame[keys["low"]] - keys["slack"] <= frame[keys["estimate"]]) & (
            frame[keys["estimate"]] <= frame[keys["high"]] + keys["slack"]
        )
        return float(inside.mean()) if len(frame) else 0.0


class OutsideMargin(_FrameMetric):
    """Rows whose interval reaches the margin on either side; NaN anywhere counts as reaching it."""

    metric_name = "table.qc.outside_margin"
    value_keys = ("low", "high", "margin")

    @classmethod
    def number(cls, frame: pd.DataFrame, keys: Mapping[str, Any]) -> float:
        """Return the number of rows."""
        margin = frame[keys["margin"]]
        return float((~((-margin < frame[keys["low"]]) & (frame[keys["high"]] < margin))).sum())


class ChangeGap(_FrameMetric):
    """Largest gap between a reported relative change and |before - after| / max(|before|, floor)."""

    metric_name = "table.qc.change_gap"
    value_keys = ("before", "after", "change", "floor")

    @classmethod
    def number(cls, frame: pd.DataFrame, keys: Mapping[str, Any]) -> float:
        """Return the gap; infinite where a number is missing."""
        before, after = frame[keys["before"]], frame[keys["after"]]
        gaps = ((before - after).abs() / before.abs().clip(lower=keys["floor"]) - frame[keys["change"]]).abs()
        return float(gaps.fillna(float("inf")).max()) if len(frame) else 0.0


class LargestShare(_FrameMetric):
    """Largest share, over groups, of rows where a column has the value."""

    metric_name = "table.qc.largest_share"
    value_keys = ("groups", "column", "value")

    @classmethod
    def number(cls, frame: pd.DataFrame, keys: Mapping[str, Any]) -> float:
        """Return the share; 1 without rows."""
        if frame.empty:
            return 1.0
        hit = frame[keys["column"]] == keys["value"]
        return float(hit.groupby([frame[name] for name in keys["groups"]]).mean().max())


class IncompleteGroups(_FrameMetric):
    """Groups in which a column does not take every value of the set."""

    metric_name = "table.qc.incomplete_groups"
    value_keys = ("groups", "column", "value_set")

    @classmethod
    def number(cls, frame: pd.DataFrame, keys: Mapping[str, Any]) -> float:
        """Return the number of groups."""
        grouped = frame.groupby(list(keys["groups"]), sort=False, dropna=False)[keys["column"]]
        return float(sum(not set(keys["value_set"]) <= set(values) for _, values in grouped))


class FewestValues(_FrameMetric):
    """Smallest number, over groups, of different values of a column."""

    metric_name = "table.qc.fewest_values"
    value_keys = ("groups", "column")

    @classmethod
    def number(cls, frame: pd.DataFrame, keys: Mapping[str, Any]) -> float:
        """Return the number; 0 without rows."""
        counts = frame.groupby(list(keys["groups"]), sort=False, dropna=False)[keys["column"]].nunique()
        return float(counts.min()) if len(counts) else 0.0


class SumGap(_FrameMetric):
    """Largest gap between the sum of the columns of a row and the total."""

    metric_name = "table.qc.sum_gap"
    value_keys = ("columns", "total")

    @classmethod
    def number(cls, frame: pd.DataFrame, keys: Mapping[str, Any]) -> float:
        """Return the gap; infinite where a number is missing."""
        sums = frame[list(keys["columns"])].sum(axis=1, skipna=False)
        return float((sums - keys["total"]).abs().fillna(float("inf")).max()) if len(frame) else 0.0


class _FrameExpectation(BatchExpectation):  # type: ignore[misc]
    """One number of the frame, compared with the limit its subclass names."""

    row_condition: RowConditionType = None
    condition_parser: str | None = None
    domain_keys: ClassVar = ("batch_id", "row_condition", "condition_parser")
    told: ClassVar[str]
    # what the number must be to its limit: an argument of the expectation, by name, or a fixed number
    compare: ClassVar[Callable[[float, float], bool]]
    limit: ClassVar[str | float]

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine | None = None,
    ) -> dict[str, Any]:
        number = metrics[self.metric_dependencies[0]]
        if number is None:
            return {"success": True, "result": {"observed_value": "no such row"}}
        limit = getattr(self, self.limit) if isinstance(self.limit, str) else self.limit
        return {
            "success": bool(type(self).compare(number, limit)),
            "result": {"observed_value": f"{self.told} {number:.6g}"},
        }


class ExpectEstimateInsideInterval(_FrameExpectation):
    """At least ``min_share`` of the estimates lie inside their own interval, up to ``slack``."""

    low: str
    high: str
    estimate: str
    slack: float
    min_share: float
    description: str = "the estimate lies inside its own interval"
    told: ClassVar = "share of rows inside"
    metric_dependencies: ClassVar = (IntervalShare.metric_name,)
    success_keys: ClassVar = (*IntervalShare.value_keys, "min_share")
    compare: ClassVar = operator.ge
    limit: ClassVar = "min_share"


class ExpectIntervalInsideMargin(_FrameExpectation):
    """Every interval lies between minus and plus its margin; an interval that is wider shows no equality."""

    low: str
    high: str
    margin: str
    description: str = "the interval lies inside the margin"
    told: ClassVar = "intervals that reach the margin"
    metric_dependencies: ClassVar = (OutsideMargin.metric_name,)
    success_keys: ClassVar = OutsideMargin.value_keys
    compare: ClassVar = operator.eq
    limit: ClassVar = 0


class ExpectRelativeChangeAsDefined(_FrameExpectation):
    """The reported change is |before - after| / max(|before|, floor), up to ``tolerance``."""

    before: str
    after: str
    change: str
    floor: float
    tolerance: float
    description: str = "the reported change is the one of its two numbers"
    told: ClassVar = "largest gap"
    metric_dependencies: ClassVar = (ChangeGap.metric_name,)
    success_keys: ClassVar = (*ChangeGap.value_keys, "tolerance")
    compare: ClassVar = operator.le
    limit: ClassVar = "tolerance"


class ExpectShareInEveryGroupAtMost(_FrameExpectation):
    """In every group at most ``max_share`` of the rows have the value."""

    groups: Sequence[str]
    column: str
    value: bool | int | str
    max_share: float
    description: str = "in every group at most so many rows have the value"
    told: ClassVar = "largest share"
    metric_dependencies: ClassVar = (LargestShare.metric_name,)
    success_keys: ClassVar = (*LargestShare.value_keys, "max_share")
    compare: ClassVar = operator.le
    limit: ClassVar = "max_share"


class ExpectValuesInEveryGroup(_FrameExpectation):
    """In every group the column takes all values of the set, and may take others."""

    groups: Sequence[str]
    column: str
    value_set: Sequence[Any]
    description: str = "every group has all the values"
    told: ClassVar = "groups without all values"
    metric_dependencies: ClassVar = (IncompleteGroups.metric_name,)
    success_keys: ClassVar = IncompleteGroups.value_keys
    compare: ClassVar = operator.eq
    limit: ClassVar = 0


class ExpectDifferentValuesInEveryGroup(_FrameExpectation):
    """In every group the column takes at least ``min_value`` different values."""

    groups: Sequence[str]
    column: str
    min_value: int
    description: str = "every group has enough different values"
    told: ClassVar = "fewest different values"
    metric_dependencies: ClassVar = (FewestValues.metric_name,)
    success_keys: ClassVar = (*FewestValues.value_keys, "min_value")
    compare: ClassVar = operator.ge
    limit: ClassVar = "min_value"


class ExpectColumnsToAddUp(_FrameExpectation):
    """The columns of every row add up to ``total``, up to ``tolerance``."""

    columns: Sequence[str]
    total: float
    tolerance: float
    description: str = "the columns add up to their total"
    told: ClassVar = "largest gap"
    metric_dependencies: ClassVar = (SumGap.metric_name,)
    success_keys: ClassVar = (*SumGap.value_keys, "tolerance")
    compare: ClassVar = operator.le
    limit: ClassVar = "tolerance"


DOMAIN_EXPECTATIONS: Final = {
    "expect_rows_as_declared": ExpectRowsAsDeclared,
    "expect_keys_as_declared": ExpectKeysAsDeclared,
    "expect_keys_unique": ExpectKeysUnique,
    "expect_done_as_requested": ExpectDoneAsRequested,
    "expect_estimate_inside_interval": ExpectEstimateInsideInterval,
    "expect_interval_inside_margin": ExpectIntervalInsideMargin,
    "expect_relative_change_as_defined": ExpectRelativeChangeAsDefined,
    "expect_share_in_every_group_at_most": ExpectShareInEveryGroupAtMost,
    "expect_values_in_every_group": ExpectValuesInEveryGroup,
    "expect_different_values_in_every_group": ExpectDifferentValuesInEveryGroup,
    "expect_columns_to_add_up": ExpectColumnsToAddUp,
}


def expectation_class(name: str) -> Any:
    """Class of an expectation type, domain or core; an unknown type raises instead of being dropped."""
    if name in DOMAIN_EXPECTATIONS:
        return DOMAIN_EXPECTATIONS[name]
    camel = "".join(part.capitalize() for part in name.split("_"))
    found = getattr(gxe, camel, None)
    if found is None:
        raise ValueError(f"{name} is neither a domain expectation nor one of Great Expectations' core ones")
    return found


_COMPARED: Final = {
    "above": operator.gt,
    "at_least": operator.ge,
    "at_most": operator.le,
    "below": operator.lt,
}


def row_condition(conditions: Sequence[Condition]) -> Any:
    """Great Expectations row condition that holds where all conditions do; None for none."""
    made = []
    for item in conditions:
        column = Column(item.column)
        if len(item.values) > 1:
            made.append(column.is_in(item.values))
        else:
            made.append(_COMPARED.get(item.operator, operator.eq)(column, item.values[0]))
    return functools.reduce(operator.and_, made) if made else None
