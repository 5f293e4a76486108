"""Encoded cells of a count source, one block of cells at a time.

What belongs here: encoding by blocks, and joining what comes out. What does not: how a family encodes a cell.

Every family encodes a cell by itself, so that blocks change no token. What is held is one block, a few numbers a cell,
and of the tokens what fits a bound (`appended`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.count_sources import CountSource, blocks
from interp_assets.models.adapter import AttentionModel, Duplicates, EncodedCells
from interp_assets.models.attention.appended import Appended


def encode_blocks(
    model: AttentionModel,
    counts: CountSource,
    genes: NDArray[np.str_],
    duplicates: Duplicates = "refuse",
    folder: Path | None = None,
) -> EncodedCells:
    """Token sequences of all cells of a source; errors are those of the adapter (`AttentionModel.encode`).

    ``folder`` is where tokens lie that are too many for memory.
    """
    return joined((model.encode(block, genes, duplicates=duplicates) for block in blocks(counts)), folder)


def joined(parts: Iterable[EncodedCells], folder: Path | None = None) -> EncodedCells:
    """Cells of several encodings of one model, one after the other.

    Raises
    ------
    ValueError
        Where some of them say how many genes were left out and others do not.
    """
    tokens, column, lengths = Appended(np.int32, folder), Appended(np.int32, folder), Appended(np.int64)
    left_out, cells, flags = Appended(np.int64), 0, {"causal": False, "several": False}
    for part in parts:
        tokens.append(part.tokens)
        column.append(part.column)
        lengths.append(part.lengths)
        cells += part.lengths.size if part.left_out is not None else 0
        if part.left_out is not None:
            left_out.append(part.left_out)
        flags = {name: flag or getattr(part, name) for name, flag in flags.items()}
    if cells not in (0, lengths.size):
        raise ValueError("some cells say how many genes did not fit and others do not; they are of different models")
    offsets = np.zeros(lengths.size + 1, dtype=np.int64)
    np.cumsum(lengths.array(), out=offsets[1:])
    return EncodedCells(
        tokens=tokens.array(),
        column=column.array(),
        offsets=offsets,
        left_out=left_out.array() if cells else None,
        **flags,
    )
