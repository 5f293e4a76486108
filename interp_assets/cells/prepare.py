"""Prepared cells: raw counts read, checked, filtered, normalised once; control cells and scored genes chosen.

Every number that is dropped is counted in ``facts``; nothing here depends on where the file came from, so
that the data mirror and the data wheel give the same record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import CellsFormat, DatasetSpec, UniverseRule
from interp_assets.cells.gene_names import GeneNames
from interp_assets.cells.guides import without_perturbing_guide
from interp_assets.cells.outcome_tables import perturbed_genes
from interp_assets.cells.read_cells import CellsError, ReadCells, Where, read_cells
from interp_assets.cells.records import PreparedCells
from interp_assets.cells.universe import choose_universe

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CONTROL = "control"
MIN_CONTROL = 2


def prepare(
    spec: DatasetSpec,
    path: Path,
    *,
    gene_names: GeneNames | None = None,
    forced: Collection[str] = (),
    orthologs: Mapping[str, str] | None = None,
    guide_table: pd.DataFrame | None = None,
) -> PreparedCells:
    """Quality-controlled cells of one dataset of kind ``cells``.

    Parameters
    ----------
    spec
        Declared dataset; its ``cells`` and ``universe`` sections rule.
    path
        The located h5ad file.
    gene_names
        Known symbols; None leaves symbols unchecked, which ``facts`` then says.
    forced
        Genes scored whatever their variance (a panel, or the genes of a screen).
    orthologs
        Human symbol of the genes of another species; needed where the dataset names ``cells.orthologs``.
    guide_table
        What each guide perturbs (`guides.read_guide_table`); needed where the dataset names ``cells.guides``.

    Raises
    ------
    DataFileError
        If the file is not a readable h5ad.
    CellsError
        For values that are not counts, an absent column or control label, too many unknown genes, repeated
        cell names, or nothing left.
    """
    if spec.cells is None or spec.universe is None:
        raise CellsError(f"{spec.file}: key `cells`: dataset {spec.id!r} of kind {spec.kind} holds no cells.")
    where = Where(spec, path)
    cells = _filter(read_cells(spec.cells, where, gene_names, orthologs, guide_table), spec.cells, where)
    candidates, obs = _control_candidates(cells, spec.cells, where)
    names = obs.index.to_numpy(dtype=np.str_)
    control = sample_cells(candidates, spec.cells.control_cells, spec.cells.control_seed)
    if int(control.sum()) < MIN_CONTROL:
        raise where.error(
            "cells",
            f"{int(control.sum())} control cell of {candidates.size} cells; no variance and no correlation comes from "
            f"fewer than {MIN_CONTROL}. Name more cells by `control_label`, `control_cells` or `guides.min_umi`.",
        )
    log = normalised_log(cells.counts, cells.totals)
    if spec.universe.forced == "perturbed" and "perturbation" in obs:
        named = {gene for name in obs["perturbation"].unique() for gene in perturbed_genes(name)}
        forced = [*forced, *sorted(named - {CONTROL})]
    try:
        universe, universe_facts = choose_universe(log[control], cells.genes, spec.universe, forced)
    except ValueError as error:
        raise where.error("universe", str(error)) from error
    return PreparedCells(
        dataset=spec.id,
        species=spec.species,
        data_origin=spec.data_origin,
        counts=cells.counts,
        log=log,
        genes=cells.genes,
        obs=obs,
        control=control,
        cells_hash=cells_hash(names[control]),
        universe=universe,
        guides=cells.guides,
        guide_table=cells.guide_table,
        facts=cells.facts
        | {"control_candidates": int(candidates.sum()), "control_cells": int(control.sum())}
        | universe_facts,
    )


def rescored(cells: PreparedCells, *, dataset: str, rule: UniverseRule, forced: Collection[str] = ()) -> PreparedCells:
    """The same cells under another dataset's name with another scored universe.

    For outcome-only screens: their control cells are named from elsewhere, their genes are their own.

    Raises
    ------
    ValueError
        If no gene of the rule is measured in these cells.
    """
    try:
        universe, facts = choose_universe(cells.log[cells.control], cells.genes, rule, forced)
    except ValueError as error:
        raise CellsError(f"dataset {dataset!r} on the cells of {cells.dataset!r}: {error}") from error
    return replace(cells, dataset=dataset, universe=universe, facts=cells.facts | facts | {"cells_from": cells.dataset})


def normalised_log(counts: csr_matrix, totals: NDArray[np.float64] | None = None) -> csr_matrix:
    """Natural log1p of counts per 10,000 of the cell's total (default: over the genes of `counts`), float32 CSR."""
    if totals is None:
        totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    log = counts.astype(np.float64)
    log.data = np.log1p(log.data / np.repeat(totals, np.diff(log.indptr)) * 1e4)
    return log.astype(np.float32)


