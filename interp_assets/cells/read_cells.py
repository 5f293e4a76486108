"""Cells read from an h5ad file: counts, names and columns checked, cells chosen, genes renamed, guides joined.

What belongs here: everything that looks into the file. What does not: filters by detection, normalisation, control
cells and scored genes (`prepare`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import CellsFormat, DatasetSpec, GuidesFormat
from interp_assets.cells.dataset_sections import LABELS
from interp_assets.cells.gene_names import GeneNames, symbols_of
from interp_assets.cells.guides import held_guides
from interp_assets.cells.integrity import DataFileError
from interp_assets.cells.outcome_tables import PAIRED, perturbed_genes
from interp_assets.cells.perturbation_labels import gene_labels
from interp_assets.cells.text_tables import plain_names, refuse_unusable
from qc_standards.h5ad_files import open_h5ad

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix


class CellsError(ValueError):
    """Cells cannot be prepared; the message names the file, the key and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCells:
    """Cells being prepared; ``totals`` is each cell's library size where the matrix itself does not give it."""

    counts: csr_matrix
    genes: NDArray[np.str_]
    obs: pd.DataFrame
    facts: dict[str, Any]
    totals: NDArray[np.float64] | None = None
    guides: csr_matrix | None = None
    guide_table: pd.DataFrame | None = None

    def kept(self, cells: NDArray[np.bool_]) -> ReadCells:
        """The cells under a mask."""
        return replace(
            self,
            counts=self.counts[cells],
            obs=self.obs.loc[cells],
            totals=None if self.totals is None else self.totals[cells],
            guides=None if self.guides is None else self.guides[cells],
        )


@dataclass(frozen=True, slots=True)
class Where:
    """The file, dataset and declaration that errors point to."""

    spec: DatasetSpec
    path: Path

    def error(self, key: str, problem: str) -> CellsError:
        """Error that names the file, the dataset and the key."""
        return CellsError(f"{self.path} (dataset {self.spec.id}, key `{key}` of {self.spec.file.name}): {problem}")


def read_cells(
    form: CellsFormat,
    where: Where,
    gene_names: GeneNames | None,
    orthologs: Mapping[str, str] | None,
    guide_table: pd.DataFrame | None,
) -> ReadCells:
    """Cells of one file as the declaration asks for them; every refusal is a `CellsError` that names the key."""
    data, left_out = _labelled(_raw(_opened(where), form, where), form, where)
    counts = _counts(data, form, where)
    genes, facts = _genes(_identifiers(data, form, where), form, where, gene_names)
    facts |= {"cells_read": data.n_obs, "genes_read": data.n_vars, **left_out}
    cells = ReadCells(
        counts=counts,
        genes=genes,
        obs=_obs(data.obs, form, where),
        facts=facts,
        totals=_total_counts(data.obs, counts, form, where) if form.total_counts else None,
    )
    if form.guides is not None:
        cells = _with_guides(cells, data, form.guides, guide_table, where)
    if form.early:
        early = _meeting(data.obs, form, "early", where)
        cells = replace(cells, obs=cells.obs.assign(early=np.where(early, "yes", "no").astype(object)))
    if form.keep:
        keep = _meeting(data.obs, form, "keep", where)
        cells = replace(cells.kept(keep), facts=cells.facts | {"cells_dropped_keep": int((~keep).sum())})
    if form.orthologs:
        cells = _renamed(cells, orthologs, form.orthologs, where)
    unique, position = np.unique(cells.genes, return_inverse=True)
    summed = len(cells.genes) - len(unique)
    cells = replace(cells, facts=cells.facts | {"genes_summed": summed})
    if summed:
        counts, genes = _sum_duplicates(cells.counts, cells.genes, position, where)
        cells = replace(cells, counts=counts, genes=genes)
    return cells


def _opened(where: Where) -> AnnData:
    import anndata

    try:
        with warnings.catch_warnings():
            # Files of older anndata versions warn once an element; they read the same.
            warnings.simplefilter("ignore", anndata.OldFormatWarning)
            data = open_h5ad(where.path)
    except ValueError as error:
        raise DataFileError(
            f"{where.path}: not a readable h5ad file ({error}). Replace it by an intact copy (dataset {where.spec.id})."
        ) from error
    if 0 in data.shape:
        raise where.error(
            "sources", f"the matrix is empty, {data.n_obs} cells x {data.n_vars} genes. Name another file."
        )
    if not data.obs_names.is_unique:
        raise where.error("sources", "cell names repeat. Make obs_names unique.")
    try:
        refuse_unusable(map(str, data.obs_names), "cell")
    except ValueError as error:
        raise where.error("sources", f"{error}. Rename it in obs_names.") from error
    return data


