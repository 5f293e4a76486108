"""Attention read again on cells that hold only the most variable genes: the condition the published protocol lacks.

What belongs here: one pass of the model over sequences of those genes. What does not: AUROCs or their comparison
(`analyses.restricted_universe`).

The published analysis restricts the scored genes and keeps attention that was read with all of them. Here a cell is
encoded from the restricted genes alone: other genes neither stand in its sequence nor in any softmax. Rank-value
encoding divides a whole cell by its total, so the order of its genes is that of the full cell; binned encoding takes
the bins of a cell from the restricted genes, in the same order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.features import gene_features
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.layers import resolve_layer
from interp_assets.interventions.cells import cell_rows, encoded_cells, row_counts
from interp_assets.interventions.readouts import RowSums
from interp_assets.models.adapter import SCORE_FAMILIES, AttentionModel, LayerAttention, load_model
from interp_assets.models.attention.plan import ScoredCells, plan_batches, token_batch
from interp_assets.models.attention.settings import resolve_device
from interp_assets.readings.records import ReadData, Reading, ReadingContext
from interp_assets.stats.most_variable import most_variable

ROLE: Final = "other_line_screen"
NO_MODEL: Final = "a table of finished scores has no model that could read fewer genes"
# The layer the published protocol fits (15 of 0..17), as a relative depth; analysis 37 reads no other here.
DEPTHS: Final = (15 / 17,)
BATCH_TOKENS: Final = 4096
CELLS_PER_SHARD: Final = 256


def read(context: ReadingContext) -> Reading | str:
    """Attention from perturbed genes to the most variable genes, sequences made of these genes only.

    Setting ``restricted_share`` says which part of the evaluable genes is kept, by variance over the control cells.
    Arrays (L layers, P perturbed genes, G genes): ``attention`` (L x P x G float32, NaN where no cell holds both),
    ``layers`` (L, 0-based), ``perturbations`` (P) and ``genes`` (G) names, ``cells_behind`` (P x G).
    """
    if context.release.family in SCORE_FAMILIES:
        return NO_MODEL
    data = context.data.get(ROLE)
    if data is None:
        return context.absent.get(ROLE, f"study {context.study} fills no role {ROLE}")
    device = resolve_device(context.device)
    model = load_model(context.release, device=device, dtype=context.dtype, encoding=context.encoding)
    share = float(context.settings["restricted_share"])
    cells, genes = restricted_cells(model, data.cells, share)
    perturbed = genes[np.isin(genes, data.labels.perturbations)]
    if genes.size < 2 or perturbed.size == 0:
        return (
            f"{data.cells.dataset}: {perturbed.size} perturbed genes are among the {genes.size} most variable genes; "
            "nothing can be read"
        )
    scored = encoded_cells(model, cells, genes)
    if scored.used.size == 0:
        return f"{data.cells.dataset}: no control cell expresses a restricted gene"
    rows = np.flatnonzero(np.isin(genes, perturbed)).astype(np.int64)
    layers = sorted({resolve_layer(depth, model.describe().layers) for depth in DEPTHS})
    counts = row_counts(scored, rows)
    attention = read_rows(model, scored, rows, layers, counts, label=context.release.name)
    return Reading(
        arrays={
            "attention": attention,
            "layers": np.array(layers, dtype=np.int64),
            "perturbations": genes[rows],
            "genes": genes,
            "cells_behind": counts.astype(np.int32),
        },
        facts=_facts(model, data, scored, share, counts),
    )


def restricted_cells(
    model: AttentionModel, cells: PreparedCells, share: float
) -> tuple[PreparedCells, NDArray[np.str_]]:
    """Cells with the columns of the most variable evaluable genes only, and these genes in universe order.

    Evaluable genes are the scored ones that the vocabulary of the model knows. ``log`` keeps the values of the whole
    cell; only columns are dropped.
    """
    column_of = {str(gene): column for column, gene in reversed(list(enumerate(cells.genes)))}
    universe = np.array([column_of[str(gene)] for gene in cells.universe], dtype=np.int64)
    evaluable = np.flatnonzero(model.known(cells.genes)[universe])
    if evaluable.size == 0:
        return cells, cells.universe[:0]
    variance = gene_features(cells)["variance"].to_numpy(np.float64)[evaluable]
    kept = evaluable[most_variable(variance, share)]
    columns, genes = universe[kept], cells.universe[kept]
    narrowed = replace(
        cells, counts=cells.counts[:, columns], log=cells.log[:, columns], genes=cells.genes[columns], universe=genes
    )
    return narrowed, genes


def read_rows(
    model: AttentionModel,
    scored: ScoredCells,
    rows: NDArray[np.int64],
    layers: list[int],
    counts: NDArray[np.int64],
    *,
    label: str = "model",
) -> NDArray[np.float32]:
    """Head-mean attention from the row genes to all genes, mean over the cells that hold both (L x P x G).

    ``rows`` are gene numbers, ``counts`` (P x G) the cells behind each pair; NaN where there is none.
    """
    from tqdm import tqdm

    facts = model.describe()
    sums = {layer: RowSums(rows.size, scored.genes, facts.device) for layer in layers}
    batches = plan_batches(scored, BATCH_TOKENS, CELLS_PER_SHARD).batches
    for batch in tqdm(batches, desc=f"attention of {label} on fewer genes", unit="batch", disable=None):
        found = cell_rows(scored, batch, rows)

        def sink(layer: int, attention: LayerAttention, found: Any = found) -> None:
            if layer in sums:
                sums[layer].add(attention, found)

        model.attend(token_batch(scored, batch, facts.padding), sink, form=facts.forms[0])
    mean = np.full((len(layers), *counts.shape), np.nan, dtype=np.float32)
    for place, layer in enumerate(layers):
        np.divide(sums[layer].total.cpu().numpy(), counts, out=mean[place], where=counts > 0, casting="same_kind")
    return mean


def _facts(
    model: AttentionModel, data: ReadData, scored: ScoredCells, share: float, counts: NDArray[np.int64]
) -> dict[str, Any]:
    facts = model.describe()
    return {
        "dataset": data.cells.dataset,
        "cells_hash": data.cells.cells_hash,
        "cells": int(np.count_nonzero(data.cells.control)),
        "cells_used": int(scored.used.size),
        "tokens": int(scored.encoded.lengths.sum()),
        "genes": int(scored.genes),
        "restricted_share": share,
        "missing_pair_share": float((counts == 0).mean()),
        "layers": facts.layers,
        "device": facts.device,
        "dtype": facts.dtype,
    }
