"""The model behind an evaluation, for the report: what it is, what was read of it, and what could not be.

What belongs here: text. What does not: computing anything; the numbers lie in ``model_facts``, ``model_reading`` and
``attention_mass``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp_assets.figures import wording
from interp_assets.report.shown import StoredRow, aggregate, joined, spaced
from interp_assets.report.stored_tables import PlainTable

Told = Callable[[StoredRow], str]
Line = tuple[str, str]
_LABELS = {
    "attention": "attention weights",
    "dtype": "number format",
    "form": "form attention was read in",
    "gene_key": "genes keyed by",
    "held_out_gap": "held-out gain over baseline (unit of its loss)",
    "licence": "licence",
    "mask": "mask token",
    "max_length": "longest sequence (tokens)",
    "names": "names of genes from",
    "predicts_tokens": "predicts tokens",
    "specials": "special tokens",
    "release_id": "release id (sha256)",
    "trained_on": "trained on",
    "unexpected_weights": "unknown keys in the weights",
    "unused_weights": "unknown keys in the weights",
    "vocabulary": "vocabulary (entries)",
    "width": "width",
}
_PARTS = {"scored_genes": "scored genes", "unscored_genes": "genes not scored", "no_gene": "positions without a gene"}
_NO_MODEL = "Finished scores: there is no model whose shape, truncation or attention mass could be told."


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """Text of the section: facts of model and release, files, and one table each for what was read and its layers."""

    model: tuple[Line, ...]
    release: tuple[Line, ...]
    files: tuple[Line, ...]
    reading: PlainTable | None
    mass: PlainTable | None
    note: str


def model_view(tables: Mapping[str, pd.DataFrame]) -> ModelView | None:
    """What the tables say of the model; None for an evaluation judged before they were kept."""
    facts = tables.get("model_facts")
    if facts is None or facts.empty:
        return None
    model = _lines(facts, "model")
    return ModelView(
        model=model,
        release=_lines(facts, "release"),
        files=_lines(facts, "file"),
        reading=_reading(tables.get("model_reading")),
        mass=_mass(tables.get("attention_mass")),
        note="" if model else _NO_MODEL,
    )


def _lines(facts: pd.DataFrame, section: str) -> tuple[Line, ...]:
    rows = [StoredRow("model_facts", place, row) for place, row in enumerate(facts.to_dict("records"))]
    return tuple((_label(row), row.words("value")) for row in rows if row.values["section"] == section)


def _label(row: StoredRow) -> str:
    name = str(row.values["name"])
    return name if row.values["section"] == "file" else _LABELS.get(name, spaced(name))


def _reading(frame: pd.DataFrame | None) -> PlainTable | None:
    """One column a dataset, one row a fact: what could be read there."""
    if frame is None or frame.empty:
        return None
    kinds: list[tuple[str, Told]] = [
        ("control cells read", lambda row: _of(row, "cells_used", "cells")),
        ("scored genes the model knows (evaluable)", lambda row: _of(row, "genes_evaluable", "genes_in_universe")),
        ("scored genes lost", _lost),
        ("measured genes the model knows", lambda row: _of(row, "genes_known", "genes_measured")),
        ("measured genes lost: not in the vocabulary", lambda row: row.number("genes_unknown", wording.count)),
        (
            "measured names summed into another name of the gene",
            lambda row: row.number("genes_collapsed", wording.count),
        ),
        ("cells cut at the longest sequence", _share_of("truncated_share")),
        ("expressed genes left out by the cut", _share_of("left_out_share")),
        ("most genes left out of one cell", _count_of("left_out_most")),
        *((f"attention on {told}", _share_of(f"mass_{part}")) for part, told in _PARTS.items()),
        ("cells sampled for these shares", _count_of("mass_cells")),
        ("rank correlation of its scores with token order alone", lambda row: row.number("order_spearman")),
        ("number format", lambda row: row.words("dtype") or wording.MISSING),
        ("device", lambda row: row.words("device") or wording.MISSING),
    ]
    records = [StoredRow("model_reading", place, row) for place, row in enumerate(frame.to_dict("records"))]
    rows = [(label, *(told(row) for row in records)) for label, told in kinds]
    kept = tuple(row for row in rows if any(cell != wording.MISSING for cell in row[1:]))
    return PlainTable(columns=("", *(row.words("dataset") for row in records)), rows=kept) if kept else None


def _lost(row: StoredRow) -> str:
    """Number of scored genes without a token, and the first of their names."""
    columns = ("genes_in_universe", "genes_evaluable")
    if any(wording.is_missing(row.values.get(column)) for column in columns):
        return wording.MISSING
    universe, evaluable = (int(row.values[column]) for column in columns)
    lost = universe - evaluable
    place: dict[str, Any] = {"table": row.table, "rows": [row.row], "column": " ".join(columns), "how": "difference"}
    told = aggregate(lost, wording.count(lost), **place)
    names = row.words("scored_genes_lost") if lost else ""
    more = " and others" if names and lost > len(names.split(", ")) else ""
    return joined(told, ": ", names, more) if names else told


def _count_of(name: str) -> Told:
    return lambda row: row.number(name, wording.count)


def _share_of(name: str) -> Told:
    return lambda row: row.number(name, _percent)


def _mass(frame: pd.DataFrame | None) -> PlainTable | None:
    if frame is None or frame.empty:
        return None
    records = [StoredRow("attention_mass", place, row) for place, row in enumerate(frame.to_dict("records"))]
    rows = [
        (row.words("dataset"), row.number("layer", wording.count), *(row.number(part, _percent) for part in _PARTS))
        for row in records
    ]
    return PlainTable(columns=("dataset", "layer", *_PARTS.values()), rows=tuple(rows))


def _of(row: StoredRow, part: str, whole: str) -> str:
    if wording.is_missing(row.values.get(part)) or wording.is_missing(row.values.get(whole)):
        return wording.MISSING
    return joined(row.number(part, wording.count), " of ", row.number(whole, wording.count))


def _percent(value: Any) -> str:
    return wording.MISSING if wording.is_missing(value) else f"{100 * float(value):.1f} %"
