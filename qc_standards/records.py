"""Frozen records that every room of the platform exchanges.

What belongs here: the shape of a declared test, a computed result, a standard's result, a claim and a
verdict. What does not: how any of them is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """State of one declared test after an evaluation."""

    RUN = "run"
    SKIPPED = "skipped"
    FAILED = "failed"


class Outcome(StrEnum):
    """State of one criterion, or of one standard."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"
    NOT_EVALUABLE = "not evaluable"


class VerdictState(StrEnum):
    """State of one claim for one release in one study."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    NOT_EVALUABLE = "not evaluable"


class DataOrigin(StrEnum):
    """Where the numbers of a dataset come from, from strongest to weakest."""

    REAL = "real"
    ARCHIVED = "archived"
    SEMI_SYNTHETIC = "semi_synthetic"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSpec:
    """One declared row of the registry: what is tested, before anything is run.

    ``local_family`` is filled for the extended rows only: the family their correction is over. ``source`` says whether
    a row is published or the platform's own.
    """

    __test__ = False

    test_id: str
    analysis_no: int
    analysis: str
    hypothesis: str
    test_type: str
    confirmatory: bool
    family_c_primary: bool
    roles: tuple[str, ...]
    effect_kind: str
    alternative: str
    resampling_unit: str
    comparison: str
    depth: float | None = None
    head_share: float | None = None
    published: Mapping[str, str] = field(default_factory=dict)
    local_family: str = ""
    source: str = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """One computed row for one declared test; a number only where the test was run.

    Numeric fields are ``None`` when there is nothing to report. ``NaN`` is refused so that a missing
    value is always visible as missing.
    """

    __test__ = False

    test_id: str
    status: Status
    reason: str = ""
    statistic: float | None = None
    effect: float | None = None
    effect_kind: str = ""
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    n: int | None = None
    unit: str = ""
    null_name: str = ""
    null_mean: float | None = None
    null_sd: float | None = None
    resamples_requested: int | None = None
    resamples_done: int | None = None
    seed: int | None = None
    settings_used: str = "{}"
    settings_hash: str = ""
    dataset: str = ""
    data_origin: str = ""
    role_fit: str = ""
    release: str = ""
    cells_hash: str = ""
    layer: int | None = None
    direction: str = ""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and math.isnan(value):
                raise ValueError(f"{self.test_id}: {item.name} is NaN; leave it None and say why in `reason`")
        if self.p is not None and not 0.0 <= self.p <= 1.0:
            raise ValueError(f"{self.test_id}: p = {self.p} is not a probability")
        if self.status is not Status.RUN:
            if not self.reason:
                raise ValueError(f"{self.test_id}: a {self.status} test needs a reason")
            numbers = ("statistic", "effect", "ci_low", "ci_high", "p")
            given = [name for name in numbers if getattr(self, name) is not None]
            if given:
                raise ValueError(f"{self.test_id}: a {self.status} test must not carry {', '.join(given)}")


def skipped(test_id: str, reason: str, **facts: Any) -> TestResult:
    """Result of a declared test that had no input: a reason and no number."""
    return TestResult(test_id=test_id, status=Status.SKIPPED, reason=reason, **facts)
