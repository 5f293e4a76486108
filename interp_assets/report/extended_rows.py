"""Extended rows for the report: by analysis and local family, apart from the 153 declared tests.

What belongs here: text of rows and their grouping. What does not: computing them, or any claim; no claim reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

from interp_assets.figures import wording
from qc_standards.records import Status, TestSpec

_PUBLISHED = {"effect": "effect", "p": "p", "q": "q", "n": "n", "significant": "significant", "note": "note"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedRow:
    """One extended test as text; ``published`` are values printed in the paper, never computed here."""

    test_id: str
    hypothesis: str
    status: str
    reason: str
    effect: str
    effect_kind: str
    interval: str
    n: str
    unit: str
    p: str
    q: str
    significant: str
    dataset: str
    data_origin: str
    published: tuple[tuple[str, str], ...]
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedFamily:
    """Rows of one local family, corrected over its declared size."""

    name: str
    size: int
    run: int
    rows: tuple[ExtendedRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedAnalysis:
    """Local families of one extended analysis, in declared order."""

    label: str
    title: str
    families: tuple[ExtendedFamily, ...]


def extended_analyses(frame: pd.DataFrame | None, registry: Sequence[TestSpec]) -> tuple[ExtendedAnalysis, ...]:
    """Extended rows by analysis and local family; nothing where there is no frame.

    Every declared row is there: one without a result says so. Raises `ValueError` when the frame holds an id twice or
    one that is not declared.
    """
    if frame is None:
        return ()
    ids = frame["test_id"].astype(str)
    doubled = sorted(set(ids[ids.duplicated()]))
    unknown = sorted(set(ids) - {spec.test_id for spec in registry})
    if doubled or unknown:
        raise ValueError(f"extended tests: emitted twice {doubled or 'none'}, not declared {unknown or 'none'}")
    found = {str(row["test_id"]): row for row in frame.to_dict("records")}
    return tuple(
        _analysis(number, list(specs), found) for number, specs in groupby(registry, key=lambda spec: spec.analysis_no)
    )


def _analysis(number: int, specs: list[TestSpec], found: Mapping[str, Mapping[Any, Any]]) -> ExtendedAnalysis:
    names = dict.fromkeys(spec.local_family for spec in specs)
    families = []
    for name in names:
        rows = tuple(_row(spec, found.get(spec.test_id, {})) for spec in specs if spec.local_family == name)
        run = sum(row.status == Status.RUN for row in rows)
        families.append(ExtendedFamily(name=name, size=len(rows), run=run, rows=rows))
    return ExtendedAnalysis(label=f"E{number}", title=specs[0].analysis, families=tuple(families))


def _row(spec: TestSpec, found: Mapping[Any, Any]) -> ExtendedRow:
    status = str(found.get("status", "missing"))
    run = status == Status.RUN
    dataset = _plain(found.get("dataset"))
    reason = _plain(found.get("reason")) if found else "no result was emitted for this declared test"
    return ExtendedRow(
        test_id=spec.test_id,
        hypothesis=spec.hypothesis,
        status=status,
        reason=reason,
        effect=wording.number(found.get("effect")),
        effect_kind=(_plain(found.get("effect_kind")) or spec.effect_kind).replace("_", " "),
        interval=wording.interval(found.get("ci_low"), found.get("ci_high")),
        n=wording.count(found.get("n")),
        unit=_plain(found.get("unit")),
        p=wording.p_value(found.get("p")),
        # A row without a p enters its family at 1: what it gets there is no result of the row.
        q=wording.p_value(found.get("q_local")) if run and not wording.is_missing(found.get("p")) else wording.MISSING,
        significant=_significant(found),
        dataset=dataset,
        data_origin=wording.origin_label(found.get("data_origin")) if dataset else "",
        published=tuple((name, spec.published[key]) for key, name in _PUBLISHED.items() if spec.published.get(key)),
        own=spec.source == "own",
    )


def _significant(found: Mapping[Any, Any]) -> str:
    if found.get("status") != Status.RUN or wording.is_missing(found.get("p")):
        return wording.MISSING
    return "yes" if wording.holds(found.get("significant_local")) else "no"


def _plain(value: Any) -> str:
    return "" if wording.is_missing(value) else str(value)
