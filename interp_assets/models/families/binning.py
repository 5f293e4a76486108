"""Binned expression values: the scGPT input, cell by cell, and which genes of a long cell are shown.

What belongs here: counts to bins by the quantiles of a cell, and drawing genes where a cell holds more than fit. What
does not: vocabularies, special tokens and embeddings, which live with the adapter.

Everything random is drawn from the seed and the content of the cell (its genes and counts), so that a cell is encoded
the same way in whatever batch, order or company it comes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import Encoding

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedCells:
    """Genes shown of every cell, flat: ``gene`` (place among the columns), ``bin`` (0: not expressed) and ``offsets``.

    Within a cell by falling bin, equal bins in column order. ``left_out`` counts the expressed genes of a cell that
    are not shown.
    """

    gene: NDArray[np.int64]
    bin: NDArray[np.int64]
    offsets: NDArray[np.int64]
    left_out: NDArray[np.int64]


def value_bins(values: NDArray[np.float64], bins: int, uniform: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
    """Bin (1 to ``bins - 1``) of each of the non-zero values of one cell.

    Edges are ``bins - 1`` evenly spaced quantiles of the values, the first their minimum and the last their maximum
    (scGPT, ``binning``). The left digit of a value is the number of edges at most as large, the right digit the number
    of smaller edges. They differ for a value that lies on edges: with ``uniform`` (one number from [0, 1) a value) it
    gets each bin from right digit + 1 to left digit with equal chance, without it the left digit. Every other value
    gets the digit both agree on.

    >>> value_bins(np.array([1.0, 1.0, 1.0, 5.0]), 4).tolist()
    [2, 2, 2, 3]
    >>> value_bins(np.array([1.0, 1.0, 1.0, 5.0]), 4, np.array([0.0, 0.4, 0.6, 0.9])).tolist()
    [1, 1, 2, 3]
    """
    edges = np.quantile(values, np.linspace(0.0, 1.0, bins - 1))
    left = np.searchsorted(edges, values, side="right")
    if uniform is None:
        return left.astype(np.int64)
    tied = left - np.searchsorted(edges, values, side="left")
    # a value on `tied` edges may take any of their bins; floor(u * tied) is 0 to tied - 1, and 0 without a tie
    drawn: NDArray[np.int64] = (left - np.maximum(tied - 1, 0) + np.floor(uniform * tied)).astype(np.int64)
    return drawn


def binned_cells(counts: csr_matrix, genes: NDArray[np.int64], bins: int, room: int, encoding: Encoding) -> BinnedCells:
    """Binned genes of every cell, at most ``room`` of them.

    Bins come from all expressed genes of a cell before any is left out. A cell with more genes than fit shows a random
    sample of them, without regard to value (scGPT, embedding task); with ``zeros="keep"`` the sample is drawn from all
    genes, expressed or not.

    Parameters
    ----------
    counts
        Cells x genes of the vocabulary, raw counts.
    genes
        Vocabulary entry of each column, rising; the draws of a cell depend on entries, not on columns.
    bins
        Bins with the one for zero.
    room
        Genes that fit.
    encoding
        Whether zeros are shown, what becomes of ties, and the seed.

    Raises
    ------
    ValueError
        If columns and entries differ in number, entries do not rise, or ``room`` or ``bins`` leave nothing.
    """
    if counts.shape[1] != genes.size or (np.diff(genes) <= 0).any():
        raise ValueError(f"{counts.shape[1]} columns need as many vocabulary entries, rising; got {genes.size}")
    if room < 1 or bins < 3:
        raise ValueError(f"room for {room} genes and {bins} bins; at least 1 and 3 are needed")
    matrix = counts.tocsr().copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    found = [
        _binned_cell(
            matrix.indices[start:stop], matrix.data[start:stop].astype(np.float64), genes, bins, room, encoding
        )
        for start, stop in itertools.pairwise(matrix.indptr)
    ]
    lengths = [gene.size for gene, _, _ in found]
    return BinnedCells(
        gene=np.concatenate([gene for gene, _, _ in found]).astype(np.int64),
        bin=np.concatenate([digit for _, digit, _ in found]).astype(np.int64),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        left_out=np.array([left_out for _, _, left_out in found], dtype=np.int64),
    )


def _binned_cell(
    expressed: NDArray[np.int32],
    values: NDArray[np.float64],
    genes: NDArray[np.int64],
    bins: int,
    room: int,
    encoding: Encoding,
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Columns shown, their bins, and the number of expressed genes left out."""
    rng = _cell_generator(genes[expressed], values, encoding.seed)
    uniform = rng.random(values.size) if encoding.ties == "random" else None
    digits = value_bins(values, bins, uniform) if values.size else np.zeros(0, dtype=np.int64)
    shown = expressed.astype(np.int64)
    if encoding.zeros == "keep":
        every = np.zeros(genes.size, dtype=np.int64)
        every[expressed] = digits
        shown, digits = np.arange(genes.size, dtype=np.int64), every
    if shown.size > room:
        kept = np.sort(rng.choice(shown.size, room, replace=False))
        shown, digits = shown[kept], digits[kept]
    order = np.argsort(-digits, kind="stable")
    return shown[order], digits[order], values.size - int(np.count_nonzero(digits))


def _cell_generator(genes: NDArray[np.int64], values: NDArray[np.float64], seed: int) -> np.random.Generator:
    digest = sha256(genes.astype("<i8").tobytes() + values.astype("<f8").tobytes()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype="<u4").tolist()])
