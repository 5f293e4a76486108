"""Outcomes of a screen against control sets of several sizes, over all detected genes: what the sensitivity grid tests.

What belongs here: sums of expression by perturbation and by control set, and the sizes of these sets. What does not: a
model, its vocabulary, or any AUROC (`readings.sensitivity_grid`, `analyses.sensitivity_grid`).

Nothing here depends on a release, so that one table serves them all. Only sums are kept: a test of any genes against
any of the control sets follows from them, with the same bits as the labels of the screen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import DatasetSpec, UniverseRule
from interp_assets.cells.differential import Differential, LabelRule, compared
from interp_assets.cells.moments import CellSums, cell_sums, detection, membership, moments
from interp_assets.cells.outcome_tables import own_positions, positions
from interp_assets.cells.prepare import CONTROL, normalised_log, sample_cells
from interp_assets.cells.records import PreparedCells, Unavailable
from interp_assets.cells.universe import seurat_dispersion

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from interp_assets.cells.artefacts import Archive

# Published control cells 500, 2,000 and 10,000 around the primary 2,000 (paper 2.4).
CELL_FACTORS: Final = (0.25, 1.0, 5.0)
BASE: Final = 1
SEED: Final = 20
LEAST_CONTROL: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GridOutcomes:
    """Sums behind the outcomes of one screen for every control set of the grid.

    ``perturbations`` (P) are those of the screen's labels, ``genes`` (G) all that are scored or that
    any cell detects, in measured order.
    ``total`` and ``squares`` (P x G) are sums of log values over the ``cells`` (P) of each perturbation,
    ``control_total`` and ``control_squares`` (C x G) over the ``control_cells`` (C) of each control set, one for each
    of `CELL_FACTORS`. ``variability`` (G) orders genes like the universe rule does (NaN: none), ``share`` (G) is the
    share of edge cells that detect the gene. ``q`` and ``log_fold`` are the screen's own rule.
    """

    dataset: str
    perturbations: NDArray[np.str_]
    genes: NDArray[np.str_]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    cells: NDArray[np.int64]
    control_total: NDArray[np.float64]
    control_squares: NDArray[np.float64]
    control_cells: NDArray[np.int64]
    variability: NDArray[np.float64]
    share: NDArray[np.float64]
    min_detection: float
    q: float
    log_fold: float
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def rule(self) -> LabelRule:
        """Rule by which the screen calls its genes."""
        return LabelRule(q=self.q, log_fold=self.log_fold)

    def against(self, size: int, genes: NDArray[np.str_]) -> Differential:
        """Welch's t of every perturbation against control set ``size`` over some genes, BH among them.

        Raises
        ------
        ValueError
            If a gene is not known here.
        """
        at = positions(self.genes, genes)
        if (at < 0).any():
            raise ValueError(f"{self.dataset}: gene {genes[at < 0][0]} has no sums; take genes from `GridOutcomes`")
        groups = CellSums(self.total[:, at], self.squares[:, at], self.cells)
        own = slice(size, size + 1)
        control = CellSums(self.control_total[own, at], self.control_squares[own, at], self.control_cells[own])
        return compared(groups, control, own_positions(genes, self.perturbations))


def grid_outcomes(archive: Archive, name: str, cells: PreparedCells) -> GridOutcomes | Unavailable:
    """Sums of the screen ``name``; or why it has none: outcomes without cells, or no group of unperturbed cells."""
    spec = archive.datasets[name]
    found = _screen(archive, spec, cells)
    if not isinstance(found, _Screen):
        return Unavailable(name, found)
    kept, count = np.unique(found.names[~found.control], return_counts=True)
    kept = kept[count >= found.rule.min_cells]
    if not kept.size or int(found.control.sum()) < LEAST_CONTROL:
        return Unavailable(name, "no perturbation, or no control set, has enough cells for a test")
    seen = np.flatnonzero((detection(found.log) > 0) | np.isin(found.genes, cells.universe))
    log = found.log[:, seen]
    groups = cell_sums(log, membership(np.where(found.control, -1, positions(kept, found.names)), kept.size))
    masks = control_sets(found.control)
    against = [cell_sums(log, membership(np.where(mask, 0, -1), 1)) for mask in masks]
    edge_log = cells.log[cells.control][:, positions(cells.genes, found.genes[seen])]
    rule = spec.universe or UniverseRule()
    return GridOutcomes(
        dataset=name,
        perturbations=kept,
        genes=found.genes[seen],
        total=groups.total,
        squares=groups.squares,
        cells=groups.cells,
        control_total=np.concatenate([sums.total for sums in against]),
        control_squares=np.concatenate([sums.squares for sums in against]),
        control_cells=np.concatenate([sums.cells for sums in against]),
        variability=seurat_dispersion(edge_log) if rule.method == "seurat_dispersion" else moments(edge_log)[1],
        share=detection(edge_log),
        min_detection=rule.min_detection,
        q=found.rule.q,
        log_fold=found.rule.log_fold,
        facts={"factors": list(CELL_FACTORS), "perturbed_cells": int((~found.control).sum()), "seed": SEED},
    )


def control_sets(control: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Masks of the control sets cells are compared with: the screen's own scaled by each factor, capped at it.

    A screen compares with every unperturbed cell there is, so a larger set does not exist.
    """
    own = int(control.sum())
    wanted = [max(LEAST_CONTROL, round(own * factor)) for factor in CELL_FACTORS]
    return [sample_cells(control, count, SEED) if count < own else control for count in wanted]


