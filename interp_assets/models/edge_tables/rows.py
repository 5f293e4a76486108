"""Rows of an edge table turned into scored pairs: strength, sign, repeated pairs, genes with themselves.

What belongs here: the rules of a layout (`formats`) applied to rows, every row that is left out counted with its
reason. What does not: finding the columns, or placing pairs on a dataset (`reading`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.models.edge_tables.formats import EdgeTableError, Layout


@dataclass(slots=True)
class RowCount:
    """Rows read, rows left out by reason, and signs of the pairs kept."""

    read: int
    dropped: dict[str, int] = field(default_factory=dict)
    signs: dict[str, int] = field(default_factory=dict)


def scored_pairs(layout: Layout, frame: pd.DataFrame) -> tuple[pd.DataFrame, RowCount]:
    """Scored pairs of the rows of a table, and what became of its rows.

    The pairs have columns source, target (names), score, cells and sign (float64; NaN where not stated), in row order,
    one row a pair, no gene with itself. Signs are -1, 0 or 1; 0 where the sign column is 0 or rows of a pair disagree.

    Raises
    ------
    EdgeTableError
        If a name is blank, a score not a finite number, a pair repeated against the rule, a number of cells not whole
        and positive, a sign not a number, or no pair is left.
    """
    count = RowCount(read=len(frame))
    if frame.empty:
        raise EdgeTableError("the table has no rows; an edge table needs at least one scored pair")
    source, target = _names(frame[layout.source], "source"), _names(frame[layout.target], "target")
    value = _numbers(frame[layout.score], "scores", "leave out pairs without a score")
    score, sign = _strength(layout, value), _sign(layout, frame, value)
    pairs = pd.DataFrame(
        {"source": source, "target": target, "score": score, "cells": _cells(layout, frame), "sign": sign}
    )
    directed = _yes(frame[layout.directed], layout.directed) if layout.directed else np.ones(len(pairs), dtype=bool)
    loops = (pairs["source"] == pairs["target"]).to_numpy() & directed
    for reason, left_out in (("no direction stated", ~directed), ("gene with itself", loops)):
        if left_out.any():
            count.dropped[reason] = int(left_out.sum())
    pairs = pairs[directed & ~loops]
    pairs = _once_a_pair(layout, pairs.reset_index(drop=True), count)
    if pairs.empty:
        raise EdgeTableError(f"no pair is left of {count.read} rows ({_told(count.dropped)})")
    stated = pairs["sign"].dropna()
    if len(stated):
        count.signs = {word: int((stated == number).sum()) for word, number in (("+", 1), ("-", -1), ("none", 0))}
    return pairs, count


def _told(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in dropped.items()) or "none left out"


def _yes(column: pd.Series[Any], name: str) -> NDArray[np.bool_]:
    words = column.astype(str).str.strip().str.casefold()
    known = words.isin(["true", "1", "1.0", "false", "0", "0.0"])
    if not known.all():
        raise EdgeTableError(f"column {name} holds {words[~known].iloc[0]!r}; use true or false")
    return words.isin(["true", "1", "1.0"]).to_numpy(dtype=bool)


def _names(column: pd.Series[Any], what: str) -> NDArray[np.object_]:
    """Names without blanks around them; of a column with repeated names each is worked on once."""
    codes, values = pd.factorize(column, use_na_sentinel=True)
    unknown = [value for value in values if not isinstance(value, str | int | np.integer) or isinstance(value, bool)]
    if unknown:
        raise EdgeTableError(f"{what} holds {unknown[0]!r}, which is no name of a gene")
    cleaned = np.array([str(value).strip() for value in values] + [""], dtype=object)
    names: NDArray[np.object_] = cleaned[codes]  # a missing name has code -1: the empty one
    blank = names == ""
    if blank.any():
        raise EdgeTableError(f"{int(blank.sum())} rows have no {what}, first in row {first_row(blank)}")
    return names


def _numbers(column: pd.Series[Any], what: str, way_out: str) -> NDArray[np.float64]:
    numbers = plain_numbers(column)
    with np.errstate(over="ignore"):
        wrong = ~np.isfinite(numbers.astype(np.float32))  # scores are kept in single precision
    if wrong.any():
        raise EdgeTableError(
            f"{int(wrong.sum())} {what} are not finite numbers, first in row {first_row(wrong)}; {way_out}"
        )
    return numbers


def plain_numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    """Numbers of a column of numbers or of texts that are numbers; NaN for whatever is none, yes and no among it."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype == bool or str(column.dtype) == "boolean" or column.dtype.kind in "mMc":
        return np.full(len(column), np.nan)
    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=False) != "string":
        column = column.where(
            column.map(lambda value: isinstance(value, str | int | float) and not isinstance(value, bool))
        )
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _strength(layout: Layout, value: NDArray[np.float64]) -> NDArray[np.float64]:
    if layout.strength == "absolute" and not layout.stated and value.max() <= 0 and value.min() < 0:
        # distances and log-probabilities written as negative numbers would be turned upside down
        raise EdgeTableError(
            f"no value of {layout.score} is above zero, so that its size may not be the strength of an edge; state "
            '"table": {"strength": "as given"} in release.json if higher is stronger, "absolute" if all edges repress'
        )
    size = np.abs(value) if layout.strength == "absolute" else value
    return -size if layout.direction == "lower" else size


