"""Stored tables as the report prints them: a few columns, every number with its place in the file.

What belongs here: the table of evaluable genes and the table of scores. What does not: tables with a shape of their own
(`registry_rows`, `model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp_assets.figures import wording
from interp_assets.report.shown import StoredRow, spaced

FLOW, LINEAGE = "evaluability", "lineage"
_COLUMNS = {
    FLOW: ("role", "dataset", "stage", "perturbations", "genes", "pairs", "positives"),
    LINEAGE: (
        "score",
        "dataset",
        "role",
        "layer",
        "layer_chosen_by",
        "genes_in_universe",
        "genes_evaluable",
        "missing_pair_share",
        "device",
        "dtype",
        "cells_hash",
    ),
}
_LABELS = {"stage": wording.STAGE_LABELS, "role": wording.ROLE_LABELS, "score": wording.SCORE_LABELS}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTable:
    """Heads of the columns and rows of cells, all of them text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def stored_table(tables: Mapping[str, pd.DataFrame], name: str) -> PlainTable | None:
    """The columns of a stored table that the page shows, `FLOW` or `LINEAGE`; None where there is none."""
    frame = tables.get(name)
    if frame is None or frame.empty:
        return None
    columns = [column for column in _COLUMNS[name] if column in frame.columns]
    rows = [StoredRow(name, place, values) for place, values in enumerate(frame.to_dict("records"))]
    return PlainTable(
        columns=tuple(spaced(column) for column in columns),
        rows=tuple(tuple(_cell(row, column) for column in columns) for row in rows),
    )


def _cell(row: StoredRow, column: str) -> str:
    value: Any = row.values[column]
    if wording.is_missing(value) or (column == "layer" and value < 0):
        return wording.MISSING
    if value in _LABELS.get(column, ()):
        return _LABELS[column][value]
    if isinstance(value, str):
        return row.words(column, _cut if column.endswith("_hash") else str) or wording.MISSING
    return row.number(column, wording.count if float(value) == int(value) else wording.number)


def _cut(digest: str) -> str:
    return f"{digest[:12]}…" if len(digest) > 16 else digest
