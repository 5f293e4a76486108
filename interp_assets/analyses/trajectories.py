"""One lineage of analysis 7: which pairs are tested, which genes order the cells, and the order.

What belongs here: everything up to the ordered cells. What does not: lags, nulls and rows (`pseudotime`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import CellSample
from interp_assets.cells.moments import detection, moments
from interp_assets.cells.universe import seurat_dispersion
from interp_assets.edges.records import Reference
from interp_assets.stats.diffusion import diffusion_pseudotime
from interp_assets.stats.edge_transfer import spearman
from interp_assets.stats.lagged import LaggedPairs

VARIABLE_GENES: Final = 2000
COMPONENTS: Final = 30
NEIGHBOURS: Final = 15
LEAST_DETECTION: Final = 0.05
CELLS_A_BIN: Final = 3
FEWEST_PAIRS: Final = 3
FEWEST_GENES: Final = 50  # variable genes that must be left to order the cells
CHOICES: Final = 10  # expression-matched genes kept for every tested gene
EARLY: Final = "early"
YES: Final = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Cells of one lineage in order, with the pairs under test.

    ``tested`` holds the pairs over the values of the tested genes, ``table`` one row a pair (reference, tf, target,
    expected_sign, detection_tf, detection_target). ``order`` are the cells by computed pseudotime, ``stored_order`` by
    the one the dataset brings (None without one). ``pool`` are values of the genes that stand in for tested ones,
    ``regulator_pool`` and ``target_pool`` (P x choices) columns of it. No gene of ``tested`` or ``pool`` took part in
    the ordering.
    """

    sample: CellSample
    table: pd.DataFrame
    tested: LaggedPairs
    order: NDArray[np.int64]
    stored_order: NDArray[np.int64] | None
    pool: NDArray[np.float64]
    regulator_pool: NDArray[np.int64]
    target_pool: NDArray[np.int64]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Genes:
    """What is known of every measured gene over the cells of the lineage (columns of ``log``)."""

    names: NDArray[np.str_]
    log: Any
    detected: NDArray[np.float64]
    mean: NDArray[np.float64]


