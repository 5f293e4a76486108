"""What a model predicts for a target gene when a source gene is deleted from the cell: in-silico perturbation.

What belongs here: choosing source-target pairs without looking at outcomes, deleting tokens, reading the target. What
does not: measured effects and their agreement (`analyses.screen_agreement`).

The target's own token is hidden behind the mask token, so that its prediction rests on the other genes. Read in the
cells whose sequence holds both genes, with and without the token of the source: the logit of the target at its place,
less the mean logit of the vocabulary there. The change (deleted minus whole cell) is positive where losing the source
makes the target likelier, that is, where the model expects more of it. Of a model that is told genes and values, the
value of the target is hidden instead, and the value predicted there is read, in bins (`hidden_genes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.interventions.cells import encoded_cells
from interp_assets.models.adapter import SCORE_FAMILIES, load_model
from interp_assets.models.attention.plan import ScoredCells
from interp_assets.models.attention.settings import resolve_device
from interp_assets.models.interventions import InterventionModel
from interp_assets.readings.coalitions import Sequences
from interp_assets.readings.hidden_genes import HiddenGenes, hidden_genes
from interp_assets.readings.records import ReadData, Reading, ReadingContext

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEAST_CELLS: Final = 5
BATCH_TOKENS: Final = 2048
COLUMNS: Final = (
    "role",
    "dataset",
    "source",
    "target",
    "listed",
    "cells_with_both",
    "cells",
    "logit_change",
    "logit_change_se",
    "cosine_distance",
    "cosine_distance_se",
)
NO_MODEL: Final = "an edge table has no model in which a gene could be deleted"
NO_MASK: Final = (
    "the adapter of family {} runs no blocks, or has no mask token and no value to hide, so no gene can be hidden and "
    "predicted"
)
NO_FOLDS: Final = "the screen lists no fold changes, so nothing can agree with them"


@dataclass(frozen=True, slots=True)
class Effect:
    """Effect of one deletion on one target over some cells: means and their standard errors, NaN where there is none.

    ``logit`` is the change of the centred logit (or of the predicted value, in bins), ``distance`` 1 - cosine between
    the last hidden states at the place of the target.
    """

    cells: int
    logit: float
    logit_se: float
    distance: float
    distance_se: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What pairs are chosen from: genes in sequences, and which targets of each source were tested or are listed.

    ``genes`` (G), ``held`` (cells x G, CSR of ones), ``sources`` (S, numbers of genes), ``tested`` and ``listed``
    (S x G bool).
    """

    genes: NDArray[np.str_]
    held: csr_matrix
    sources: NDArray[np.int64]
    tested: NDArray[np.bool_]
    listed: NDArray[np.bool_]


def read(context: ReadingContext) -> Reading | str:
    """Deletion effects on the agreement screens; or why there are none.

    Table ``deletion_pairs`` (columns `COLUMNS`): one row a role, source and target. ``listed`` says whether the primary
    reference lists the pair; ``cells_with_both`` counts control cells whose sequence holds both genes, ``cells`` those
    that were read. At most ``agreement_pairs`` pairs a screen and ``deletion_cells`` cells a pair.
    """
    if context.release.family in SCORE_FAMILIES:
        return NO_MODEL
    if not context.data:
        return "; ".join(dict.fromkeys(context.absent.values())) or "the study fills no agreement screen"
    device = resolve_device(context.device)
    model = load_model(context.release, device=device, dtype=context.dtype, encoding=context.encoding)
    hidden = hidden_genes(model) if isinstance(model, InterventionModel) else None
    if hidden is None or not isinstance(model, InterventionModel):
        return NO_MASK.format(context.release.family)
    pairs, cells = (int(context.settings[name]) for name in ("agreement_pairs", "deletion_cells"))
    known: dict[tuple[str, str, str], Effect] = {}
    frames, roles, reasons = [], {}, dict(context.absent)
    for role, data in sorted(context.data.items()):
        found = _role(model, data, pairs, cells, known, f"deletions of {context.release.name} in {role}")
        if isinstance(found, str):
            reasons[role] = found
            continue
        frames.append(found)
        reference = data.references.get(data.primary_reference)
        roles[role] = {
            "dataset": data.cells.dataset,
            "cells_hash": data.cells.cells_hash,
            "pairs": len(found),
            "sources": int(found["source"].nunique()),
            "reference": "" if reference is None else reference.name,
        }
    if not frames:
        return "; ".join(f"{role}: {reason}" for role, reason in reasons.items())
    facts = model.describe()
    about = {"device": facts.device, "dtype": facts.dtype, "layers": facts.layers}
    about |= {"output": hidden.output is not None, "read_out": hidden.read_out}
    return Reading(
        tables={"deletion_pairs": pd.concat(frames, ignore_index=True)},
        facts={**about, "agreement_pairs": pairs, "deletion_cells": cells, "roles": roles, "reasons": reasons},
    )


