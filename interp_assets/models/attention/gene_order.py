"""Attention added to gene x gene sums in gene order: no scatter, no atomics, any device.

What belongs here: where each gene stands in each cell of a batch, and the addition in plain torch, which is the
reference for the CUDA kernel (`triton_kernel`) and for the numba kernel (`compiled`). What does not: which of
them a run uses (`kernel`).

Queries and keys of a cell are gathered into the order of the genes. A gene that the cell lacks has log-sum-exp +inf as
a row, so its probabilities are exp(-inf) = 0, and a masked column. What is left is the same dense block for every cell,
so cells are added one after the other to whole slabs, and no two additions ever meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import LayerAttention

if TYPE_CHECKING:
    import torch

    from interp_assets.models.attention.kernel import Positions

# Bound on the dense block of one cell. A constant, because the number of heads in one product may change last bits.
BLOCK_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneOrder:
    """Token position of every gene in every cell of a batch (B x G, int32, on the device); -1 where a cell lacks it."""

    place: torch.Tensor

    @property
    def genes(self) -> int:
        """Number of scored genes."""
        return int(self.place.shape[1])


def gene_order(positions: Positions, genes: int, device: str | torch.device) -> GeneOrder:
    """Place of every gene, from the flat positions of a batch (see `kernel.add_logsumexp`).

    Raises
    ------
    ValueError
        If a gene stands at two positions of a cell: one row cannot hold both.
    """
    import torch

    where, gene, offsets = positions
    cells = offsets.size - 1
    cell = np.repeat(np.arange(cells), np.diff(offsets))
    place: NDArray[np.int32] = np.full((cells, genes), -1, dtype=np.int32)
    place[cell, gene] = where
    if np.count_nonzero(place >= 0) != where.size:
        raise ValueError("a gene stands at several positions of one cell; gene order has one row a gene")
    return GeneOrder(place=torch.from_numpy(place).to(device))


def add_gene_order(sums: torch.Tensor, attention: LayerAttention, order: GeneOrder, *, heads: bool) -> None:
    """Add exp(scale q.k - logsumexp) of every cell to ``sums`` (H x G x G; G x G for the sum over heads), in place.

    Sums and products are float32 whatever the number format of queries and keys. For the sum over heads the heads of
    a cell are added first, as in the numba kernel. Equals that kernel and a float64 softmax up to float32 rounding.
    """
    if attention.query is None or attention.key is None or attention.logsumexp is None:
        raise ValueError("gene order needs queries, keys and the log-sum-exp")
    number = int(attention.query.shape[2])
    at_once = max(1, min(number, BLOCK_BYTES // (4 * order.genes**2)))
    for cell in range(int(order.place.shape[0])):
        for first in range(0, number, at_once):
            some = slice(first, min(first + at_once, number))
            block = dense_block(attention, order, cell, some)
            if heads:
                sums[some] += block
            else:
                sums += block.sum(0)


def dense_block(attention: LayerAttention, order: GeneOrder, cell: int, heads: slice) -> torch.Tensor:
    """Softmax weights between all genes of one cell (heads x G x G, float32); 0 where the cell lacks a gene."""
    import torch

    if attention.query is None or attention.key is None or attention.logsumexp is None:
        raise ValueError("gene order needs queries, keys and the log-sum-exp")
    place = order.place[cell].long()
    absent = place < 0
    place = place.clamp(min=0)
    query, key = (
        part[cell, :, heads].index_select(0, place).transpose(0, 1).to(torch.float32)
        for part in (attention.query, attention.key)
    )
    shift = attention.logsumexp[cell, heads].index_select(1, place).to(torch.float32)
    shift = shift.masked_fill(absent, torch.inf)
    block = torch.baddbmm(-shift[:, :, None], query, key.transpose(1, 2), alpha=attention.scale)
    block.exp_().masked_fill_(absent, 0.0)
    # a position that looks back gives no weight to later ones; the log-sum-exp does not count them either
    return block.masked_fill_(place[None, :] > place[:, None], 0.0) if attention.causal else block