def edge_sets(cells: PreparedCells, most: int = 0) -> list[NDArray[np.bool_]]:
    """Masks of the cells edge scores come from: the stored sample, a part of it, and as many more as there are.

    Nested. The larger set is filled from all unperturbed cells, up to ``most`` (0: no limit), so it never holds a
    perturbed one.
    """
    base, pool = cells.control, unperturbed(cells)
    own = int(base.sum())
    found = []
    for factor in CELL_FACTORS:
        wanted = max(LEAST_CONTROL, round(own * factor))
        wanted = min(wanted, max(most, own)) if most else wanted
        rest = pool & ~base
        if wanted < own:
            found.append(sample_cells(base, wanted, SEED))
        elif wanted == own or not rest.any():
            found.append(base)
        else:
            found.append(base | sample_cells(rest, wanted - own, SEED))
    return found


def unperturbed(cells: PreparedCells) -> NDArray[np.bool_]:
    """Mask of every cell nothing was done to; the control sample where the cells do not say."""
    from interp_assets.cells.artefacts import UNPERTURBED

    if UNPERTURBED in cells.obs:
        return cells.obs[UNPERTURBED].to_numpy(dtype=bool)
    if "perturbation" in cells.obs:
        return (cells.obs["perturbation"] == CONTROL).to_numpy(dtype=bool)
    return cells.control


@dataclass(frozen=True, slots=True, kw_only=True)
class _Screen:
    """Cells of a screen: their log values over ``genes``, what each carries, which are control, and the rule."""

    log: csr_matrix
    genes: NDArray[np.str_]
    names: NDArray[np.str_]
    control: NDArray[np.bool_]
    rule: LabelRule


def _screen(archive: Archive, spec: DatasetSpec, cells: PreparedCells) -> _Screen | str:
    if spec.kind == "planted":
        return _planted(archive, spec, cells)
    if spec.kind == "outcome_only":
        return "lists outcomes without cells, so no control set can be made smaller or larger"
    if cells.guides is not None:
        return "cells hold several guides and are compared with each other; there is no control set to scale"
    if "perturbation" not in cells.obs:
        return "nothing was perturbed in these cells"
    names = cells.obs["perturbation"].to_numpy(dtype=np.str_)
    return _Screen(log=cells.log, genes=cells.genes, names=names, control=names == CONTROL, rule=spec.differential)


def _planted(archive: Archive, spec: DatasetSpec, cells: PreparedCells) -> _Screen | str:
    """Planted again, bit for bit, because perturbed cells are not stored."""
    from scipy import sparse

    from interp_assets.cells.artefacts import planted_screen
    from interp_assets.cells.planted_network import control_pool

    found = planted_screen(archive, spec, cells)
    if isinstance(found, Unavailable):
        return found.reason
    everyone, screen = found
    rows = np.flatnonzero(control_pool(everyone, screen.params))
    names = np.concatenate([np.full(rows.size, CONTROL), screen.obs["perturbation"].to_numpy(dtype=np.str_)])
    params = screen.params
    return _Screen(
        log=sparse.vstack([everyone.log[rows], normalised_log(screen.counts)], format="csr"),
        genes=everyone.genes,
        names=names,
        control=np.arange(names.size) < rows.size,
        rule=LabelRule(q=params.q_threshold, log_fold=params.lfc_threshold, min_cells=params.min_cells),
    )
