"""Per-gene moments of sparse matrices, for all cells or by group of cells, without making them dense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Float = NDArray[np.float64]


def detection(matrix: csr_matrix) -> Float:
    """Share of cells with a value above zero, per gene."""
    positive = matrix.indices[matrix.data > 0]
    return np.bincount(positive, minlength=matrix.shape[1]) / max(1, matrix.shape[0])


def moments(matrix: csr_matrix) -> tuple[Float, Float]:
    """Mean and sample variance (ddof 1) of every gene over all cells; the variance of one cell is NaN."""
    mean, variance, _ = grouped_moments(matrix, np.zeros(matrix.shape[0], dtype=np.int64), 1)
    return mean[0], variance[0]


@dataclass(frozen=True, slots=True)
class CellSums:
    """Sums and sums of squares, groups x genes in float64, and the cells of every group.

    The sums of a group and of what is left without it add up, so that ``everyone - group`` are the sums of the
    cells outside the group: no second pass over the cells.
    """

    total: Float
    squares: Float
    cells: NDArray[np.int64]

    def __sub__(self, other: CellSums) -> CellSums:
        """Sums over the cells of these groups that are not in the other ones, which they must contain."""
        return CellSums(self.total - other.total, self.squares - other.squares, self.cells - other.cells)

    def __getitem__(self, groups: slice) -> CellSums:
        """Sums of some of the groups."""
        return CellSums(self.total[groups], self.squares[groups], self.cells[groups])

    def moments(self) -> tuple[Float, Float]:
        """Mean and sample variance (ddof 1), groups x genes; NaN for no cell, variance NaN for one."""
        n = self.cells[:, None].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = self.total / n
            variance = (self.squares - n * mean**2) / np.where(n > 1, n - 1, np.nan)
        # Subtraction of nearly equal sums may leave a tiny negative rest where every cell holds the same value.
        return mean, np.where(variance < 0, 0.0, variance)


def membership(group: NDArray[np.integer], groups: int) -> csr_matrix:
    """Groups x cells indicator (CSR, float64) of one group a cell; a group of -1 leaves the cell out."""
    from scipy.sparse import csr_matrix as csr

    kept = np.flatnonzero(group >= 0)
    return csr((np.ones(kept.size), (group[kept], kept)), shape=(groups, group.size), dtype=np.float64)


def cell_sums(matrix: csr_matrix | Float, members: csr_matrix) -> CellSums:
    """Sums of every gene over the cells of every group, in float64 and without a copy of the cells.

    Parameters
    ----------
    matrix
        Cells x genes, CSR or dense.
    members
        Groups x cells indicator of ones; a cell may be in several groups.
    """
    groups = members.tocsr()
    cells = np.diff(groups.indptr).astype(np.int64)
    if isinstance(matrix, np.ndarray):
        dense = matrix.astype(np.float64)
        return CellSums(groups @ dense, groups @ dense**2, cells)
    from interp_assets.stats.grouped_sums import grouped_sums

    rows = matrix.tocsr()
    walk = (rows.data, rows.indices, rows.indptr, groups.indices, groups.indptr)
    total, squares = np.moveaxis(grouped_sums(*walk, rows.shape[1]), 2, 0)
    return CellSums(np.ascontiguousarray(total), np.ascontiguousarray(squares), cells)


def grouped_moments(
    matrix: csr_matrix, group: NDArray[np.integer], groups: int
) -> tuple[Float, Float, NDArray[np.int64]]:
    """Mean and sample variance per group and gene, and cells per group.

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
    sums = cell_sums(matrix, membership(group, groups))
    return *sums.moments(), sums.cells
