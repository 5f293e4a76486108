"""Compiled kernel of the rank distance, apart so that numba is loaded only when one is asked for."""

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
