# mypy: disable-error-code="untyped-decorator"
"""Numba kernels behind `kernel.add_logsumexp`; imported only when the first batch is added."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@njit(inline="always", error_model="numpy")
def _exponentials(scores: Floats, scale: np.float32, shift: np.float32, bits: Ints, out: Floats) -> None:
    """Write ``exp(scores * scale - shift)`` to ``out``; relative error about 1e-7, 1.6e-38 below -87.

    Own polynomial because numba's ``exp`` does not vectorise: 2**n from exponent bits, a degree 5 polynomial
    for the rest.
    """
    exponents = bits.view(np.float32)
    for j in range(scores.size):
        x = max(np.float32(scores[j] * scale - shift), np.float32(-87.0))
        n = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
        # numba widens integers: back to 32 bits before the bits are read as a float
        bits[j] = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
        r = (x - n * np.float32(0.693359375)) - n * np.float32(-2.12194440e-4)
        p = np.float32(1.9875691500e-4)
        p = p * r + np.float32(1.3981999507e-3)
        p = p * r + np.float32(8.3334519073e-3)
        p = p * r + np.float32(4.1665795894e-2)
        p = p * r + np.float32(1.6666665459e-1)
        p = p * r + np.float32(5.0000001201e-1)
        out[j] = p * r * r + r + np.float32(1.0)
    for j in range(scores.size):
        out[j] *= exponents[j]


@njit(inline="always")
def _gather(source: Any, cell: int, head: int, where: Ints) -> Floats:
    width = source.shape[3]
    rows = np.empty((where.size, width), np.float32)
    for i in range(where.size):
        for d in range(width):
            rows[i, d] = source[cell, where[i], head, d]
    return rows


@njit(parallel=True, cache=True, error_model="numpy")
def _gather_heads(source: Floats, where: Ints, offsets: NDArray[np.int64]) -> Floats:
    """Scored rows of all cells, head by head (heads x positions x d)."""
    rows = np.empty((source.shape[2], where.size, source.shape[3]), np.float32)
    for head in prange(source.shape[2]):
        for cell in range(offsets.size - 1):
            for i in range(offsets[cell], offsets[cell + 1]):
                for d in range(source.shape[3]):
                    rows[head, i, d] = source[cell, where[i], head, d]
    return rows


@njit(parallel=True, cache=True, error_model="numpy")
def add_heads(
    sums: Floats,
    query: Floats,
    key: Floats,
    logsumexp: Floats,
    where: Ints,
    gene: Ints,
    weight: Floats,
    offsets: NDArray[np.int64],
    scale: np.float32,
    blocks: int,
    causal: bool,
) -> None:
    """Add ``weight * exp(scale q.k - logsumexp)`` of every visible pair to (H, G, G); one head a task, cells in order.

    ``weight`` belongs to the query's token, 1 where a gene has one token. With ``causal`` positions are sorted by place
    in the sequence, and a row sees those up to its own.
    """
    for head in prange(sums.shape[0]):
        for cell in range(offsets.size - 1):
            spot = where[offsets[cell] : offsets[cell + 1]]
            name = gene[offsets[cell] : offsets[cell + 1]]
            share = weight[offsets[cell] : offsets[cell + 1]]
            n = spot.size
            queries = _gather(query, cell, head, spot)
            keys = _gather(key, cell, head, spot)
            bits = np.empty(n, np.int32)
            row = np.empty(n, np.float32)
            for block in range(blocks):
                first, last = n * block // blocks, n * (block + 1) // blocks
                if first == last:
                    continue
                width = last if causal else n
                scores = np.dot(queries[first:last], keys[:width].T)
                for i in range(first, last):
                    seen = i + 1 if causal else n
                    _exponentials(scores[i - first, :seen], scale, logsumexp[cell, head, spot[i]], bits, row)
                    target, part = sums[head, name[i]], share[i]
                    for j in range(seen):
                        target[name[j]] += part * row[j]


@njit(parallel=True, cache=True, error_model="numpy")
def add_head_sum(
    sums: Floats,
    query: Floats,
    key: Floats,
    logsumexp: Floats,
    where: Ints,
    gene: Ints,
    offsets: NDArray[np.int64],
    scale: np.float32,
    blocks: int,
) -> None:
    """Add the same, summed over heads, to (G, G); one block of gene rows a task, cells in order.

    Positions have to be sorted by gene within a cell: a block finds its rows by bisection. Scored rows are gathered
    once for all blocks.
    """
    genes = sums.shape[0]
    heads = query.shape[2]
    queries, keys = _gather_heads(query, where, offsets), _gather_heads(key, where, offsets)
    for block in prange(blocks):
        low, high = genes * block // blocks, genes * (block + 1) // blocks
        for cell in range(offsets.size - 1):
            start, stop = offsets[cell], offsets[cell + 1]
            spot, name = where[start:stop], gene[start:stop]
            n = spot.size
            first, last = np.searchsorted(name, low), np.searchsorted(name, high)
            if first == last:
                continue
            bits = np.empty(n, np.int32)
            row = np.empty(n, np.float32)
            total = np.zeros((last - first, n), np.float32)
            for head in range(heads):
                scores = np.dot(queries[head, start + first : start + last], keys[head, start:stop].T)
                for i in range(last - first):
                    _exponentials(scores[i], scale, logsumexp[cell, head, spot[first + i]], bits, row)
                    for j in range(n):
                        total[i, j] += row[j]
            for i in range(last - first):
                target = sums[name[first + i]]
                for j in range(n):
                    target[name[j]] += total[i, j]
