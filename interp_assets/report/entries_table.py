"""What became of the paper's figures and tables in one evaluation, as a table of the report.

What belongs here: the rows of ``figures/entries.csv`` with links to what answers them. What does not: the states
themselves (`interp_assets.figures.entry_states`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_assets.report.shown import StoredRow, aggregate, in_prose, joined

if TYPE_CHECKING:
    from interp_assets.figures.entry_states import EntryRow, Outcome

TABLE = "figures/entries"
ORDER = ("drawn", "partly drawn", "skipped", "no picture here")  # best first


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLine:
    """One published figure or table: its state here, links to what answers it, and what is lacking."""

    name: str
    title: str
    state: str
    answers: tuple[tuple[str, str], ...]
    lacking: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesTable:
    """All lines, and one sentence on their states."""

    said: str
    lines: tuple[EntryLine, ...]


def entries_table(rows: Sequence[EntryRow], shown: frozenset[str]) -> EntriesTable | None:
    """Published entries with links to the picture on the page (``shown``), else to its file; None if none is told."""
    if not rows:
        return None
    counts = Counter(str(row.state) for row in rows)
    told = [
        joined(aggregate(size, f"{size}", table=TABLE, rows="*", column="state", how=f"count={state}"), f" {state}")
        for state, size in sorted(counts.items(), key=lambda item: ORDER.index(item[0]))
    ]
    lines = tuple(_line(place, row, shown) for place, row in enumerate(rows))
    return EntriesTable(said=in_prose(told), lines=lines)


def _line(place: int, row: EntryRow, shown: frozenset[str]) -> EntryLine:
    stored = StoredRow(TABLE, place, {"title": row.entry.title, "lacking": "; ".join(row.lacking)})
    return EntryLine(
        name=row.entry.entry_id,
        title=stored.words("title"),
        state=str(row.state),
        answers=tuple(_answer(outcome, shown) for outcome in row.outcomes if outcome.made),
        lacking=stored.words("lacking"),
    )


def _answer(outcome: Outcome, shown: frozenset[str]) -> tuple[str, str]:
    answer = outcome.answer
    return answer.title, f"#figure-{answer.name}" if answer.name in shown else answer.file
