"""QC standards: one YAML file each, read into frozen records and checked for completeness.

What belongs here: the file format and its rules. What does not: evaluating a standard (`qc_standards.suites`), what
was published (`qc_standards.version_lock`) or telling it in words (`qc_standards.wording`). Reading standards imports
neither pandas nor Great Expectations.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from qc_standards.registry import declared_ids, extended_ids
from qc_standards.version_lock import LOCK_FILE, check_published, read_lock, version_number
from qc_standards.version_lock import StandardError as StandardError
from qc_standards.yaml_text import plain_yaml

STANDARDS_FOLDER: Final = Path(__file__).parent / "standards"

_ID = re.compile(r"QCS-\d{2,}")
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
_OPTIONAL: Final = ("applies_when", "select", "keys", "tests", "deprecated_by", "row", "columns")
_TEXTS: Final = (
    *("id", "version", "title", "status", "kind", "severity", "applies_to", "rationale", "how_to_fix"),
    *("deprecated_by", "row"),
)
_CHOICES: Final = MappingProxyType(
    {
        "kind": ("integrity", "validity"),
        "severity": ("critical", "warning"),
        "status": ("active", "deprecated"),
    }
)
_RULES: Final = (
    *("kind", "severity", "status", "deprecated_by", "applies_to", "applies_when", "select", "tests"),
    *("rows", "keys", "not_null", "expectations"),
)
_OPERATORS: Final = ("above", "at_least", "at_most", "below")
_COLUMN_ARGUMENTS: Final = (
    *("column", "column_A", "column_B", "low", "high", "estimate"),
    *("margin", "before", "after", "change", "groups", "columns"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """Columns that identify a row and, where fixed, the exact set of keys expected."""

    columns: tuple[str, ...]
    expected: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Rows that an expectation is about: those whose column is one of ``values``, or compares with its number."""

    column: str
    operator: str  # "is", or one of above, at_least, at_most, below
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationSpec:
    """One expectation of a standard: its id, Great Expectations type, explicit arguments and the rows it is about."""

    id: str
    type: str
    arguments: Mapping[str, Any]
    where: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A small table that must pass, or must fail in exactly the expectations named by ``fails``."""

    rows: tuple[Mapping[str, Any], ...]
    fails: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """One QC standard. ``content_hash`` is the sha256 of its file: its thresholds are in the file.

    ``tests`` are the declared rows of the analysis behind its table: where the table is absent, they say why.
    ``row`` says what one row of the table is about and ``columns`` what each column means, with its unit; both are
    empty where the file does not say. ``rules_hash`` is the sha256 of what decides results, words left out.
    """

    id: str
    version: str
    title: str
    status: str
    deprecated_by: str
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
    row: str
    columns: Mapping[str, str]
    rows: tuple[int, int | None]
    keys: KeySet | None
    not_null: tuple[str, ...]
    expectations: tuple[ExpectationSpec, ...]
    examples: Mapping[str, Example]
    content_hash: str
    rules_hash: str


def required_columns(standard: Standard) -> tuple[str, ...]:
    """Columns the standard reads in its table, in order of first use."""
    named = [*standard.select, *(standard.keys.columns if standard.keys else ()), *standard.not_null]
    for item in standard.expectations:
        for key in _COLUMN_ARGUMENTS:
            named += _listed(item.arguments[key]) if key in item.arguments else ()
        named += [condition.column for condition in item.where]
    return tuple(dict.fromkeys(named))


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


def _condition(column: str, given: Any, name: str) -> Condition:
    if not isinstance(given, dict):
        values = _listed(given)
        if not values or (len(values) > 1 and any(isinstance(value, bool) for value in values)):
            raise StandardError(f"{name}: where {column} must be one value or a list of texts or numbers")
        return Condition(column=column, operator="is", values=values)
    if len(given) != 1 or set(given) - set(_OPERATORS):
        raise StandardError(f"{name}: where {column} must be a value, a list, or one of {', '.join(_OPERATORS)}")
    operator, number = next(iter(given.items()))
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise StandardError(f"{name}: where {column} is {operator} {number!r}, which is no number")
    return Condition(column=column, operator=operator, values=(number,))


def _expectation(entry: Mapping[str, Any], name: str) -> ExpectationSpec:
    arguments = {key: value for key, value in entry.items() if key not in ("id", "type", "where")}
    where = tuple(_condition(column, given, name) for column, given in entry.get("where", {}).items())
    return ExpectationSpec(id=entry["id"], type=entry["type"], arguments=MappingProxyType(arguments), where=where)


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
    for key in _TEXTS:
        if not isinstance(content.get(key, "-"), str) or not content.get(key, "-").strip():
            raise StandardError(f"{name}: {key} must be a text, found {content[key]!r:.80}")
    for key, allowed in _CHOICES.items():
        if content[key] not in allowed:
            raise StandardError(f"{name}: {key} is {content[key]!r}, not one of {', '.join(allowed)}")
    if not _ID.fullmatch(content["id"]) or not name.startswith(content["id"] + "_"):
        raise StandardError(f"{name}: id {content['id']!r} must be QCS-NN and begin the file name")
    if (content["status"] == "deprecated") != ("deprecated_by" in content):
        raise StandardError(f"{name}: a deprecated standard, and no other, names `deprecated_by`")


def _check_texts(content: Mapping[str, Any], name: str) -> None:
    """Evidence with a finding and a source each; a changelog whose versions rise up to the version of the file."""
    for entry in content["evidence"]:
        if set(entry) != {"finding", "source"} or not all(str(text).strip() for text in entry.values()):
            raise StandardError(f"{name}: each piece of evidence names a finding and its source")
    if not content["evidence"]:
        raise StandardError(f"{name}: a standard without evidence is an opinion; name a finding and its source")
    try:
        version_number(str(content["version"]))
        listed = [version_number(str(entry["version"])) for entry in content["changelog"]]
    except StandardError as error:
        raise StandardError(f"{name}: {error}") from None
    if not listed or content["changelog"][-1]["version"] != content["version"]:
        raise StandardError(f"{name}: the last changelog entry must be version {content['version']}")
    if any(after <= before for before, after in pairwise(listed)):
        raise StandardError(f"{name}: the versions of the changelog must rise, oldest first")


def _check_expectations(content: Mapping[str, Any], name: str) -> None:
    ids = [entry["id"] for entry in content["expectations"]]
    if len(ids) != len(set(ids)):
        raise StandardError(f"{name}: expectation ids repeat: {ids}")
    if not content["not_null"]:
        raise StandardError(f"{name}: name the columns that may not be null; most expectations skip nulls")
    unknown = sorted(set(content.get("tests", ())) - {*declared_ids(), *extended_ids()})
    if unknown:
        raise StandardError(f"{name}: undeclared tests {', '.join(unknown)}")
    keys = content.get("keys") or {}
    if "product" in keys:
        size = len(list(product(*[keys["product"][column] for column in keys["columns"]])))
        if content["rows"] != size:
            raise StandardError(f"{name}: rows is {content['rows']}, its key product has {size}")
    sure = {*content["not_null"], *content.get("select", {}), *keys.get("columns", ())}
    loose = {column for entry in content["expectations"] for column in entry.get("where", {})} - sure
    if loose:
        raise StandardError(f"{name}: `where` reads {', '.join(sorted(loose))}; list it under not_null, or rows escape")


def _rules_hash(content: Mapping[str, Any]) -> str:
    rules = {key: content[key] for key in _RULES if key in content}
    return hashlib.sha256(json.dumps(rules, sort_keys=True, default=str).encode("utf-8")).hexdigest()


def _content(path: Path) -> tuple[bytes, dict[str, Any]]:
    raw = path.read_bytes().replace(b"\r\n", b"\n")
    try:
        content = plain_yaml(raw)
    except yaml.YAMLError as error:
        raise StandardError(f"{path.name}: not YAML ({error})") from error
    if not isinstance(content, dict):
        raise StandardError(f"{path.name}: expected a mapping of fields")
    return raw, content


def read_standard(path: Path) -> Standard:
    """Standard of one YAML file, checked: every field, ids, versions, row count, columns, examples.

    Whether its version was published is not asked. Raises `StandardError` naming the file and the rule it breaks.
    """
    raw, content = _content(path)
    try:
        return _standard(path, raw, content)
    except (AttributeError, KeyError, TypeError) as error:
        # Fields are read as their format has them; a list where a mapping belongs shows where it is used.
        told = f"{type(error).__name__}: {error}"
        raise StandardError(
            f"{path.name}: a field has another form than those of the shipped standards ({told})"
        ) from error


def _standard(path: Path, raw: bytes, content: Mapping[str, Any]) -> Standard:
    _check_fields(content, path.name)
    _check_texts(content, path.name)
    _check_expectations(content, path.name)
    standard = Standard(
        **{key: content[key] for key in ("id", "title", "status", "kind", "severity", "applies_to")},
        version=str(content["version"]),
        deprecated_by=content.get("deprecated_by", ""),
        rationale=content["rationale"],
        how_to_fix=content["how_to_fix"],
        applies_when=MappingProxyType({k: _listed(v) for k, v in content.get("applies_when", {}).items()}),
        select=MappingProxyType({k: _listed(v) for k, v in content.get("select", {}).items()}),
        tests=tuple(content.get("tests", ())),
        evidence=tuple(content["evidence"]),
        changelog=tuple(content["changelog"]),
        row=content.get("row", ""),
        columns=MappingProxyType(dict(content.get("columns", {}))),
        rows=_row_count(content["rows"], path.name),
        keys=_keys(content.get("keys")),
        not_null=tuple(content["not_null"]),
        expectations=tuple(_expectation(entry, path.name) for entry in content["expectations"]),
        examples=_examples(content, path.name),
        content_hash=hashlib.sha256(raw).hexdigest(),
        rules_hash=_rules_hash(content),
    )
    _check_columns(standard, path.name)
    return standard


def _check_columns(standard: Standard, name: str) -> None:
    if not standard.columns:
        return
    read = set(required_columns(standard))
    silent, idle = sorted(read - set(standard.columns)), sorted(set(standard.columns) - read)
    if silent or idle:
        raise StandardError(
            f"{name}: `columns` explains the columns that are read and no other; "
            f"unexplained {silent or 'none'}, never read {idle or 'none'}"
        )


def _check_successors(standards: Sequence[Standard]) -> None:
    active = {item.id for item in standards if item.status == "active"}
    old = [item for item in standards if item.status == "deprecated"]
    wrong = [f"{item.id} by {item.deprecated_by}" for item in old if item.deprecated_by not in active]
    if wrong:
        raise StandardError(f"deprecated by no active standard of the folder: {', '.join(wrong)}")


def read_standards(folder: Path, *, published: bool = True) -> Mapping[str, Standard]:
    """Standards of a folder by id, in id order, as their record of published versions has them.

    Parameters
    ----------
    folder
        Folder of ``QCS-NN_*.yaml`` files, with or without a record (`qc_standards.version_lock`).
    published
        Whether to compare the files with the record, if there is one; only publishing does not.

    Raises
    ------
    StandardError
        For an empty folder, a repeated id, a deprecated standard without an active successor, or a file that is
        not the published version of its standard.
    """
    standards = [read_standard(path) for path in sorted(folder.glob("QCS-*.yaml"))]
    ids = [standard.id for standard in standards]
    if not ids or len(ids) != len(set(ids)):
        raise StandardError(f"{folder.name}: {len(ids)} standards, ids {ids}")
    _check_successors(standards)
    if published:
        entries = read_lock(folder)
        if entries is not None:
            check_published(standards, entries)
    return MappingProxyType({standard.id: standard for standard in standards})


@functools.cache
def shipped_standards() -> Mapping[str, Standard]:
    """The standards that ship with this release, by id; each is its published version, or `StandardError`."""
    if not (STANDARDS_FOLDER / LOCK_FILE).is_file():
        raise StandardError(f"{LOCK_FILE} is gone, so nobody can say what was published; restore it from the history")
    return read_standards(STANDARDS_FOLDER)


@functools.cache
def standards_hash() -> str:
    """sha256 over the content hashes of all shipped standards, in id order."""
    joined = "".join(f"{item.id}={item.content_hash}\n" for item in shipped_standards().values())
    return hashlib.sha256(joined.encode()).hexdigest()
