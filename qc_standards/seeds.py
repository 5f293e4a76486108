"""How many seeds stand behind a verdict: read from the repeats of the numbers its criteria judge, or one.

What belongs here: reading table ``stability`` for that number. What does not: how stable a number has to be (QCS-37).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from qc_standards.evidence import Evidence, MissingEvidenceError, is_missing

STABILITY: Final = "stability"
SEED: Final = "seed"
NO_CRITERION: Final = "none"  # of a number that no criterion judges
VARIES: Final = (
    "a seed varies the cells that scores are read from; the training seed of a released checkpoint is fixed, and "
    "releases trained with other seeds are releases of their own"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Seeds behind a verdict; ``reason`` says why they are not more, and ``single`` names criteria never repeated."""

    count: int
    reason: str
    single: tuple[str, ...]


def seeds_behind(evidence: Evidence, criteria: Sequence[str]) -> Seeds:
    """Smallest number of seeds over the repeated numbers of these criteria.

    A number counts where its row is over ``seed`` and its column ``criterion`` names one of the criteria (several are
    separated by semicolons). One seed is left where there is no table or no such number, where a criterion has no
    repeated number, where a number of repeats or readings is missing or no count, and where the reading of a number
    changes between seeds.
    """
    names = tuple(criteria)
    try:
        frame = evidence.table(STABILITY)
    except MissingEvidenceError as error:
        return Seeds(count=1, reason=str(error), single=names)
    held = [_named(value) & set(names) for value in frame["criterion"]]
    over_seeds = (frame["varied"] == SEED).fillna(value=False).to_numpy(dtype=bool)
    chosen = frame[over_seeds & np.array([bool(each) for each in held], dtype=bool)]
    repeated = {name for each, seed in zip(held, over_seeds, strict=True) if seed for name in each}
    single = tuple(name for name in names if name not in repeated)
    if chosen.empty:
        return Seeds(count=1, reason=f"no number behind {_told(names)} was repeated", single=names)
    counts, why = [], ""
    for row in chosen.to_dict(orient="records"):
        count, readings = _whole(row["repeats"]), _whole(row["readings"])
        if count is None or readings != 1:
            why = why or f"{row['quantity']}: " + (
                "the number of repeats or readings is missing" if None in (count, readings) else "its reading changes"
            )
            count = 1
        counts.append(count)
    if single:  # a verdict is no steadier than the criterion that was read once
        why = f"{why}; " if why else ""
        return Seeds(count=1, reason=f"{why}{_told(single)} read with one seed", single=single)
    return Seeds(count=min(counts), reason=why, single=())


def _named(value: Any) -> set[str]:
    return set() if is_missing(value) else {part.strip() for part in str(value).split(";")} - {NO_CRITERION}


def _told(names: Sequence[str]) -> str:
    return f"criterion {names[0]}" if len(names) == 1 else f"criteria {', '.join(names)}"


def _whole(value: Any) -> int | None:
    """A count of at least one, or None for anything else."""
    if is_missing(value) or isinstance(value, (bool, np.bool_)):
        return None
    number = pd.to_numeric(value, errors="coerce")
    return int(number) if np.isfinite(number) and number >= 1 and float(number).is_integer() else None


def seed_notes(seeds: Seeds, needed: int) -> tuple[str, ...]:
    """What is said of the seeds beside a verdict: nothing where enough of them stand behind every criterion."""
    if seeds.count < needed:
        why = f" ({seeds.reason})" if seeds.reason else ""
        return (f"provisional: {seeds.count} seed(s), {needed} are needed{why}; {VARIES}",)
    return ()
