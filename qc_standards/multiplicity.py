"""Benjamini-Hochberg over the declared families, and the 153-row results frame.

The family size is the declared one (A 95, B 153, C 27), always. A test that was skipped, failed or has no
p enters at p = 1 and is never significant, so removing evidence can open nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from qc_standards.records import Status, TestResult, TestSpec
from qc_standards.registry import FAMILY_SIZES, Family, declared_tests, in_family

ALPHA: Final = 0.05

_INTEGERS: Final = ("n", "resamples_requested", "resamples_done", "seed", "layer")
_FLOATS: Final = ("statistic", "effect", "ci_low", "ci_high", "p", "null_mean", "null_sd")
RESULT_COLUMNS: Final = tuple(item.name for item in fields(TestResult))
ADDED_COLUMNS: Final = (
    "q_a",
    "q_b",
    "q_c",
    "significant_a",
    "significant_b",
    "significant_c",
    "q_run_only",
    "row_hash",
)
FRAME_COLUMNS: Final = RESULT_COLUMNS + ADDED_COLUMNS


class EmittedTestsError(ValueError):
    """The emitted tests are not exactly the declared ones."""


def benjamini_hochberg(p: ArrayLike, family_size: int) -> NDArray[np.float64]:
    """Adjusted p (q) of each value within a family of declared size.

    ``q_(i) = min over j >= i of m p_(j) / j``, clipped to 1, with m = ``family_size``. Values that are NaN,
    and family members that are not in ``p`` at all, count as p = 1. Ties share a q.

    Examples
    --------
    >>> [round(float(q), 3) for q in benjamini_hochberg([0.01, float("nan"), 0.02], 4)]
    [0.04, 1.0, 0.04]
    """
    values = np.asarray(p, dtype=np.float64).ravel()
    if values.size > family_size:
        raise ValueError(f"{values.size} p-values in a family declared with {family_size} members")
    filled = np.where(np.isnan(values), 1.0, values)
    if ((filled < 0.0) | (filled > 1.0)).any():
        raise ValueError("a p-value lies outside 0..1")
    padded = np.concatenate([filled, np.ones(family_size - values.size)])
    order = np.argsort(padded, kind="stable")
    stepped = padded[order] * family_size / np.arange(1, family_size + 1)
    lowest = np.minimum.accumulate(stepped[::-1])[::-1]
    adjusted = np.empty(family_size)
    adjusted[order] = np.minimum(lowest, 1.0)
    return adjusted[: values.size]


def check_emitted(ids: Iterable[str], declared: Sequence[str], what: str = "results") -> None:
    """Raise `EmittedTestsError` unless ``ids`` are the declared ids, each once, in declared order."""
    emitted = list(ids)
    counts = {test_id: emitted.count(test_id) for test_id in set(emitted)}
    known = set(declared)
    problems = {
        "missing": [test_id for test_id in declared if test_id not in counts],
        "undeclared": sorted(set(counts) - known),
        "emitted more than once": sorted(test_id for test_id, count in counts.items() if count > 1),
    }
    told = [f"{name}: {', '.join(ids)}" for name, ids in problems.items() if ids]
    if told:
        raise EmittedTestsError(f"{what}: emitted tests differ from the {len(known)} declared ones ({'; '.join(told)})")
    if emitted != list(declared):
        raise EmittedTestsError(f"{what}: rows are not in declared order; sort them by the registry")


def _plain(value: Any) -> Any:
    """Cell value as JSON holds it: missing is null, a whole float stays a float."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, np.generic):
        return value.item()
    return value


def row_hashes(frame: pd.DataFrame) -> list[str]:
    """sha256 (first 16 digits) of every row over the result columns; detects accidents, not forgery."""
    hashes = []
    for row in frame.loc[:, list(RESULT_COLUMNS)].itertuples(index=False, name=None):
        text = json.dumps([_plain(value) for value in row], sort_keys=True)
        hashes.append(hashlib.sha256(text.encode()).hexdigest()[:16])
    return hashes


def mistyped(frame: pd.DataFrame) -> list[str]:
    """Columns of a results frame, with or without those added to it, that hold another kind of values than declared."""
    return [str(name) for name in frame.columns if not _is_kind(str(name), frame[name])]


