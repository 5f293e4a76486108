"""Attention of one layer on several nested sets of cells, from one pass of the model over each cell.

What belongs here: sums of one layer, for sets of cells and lists of genes. What does not: which cells and genes
(`sensitivity_grid`), all layers at once and files (`models.attention`).

Batches, kernels and the order of additions are those of the extraction, so that the same cells and genes give the
same bits as the stored edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import AttentionForm, AttentionModel, LayerAttention, LayerSink, TokenBatch
from interp_assets.models.attention.budget import keeps_all_heads
from interp_assets.models.attention.edge_rules import EdgeRule, adder
from interp_assets.models.attention.extraction import MASS_TOLERANCE, check_mass
from interp_assets.models.attention.kernel import Positions
from interp_assets.models.attention.plan import (
    ScoredCells,
    batch_positions,
    pair_counts,
    plan_batches,
    token_batch,
)
from interp_assets.models.attention.pooling import both_orders
from interp_assets.models.attention.settings import ExtractionSettings
from interp_assets.models.interventions import InterventionModel

if TYPE_CHECKING:
    from tqdm import tqdm


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Scored genes in some of the cells of a pass: ``members`` marks these cells, ``single_heads`` sums head by head.

    Sums by head differ in last bits from the sum over heads; the extraction takes one or the other by memory.
    ``edge_rule`` is what a cell says of a pair, as in the extraction.
    """

    cells: ScoredCells
    members: NDArray[np.bool_]
    single_heads: bool = False
    edge_rule: EdgeRule = "softmax_mean"


def keeps_heads(model: AttentionModel, genes: int, memory_gib: float) -> bool:
    """Whether the extraction of that many genes keeps single heads in that much memory."""
    facts = model.describe()
    return keeps_all_heads(layers=facts.layers, heads=facts.heads, genes=genes, budget_gib=memory_gib)


def layer_sums(
    model: AttentionModel, plan_on: ScoredCells, wanted: Sequence[Wanted], layer: int, bar: tqdm[None]
) -> list[NDArray[np.float32]]:
    """Sums over cells of the head mean of one layer, genes x genes, for each of ``wanted``.

    Of a model that looks back both orders of a pair are pooled, as in the stored scores.

    All of ``wanted`` share the encoded cells of ``plan_on``, whose scored genes decide which cells run and together.
    Rows are queries (regulators), columns keys.
    """
    settings = ExtractionSettings()
    facts = model.describe()
    form = facts.forms[0]
    plan = plan_batches(plan_on, settings.batch_tokens, settings.cells_per_shard)
    totals = [_Sums(want, facts.heads, facts.device) for want in wanted]
    for shard in plan.shards:
        for number in shard:
            cells = plan.batches[number]
            batch = token_batch(plan_on, cells, facts.padding)

            def sink(
                at: int, attention: LayerAttention, cells: NDArray[np.int64] = cells, batch: TokenBatch = batch
            ) -> None:
                if at == layer:
                    check_mass(attention, batch, at, MASS_TOLERANCE[facts.dtype])
                    for sums in totals:
                        sums.add(attention, cells)

            _run(model, batch, form, layer, sink)
            bar.update(cells.size)
        for sums in totals:
            sums.close_shard()
    return [sums.head_mean() for sums in totals]


def _run(model: AttentionModel, batch: TokenBatch, form: AttentionForm, layer: int, sink: LayerSink) -> None:
    """Run a batch up to one layer, or through the whole model where its adapter runs no single blocks."""
    if not isinstance(model, InterventionModel):
        model.attend(batch, sink, form=form)
        return
    blocks = model.blocks(batch, form=form)
    hidden = blocks.start()
    for at in range(layer + 1):
        hidden = blocks.step(at, hidden, sink if at == layer else None)


def held_together(wanted: Wanted, plan_on: ScoredCells) -> NDArray[np.int32]:
    """Number of member cells of a pass whose sequence holds both genes (genes x genes)."""
    used = np.zeros(wanted.members.size, dtype=bool)
    used[plan_on.used] = True
    where, gene, offsets = member_positions(wanted, np.flatnonzero(used))
    kept = ScoredCells(encoded=plan_on.encoded, where=where, gene=gene, offsets=offsets, genes=wanted.cells.genes)
    return pair_counts(kept)


def member_positions(wanted: Wanted, cells: NDArray[np.int64]) -> Positions:
    """Positions of the scored genes of some cells of a pass; a cell that is no member has none."""
    where, gene, offsets = batch_positions(wanted.cells, cells)
    members = wanted.members[cells]
    if members.all():
        return where, gene, offsets
    kept = np.repeat(members, np.diff(offsets))
    return where[kept], gene[kept], np.cumsum([0, *(np.diff(offsets) * members)], dtype=np.int64)


class _Sums:
    """Running sums of one of the wanted sets: of the open shard, and of those closed."""

    def __init__(self, wanted: Wanted, heads: int, device: str) -> None:
        import torch

        genes = wanted.cells.genes
        self._wanted, self._heads, self._device = wanted, heads, device
        self._shape = (*((heads,) if wanted.single_heads else ()), genes, genes)
        self._shard: NDArray[np.float32] = np.zeros(self._shape if device == "cpu" else (0,), dtype=np.float32)
        self._on_device = None if device == "cpu" else torch.zeros(self._shape, dtype=torch.float32, device=device)
        self._total: NDArray[np.float32] | None = None

    def add(self, attention: LayerAttention, cells: NDArray[np.int64]) -> None:
        """Add one batch."""
        import torch

        positions = member_positions(self._wanted, cells)
        if not positions[0].size:
            return
        sums = torch.from_numpy(self._shard) if self._on_device is None else self._on_device
        add = adder(self._wanted.edge_rule, self._wanted.cells.encoded.lengths[cells])
        add(sums, attention, positions, heads=self._wanted.single_heads)

    def close_shard(self) -> None:
        """Add the shard to the total and start again at zero."""
        if self._on_device is not None:
            shard: NDArray[np.float32] = self._on_device.cpu().numpy().copy()
            self._on_device.zero_()
        else:
            shard, self._shard = self._shard, np.zeros(self._shape, dtype=np.float32)
        self._total = shard if self._total is None else np.add(self._total, shard, out=self._total)

    def head_mean(self) -> NDArray[np.float32]:
        """Sum over cells of the mean over heads (G x G), both orders of a pair pooled if the model looks back."""
        total = np.zeros(self._shape, dtype=np.float32) if self._total is None else self._total
        if self._wanted.single_heads:
            total = total.sum(axis=0, dtype=np.float64).astype(np.float32)
        mean = np.asarray(total / np.float32(self._heads), dtype=np.float32)
        return both_orders(mean) if self._wanted.cells.encoded.causal else mean
