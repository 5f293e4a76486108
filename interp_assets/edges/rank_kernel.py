"""Compiled kernels of ranks over cells, apart so that numba is loaded only when one is asked for."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True)
def pairwise_absolute_difference(
    indptr: NDArray[np.int64], indices: NDArray[np.int64], values: NDArray[np.float64], columns: int
) -> NDArray[np.float64]:
    """Sum over rows of |value_i - value_j| for stored pairs i < j, columns x columns, upper triangle.

    Equal to a loop over rows and ``itertools.combinations`` of their stored columns; indices sorted within
    a row.
    """
    total = np.zeros((columns, columns))
    for row in range(indptr.size - 1):
        for a in range(indptr[row], indptr[row + 1]):
            value, into = values[a], total[indices[a]]
            for b in range(a + 1, indptr[row + 1]):
                into[indices[b]] += abs(value - values[b])
    return total


@numba.njit(cache=True)
def centred_midranks(
    indptr: NDArray[np.int32],
    rows: NDArray[np.int32],
    values: NDArray[np.float32],
    order: NDArray[np.int64],
    cells: int,
) -> NDArray[np.float64]:
    """Mid-ranks of the columns of a sparse matrix without negative entries, less their mean; cells x columns.

    ``order`` holds the places of every column's stored values, ascending. Equal to ``scipy.stats.rankdata`` of the
    dense columns minus (cells + 1) / 2, the mean of mid-ranks whatever the ties.
    """
    ranks = np.empty((indptr.size - 1, cells))
    mean = (cells + 1) / 2
    for column in range(indptr.size - 1):
        start, end = indptr[column], indptr[column + 1]
        zeros = cells - (end - start)
        own = ranks[column]
        own[:] = (zeros + 1) / 2 - mean
        tied = start
        while tied < end:
            above = tied + 1
            while above < end and values[order[above]] == values[order[tied]]:
                above += 1
            rank = zeros + (tied - start + 1 + above - start) / 2 - mean
            for at in range(tied, above):
                own[rows[order[at]]] = rank
            tied = above
    return ranks.T
