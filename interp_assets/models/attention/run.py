"""One extraction in progress: its batches in order, its passes over groups of layers, and where it can be continued.

What belongs here: running the plan. What does not: which cells and genes (`attention`), what a pass holds
(`budget`), how sums are added (`sums`, `kernel`).

Every pass runs all batches, up to the last of its layers. Finished passes lie in ``partial/layers``, the pass in
progress has its checkpoints beside them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interp_assets.models.adapter import (
    AttentionForm,
    AttentionModel,
    LayerAttention,
    LayerSink,
    ModelFacts,
    TokenBatch,
)
from interp_assets.models.attention.budget import SumsPlan, plan_sums
from interp_assets.models.attention.check import MASS_TOLERANCE, AttentionMassError, check_mass
from interp_assets.models.attention.cluster import AddedShard, ShardWorkers
from interp_assets.models.attention.edge_rules import adder
from interp_assets.models.attention.gene_order import gene_order
from interp_assets.models.attention.kernel import Kernel, heads_part, kernel_for
from interp_assets.models.attention.plan import BatchPlan, ScoredCells, batch_positions, plan_batches, token_batch
from interp_assets.models.attention.progress import Progress
from interp_assets.models.attention.settings import ExtractionSettings
from interp_assets.models.attention.store import (
    PARTIAL,
    clear_partial,
    finished_pass,
    read_document,
    write_document,
    write_layer,
    write_pass,
)
from interp_assets.models.attention.sums import ShardSums, ShardTotals
from interp_assets.models.interventions import InterventionModel

LAYERS = "layers"
# Below, weights are what is left of zero in single precision: exp(-87) in the kernels, 0 in full softmax weights.
_LEAST_WEIGHT = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What a run did: its batches, their size in tokens, and the mean weight on scored genes of each layer.

    Under an edge rule that sums no weights there is no such mean (None).
    """

    plan: BatchPlan
    batch_tokens: int
    kept_mass: list[float | None]
    layers: Path


