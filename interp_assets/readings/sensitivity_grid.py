"""What every condition of the sensitivity grid is scored from: edges, gene statistics and tests for each control set.

What belongs here: cells, genes, attention, correlation and tests for each control set and gene list. What does not:
labels, AUROC and the 27 conditions themselves (`analyses.sensitivity_grid`).

No matrix stands for two control sets: attention, correlation, gene statistics and tests are computed from the cells of
each. The sets are nested, so a cell runs through the model once and is added to every set that holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.grid_outcomes import BASE, CELL_FACTORS, GridOutcomes, edge_sets
from interp_assets.cells.moments import detection, moments
from interp_assets.cells.outcome_tables import positions
from interp_assets.cells.prepare import cells_hash
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.layers import resolve_layer
from interp_assets.edges.scores import spearman_edges
from interp_assets.models.adapter import SCORE_FAMILIES, AttentionModel, load_model
from interp_assets.models.attention.edge_rules import EdgeRule, unreadable
from interp_assets.models.attention.plan import ScoredCells, score_cells
from interp_assets.models.attention.settings import resolve_device
from interp_assets.readings.layer_attention import Wanted, held_together, keeps_heads, layer_sums
from interp_assets.readings.records import Reading, ReadingContext

if TYPE_CHECKING:
    from tqdm import tqdm

ROLE: Final = "primary_screen"
# Published numbers of variable genes 1,000, 2,000 and 5,000 around the primary 2,000 (paper 2.4).
GENE_FACTORS: Final = (0.5, 1.0, 2.5)
NO_MODEL: Final = "an edge table holds the edges of one set of cells; other control sets need the model itself"
NO_PERTURBATION: Final = "no perturbed gene is scored and in the vocabulary of the release"


@dataclass(frozen=True, slots=True, kw_only=True)
class GridGenes:
    """Genes of the grid: ``names`` (W) of the widest list, which of them each list holds, which the release knows.

    ``universe`` is 3 x W for `GENE_FACTORS`; ``known`` (W) marks genes in the vocabulary. ``perturbations`` (P) are
    the perturbed genes with an edge score, the same in every condition, ``source`` (P) their places in ``names``.
    """

    names: NDArray[np.str_]
    universe: NDArray[np.bool_]
    known: NDArray[np.bool_]
    perturbations: NDArray[np.str_]
    source: NDArray[np.int64]


def read(context: ReadingContext) -> Reading | str:
    """Scores and tests behind the 27 conditions of the primary screen; or why there are none.

    Arrays (C control sets, P perturbations, W genes, U = 3 gene lists):

    - ``genes`` (W), ``universe`` (U x W bool), ``known`` (W bool), ``perturbations`` (P), ``source`` (P);
    - ``attention``, ``correlation`` (C x P x W float32): edges from each perturbed gene, NaN where no cell holds both
      or the gene is not known; ``attention_lowest``, ``correlation_lowest`` (C x U): lowest score of any pair of known
      genes of that list, which missing pairs are given;
    - ``mean``, ``variance``, ``dropout`` (C x W) of the cells of each set;
    - ``log_fold``, ``p`` (C x P x W): Welch against the control set of each size, NaN for the perturbed gene.

    Facts: cells of each set and its hash, genes of each list, the screen's rule, layer, device, dtype.
    """
    data = context.data.get(ROLE)
    if data is None:
        return context.absent.get(ROLE, f"study {context.study} fills no role {ROLE}")
    if context.release.family in SCORE_FAMILIES:
        return NO_MODEL
    if isinstance(data.grid, str):
        return f"dataset {data.cells.dataset}: {data.grid}"
    device = resolve_device(context.device)
    model = load_model(context.release, device=device, dtype=context.dtype, encoding=context.encoding)
    if lacking := unreadable(context.edge_rule, model.describe()):
        return f"dataset {data.cells.dataset}: {lacking}"
    genes = grid_genes(data.grid, data.cells, model)
    if not genes.perturbations.size:
        return f"dataset {data.cells.dataset}: {NO_PERTURBATION}"
    sets = edge_sets(data.cells, int(context.settings["grid_edge_cells"]))
    layer = resolve_layer(context.choice.depth, model.describe().layers)
    edges = {
        "attention": _attention(model, data.cells, sets, genes, layer, context),
        "correlation": _correlation(data.cells, sets, genes),
    }
    arrays: dict[str, NDArray[Any]] = {
        "genes": genes.names,
        "universe": genes.universe,
        "known": genes.known,
        "perturbations": genes.perturbations,
        "source": genes.source,
        **_gene_statistics(data.cells, sets, genes.names),
        **_tests(data.grid, genes),
    }
    for name, matrices in edges.items():
        arrays[name], arrays[f"{name}_lowest"] = _rows(matrices, genes)
    return Reading(arrays=arrays, facts=_facts(context, data.grid, data.cells, sets, genes, model, layer))


def grid_genes(grid: GridOutcomes, cells: PreparedCells, model: AttentionModel) -> GridGenes:
    """Nested gene lists of a screen: the more variable half, the scored genes, and further ones the release knows.

    The order is that of the screen's universe rule on its stored control cells and the same for every control set, so
    that cells and genes vary apart from each other. Perturbed genes are in every list.
    """
    vocabulary = cells.genes[model.known(cells.genes)]
    scored = np.isin(grid.genes, cells.universe)
    rank = np.where(np.isnan(grid.variability), -np.inf, grid.variability)
    perturbed = np.isin(grid.genes, grid.perturbations) & scored & np.isin(grid.genes, vocabulary)
    own = int(scored.sum())
    half = perturbed | _most(scored & ~perturbed, rank, round(own * GENE_FACTORS[0]) - int(perturbed.sum()))
    able = ~scored & np.isin(grid.genes, vocabulary) & np.isfinite(rank)
    able &= (grid.share > 0) & (grid.share >= grid.min_detection)
    wide = scored | _most(able, rank, round(own * GENE_FACTORS[2]) - own)
    names = grid.genes[wide]
    kept = grid.perturbations[np.isin(grid.perturbations, grid.genes[perturbed])]
    return GridGenes(
        names=names,
        universe=np.array([half[wide], scored[wide], np.ones(names.size, dtype=bool)]),
        known=np.isin(names, vocabulary),
        perturbations=kept,
        source=positions(names, kept),
    )


def _most(among: NDArray[np.bool_], rank: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Mask of the ``count`` highest of the marked genes; ties by gene order."""
    at = np.flatnonzero(among)
    chosen = np.zeros(among.size, dtype=bool)
    chosen[at[np.argsort(-rank[at], kind="stable")][: max(count, 0)]] = True
    return chosen


