"""Result folders: strict reading, and writing of the judged documents.

A folder ``store/<study>/<release>/`` holds ``tests.parquet``, ``tables/*.parquet``, ``standards.json``,
``claims.json``, ``verdict.json``, ``statement.json`` and ``provenance.json``. Reading fails closed with the file and
the rule broken. Row hashes detect accidents, not forgery: whoever can write a folder can also write its hashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from qc_standards import documents
from qc_standards.evidence import TABLE_COLUMNS
from qc_standards.extended import EXTENDED_FILE, check_extended
from qc_standards.json_text import plain_json
from qc_standards.multiplicity import (
    ADDED_COLUMNS,
    FRAME_COLUMNS,
    add_multiplicity,
    check_emitted,
    mistyped,
    records_of,
    row_hashes,
)
from qc_standards.registry import DECLARED_TESTS, declared_ids, declared_tests
from qc_standards.verdicts import Judgement

TESTS_FILE: Final = "tests.parquet"
TESTS_CSV: Final = "tests.csv"
TABLES_FOLDER: Final = "tables"
JUDGED_FILES: Final = ("standards.json", "claims.json", "verdict.json", "statement.json")
PROVENANCE_FILE: Final = "provenance.json"
REQUIRED_TABLES: Final = ("evaluation",)  # without data there is nothing else, and every claim stays closed
_AGAIN: Final = "evaluate the release again (make evaluate) or restore the folder"


class ResultsError(ValueError):
    """A result folder is incomplete, damaged, or differs from what its own tables give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One result folder in memory; ``stored`` holds its judged documents by file name.

    ``extended`` are the extended tests, None where the folder holds none; no claim reads them.
    """

    tests: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    stored: Mapping[str, dict[str, Any]]
    folder: Path | None = None
    extended: pd.DataFrame | None = None


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow import ArrowException

    if not path.is_file():
        raise ResultsError(f"{path}: missing; {_AGAIN}")
    try:
        return pd.read_parquet(path)
    except (ArrowException, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ResultsError(f"{path}: truncated or no parquet file ({error}); {_AGAIN}") from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ResultsError(f"{path}: missing; {_AGAIN}")
    try:
        content = plain_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: not JSON ({error}); {_AGAIN}") from error
    if not isinstance(content, dict):
        raise ResultsError(f"{path}: expected a JSON object; {_AGAIN}")
    return content


def check_tests(frame: pd.DataFrame, where: str = TESTS_FILE) -> None:
    """Raise `ResultsError` unless the frame is a complete, undamaged results frame.

    Checks columns, 153 rows, declared ids in declared order, possible values, row hashes, and that every q
    and significance flag is the one its p gives.
    """
    if list(frame.columns) != list(FRAME_COLUMNS):
        lacking = [column for column in FRAME_COLUMNS if column not in frame.columns]
        extra = [column for column in frame.columns if column not in FRAME_COLUMNS]
        raise ResultsError(f"{where}: columns differ; missing {lacking}, not expected {extra}")
    if odd := mistyped(frame):
        raise ResultsError(f"{where}: column {', '.join(odd)} holds another kind of values than results do; {_AGAIN}")
    if len(frame) != DECLARED_TESTS:
        raise ResultsError(f"{where}: {len(frame)} rows, {DECLARED_TESTS} tests are declared; {_AGAIN}")
    try:
        check_emitted(frame["test_id"].astype(str), declared_ids(), where)
        records_of(frame)
    except (ValueError, TypeError) as error:
        raise ResultsError(f"{where}: {error}") from error
    _check_derived(frame, where)


def _check_derived(frame: pd.DataFrame, where: str) -> None:
    again = row_hashes(frame)
    damaged = [
        test_id
        for test_id, stored, new in zip(frame["test_id"], frame["row_hash"], again, strict=True)
        if stored != new
    ]
    if damaged:
        raise ResultsError(f"{where}: row hash differs for {', '.join(damaged)}; the file was changed; {_AGAIN}")
    recomputed = add_multiplicity(frame, declared_tests())
    for column in ADDED_COLUMNS[:-1]:
        old, new = frame[column].to_numpy(dtype=np.float64), recomputed[column].to_numpy(dtype=np.float64)
        if not np.allclose(old, new, rtol=1e-9, atol=1e-12, equal_nan=True):
            raise ResultsError(f"{where}: {column} is not what the p-values give; {_AGAIN}")


def _check_table(name: str, frame: pd.DataFrame) -> None:
    lacking = [column for column in TABLE_COLUMNS.get(name, ()) if column not in frame.columns]
    if lacking:
        raise ResultsError(f"{TABLES_FOLDER}/{name}.parquet: missing column {', '.join(lacking)}; {_AGAIN}")


def read_tables(folder: Path) -> Mapping[str, pd.DataFrame]:
    """Tables of a result folder by name, their contracted columns checked."""
    place = folder / TABLES_FOLDER
    tables = {path.stem: _read_parquet(path) for path in sorted(place.glob("*.parquet"))}
    absent = [name for name in REQUIRED_TABLES if name not in tables]
    if absent:
        raise ResultsError(f"{place}: missing table {', '.join(absent)}; {_AGAIN}")
    for name, frame in tables.items():
        _check_table(name, frame)
    return MappingProxyType(tables)


def read_results(folder: Path, *, judged: bool = True) -> Results:
    """Return a result folder in memory, strictly checked.

    With ``judged`` the judged documents and the provenance must be there too. Raises `ResultsError`
    naming the file and what is wrong with it: missing, truncated, wrong columns, rows, ids or hashes.
    """
    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such result folder")
    tests = _read_parquet(folder / TESTS_FILE)
    check_tests(tests, str(folder / TESTS_FILE))
    tables = read_tables(folder)
    stored: dict[str, dict[str, Any]] = {}
    if judged:
        stored = {name: _read_json(folder / name) for name in JUDGED_FILES}
        _read_json(folder / PROVENANCE_FILE)
    return Results(
        tests=tests, tables=tables, stored=MappingProxyType(stored), folder=folder, extended=_read_extended(folder)
    )


def _read_extended(folder: Path) -> pd.DataFrame | None:
    """Extended tests of a folder that has them, checked as strictly as the 153."""
    path = folder / EXTENDED_FILE
    if not path.is_file():
        return None
    frame = _read_parquet(path)
    try:
        check_extended(frame, str(path))
    except ValueError as error:
        raise ResultsError(f"{error}; {_AGAIN}") from error
    return frame


def _write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    return partial.replace(path)


def _write_parquet(path: Path, frame: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    frame.to_parquet(partial, index=False)
    return partial.replace(path)


def write_tests(folder: Path, frame: pd.DataFrame) -> tuple[Path, Path]:
    """Write a checked results frame as ``tests.parquet`` and ``tests.csv``; returns both paths."""
    check_tests(frame)
    text = frame.to_csv(index=False, lineterminator="\n")
    return _write_parquet(folder / TESTS_FILE, frame), _write_text(folder / TESTS_CSV, text)


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> tuple[Path, ...]:
    """Write tables as ``tables/<name>.parquet``, contracted columns checked first; returns their paths."""
    for name, frame in tables.items():
        _check_table(name, frame)
    return tuple(
        _write_parquet(folder / TABLES_FOLDER / f"{name}.parquet", frame) for name, frame in sorted(tables.items())
    )


def write_standards(folder: Path, judgement: Judgement) -> Path:
    """Write ``standards.json`` of a judgement; returns its path."""
    text = documents.canonical_json(documents.standards_document(judgement))
    return _write_text(folder / "standards.json", text)


def write_claims(folder: Path, judgement: Judgement) -> Path:
    """Write ``claims.json`` of a judgement; returns its path."""
    return _write_text(folder / "claims.json", documents.canonical_json(documents.claims_document(judgement)))


def write_verdict(folder: Path, judgement: Judgement) -> Path:
    """Write ``verdict.json`` of a judgement; returns its path."""
    text = documents.canonical_json(documents.verdict_document(judgement))
    return _write_text(folder / "verdict.json", text)


def write_statement(folder: Path, judgement: Judgement) -> Path:
    """Write ``statement.json`` of a judgement; returns its path."""
    return _write_text(folder / "statement.json", documents.canonical_json(documents.statement_document(judgement)))


def check_stored(results: Results, judgement: Judgement) -> None:
    """Raise `ResultsError` where the stored documents differ from a recomputed judgement."""
    recomputed = {name: json.loads(documents.canonical_json(d)) for name, d in documents.documents(judgement).items()}
    told = [
        f"{name}: {line}"
        for name, document in recomputed.items()
        for line in documents.differences(results.stored.get(name, {}), document)
    ]
    if told:
        more = f" and {len(told) - 5} more" if len(told) > 5 else ""
        raise ResultsError(
            f"{results.folder}: stored verdict differs from the one its tables give: "
            f"{'; '.join(told[:5])}{more}; {_AGAIN}"
        )
