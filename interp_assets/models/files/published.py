"""Published checkpoints by size and hash: which of them a file is, or is not.

What belongs here: the table (``published_checkpoints.yaml``) and the comparison. Nothing is refused here: a file of
one's own is as good as a published one, and a fine-tune of a published shape is the usual case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from interp_assets.models.files.checkpoints import ReleaseFile
from qc_standards.yaml_text import plain_yaml

TABLE = Path(__file__).with_name("published_checkpoints.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """One published weights file. ``size`` is 0 and ``sha256`` empty where no source states them."""

    name: str
    family: str
    file: str
    size: int = 0
    sha256: str = ""
    shape: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDictionary:
    """Token dictionary of a published vocabulary: how many entries it has and the mark in its file names."""

    name: str
    entries: int
    tag: str
    sha256: str


@lru_cache(maxsize=1)
def published() -> tuple[tuple[PublishedWeights, ...], tuple[PublishedDictionary, ...]]:
    """Published weights and dictionaries, in the order of the table."""
    table = plain_yaml(TABLE.read_text(encoding="utf-8"))
    return (
        tuple(PublishedWeights(**entry) for entry in table["weights"]),
        tuple(PublishedDictionary(**entry) for entry in table["dictionaries"]),
    )


def published_match(family: str, files: Iterable[ReleaseFile], shape: Mapping[str, int]) -> str:
    """What is known of the weights among ``files``, in words; empty where no published file is like them.

    ``shape`` holds layers, heads, width and vocabulary. A hash decides; without it, equal size or equal shape are told
    for what they are.
    """
    own = {Path(file.path).name: file for file in files}
    known = [entry for entry in published()[0] if entry.family == family and entry.file in own]
    for entry in known:
        file = own[entry.file]
        if entry.sha256 and file.sha256.startswith(entry.sha256):
            return f"{file.path} is the published {entry.name} (sha256 matches)"
    for entry in known:
        file = own[entry.file]
        if entry.size == file.size:
            why = "but another hash: a fine-tune, or changed" if entry.sha256 else "whose hash is not known here"
            return f"{file.path} has the size of the published {entry.name}, {why}"
    for entry in known:
        if entry.shape and all(shape.get(key) == value for key, value in entry.shape.items()):
            file = own[entry.file]
            size = f" ({file.size:,} bytes, there {entry.size:,})" if entry.size else ""
            return f"{file.path} has the shape of the published {entry.name} but is another file{size}"
    return ""


def published_size(family: str, file: str, shape: Mapping[str, int]) -> str:
    """What a file of this shape takes where it is published, for the message on a truncated one; or empty."""
    for entry in published()[0]:
        fits = entry.shape and all(shape.get(key, value) == value for key, value in entry.shape.items())
        if entry.family == family and entry.file == file and entry.size and fits:
            return f"the published {entry.name} takes {entry.size} bytes"
    return ""


def vocabulary_named(entries: int) -> str:
    """Published vocabularies of so many entries, in brackets for a message; empty if there is none.

    >>> vocabulary_named(25426), vocabulary_named(7)
    (' (as in V1 (gc30M))', '')
    """
    named = [entry.name for entry in published()[1] if entry.entries == entries]
    return f" (as in {' or '.join(named)})" if named else ""


def vocabulary_tags(entries: int) -> tuple[str, ...]:
    """Marks in the file names of published dictionaries of so many entries.

    >>> vocabulary_tags(20275)
    ('gc104M', 'gc95M')
    """
    return tuple(entry.tag for entry in published()[1] if entry.entries == entries)
