"""Domain expectations: small subclasses of Great Expectations, named as sentences.

Importing this module imports Great Expectations (seconds); only `qc_standards.suites` does so, inside its
functions. Thresholds never live here: a standard's YAML states them, and its hash is their version.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import great_expectations.expectations as gxe
from great_expectations.execution_engine import ExecutionEngine, PandasExecutionEngine
from great_expectations.execution_engine.execution_engine import MetricDomainTypes
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider


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


class IntervalShare(TableMetricProvider):  # type: ignore[misc]
    """Share of rows whose estimate lies inside its own interval; NaN anywhere counts as outside."""

    metric_name = "table.qc.interval_share"
    value_keys = ("low", "high", "estimate", "slack")

    @metric_value(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # noqa: N805
        execution_engine: ExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any],
    ) -> float:
        frame, _, _ = execution_engine.get_compute_domain(metric_domain_kwargs, domain_type=MetricDomainTypes.TABLE)
        keys = metric_value_kwargs
        inside = (frame[keys["low"]] - keys["slack"] <= frame[keys["estimate"]]) & (
            frame[keys["estimate"]] <= frame[keys["high"]] + keys["slack"]
        )
        return float(inside.mean()) if len(frame) else 0.0


class ExpectEstimateInsideInterval(BatchExpectation):  # type: ignore[misc]
    """At least ``min_share`` of the estimates lie inside their own interval, up to ``slack``."""

    low: str
    high: str
    estimate: str
    slack: float
    min_share: float
    description: str = "the estimate lies inside its own interval"
    metric_dependencies: ClassVar = ("table.qc.interval_share",)
    success_keys: ClassVar = ("low", "high", "estimate", "slack", "min_share")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine | None = None,
    ) -> dict[str, Any]:
        share = metrics["table.qc.interval_share"]
        return {"success": share >= self.min_share, "result": {"observed_value": share}}


DOMAIN_EXPECTATIONS: Final = {
    "expect_rows_as_declared": ExpectRowsAsDeclared,
    "expect_keys_as_declared": ExpectKeysAsDeclared,
    "expect_keys_unique": ExpectKeysUnique,
    "expect_done_as_requested": ExpectDoneAsRequested,
    "expect_estimate_inside_interval": ExpectEstimateInsideInterval,
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
