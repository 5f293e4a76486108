"""What became of every figure and table of the paper in one evaluation.

What belongs here: which pictures and tables answer which entry, and the state that follows from what was made. What
does not: drawing or tabulating, or how a page shows it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from interp_assets.figures import catalogue
from interp_assets.figures.entries import Entry, Panel, entries, split_name
from interp_assets.supplement.catalogue import TABLES

ENTRIES_FILE = "figures/entries.csv"
NOT_MADE = "not made in this evaluation"
COLUMNS = ("entry", "kind", "title", "analyses", "state", "answered_by", "lacking", "plots")


class EntryState(StrEnum):
    """How far one evaluation answers an entry."""

    DRAWN = "drawn"
    PARTLY = "partly drawn"
    SKIPPED = "skipped"
    NONE = "no picture here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One picture or table of this project, and the entries (or panels) of the paper that it stands for.

    ``name`` is its id and ``file`` where an evaluation keeps it.
    """

    name: str
    title: str
    file: str
    published: tuple[str, ...]

    def panels_of(self, entry: Entry) -> tuple[str, ...] | None:
        """Panels of an entry that it answers: all of them where it names the whole, None where it does not name it."""
        named = [panel for each, panel in map(split_name, self.published) if each == entry.entry_id]
        if not named:
            return None
        return tuple(panel.letter for panel in entry.panels) if "" in named else tuple(named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One answer in one evaluation; ``reason`` is empty where it was made."""

    answer: Answer
    reason: str

    @property
    def made(self) -> bool:
        """Whether the picture or table is there."""
        return self.reason == ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """One entry in one evaluation: its state, what answers it, and what is lacking, in words (empty: nothing)."""

    entry: Entry
    state: EntryState
    outcomes: tuple[Outcome, ...]
    lacking: tuple[str, ...]


@cache
def answers() -> tuple[Answer, ...]:
    """Every picture and every supplementary table of this project, in the order of the catalogues."""
    pictures = (
        Answer(name=spec.figure_id, title=spec.title, file=f"figures/{spec.figure_id}.svg", published=spec.published)
        for spec in catalogue.CATALOGUE
    )
    tables = (
        Answer(name=spec.table_id, title=spec.title, file=f"supplement/{spec.table_id}.csv", published=spec.published)
        for spec in TABLES
    )
    return (*pictures, *tables)


def answers_of(entry: Entry) -> tuple[Answer, ...]:
    """Pictures and tables that say they stand for an entry or one of its panels."""
    return tuple(answer for answer in answers() if answer.panels_of(entry) is not None)


def entry_rows(made: Mapping[str, str]) -> tuple[EntryRow, ...]:
    """Every declared entry with its state in one evaluation, in the order of the paper.

    Parameters
    ----------
    made
        By id of a picture or table: an empty text where it was made, else the reason why not. One that is not named
        was not made.
    """
    return tuple(_row(entry, made) for entry in entries())


def stored_entries(folder: Path) -> tuple[EntryRow, ...]:
    """`entry_rows` of the evaluation whose files lie in ``folder`` (``store/<study>/<release>``)."""
    return entry_rows({answer.name: _stored(folder, answer) for answer in answers()})


def entries_csv(rows: tuple[EntryRow, ...]) -> str:
    """The rows as text with commas, one line an entry; equal rows give equal text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        entry = row.entry
        files = "; ".join(outcome.answer.file for outcome in row.outcomes if outcome.made)
        told = (entry.entry_id, entry.kind, entry.title, "; ".join(entry.labels), row.state)
        writer.writerow((*told, files, "; ".join(row.lacking), entry.plots))
    return buffer.getvalue()


def _stored(folder: Path, answer: Answer) -> str:
    file = folder / answer.file
    if file.is_file():
        return ""
    reason = file.with_suffix(".txt")
    if not reason.is_file():
        return NOT_MADE
    return reason.read_text(encoding="utf-8").strip().removeprefix("not drawn: ").removeprefix("not made: ")


def _row(entry: Entry, made: Mapping[str, str]) -> EntryRow:
    outcomes = tuple(Outcome(answer=answer, reason=made.get(answer.name, NOT_MADE)) for answer in answers_of(entry))
    lacking = (
        *(f"panel {panel.letter} ({panel.words}): {_absent(panel)}" for panel in _unanswered(entry, outcomes)),
        *(f"{outcome.answer.title}: {outcome.reason}" for outcome in outcomes if not outcome.made),
    )
    if not outcomes:
        return EntryRow(entry=entry, state=EntryState.NONE, outcomes=(), lacking=("no picture or table answers it",))
    state = EntryState.SKIPPED
    if any(outcome.made for outcome in outcomes):
        state = EntryState.PARTLY if lacking else EntryState.DRAWN
    return EntryRow(entry=entry, state=state, outcomes=outcomes, lacking=lacking)


def _absent(panel: Panel) -> str:
    return f"no picture here, {panel.without}" if panel.without else "no picture here"


def _unanswered(entry: Entry, outcomes: tuple[Outcome, ...]) -> list[Panel]:
    """Declared panels that no picture of this project stands for, made or not."""
    answered = {letter for outcome in outcomes for letter in outcome.answer.panels_of(entry) or ()}
    return [panel for panel in entry.panels if panel.letter not in answered]
