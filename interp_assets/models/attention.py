"""Attention of a release on the control cells of a dataset, as gene x gene sums per layer and head.

What belongs here: settings, running the plan, the mass check, resuming. What does not: kernels
(`attention_kernel`), bookkeeping of batches (`attention_plan`), files (`attention_store`).

The score of a gene pair is the mean softmax weight from the position of the first gene (query, regulator) to
that of the second (key, target), over the cells whose sequence holds both. Exact: padding is masked, special
tokens and unscored genes count in the denominator and are dropped afterwards. Sums are float32 by shards of
whole batches, shard sums added in order.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import AttentionEdges
from interp_assets.models.adapter import (
    AttentionForm,
    AttentionModel,
    Duplicates,
    LayerAttention,
    ModelFacts,
    TokenBatch,
    load_model,
)
from interp_assets.models.attention_kernel import add_logsumexp, add_softmax
from interp_assets.models.attention_plan import (
    BatchPlan,
    ScoredCells,
    batch_positions,
    pair_counts,
    plan_batches,
    score_cells,
    token_batch,
)
from interp_assets.models.attention_settings import (
    ExtractionSettings,
    library_versions,
    request_keys,
    resolve_device,
)
from interp_assets.models.attention_store import (
    PARTIAL,
    canonical_json,
    clear_partial,
    last_checkpoint,
    open_attention,
    replace_bytes,
    stored_manifest,
    take_over,
    write_attention,
    write_checkpoint,
)
from interp_assets.models.checkpoints import read_json
from interp_assets.models.records import NothingToReadError
from interp_assets.models.releases import Release

if TYPE_CHECKING:
    import torch

__all__ = ["AttentionMassError", "ExtractionSettings", "check_mass", "extract_attention"]

MASS_TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}
_MASS_ROWS = 4


class AttentionMassError(ValueError):
    """Softmax weights that do not sum to one: the mask, the scale or the log-sum-exp is wrong."""


LoadModel = Callable[..., AttentionModel]


def extract_attention(
    release: Release,
    cells: PreparedCells,
    folder: Path,
    settings: ExtractionSettings | None = None,
    *,
    load: LoadModel = load_model,
    neighbours: Iterable[Path] = (),
) -> AttentionEdges:
    """Attention edges of a release on the control cells of a dataset, extracted unless already in ``folder``.

    A finished folder with the same key (release id, counts, universe, settings, device, library versions) is
    opened at once, without loading the model; arrays of a finished folder among ``neighbours`` that read the same
    cells and genes are taken over. A killed run continues after its last checkpoint and ends with the same bytes as an
    undisturbed one.

    Raises
    ------
    ValueError
        If no control cell, or fewer than two genes of the universe, can be read by the model
        (`NothingToReadError`); if weights do not sum to one (`AttentionMassError`); or from the adapter.
    """
    settings = settings or ExtractionSettings()
    device = resolve_device(settings.device)
    keys = request_keys(release, cells, settings, device)
    stored = stored_manifest(folder)
    if stored is not None and stored.get("key") == keys.key:
        return open_attention(folder)
    if take_over(folder, neighbours, keys.key, keys.content, cells.dataset):
        return open_attention(folder)
    model = load(release, device=device, dtype=settings.dtype)
    scored, genes = _scored_cells(model, cells, settings.duplicates)
    run = _Run(model=model, cells=scored, settings=settings, folder=folder, key=keys.key, label=release.name)
    with _thread_limits(settings.threads) as threads:
        sums, plan, batch_tokens = run.with_halving()
    facts = _facts(release, cells, run, plan, sums, genes)
    facts |= {"batch_tokens_used": batch_tokens, "threads": threads, "device": device, "key": keys.key}
    facts["content"] = keys.content
    counts = pair_counts(scored)
    off_diagonal = max(1, genes.size * (genes.size - 1))
    facts["missing_pair_share"] = float(((counts == 0).sum() - (counts.diagonal() == 0).sum()) / off_diagonal)
    heads = run.facts.heads
    if run.heads_kept:
        means = [block.sum(axis=0, dtype=np.float64).astype(np.float32) / np.float32(heads) for block in sums]
    else:
        means = [block / np.float32(heads) for block in sums]
    write_attention(folder, means=means, heads=sums if run.heads_kept else [], counts=counts, genes=genes, facts=facts)
    return open_attention(folder)


def _scored_cells(
    model: AttentionModel, cells: PreparedCells, duplicates: Duplicates
) -> tuple[ScoredCells, NDArray[np.str_]]:
    """Encoded control cells with the positions of the evaluable genes, and these genes in universe order."""
    control = np.flatnonzero(cells.control)
    if control.size == 0:
        raise NothingToReadError(cells.dataset, "no control cells to read attention from")
    column_of = {str(gene): column for column, gene in reversed(list(enumerate(cells.genes)))}
    lacking = [str(gene) for gene in cells.universe if str(gene) not in column_of]
    if lacking:
        raise ValueError(f"dataset {cells.dataset}: universe gene {lacking[0]} is not among the measured genes")
    known = model.known(cells.genes)
    universe = np.array([column_of[str(gene)] for gene in cells.universe], dtype=np.int64)
    evaluable = universe[known[universe]] if universe.size else universe
    if evaluable.size < 2:
        raise NothingToReadError(
            cells.dataset,
            f"only {evaluable.size} of {universe.size} scored genes are in the vocabulary of the release; check the "
            "species and the gene key of its dictionary",
        )
    encoded = model.encode(cells.counts[control], cells.genes, duplicates=duplicates)
    scored = score_cells(encoded, evaluable)
    if scored.used.size == 0:
        raise NothingToReadError(cells.dataset, "no control cell expresses a scored gene")
    return scored, cells.genes[evaluable]


@dataclass(kw_only=True)
class _Run:
    """One extraction in progress: model, cells, and where checkpoints go."""

    model: AttentionModel
    cells: ScoredCells
    settings: ExtractionSettings
    folder: Path
    key: str
    label: str

    @property
    def facts(self) -> ModelFacts:
        return self.model.describe()

    @property
    def form(self) -> AttentionForm:
        forms = self.facts.forms
        if self.settings.form == "auto":
            return forms[0]
        if self.settings.form not in forms:
            raise ValueError(f"attention form {self.settings.form} is not available here (available: {forms})")
        return self.settings.form

    @property
    def heads_kept(self) -> bool:
        if self.settings.heads != "auto":
            return self.settings.heads == "all"
        size = self.facts.layers * self.facts.heads * self.cells.genes**2 * 4
        return size <= self.settings.memory_budget_gib * 2**30

    def with_halving(self) -> tuple[list[NDArray[np.float32]], BatchPlan, int]:
        """Sums, plan and batch size; a CUDA run out of memory starts again with batches half as large."""
        import torch

        partial = self.folder / PARTIAL
        batch_tokens = self._continued(partial)
        while True:
            plan = plan_batches(self.cells, batch_tokens, self.settings.cells_per_shard)
            replace_bytes(
                partial / "plan.json", canonical_json({"key": self.key, "batch_tokens": batch_tokens}).encode()
            )
            try:
                return self._sums(plan, partial), plan, batch_tokens
            except torch.cuda.OutOfMemoryError:
                if max(batch.size for batch in plan.batches) == 1:
                    raise
            torch.cuda.empty_cache()
            batch_tokens //= 2
            warnings.warn(f"out of device memory: batches halved to {batch_tokens} tokens", stacklevel=2)
            clear_partial(partial)

    def _continued(self, partial: Path) -> int:
        """Batch size of an earlier run with the same key, or that of the settings in an emptied folder."""
        plan = partial / "plan.json"
        if plan.is_file():
            earlier = read_json(plan)
            if earlier.get("key") == self.key:
                return int(earlier["batch_tokens"])
        clear_partial(partial)
        return self.settings.batch_tokens

    def _sums(self, plan: BatchPlan, partial: Path) -> list[NDArray[np.float32]]:
        """Sums of all shards, added in order, from the last checkpoint on."""
        from tqdm import tqdm

        done, total = last_checkpoint(partial, len(plan.shards), self._shape())
        shard_sums = _Sums(self._shape(), self.facts.device)
        hidden = None if self.settings.progress is None else not self.settings.progress
        cells = sum(batch.size for batch in plan.batches)
        before = sum(plan.batches[number].size for shard in plan.shards[:done] for number in shard)
        written = time.monotonic()
        with tqdm(total=cells, initial=before, unit="cell", desc=f"attention of {self.label}", disable=hidden) as bar:
            for number in range(done, len(plan.shards)):
                for batch in plan.shards[number]:
                    self._add(plan.batches[batch], shard_sums)
                    bar.update(plan.batches[batch].size)
                total = shard_sums.added_to(total)
                unfinished = number + 1 < len(plan.shards)
                if unfinished and time.monotonic() - written >= self.settings.checkpoint_seconds:
                    write_checkpoint(partial, number + 1, total)
                    written = time.monotonic()
        if total is None:
            raise ValueError("nothing was planned")
        return list(total)

    def _shape(self) -> tuple[int, ...]:
        facts, genes = self.facts, self.cells.genes
        return (facts.layers, *((facts.heads,) if self.heads_kept else ()), genes, genes)

    def _add(self, cells: NDArray[np.int64], sums: _Sums) -> None:
        batch = token_batch(self.cells, cells, self.facts.padding)
        positions = batch_positions(self.cells, cells)
        seen: list[int] = []

        def sink(layer: int, attention: LayerAttention) -> None:
            seen.append(layer)
            check_mass(attention, batch, layer, MASS_TOLERANCE[self.facts.dtype])
            if attention.form == "logsumexp":
                add_logsumexp(sums.array[layer], attention, positions, heads=self.heads_kept)
            else:
                add_softmax(sums.layer_tensor(layer), attention, positions, heads=self.heads_kept)

        self.model.attend(batch, sink, form=self.form)
        if seen != list(range(self.facts.layers)):
            raise ValueError(f"the model handed over layers {seen}, expected 0..{self.facts.layers - 1} in order")


class _Sums:
    """Running sums of one shard: a numpy array the kernels write to, or a tensor on the device."""

    def __init__(self, shape: tuple[int, ...], device: str) -> None:
        import torch

        self._shape = shape
        self.array: NDArray[np.float32] = np.zeros(shape if device == "cpu" else (0,), dtype=np.float32)
        self._device_sums = None if device == "cpu" else torch.zeros(shape, dtype=torch.float32, device=device)

    def layer_tensor(self, layer: int) -> torch.Tensor:
        """Sums of a layer as a tensor; on the CPU it shares memory with ``array``."""
        import torch

        if self._device_sums is not None:
            return self._device_sums[layer]
        return torch.from_numpy(self.array[layer])

    def added_to(self, total: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Total with these sums added; they start again at zero. Without a total they become it, uncopied."""
        if self._device_sums is not None:
            array: NDArray[np.float32] = self._device_sums.cpu().numpy()
            self._device_sums.zero_()
            return array if total is None else np.add(total, array, out=total)
        if total is None:
            total, self.array = self.array, np.zeros(self._shape, dtype=np.float32)
            return total
        np.add(total, self.array, out=total)
        self.array.fill(0)
        return total