def _sign(layout: Layout, frame: pd.DataFrame, value: NDArray[np.float64]) -> NDArray[np.float64]:
    if isinstance(layout.sign, tuple):
        raises, lowers = (_yes(frame[name], name) for name in layout.sign)
        return raises.astype(np.float64) - lowers.astype(np.float64)
    if layout.sign:
        column = frame[layout.sign]
        words = column.astype(object).map({"+": 1.0, "-": -1.0}).to_numpy(dtype=np.float64, na_value=np.nan)
        numbers = np.where(np.isnan(words), plain_numbers(column), words)
        blank = (column.isna() | column.astype(str).str.strip().isin(["", "nan", "NaN", "NA"])).to_numpy(dtype=bool)
        wrong = np.isnan(numbers) & ~blank
        if wrong.any():
            raise EdgeTableError(
                f"sign {column[wrong].iloc[0]!r} in column {layout.sign}, row {first_row(wrong)}, is neither a number "
                "nor + or -; leave the column out or rename it"
            )
        return np.sign(numbers)
    return np.sign(value) if layout.strength == "absolute" else np.full(len(frame), np.nan)


def _cells(layout: Layout, frame: pd.DataFrame) -> NDArray[np.float64]:
    if not layout.cells:
        return np.full(len(frame), np.nan)
    cells = plain_numbers(frame[layout.cells])
    if not (np.isfinite(cells) & (cells >= 1) & (cells < 2**31) & (cells == np.floor(cells))).all():
        raise EdgeTableError(f"`{layout.cells}` must hold whole numbers of at least 1, or be left out")
    return cells


def _once_a_pair(layout: Layout, pairs: pd.DataFrame, count: RowCount) -> pd.DataFrame:
    twice = pairs.duplicated(["source", "target"], keep=False).to_numpy()
    if not twice.any():
        return pairs
    if layout.repeats == "refuse":
        row = pairs[twice].iloc[0]
        raise EdgeTableError(
            f"{int(twice.sum())} rows repeat a pair, such as {row['source']} -> {row['target']}; keep one score a "
            'pair, or state "table": {"repeats": "max"} in release.json to keep the best'
        )
    signs = pairs[twice].groupby(["source", "target"], sort=False)["sign"]
    disagree = signs.nunique() > 1
    best = pairs.sort_values("score", ascending=False, kind="stable").drop_duplicates(["source", "target"]).sort_index()
    count.dropped["pair repeated, best kept"] = len(pairs) - len(best)
    if disagree.any():
        keys = pd.MultiIndex.from_frame(best[["source", "target"]])
        best.loc[keys.isin(disagree.index[disagree]), "sign"] = 0.0
    return best.reset_index(drop=True)


def first_row(flags: NDArray[np.bool_]) -> int:
    """Number of the first marked row, counted from 1."""
    return int(np.flatnonzero(flags)[0]) + 1
