"""Files that hold an edge table, opened without running anything in them: parquet, CSV, TSV and h5ad.

What belongs here: names of columns, the columns that are asked for, and matrices of genes by genes, within stated
limits. What does not: what the columns mean (`formats`).

A text file may lack its header where it has three columns and the third is a number (the output of GRNBoost2's command
line). An h5ad file holds the table as ``uns/prediction`` (geneRNIB), or a matrix as ``X``; only plain numbers and
texts are read from it, never a pickle, and nothing outside the file.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.models.edge_tables.formats import EdgeTableError
from interp_assets.models.files.file_rules import LfsPointerError, refuse_lfs_pointer
from interp_assets.models.files.releases import TABLE_SUFFIXES

# A table of more rows, or a matrix of more entries, is refused before it is read.
ROW_LIMIT = 36_000_000
ENTRY_LIMIT = 36_000_000
LINE_LIMIT = 2**24
MISSING = ("", "NA", "NaN", "nan")
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Scores of row genes (R) by column genes (C); NaN where no score is given."""

    rows: NDArray[np.str_]
    columns: NDArray[np.str_]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """An opened file: its columns in file order, a reader of some of them, and one of the whole as a matrix.

    ``rows`` reads the names a matrix would have for its rows; None where the file can hold no matrix. ``header`` is
    False where the names of the columns are not in the file.
    """

    columns: tuple[str, ...]
    read: Callable[[Sequence[str]], pd.DataFrame]
    rows: Callable[[], NDArray[np.str_]] | None = None
    matrix: Callable[[], Matrix] | None = None
    header: bool = True
    place: str = ""


def open_table(path: Path, place: str = "") -> TableFile:
    """Opened table of a file; ``place`` says where in an h5ad file it lies (``uns/<key>`` or ``X``).

    Raises
    ------
    EdgeTableError
        If the file is absent, of another kind, empty, or above a limit; within `reading`, also if it is damaged.
    """
    if not path.name.endswith(TABLE_SUFFIXES):
        raise EdgeTableError(f"unknown kind of table; use one of {', '.join(TABLE_SUFFIXES)}")
    if not path.is_file():
        raise EdgeTableError("no such file")
    try:
        refuse_lfs_pointer(path)
    except LfsPointerError as error:
        raise EdgeTableError(f"{error.problem}. {error.remedy}") from error
    if path.name.endswith(".h5ad"):
        from interp_assets.models.edge_tables.h5ad import open_h5ad

        return open_h5ad(path, place)
    if place:
        raise EdgeTableError(f"`table.place` is {place!r}, but only h5ad files hold several tables")
    return _open_parquet(path) if path.name.endswith(".parquet") else _open_text(path)


@contextmanager
def reading() -> Iterator[None]:
    """What a library raises on a damaged file becomes an `EdgeTableError`, when it is opened and when it is read."""
    import pyarrow as pa

    try:
        yield
    except EdgeTableError:
        raise
    except (pa.ArrowException, csv.Error, zlib.error, OSError, EOFError, ValueError, KeyError) as error:
        raise EdgeTableError(f"not a readable table: {error}") from error


def within_limit(number: int, limit: int, what: str) -> None:
    """Raise `EdgeTableError` where a file holds more than ``limit`` of something."""
    if number > limit:
        raise EdgeTableError(f"{number:,} {what}, limit {limit:,}; keep the genes or pairs that are to be judged")


def unique_names(names: NDArray[np.str_], what: str) -> NDArray[np.str_]:
    """The names without blanks around them, refused if one is empty or repeated."""
    cleaned: NDArray[np.str_] = np.char.strip(names.astype(np.str_))
    values, times = np.unique(cleaned, return_counts=True)
    if "" in values:
        raise EdgeTableError(f"a {what} of the matrix has no name")
    if (times > 1).any():
        raise EdgeTableError(f"{what} {values[times > 1][0]} stands in the matrix {times[times > 1][0]} times")
    return cleaned


