"""Metrics view of every statement of equality: which numbers are called equal, within what, on which test.

What belongs here: finding the statements in the result tables. What does not: the limits of a margin, which the
claims file declares, or judging (`qc_standards.suites`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from qc_standards.claims import claims_registry
from qc_standards.evidence import Evidence, MissingEvidenceError, is_missing

EQUIVALENT_BELOW: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A table that states equality: the columns that hold it, its keys, and the criterion that declares its margin."""

    difference: str
    margin: str
    p: str
    keys: tuple[str, ...]
    declared: tuple[str, str]
    metrics: tuple[str, ...] = ()


_GAIN_KEYS: Final = ("role", "dataset", "edge")
SOURCES: Final[Mapping[str, _Source]] = MappingProxyType(
    {
        "attention_vs_correlation": _Source(
            difference="mean_difference",
            margin="equivalence_margin",
            p="p_tost",
            keys=("role", "dataset", "subset"),
            declared=("equal_to_correlation", "margin"),
        ),
        "incremental_value": _Source(
            difference="delta",
            margin="margin",
            p="p_equivalent",
            keys=(*_GAIN_KEYS, "split", "learner"),
            declared=("no_incremental_gain", "gain"),
            metrics=("auroc",),
        ),
        "tf_strata": _Source(
            difference="delta",
            margin="margin",
            p="p_equivalent",
            keys=(*_GAIN_KEYS, "stratum"),
            declared=("no_incremental_gain", "gain"),
        ),
        "matched_value": _Source(
            difference="delta",
            margin="margin",
            p="p_equivalent",
            keys=(*_GAIN_KEYS, "metric"),
            declared=("matched_gain_null", "margin"),
        ),
    }
)
COLUMNS: Final = (
    *("source", "statement", "difference", "ci_low", "ci_high", "margin", "declared_margin", "p_equivalent"),
    *("equivalent", "flag_differs"),
)


def flag_differs(flag: Any, p: Any) -> bool:
    """Whether a flag of equivalence is missing or is not the one its p gives; without a p only "no" is true."""
    return is_missing(flag) or bool(flag) != (not is_missing(p) and float(p) < EQUIVALENT_BELOW)


def equivalence_audit(evidence: Evidence) -> pd.DataFrame:
    """One row for each statement that two scores are, or are not, equal, whatever table makes it.

    Attention against correlation in each gene subset, every AUROC gain over gene-level features, the gains of
    both perturbation strata and those on matched pairs. ``declared_margin`` is the margin that the claims file
    declares for such a statement; ``flag_differs`` is 1 where the flag is not the one its p gives. A row without
    any number that calls nothing equal (a stratum too small, a subset nobody scored) states nothing.

    Raises
    ------
    MissingEvidenceError
        When no table states anything, or one lacks a column.
    """
    found = [
        line
        for name, source in SOURCES.items()
        if name in evidence.tables
        for line in _statements(name, source, evidence.table(name))
    ]
    if not found:
        raise MissingEvidenceError(f"no table states a comparison: {', '.join(SOURCES)} are absent or hold no number")
    return pd.DataFrame(found, columns=list(COLUMNS))


def _statements(name: str, source: _Source, frame: pd.DataFrame) -> list[dict[str, Any]]:
    criterion, threshold = source.declared
    declared = claims_registry().criteria[criterion].thresholds[threshold]
    lines = []
    for row in frame.to_dict(orient="records"):
        if source.metrics and row["metric"] not in source.metrics:
            continue
        flag, p = row["equivalent"], row[source.p]
        numbers = [row[column] for column in (source.difference, "ci_low", "ci_high", source.p)]
        if all(is_missing(value) for value in numbers) and not is_missing(flag) and not bool(flag):
            continue
        lines.append(
            {
                "source": name,
                "statement": " ".join([name, *(str(row[key]) for key in source.keys)]),
                "difference": row[source.difference],
                "ci_low": row["ci_low"],
                "ci_high": row["ci_high"],
                "margin": row[source.margin],
                "declared_margin": declared,
                "p_equivalent": p,
                "equivalent": None if is_missing(flag) else bool(flag),
                "flag_differs": int(flag_differs(flag, p)),
            }
        )
    return lines
