"""Published versions of standards: which content each one has, and whether the files still keep to it.

What belongs here: reading ``published.yaml`` beside the standards, comparing it with their files, and the lines
that publishing adds. What does not: the format of a standard (`qc_standards.standards`) or the command
(`qc_standards.publish`). The record detects accidents; who edits it by hand is seen in the diff.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from qc_standards.registry import RegistryError
from qc_standards.yaml_text import plain_yaml

LOCK_FILE: Final = "published.yaml"
PUBLISH_COMMAND: Final = "python -m qc_standards.publish"

_HEAD: Final = f"""\
# Every published version of a standard, with the sha256 of its file and of its machine part. Written by
# `{PUBLISH_COMMAND}`, which only ever adds lines. To change a standard: raise its version, add a changelog
# entry, run the command. A published line is never edited or taken out.
"""
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class StandardError(RegistryError):
    """A standard's file is incomplete, contradicts itself, or is not what was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedVersion:
    """One published version: sha256 of the whole file, and of the part that decides results (``rules``)."""

    id: str
    version: str
    content: str
    rules: str


class Versioned(Protocol):
    """What the record needs of a standard."""

    @property
    def id(self) -> str:
        """Id of the standard."""

    @property
    def version(self) -> str:
        """Version its file states."""

    @property
    def content_hash(self) -> str:
        """sha256 of its file."""

    @property
    def rules_hash(self) -> str:
        """sha256 of its machine part."""

    @property
    def changelog(self) -> Sequence[Mapping[str, str]]:
        """Versions and what changed, oldest first."""


def version_number(version: str) -> tuple[int, int, int]:
    """Semantic version as three numbers that compare.

    Examples
    --------
    >>> version_number("1.10.0") > version_number("1.9.2")
    True
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise StandardError(f"version {version!r} is not MAJOR.MINOR.PATCH")
    major, minor, patch = found.groups()
    return int(major), int(minor), int(patch)


def _entry(given: Any, name: str) -> PublishedVersion:
    fields = ("id", "version", "content", "rules")
    if not isinstance(given, dict) or set(given) != set(fields):
        raise StandardError(f"{name}: {given!r} is not an entry with {', '.join(fields)}")
    entry = PublishedVersion(**{field: str(given[field]) for field in fields})
    if not _SHA256.fullmatch(entry.content) or not _SHA256.fullmatch(entry.rules):
        raise StandardError(f"{name}: {entry.id} {entry.version} has no sha256 of 64 hexadecimal digits")
    return entry


def read_lock(folder: Path) -> tuple[PublishedVersion, ...] | None:
    """Published versions of a folder of standards in id and version order; None where it keeps no record.

    Raises `StandardError` for a damaged record: no list, a version twice or out of order, or a patch version
    whose machine part differs from the version before it.
    """
    path = folder / LOCK_FILE
    if not path.is_file():
        return None
    try:
        content = plain_yaml(path.read_bytes())
    except yaml.YAMLError as error:
        raise StandardError(f"{LOCK_FILE}: not YAML ({error})") from error
    if not isinstance(content, dict) or set(content) != {"published"} or not isinstance(content["published"], list):
        raise StandardError(f"{LOCK_FILE}: expected one key `published` with a list of versions")
    entries = tuple(_entry(given, LOCK_FILE) for given in content["published"])
    _check_history(entries)
    return entries


def _check_history(entries: Sequence[PublishedVersion]) -> None:
    numbered = [(entry.id, version_number(entry.version)) for entry in entries]
    wrong = [
        f"{later.id} {later.version}"
        for later, pair in zip(entries[1:], pairwise(numbered), strict=True)
        if pair[0] >= pair[1]
    ]
    if wrong:
        raise StandardError(f"{LOCK_FILE}: repeated or out of order: {', '.join(wrong)}; restore the committed record")
    for before, after in pairwise(entries):
        if before.id == after.id:
            told = _only_words(before, after)
            if told:
                raise StandardError(f"{LOCK_FILE}: {told}")


def _only_words(before: PublishedVersion, after: PublishedVersion) -> str:
    """Why a patch version is more than one; empty when it changes words only, or is no patch version."""
    patch = version_number(before.version)[:2] == version_number(after.version)[:2]
    if patch and before.rules != after.rules:
        return (
            f"{after.id} {after.version} changes what is demanded since {before.version}; a patch version changes "
            "words only: raise the minor version where more is demanded, the major one where less or other data are"
        )
    return ""


def _by_id(entries: Iterable[PublishedVersion]) -> Mapping[str, tuple[PublishedVersion, ...]]:
    return {name: tuple(group) for name, group in groupby(entries, key=lambda entry: entry.id)}


def _fault(standard: Versioned, history: tuple[PublishedVersion, ...]) -> str:
    """What keeps a standard's file from being its last published version; empty when it is."""
    here = f"{standard.id} {standard.version}"
    if not history:
        return f"{here} is not published yet: run `{PUBLISH_COMMAND}`"
    last = history[-1]
    if standard.version != last.version:
        if version_number(standard.version) < version_number(last.version):
            return f"{here} is older than the published {last.version}: raise the version above it"
        return f"{here} is not published yet, only {last.version} is: run `{PUBLISH_COMMAND}`"
    if standard.content_hash != last.content:
        return (
            f"{here} is published and its file has changed since: raise the version, add a changelog entry and "
            f"run `{PUBLISH_COMMAND}`, or restore the file"
        )
    return _lost_versions(standard, history)


