"""The model behind an evaluation, for the report: what it is, what was read of it, and what could not be.

What belongs here: text. What does not: computing anything; the numbers lie in ``model_facts``, ``model_reading`` and
``attention_mass``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp_assets.figures import wording

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
    reading: Mapping[str, Any] | None
    mass: Mapping[str, Any] | None
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
    own = facts[facts["section"] == section]
    return tuple(
        (str(name) if section == "file" else _LABELS.get(str(name), str(name).replace("_", " ")), str(value))
        for name, value in zip(own["name"], own["value"], strict=True)
    )


def _reading(frame: pd.DataFrame | None) -> Mapping[str, Any] | None:
    """One column a dataset, one row a fact: what could be read there."""
    if frame is None or frame.empty:
        return None
    kinds = [
        ("control cells read", lambda row: _of(row, "cells_used", "cells")),
        ("scored genes the model knows (evaluable)", lambda row: _of(row, "genes_evaluable", "genes_in_universe")),
        ("scored genes lost", _lost),
        ("measured genes the model knows", lambda row: _of(row, "genes_known", "genes_measured")),
        ("measured genes lost: not in the vocabulary", lambda row: _count(row, "genes_unknown")),
        ("measured names summed into another name of the gene", lambda row: _count(row, "genes_collapsed")),
        ("cells cut at the longest sequence", lambda row: _percent(row, "truncated_share")),
        ("expressed genes left out by the cut", lambda row: _percent(row, "left_out_share")),
        ("most genes left out of one cell", lambda row: _count(row, "left_out_most")),
        *((f"attention on {told}", _share_of(f"mass_{part}")) for part, told in _PARTS.items()),
        ("cells sampled for these shares", lambda row: _count(row, "mass_cells")),
        ("rank correlation of its scores with token order alone", lambda row: _number(row, "order_spearman")),
        ("number format", lambda row: _text(row, "dtype")),
        ("device", lambda row: _text(row, "device")),
    ]
    records = frame.to_dict("records")
    rows = [[label, *(told(row) for row in records)] for label, told in kinds]
    kept = [row for row in rows if any(cell != wording.MISSING for cell in row[1:])]
    return None if not kept else {"columns": ["", *(str(row["dataset"]) for row in records)], "rows": kept}


def _lost(row: Mapping[Any, Any]) -> str:
    """Number of scored genes without a token, and the first of their names."""
    if not (_present(row, "genes_in_universe") and _present(row, "genes_evaluable")):
        return wording.MISSING
    lost = int(row["genes_in_universe"]) - int(row["genes_evaluable"])
    names = _text(row, "scored_genes_lost") if lost else ""
    more = " and others" if lost > len(names.split(", ")) else ""
    return f"{wording.count(lost)}: {names}{more}" if names and names != wording.MISSING else wording.count(lost)


def _share_of(name: str) -> Any:
    return lambda row: _percent(row, name)


def _mass(frame: pd.DataFrame | None) -> Mapping[str, Any] | None:
    if frame is None or frame.empty:
        return None
    rows = [
        [str(row["dataset"]), wording.count(row["layer"]), *(_percent(row, part) for part in _PARTS)]
        for row in frame.to_dict("records")
    ]
    return {"columns": ["dataset", "layer", *_PARTS.values()], "rows": rows}


def _present(row: Mapping[Any, Any], name: str) -> bool:
    return name in row and not wording.is_missing(row[name])


def _count(row: Mapping[Any, Any], name: str) -> str:
    return wording.count(row[name]) if _present(row, name) else wording.MISSING


def _of(row: Mapping[Any, Any], part: str, whole: str) -> str:
    if not (_present(row, part) and _present(row, whole)):
        return wording.MISSING
    return f"{wording.count(row[part])} of {wording.count(row[whole])}"


def _percent(row: Mapping[Any, Any], name: str) -> str:
    return f"{100 * float(row[name]):.1f} %" if _present(row, name) else wording.MISSING


def _number(row: Mapping[Any, Any], name: str) -> str:
    return wording.number(row[name]) if _present(row, name) else wording.MISSING


def _text(row: Mapping[Any, Any], name: str) -> str:
    return str(row[name]) if _present(row, name) else wording.MISSING
