# mypy: disable-error-code="untyped-decorator"
"""Numba kernels for models that look back only and for genes of several tokens; imported when first needed.

What belongs here: the sum over heads where a row sees a part of the keys or a gene stands at several positions, and
counts over such sequences; single heads are added by `compiled.add_heads`. Scored positions are sorted by place
in the sequence, so that what a row can see is a prefix; ``weight`` is 1 / (tokens of the gene), which makes a mean over
the tokens of the query gene.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from interp_assets.models.attention.compiled import Floats, Ints, _exponentials, _gather

Offsets = NDArray[np.int64]


@njit(parallel=True, cache=True, error_model="numpy")
def add_head_sum(
    sums: Floats,
    query: Floats,
    key: Floats,
    logsumexp: Floats,
    where: Ints,
    gene: Ints,
    weight: Floats,
    offsets: Offsets,
    scale: np.float32,
    blocks: int,
    causal: bool,
) -> None:
    """Add the same, summed over heads, to (G, G); one block of gene rows a task, cells in order."""
    genes = sums.shape[0]
    heads = query.shape[2]
    for block in prange(blocks):
        low, high = genes * block // blocks, genes * (block + 1) // blocks
        for cell in range(offsets.size - 1):
            spot = where[offsets[cell] : offsets[cell + 1]]
            name = gene[offsets[cell] : offsets[cell + 1]]
            share = weight[offsets[cell] : offsets[cell + 1]]
            own = np.flatnonzero((name >= low) & (name < high))
            if own.size == 0:
                continue
            width = own[own.size - 1] + 1 if causal else spot.size
            bits = np.empty(width, np.int32)
            row = np.empty(width, np.float32)
            total = np.zeros((own.size, width), np.float32)
            for head in range(heads):
                queries = _gather(query, cell, head, spot[own])
                keys = _gather(key, cell, head, spot[:width])
                scores = np.dot(queries, keys.T)
                for i in range(own.size):
                    seen = own[i] + 1 if causal else width
                    _exponentials(scores[i, :seen], scale, logsumexp[cell, head, spot[own[i]]], bits, row)
                    for j in range(seen):
                        total[i, j] += row[j]
            for i in range(own.size):
                seen = own[i] + 1 if causal else width
                target = sums[name[own[i]]]
                for j in range(seen):
                    target[name[j]] += share[own[i]] * total[i, j]


@njit(cache=True)
def count_possible(counts: Ints, first: Ints, last: Ints, gene: Ints, offsets: Offsets) -> None:
    """Count cells in which the first token of the key gene stands at or before the last one of the query gene."""
    for cell in range(offsets.size - 1):
        for i in range(offsets[cell], offsets[cell + 1]):
            for j in range(offsets[cell], offsets[cell + 1]):
                if first[j] <= last[i]:
                    counts[gene[i], gene[j]] += 1


@njit(cache=True)
def add_order(sums: NDArray[np.float64], where: Ints, gene: Ints, weight: Floats, offsets: Offsets) -> None:
    """Add ``weight / (place + 1)`` of every visible pair; positions of a cell are sorted by place."""
    for cell in range(offsets.size - 1):
        for i in range(offsets[cell], offsets[cell + 1]):
            share = weight[i] / (where[i] + 1.0)
            for j in range(offsets[cell], i + 1):
                sums[gene[i], gene[j]] += share
