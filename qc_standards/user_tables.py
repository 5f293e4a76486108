"""A standard held against a table that a user brings, without any evaluation around it.

What belongs here: reading the table, naming its columns as the standard does, and saying what is missing. What does
not: judging (`qc_standards.suites.judge_frame`). The table is the frame that a standard names under ``applies_to``: one
row per metric or unit, with the columns that ``qc-gate explain`` shows; it is not turned into that frame here.
"""

from __future__ import annotations

import difflib
import io
import re
import shlex
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from qc_standards.standards import Standard, required_columns

_TEXT_FILES: Final = {".csv": ",", ".tsv": "\t"}
_MISSING: Final = ("", "NA", "N/A", "NaN", "nan", "None", "null", "NULL", "<NA>")  # of a number that is not there
_READABLE: Final = "parquet, csv, tsv or h5ad"


class UserTableError(ValueError):
    """A user's table cannot be read, or lacks what a standard needs."""


def read_table(path: Path, place: str = "obs") -> pd.DataFrame:
    """Return the table of a parquet, CSV, TSV or h5ad file.

    Parameters
    ----------
    path
        The file; its ending says what it is.
    place
        Where the table lies in an h5ad file: ``obs``, ``var`` or ``uns/<key>``. Other files hold one table.

    Raises
    ------
    UserTableError
        For a file that is absent, has another ending, or cannot be read as what its ending says.
    """
    if not path.is_file():
        raise UserTableError(f"{path}: no such table")
    kind = path.suffix.lower()
    if kind == ".h5ad":
        return _from_h5ad(path, place)
    if kind != ".parquet" and kind not in _TEXT_FILES:
        raise UserTableError(f"{path}: ending {kind or 'missing'} is not known; bring {_READABLE}")
    from pyarrow import ArrowException

    try:
        if kind == ".parquet":
            return pd.read_parquet(path)
        return _text_table(path, _TEXT_FILES[kind])
    except (ArrowException, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserTableError(f"{path}: cannot be read as {kind[1:]} ({error})") from error


def _text_table(path: Path, separator: str) -> pd.DataFrame:
    """Columns of a text file: of numbers or of yes and no where every word is one, otherwise of words.

    A column of numbers may say NA for a missing one; in a column of words NA and nan are names, as those of genes.
    """
    content = path.read_bytes()
    if b"\0" in content:  # pandas would cut the field there
        raise ValueError("a NUL character; a table is plain text")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            raw = pd.read_csv(io.BytesIO(content), sep=separator, dtype=str, keep_default_na=False, index_col=False)
        except pd.errors.ParserWarning as error:
            raise ValueError("lines have more fields than the first one") from error
    return pd.DataFrame({name: _typed(raw[name]) for name in raw.columns})


def _typed(words: pd.Series[str]) -> pd.Series[Any]:
    stripped = words.str.strip()
    missing = stripped.isin(_MISSING)
    numbers = pd.to_numeric(stripped.mask(missing), errors="coerce")
    if (numbers.notna() | missing).all():
        return numbers
    truth = stripped.str.casefold().map({"true": True, "false": False})
    if (truth.notna() | missing).all():
        return truth.astype(object if missing.any() else bool)
    return words.mask(stripped == "")


def _from_h5ad(path: Path, place: str) -> pd.DataFrame:
    from qc_standards.h5ad_files import open_h5ad

    try:
        data = open_h5ad(path, backed="r")
    except ImportError as error:
        raise UserTableError(f'{path}: reading h5ad needs anndata; pip install "interp-assets[h5ad]"') from error
    except ValueError as error:
        raise UserTableError(f"{path}: cannot be read as h5ad ({error})") from error
    try:
        found = _within(data, place)
        if not isinstance(found, pd.DataFrame):
            tables = [f"uns/{key}" for key, value in data.uns.items() if isinstance(value, pd.DataFrame)]
            raise UserTableError(f"{path}: no table at {place}; tables are {', '.join(('obs', 'var', *tables))}")
        frame = found.copy()
    finally:
        data.file.close()
    categorical = [name for name in frame.columns if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(categorical, object)).reset_index(drop=True)


def _within(data: Any, place: str) -> Any:
    if place in ("obs", "var"):
        return getattr(data, place)
    return data.uns.get(place.removeprefix("uns/")) if place.startswith("uns/") else None


def column_map(pairs: Iterable[str], standards: Sequence[Standard]) -> Mapping[str, str]:
    """Their column by the standard's column, from ``column=theirs`` texts.

    Raises `UserTableError` for another shape, a column that no chosen standard reads, or one that is mapped twice.
    """
    wanted = _wanted(standards)
    mapped: dict[str, str] = {}
    for pair in pairs:
        column, sign, theirs = pair.partition("=")
        if not (sign and column and theirs):
            raise UserTableError(f"--map {pair}: write column=their_column")
        if column not in wanted:
            raise UserTableError(
                f"--map {pair}: {', '.join(s.id for s in standards)} read no column {column}; "
                f"they read {', '.join(wanted)}"
            )
        if column in mapped or theirs in mapped.values():
            raise UserTableError(f"--map {pair}: {column} or {theirs} is mapped twice")
        mapped[column] = theirs
    return mapped


def _wanted(standards: Sequence[Standard]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column for standard in standards for column in required_columns(standard)))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _suggestion(column: str, there: Sequence[str]) -> str:
    """A column of the table that may be meant, as the option that says so; empty where none is close."""
    by_plain = {_plain(name): name for name in there}
    close = difflib.get_close_matches(_plain(column), list(by_plain), n=1, cutoff=0.6)
    return f"--map {shlex.quote(f'{column}={by_plain[close[0]]}')}" if close else ""


def named_as_standards(
    frame: pd.DataFrame, mapped: Mapping[str, str], standards: Sequence[Standard], where: str
) -> pd.DataFrame:
    """Return the table with the columns the standards read, under the standards' names.

    A mapped column takes the place of one that already has the standard's name. Raises `UserTableError` listing every
    missing column with the standards that read it, the columns there are, and what may be meant.
    """
    there = [str(name) for name in frame.columns]
    repeated = sorted({name for name in there if there.count(name) > 1})
    if repeated:
        raise UserTableError(f"{where}: column {', '.join(repeated)} is there more than once")
    absent = [theirs for theirs in mapped.values() if theirs not in there]
    if absent:
        raise UserTableError(f"{where}: --map names column {', '.join(absent)}; columns are {', '.join(there)}")
    source = {column: mapped.get(column, column) for column in _wanted(standards)}
    lacking = [column for column, theirs in source.items() if theirs not in there]
    if lacking:
        free = [name for name in there if name not in source.values()]
        raise UserTableError(_lacking(lacking, standards, there, free, where))
    return pd.DataFrame({column: frame[theirs] for column, theirs in source.items()})


def _lacking(
    lacking: Sequence[str], standards: Sequence[Standard], there: Sequence[str], free: Sequence[str], where: str
) -> str:
    readers = {c: ", ".join(s.id for s in standards if c in required_columns(s)) for c in lacking}
    told = "; ".join(f"{column} (read by {readers[column]})" for column in lacking)
    meant = " ".join(filter(None, (_suggestion(column, free) for column in lacking)))
    return (
        f"{where}: lacks column {told}. Columns are {', '.join(there) or 'none'}. "
        f"{f'Did you mean {meant}?' if meant else 'Name yours with --map column=their_column.'}"
    )
