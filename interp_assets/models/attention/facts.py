"""What an extraction says of the model and of what it could not read: coverage, truncation, where attention goes.

What belongs here: facts of a run that no pair score shows. What does not: the sums (`attention`).

Row mass is split three ways: scored genes, genes that are in the sequence but not scored, and positions without a gene
(special tokens, text of a prompt). It is read in a run of its own over few cells, because the sums see only pairs of
scored genes, and a resumed or sharded run would otherwise have to carry these numbers along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.count_sources import CountSource, blocks, control_counts
from interp_assets.models.adapter import (
    AttentionForm,
    AttentionModel,
    EncodedCells,
    LayerAttention,
    ModelFacts,
    TokenBatch,
)
from interp_assets.models.attention.plan import spans

if TYPE_CHECKING:
    import torch

    from interp_assets.cells.records import PreparedCells

Ints = NDArray[np.int64]
MASS_CELLS: Final = 32
MASS_PARTS: Final = ("scored_genes", "unscored_genes", "no_gene")
_MASS_ROWS: Final = 256


@runtime_checkable
class CollapsingModel(Protocol):
    """A model whose vocabulary can give several measured names to one gene."""

    def collapsed(self, genes: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Which columns are added to another one."""
        ...


def described(facts: ModelFacts, form: AttentionForm) -> dict[str, Any]:
    """What the model says of itself, as plain JSON; ``form`` is the form its attention was read in."""
    return {
        "family": facts.family,
        "layers": facts.layers,
        "heads": facts.heads,
        "width": facts.width,
        "vocabulary": facts.vocabulary,
        "max_length": facts.max_length,
        "direction": facts.direction,
        "attention": facts.attention,
        "gene_key": facts.gene_key,
        "mask": facts.mask,
        "dtype": facts.dtype,
        "device": facts.device,
        "form": form,
        "facts": dict(facts.facts),
    }


def reading_facts(
    model: AttentionModel,
    cells: PreparedCells,
    encoded: EncodedCells,
    genes: NDArray[np.str_],
    form: AttentionForm,
    counts: CountSource | None = None,
) -> dict[str, Any]:
    """Facts of one extraction: ``model`` (`described`), `coverage` of the cells, and ``mass`` (`attention_mass`).

    ``genes`` are the scored genes that the model knows; ``encoded`` holds the control cells, ``counts`` their counts
    (None: those in ``cells``).
    """
    column_of = {str(gene): column for column, gene in reversed(list(enumerate(cells.genes)))}
    columns = np.array([column_of[str(gene)] for gene in genes], dtype=np.int64)
    about = {"model": described(model.describe(), form), **coverage(model, cells, encoded, counts)}
    return {**about, "mass": attention_mass(model, encoded, columns, form)}


def coverage(
    model: AttentionModel, cells: PreparedCells, encoded: EncodedCells, counts: CountSource | None = None
) -> dict[str, Any]:
    """Measured genes the vocabulary knows, and expressed ones that did not fit into the sequences of control cells.

    ``genes_collapsed`` are measured names whose counts were added to another name of the same gene; together with
    ``genes_unknown`` they have no token of their own. ``truncated_share`` is the share of cells that lost a gene,
    ``left_out_share`` the share of all expressed vocabulary genes (summed over cells) that were lost.
    """
    known = model.known(cells.genes)
    collapsed = int(model.collapsed(cells.genes).sum()) if isinstance(model, CollapsingModel) else 0
    source = control_counts(cells) if counts is None else counts
    expressed = sum(int((known[rows.indices] & (rows.data > 0)).sum()) for rows in blocks(source))
    left_out = np.zeros(encoded.offsets.size - 1, dtype=np.int64) if encoded.left_out is None else encoded.left_out
    scored = np.isin(cells.genes, cells.universe)
    return {
        "genes_measured": len(cells.genes),
        "genes_known": int(known.sum()),
        "genes_collapsed": collapsed,
        "genes_unknown": len(cells.genes) - int(known.sum()) - collapsed,
        "scored_genes_lost": [str(gene) for gene in cells.genes[scored & ~known][:20]],
        "truncated_share": round(float((left_out > 0).mean()), 6),
        "left_out_share": round(float(left_out.sum() / max(expressed, 1)), 6),
        "left_out_most": int(left_out.max(initial=0)),
    }


