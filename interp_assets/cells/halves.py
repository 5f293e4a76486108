"""Outcomes of a screen in random halves of its cells: what the screen says about itself.

What belongs here: which cells a screen was tested on, splitting them, and testing each half like the whole. What does
not: rankings (`analyses.noise_ceiling`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.differential import Differential, compared
from interp_assets.cells.guide_outcomes import TARGET, guide_holders
from interp_assets.cells.moments import CellSums, cell_sums, membership
from interp_assets.cells.outcome_tables import own_positions, positions
from interp_assets.cells.prepare import CONTROL
from interp_assets.cells.records import PreparedCells, ScreenLabels

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

OUTCOMES_ONLY = "its outcomes came without cells, so that they cannot be measured again in half of them"
NOT_KEPT = "the perturbed cells of a planted screen are kept for the primary screen of a study only"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedCells:
    """Cells that a screen was tested on.

    ``log`` is N cells x G scored genes, ``members`` (P + 1) x N ones: the cells of each perturbation, then those they
    are compared with. ``against_rest``: the last row holds every cell, and each perturbation is compared with the
    cells outside it. ``own`` as in `cells.differential`. ``stratum`` (N) is what a split keeps in balance.
    """

    __test__ = False

    log: csr_matrix
    members: csr_matrix
    against_rest: bool
    own: NDArray[np.int64]
    stratum: NDArray[np.int64]

    def outcome(self, cells: NDArray[np.bool_]) -> Differential:
        """Test of every perturbation over the chosen cells (mask N), as its labels were tested over all."""
        sums = cell_sums(self.log[cells], self.members[:, cells])
        groups = CellSums(sums.total[:-1], sums.squares[:-1], sums.cells[:-1])
        against = CellSums(sums.total[-1:], sums.squares[-1:], sums.cells[-1:])
        return compared(groups, against - groups if self.against_rest else against, self.own)


def cells_tested(cells: PreparedCells, labels: ScreenLabels) -> TestedCells | str:
    """Cells behind the outcomes of a screen, perturbations and genes as in the labels; or why there are none."""
    if labels.kind != "cells":
        return f"{labels.dataset}: {OUTCOMES_ONLY}"
    own = own_positions(labels.genes, labels.perturbations)
    if labels.tested_log is not None and labels.tested_group is not None:
        group = np.asarray(labels.tested_group, dtype=np.int64)
        return _one_each(labels.tested_log, group, group < 0, own)
    if labels.planted_weight is not None:
        return f"{labels.dataset}: {NOT_KEPT}"
    log = cells.log[:, positions(cells.genes, labels.genes)]
    if cells.guides is not None:
        return _several_each(log, cells, labels, own)
    names = cells.obs["perturbation"].to_numpy(dtype=np.str_)
    control = names == CONTROL
    return _one_each(log, np.where(control, -1, positions(labels.perturbations, names)), control, own)


def halves(stratum: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Random half of the cells (mask N), and half of every stratum; the odd cell of a stratum goes by lot.

    >>> halves(np.array([0, 0, 0, 0, 1, 1]), np.random.default_rng(0)).sum()
    3
    """
    values, at, size = np.unique(stratum, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(stratum.size), at))
    place = np.empty(stratum.size, dtype=np.int64)
    place[order] = np.arange(stratum.size) - np.repeat(np.cumsum(size) - size, size)
    return np.asarray((place + rng.integers(0, 2, values.size)[at]) % 2 == 0)


def half_outcomes(tested: TestedCells, rng: np.random.Generator) -> tuple[Differential, Differential]:
    """Outcomes of a random half of the cells and of the other half."""
    first = halves(tested.stratum, rng)
    return tested.outcome(first), tested.outcome(~first)


def _one_each(
    log: csr_matrix, group: NDArray[np.int64], control: NDArray[np.bool_], own: NDArray[np.int64]
) -> TestedCells:
    """Cells of one perturbation each; those of a perturbation without labels are left out."""
    perturbations = own.shape[0]
    stratum = np.where(control, perturbations, group)
    held = stratum >= 0
    return TestedCells(
        log=log[held],
        members=membership(stratum[held], perturbations + 1),
        against_rest=False,
        own=own,
        stratum=stratum[held],
    )


def _several_each(log: csr_matrix, cells: PreparedCells, labels: ScreenLabels, own: NDArray[np.int64]) -> TestedCells:
    """Cells of several perturbations each: one split of all of them serves every perturbation."""
    from scipy import sparse

    names, held = guide_holders(cells, TARGET, "gene")
    everyone = sparse.csr_matrix(np.ones((1, log.shape[0])))
    return TestedCells(
        log=log,
        members=sparse.vstack([held[positions(names, labels.perturbations)], everyone], format="csr"),
        against_rest=True,
        own=own,
        stratum=np.zeros(log.shape[0], dtype=np.int64),
    )