def _role(
    model: InterventionModel,
    data: ReadData,
    pairs: int,
    most: int,
    known: dict[tuple[str, str, str], Effect],
    label: str,
) -> pd.DataFrame | str:
    """Effects on one screen. Screens on the same control cells share them: an effect knows no outcome."""
    from tqdm import tqdm

    asked = _candidates(model, data)
    if isinstance(asked, str):
        return asked
    encoded, candidates = asked
    chosen = choose_pairs(candidates, pairs)
    if not chosen:
        return f"no perturbed gene and candidate stand together in {LEAST_CELLS} control cells' sequences"
    rows = []
    for source, target in tqdm(chosen, desc=label, unit="pair", leave=False):
        names = (str(candidates.genes[source]), str(candidates.genes[target]))
        both = _together(candidates.held, source, target)
        key = (data.cells.cells_hash, *names)
        if key not in known:
            known[key] = deletion_effect(model, encoded, (source, target), names[1], spread(both, most))
        effect = known[key]
        listed = bool(candidates.listed[np.flatnonzero(candidates.sources == source)[0], target])
        values = (effect.cells, effect.logit, effect.logit_se, effect.distance, effect.distance_se)
        rows.append((data.role, data.cells.dataset, *names, listed, int(both.size), *values))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _candidates(model: InterventionModel, data: ReadData) -> tuple[ScoredCells, Candidates] | str:
    """Encoded control cells and what pairs may be chosen from. Of the outcomes only their being there is looked at."""
    table = data.labels.table
    table = table[np.isfinite(table["lfc"].to_numpy(np.float64))]
    if table.empty:
        return f"dataset {data.labels.dataset}: {NO_FOLDS}"
    vocabulary = data.cells.genes[model.known(data.cells.genes)]
    offered = np.isin(vocabulary, np.union1d(table["gene"].to_numpy(str), table["perturbation"].to_numpy(str)))
    genes = vocabulary[offered]
    sources = np.flatnonzero(np.isin(genes, table["perturbation"].to_numpy(str)))
    if not sources.size or genes.size < 2:
        return f"dataset {data.labels.dataset}: no perturbed gene is measured and in the vocabulary of the release"
    place = pd.Index(genes)
    at = (
        pd.Index(genes[sources]).get_indexer(pd.Index(table["perturbation"])),
        place.get_indexer(pd.Index(table["gene"])),
    )
    kept = (at[0] >= 0) & (at[1] >= 0)
    tested = np.zeros((sources.size, genes.size), dtype=bool)
    tested[at[0][kept], at[1][kept]] = True
    tested[np.arange(sources.size), sources] = False
    encoded = encoded_cells(model, data.cells, genes)
    return encoded, Candidates(
        genes=genes,
        held=_held(encoded),
        sources=sources,
        tested=tested,
        listed=_listed(data, genes, genes[sources]) & tested,
    )


def _held(encoded: ScoredCells) -> csr_matrix:
    from scipy.sparse import csr_matrix as csr

    shape = (encoded.offsets.size - 1, encoded.genes)
    return csr((np.ones(encoded.gene.size, dtype=np.int32), encoded.gene, encoded.offsets), shape=shape)


def _listed(data: ReadData, genes: NDArray[np.str_], sources: NDArray[np.str_]) -> NDArray[np.bool_]:
    listed = np.zeros((sources.size, genes.size), dtype=bool)
    reference = data.references.get(data.primary_reference)
    if reference is not None:
        row = pd.Index(sources).get_indexer(pd.Index(reference.genes[reference.source]))
        column = pd.Index(genes).get_indexer(pd.Index(reference.genes[reference.target]))
        kept = (row >= 0) & (column >= 0)
        listed[row[kept], column[kept]] = True
    return listed


