"""Draws of cells for analysis 13: number of cells at fixed shares of types, number of types at a fixed number of cells.

What belongs here: which cells a run takes. What does not: scoring it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Arm = Literal["fixed_shares", "fixed_cells", "random_draw"]
ARMS: Final[tuple[Arm, ...]] = ("fixed_shares", "fixed_cells", "random_draw")
Int = NDArray[np.int64]
FIXED_CELLS: Final = 500
SMALLEST_RUN: Final = 20
SIZES: Final = 6
SMALLEST_SHARE: Final = 0.02
FEWEST_TYPES: Final = 3
# Draws of nearly all cells are nearly the same draw; a run takes half of them at most.
LARGEST_DRAW: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Cells of one run; ``planned_types`` is 0 where types were left to chance, ``shares`` says how they were set."""

    arm: Arm
    cells: Int
    planned_types: int
    shares: str


def sizes(available: int) -> tuple[int, ...]:
    """Numbers of cells of the runs: six steps of equal ratio from a tenth of the largest, at least 20, to half of all.

    >>> sizes(1000)
    (50, 79, 126, 199, 315, 500)
    """
    largest = int(available * LARGEST_DRAW)
    smallest = max(SMALLEST_RUN, largest // 10)
    if largest < 2 * smallest:
        return ()
    return tuple(round(float(size)) for size in np.geomspace(smallest, largest, SIZES))


def composition_draws(types: NDArray[np.str_], runs: int, rng: np.random.Generator) -> list[Draw] | str:
    """Draws of all three arms (``runs`` each), or why these cells allow none.

    - ``fixed_shares``: each type in its share among all cells, the number of cells varies. Types under 2 % are
      left out: in a small run they would round to no cell.
    - ``fixed_cells``: the number of cells stays, the number of types varies; every other cycle takes equal shares, the
      others the shares in which the chosen types are found.
    - ``random_draw``: cells at random, so that more types are met where more cells are drawn.
    """
    names, number = np.unique(types, return_inverse=True)
    grid = sizes(types.size)
    if names.size < FEWEST_TYPES or not grid:
        return (
            f"{types.size} cells of {names.size} types; composition needs {4 * SMALLEST_RUN} cells of "
            f"{FEWEST_TYPES} types or more"
        )
    held = np.bincount(number)
    fixed = fixed_number(held)
    if fixed is None:
        listed = ", ".join(f"{name} {count}" for name, count in zip(names, held, strict=True))
        return (
            f"no number of cells from {FIXED_CELLS} down to {SMALLEST_RUN} can be drawn of 1, 2 and 3 types: {listed}"
        )
    cells, levels = fixed
    draws = [_fixed_shares(number, held, grid[run % len(grid)], rng) for run in range(runs)]
    for run in range(runs):
        equal = (run // len(levels)) % 2 == 0
        draws.append(_fixed_cells(number, held, cells, levels[run % len(levels)], rng, equal=equal))
    for run in range(runs):
        drawn = np.sort(rng.choice(types.size, grid[run % len(grid)], replace=False))
        draws.append(Draw(arm="random_draw", cells=drawn, planned_types=0, shares="by chance"))
    return draws


def fixed_number(held: Int) -> tuple[int, tuple[int, ...]] | None:
    """Number of cells at which the number of types can vary, and the numbers of types; None where none can.

    The published 500 is halved until three different numbers of types, one among them, can fill it in equal shares.

    >>> fixed_number(np.array([600, 300, 260, 40]))
    (500, (1, 2, 3))
    """
    cells = FIXED_CELLS
    while cells >= SMALLEST_RUN:
        levels = tuple(k for k in range(1, held.size + 1) if int((held >= -(-cells // k)).sum()) >= k)
        if len(levels) >= FEWEST_TYPES and levels[0] == 1:
            return cells, levels
        cells //= 2
    return None


def _fixed_shares(number: Int, held: Int, cells: int, rng: np.random.Generator) -> Draw:
    kept = np.flatnonzero(held >= SMALLEST_SHARE * number.size)
    wanted = _apportioned(held[kept], cells)
    return Draw(
        arm="fixed_shares",
        cells=_of_each(number, kept, wanted, rng),
        planned_types=int(kept.size),
        shares="as found",
    )


def _fixed_cells(number: Int, held: Int, cells: int, types: int, rng: np.random.Generator, *, equal: bool) -> Draw:
    able = np.flatnonzero(held >= -(-cells // types))
    chosen = np.sort(rng.choice(able, types, replace=False))
    wanted = _apportioned(np.ones(types, dtype=np.int64) if equal else held[chosen], cells)
    return Draw(
        arm="fixed_cells",
        cells=_of_each(number, chosen, wanted, rng),
        planned_types=types,
        shares="equal" if equal else "as found",
    )


def _apportioned(weights: Int, cells: int) -> Int:
    """Whole numbers that add up to ``cells`` in the ratio of the weights, by largest remainder, at least one each."""
    exact = weights * (cells / weights.sum())
    counts = np.maximum(1, np.floor(exact).astype(np.int64))
    while counts.sum() > cells:
        counts[np.argmax(counts)] -= 1
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: cells - int(counts.sum())]] += 1
    return counts


def _of_each(number: Int, types: Int, wanted: Int, rng: np.random.Generator) -> Int:
    parts = [
        rng.choice(np.flatnonzero(number == kind), count, replace=False)
        for kind, count in zip(types, wanted, strict=True)
    ]
    return np.sort(np.concatenate(parts)).astype(np.int64)