def sample_cells(candidates: NDArray[np.bool_], wanted: int, seed: int) -> NDArray[np.bool_]:
    """Mask of a sample without replacement among candidate cells; 0, or more than there are, takes all."""
    positions = np.flatnonzero(candidates)
    if wanted == 0 or wanted >= positions.size:
        return candidates.copy()
    chosen = np.random.default_rng([seed, positions.size]).choice(positions, size=wanted, replace=False)
    mask = np.zeros(candidates.size, dtype=bool)
    mask[chosen] = True
    return mask


def cells_hash(names: Sequence[str] | NDArray[np.str_]) -> str:
    """Sha256 over the ordered cell names, one a line."""
    return hashlib.sha256("\n".join(map(str, names)).encode()).hexdigest()


def _filter(cells: ReadCells, form: CellsFormat, where: Where) -> ReadCells:
    detected = np.diff(cells.counts.indptr)
    keep_cells = detected >= max(1, form.min_genes_per_cell)  # a cell of no count cannot be normalised
    kept = cells.kept(keep_cells)
    seen = np.bincount(kept.counts.indices, minlength=kept.counts.shape[1])
    keep_genes = seen >= form.min_cells_per_gene
    if not keep_cells.any() or not keep_genes.any():
        raise where.error(
            "cells.min_genes_per_cell",
            f"nothing is left: {int(keep_cells.sum())} of {keep_cells.size} cells and "
            f"{int(keep_genes.sum())} of {keep_genes.size} genes pass. Lower min_genes_per_cell or "
            "min_cells_per_gene, or check the matrix.",
        )
    facts = kept.facts | {
        "cells_dropped_few_genes": int((~keep_cells).sum()),
        "genes_dropped_few_cells": int((~keep_genes).sum()),
        "cells": int(keep_cells.sum()),
        "genes": int(keep_genes.sum()),
    }
    return replace(kept, counts=kept.counts[:, keep_genes].tocsr(), genes=kept.genes[keep_genes], facts=facts)


def _control_candidates(cells: ReadCells, form: CellsFormat, where: Where) -> tuple[NDArray[np.bool_], pd.DataFrame]:
    """Mask of control cells, and the cells' columns with their label written as `CONTROL`.

    Where cells hold several guides, a control cell holds no guide that perturbs anything.
    """
    obs = cells.obs
    if cells.guides is not None and cells.guide_table is not None:
        free = without_perturbing_guide(cells.guides, cells.guide_table)
        if not free.any():
            raise where.error("cells.guides", "every cell holds a perturbing guide. Raise `min_umi`.")
        return free, obs
    if not form.control_label:
        return np.ones(len(obs), dtype=bool), obs
    labels = obs["perturbation"]
    control = (labels == form.control_label).to_numpy(dtype=bool)
    if not control.any():
        values = sorted(labels.unique())
        raise where.error(
            "cells.control_label",
            f"no cell is labelled {form.control_label!r}; labels: {', '.join(values[:8])}"
            f"{' ...' if len(values) > 8 else ''}. Name the control label of this file.",
        )
    if form.control_label != CONTROL and (other := int((labels == CONTROL).sum())):
        raise where.error(
            "cells.control_label",
            f"is {form.control_label!r}, but {other} cells are labelled {CONTROL!r}, which is what control cells are "
            "called here. Rename that label in the file, or leave those cells out by `cells.keep`.",
        )
    return control, obs.assign(perturbation=labels.mask(control, CONTROL))