def choose_pairs(candidates: Candidates, most: int) -> list[tuple[int, int]]:
    """Up to ``most`` pairs (gene numbers): in turns, each source its best target, those seen in most cells first.

    Targets are those the reference lists for the source, else any tested gene; genes that are perturbed themselves
    only where nothing else is left, since such a target has no effect under every source. Among them, genes that are
    no target yet come first, then those that stand in most cells together with the source, at least `LEAST_CELLS`.
    """
    together = np.asarray((candidates.held.T[candidates.sources] @ candidates.held).todense(), dtype=np.int64)
    able = candidates.tested & (together >= LEAST_CELLS)
    quiet = ~np.isin(np.arange(candidates.genes.size), candidates.sources)
    open_to = _first_with_any([able & candidates.listed & quiet, able & quiet, able & candidates.listed, able])
    seen = np.bincount(candidates.held.indices, minlength=candidates.genes.size)
    order = np.argsort(-seen[candidates.sources], kind="stable")
    taken = np.zeros(candidates.genes.size, dtype=bool)
    chosen: list[tuple[int, int]] = []
    while len(chosen) < most and open_to.any():
        for row in order[: most - len(chosen)] if len(chosen) + order.size > most else order:
            targets = np.flatnonzero(open_to[row])
            if not targets.size:
                continue
            best = targets[np.lexsort((-together[row, targets], taken[targets]))[0]]
            chosen.append((int(candidates.sources[row]), int(best)))
            taken[best], open_to[row, best] = True, False
        order = order[open_to[order].any(axis=1)]
    return chosen[:most]


def _first_with_any(choices: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """For each row that of the first choice with any."""
    found = np.zeros_like(choices[0])
    for choice in choices:
        found = np.where(found.any(axis=1, keepdims=True), found, choice)
    return found


def _together(held: csr_matrix, source: int, target: int) -> NDArray[np.int64]:
    """Cells whose sequence holds both genes, in cell order."""
    both = held[:, [source, target]].sum(axis=1)
    return np.flatnonzero(np.asarray(both).ravel() == 2)


def spread(cells: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most ``most`` of the cells, evenly spaced over them.

    >>> spread(np.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    if cells.size <= most:
        return cells
    return cells[np.linspace(0, cells.size - 1, most).round().astype(np.int64)]


def deletion_effect(
    model: InterventionModel, encoded: ScoredCells, pair: tuple[int, int], target: str, cells: NDArray[np.int64]
) -> Effect:
    """Effect on a hidden target of deleting the source from each of some cells, which hold both.

    ``pair`` are the numbers of source and target among the encoded genes, ``target`` is the name of the latter.
    """
    hidden = hidden_genes(model)
    if hidden is None:
        raise ValueError(NO_MASK.format(model.describe().family))
    whole, deleted, place, moved = [], [], [], []
    for cell in cells:
        span = slice(encoded.encoded.offsets[cell], encoded.encoded.offsets[cell + 1])
        tokens = encoded.encoded.tokens[span].astype(np.int64)
        out, at = (_place(encoded, cell, number) for number in pair)
        tokens[at] = hidden.hide(tokens[at : at + 1])[0]
        whole.append(tokens)
        deleted.append(np.delete(tokens, out))
        place.append(at)
        moved.append(at - (out < at))
    values, states = _at_places(model, hidden, [*whole, *deleted], [*place, *moved], hidden.row(target))
    half = len(whole)
    change = values[half:] - values[:half]
    unit = states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
    distance = ((unit[half:] - unit[:half]) ** 2).sum(axis=1) / 2  # 1 - cosine without cancellation
    return Effect(half, *_mean_and_error(change), *_mean_and_error(distance))


def _mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
    return float(values.mean()), float(error)


def _place(encoded: ScoredCells, cell: int, number: int) -> int:
    """Place of a gene in the sequence of a cell that holds it."""
    span = slice(encoded.offsets[cell], encoded.offsets[cell + 1])
    return int(encoded.where[span][encoded.gene[span] == number][0])


def _at_places(
    model: InterventionModel, hidden: HiddenGenes, sequences: list[NDArray[np.int64]], places: list[int], row: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is read of the target (N; NaN without a head) and last hidden state (N x D) at one place of each."""
    import torch

    facts, contrast = model.describe(), hidden.contrast(row)
    values = np.full(len(sequences), np.nan)
    states = np.zeros((len(sequences), facts.width))
    held = Sequences(
        tokens=sequences, at=np.array(places, dtype=np.int64), asked=np.full(len(sequences), row, dtype=np.int64)
    )
    for chosen, batch in held.batches(facts.padding, BATCH_TOKENS):
        blocks = model.blocks(batch, form=facts.forms[0])
        state = blocks.start()
        for layer in range(facts.layers):
            state = blocks.step(layer, state)
        at = torch.from_numpy(held.at[chosen]).to(state.device)
        here = state[torch.arange(len(chosen), device=state.device), at]
        states[chosen] = here.double().cpu().numpy()
        if hidden.output is not None and contrast is not None:
            direction, shift = contrast
            values[chosen] = (hidden.output.transform(here[None])[0].double() @ direction).cpu().numpy() + shift
    return values, states