def _open_parquet(path: Path) -> TableFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    names = [str(name) for name in schema.names]
    within_limit(rows, ROW_LIMIT, "rows")
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    label = index[0] if len(index) == 1 and isinstance(index[0], str) and index[0] in names else ""
    unnamed = tuple("" if name == label and name.startswith("__index_level") else name for name in names)

    def plain(name: str) -> bool:
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_null(kind)
        )

    def read(wanted: Sequence[str]) -> pd.DataFrame:
        odd = [name for name in wanted if not plain(name)]
        if odd:
            raise EdgeTableError(f"column {odd[0]} holds {schema.field(odd[0]).type}, neither texts nor numbers")
        table = pq.read_table(path, columns=list(wanted), partitioning=None)
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)[list(wanted)]
        return frame

    first = label or next((name for name in names if not pa.types.is_floating(schema.field(name).type)), "")
    if not first or len(names) < 3 or len(set(names)) < len(names):
        return TableFile(columns=unnamed, read=read)

    def row_names() -> NDArray[np.str_]:
        return read([first])[first].fillna("").astype(str).to_numpy(dtype=np.str_)

    def matrix() -> Matrix:
        others = [name for name in names if name != first]
        within_limit(rows * len(others), ENTRY_LIMIT, "entries of a matrix")
        values = read(others)
        texts = [name for name in others if values[name].dtype.kind not in "iuf"]
        if texts:
            raise EdgeTableError(f"column {texts[0]} of the matrix does not hold numbers")
        return Matrix(
            rows=row_names(), columns=np.array(others, dtype=np.str_), values=values.to_numpy(dtype=np.float64)
        )

    return TableFile(columns=unnamed, read=read, rows=row_names, matrix=matrix)


def _open_text(path: Path) -> TableFile:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    separator = "\t" if ".tsv" in path.suffixes else ","
    first, second, before = _first_lines(path, separator)
    if not first:
        raise EdgeTableError("not a readable table: the file is empty")
    header = not _headerless(first)
    columns = tuple(first) if header else ("TF", "target", "importance")
    if len(second) == len(columns) + 1:  # the way R writes row names: they have no name of their own
        columns = ("", *columns)
    places = [str(place) for place in range(len(columns))]

    def parsed(kinds: dict[str, pa.DataType], missing: Sequence[str] = ()) -> pa.Table:
        with pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(column_names=places, skip_rows=before if header else 0),
            parse_options=pa_csv.ParseOptions(delimiter=separator),
            convert_options=pa_csv.ConvertOptions(
                column_types=kinds, include_columns=list(kinds), null_values=list(missing), strings_can_be_null=False
            ),
        ) as stream:
            batches, rows = [], 0
            for batch in stream:  # counted on the way: a small packed file may hold any number of rows
                rows += batch.num_rows
                within_limit(rows, ROW_LIMIT, "rows or more")
                batches.append(batch)
            return pa.Table.from_batches(batches, schema=stream.schema)

    def read(wanted: Sequence[str]) -> pd.DataFrame:
        where = {name: str(columns.index(name)) for name in wanted}
        table = parsed(dict.fromkeys(where.values(), pa.string())).select(list(where.values()))
        frame: pd.DataFrame = table.rename_columns(list(where)).to_pandas()
        return frame

    if len(columns) < 3 or not header:
        return TableFile(columns=columns, read=read, header=header)

    def row_names() -> NDArray[np.str_]:
        return np.array(parsed({"0": pa.string()})["0"].to_pylist(), dtype=np.str_)

    def matrix() -> Matrix:
        rows, others = row_names(), np.array(columns[1:], dtype=np.str_)
        within_limit(rows.size * others.size, ENTRY_LIMIT, "entries of a matrix")
        table = parsed(dict.fromkeys(places[1:], pa.float64()), MISSING)
        return Matrix(rows=rows, columns=others, values=table.to_pandas().to_numpy(dtype=np.float64))

    return TableFile(columns=columns, read=read, rows=row_names, matrix=matrix)


def _first_lines(path: Path, separator: str) -> tuple[list[str], list[str], int]:
    """Fields of the first two lines that are not empty, and how many lines the first of them ends."""
    found: list[list[str]] = []
    ends = 0
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        for number in range(1000):
            line = stream.readline(LINE_LIMIT)
            if not line or len(found) == 2:
                break
            if len(line) == LINE_LIMIT:
                raise EdgeTableError(f"a line is longer than {LINE_LIMIT:,} bytes")
            text = line.decode("utf-8-sig" if number == 0 else "utf-8").rstrip("\r\n")
            if text:
                found.append(next(csv.reader([text], delimiter=separator)))
                ends = ends or number + 1
    found += [[], []]
    return found[0], found[1], ends


def _headerless(fields: Sequence[str]) -> bool:
    """Whether a first line of three fields is a pair and its score already."""
    return len(fields) == 3 and [bool(_NUMBER.fullmatch(field)) for field in fields] == [False, False, True]


def could_be_matrix(file: TableFile, rows: NDArray[np.str_]) -> bool:
    """Whether at least two row names, and half of the shorter side, name columns too."""
    shared = set(rows.tolist()) & set(file.columns)
    return len(shared) >= 2 and 2 * len(shared) >= min(rows.size, len(file.columns) - 1)