def check_mass(attention: LayerAttention, batch: TokenBatch, layer: int, tolerance: float) -> None:
    """Raise `AttentionMassError` unless sampled rows of the first cell sum to one over its real tokens.

    Sums over real tokens only, so weight lost to padding is seen as well as a wrong scale or log-sum-exp.
    """
    import torch

    length = int(batch.lengths.min())
    cell = int(batch.lengths.argmin())
    rows = torch.linspace(0, length - 1, min(_MASS_ROWS, length)).long()
    if attention.form == "softmax" and attention.weights is not None:
        mass = attention.weights[cell][:, rows.to(attention.weights.device), :length].float().sum(-1)
    elif attention.query is not None and attention.key is not None and attention.logsumexp is not None:
        query = attention.query[cell, rows].float().transpose(0, 1)
        key = attention.key[cell, :length].float().permute(1, 2, 0)
        shift = attention.logsumexp[cell][:, rows].float()
        mass = torch.exp(query @ key * attention.scale - shift[:, :, None]).sum(-1)
    else:
        raise ValueError(f"layer {layer}: attention came without content")
    worst = float((mass - 1).abs().max())
    if not worst <= tolerance:
        raise AttentionMassError(
            f"layer {layer}: attention rows sum to 1 only within {worst:.3g} (tolerance {tolerance}); the mask, the "
            'scale or the log-sum-exp is wrong. Use form="softmax" and report the library versions'
        )


