"""Attention of single cells from regulator genes to scored genes, in every layer: what cell-state analyses pool.

What belongs here: one pass of the model over the control cells, each cell kept apart. What does not: strata, pooling
or any statistic (`analyses.cell_scores`, `stats.cssi`).

A score is the softmax weight from the position of the regulator (query) to that of the target (key), mean over
heads. Special tokens and unscored genes count in its denominator, as in the extraction; the mean of a pair over the
cells that hold both is the attention edge of the extraction (paper section 3, artefact 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.edges.layers import resolve_layer
from interp_assets.interventions.cells import CellRows, cell_rows, encoded_cells, subset
from interp_assets.interventions.readouts import order_weights, row_weights
from interp_assets.models.adapter import SCORE_FAMILIES, AttentionModel, LayerAttention, TokenBatch, load_model
from interp_assets.models.attention.extraction import MASS_TOLERANCE, check_mass
from interp_assets.models.attention.plan import ScoredCells, plan_batches, token_batch
from interp_assets.models.attention.pooling import repeated
from interp_assets.models.attention.settings import resolve_device
from interp_assets.readings.records import ReadData, Reading, ReadingContext

if TYPE_CHECKING:
    import torch

    from interp_assets.edges.records import Reference

BATCH_TOKENS: Final = 4096
# Read for the stability of what is judged: the frozen layer, perturbed genes and regulators of the primary reference.
JUDGED_ROLE: Final = "primary_screen"
GIBIBYTE: Final = 2**30
NO_MODEL: Final = "a table of finished scores has no model whose single cells could be read"
NO_HIDDEN: Final = "the adapter of this model hands over attention only, so cells have no embedding"
NOT_ASKED: Final = "none: no strata are estimated here, and blocks behind the frozen layer are not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is read from one dataset: its encoded cells, the genes, which of them are rows, and the layers kept.

    ``embedded``: whether the last hidden state is wanted too.
    """

    layers: tuple[int, ...]
    embedded: bool
    cells: ScoredCells
    genes: NDArray[np.str_]
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    entries: NDArray[np.int64]
    held: int


def role_slug(role: str) -> str:
    """Role as part of an array name.

    >>> role_slug("tissues[2]")
    'tissues_2'
    """
    return role.replace("[", "_").replace("]", "")


def read(context: ReadingContext) -> Reading | str:
    """Attention of single cells of every role of the study that holds cells; or why there is none.

    Arrays of a role, all starting with its slug (``layer_selection_``, ``tissues_2_``). N cells, L layers, R rows,
    G genes, E entries, D width:

    - ``genes`` (G) names of the evaluable scored genes; ``rows`` (R) numbers of the regulators among them: those the
      reference networks list, and perturbed genes;
    - ``cells`` (N) positions of the cells among the prepared cells, ascending; ``embedding`` (N x D float32) mean of
      the last hidden state over the gene tokens of a cell (no such array where the adapter runs no blocks, nor on
      `JUDGED_ROLE`);
    - ``offsets`` (N + 1), ``row`` (E, place in ``rows``), ``column`` (E, number in ``genes``), ``value`` (L x E
      float32): entries of cell i are ``offsets[i]:offsets[i + 1]``, every pair of a row and a gene it holds;
    - ``order`` (E float32), of a model that looks back only: what the order of tokens alone gives an entry
      (`interventions.readouts.order_weights`). Its ``value`` is that of the one order a cell allows.

    On `JUDGED_ROLE` only the frozen layer is kept (L = 1, named by ``layers`` in the facts of the role), from perturbed
    genes and regulators of the primary reference.

    At most ``cell_attention_entries`` values (L x E) are kept a role, and never more than the memory of the study
    holds: beyond that cells are drawn at random from the seed, and ``facts`` counts them.
    """
    if context.release.family in SCORE_FAMILIES:
        return NO_MODEL
    if not context.data:
        return "; ".join(dict.fromkeys(context.absent.values())) or "the study fills no role that is read cell by cell"
    device = resolve_device(context.device)
    model = load_model(context.release, device=device, dtype=context.dtype, encoding=context.encoding)
    most = min(int(context.settings["cell_attention_entries"]), int(context.memory_gib * GIBIBYTE / 4))
    arrays: dict[str, NDArray[Any]] = {}
    roles: dict[str, Any] = {}
    reasons: dict[str, str] = dict(context.absent)
    # The judged role comes last: the draws of the others are as they were without it.
    order = sorted(context.data.items(), key=lambda item: (item[0] == JUDGED_ROLE, item[0]))
    for number, (role, data) in enumerate(order):
        layers = _kept_layers(role, context, model.describe().layers)
        rng = np.random.default_rng([context.seed, number, 10])
        found = _role(model, data, layers, most, rng, context.release.name)
        if isinstance(found, str):
            reasons[role] = found
            continue
        roles[role] = found.facts
        arrays |= {f"{role_slug(role)}_{name}": values for name, values in found.arrays.items()}
    if not roles:
        return "; ".join(f"{role}: {reason}" for role, reason in reasons.items())
    facts = model.describe()
    about = {"device": facts.device, "dtype": facts.dtype, "layers": facts.layers, "heads": facts.heads}
    return Reading(arrays=arrays, facts={**about, "cell_attention_entries": most, "roles": roles, "reasons": reasons})