def _identifiers(data: AnnData, form: CellsFormat, where: Where) -> list[str]:
    """How the file names its genes: by its index, or by the column that is named.

    A gene without an entry in that column keeps the name it has in the index.
    """
    column = _gene_column(data, form, where) if form.gene_column else data.var_names
    try:
        own, named = (plain_names(names, "gene") for names in (data.var_names, column))
    except ValueError as error:
        raise where.error("cells.gene_column" if form.gene_column else "sources", f"{error}. Rename it.") from error
    genes = np.where(named == "", own, named)
    if (genes == "").any():
        raise where.error("sources", f"{int((genes == '').sum())} genes have no name. Name them in var_names.")
    return [str(gene) for gene in genes]


def _gene_column(data: AnnData, form: CellsFormat, where: Where) -> pd.Series:
    if form.gene_column not in data.var.columns:
        columns = ", ".join(map(str, data.var.columns)) or "none"
        raise where.error("cells.gene_column", f"genes have no column {form.gene_column}; columns: {columns}.")
    return data.var[form.gene_column]


def _raw(data: AnnData, form: CellsFormat, where: Where) -> AnnData:
    """The file's cells, with the matrix and genes under its ``raw`` where those are asked for."""
    if form.counts != "raw":
        return data
    if data.raw is None:
        raise where.error("cells.counts", "the file has no raw. Name X or layers/<name>.")
    return data.raw.to_adata()


def _labelled(data: AnnData, form: CellsFormat, where: Where) -> tuple[AnnData, dict[str, Any]]:
    """Cells that have a label, under names of genes, and how many have none."""
    if form.labels is None:
        return data, {}
    try:
        labels, kept = gene_labels(data.obs, form.labels)
    except ValueError as error:
        raise where.error("cells.labels", str(error)) from error
    if not kept.any():
        raise where.error("cells.labels", "no cell has a label. Check the columns and words.")
    labelled = data[kept].copy() if not kept.all() else data
    labelled.obs[LABELS] = labels[kept].to_numpy(dtype=object)
    return labelled, {"cells_without_label": int((~kept).sum())}


def _column(obs: pd.DataFrame, column: str, key: str, where: Where) -> pd.Series:
    if column not in obs.columns:
        columns = ", ".join(map(str, obs.columns)) or "none"
        raise where.error(key, f"no column {column}; columns: {columns}.")
    return obs[column]


def _total_counts(obs: pd.DataFrame, counts: csr_matrix, form: CellsFormat, where: Where) -> NDArray[np.float64]:
    """Total over all genes of every cell; a panel holds at most that many counts."""
    key = "cells.total_counts"
    totals = pd.to_numeric(_column(obs, form.total_counts, key, where), errors="coerce").to_numpy(np.float64)
    panel = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    if not np.isfinite(totals).all() or (totals <= 0).any():
        raise where.error(key, f"column {form.total_counts} holds entries that are no positive numbers.")
    if (totals < panel).any():
        raise where.error(
            key, f"column {form.total_counts} is below the counts of the matrix in {int((totals < panel).sum())} cells."
        )
    return totals


def _meeting(obs: pd.DataFrame, form: CellsFormat, key: Literal["keep", "early"], where: Where) -> NDArray[np.bool_]:
    """Mask of the cells that meet every rule of ``keep`` or ``early``; a value that is no number is outside any bounds.

    A rule on one of our columns (``cells.obs``) holds for whichever of its columns the file has.
    """
    keep = np.ones(len(obs), dtype=bool)
    for column, rule in (form.keep if key == "keep" else form.early).items():
        named = next((name for name in form.obs.get(column, ()) if name in obs.columns), column)
        values = _column(obs, named, f"cells.{key}.{column}", where)
        if rule.values:
            keep &= values.astype(str).isin(rule.values).to_numpy(dtype=bool)
            continue
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
        low = -np.inf if rule.minimum is None else rule.minimum
        high = np.inf if rule.maximum is None else rule.maximum
        keep &= (numbers >= low) & (numbers <= high)
    if not keep.any():
        raise where.error(f"cells.{key}", "no cell meets every rule. Correct the values or bounds.")
    return keep


def _with_guides(
    cells: ReadCells, data: AnnData, form: GuidesFormat, table: pd.DataFrame | None, where: Where
) -> ReadCells:
    if table is None:
        raise where.error("cells.guides.table", f"the guide table {form.table} was not handed in.")
    try:
        guides, ordered = held_guides(data, form, table)
    except ValueError as error:
        raise where.error("cells.guides", str(error)) from error
    return replace(cells, guides=guides, guide_table=ordered)