@dataclass(kw_only=True)
class ExtractionRun:
    """Model, cells and settings of one extraction, and the folder its working files go to.

    ``workers`` add the shards where a scheduler is set. ``distinct``: no cell holds a gene at two positions.
    """

    model: AttentionModel
    cells: ScoredCells
    settings: ExtractionSettings
    folder: Path
    key: str
    label: str
    workers: ShardWorkers | None = None
    facts: ModelFacts = field(init=False)
    form: AttentionForm = field(init=False)
    kernel: Kernel = field(init=False)
    sums: SumsPlan = field(init=False)
    distinct: bool = field(init=False)

    def __post_init__(self) -> None:
        """Choose form, kernel and passes."""
        self.facts = self.model.describe()
        self.distinct = self.cells.held == self.cells.gene.size
        self.form = self._form()
        self.kernel = kernel_for(self.form, self.facts.device, self.settings.kernel)
        self.sums = plan_sums(
            layers=self.facts.layers,
            heads=self.facts.heads,
            genes=self.cells.genes,
            choice=self.settings.heads,
            budget_gib=self.settings.memory_budget_gib,
        )

    def _form(self) -> AttentionForm:
        forms = self.facts.forms
        if self.settings.form == "auto":
            return forms[0]
        if self.settings.form not in forms:
            raise ValueError(f"attention form {self.settings.form} is not available here (available: {forms})")
        return self.settings.form

    def run(self) -> Extracted:
        """Every pass, its layers written; a CUDA run out of memory starts again with batches half as large."""
        import torch

        partial = self.folder / PARTIAL
        batch_tokens = self._continued(partial)
        while True:
            plan = plan_batches(self.cells, batch_tokens, self.settings.cells_per_shard)
            write_document(partial / "plan.json", {"key": self.key, "batch_tokens": batch_tokens})
            try:
                kept = self._passes(plan, partial)
                return Extracted(plan=plan, batch_tokens=batch_tokens, kept_mass=kept, layers=partial / LAYERS)
            except torch.cuda.OutOfMemoryError as error:
                if max(batch.size for batch in plan.batches) == 1:
                    error.add_note(
                        f"one cell at a time does not fit beside {self.sums.facts()['sums_gib']} GiB of sums; lower "
                        "the memory budget of the extraction, keep fewer heads, or use bfloat16"
                    )
                    raise
            torch.cuda.empty_cache()
            batch_tokens //= 2
            warnings.warn(f"out of device memory: batches halved to {batch_tokens} tokens", stacklevel=2)
            clear_partial(partial)

    def _continued(self, partial: Path) -> int:
        """Batch size of an earlier run with the same key, or that of the settings in an emptied folder."""
        earlier = read_document(partial / "plan.json")
        if earlier is not None and earlier.get("key") == self.key:
            return int(earlier["batch_tokens"])
        clear_partial(partial)
        return self.settings.batch_tokens

    def _passes(self, plan: BatchPlan, partial: Path) -> list[float | None]:
        """Mean weight on scored genes of every layer, after all passes."""
        (partial / LAYERS).mkdir(exist_ok=True)
        cells = sum(batch.size for batch in plan.batches)
        kept: list[float | None] = []
        with Progress(f"attention of {self.label}", cells, self.sums, shown=self.settings.progress) as progress:
            for layers in self.sums.passes:
                finished = partial / f"pass-{layers.start}-{layers.stop - 1}.json"
                own = finished_pass(finished, self.key, partial / LAYERS)
                if own is not None:
                    progress.skip(layers, cells)
                else:
                    own = self._pass(plan, layers, partial / finished.stem, partial / LAYERS, progress)
                    write_pass(finished, self.key, own, partial / LAYERS, layers)
                kept += own
        return kept

    def _pass(
        self, plan: BatchPlan, layers: range, working: Path, written: Path, progress: Progress
    ) -> list[float | None]:
        """Sums of some layers over all shards, from the last checkpoint on, written layer by layer."""
        shape = self.sums.shape(layers)
        seconds = self.settings.checkpoint_seconds
        owner = f"{self.key} {plan.plan_hash}"
        totals = ShardTotals(working, len(plan.shards), shape, self.sums.totals, seconds, owner)
        progress.skip(
            layers, sum(plan.batches[number].size for shard in plan.shards[: totals.done] for number in shard)
        )
        for sums in self._shards(plan, layers, totals.done, progress):
            totals.close_shard(sums)
        total = totals.result()
        return [self._write(layer, total[self.sums.slice_of(layer, layers)], written) for layer in layers]

    def _shards(
        self, plan: BatchPlan, layers: range, done: int, progress: Progress
    ) -> Iterator[ShardSums | AddedShard]:
        """Sums of the shards from number ``done`` on, in order, added here or by the workers."""
        if self.workers is not None:
            for added in self.workers.shards(self, plan, layers, done):
                progress.advance(layers, sum(plan.batches[number].size for number in plan.shards[added.number]))
                yield added
            return
        sums = ShardSums(self.sums.shape(layers), self.facts.device)
        for shard in plan.shards[done:]:
            for number in shard:
                self._add(plan.batches[number], sums, layers)
                progress.advance(layers, plan.batches[number].size)
            yield sums

    def _write(self, layer: int, slabs: NDArray[np.float32], written: Path) -> float | None:
        """Write the arrays of a layer; its mean weight on scored genes over rows and heads.

        The head mean comes from the sum over heads, or is their mean in float64 where all of them are kept.
        """
        heads = self.facts.heads
        every = self.sums.kept == "all"
        summed = slabs.sum(axis=0, dtype=np.float64) if every else slabs[0]
        weights = self.settings.edge_rule == "softmax_mean"
        kept = float(summed.sum(dtype=np.float64)) / (self.cells.held * heads) if weights else None
        if kept is not None and kept < _LEAST_WEIGHT:
            raise AttentionMassError(
                f"layer {layer}: attention reaches no scored gene (mean weight {kept:.3g}); special tokens or unscored "
                "genes hold all of it, and no pair can be told from another. Score other genes, or check the weights"
            )
        if kept is not None and not kept <= 1 + MASS_TOLERANCE[self.facts.dtype]:
            raise AttentionMassError(f"layer {layer}: mean weight on scored genes is {kept}, not in (0, 1]")
        single = slabs if every else slabs[1:]
        mean = summed.astype(np.float32) / np.float32(heads)
        write_layer(written, layer, mean, single if single.shape[0] else None)
        return kept

    def _add(self, cells: NDArray[np.int64], sums: ShardSums, layers: range) -> None:
        batch = token_batch(self.cells, cells, self.facts.padding)
        positions = batch_positions(self.cells, cells)
        order = None
        if self.kernel in {"gene_order", "triton"} and self.distinct:
            order = gene_order(positions, self.cells.genes, self.facts.device)
        add = adder(self.settings.edge_rule, batch.lengths, kernel=self.kernel, order=order)
        seen: list[int] = []

        def sink(layer: int, attention: LayerAttention) -> None:
            seen.append(layer)
            if layer not in layers:
                return
            check_mass(attention, batch, layer, MASS_TOLERANCE[self.facts.dtype])
            slabs = sums.tensor(self.sums.slice_of(layer, layers))
            every = self.sums.kept == "all"
            if not every:
                add(slabs[0], attention, positions, heads=False)
                slabs = slabs[1:]
            single = self.sums.heads_of(layer)
            if single:
                own = attention if every else heads_part(attention, single)
                add(slabs, own, positions, heads=True)

        attend_up_to(self.model, batch, layers.stop, sink, form=self.form)
        if seen[: layers.stop] != list(range(layers.stop)) or len(seen) not in {layers.stop, self.facts.layers}:
            raise ValueError(f"the model handed over layers {seen}, expected 0..{layers.stop - 1} in order")


def attend_up_to(
    model: AttentionModel, batch: TokenBatch, layers: int, sink: LayerSink, *, form: AttentionForm
) -> None:
    """Run a batch through the first ``layers`` layers, or through all where the model runs no single blocks.

    ``sink`` sees the layers in order, as with `AttentionModel.attend`.
    """
    if layers == model.describe().layers or not isinstance(model, InterventionModel):
        model.attend(batch, sink, form=form)
        return
    blocks = model.blocks(batch, form=form)
    hidden = blocks.start()
    for layer in range(layers):
        hidden = blocks.step(layer, hidden, sink)