def lineage(sample: CellSample, used: dict[str, Any]) -> Lineage | str:
    """The lineage behind a role, or why it cannot be tested.

    Pairs are those of known direction in the first reference of the study that states any, both genes detected in at
    least 5 % of the cells, the best detected pairs first. Each tested gene reserves genes of nearest mean expression
    for the random pairs; the cells are ordered by what is left.
    """
    cells = sample.cells
    kept = cells.control
    bins = int(used["pseudotime_bins"])
    if int(kept.sum()) < CELLS_A_BIN * bins:
        return f"{cells.dataset}: {int(kept.sum())} cells; {bins} bins need {CELLS_A_BIN * bins}"
    early = early_cells(sample)
    if isinstance(early, str):
        return early
    log = cells.log[kept]
    genes = _Genes(names=cells.genes, log=log, detected=detection(log), mean=moments(log)[0])
    table = signed_pairs(sample, genes.names, genes.detected, int(used["directionality_pairs"]))
    if isinstance(table, str):
        return table
    tested, pool, nearest = _split(genes, table)
    ordering = np.ones(genes.names.size, dtype=bool)
    ordering[tested] = ordering[pool] = False
    variable = _variable(genes, ordering)
    if variable.size < FEWEST_GENES:
        return f"{cells.dataset}: {variable.size} variable genes are left to order the cells, {FEWEST_GENES} are needed"
    found = diffusion_pseudotime(_dense(log, variable), early, components=COMPONENTS, neighbours=NEIGHBOURS)
    reached = np.isfinite(found.pseudotime)
    if int(reached.sum()) < max(CELLS_A_BIN * bins, reached.size // 2):
        return f"{cells.dataset}: the cells fall into parts that no neighbours join; {int(reached.sum())} hang together"
    at = pd.Index(tested)
    pairs = LaggedPairs(
        values=_dense(log, tested),
        regulator=at.get_indexer(pd.Index(_columns(genes.names, table["tf"]))).astype(np.int64),
        target=at.get_indexer(pd.Index(_columns(genes.names, table["target"]))).astype(np.int64),
        expected_sign=table["expected_sign"].to_numpy(np.int64),
        bins=bins,
        lags=int(used["pseudotime_lags"]),
        weak=float(used["pseudotime_weak"]),
    )
    order = np.argsort(found.pseudotime, kind="stable")[: int(reached.sum())]
    stored = _stored(cells.obs.loc[kept], CELLS_A_BIN * bins)
    return Lineage(
        sample=sample,
        table=table,
        tested=pairs,
        order=order,
        stored_order=None if stored is None else np.argsort(stored, kind="stable")[: int(np.isfinite(stored).sum())],
        pool=_dense(log, pool),
        regulator_pool=nearest[pairs.regulator],
        target_pool=nearest[pairs.target],
        facts={
            "cells": int(kept.sum()),
            "cells_ordered": int(order.size),
            "genes_ordering": int(variable.size),
            "genes_tested": int(tested.size),
            "genes_reserved": int(pool.size),
            "pairs": len(table),
            "root": str(cells.obs.index[kept][found.root]),
            "early_cells": int(early.sum()),
            "early_first": found.early_first,
            "spearman_with_stored": _agreement(found.pseudotime, stored),
        },
    )


def early_cells(sample: CellSample) -> NDArray[np.bool_] | str:
    """Control cells that the dataset says are early, or why none is known."""
    obs = sample.cells.obs
    if EARLY not in obs:
        return (
            f"{sample.dataset}: nothing says which cells are early, so the ordering has no root; name them under "
            "`cells.early` of the dataset"
        )
    early = (obs.loc[sample.cells.control, EARLY] == YES).to_numpy(dtype=bool)
    if not 0 < int(early.sum()) < early.size:
        return f"{sample.dataset}: {int(early.sum())} of {early.size} cells are early; some, and not all, must be"
    return early


def signed_pairs(
    sample: CellSample, genes: NDArray[np.str_], detected: NDArray[np.float64], most: int
) -> pd.DataFrame | str:
    """Pairs of known direction with both genes detected, best detected first (by the rarer gene), at most ``most``."""
    names = dict.fromkeys([sample.primary_reference, *sample.references])
    reference = next((one for name in names if (one := sample.references.get(name)) and _states_directions(one)), None)
    if reference is None:
        return f"{sample.dataset}: no reference states directions; looked at: {', '.join(names)}"
    stated = np.asarray(reference.direction, dtype=np.int64)
    known = np.isin(stated, (-1, 1)) & (reference.source != reference.target)
    table = pd.DataFrame(
        {
            "reference": reference.name,
            "tf": reference.genes[reference.source[known]],
            "target": reference.genes[reference.target[known]],
            "expected_sign": stated[known],
        }
    )
    share = pd.Series(detected, index=genes)
    table = table[table["tf"].isin(share.index) & table["target"].isin(share.index)]
    table = table.assign(
        detection_tf=share.reindex(table["tf"]).to_numpy(), detection_target=share.reindex(table["target"]).to_numpy()
    )
    table["rarer"] = -table[["detection_tf", "detection_target"]].min(axis=1)
    table = table[table["rarer"] <= -LEAST_DETECTION].sort_values(["rarer", "tf", "target"], kind="stable")
    if len(table) < FEWEST_PAIRS:
        return (
            f"{sample.dataset}: {len(table)} pairs of known direction in {reference.name} have both genes in "
            f"{LEAST_DETECTION:.0%} of the cells, {FEWEST_PAIRS} are needed"
        )
    return table.drop(columns="rarer").head(most).reset_index(drop=True)


def _states_directions(reference: Reference) -> bool:
    return reference.directed and reference.direction is not None and bool(np.isin(reference.direction, (-1, 1)).any())


def _split(genes: _Genes, table: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Tested genes, reserved genes, and for each tested gene (row) its reserved ones (positions among the reserved).

    Reserved are the genes of nearest mean expression, at most half of the detected untested genes over all.
    """
    tested = np.unique(np.concatenate([_columns(genes.names, table[side]) for side in ("tf", "target")]))
    free = np.setdiff1d(np.flatnonzero(genes.detected >= LEAST_DETECTION), tested)
    free = free[np.argsort(genes.mean[free], kind="stable")]
    choices = int(np.clip(free.size // (2 * tested.size), 2, CHOICES))
    distance = np.abs(genes.mean[free][None, :] - genes.mean[tested][:, None])
    nearest = free[np.argsort(distance, axis=1, kind="stable")[:, :choices]]
    pool = np.unique(nearest)
    return tested, pool, np.searchsorted(pool, nearest)


def _variable(genes: _Genes, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Most variable of the allowed genes that any cell expresses; one without a dispersion is none of them."""
    at = np.flatnonzero(allowed & (genes.detected > 0))
    score = seurat_dispersion(genes.log[:, at])
    at, score = at[~np.isnan(score)], score[~np.isnan(score)]
    return np.asarray(np.sort(at[np.argsort(-score, kind="stable")[:VARIABLE_GENES]]), dtype=np.int64)


def _dense(log: Any, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(log[:, columns].toarray(), dtype=np.float64)


def _columns(genes: NDArray[np.str_], wanted: pd.Series) -> NDArray[np.int64]:
    return np.asarray(pd.Index(genes.astype(object)).get_indexer(pd.Index(wanted.astype(object))), dtype=np.int64)


def _stored(obs: pd.DataFrame, fewest: int) -> NDArray[np.float64] | None:
    """The pseudotime that the dataset brings, infinite where a cell has none."""
    if "pseudotime" not in obs:
        return None
    found = pd.to_numeric(obs["pseudotime"], errors="coerce").to_numpy(np.float64)
    found = np.where(np.isfinite(found), found, np.inf)
    return found if int(np.isfinite(found).sum()) >= fewest else None


def _agreement(computed: NDArray[np.float64], stored: NDArray[np.float64] | None) -> float:
    if stored is None:
        return float("nan")
    both = np.isfinite(computed) & np.isfinite(stored)
    return spearman(computed[both], stored[both])
