"""The 45 figures and 14 supplementary tables of the paper, as declared entries that pictures and tables answer.

What belongs here: reading the declared list and telling names of entries apart. What does not: which picture answers
which entry (the catalogues say so in their rows), or how an evaluation went (`entry_states`).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("entries.csv")
REGISTRY = "registry"  # in place of analyses: the entry is made from declarations and verdicts


class EntryKind(StrEnum):
    """Where the paper prints an entry."""

    MAIN = "main"
    SUPPLEMENTARY = "supplementary"
    TABLE = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel of a published figure: its letter, what it shows, and why it has no picture here (empty: it has)."""

    letter: str
    words: str
    without: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One figure or supplementary table of the paper.

    ``entry_id`` is its published name ("Figure S38"), ``title`` and ``plots`` are ours. ``analyses`` are numbers of the
    37, ``extended`` numbers of E1 to E9; both are empty where declarations and verdicts make the entry.
    """

    entry_id: str
    kind: EntryKind
    title: str
    panels: tuple[Panel, ...]
    analyses: tuple[int, ...]
    extended: tuple[int, ...]
    plots: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Analyses as people call them: ``16``, ``E2``, or ``registry`` where none stands behind the entry."""
        named = (*map(str, self.analyses), *(f"E{number}" for number in self.extended))
        return named or (REGISTRY,)

    @property
    def names(self) -> tuple[str, ...]:
        """Names that a picture may say it answers: the whole entry, or one of its panels ("Figure 6 C")."""
        return (self.entry_id, *(f"{self.entry_id} {panel.letter}" for panel in self.panels))


@cache
def entries() -> tuple[Entry, ...]:
    """All declared entries in the order of the paper: figures, then tables.

    Raises
    ------
    ValueError
        Naming file, row and rule where the list is damaged.
    """
    with FILE.open(encoding="utf-8", newline="") as handle:
        found = tuple(_entry(row, line) for line, row in enumerate(csv.DictReader(handle), start=2))
    twice = sorted({each.entry_id for each in found if sum(other.entry_id == each.entry_id for other in found) > 1})
    if twice:
        raise ValueError(f"{FILE.name}: {', '.join(twice)} declared more than once; every entry has one row")
    return found


def entry(entry_id: str) -> Entry:
    """Declared entry of a published name.

    Raises
    ------
    ValueError
        For a name that the list does not hold.
    """
    for each in entries():
        if each.entry_id == entry_id:
            return each
    raise ValueError(f"{FILE.name} declares no {entry_id!r}; names look like 'Figure 4', 'Figure S12' or 'Table S4'")


def split_name(name: str) -> tuple[str, str]:
    """Entry and panel of a name; the panel is empty where the name means the whole entry.

    >>> split_name("Figure S38 C"), split_name("Figure 4")
    (('Figure S38', 'C'), ('Figure 4', ''))
    """
    parts = name.split(" ")
    return " ".join(parts[:2]), " ".join(parts[2:])


def _entry(row: dict[str, str], line: int) -> Entry:
    place = f"{FILE.name}, line {line}"
    try:
        kind = EntryKind(row["kind"])
    except ValueError as unknown:
        raise ValueError(f"{place}: kind {row['kind']!r}; it is one of {', '.join(EntryKind)}") from unknown
    named = [] if row["analyses"] == REGISTRY else row["analyses"].split(";")
    odd = [name for name in named if not name.removeprefix("E").isdigit()]
    if odd:
        raise ValueError(f"{place}: analyses {', '.join(odd)}; write numbers such as 16 or E2, or {REGISTRY!r} alone")
    reasons = {panel.letter: panel.words for panel in _panels(row.get("without") or "", place)}
    return Entry(
        entry_id=row["id"],
        kind=kind,
        title=row["title"],
        panels=tuple(replace(panel, without=reasons.get(panel.letter, "")) for panel in _panels(row["panels"], place)),
        analyses=tuple(int(name) for name in named if name.isdigit()),
        extended=tuple(int(name.removeprefix("E")) for name in named if not name.isdigit()),
        plots=row["plots"],
    )


def _panels(text: str, place: str) -> list[Panel]:
    return [_panel(part.strip(), place) for part in text.split(";") if part.strip()]


def _panel(text: str, place: str) -> Panel:
    letter, _, words = text.partition(" ")
    if len(letter) != 1 or not letter.isupper() or not words:
        raise ValueError(f"{place}: panel {text!r}; write a capital letter and what it shows, as in 'A dose response'")
    return Panel(letter=letter, words=words)