def _is_kind(name: str, values: pd.Series[Any]) -> bool:
    if name in _INTEGERS or name == "family_size":
        return pd.api.types.is_integer_dtype(values.dtype)
    if name in _FLOATS or name.startswith("q_"):
        return values.dtype == np.float64
    if name.startswith("significant_"):
        return values.dtype == np.bool_
    return all(isinstance(value, str) for value in values)


def typed_frame(records: Sequence[TestResult]) -> pd.DataFrame:
    """Records as a frame of `RESULT_COLUMNS` with fixed dtypes, in the order given."""
    data: dict[str, Any] = {}
    for column in RESULT_COLUMNS:
        values = [getattr(record, column) for record in records]
        if column in _INTEGERS:
            data[column] = pd.array(values, dtype="Int64")
        elif column in _FLOATS:
            data[column] = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        else:
            data[column] = pd.Series([str(value) for value in values], dtype=object)
    return pd.DataFrame(data, columns=list(RESULT_COLUMNS))


def family_q(frame: pd.DataFrame, specs: Sequence[TestSpec], family: Family) -> NDArray[np.float64]:
    """Q of every row within one declared family; NaN for rows that are not its members."""
    member = np.array([in_family(spec, family) for spec in specs])
    run = (frame["status"] == Status.RUN.value).to_numpy()
    p = np.where(run, frame["p"].to_numpy(dtype=np.float64), np.nan)
    q = np.full(len(frame), np.nan)
    q[member] = benjamini_hochberg(p[member], FAMILY_SIZES[family])
    return q


def _q_run_only(frame: pd.DataFrame, specs: Sequence[TestSpec]) -> NDArray[np.float64]:
    """BH over the confirmatory rows that were run: shown beside q_a, read by no gate."""
    member = np.array([in_family(spec, "A") for spec in specs])
    shown = member & (frame["status"] == Status.RUN.value).to_numpy() & frame["p"].notna().to_numpy()
    q = np.full(len(frame), np.nan)
    q[shown] = benjamini_hochberg(frame["p"].to_numpy()[shown], int(shown.sum()))
    return q


def add_multiplicity(base: pd.DataFrame, specs: Sequence[TestSpec]) -> pd.DataFrame:
    """Results with q, significance and row hash recomputed from p; any stored ones are replaced."""
    frame = base.loc[:, list(RESULT_COLUMNS)].copy()
    evidence = (frame["status"] == Status.RUN.value).to_numpy() & frame["p"].notna().to_numpy()
    families: tuple[Family, ...] = ("A", "B", "C")
    q = {family: family_q(frame, specs, family) for family in families}
    for family in families:
        frame[f"q_{family.lower()}"] = q[family]
    for family in families:
        frame[f"significant_{family.lower()}"] = evidence & (q[family] < ALPHA)
    frame["q_run_only"] = _q_run_only(frame, specs)
    frame["row_hash"] = pd.Series(row_hashes(frame), dtype=object)
    return frame


def results_frame(results: Iterable[TestResult], registry: Sequence[TestSpec] | None = None) -> pd.DataFrame:
    """One row per declared test in declared order, with q and significance in the three families.

    Columns are `FRAME_COLUMNS` with fixed dtypes: text as object, n, resamples, seed and layer as nullable
    Int64, numbers as float64, significance as bool. ``q_run_only`` is a labelled extra over the
    confirmatory rows that were run; no gate reads it. Raises `EmittedTestsError` unless the emitted ids are
    the declared ids.
    """
    specs = tuple(registry) if registry is not None else declared_tests()
    records = list(results)
    check_emitted(sorted((r.test_id for r in records), key=_order(specs)), [s.test_id for s in specs])
    by_id = {record.test_id: record for record in records}
    return add_multiplicity(typed_frame([by_id[spec.test_id] for spec in specs]), specs)


def _order(specs: Sequence[TestSpec]) -> Any:
    place = {spec.test_id: position for position, spec in enumerate(specs)}
    return lambda test_id: (place.get(test_id, len(place)), test_id)


def records_of(frame: pd.DataFrame) -> tuple[TestResult, ...]:
    """Frozen records behind a results frame; impossible rows raise the record's own error."""
    rows = frame.loc[:, list(RESULT_COLUMNS)].to_dict(orient="records")
    records = []
    for row in rows:
        values: dict[str, Any] = {str(name): _plain(value) for name, value in row.items()}
        values["status"] = Status(values["status"])
        for name in _INTEGERS:
            values[name] = None if values[name] is None else int(values[name])
        records.append(TestResult(**values))
    return tuple(records)
