"""The extended tests: declared, corrected and stored apart from the 153.

What belongs here: reading ``registry/extended/E*.csv``, Benjamini-Hochberg within each local family, and the frame
behind ``extended.parquet``. What does not: the declared battery, which no extended row enters, and any claim.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from qc_standards.multiplicity import (
    ALPHA,
    RESULT_COLUMNS,
    benjamini_hochberg,
    check_emitted,
    mistyped,
    row_hashes,
    typed_frame,
)
from qc_standards.records import Status, TestResult, TestSpec
from qc_standards.registry import REGISTRY_FOLDER, RegistryError, depth_share, published_cells, role_names

EXTENDED_FOLDER: Final = REGISTRY_FOLDER / "extended"
EXTENDED_FILE: Final = "extended.parquet"
EXTENDED_CSV: Final = "extended.csv"
ADDED_COLUMNS: Final = ("local_family", "family_size", "q_local", "significant_local", "row_hash")
EXTENDED_COLUMNS: Final = (*RESULT_COLUMNS, *ADDED_COLUMNS)
SOURCES: Final = ("published", "own")

_DECLARED_COLUMNS: Final = (
    "test_id",
    "analysis",
    "hypothesis",
    "test_type",
    "local_family",
    "roles",
    "effect_kind",
    "alternative",
    "resampling_unit",
    "comparison",
    "depth",
    "source",
)


def _spec(path: Path, row: Mapping[str, str]) -> TestSpec:
    number = path.stem.removeprefix("E")
    expected = f"E{number}."
    if not row["test_id"].startswith(expected) or row["source"] not in SOURCES or not row["local_family"]:
        raise RegistryError(
            f"{path.name}, {row['test_id']}: an id starts with {expected}, source is {' or '.join(SOURCES)}, "
            "and local_family is never empty"
        )
    return TestSpec(
        test_id=row["test_id"],
        analysis_no=int(number),
        analysis=row["analysis"],
        hypothesis=row["hypothesis"],
        test_type=row["test_type"],
        confirmatory=False,
        family_c_primary=False,
        roles=role_names(row["roles"]),
        effect_kind=row["effect_kind"],
        alternative=row["alternative"],
        resampling_unit=row["resampling_unit"],
        comparison=row["comparison"],
        depth=depth_share(row, "depth"),
        published=published_cells(row),
        local_family=row["local_family"],
        source=row["source"],
    )


def read_extended(folder: Path) -> tuple[TestSpec, ...]:
    """Declared extended tests of a registry folder, by analysis and in the order of the files.

    Raises
    ------
    RegistryError
        Naming the file and row: a missing column, an id of another analysis or twice, ids that do not count from 1,
        an unknown source, a row without a local family.
    """
    specs: list[TestSpec] = []
    for path in sorted(folder.glob("E*.csv"), key=lambda file: int(file.stem[1:])):
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            missing = [column for column in _DECLARED_COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise RegistryError(f"{path.name}: missing column {', '.join(missing)}")
            found = [_spec(path, row) for row in reader]
        due = [f"{path.stem}.{place}" for place in range(1, len(found) + 1)]
        if [spec.test_id for spec in found] != due:
            raise RegistryError(f"{path.name}: ids must run from {path.stem}.1 to {path.stem}.{len(found)}, each once")
        specs += found
    return tuple(specs)


@functools.cache
def extended_tests() -> tuple[TestSpec, ...]:
    """The declared extended tests, in declared order.

    Examples
    --------
    >>> extended_tests()[0].test_id, {spec.confirmatory for spec in extended_tests()}
    ('E1.1', {False})
    """
    return read_extended(EXTENDED_FOLDER)


def extended_tests_of(number: int) -> tuple[TestSpec, ...]:
    """Declared tests of extended analysis ``E<number>``; `RegistryError` where it declares none."""
    found = tuple(spec for spec in extended_tests() if spec.analysis_no == number)
    if not found:
        raise RegistryError(f"extended analysis E{number} declares no test")
    return found


def family_sizes(specs: Sequence[TestSpec]) -> dict[str, int]:
    """Declared number of rows of every local family."""
    return dict(Counter(spec.local_family for spec in specs))


def add_local_q(base: pd.DataFrame, specs: Sequence[TestSpec]) -> pd.DataFrame:
    """Extended results with q over the declared size of each local family; any stored ones are replaced.

    A row that was skipped, failed or has no p enters its family at p = 1.
    """
    frame = base.loc[:, list(RESULT_COLUMNS)].copy()
    run = (frame["status"] == Status.RUN.value).to_numpy() & frame["p"].notna().to_numpy()
    p = np.where(run, frame["p"].to_numpy(dtype=np.float64), np.nan)
    families = np.array([spec.local_family for spec in specs], dtype=object)
    sizes = family_sizes(specs)
    q = np.full(len(frame), np.nan)
    for family, size in sizes.items():
        member = families == family
        q[member] = benjamini_hochberg(p[member], size)
    frame["local_family"] = families
    frame["family_size"] = np.array([sizes[family] for family in families], dtype=np.int64)
    frame["q_local"] = q
    frame["significant_local"] = run & (q < ALPHA)
    frame["row_hash"] = pd.Series(row_hashes(frame), dtype=object)
    return frame


def extended_frame(results: Iterable[TestResult], registry: Sequence[TestSpec] | None = None) -> pd.DataFrame:
    """One row per declared extended test in declared order, with q within its local family.

    Columns are `EXTENDED_COLUMNS`. Raises `multiplicity.EmittedTestsError` unless the emitted ids are the declared
    ones, each once.
    """
    specs = tuple(registry) if registry is not None else extended_tests()
    records = list(results)
    place = {spec.test_id: position for position, spec in enumerate(specs)}
    ordered = sorted(records, key=lambda record: (place.get(record.test_id, len(place)), record.test_id))
    check_emitted([record.test_id for record in ordered], [spec.test_id for spec in specs], "extended results")
    return add_local_q(typed_frame(ordered), specs)


def check_extended(frame: pd.DataFrame, where: str = EXTENDED_FILE) -> None:
    """Raise `ValueError` unless a stored frame is complete, undamaged, and holds the q its p-values give."""
    if list(frame.columns) != list(EXTENDED_COLUMNS):
        raise ValueError(f"{where}: columns differ from {', '.join(EXTENDED_COLUMNS)}")
    if odd := mistyped(frame):
        raise ValueError(f"{where}: column {', '.join(odd)} holds another kind of values than results do")
    specs = extended_tests()
    check_emitted(frame["test_id"].astype(str), [spec.test_id for spec in specs], where)
    again = add_local_q(frame, specs)
    damaged = frame.loc[frame["row_hash"].to_numpy() != again["row_hash"].to_numpy(), "test_id"].tolist()
    if damaged:
        raise ValueError(f"{where}: row hash differs for {', '.join(damaged)}; the file was changed")
    for column in ADDED_COLUMNS[:-1]:
        if not frame[column].equals(again[column]):
            raise ValueError(f"{where}: {column} is not what the p-values give")
