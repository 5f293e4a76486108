"""Outcome labels of high-multiplicity screens, whose cells hold several guides each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.differential import (
    Differential,
    LabelRule,
    expression_against_the_rest,
    rank_sum_expression,
)
from interp_assets.cells.outcome_tables import (
    OutcomesError,
    own_positions,
    positions,
    too_few_cells,
)
from interp_assets.cells.outcomes import (
    BASELINE_CONTROL_CELLS,
    tested_labels,
)
from interp_assets.cells.own_change import own_changes
from interp_assets.cells.prepare import sample_cells
from interp_assets.cells.records import PreparedCells, ScreenLabels

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

TARGET = "target"
NON_TARGETING = "non_targeting"


def guide_holders(cells: PreparedCells, kind: str, by: str) -> tuple[NDArray[np.str_], csr_matrix]:
    """Which cells hold a guide of each gene or group: sorted names, and names x cells of ones (CSR, float64).

    Parameters
    ----------
    kind
        Guides counted: ``target``, ``non_targeting`` or ``other`` of ``guide_table.kind``.
    by
        Column of ``guide_table`` whose equal values are pooled, such as ``gene`` or ``guide``. A cell with
        several guides of one name counts once.

    Raises
    ------
    OutcomesError
        If the cells carry no guides, or none of that kind.
    """
    from scipy.sparse import csr_matrix as csr

    if cells.guides is None or cells.guide_table is None:
        raise OutcomesError(f"dataset {cells.dataset!r}: cells hold no guides. Declare them in `cells.guides`.")
    chosen = np.flatnonzero((cells.guide_table["kind"] == kind).to_numpy(dtype=bool))
    if not chosen.size:
        raise OutcomesError(
            f"dataset {cells.dataset!r}: the guide table has no guide of kind {kind!r}. Check its key `kinds`."
        )
    names, place = np.unique(cells.guide_table[by].to_numpy(dtype=np.str_)[chosen], return_inverse=True)
    pooling = csr((np.ones(chosen.size), (place, chosen)), shape=(names.size, cells.guides.shape[1]))
    held = (pooling @ cells.guides.T.astype(np.float64)).tocsr()
    held.data[:] = 1.0
    return names, held


def labels_from_guides(cells: PreparedCells, *, modality: str, rule: LabelRule | None = None) -> ScreenLabels:
    """Labels of a screen whose cells hold several guides: Welch of a gene's cells against all others.

    A perturbation is a target gene and carries its name; its cells hold any of its guides, the cells it is
    compared with hold none of them (they may hold others: there is no clean control group). Two perturbations
    may share cells. Cells with a guide are read deeper on average than cells without one, which moves all genes a
    little in the same direction; the fold of the rule is the guard against that.

    The baseline configuration compares with 500 cells that hold no target guide at all.

    Raises
    ------
    OutcomesError
        If the cells carry no target guide, no gene has enough cells, or no cell is without a target guide.
    """
    rule = rule or LabelRule()
    seen, held = guide_holders(cells, TARGET, "gene")
    count = np.diff(held.indptr)
    enough = count >= rule.min_cells
    if not enough.any():
        raise OutcomesError(
            f"dataset {cells.dataset!r}: none of {seen.size} target genes has {rule.min_cells} cells with one of its "
            "guides. Lower min_cells or cells.guides.min_umi."
        )
    kept, members = seen[enough], held[enough]
    own = own_positions(cells.universe, kept)
    log = cells.log[:, positions(cells.genes, cells.universe)]
    found = expression_against_the_rest(log, members, own)
    free = np.asarray(held.sum(axis=0)).ravel() == 0
    none = np.full(kept.size, -1)
    return tested_labels(
        cells,
        modality,
        rule,
        perturbations=kept,
        found=found,
        baseline=_baseline(log, members, free, own, cells.dataset),
        own_change=own_changes(
            kept, cells.genes, lambda at: expression_against_the_rest(cells.log[:, at], members, none)
        ),
        exclusions=too_few_cells(seen, count, rule.min_cells),
        facts={
            "perturbations_seen": int(seen.size),
            "compared_with": "all cells without a guide of the gene",
            "cells_of_several_perturbations": int((np.asarray(members.sum(axis=0)).ravel() > 1).sum()),
        },
    )


def _baseline(
    log: csr_matrix, members: csr_matrix, free: NDArray[np.bool_], own: NDArray[np.int64], dataset: str
) -> Differential:
    """Mann-Whitney against a sample of target-free cells; a cell of several perturbations stands in each."""
    if int(free.sum()) < 2:
        raise OutcomesError(
            f"dataset {dataset!r}: {int(free.sum())} cells hold no target guide; the baseline configuration "
            "compares with them. Raise cells.guides.min_umi."
        )
    perturbation, cell = members.nonzero()
    sample = np.flatnonzero(sample_cells(free, BASELINE_CONTROL_CELLS, 0))
    group = np.concatenate([perturbation, np.full(sample.size, -1)])
    return rank_sum_expression(log[np.concatenate([cell, sample])], group, group < 0, own)
