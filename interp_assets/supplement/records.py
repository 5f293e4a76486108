"""Frozen records of the supplementary tables: what one is made from, what it is, and why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd


class NothingToTabulateError(ValueError):
    """What the table is made from is there but holds no row for it; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What one evaluation of a release in a study left behind.

    ``tests`` has the 153 rows with their q-values, ``extended`` the rows of E1 to E9, ``tables`` every computed table
    by name, ``claims`` the entries of ``claims.json``. Rows and tables say themselves on what data they rest.
    """

    study: str
    release: str
    data_origin: str
    tests: pd.DataFrame
    extended: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    claims: tuple[Mapping[str, Any], ...]


Make = Callable[[Evaluated], pd.DataFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """One row of the catalogue of supplementary tables.

    ``tables`` must all be there and hold rows. ``make`` returns a tidy frame: computed columns, and published values
    in columns of their own that start with ``published_``. ``analyses`` are numbers of the 37, ``extended`` of E1 to
    E9; the origin of the data behind the table is that of their rows, or of the rows ``tests`` where an analysis has
    rows on several kinds of data. ``published`` names the table of the paper.
    """

    table_id: str
    title: str
    caption: str
    published: tuple[str, ...]
    make: Make
    tables: tuple[str, ...] = ()
    analyses: tuple[int, ...] = ()
    extended: tuple[int, ...] = ()
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tabulated:
    """A supplementary table of one evaluation."""

    table_id: str
    title: str
    caption: str
    frame: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSkipped:
    """A supplementary table that was not made, and why."""

    table_id: str
    title: str
    reason: str