def _kept_layers(role: str, context: ReadingContext, layers: int) -> tuple[int, ...]:
    return (resolve_layer(context.choice.depth, layers),) if role == JUDGED_ROLE else tuple(range(layers))


def _role(
    model: AttentionModel,
    data: ReadData,
    layers: tuple[int, ...],
    most: int,
    rng: np.random.Generator,
    label: str,
) -> Reading | str:
    asked = _asked(model, data, layers, most, rng)
    if isinstance(asked, str):
        return asked
    arrays = _read_cells(model, asked, label)
    embedded, without = "embedding" in arrays, NO_HIDDEN if asked.embedded else NOT_ASKED
    facts = {
        "dataset": data.cells.dataset,
        "cells_hash": data.cells.cells_hash,
        "cells_control": int(np.count_nonzero(data.cells.control)),
        "cells_with_scored_genes": asked.held,
        "cells_used": int(asked.positions.size),
        "cells_drawn": bool(asked.positions.size < asked.held),
        "genes": int(asked.genes.size),
        "rows": int(asked.rows.size),
        "entries": int(asked.entries.sum()),
        "layers": list(layers),
        "references": sorted(_networks(data)),
        "embedding": "mean of the last hidden state over gene tokens" if embedded else without,
    }
    return Reading(arrays=arrays, facts=facts)


def _networks(data: ReadData) -> dict[str, Reference]:
    """Networks whose regulators are rows: all of a role, or the primary one where outcomes are judged."""
    wanted = [data.primary_reference] if data.role == JUDGED_ROLE else list(data.references)
    return {name: data.references[name] for name in wanted if name in data.references}


