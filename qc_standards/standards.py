"""QC standards: one YAML file each, read into frozen records and checked for completeness.

What belongs here: the file format and its rules. What does not: evaluating a standard
(`qc_standards.suites`). Reading standards imports neither pandas nor Great Expectations.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from qc_standards.registry import RegistryError, declared_ids

STANDARDS_FOLDER: Final = Path(__file__).parent / "standards"

_ID = re.compile(r"QCS-\d{2,}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_REQUIRED: Final = (
    "id",
    "version",
    "title",
    "status",
    "kind",
    "severity",
    "applies_to",
    "rationale",
    "evidence",
    "how_to_fix",
    "changelog",
    "rows",
    "not_null",
    "expectations",
    "examples",
)
_OPTIONAL: Final = ("applies_when", "select", "keys", "tests", "deprecated_by")
_CHOICES: Final = MappingProxyType(
    {
        "kind": ("integrity", "validity"),
        "severity": ("critical", "warning"),
        "status": ("active", "deprecated"),
    }
)


class StandardError(RegistryError):
    """A standard's file is incomplete or contradicts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """Columns that identify a row and, where fixed, the exact set of keys expected."""

    columns: tuple[str, ...]
    expected: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationSpec:
    """One expectation of a standard: its id, Great Expectations type and explicit arguments."""

    id: str
    type: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A small table that must pass, or must fail in exactly the expectations named by ``fails``."""

    rows: tuple[Mapping[str, Any], ...]
    fails: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """One QC standard. ``content_hash`` is the sha256 of its file: its thresholds are in the file.

    ``tests`` are the declared rows of the analysis behind its table: where the table is absent, they say why.
    """

    id: str
    version: str
    title: str
    status: str
    kind: str
    severity: str
    applies_to: str
    applies_when: Mapping[str, tuple[Any, ...]]
    select: Mapping[str, tuple[Any, ...]]
    tests: tuple[str, ...]
    rationale: str
    evidence: tuple[Mapping[str, str], ...]
    how_to_fix: str
    changelog: tuple[Mapping[str, str], ...]
    rows: tuple[int, int | None]
    keys: KeySet | None
    not_null: tuple[str, ...]
    expectations: tuple[ExpectationSpec, ...]
    examples: Mapping[str, Example]
    content_hash: str


def _listed(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _row_count(value: Any, name: str) -> tuple[int, int | None]:
    if isinstance(value, int) and value > 0:
        return value, value
    if isinstance(value, dict) and set(value) == {"min"} and isinstance(value["min"], int) and value["min"] > 0:
        return value["min"], None
    raise StandardError(f"{name}: rows must be a positive number, or {{min: positive number}}; got {value!r}")


def _keys(entry: Mapping[str, Any] | None) -> KeySet | None:
    if entry is None:
        return None
    columns = tuple(entry["columns"])
    if "product" not in entry:
        return KeySet(columns=columns, expected=None)
    parts = [entry["product"][column] for column in columns]
    return KeySet(columns=columns, expected=tuple("|".join(map(str, cell)) for cell in product(*parts)))


def _example_rows(entry: Mapping[str, Any], keys: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    """Rows of an example: ``common`` columns joined to ``rows``, or to every expected key when none are given."""
    common = entry.get("common", {})
    rows = entry.get("rows")
    if rows is None:
        if not keys or "product" not in keys:
            raise StandardError("an example without `rows` needs a key product")
        parts = [keys["product"][column] for column in keys["columns"]]
        rows = [dict(zip(keys["columns"], cell, strict=True)) for cell in product(*parts)]
    return tuple({**common, **row} for row in rows)


def _examples(content: Mapping[str, Any], name: str) -> Mapping[str, Example]:
    given = content["examples"]
    if set(given) != {"passing", "failing"}:
        raise StandardError(f"{name}: examples must be `passing` and `failing`")
    fails = tuple(given["failing"].get("fails", ()))
    if not fails:
        raise StandardError(f"{name}: the failing example must name what it fails")
    keys = content.get("keys")
    return MappingProxyType(
        {
            "passing": Example(rows=_example_rows(given["passing"], keys), fails=()),
            "failing": Example(rows=_example_rows(given["failing"], keys), fails=fails),
        }
    )


def _check_fields(content: Mapping[str, Any], name: str) -> None:
    missing = [key for key in _REQUIRED if key not in content]
    unknown = sorted(set(content) - set(_REQUIRED) - set(_OPTIONAL))
    if missing or unknown:
        raise StandardError(f"{name}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}")
    for key, allowed in _CHOICES.items():
        if content[key] not in allowed:
            raise StandardError(f"{name}: {key} is {content[key]!r}, not one of {', '.join(allowed)}")
    if not _ID.fullmatch(content["id"]) or not name.startswith(content["id"] + "_"):
        raise StandardError(f"{name}: id {content['id']!r} must be QCS-NN and begin the file name")
    if not _VERSION.fullmatch(str(content["version"])):
        raise StandardError(f"{name}: version {content['version']!r} is not MAJOR.MINOR.PATCH")
    if content["changelog"][-1]["version"] != content["version"]:
        raise StandardError(f"{name}: the last changelog entry must be version {content['version']}")
    if (content["status"] == "deprecated") != ("deprecated_by" in content):
        raise StandardError(f"{name}: a deprecated standard, and no other, names `deprecated_by`")


def _check_expectations(content: Mapping[str, Any], name: str) -> None:
    ids = [entry["id"] for entry in content["expectations"]]
    if len(ids) != len(set(ids)):
        raise StandardError(f"{name}: expectation ids repeat: {ids}")
    if not content["not_null"]:
        raise StandardError(f"{name}: name the columns that may not be null; most expectations skip nulls")
    unknown = sorted(set(content.get("tests", ())) - set(declared_ids()))
    if unknown:
        raise StandardError(f"{name}: undeclared tests {', '.join(unknown)}")
    keys = content.get("keys") or {}
    if "product" in keys:
        size = len(list(product(*[keys["product"][column] for column in keys["columns"]])))
        if content["rows"] != size:
            raise StandardError(f"{name}: rows is {content['rows']}, its key product has {size}")


def read_standard(path: Path) -> Standard:
    """Standard of one YAML file, checked: every field, ids, versions, row count, examples.

    Raises `StandardError` naming the file and the rule it breaks.
    """
    raw = path.read_bytes()
    try:
        content = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise StandardError(f"{path.name}: not YAML ({error})") from error
    if not isinstance(content, dict):
        raise StandardError(f"{path.name}: expected a mapping of fields")
    _check_fields(content, path.name)
    _check_expectations(content, path.name)
    return Standard(
        **{key: content[key] for key in ("id", "title", "status", "kind", "severity", "applies_to")},
        version=str(content["version"]),
        rationale=content["rationale"],
        how_to_fix=content["how_to_fix"],
        applies_when=MappingProxyType({k: _listed(v) for k, v in content.get("applies_when", {}).items()}),
        select=MappingProxyType({k: _listed(v) for k, v in content.get("select", {}).items()}),
        tests=tuple(content.get("tests", ())),
        evidence=tuple(content["evidence"]),
        changelog=tuple(content["changelog"]),
        rows=_row_count(content["rows"], path.name),
        keys=_keys(content.get("keys")),
        not_null=tuple(content["not_null"]),
        expectations=tuple(
            ExpectationSpec(
                id=entry["id"],
                type=entry["type"],
                arguments=MappingProxyType({k: v for k, v in entry.items() if k not in ("id", "type")}),
            )
            for entry in content["expectations"]
        ),
        examples=_examples(content, path.name),
        content_hash=hashlib.sha256(raw).hexdigest(),
    )


def read_standards(folder: Path) -> Mapping[str, Standard]:
    """Standards of a folder by id, in id order; an empty folder or a repeated id is a `StandardError`."""
    standards = [read_standard(path) for path in sorted(folder.glob("QCS-*.yaml"))]
    ids = [standard.id for standard in standards]
    if not ids or len(ids) != len(set(ids)):
        raise StandardError(f"{folder.name}: {len(ids)} standards, ids {ids}")
    return MappingProxyType({standard.id: standard for standard in standards})


@functools.cache
def shipped_standards() -> Mapping[str, Standard]:
    """The standards that ship with this release, by id."""
    return read_standards(STANDARDS_FOLDER)


@functools.cache
def standards_hash() -> str:
    """sha256 over the content hashes of all shipped standards, in id order."""
    joined = "".join(f"{item.id}={item.content_hash}\n" for item in shipped_standards().values())
    return hashlib.sha256(joined.encode()).hexdigest()