def _attention(
    model: AttentionModel,
    cells: PreparedCells,
    sets: list[NDArray[np.bool_]],
    genes: GridGenes,
    layer: int,
    context: ReadingContext,
) -> list[NDArray[np.float32]]:
    """Attention between known genes (K x K, of ``names[known]``) for each control set.

    In the stored cells, pairs of scored genes are read in a list of their own, exactly as the stored edges were.
    """
    from tqdm import tqdm

    small, base, large = sets
    known = genes.names[genes.known]
    scored = genes.universe[BASE][genes.known]
    own = cells.universe[np.isin(cells.universe, known)]
    rest = large & ~base
    with tqdm(total=int(large.sum()), unit="cell", desc=f"grid of {context.release.name}", leave=False) as bar:
        wide, plan_on = _encoded(model, cells, base, known), _encoded(model, cells, base, own)
        every = np.ones(int(base.sum()), dtype=bool)
        wanted = [
            Wanted(cells=plan_on, members=every, single_heads=keeps_heads(model, own.size, context.memory_gib)),
            Wanted(cells=wide, members=small[base]),
            Wanted(cells=wide, members=every),
        ]
        wanted = [replace(want, edge_rule=context.edge_rule) for want in wanted]
        exact, few, many = layer_sums(model, plan_on, wanted, layer, bar)
        counts = [held_together(want, plan_on) for want in wanted]
        more, more_counts = _more(model, cells, rest, known, layer, bar, context.edge_rule)
    stored = _mean(many, counts[2])
    order = positions(own, known[scored])
    stored[np.ix_(scored, scored)] = _mean(exact, counts[0])[np.ix_(order, order)]
    all_cells = _mean(many + more, counts[2] + more_counts) if rest.any() else stored
    few_cells = _mean(few, counts[1]) if not np.array_equal(small, base) else stored
    return [few_cells, stored, all_cells]