def _asked(
    model: AttentionModel, data: ReadData, layers: tuple[int, ...], most: int, rng: np.random.Generator
) -> _Asked | str:
    """Cells, genes and rows to be read; or why nothing can be."""
    cells = data.cells
    known = set(cells.genes[model.known(cells.genes)].tolist())
    genes = np.array([gene for gene in cells.universe if str(gene) in known], dtype=np.str_)
    wanted = {str(gene) for gene in data.labels.perturbations}
    for reference in _networks(data).values():
        wanted |= {str(gene) for gene in reference.genes[reference.regulators]}
    rows = np.flatnonzero([str(gene) in wanted for gene in genes])
    if not rows.size or genes.size < 2:
        return (
            f"dataset {cells.dataset}: none of its {len(cells.universe)} scored genes is a regulator in the vocabulary "
            "of the release; check the species, the gene key, or add a reference network"
        )
    scored = encoded_cells(model, cells, genes)
    used = np.sort(scored.used)
    if used.size < 2:
        return f"dataset {cells.dataset}: {used.size} control cells hold a scored gene; at least 2 are needed"
    is_row = np.isin(np.arange(genes.size), rows)
    once = ~repeated(scored.gene, scored.offsets)
    held, before = (np.concatenate([[0], np.cumsum(part)]) for part in (once, once & is_row[scored.gene]))
    entries = np.diff(held[scored.offsets]) * np.diff(before[scored.offsets])
    chosen = _within(used, entries, most // len(layers), rng)
    control = np.flatnonzero(cells.control)
    return _Asked(
        layers=layers,
        embedded=data.role != JUDGED_ROLE,
        cells=subset(scored, chosen),
        genes=genes,
        rows=rows.astype(np.int64),
        positions=control[chosen].astype(np.int64),
        entries=entries[chosen].astype(np.int64),
        held=int(used.size),
    )


def _within(
    used: NDArray[np.int64], entries: NDArray[np.int64], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Cells whose entries fit: all, or a random draw of them (at least two), in cell order."""
    if int(entries[used].sum()) <= most:
        return used
    order = rng.permutation(used)
    return np.sort(order[: max(2, int((np.cumsum(entries[order]) <= most).sum()))])


class _Kept:
    """Entries of the cells of one dataset, filled batch by batch."""

    def __init__(self, asked: _Asked) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(asked.entries)]).astype(np.int64)
        total = int(self.offsets[-1])
        kind = np.int16 if asked.genes.size < np.iinfo(np.int16).max else np.int32
        self.row, self.column = np.empty(total, dtype=kind), np.empty(total, dtype=kind)
        self.layers = asked.layers
        self.value = np.empty((len(asked.layers), total), dtype=np.float32)
        self.order = np.empty(total, dtype=np.float32) if asked.cells.encoded.causal else None

    def place(self, cells: NDArray[np.int64], rows: list[CellRows]) -> None:
        """Which pairs the entries of these cells are."""
        for cell, found in zip(cells, rows, strict=True):
            span = slice(self.offsets[cell], self.offsets[cell + 1])
            self.row[span] = np.repeat(found.row, found.column.size)
            self.column[span] = np.tile(found.column, found.row.size)
            if self.order is not None and found.row.size:
                self.order[span] = order_weights(found).ravel()

    def sink(self, cells: NDArray[np.int64], rows: list[CellRows], batch: TokenBatch, dtype: str) -> Any:
        """Sink that keeps the head mean of every layer asked for."""

        def keep(layer: int, attention: LayerAttention) -> None:
            check_mass(attention, batch, layer, MASS_TOLERANCE[dtype])
            if layer not in self.layers:
                return
            place = self.layers.index(layer)
            for number, (cell, found) in enumerate(zip(cells, rows, strict=True)):
                if found.row.size:
                    span = slice(self.offsets[cell], self.offsets[cell + 1])
                    self.value[place, span] = row_weights(attention, number, found).mean(0).cpu().numpy().ravel()

        return keep


def _read_cells(model: AttentionModel, asked: _Asked, label: str) -> dict[str, NDArray[Any]]:
    from tqdm import tqdm

    from interp_assets.models.interventions import InterventionModel

    facts = model.describe()
    kept = _Kept(asked)
    blocks = isinstance(model, InterventionModel)
    embedding = np.zeros((asked.positions.size, facts.width), dtype=np.float32) if blocks and asked.embedded else None
    last = facts.layers if asked.embedded else max(asked.layers) + 1
    plan = plan_batches(asked.cells, BATCH_TOKENS, BATCH_TOKENS)
    with tqdm(total=asked.positions.size, unit="cell", desc=f"single cells of {label}", disable=None) as bar:
        for cells in plan.batches:
            batch = token_batch(asked.cells, cells, facts.padding)
            rows = cell_rows(asked.cells, cells, asked.rows)
            kept.place(cells, rows)
            sink = kept.sink(cells, rows, batch, facts.dtype)
            if not blocks:
                model.attend(batch, sink, form=facts.forms[0])
            elif embedding is None:
                _blocks(model, batch, sink, last)
            else:
                embedding[cells] = _gene_mean(asked.cells, cells, _blocks(model, batch, sink, last))
            bar.update(cells.size)
    found: dict[str, NDArray[Any]] = {"offsets": kept.offsets, "row": kept.row, "column": kept.column}
    found |= {"value": kept.value, "cells": asked.positions, "genes": asked.genes, "rows": asked.rows}
    found |= {} if kept.order is None else {"order": kept.order}
    return found | ({} if embedding is None else {"embedding": embedding})


def _blocks(model: Any, batch: TokenBatch, sink: Callable[[int, LayerAttention], None], layers: int) -> torch.Tensor:
    """Hidden state (B x S x D) behind the first ``layers`` blocks, run one by one."""
    blocks = model.blocks(batch, form=model.describe().forms[0])
    hidden: torch.Tensor = blocks.start()
    for layer in range(layers):
        hidden = blocks.step(layer, hidden, sink)
    return hidden


def _gene_mean(cells: ScoredCells, batch: NDArray[np.int64], hidden: torch.Tensor) -> NDArray[np.float32]:
    """Mean hidden state over the gene tokens of each cell (B x D); special tokens and padding are left out."""
    import torch

    width = hidden.shape[1]
    gene = np.zeros((batch.size, width), dtype=np.float32)
    for number, cell in enumerate(batch):
        span = slice(cells.encoded.offsets[cell], cells.encoded.offsets[cell + 1])
        gene[number, : span.stop - span.start] = cells.encoded.column[span] >= 0
    weight = torch.from_numpy(gene / np.maximum(gene.sum(axis=1, keepdims=True), 1)).to(hidden.device)
    mean: NDArray[np.float32] = torch.einsum("bs,bsd->bd", weight, hidden.float()).cpu().numpy()
    return mean