def _renamed(cells: ReadCells, orthologs: Mapping[str, str] | None, table: str, where: Where) -> ReadCells:
    """Cells and perturbations under human gene names; the counts of dropped genes stay in the library size.

    A perturbed gene without a one-to-one ortholog keeps its name, and so does the control label.
    """
    if orthologs is None:
        raise where.error("cells.orthologs", f"the table {table} was not handed in.")
    known = np.array([gene in orthologs for gene in cells.genes.tolist()])
    if not known.any():
        raise where.error("cells.orthologs", f"no gene has a one-to-one ortholog in {table}. Check the species.")
    totals = cells.totals
    if totals is None:
        totals = np.asarray(cells.counts.sum(axis=1), dtype=np.float64).ravel()
    obs = cells.obs
    if "perturbation" in obs:
        human = {
            name: PAIRED.join(orthologs.get(gene, gene) for gene in perturbed_genes(name))
            for name in obs["perturbation"].unique()
        }
        obs = obs.assign(perturbation=obs["perturbation"].map(human))
    return replace(
        cells,
        counts=cells.counts[:, known].tocsr(),
        genes=np.array([orthologs[gene] for gene in cells.genes[known].tolist()], dtype=np.str_),
        obs=obs,
        totals=totals,
        facts=cells.facts | {"genes_without_ortholog": int((~known).sum()), "renamed_by": table},
    )


def _counts(data: AnnData, form: CellsFormat, where: Where) -> csr_matrix:
    from scipy.sparse import csr_matrix as csr

    kind, _, name = form.counts.partition("/")
    layers = sorted(data.layers.keys())
    if kind in ("X", "raw") and data.X is not None:
        held = data.X
    elif kind == "layers" and name in layers:
        held = data.layers[name]
    else:
        raise where.error("cells.counts", f"the file has no {form.counts}; layers: {', '.join(layers) or 'none'}.")
    try:
        matrix = csr(held)
        matrix.check_format(full_check=True)  # an index outside the matrix would be read from anywhere in memory
    except (TypeError, ValueError) as error:
        raise where.error("cells.counts", f"{form.counts} is no matrix of numbers ({error}).") from error
    if matrix.dtype.kind not in "biuf":
        raise where.error("cells.counts", f"{form.counts} holds {matrix.dtype}, no numbers.")
    hint = f"; layers: {', '.join(layers) or 'none'}"
    return checked_counts(matrix, lambda problem: where.error("cells.counts", problem), hint)


def checked_counts(matrix: csr_matrix, error: Callable[[str], CellsError], hint: str = "") -> csr_matrix:
    """The matrix as int32 with rising column indices and no stored zero; values that are no counts are refused.

    ``error`` makes the exception of a problem; ``hint`` says where counts may be instead.
    """
    values = matrix.data
    if not np.isfinite(values).all():
        raise error("the matrix holds NaN or infinite values. Raw counts are needed.")
    wrong = (values < 0) | (values != np.rint(values))
    if wrong.any():
        raise error(
            f"{wrong.mean():.1%} of the stored values are no counts, the first is {values[wrong][0]:.6g}; raw integer "
            f"counts are expected and this looks log-normalised or scaled. Name the place of the raw counts{hint}."
        )
    if values.size and values.max() > np.iinfo(np.int32).max:
        raise error("a count exceeds 2,147,483,647. Check the matrix.")
    matrix = matrix.astype(np.int32)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def _genes(
    identifiers: list[str], form: CellsFormat, where: Where, gene_names: GeneNames | None
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


def _obs(obs: pd.DataFrame, form: CellsFormat, where: Where) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for ours, theirs in form.obs.items():
        found = next((name for name in theirs if name in obs.columns), None)
        if found is None:
            raise where.error(
                f"cells.obs.{ours}",
                f"no column {' or '.join(theirs)}; columns: {', '.join(map(str, obs.columns)) or 'none'}.",
            )
        try:
            text = plain_names(obs[found], "label")
        except ValueError as error:
            raise where.error(f"cells.obs.{ours}", f"column {found}: {error}. Rename it.") from error
        if (text == "").any():
            raise where.error(
                f"cells.obs.{ours}", f"column {found} has missing or empty values. Fill or drop those cells."
            )
        columns[ours] = text
    return pd.DataFrame(columns, index=pd.Index(obs.index.astype(str), name="cell"))


def _sum_duplicates(
    counts: csr_matrix, genes: NDArray[np.str_], position: NDArray[np.intp], where: Where
) -> tuple[csr_matrix, NDArray[np.str_]]:
    """Counts with columns of one name added up, names in order of first appearance; a sum too large is refused."""
    from scipy.sparse import csr_matrix as csr

    _, first = np.unique(genes, return_index=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    adder = csr(
        (np.ones(genes.size, dtype=np.int64), (np.arange(genes.size), rank[position])),
        shape=(genes.size, order.size),
    )
    summed = (counts.astype(np.int64) @ adder).tocsr()
    summed = checked_counts(summed, lambda problem: where.error("sources", f"genes of one name are summed: {problem}"))
    return summed, genes[first[order]]
