# mypy: disable-error-code="untyped-decorator, no-untyped-def"
"""Triton kernel of `gene_order.add_gene_order`, for CUDA; imported only where Triton is installed.

One program owns one tile of the sums, loops over the cells of the batch in order, keeps the tile in registers and adds
it to memory once. Queries and keys are read through the place of each gene, so nothing is gathered beforehand and
nothing is scattered; without atomics the order of additions is fixed by the batch alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from interp_assets.models.adapter import LayerAttention
from interp_assets.models.attention.gene_order import GeneOrder

if TYPE_CHECKING:
    import torch

# Genes along a side of a tile: its float32 sums stay in registers, rows of queries and keys in shared memory.
TILE = 64
_WIDE = 64  # beyond this width of a head, tiles have half the side: cards other than data centre ones share 100 KiB
_LEAST = 16  # of tl.dot


@triton.jit
def _add_tile(
    sums,
    query,
    key,
    logsumexp,
    place,
    cells,
    heads,
    genes,
    width,
    scale,
    query_cell,
    query_token,
    query_head,
    key_cell,
    key_token,
    key_head,
    shift_cell,
    shift_head,
    EACH_HEAD: tl.constexpr,
    CAUSAL: tl.constexpr,
    SIDE: tl.constexpr,
    WIDTH: tl.constexpr,
):  # no other annotation: Triton compiles them too
    rows = tl.program_id(0) * SIDE + tl.arange(0, SIDE)
    columns = tl.program_id(1) * SIDE + tl.arange(0, SIDE)
    own = tl.program_id(2)
    first, last = 0, heads
    if EACH_HEAD:
        first, last = own, own + 1
    parts = tl.arange(0, WIDTH)
    total = tl.zeros((SIDE, SIDE), dtype=tl.float32)
    for cell in range(cells):
        here = place + cell * genes
        at = tl.load(here + rows, mask=rows < genes, other=-1)
        to = tl.load(here + columns, mask=columns < genes, other=-1)
        seen = (at >= 0)[:, None] & (to >= 0)[None, :]
        if CAUSAL:
            seen = seen & (to[None, :] <= at[:, None])
        query_rows = query + cell * query_cell + at[:, None] * query_token + parts[None, :]
        key_columns = key + cell * key_cell + to[None, :] * key_token + parts[:, None]
        shifts = logsumexp + cell * shift_cell + at
        for head in range(first, last):
            q = tl.load(query_rows + head * query_head, mask=(at >= 0)[:, None] & (parts < width)[None, :], other=0.0)
            k = tl.load(key_columns + head * key_head, mask=(to >= 0)[None, :] & (parts < width)[:, None], other=0.0)
            # a gene the cell lacks has log-sum-exp +inf: its row is exp(-inf) = 0
            shift = tl.load(shifts + head * shift_head, mask=at >= 0, other=float("inf"))
            # ieee: float32 products are not rounded to TF32
            scores = tl.dot(q, k, input_precision="ieee") * scale
            total += tl.where(seen, tl.exp(scores - shift[:, None]), 0.0)
    slab = own.to(tl.int64) * genes * genes
    target = sums + slab + rows[:, None].to(tl.int64) * genes + columns[None, :]
    inside = (rows < genes)[:, None] & (columns < genes)[None, :]
    tl.store(target, tl.load(target, mask=inside, other=0.0) + total, mask=inside)


def add_gene_order_triton(sums: torch.Tensor, attention: LayerAttention, order: GeneOrder, *, heads: bool) -> None:
    """Add exp(scale q.k - logsumexp) of every cell to ``sums``, as `gene_order.add_gene_order` does.

    Products of float32 queries and keys are float32, those of bfloat16 exact; sums are float32. Cells of a batch are
    added up before they meet the sums, so last bits differ from the reference. ``sums`` must be contiguous.

    Raises
    ------
    ValueError
        If the attention has no queries, keys and log-sum-exp, or ``sums`` is not contiguous.
    """
    if attention.query is None or attention.key is None or attention.logsumexp is None:
        raise ValueError("gene order needs queries, keys and the log-sum-exp")
    if not sums.is_contiguous():
        raise ValueError("the sums of a layer have to be contiguous")
    query, key = (part if part.stride(3) == 1 else part.contiguous() for part in (attention.query, attention.key))
    shift = attention.logsumexp if attention.logsumexp.stride(2) == 1 else attention.logsumexp.contiguous()
    cells, number, width = int(query.shape[0]), int(query.shape[2]), int(query.shape[3])
    side = TILE if width <= _WIDE else TILE // 2
    tiles = triton.cdiv(order.genes, side)
    _add_tile[(tiles, tiles, number if heads else 1)](
        sums,
        query,
        key,
        shift,
        order.place,
        cells,
        number,
        order.genes,
        width,
        attention.scale,
        query.stride(0),
        query.stride(1),
        query.stride(2),
        key.stride(0),
        key.stride(1),
        key.stride(2),
        shift.stride(0),
        shift.stride(1),
        EACH_HEAD=heads,
        CAUSAL=attention.causal,
        SIDE=side,
        WIDTH=max(_LEAST, triton.next_power_of_2(width)),
    )
