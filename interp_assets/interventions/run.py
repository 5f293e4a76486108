"""Running the conditions: every batch once clean, then each condition from the first block it changes.

What belongs here: the loop and its sums. What does not: which conditions there are (`conditions`) or tables
(`measure`).

A condition that touches layer L starts from the clean state before L: blocks 0..L-1 are shared by all conditions of a
batch, and a read-out at or before L is the clean one and is not computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interp_assets.interventions.cells import CellRows, cell_rows
from interp_assets.interventions.readouts import (
    CleanState,
    LogitDistance,
    OutputSums,
    RowSums,
    clean_state,
    hidden_distance,
    real_tokens,
    row_entropy,
    row_weights,
)
from interp_assets.models.adapter import AttentionForm, LayerAttention
from interp_assets.models.attention.plan import ScoredCells, token_batch
from interp_assets.models.interventions import Intervention, InterventionModel

if TYPE_CHECKING:
    import torch

Batches = Sequence[NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is run on: model, cells in batches, row genes (their numbers among the scored ones), layers read."""

    model: InterventionModel
    cells: ScoredCells
    batches: Batches
    rows: NDArray[np.int64]
    read_layers: tuple[int, ...]
    form: AttentionForm

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self.model.describe().device


@dataclass(slots=True, kw_only=True)
class Sums:
    """Sums of one condition (or of the clean run, without distances).

    ``attention`` by layer read, only of layers the condition can act on; ``distance`` is (layers + 1) x cells: sums
    over real tokens after every block, and of the logits (NaN without any); ``changed`` whether any bit behind the
    change differs.
    """

    attention: dict[int, RowSums]
    output: OutputSums | None
    distance: NDArray[np.float64]
    changed: bool = False


@dataclass(slots=True, kw_only=True)
class _Batch:
    """One batch with its clean run."""

    cells: NDArray[np.int64]
    rows: list[CellRows]
    real: torch.Tensor
    blocks: Any
    clean: list[torch.Tensor]
    states: dict[int, CleanState] = field(default_factory=dict)
    logits: Any = None

    def state(self, layer: int) -> CleanState:
        """Clean state after a block, put at unit length once."""
        if layer not in self.states:
            self.states[layer] = clean_state(self.clean[layer + 1])
        return self.states[layer]


class Runner:
    """Runs conditions on one setting."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        facts = setting.model.describe()
        self._layers, self._width = facts.layers, facts.width
        self._output = setting.model.output()
        self._distance = None if self._output is None else LogitDistance(self._output)

    def run(self, changes: Sequence[Intervention], tell: Any = None) -> tuple[Sums, list[Sums]]:
        """Sums of the clean run and of every intervention; ``tell()`` is called after each of them in each batch."""
        clean = self._sums(self.setting.read_layers)
        found = [
            self._sums(layer for layer in self.setting.read_layers if layer > change.layers[0]) for change in changes
        ]
        for cells in self.setting.batches:
            batch = self._clean(cells, clean)
            for change, sums in zip(changes, found, strict=True):
                self._changed(batch, change, sums)
                if tell is not None:
                    tell()
        return clean, found

    def _sums(self, layers: Iterable[int]) -> Sums:
        rows, genes = self.setting.rows.size, self.setting.cells.genes
        distance = np.zeros((self._layers + 1, self.setting.cells.offsets.size - 1))
        if self._output is None:
            distance[self._layers] = np.nan
        return Sums(
            attention={layer: RowSums(rows, genes, self.setting.device) for layer in layers},
            output=None if self._output is None else OutputSums(rows, self._width, self.setting.device),
            distance=distance,
        )

    def _clean(self, cells: NDArray[np.int64], sums: Sums) -> _Batch:
        setting = self.setting
        tokens = token_batch(setting.cells, cells, setting.model.describe().padding)
        rows = cell_rows(setting.cells, cells, setting.rows)
        blocks = setting.model.blocks(tokens, form=setting.form)
        states = [blocks.start()]
        for layer in range(self._layers):
            states.append(blocks.step(layer, states[-1], self._sink(layer, sums, rows)))
        batch = _Batch(cells=cells, rows=rows, real=real_tokens(tokens, setting.device), blocks=blocks, clean=states)
        if self._output is not None and self._distance is not None and sums.output is not None:
            state = self._output.transform(states[-1])
            sums.output.add(state.float(), batch.real, rows)
            batch.logits = self._distance.prepared(state)
        return batch

    def _sink(self, layer: int, sums: Sums, rows: list[CellRows]) -> Any:
        target = sums.attention.get(layer)
        return None if target is None else lambda at, attention: target.add(attention, rows)

    def _changed(self, batch: _Batch, change: Intervention, sums: Sums) -> None:
        first = change.layers[0]
        hidden = batch.clean[first]
        with self.setting.model.intervening(change):
            for layer in range(first, self._layers):
                hidden = batch.blocks.step(layer, hidden, self._sink(layer, sums, batch.rows))
                gap, changed = hidden_distance(batch.state(layer), hidden, batch.real)
                sums.distance[layer, batch.cells] = gap.cpu().numpy()
                sums.changed |= changed
        if self._output is not None and self._distance is not None and sums.output is not None:
            state = self._output.transform(hidden)
            sums.output.add(state.float(), batch.real, batch.rows)
            gap = self._distance.distance(batch.logits, state, batch.real)
            sums.distance[self._layers, batch.cells] = gap.cpu().numpy()


def head_rows(setting: Setting, layers: range) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Attention of every head from the row genes (layers x heads x rows x genes, sums over cells) and its entropy.

    Entropy (layers x heads, nats) is the mean over the real tokens of a cell, then over cells. Only the given layers
    are read, and none behind them is run.
    """
    facts = setting.model.describe()
    total = np.zeros((len(layers), facts.heads, setting.rows.size, setting.cells.genes), dtype=np.float32)
    entropy = np.zeros((len(layers), facts.heads))
    for cells in setting.batches:
        batch = token_batch(setting.cells, cells, facts.padding)
        rows = cell_rows(setting.cells, cells, setting.rows)

        def sink(
            layer: int,
            attention: LayerAttention,
            rows: list[CellRows] = rows,
            lengths: NDArray[np.int64] = batch.lengths,
        ) -> None:
            own = layer - layers.start
            for cell, found in enumerate(rows):
                entropy[own] += row_entropy(attention, cell, int(lengths[cell])).cpu().numpy()
                if found.row.size:
                    block = row_weights(attention, cell, found).cpu().numpy()
                    total[own][:, found.row[:, None], found.column[None, :]] += block

        blocks = setting.model.blocks(batch, form=setting.form)
        hidden = blocks.start()
        for layer in range(layers.stop):
            hidden = blocks.step(layer, hidden, sink if layer in layers else None)
    return total, entropy / (setting.cells.offsets.size - 1)