def _lost_versions(standard: Versioned, history: tuple[PublishedVersion, ...]) -> str:
    """Published versions that the changelog forgets, or listed ones in between that were never published."""
    published = [entry.version for entry in history]
    listed = [entry["version"] for entry in standard.changelog]
    lost = [version for version in published if version not in listed]
    if lost:
        return f"{standard.id}: the changelog forgets the published {', '.join(lost)}"
    since = [version for version in listed[listed.index(published[0]) :] if version != standard.version]
    never = [version for version in since if version not in published]
    return f"{standard.id}: the changelog lists {', '.join(never)}, never published" if never else ""


def check_published(standards: Sequence[Versioned], entries: Sequence[PublishedVersion]) -> None:
    """Raise `StandardError` unless every file is the last published version of its standard, and none is gone.

    The message lists every standard that is not, and the way out.
    """
    history = _by_id(entries)
    told = [fault for item in standards if (fault := _fault(item, history.get(item.id, ())))]
    gone = sorted(set(history) - {item.id for item in standards})
    told += [f"{name} is published and its file is gone: restore it and deprecate it instead" for name in gone]
    if told:
        raise StandardError("; ".join(told))


def new_entries(standards: Sequence[Versioned], entries: Sequence[PublishedVersion]) -> tuple[PublishedVersion, ...]:
    """Versions to add to the record: those of the standards whose version was raised, or that are new.

    Raises `StandardError` where a published version would be altered, a version is not raised, a file is gone, or a
    patch version changes more than words.
    """
    history = _by_id(entries)
    added = []
    for item in standards:
        before = history.get(item.id, ())
        if not before or version_number(item.version) > version_number(before[-1].version):
            new = PublishedVersion(id=item.id, version=item.version, content=item.content_hash, rules=item.rules_hash)
            told = _only_words(before[-1], new) if before else ""
            if told:
                raise StandardError(told)
            added.append(new)
    check_published(standards, _ordered((*entries, *added)))
    return tuple(added)


def _ordered(entries: Iterable[PublishedVersion]) -> tuple[PublishedVersion, ...]:
    return tuple(sorted(entries, key=lambda entry: (entry.id, version_number(entry.version))))


def lock_text(entries: Iterable[PublishedVersion]) -> str:
    """Text of the record: one line a version, in id and version order, so that a diff shows what was published."""
    lines = [
        f'  - {{id: {entry.id}, version: {entry.version}, content: "{entry.content}", rules: "{entry.rules}"}}'
        for entry in _ordered(entries)
    ]
    return _HEAD + "\n".join(["published:", *lines]) + "\n"
