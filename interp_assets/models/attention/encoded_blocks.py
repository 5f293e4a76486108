"""Encoded cells of a count source, one block of cells at a time.

What belongs here: encoding by blocks, and joining what comes out. What does not: how a family encodes a cell.

Every family encodes a cell by itself, so that blocks change no token; what is held beside the tokens is one block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.count_sources import CountSource, blocks
from interp_assets.models.adapter import AttentionModel, Duplicates, EncodedCells


def encode_blocks(
    model: AttentionModel, counts: CountSource, genes: NDArray[np.str_], duplicates: Duplicates = "refuse"
) -> EncodedCells:
    """Token sequences of all cells of a source; errors are those of the adapter (`AttentionModel.encode`)."""
    return joined([model.encode(block, genes, duplicates=duplicates) for block in blocks(counts)])


def joined(parts: Sequence[EncodedCells]) -> EncodedCells:
    """Cells of several encodings of one model, one after the other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(part.tokens.size for part in parts)])
    shifted = [part.offsets[1:] + start for part, start in zip(parts, starts[:-1], strict=True)]
    left_out = [part.left_out for part in parts if part.left_out is not None]
    if left_out and len(left_out) != len(parts):
        raise ValueError("some cells say how many genes did not fit and others do not; they are of different models")
    return EncodedCells(
        tokens=np.concatenate([part.tokens for part in parts]),
        column=np.concatenate([part.column for part in parts]),
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), *shifted]).astype(np.int64),
        left_out=np.concatenate(left_out) if left_out else None,
        causal=any(part.causal for part in parts),
        several=any(part.several for part in parts),
    )
