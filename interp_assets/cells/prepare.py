"""Prepared cells: raw counts read, checked, filtered, normalised once; control cells and scored genes chosen.

Every number that is dropped is counted in ``facts``; nothing here depends on where the file came from, so
that the data mirror and the data wheel give the same record.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import CellsFormat, DatasetSpec, UniverseRule
from interp_assets.cells.gene_names import GeneNames, symbols_of
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.records import PreparedCells
from interp_assets.cells.universe import choose_universe

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

CONTROL = "control"


class CellsError(ValueError):
    """Cells cannot be prepared; the message names the file, the key and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cells:
    counts: csr_matrix
    genes: NDArray[np.str_]
    obs: pd.DataFrame
    facts: dict[str, Any]


def prepare(
    spec: DatasetSpec, path: Path, *, gene_names: GeneNames | None = None, forced: Collection[str] = ()
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
    where = _Where(spec, path)
    cells = _filter(_read(spec.cells, where, gene_names), spec.cells, where)
    candidates, obs = _control_candidates(cells.obs, spec.cells, where)
    names = obs.index.to_numpy(dtype=np.str_)
    control = sample_cells(candidates, spec.cells.control_cells, spec.cells.control_seed)
    log = normalised_log(cells.counts)
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


def normalised_log(counts: csr_matrix) -> csr_matrix:
    """Natural log1p of counts per 10,000 over all genes of `counts`, float32 CSR."""
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


@dataclass(frozen=True, slots=True)
class _Where:
    """The file, dataset and declaration that errors point to."""

    spec: DatasetSpec
    path: Path

    def error(self, key: str, problem: str) -> CellsError:
        return CellsError(f"{self.path} (dataset {self.spec.id}, key `{key}` of {self.spec.file.name}): {problem}")


def _read(form: CellsFormat, where: _Where, gene_names: GeneNames | None) -> _Cells:
    import anndata

    try:
        with warnings.catch_warnings():
            # Files of older anndata versions warn once an element; they read the same.
            warnings.simplefilter("ignore", anndata.OldFormatWarning)
            data = anndata.read_h5ad(where.path)
    except (OSError, KeyError, ValueError) as error:
        raise DataFileError(
            f"{where.path}: not a readable h5ad file ({error}). Replace it by an intact copy (dataset {where.spec.id})."
        ) from error
    if 0 in data.shape:
        raise where.error(
            "sources", f"the matrix is empty, {data.n_obs} cells x {data.n_vars} genes. Name another file."
        )
    counts = _counts(data, form, where)
    genes, facts = _genes(list(map(str, data.var_names)), form, where, gene_names)
    if not data.obs_names.is_unique:
        raise where.error("sources", "cell names repeat. Make obs_names unique.")
    obs = _obs(data.obs, form, where)
    facts |= {"cells_read": data.n_obs, "genes_read": data.n_vars}
    unique, position = np.unique(genes, return_inverse=True)
    facts["genes_summed"] = len(genes) - len(unique)
    if facts["genes_summed"]:
        counts, genes = _sum_duplicates(counts, genes, position)
    return _Cells(counts=counts, genes=genes, obs=obs, facts=facts)


def _counts(data: AnnData, form: CellsFormat, where: _Where) -> csr_matrix:
    from scipy.sparse import csr_matrix as csr

    kind, _, name = form.counts.partition("/")
    layers = sorted(data.layers.keys())
    if kind == "X" and data.X is not None:
        matrix = csr(data.X)
    elif kind == "layers" and name in layers:
        matrix = csr(data.layers[name])
    else:
        raise where.error("cells.counts", f"the file has no {form.counts}; layers: {', '.join(layers) or 'none'}.")
    values = matrix.data
    if not np.isfinite(values).all():
        raise where.error("cells.counts", "the matrix holds NaN or infinite values. Raw counts are needed.")
    wrong = (values < 0) | (values != np.rint(values))
    if wrong.any():
        raise where.error(
            "cells.counts",
            f"{wrong.mean():.1%} of the stored values are no counts, the first is {values[wrong][0]:.6g}; "
            "raw integer "
            "counts are expected and this looks log-normalised or scaled. Name the place of the raw "
            "counts; layers: "
            f"{', '.join(layers) or 'none'}.",
        )
    if values.size and values.max() > np.iinfo(np.int32).max:
        raise where.error("cells.counts", "a count exceeds 2,147,483,647. Check the matrix.")
    matrix = matrix.astype(np.int32)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def _genes(
    identifiers: list[str], form: CellsFormat, where: _Where, gene_names: GeneNames | None
) -> tuple[NDArray[np.str_], dict[str, Any]]:
    try:
        genes, unknown = symbols_of(identifiers, form.gene_id, gene_names)
    except ValueError as error:
        raise where.error("cells.gene_table", str(error)) from error
    facts: dict[str, Any] = {
        "genes_unknown": unknown,
        "gene_table": gene_names.table if gene_names else "not checked",
    }
    if unknown / len(identifiers) > form.max_unknown_genes:
        examples = ", ".join(identifiers[:3])
        raise where.error(
            "cells.max_unknown_genes",
            f"{unknown} of {len(identifiers)} gene ids are unknown to {facts['gene_table']} (such as "
            f"{examples}), at most "
            f"{form.max_unknown_genes:.0%} may be. Set `cells.gene_id` to symbol or ensembl, or the right "
            "species.",
        )
    return genes, facts


def _obs(obs: pd.DataFrame, form: CellsFormat, where: _Where) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for ours, theirs in form.obs.items():
        found = next((name for name in theirs if name in obs.columns), None)
        if found is None:
            raise where.error(
                f"cells.obs.{ours}",
                f"no column {' or '.join(theirs)}; columns: {', '.join(map(str, obs.columns)) or 'none'}.",
            )
        if obs[found].isna().any():
            raise where.error(f"cells.obs.{ours}", f"column {found} has missing values. Fill or drop those cells.")
        columns[ours] = obs[found].astype(str).to_numpy(dtype=object)
    return pd.DataFrame(columns, index=pd.Index(obs.index.astype(str), name="cell"))


def _sum_duplicates(
    counts: csr_matrix, genes: NDArray[np.str_], position: NDArray[np.intp]
) -> tuple[csr_matrix, NDArray[np.str_]]:
    """Counts with columns of one name added up, names in order of first appearance."""
    from scipy.sparse import csr_matrix as csr

    _, first = np.unique(genes, return_index=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    adder = csr(
        (np.ones(genes.size, dtype=np.int32), (np.arange(genes.size), rank[position])),
        shape=(genes.size, order.size),
    )
    summed = (counts @ adder).tocsr().astype(np.int32)
    summed.sort_indices()
    return summed, genes[first[order]]


def _filter(cells: _Cells, form: CellsFormat, where: _Where) -> _Cells:
    detected = np.diff(cells.counts.indptr)
    keep_cells = detected >= max(1, form.min_genes_per_cell)  # a cell of no count cannot be normalised
    counts = cells.counts[keep_cells]
    seen = np.bincount(counts.indices, minlength=counts.shape[1])
    keep_genes = seen >= form.min_cells_per_gene
    if not keep_cells.any() or not keep_genes.any():
        raise where.error(
            "cells.min_genes_per_cell",
            f"nothing is left: {int(keep_cells.sum())} of {keep_cells.size} cells and "
            f"{int(keep_genes.sum())} of "
            f"{keep_genes.size} genes pass. Lower min_genes_per_cell or min_cells_per_gene, or check the "
            "matrix.",
        )
    facts = cells.facts | {
        "cells_dropped_few_genes": int((~keep_cells).sum()),
        "genes_dropped_few_cells": int((~keep_genes).sum()),
        "cells": int(keep_cells.sum()),
        "genes": int(keep_genes.sum()),
    }
    return _Cells(
        counts=counts[:, keep_genes].tocsr(),
        genes=cells.genes[keep_genes],
        obs=cells.obs.loc[keep_cells],
        facts=facts,
    )


def _control_candidates(obs: pd.DataFrame, form: CellsFormat, where: _Where) -> tuple[NDArray[np.bool_], pd.DataFrame]:
    """Mask of control cells, and the cells' columns with their label written as `CONTROL`."""
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
    return control, obs.assign(perturbation=labels.mask(control, CONTROL))
