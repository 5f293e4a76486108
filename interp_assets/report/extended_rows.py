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
from interp_assets.report import row_details
from interp_assets.report.shown import EXTENDED, REGISTRY, StoredRow, aggregate, spaced, words
from qc_standards.records import Status, TestSpec


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
    method: row_details.Facts
    settings: row_details.Facts
    published: tuple[tuple[str, str], ...]
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedFamily:
    """Rows of one local family, corrected over its declared size."""

    name: str
    size: str
    run: str
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
        families.append(_family(name, rows, found))
    title = words(specs[0].analysis, table=REGISTRY, row=specs[0].test_id, column="analysis")
    return ExtendedAnalysis(label=f"E{number}", title=title, families=tuple(families))


def _family(name: str, rows: tuple[ExtendedRow, ...], found: Mapping[str, Mapping[Any, Any]]) -> ExtendedFamily:
    ids = [row.test_id for row in rows]
    there = [test_id for test_id in ids if test_id in found]
    run = sum(row.status == Status.RUN for row in rows)
    return ExtendedFamily(
        name=words(name, table=REGISTRY, row=ids[0], column="local_family"),
        size=aggregate(len(ids), f"{len(ids)}", table=REGISTRY, rows=ids, column="hypothesis", how="count"),
        run=aggregate(run, f"{run}", table=EXTENDED, rows=there, column="status", how="count=run"),
        rows=rows,
    )


def _row(spec: TestSpec, found: Mapping[Any, Any]) -> ExtendedRow:
    stored, declared = StoredRow(EXTENDED, spec.test_id, found), row_details.declared_row(spec)
    run = found.get("status") == Status.RUN
    dataset = stored.words("dataset")
    reason = stored.words("reason") if found else "no result was emitted for this declared test"
    return ExtendedRow(
        test_id=spec.test_id,
        hypothesis=declared.words("hypothesis"),
        status=str(found.get("status", "missing")),
        reason=reason,
        effect=stored.number("effect"),
        effect_kind=stored.words("effect_kind", spaced) or spaced(spec.effect_kind),
        interval=stored.interval(),
        n=stored.number("n", wording.count),
        unit=stored.words("unit"),
        p=stored.number("p", wording.p_value),
        # A row without a p enters its family at 1: what it gets there is no result of the row.
        q=stored.number("q_local", wording.p_value) if run and stored.words("p") else wording.MISSING,
        significant=_significant(found),
        dataset=dataset,
        data_origin=wording.origin_label(found.get("data_origin")) if dataset else "",
        method=row_details.method(declared, stored),
        settings=row_details.settings(stored),
        published=row_details.published(declared),
        own=spec.source == "own",
    )


def _significant(found: Mapping[Any, Any]) -> str:
    if found.get("status") != Status.RUN or wording.is_missing(found.get("p")):
        return wording.MISSING
    return "yes" if wording.holds(found.get("significant_local")) else "no"
