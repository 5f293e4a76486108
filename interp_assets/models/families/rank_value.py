"""Rank-value encoding of cells: the Geneformer input, written once for training and for extraction.

What belongs here: counts to ordered tokens, and the medians that scale them. What does not: special tokens,
padding and dictionaries, which differ between checkpoints and live with the adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

TARGET_SUM = 10_000.0


def rank_value_tokens(
    counts: csr_matrix,
    columns: NDArray[np.int32],
    token_ids: NDArray[np.int32],
    medians: NDArray[np.float64],
    max_genes: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Gene tokens of every cell by falling rank value, flat, and the offsets of the cells.

    The value of a gene is ``count / n_counts * 10,000 / median`` (Geneformer's ``tokenizer.py``); zeros are
    dropped and at most ``max_genes`` tokens are kept. ``n_counts`` is the cell's total over *all* columns of
    ``counts``; it scales a whole cell and so cannot change an order, but stays in the formula. The sort is
    stable: equal values keep the order of ``columns``, which makes the encoding reproducible where an
    unstable sort would not be.

    Parameters
    ----------
    counts
        Cells x all genes, raw counts.
    columns
        Positions in ``counts`` of the genes the vocabulary knows; their order breaks ties.
    token_ids, medians
        Token and non-zero median of each entry of ``columns``.
    max_genes
        Tokens kept per cell, special tokens not included.

    Returns
    -------
    tuple
        Flat int32 tokens and int64 offsets; cell ``i`` owns ``tokens[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    ValueError
        If the arrays disagree in length, a column is repeated or out of range, a median is not positive, a
        count is negative or not finite, or ``max_genes`` is below 1.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> cells = csr_matrix(np.array([[4, 0, 3, 1], [0, 0, 5, 5]]))
    >>> tokens, offsets = rank_value_tokens(
    ...     cells, np.arange(4), np.array([4, 5, 6, 7]), np.array([4.0, 1.0, 1.0, 1.0]), max_genes=2)
    >>> tokens.tolist(), offsets.tolist()
    ([6, 4, 6, 7], [0, 2, 4])
    """
    columns = np.asarray(columns, dtype=np.int64)
    token_ids = np.asarray(token_ids, dtype=np.int32)
    medians = np.asarray(medians, dtype=np.float64)
    _check_vocabulary(counts, columns, token_ids, medians, max_genes)
    rows, position, data = _entries(counts, columns)
    value = data / _totals(counts)[rows] * TARGET_SUM / medians[position]
    order = np.lexsort((position, -value, rows))
    rows, position = rows[order], position[order]
    start = np.searchsorted(rows, np.arange(counts.shape[0] + 1)).astype(np.int64)
    rank = np.arange(rows.size, dtype=np.int64) - start[rows]
    kept = rank < max_genes
    offsets = np.concatenate(([0], np.cumsum(np.minimum(np.diff(start), max_genes)))).astype(np.int64)
    return token_ids[position[kept]], offsets


def expressed(counts: csr_matrix, columns: NDArray[np.int32]) -> NDArray[np.int64]:
    """Number of the genes in ``columns`` with a count, for each cell."""
    rows, _, _ = _entries(counts, np.asarray(columns, dtype=np.int64))
    return np.bincount(rows, minlength=counts.shape[0]).astype(np.int64)


def fit_medians(counts: csr_matrix, n_counts: NDArray[np.float64], columns: NDArray[np.int32]) -> NDArray[np.float64]:
    """Non-zero median of each gene after scaling cells to 10,000 counts, in the order of ``columns``.

    ``n_counts`` is the total of each cell over all measured genes.

    Raises
    ------
    ValueError
        If a gene has no count in any cell (its median does not exist), or a cell with counts has a total that
        is not positive.
    """
    columns = np.asarray(columns, dtype=np.int64)
    totals = np.asarray(n_counts, dtype=np.float64)
    if totals.shape != (counts.shape[0],):
        raise ValueError(f"n_counts has shape {totals.shape}; {counts.shape[0]} cells need one total each")
    _check_columns(counts, columns)
    rows, position, data = _entries(counts, columns)
    if rows.size and not (totals[rows] > 0).all():
        raise ValueError("n_counts must be positive for every cell that has counts")
    value = data / totals[rows] * TARGET_SUM
    order = np.lexsort((value, position))
    value, per_gene = value[order], np.bincount(position, minlength=columns.size)
    if (per_gene == 0).any():
        silent = columns[per_gene == 0][:10].tolist()
        raise ValueError(f"columns {silent} have no count in any cell, so no non-zero median; leave them out")
    start = np.cumsum(per_gene) - per_gene
    return (value[start + (per_gene - 1) // 2] + value[start + per_gene // 2]) / 2.0


def _entries(
    counts: csr_matrix, columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Cell, position in ``columns`` and count of every non-zero entry that the vocabulary knows."""
    matrix = counts.tocsr()
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
        raise ValueError("counts must be finite and not negative")
    where = np.full(matrix.shape[1], -1, dtype=np.int64)
    where[columns] = np.arange(columns.size)
    position = where[matrix.indices]
    kept = (position >= 0) & (matrix.data != 0)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return rows[kept], position[kept], matrix.data[kept].astype(np.float64)


def _totals(counts: csr_matrix) -> NDArray[np.float64]:
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()


def _check_columns(counts: csr_matrix, columns: NDArray[np.int64]) -> None:
    if np.unique(columns).size != columns.size:
        raise ValueError("columns repeats a gene; sum the counts of duplicate genes before encoding")
    if columns.size and (columns.min() < 0 or columns.max() >= counts.shape[1]):
        raise ValueError(f"columns must lie in 0..{counts.shape[1] - 1}")


def _check_vocabulary(
    counts: csr_matrix,
    columns: NDArray[np.int64],
    token_ids: NDArray[np.int32],
    medians: NDArray[np.float64],
    max_genes: int,
) -> None:
    if not columns.shape == token_ids.shape == medians.shape:
        raise ValueError(
            f"columns, token_ids and medians must have one entry per gene; got {columns.shape}, "
            f"{token_ids.shape} and {medians.shape}"
        )
    _check_columns(counts, columns)
    if not (np.isfinite(medians).all() and (medians > 0).all()):
        raise ValueError("every median must be positive and finite")
    if max_genes < 1:
        raise ValueError(f"max_genes is {max_genes}; a cell needs room for at least one gene")