def _more(
    model: AttentionModel,
    cells: PreparedCells,
    rest: NDArray[np.bool_],
    known: NDArray[np.str_],
    layer: int,
    bar: tqdm[None],
    edge_rule: EdgeRule,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Sums and counts of the cells that only the larger set holds; zeros without any."""
    if not rest.any():
        nothing = np.zeros((known.size, known.size))
        return nothing.astype(np.float32), nothing.astype(np.int32)
    encoded = _encoded(model, cells, rest, known)
    want = Wanted(cells=encoded, members=np.ones(int(rest.sum()), dtype=bool), edge_rule=edge_rule)
    return layer_sums(model, encoded, [want], layer, bar)[0], held_together(want, encoded)


def _encoded(
    model: AttentionModel, cells: PreparedCells, chosen: NDArray[np.bool_], genes: NDArray[np.str_]
) -> ScoredCells:
    counts = cells.counts[np.flatnonzero(chosen)]
    return score_cells(model.encode(counts, cells.genes), positions(cells.genes, genes))


def _mean(sums: NDArray[np.float32], counts: NDArray[np.int32]) -> NDArray[np.float32]:
    score = np.full(sums.shape, np.nan, dtype=np.float32)
    np.divide(sums, counts, out=score, where=counts > 0, casting="same_kind")
    return score


def _correlation(cells: PreparedCells, sets: list[NDArray[np.bool_]], genes: GridGenes) -> list[NDArray[np.float32]]:
    """Absolute Spearman between known genes (K x K) for each control set; the stored one for the stored cells."""
    known = genes.names[genes.known]
    scored = genes.universe[BASE][genes.known]
    found: list[NDArray[np.float32]] = []
    for number, chosen in enumerate(sets):
        if number != BASE and np.array_equal(chosen, sets[BASE]):
            found.append(found[0] if number < BASE else found[BASE])
            continue
        own = replace(cells, control=chosen)
        score = spearman_edges(own, known).score
        if number == BASE:
            at = positions(cells.universe, known[scored])
            score[np.ix_(scored, scored)] = spearman_edges(own).score[np.ix_(at, at)]
        found.append(score)
    return found


def _rows(matrices: list[NDArray[np.float32]], genes: GridGenes) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Rows of the perturbed genes (C x P x W), and the lowest score of each set within each list (C x U)."""
    at = np.cumsum(genes.known)[genes.source] - 1
    rows = np.full((len(matrices), genes.source.size, genes.names.size), np.nan, dtype=np.float32)
    lowest = np.full((len(matrices), len(GENE_FACTORS)), np.nan)
    for number, matrix in enumerate(matrices):
        rows[number][:, genes.known] = matrix[at]
        for which, listed in enumerate(genes.universe[:, genes.known]):
            block = matrix[np.ix_(listed, listed)]
            observed = block[~np.isnan(block) & ~np.eye(block.shape[0], dtype=bool)]
            lowest[number, which] = observed.min() if observed.size else np.nan
    return rows, lowest


def _gene_statistics(
    cells: PreparedCells, sets: list[NDArray[np.bool_]], names: NDArray[np.str_]
) -> dict[str, NDArray[np.float64]]:
    at = positions(cells.genes, names)
    found: dict[str, list[NDArray[np.float64]]] = {"mean": [], "variance": [], "dropout": []}
    for chosen in sets:
        log = cells.log[chosen][:, at]
        for name, values in zip(found, (*moments(log), 1.0 - detection(log)), strict=True):
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def _tests(grid: GridOutcomes, genes: GridGenes) -> dict[str, NDArray[np.float64]]:
    kept = np.isin(grid.perturbations, genes.perturbations)
    found = [grid.against(size, genes.names) for size in range(len(CELL_FACTORS))]
    return {
        "log_fold": np.array([tested.log_fold[kept] for tested in found]),
        "p": np.array([tested.p[kept] for tested in found]),
    }


def _facts(
    context: ReadingContext,
    grid: GridOutcomes,
    cells: PreparedCells,
    sets: list[NDArray[np.bool_]],
    genes: GridGenes,
    model: AttentionModel,
    layer: int,
) -> dict[str, Any]:
    facts = model.describe()
    names = cells.obs.index.to_numpy(dtype=np.str_)
    return {
        "dataset": cells.dataset,
        "cells_hash": cells.cells_hash,
        "cell_factors": list(CELL_FACTORS),
        "gene_factors": list(GENE_FACTORS),
        "edge_cells": [int(chosen.sum()) for chosen in sets],
        "edge_cells_hash": [cells_hash(names[chosen]) for chosen in sets],
        "outcome_cells": grid.control_cells.tolist(),
        "genes_tested": genes.universe.sum(axis=1).tolist(),
        "genes_scored": (genes.universe & genes.known).sum(axis=1).tolist(),
        "perturbations": int(genes.perturbations.size),
        "q": grid.q,
        "log_fold": grid.log_fold,
        "grid_edge_cells": int(context.settings["grid_edge_cells"]),
        "layer": layer,
        "layers": facts.layers,
        "device": facts.device,
        "dtype": facts.dtype,
    }
