"""The fixed plan of an extraction: which cells run together, in which order, and where sums are closed.

What belongs here: pure bookkeeping over encoded cells. What does not: running a model (`attention`).

The same sum added in another order has other last bits. So cells, batches and shards are planned before
anything runs, the plan is hashed, and a killed run continues with the plan it started with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import EncodedCells, TokenBatch
from interp_assets.models.attention.appended import Appended
from interp_assets.models.attention.kernel import Positions
from interp_assets.models.attention.pooling import repeated

BLOCK = 4096  # cells


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCells:
    """Encoded cells and, for each, the positions that hold a scored gene.

    ``where`` and ``gene`` are flat over cells with ``offsets``; within a cell ``gene`` rises, strictly unless its
    encoding says that a gene may stand at several positions. ``genes`` is the number of scored genes.
    """

    encoded: EncodedCells
    where: NDArray[np.int32]
    gene: NDArray[np.int32]
    offsets: NDArray[np.int64]
    genes: int

    @property
    def held(self) -> int:
        """Scored genes of all cells together, each counted once a cell."""
        again = 0
        for first, last in spans(self.offsets.size - 1):
            offsets = self.offsets[first : last + 1]
            again += int(np.count_nonzero(repeated(self.gene[offsets[0] : offsets[-1]], offsets - offsets[0])))
        return self.gene.size - again

    @property
    def used(self) -> NDArray[np.int64]:
        """Cells with at least one scored gene, longest first; equal lengths keep their order."""
        cells = np.flatnonzero(np.diff(self.offsets) > 0)
        return cells[np.argsort(-self.encoded.lengths[cells], kind="stable")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """Batches of cell numbers, and shards as ranges of batches."""

    batches: tuple[NDArray[np.int64], ...]
    shards: tuple[range, ...]
    plan_hash: str


def score_cells(
    encoded: EncodedCells, scored_columns: Sequence[int] | NDArray[np.int64], folder: Path | None = None
) -> ScoredCells:
    """Positions of the scored genes, given the matrix columns of these genes in the order they are numbered.

    Special tokens and unscored genes have no position; the softmax still counts them. Positions of one gene follow
    each other in the order of the sequence. ``folder`` is where positions lie that are too many for memory.

    Raises
    ------
    ValueError
        If a cell holds a scored gene at two positions and its encoding does not say that genes may.
    """
    columns = np.asarray(scored_columns, dtype=np.int64)
    number = np.full(max(int(encoded.column.max(initial=-1)), int(columns.max(initial=-1))) + 2, -1, np.int32)
    number[columns] = np.arange(columns.size, dtype=np.int32)
    cells, repeats, first_repeat = encoded.offsets.size - 1, 0, -1
    where, genes, scored = Appended(np.int32, folder), Appended(np.int32, folder), np.zeros(cells, dtype=np.int64)
    for first, last in spans(cells):
        offsets = encoded.offsets[first : last + 1] - encoded.offsets[first]
        # column -1 (special tokens) reads the last entry, which stays -1
        gene = number[encoded.column[encoded.offsets[first] : encoded.offsets[last]]]
        cell = np.repeat(np.arange(last - first), np.diff(offsets))
        kept = np.flatnonzero(gene >= 0)
        kept = kept[np.lexsort((gene[kept], cell[kept]))]
        same = (np.diff(gene[kept]) == 0) & (np.diff(cell[kept]) == 0)
        if same.any() and not repeats:
            first_repeat = first + int(cell[kept[1:]][same][0])
        repeats += int(same.sum())
        where.append(kept - offsets[cell[kept]])
        genes.append(gene[kept])
        scored[first:last] = np.bincount(cell[kept], minlength=last - first)
    if repeats and not encoded.several:
        raise ValueError(
            f"a gene stands at several positions of one cell ({repeats} times, first in cell {first_repeat}); encode "
            "it once, or state `several` in the encoding"
        )
    found = np.concatenate([[0], np.cumsum(scored)]).astype(np.int64)
    return ScoredCells(encoded=encoded, where=where.array(), gene=genes.array(), offsets=found, genes=columns.size)


def spans(cells: int) -> Iterator[tuple[int, int]]:
    """First and last cell (exclusive) of blocks of cells; what is made for a block is all that is held at once."""
    for first in range(0, cells, BLOCK):
        yield first, min(first + BLOCK, cells)


def plan_batches(cells: ScoredCells, batch_tokens: int, cells_per_shard: int) -> BatchPlan:
    """Batches of at most ``batch_tokens`` padded tokens (always at least one cell), and shards of whole batches."""
    if batch_tokens < 1 or cells_per_shard < 1:
        raise ValueError("batch_tokens and cells_per_shard must be at least 1")
    batches: list[NDArray[np.int64]] = []
    used, lengths = cells.used, cells.encoded.lengths
    start = 0
    while start < used.size:
        # longest first: the first cell of a batch sets its width
        stop = min(used.size, start + max(1, batch_tokens // int(lengths[used[start]])))
        batches.append(used[start:stop])
        start = stop
    shards = _shards([batch.size for batch in batches], cells_per_shard)
    digest = sha256()
    for part in (cells.encoded.tokens, cells.encoded.offsets, cells.where, cells.gene, cells.offsets):
        digest.update(np.ascontiguousarray(part).data)
    for batch in batches:
        digest.update(b"batch" + batch.astype("<i8").tobytes())
    digest.update(repr([(shard.start, shard.stop) for shard in shards]).encode())
    return BatchPlan(batches=tuple(batches), shards=shards, plan_hash=digest.hexdigest())


def _shards(sizes: Sequence[int], cells_per_shard: int) -> tuple[range, ...]:
    shards: list[range] = []
    first = held = 0
    for number, size in enumerate(sizes):
        held += size
        if held >= cells_per_shard:
            shards.append(range(first, number + 1))
            first, held = number + 1, 0
    if held:
        shards.append(range(first, len(sizes)))
    return tuple(shards)


def token_batch(cells: ScoredCells, batch: NDArray[np.int64], padding: int = 0) -> TokenBatch:
    """Right-padded tokens of some cells."""
    lengths = cells.encoded.lengths[batch]
    tokens = np.full((batch.size, int(lengths.max())), padding, dtype=np.int64)
    for row, cell in enumerate(batch):
        tokens[row, : lengths[row]] = cells.encoded.tokens[
            cells.encoded.offsets[cell] : cells.encoded.offsets[cell + 1]
        ]
    return TokenBatch(tokens=tokens, lengths=lengths)


def batch_positions(cells: ScoredCells, batch: NDArray[np.int64]) -> Positions:
    """Positions, gene numbers and offsets of the scored genes of some cells, flat."""
    spans = [slice(int(cells.offsets[cell]), int(cells.offsets[cell + 1])) for cell in batch]
    offsets = np.cumsum([0, *(span.stop - span.start for span in spans)], dtype=np.int64)
    where = np.concatenate([cells.where[span] for span in spans])
    gene = np.concatenate([cells.gene[span] for span in spans])
    return where, gene, offsets


def pair_counts(cells: ScoredCells) -> NDArray[np.int32]:
    """Number of cells whose sequence holds both genes (G x G, symmetric): the product P^T P of the indicator."""
    counts = np.zeros((cells.genes, cells.genes), dtype=np.float64)
    for first, last in spans(cells.offsets.size - 1):
        present = np.zeros((last - first, cells.genes), dtype=np.float32)
        owner = np.repeat(np.arange(last - first), np.diff(cells.offsets[first : last + 1]))
        present[owner, cells.gene[cells.offsets[first] : cells.offsets[last]]] = 1.0
        counts += present.T @ present
    return counts.astype(np.int32)
