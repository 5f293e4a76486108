"""The declared battery: 153 tests, their families, and the published values kept apart from them.

What belongs here: reading ``registry/tests.csv`` and answering what was declared. What does not: anything
computed. The file is data, so that a declared test can be reviewed as one line of a diff.
"""

from __future__ import annotations

import csv
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from qc_standards.records import TestSpec

Family = Literal["A", "B", "C"]

REGISTRY_FOLDER: Final = Path(__file__).parent / "registry"
TESTS_FILE: Final = REGISTRY_FOLDER / "tests.csv"
PUBLISHED_PREFIX: Final = "published_"
PRIMARY_ROLE: Final = "primary_screen"

DECLARED_TESTS: Final = 153
DECLARED_ANALYSES: Final = 37
FAMILY_SIZES: Final[Mapping[Family, int]] = MappingProxyType({"A": 95, "B": 153, "C": 27})

_DECLARED_COLUMNS: Final = (
    "test_id",
    "analysis_no",
    "analysis",
    "hypothesis",
    "test_type",
    "confirmatory",
    "family_c_primary",
    "roles",
    "effect_kind",
    "alternative",
    "resampling_unit",
    "comparison",
    "depth",
    "head_share",
)


class RegistryError(ValueError):
    """The declared tests, claims or standards contradict themselves."""


def _flag(row: Mapping[str, str], column: str) -> bool:
    value = row[column]
    if value not in ("yes", "no"):
        raise RegistryError(f"{row['test_id']}: {column} is {value!r}; write yes or no")
    return value == "yes"


def depth_share(row: Mapping[str, str], column: str) -> float | None:
    """Value of a column that holds a share of 0 to 1, or None where it is empty."""
    if not row[column]:
        return None
    value = float(row[column])
    if not 0.0 <= value <= 1.0:
        raise RegistryError(f"{row['test_id']}: {column} = {value} lies outside 0..1")
    return value


@functools.cache
def extended_ids() -> tuple[str, ...]:
    """Ids of the extended tests as their files list them; `qc_standards.extended` checks and reads the files."""
    found = []
    for path in sorted((REGISTRY_FOLDER / "extended").glob("E*.csv")):
        with path.open(encoding="utf-8", newline="") as handle:
            found += [row["test_id"] for row in csv.DictReader(handle)]
    return tuple(found)


def published_cells(row: Mapping[str, str]) -> Mapping[str, str]:
    """Published values of a registry row by name; a cell that is empty states none."""
    return MappingProxyType(
        {
            column.removeprefix(PUBLISHED_PREFIX): value
            for column, value in row.items()
            if column.startswith(PUBLISHED_PREFIX) and value
        }
    )


def role_names(cell: str) -> tuple[str, ...]:
    """Roles a registry cell names, separated by semicolons; none for the word none."""
    return () if cell == "none" else tuple(cell.split(";"))


def _spec(row: Mapping[str, str]) -> TestSpec:
    return TestSpec(
        test_id=row["test_id"],
        analysis_no=int(row["analysis_no"]),
        analysis=row["analysis"],
        hypothesis=row["hypothesis"],
        test_type=row["test_type"],
        confirmatory=_flag(row, "confirmatory"),
        family_c_primary=_flag(row, "family_c_primary"),
        roles=role_names(row["roles"]),
        effect_kind=row["effect_kind"],
        alternative=row["alternative"],
        resampling_unit=row["resampling_unit"],
        comparison=row["comparison"],
        depth=depth_share(row, "depth"),
        head_share=depth_share(row, "head_share"),
        published=published_cells(row),
    )


def _check_counts(specs: tuple[TestSpec, ...]) -> None:
    ids = [spec.test_id for spec in specs]
    doubled = sorted({test_id for test_id in ids if ids.count(test_id) > 1})
    if doubled:
        raise RegistryError(f"declared twice: {', '.join(doubled)}")
    counts = {
        "tests": (len(specs), DECLARED_TESTS),
        "confirmatory": (sum(spec.confirmatory for spec in specs), FAMILY_SIZES["A"]),
        "descriptive": (sum(not spec.confirmatory for spec in specs), DECLARED_TESTS - FAMILY_SIZES["A"]),
        "family C": (sum(spec.family_c_primary for spec in specs), FAMILY_SIZES["C"]),
        "analyses": (len({spec.analysis_no for spec in specs}), DECLARED_ANALYSES),
    }
    wrong = [f"{name} {found}, not {due}" for name, (found, due) in counts.items() if found != due]
    if wrong:
        raise RegistryError(f"the declared battery has changed size: {'; '.join(wrong)}")
    stray = [spec.test_id for spec in specs if spec.family_c_primary and not spec.confirmatory]
    if stray:
        raise RegistryError(f"family C must be a part of family A; not confirmatory: {', '.join(stray)}")


def read_tests(path: Path) -> tuple[TestSpec, ...]:
    """Declared tests of a registry file in declared order, checked against the declared counts.

    Raises `RegistryError` naming the row or the count that is wrong: 153 tests (95 confirmatory, 58
    descriptive, 27 of them family C) of 37 analyses.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        missing = [column for column in _DECLARED_COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise RegistryError(f"{path.name}: missing column {', '.join(missing)}")
        specs = tuple(_spec(row) for row in reader)
    _check_counts(specs)
    return specs


@functools.cache
def declared_tests() -> tuple[TestSpec, ...]:
    """The 153 declared tests, in declared order.

    Examples
    --------
    >>> len(declared_tests()), declared_tests()[0].test_id
    (153, 'A01.1')
    """
    return read_tests(TESTS_FILE)


def declared_ids() -> tuple[str, ...]:
    """Ids of the declared tests, in declared order."""
    return tuple(spec.test_id for spec in declared_tests())


def test_spec(test_id: str) -> TestSpec:
    """Return the declared test of that id; an undeclared id is a `RegistryError`."""
    for spec in declared_tests():
        if spec.test_id == test_id:
            return spec
    raise RegistryError(f"{test_id} is not a declared test; `qc-gate list tests` prints the 153 ids")


test_spec.__test__ = False  # type: ignore[attr-defined]


def tests_of_analysis(number: int) -> tuple[TestSpec, ...]:
    """Return the declared tests of one analysis, in declared order."""
    found = tuple(spec for spec in declared_tests() if spec.analysis_no == number)
    if not found:
        raise RegistryError(f"analysis {number} declares no test; analyses are 1..{DECLARED_ANALYSES}")
    return found


tests_of_analysis.__test__ = False  # type: ignore[attr-defined]


def tests_of_role(role: str) -> tuple[TestSpec, ...]:
    """Return the declared tests that read a dataset in one role, in declared order."""
    return tuple(spec for spec in declared_tests() if role in spec.roles)


tests_of_role.__test__ = False  # type: ignore[attr-defined]


def in_family(spec: TestSpec, family: Family) -> bool:
    """Whether a declared test enters family A (confirmatory), B (all) or C (one primary per analysis)."""
    return {"A": spec.confirmatory, "B": True, "C": spec.family_c_primary}[family]


@functools.cache
def registry_hash() -> str:
    """sha256 of the declared battery; changes when any declared or published cell changes."""
    return hashlib.sha256(TESTS_FILE.read_bytes()).hexdigest()