def sampled_cells(encoded: EncodedCells, columns: Ints, most: int = MASS_CELLS) -> Ints:
    """Up to ``most`` cells with a scored gene (given as matrix columns), evenly spaced from longest to shortest."""
    found = [np.zeros(0, dtype=np.int64)]
    for first, last in spans(encoded.offsets.size - 1):
        owner = np.repeat(np.arange(first, last), encoded.lengths[first:last])
        found.append(np.unique(owner[np.isin(encoded.column[encoded.offsets[first] : encoded.offsets[last]], columns)]))
    useful = np.concatenate(found)
    useful = useful[np.argsort(-encoded.lengths[useful], kind="stable")]
    if useful.size <= most:
        return useful
    return useful[np.linspace(0, useful.size - 1, most).round().astype(np.int64)]


def attention_mass(
    model: AttentionModel, encoded: EncodedCells, columns: Ints, form: AttentionForm, most: int = MASS_CELLS
) -> dict[str, Any]:
    """Where the attention of scored genes goes, layer by layer, in up to ``most`` cells (`sampled_cells`).

    For each of `MASS_PARTS` a list over layers: mean over the rows of scored genes and over heads of the softmax weight
    on keys of that kind; the three sum to 1. ``columns`` are the matrix columns of the scored genes.
    """
    layers = model.describe().layers
    chosen = sampled_cells(encoded, columns, most)
    mass, rows = np.zeros((layers, len(MASS_PARTS))), 0
    for cell in chosen:
        span = slice(int(encoded.offsets[cell]), int(encoded.offsets[cell + 1]))
        column = encoded.column[span]
        scored = np.isin(column, columns)
        parts = np.stack([scored, (column >= 0) & ~scored, column < 0], axis=1)
        tokens = encoded.tokens[span].astype(np.int64)[None]
        batch = TokenBatch(tokens=tokens, lengths=np.array([tokens.size], dtype=np.int64))
        sink = _MassSink(mass, np.flatnonzero(scored), parts)
        model.attend(batch, sink, form=form)
        rows += int(scored.sum())
    mass /= max(rows, 1)
    shares = {name: [round(float(value), 6) for value in mass[:, part]] for part, name in enumerate(MASS_PARTS)}
    return {"cells": int(chosen.size), "rows": rows, **shares}


class _MassSink:
    """Adds the mass of one cell, summed over rows and averaged over heads, to a table of layers x parts."""

    def __init__(self, mass: NDArray[np.float64], rows: Ints, parts: NDArray[np.bool_]) -> None:
        self._mass, self._rows, self._parts = mass, rows, parts

    def __call__(self, layer: int, attention: LayerAttention) -> None:
        """Take the attention of one layer."""
        import torch

        parts = torch.from_numpy(self._parts.astype(np.float32))
        for start in range(0, self._rows.size, _MASS_ROWS):
            # few rows at a time, so that a long cell needs little memory
            weights = _row_weights(attention, torch.from_numpy(self._rows[start : start + _MASS_ROWS]))
            self._mass[layer] += (weights @ parts.to(weights.device)).double().mean(0).sum(0).cpu().numpy()


def _row_weights(attention: LayerAttention, rows: torch.Tensor) -> torch.Tensor:
    """Softmax weights of some queries of the first cell over all its positions (H x rows x S, float32)."""
    import torch

    if attention.form == "softmax" and attention.weights is not None:
        return attention.weights[0][:, rows.to(attention.weights.device)].float()
    if attention.query is None or attention.key is None or attention.logsumexp is None:
        raise ValueError("attention came without content")
    rows = rows.to(attention.query.device)
    query = attention.query[0, rows].float().transpose(0, 1)
    key = attention.key[0].float().permute(1, 2, 0)
    shift = attention.logsumexp[0][:, rows].float()
    weights = torch.exp(query @ key * attention.scale - shift[:, :, None])
    if attention.causal:
        later = torch.arange(weights.shape[-1], device=rows.device)[None, :] > rows[:, None]
        weights = weights.masked_fill(later, 0.0)
    return weights
