"""Verdicts over time: every judgement of a release in order, as marks on a line and as a table.

What belongs here: the order of judgements, read from the kept history, and plain data for the template (positions in
view units). What does not: what differs between two judgements (room `comparison`). A history holds no times, so the
line shows order and not dates. A state is told by the form of its mark and in words, never by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interp_assets.comparison.history import Judged, histories
from interp_assets.figures.wording import origin_label
from qc_standards.records import Outcome, VerdictState

CRITERIA = ("a", "b", "c", "d")
JUDGEMENT_COLUMNS = (
    *("study", "release", "place", "snapshot", "state", "label", "data_origin"),
    *(f"criterion_{name}" for name in CRITERIA),
)
MOST_SHOWN = 12
LEFT, STEP, ROW, TOP, RADIUS = 230, 58, 40, 30, 10
SIGNS: Mapping[str, str] = {
    VerdictState.SUPPORTED: "\u2713",
    VerdictState.REFUTED: "\u2715",
    VerdictState.INCONCLUSIVE: "?",
    VerdictState.NOT_EVALUABLE: "\u2013",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One judgement: its number among those of the release, its words, and its place in view units."""

    place: int
    state: str
    label: str
    sign: str
    criteria: tuple[tuple[str, str], ...]
    origin: str
    why: str
    x: float
    changed: bool

    @property
    def told(self) -> str:
        """The judgement in words."""
        outcomes = ", ".join(f"{name} {outcome}" for name, outcome in self.criteria)
        return f"judgement {self.place}: {self.label}; {outcomes}"


@dataclass(frozen=True, slots=True)
class Timeline:
    """Judgements of one release, oldest first; ``earlier`` are older ones that are not shown."""

    release: str
    marks: tuple[Mark, ...]
    earlier: int
    y: float


@dataclass(frozen=True, slots=True)
class Timelines:
    """All that the template needs of the timelines of one study."""

    rows: tuple[Timeline, ...]
    width: int
    height: int
    left: int
    radius: int
    places: tuple[tuple[float, str], ...]

    @property
    def told(self) -> str:
        """The picture in words, for those who do not see it."""
        rows = (f"{row.release}: " + "; ".join(mark.told for mark in row.marks) for row in self.rows)
        return "Verdicts in the order in which they were reached. " + ". ".join(rows)


def stored_judgements(store: Path, studies: Sequence[str]) -> pd.DataFrame:
    """Every kept judgement of every release, columns `JUDGEMENT_COLUMNS`, oldest first; twins have no history.

    Raises
    ------
    StorageError
        When a history is damaged.
    """
    rows = [
        _row(study, history.release, entry)
        for study in studies
        for history in histories(store, study)
        for entry in history.entries
    ]
    return pd.DataFrame(rows, columns=list(JUDGEMENT_COLUMNS))


def _row(study: str, release: str, entry: Judged) -> dict[str, Any]:
    content = entry.snapshot
    headline = content["claims"][content["headline"]]
    outcomes = {name: str(found["outcome"]) for name, found in content["criteria"].items()}
    return {
        "study": study,
        "release": release,
        "place": entry.place + 1,
        "snapshot": entry.name,
        "state": str(headline["state"]),
        "label": str(headline["label"]),
        "data_origin": str(content["data_origin"]),
        **{f"criterion_{name}": outcomes.get(name, str(Outcome.NOT_EVALUABLE)) for name in CRITERIA},
    }


def timelines(
    judgements: pd.DataFrame, releases: Sequence[str], changes: pd.DataFrame | None = None
) -> Timelines | None:
    """Timelines of one study in the order of ``releases``; None where no release has a kept judgement.

    ``judgements`` are the rows of the study (`stored_judgements`), ``changes`` those of ``verdict_changes``, which say
    what a judgement that changed something is put down to.
    """
    why = _reasons(changes)
    rows = []
    for release in releases:
        own = judgements[judgements["release"] == release].sort_values("place").to_dict("records")
        if own:
            shown = own[-MOST_SHOWN:]
            before = [None, *own][len(own) - len(shown) :]
            marks = tuple(
                _mark(number, row, last, why) for number, (row, last) in enumerate(zip(shown, before, strict=False))
            )
            rows.append(Timeline(str(release), marks, len(own) - len(shown), TOP + ROW * (len(rows) + 0.5)))
    if not rows:
        return None
    most = max(len(row.marks) for row in rows)
    width = max(680, LEFT + STEP * most + 180)
    places = tuple((_x(number), "first" if number == 0 else str(number + 1)) for number in range(most))
    return Timelines(tuple(rows), width, TOP + ROW * len(rows) + 10, LEFT, RADIUS, places if _whole(rows) else ())


def _whole(rows: Sequence[Timeline]) -> bool:
    """Whether no older judgement was left out, so that all rows count from the first."""
    return not any(row.earlier for row in rows)


def _x(number: int) -> float:
    return LEFT + 24 + STEP * number


def _mark(number: int, row: Mapping[str, Any], before: Mapping[str, Any] | None, why: Mapping[str, str]) -> Mark:
    return Mark(
        place=int(row["place"]),
        state=str(row["state"]),
        label=str(row["label"]),
        sign=SIGNS.get(str(row["state"]), SIGNS[VerdictState.NOT_EVALUABLE]),
        criteria=tuple((name, str(row[f"criterion_{name}"])) for name in CRITERIA),
        origin=origin_label(row["data_origin"]),
        why=why.get(str(row["snapshot"]), ""),
        x=_x(number),
        changed=before is not None and before["state"] != row["state"],
    )


def _reasons(changes: pd.DataFrame | None) -> dict[str, str]:
    """What the changes of a judgement are put down to, by the name of its snapshot."""
    if changes is None or not {"new_snapshot", "reading"} <= set(changes.columns):
        return {}
    found: dict[str, str] = {}
    for name, own in changes.groupby("new_snapshot", sort=False):
        found[str(name)] = "; ".join(dict.fromkeys(str(reading) for reading in own["reading"] if reading))
    return found
