"""Per-gene moments of sparse matrices, for all cells or by group of cells, without making them dense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def detection(matrix: csr_matrix) -> NDArray[np.float64]:
    """Share of cells with a value above zero, per gene."""
    positive = matrix.indices[matrix.data > 0]
    return np.bincount(positive, minlength=matrix.shape[1]) / max(1, matrix.shape[0])


def moments(matrix: csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sample variance (ddof 1) of every gene over all cells; the variance of one cell is NaN."""
    mean, variance, _ = grouped_moments(matrix, np.zeros(matrix.shape[0], dtype=np.int64), 1)
    return mean[0], variance[0]


def grouped_moments(
    matrix: csr_matrix, group: NDArray[np.integer], groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean and sample variance per group and gene, and cells per group, by one indicator product each.

    Parameters
    ----------
    matrix
        Cells x genes, CSR.
    group
        Group of every cell, 0 to ``groups - 1``; -1 leaves the cell out.

    Returns
    -------
    mean, variance, cells
        groups x genes, groups x genes, groups. Sums run in float64. Groups of no cell have NaN means, of
        one cell NaN variances.
    """
    from scipy.sparse import csr_matrix as csr

    kept = np.flatnonzero(group >= 0)
    indicator = csr((np.ones(kept.size), (group[kept], kept)), shape=(groups, matrix.shape[0]), dtype=np.float64)
    values = matrix.astype(np.float64)
    squares = values.copy()
    squares.data = squares.data**2
    cells = np.bincount(group[kept], minlength=groups)
    n = cells[:, None].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (indicator @ values).toarray() / n
        variance = ((indicator @ squares).toarray() - n * mean**2) / np.where(n > 1, n - 1, np.nan)
    # Subtraction of nearly equal sums may leave a tiny negative rest where every cell holds the same value.
    return mean, np.where(variance < 0, 0.0, variance), cells
