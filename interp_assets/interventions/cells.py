"""The cells an intervention is run on, and where their sequences hold perturbed and scored genes.

What belongs here: choosing cells and indexing positions. What does not: a model.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells
from interp_assets.models.adapter import AttentionModel
from interp_assets.models.attention.plan import ScoredCells, batch_positions, score_cells
from interp_assets.models.attention.pooling import repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRows:
    """Positions in one cell of a batch: of row genes (r) with their row numbers, of scored genes (n) with theirs.

    A gene has one position, unless ``row_of`` and ``column_of`` say for every position of ``row_at`` and ``column_at``
    which entry of ``row`` and ``column`` it belongs to. ``own`` is the place of each row gene in ``column``.
    """

    row_at: NDArray[np.int64]
    row: NDArray[np.int64]
    column_at: NDArray[np.int64]
    column: NDArray[np.int64]
    own: NDArray[np.int64] | None = None
    row_of: NDArray[np.int64] | None = None
    column_of: NDArray[np.int64] | None = None


def encoded_cells(model: AttentionModel, cells: PreparedCells, genes: NDArray[np.str_]) -> ScoredCells:
    """Encoded control cells with the positions of ``genes`` (G names), numbered in their order.

    Raises
    ------
    ValueError
        If a gene is not measured.
    """
    column_of = {str(gene): column for column, gene in reversed(list(enumerate(cells.genes)))}
    lacking = [str(gene) for gene in genes if str(gene) not in column_of]
    if lacking:
        raise ValueError(f"dataset {cells.dataset}: scored gene {lacking[0]} is not among the measured genes")
    columns = np.array([column_of[str(gene)] for gene in genes], dtype=np.int64)
    control = np.flatnonzero(cells.control)
    return score_cells(model.encode(cells.counts[control], cells.genes), columns)


def richest_cells(cells: ScoredCells, sources: NDArray[np.int64], tokens: int) -> NDArray[np.int64]:
    """Cells whose sequences hold most of the source genes, up to a number of tokens (0: all); in cell order.

    Every condition runs the model again on each cell, so cells that tell about most perturbations are taken, at least
    one; ties go by cell number. The choice looks at sequences only, never at outcomes or attention.
    """
    once = np.isin(cells.gene, sources) & ~repeated(cells.gene, cells.offsets)
    so_far = np.concatenate([[0], np.cumsum(once)])
    held = so_far[cells.offsets[1:]] - so_far[cells.offsets[:-1]]
    useful = np.flatnonzero(held > 0)
    best = useful[np.argsort(-held[useful], kind="stable")]
    within = np.cumsum(cells.encoded.lengths[best]) <= tokens if tokens else np.ones(best.size, dtype=bool)
    return np.sort(best[: max(int(within.sum()), 1)])


def subset(cells: ScoredCells, chosen: NDArray[np.int64]) -> ScoredCells:
    """Only some cells, renumbered in their order."""
    spans = [slice(cells.encoded.offsets[cell], cells.encoded.offsets[cell + 1]) for cell in chosen]
    encoded = replace(
        cells.encoded,
        left_out=None if cells.encoded.left_out is None else cells.encoded.left_out[chosen],
        tokens=np.concatenate([cells.encoded.tokens[span] for span in spans]),
        column=np.concatenate([cells.encoded.column[span] for span in spans]),
        offsets=np.cumsum([0, *(span.stop - span.start for span in spans)], dtype=np.int64),
    )
    where, gene, offsets = batch_positions(cells, chosen)
    return ScoredCells(encoded=encoded, where=where, gene=gene, offsets=offsets, genes=cells.genes)


def cell_rows(cells: ScoredCells, batch: NDArray[np.int64], rows: NDArray[np.int64]) -> list[CellRows]:
    """Positions of row genes and scored genes for each cell of a batch.

    ``rows`` holds gene numbers; a row's number is its place in ``rows``.

    Raises
    ------
    ValueError
        If a gene is listed twice: its position could only be given to one of the two rows.
    """
    if np.unique(rows).size != rows.size:
        raise ValueError("a row gene is listed twice; merge the perturbations of one gene first")
    number = np.full(cells.genes, -1, dtype=np.int64)
    number[rows] = np.arange(rows.size)
    where, gene, offsets = batch_positions(cells, batch)
    found = []
    for start, stop in itertools.pairwise(offsets):
        at, named = where[start:stop].astype(np.int64), gene[start:stop].astype(np.int64)
        kept = number[named] >= 0
        if cells.encoded.several:
            found.append(_of_several(at, named, kept, number))
            continue
        own = np.flatnonzero(kept)
        found.append(CellRows(row_at=at[kept], row=number[named[kept]], column_at=at, column=named, own=own))
    return found


def _of_several(
    at: NDArray[np.int64], named: NDArray[np.int64], kept: NDArray[np.bool_], number: NDArray[np.int64]
) -> CellRows:
    """Rows of one cell whose genes may stand at several positions; ``named`` (gene of each position) rises."""
    genes, column_of = np.unique(named, return_inverse=True)
    own = np.flatnonzero(number[genes] >= 0)
    return CellRows(
        row_at=at[kept],
        row=number[genes[own]],
        column_at=at,
        column=genes,
        own=own,
        row_of=np.searchsorted(own, column_of[kept]),
        column_of=column_of,
    )


def row_counts(cells: ScoredCells, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of cells that hold both the row gene and the scored gene (R x G)."""
    counts = np.zeros((rows.size, cells.genes), dtype=np.int64)
    for found in cell_rows(cells, np.arange(cells.offsets.size - 1), rows):
        counts[found.row[:, None], found.column[None, :]] += 1
    return counts
