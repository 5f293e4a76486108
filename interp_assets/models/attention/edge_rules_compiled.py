# mypy: disable-error-code="untyped-decorator"
"""Numba kernel behind `edge_rules.double_rank` on the processor; imported only when the first cell is ranked."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def rank_twice(
    scores: NDArray[np.float32], order: NDArray[np.int64], chosen: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """Write double ranks of the chosen tokens (n x n) of one head to ``out``; ``order`` sorts each row of ``scores``.

    Ranks are kept doubled, as whole numbers: the mean rank of a run of equal values is half of first + last. The second
    ranking is then a count over 2 M - 1 values instead of another sort.
    """
    tokens, n = scores.shape[0], chosen.size
    place = np.full(tokens, -1, np.int64)
    for j in range(n):
        place[chosen[j]] = j
    doubled = np.empty((n, tokens), np.int32)  # chosen keys x queries
    for row in range(tokens):
        _rank_row(scores[row], order[row], place, doubled[:, row])
    below = np.empty(2 * tokens, np.int64)
    for column in range(n):
        _count_below(doubled[column], below)
        for i in range(n):
            value = doubled[column, chosen[i]]
            rank = (below[value] + below[value + 1] - 1) * np.float32(0.5)
            out[i, column] = rank / np.float32(tokens)


@njit(cache=True)
def _rank_row(
    scores: NDArray[np.float32], order: NDArray[np.int64], place: NDArray[np.int64], doubled: NDArray[np.int32]
) -> None:
    """Doubled ranks of one row, written at the place of each token that has one."""
    first = 0
    while first < order.size:
        last = first
        while last + 1 < order.size and scores[order[last + 1]] == scores[order[first]]:
            last += 1
        for i in range(first, last + 1):
            if place[order[i]] >= 0:
                doubled[place[order[i]]] = first + last
        first = last + 1


@njit(cache=True)
def _count_below(values: NDArray[np.int32], below: NDArray[np.int64]) -> None:
    """Fill ``below[v]`` with the number of values smaller than v."""
    below[:] = 0
    for value in values:
        below[value + 1] += 1
    for value in range(1, below.size):
        below[value] += below[value - 1]