def _facts(
    release: Release,
    cells: PreparedCells,
    run: _Run,
    plan: BatchPlan,
    sums: list[NDArray[np.float32]],
    genes: NDArray[np.str_],
) -> dict[str, Any]:
    facts = run.facts
    rows = int(run.cells.gene.size)
    kept = [float(block.sum(dtype=np.float64)) / (rows * facts.heads) for block in sums]
    wrong = [layer for layer, mass in enumerate(kept) if not 0 < mass <= 1 + MASS_TOLERANCE[facts.dtype]]
    if wrong:
        raise AttentionMassError(f"layer {wrong[0]}: mean weight on scored genes is {kept[wrong[0]]}, not in (0, 1]")
    return {
        "release": release.name,
        "release_id": release.release_id,
        "family": release.family,
        "dataset": cells.dataset,
        "cells_hash": cells.cells_hash,
        "cells": int(np.count_nonzero(cells.control)),
        "cells_used": int(run.cells.used.size),
        "genes_in_universe": len(cells.universe),
        "genes_evaluable": int(genes.size),
        "layers": facts.layers,
        "heads": facts.heads,
        "width": facts.width,
        "max_length": facts.max_length,
        "direction": facts.direction,
        "heads_kept": "all" if run.heads_kept else "mean only: above the memory budget or not asked for",
        "dtype": facts.dtype,
        "form": run.form,
        "kept_mass": [round(mass, 6) for mass in kept],
        "settings": run.settings.keyed(),
        "plan": {"hash": plan.plan_hash, "batches": len(plan.batches), "shards": len(plan.shards)},
        "versions": library_versions(),
    }


@contextmanager
def _thread_limits(threads: int | None) -> Iterator[int]:
    """Same thread number for torch and numba, one for BLAS inside the kernels; restored afterwards."""
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    before, numba_before = torch.get_num_threads(), numba.get_num_threads()
    wanted = threads or before
    torch.set_num_threads(wanted)
    numba.set_num_threads(min(wanted, numba.config.NUMBA_NUM_THREADS))
    try:
        with threadpool_limits(1, user_api="blas"):
            yield wanted
    finally:
        torch.set_num_threads(before)
        numba.set_num_threads(numba_before)
