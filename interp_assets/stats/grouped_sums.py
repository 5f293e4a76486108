"""Sums of rows by group, in one walk over the values: sparse rows with squares, dense rows under many label sets.

What belongs here: the compiled walks. What does not: means, variances and tests (`cells.moments`,
`cells.differential`), correlations (`cssi`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.compiled import compiled

Float = NDArray[np.float64]
Positions = NDArray[Any]

_BLOCK: Final = 256  # dense rows that every label set reads before the next ones


@compiled
def grouped_sums(
    values: NDArray[Any],
    columns: Positions,
    row_starts: Positions,
    members: Positions,
    group_starts: Positions,
    width: int,
) -> Float:  # pragma: no cover - compiled
    """Sum and sum of squares of every column over the rows of every group (groups x width x 2, float64).

    ``values``, ``columns`` and ``row_starts`` are a CSR matrix of that width. Rows of group g are
    ``members[group_starts[g]:group_starts[g + 1]]``, added in that order; a row may be in several groups.

    A product of an indicator with the values and one with their squares gives the same numbers from two copies of the
    matrix in float64. Here the two sums of a group (32 kB at 2,000 columns) stay beside the processor.
    """
    groups = group_starts.size - 1
    both = np.zeros((groups, 2 * width))
    for group in range(groups):
        sums = both[group]
        for member in range(group_starts[group], group_starts[group + 1]):
            row = members[member]
            # Unsigned places are not looked at for being counted from the end.
            for at in range(np.uint64(row_starts[row]), np.uint64(row_starts[row + 1])):
                value = np.float64(values[at])
                place = np.uint64(2 * columns[at])
                sums[place] += value
                sums[place + np.uint64(1)] += value * value
    return both.reshape(groups, width, 2)


@compiled
def labelled_sums(rows: Float, labels: NDArray[np.int64], strata: int) -> Float:  # pragma: no cover - compiled
    """Sum of the rows (N x W) of every stratum of every label set (D x N): D x strata x W.

    Labels are 0 to strata - 1; a row of label -1 is left out. A product with an indicator of every stratum does
    ``strata`` times the work.
    """
    sets, count = labels.shape
    sums = np.zeros((sets, strata, rows.shape[1]))
    for first in range(0, count, _BLOCK):
        for number in range(sets):
            table, label = sums[number], labels[number]
            for i in range(first, min(count, first + _BLOCK)):
                stratum = label[i]
                if stratum >= 0:
                    total, row = table[stratum], rows[i]
                    for j in range(row.size):
                        total[j] += row[j]
    return sums
