"""Rows of the registry table: computed values beside, never mixed with, what the paper printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp_assets.figures import wording
from interp_assets.report.reading import settings_lines
from qc_standards.published import contradictions_of
from qc_standards.records import Status, TestSpec

_PUBLISHED = {
    "effect": "effect",
    "p": "p",
    "q": "q",
    "n": "n",
    "significant": "significant",
    "dataset": "data set",
    "model": "model",
    "layer": "layer",
    "number_confidence": "confidence in the number",
    "notes": "notes",
}


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
    held = {} if comparison is None else {str(row["test_id"]): row for row in comparison.to_dict("records")}
    rows = [_row(spec, records.get(spec.test_id, {}), held.get(spec.test_id, {})) for spec in registry]
    return tuple(sorted(rows, key=lambda row: row.status != Status.RUN))


def _row(spec: TestSpec, found: Mapping[Any, Any], held: Mapping[Any, Any]) -> RegistryRow:
    status = str(found.get("status", "missing"))
    reason = _plain(found.get("reason")) if found else "no result was emitted for this declared test"
    dataset = _plain(found.get("dataset"))
    return RegistryRow(
        test_id=spec.test_id,
        analysis_no=spec.analysis_no,
        analysis=spec.analysis,
        hypothesis=spec.hypothesis,
        status=status,
        reason=reason,
        effect=_cell(found.get("effect"), wording.number),
        effect_kind=(_plain(found.get("effect_kind")) or spec.effect_kind).replace("_", " "),
        interval=Cell(
            text=wording.interval(found.get("ci_low"), found.get("ci_high")),
            order=_order(found.get("ci_low")),
        ),
        p=_cell(found.get("p"), wording.p_value),
        q=_cell(found.get("q_a"), wording.p_value),
        significant=_significant(spec, found),
        n=_cell(found.get("n"), wording.count),
        unit=_plain(found.get("unit")),
        dataset=dataset,
        data_origin=wording.origin_label(found.get("data_origin")) if dataset else "",
        layer=_cell(found.get("layer"), wording.count),
        method=_method(spec, found),
        settings=settings_lines(found.get("settings_used")),
        computed=_computed(found),
        published=(
            *((name, spec.published[key]) for key, name in _PUBLISHED.items() if spec.published.get(key)),
            *_held_against(held),
        ),
        disputed=tuple(each.sentence for each in contradictions_of(spec.test_id)),
        search=" ".join(
            (
                spec.test_id,
                f"analysis {spec.analysis_no}",
                spec.analysis,
                spec.hypothesis,
                spec.test_type,
                dataset,
                reason,
            )
        ).lower(),
    )


def _held_against(held: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Tolerance of the published number, and whether the computed effect lies inside."""
    if not held:
        return
    yield "published value and bounds", f"{held['published']}, {wording.interval(held['low'], held['high'])}"
    answer = _plain(held["remark"]) or ("yes" if held["within"] else "no")
    yield "computed effect within the bounds", answer


def _significant(spec: TestSpec, found: Mapping[Any, Any]) -> str:
    if not spec.confirmatory:
        return "descriptive"
    value = found.get("significant_a")
    if wording.is_missing(value) or found.get("status") != "run":
        return wording.MISSING
    return "yes" if bool(value) else "no"


def _method(spec: TestSpec, found: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    null = _plain(found.get("null_name"))
    if null:
        null = f"{null}, mean {wording.number(found.get('null_mean'))}, SD {wording.number(found.get('null_sd'), 4)}"
    done, asked = wording.count(found.get("resamples_done")), wording.count(found.get("resamples_requested"))
    facts = (
        ("test", spec.test_type),
        ("comparison", spec.comparison),
        ("alternative", spec.alternative),
        ("resampling unit", spec.resampling_unit),
        ("family", "A (confirmatory)" if spec.confirmatory else "B only (descriptive)"),
        ("null", null),
        ("statistic", _number_or_blank(found.get("statistic"))),
        ("resamples done / requested", "" if done == asked == wording.MISSING else f"{done} / {asked}"),
        ("direction", _plain(found.get("direction"))),
        ("unit of n", _plain(found.get("unit"))),
        (
            "data origin",
            wording.origin_label(found.get("data_origin")) if _plain(found.get("dataset")) else "",
        ),
        ("role fit", _plain(found.get("role_fit"))),
        ("seed", _whole_or_blank(found.get("seed"))),
        ("settings hash", _plain(found.get("settings_hash"))),
        ("cells hash", _plain(found.get("cells_hash"))[:16]),
    )
    return tuple((name, value) for name, value in facts if value)


def _computed(found: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    if found.get("status") != "run":
        return ()
    facts = (
        ("effect", wording.number(found.get("effect"), 4)),
        ("95% interval", wording.interval(found.get("ci_low"), found.get("ci_high"), 4)),
        ("p", wording.p_value(found.get("p"))),
        ("q, family A", wording.p_value(found.get("q_a"))),
        ("q, family B", wording.p_value(found.get("q_b"))),
        ("q, family C", wording.p_value(found.get("q_c"))),
        ("n", wording.count(found.get("n"))),
    )
    return tuple((name, value) for name, value in facts if value != wording.MISSING)


def _plain(value: Any) -> str:
    return "" if wording.is_missing(value) else str(value)


def _order(value: Any) -> str:
    return "" if wording.is_missing(value) else repr(float(value))


def _cell(value: Any, read: Any) -> Cell:
    return Cell(text=read(value), order=_order(value))


def _number_or_blank(value: Any) -> str:
    return "" if wording.is_missing(value) else wording.number(value)


def _whole_or_blank(value: Any) -> str:
    return "" if wording.is_missing(value) else str(int(value))
