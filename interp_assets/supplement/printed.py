"""Values that the supplementary tables of the paper print, by table, key of the row and column.

What belongs here: reading ``printed.csv``, whose values are numbers or ids of `qc_standards.published.signatures`, and
setting them beside computed columns. What does not: comparing the two; a study on other data cannot disagree.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from qc_standards.published import signatures

FILE = Path(__file__).with_name("printed.csv")
PREFIX = "published_"
LAST_LAYER = 17  # the published model has layers 0..17


@cache
def printed() -> dict[str, dict[tuple[str, str], float]]:
    """Printed values by table id, then by (key, column).

    Raises
    ------
    ValueError
        Naming file, line and rule: a value is a number or the id of a published number, and stands once.
    """
    known = {each.id: each.value for each in signatures()}
    found: dict[str, dict[tuple[str, str], float]] = {}
    with FILE.open(encoding="utf-8", newline="") as handle:
        for line, row in enumerate(csv.DictReader(handle), start=2):
            table, place = found.setdefault(row["table"], {}), (row["key"], row["column"])
            if place in table:
                raise ValueError(f"{FILE.name}, line {line}: {row['table']} {place} stands twice; keep one")
            try:
                table[place] = float(known.get(row["value"], row["value"]))
            except ValueError as odd:
                rule = "write a number or the id of a published number with one value"
                raise ValueError(f"{FILE.name}, line {line}: value {row['value']!r}; {rule}") from odd
    return found


def with_printed(frame: pd.DataFrame, table_id: str, keys: Sequence[str]) -> pd.DataFrame:
    """The frame with a column ``published_<column>`` for each printed column; NaN where nothing was printed.

    ``keys`` has one key a row of the frame.
    """
    values = printed().get(table_id, {})
    columns = dict.fromkeys(column for _, column in values)
    added = {f"{PREFIX}{column}": [values.get((key, column), float("nan")) for key in keys] for column in columns}
    return frame.assign(**added)


def published_layer(depth: float) -> int:
    """Layer of the published model at a relative depth.

    >>> published_layer(0.0), published_layer(5 / 7), published_layer(1.0)
    (0, 12, 17)
    """
    return round(depth * LAST_LAYER)
