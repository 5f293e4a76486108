"""Rows of the registry table: computed values beside, never mixed with, what the paper printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp_assets.figures import wording
from interp_assets.report import row_details
from interp_assets.report.shown import TESTS, Read, StoredRow, joined, spaced, words
from qc_standards.published import contradictions_of
from qc_standards.records import Status, TestSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One sortable cell: the text that is read and the value that is sorted by ("" sorts last)."""

    text: str
    order: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRow:
    """One declared test as the report shows it."""

    test_id: str
    analysis_no: int
    analysis: str
    hypothesis: str
    status: str
    reason: str
    effect: Cell
    effect_kind: str
    interval: Cell
    p: Cell
    q: Cell
    significant: str
    n: Cell
    unit: str
    dataset: str
    data_origin: str
    layer: Cell
    method: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    computed: tuple[tuple[str, str], ...]
    published: tuple[tuple[str, str], ...]
    disputed: tuple[str, ...]
    search: str


def registry_rows(
    tests: pd.DataFrame, registry: Sequence[TestSpec], comparison: pd.DataFrame | None = None
) -> tuple[RegistryRow, ...]:
    """One row for each declared test, run ones first, else in declared order; one without a result says so.

    ``comparison`` (`qc_standards.published.compared`) is there where the study is the published context.

    Raises
    ------
    ValueError
        When ``tests`` holds an id twice or an id that is not declared.
    """
    ids = tests["test_id"].astype(str)
    doubled = sorted(set(ids[ids.duplicated()]))
    unknown = sorted(set(ids) - {spec.test_id for spec in registry})
    if doubled or unknown:
        raise ValueError(f"tests: emitted twice {doubled or 'none'}, not declared {unknown or 'none'}")
    records = {str(row["test_id"]): row for row in tests.to_dict("records")}
    compared = [] if comparison is None else comparison.to_dict("records")
    held = {str(row["test_id"]): (place, row) for place, row in enumerate(compared)}
    rows = [_row(spec, records.get(spec.test_id, {}), held.get(spec.test_id)) for spec in registry]
    return tuple(sorted(rows, key=lambda row: row.status != Status.RUN))


def _row(spec: TestSpec, found: Mapping[Any, Any], held: tuple[Any, Mapping[Any, Any]] | None) -> RegistryRow:
    stored, declared = StoredRow(TESTS, spec.test_id, found), row_details.declared_row(spec)
    dataset = stored.words("dataset")
    reason = stored.words("reason") if found else "no result was emitted for this declared test"
    return RegistryRow(
        test_id=spec.test_id,
        analysis_no=spec.analysis_no,
        analysis=joined(declared.words("analysis_no"), ". ", declared.words("analysis")),
        hypothesis=declared.words("hypothesis"),
        status=str(found.get("status", "missing")),
        reason=reason,
        effect=_cell(stored, "effect"),
        effect_kind=stored.words("effect_kind", spaced) or spaced(spec.effect_kind),
        interval=Cell(text=stored.interval(), order=_order(found.get("ci_low"))),
        p=_cell(stored, "p", wording.p_value),
        q=_cell(stored, "q_a", wording.p_value),
        significant=_significant(spec, found),
        n=_cell(stored, "n", wording.count),
        unit=stored.words("unit"),
        dataset=dataset,
        data_origin=wording.origin_label(found.get("data_origin")) if dataset else "",
        layer=_cell(stored, "layer", wording.count),
        method=row_details.method(declared, stored),
        settings=row_details.settings(stored),
        computed=row_details.computed(stored),
        published=(*row_details.published(declared), *_held_against(held)),
        disputed=_disputed(spec.test_id),
        search=" ".join(
            (
                spec.test_id,
                f"analysis {spec.analysis_no}",
                *(spec.analysis, spec.hypothesis, spec.test_type, dataset, reason),
            )
        ).lower(),
    )


def _held_against(held: tuple[Any, Mapping[Any, Any]] | None) -> Iterator[tuple[str, str]]:
    """Tolerance of the published number, and whether the computed effect lies inside."""
    if held is None:
        return
    stored = StoredRow("published_comparison", *held)
    yield "published value and bounds", joined(stored.words("published"), ", ", stored.interval("low", "high"))
    yield "computed effect within the bounds", stored.words("remark") or ("yes" if held[1]["within"] else "no")


def _disputed(test_id: str) -> tuple[str, ...]:
    found = contradictions_of(test_id)
    return tuple(words(each.sentence, table="contradictions", row=each.id, column="sentence") for each in found)


def _significant(spec: TestSpec, found: Mapping[Any, Any]) -> str:
    if not spec.confirmatory:
        return "descriptive"
    value = found.get("significant_a")
    if wording.is_missing(value) or found.get("status") != "run":
        return wording.MISSING
    return "yes" if bool(value) else "no"


def _plain(value: Any) -> str:
    return "" if wording.is_missing(value) else str(value)


def _order(value: Any) -> str:
    return "" if wording.is_missing(value) else repr(float(value))


def _cell(stored: StoredRow, column: str, read: Read = wording.number) -> Cell:
    return Cell(text=stored.number(column, read), order=_order(stored.values.get(column)))
