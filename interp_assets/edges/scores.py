"""Edge scores that need no model: absolute Spearman, two trivial pairwise baselines, and token order.

All are genes x genes in universe order, symmetric but for token order, and computed over exactly the sampled control
cells; ``cells_hash`` travels with them. The diagonal is a self pair and is never scored downstream.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import EdgeMatrix

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Genes whose products are made at once: 128 MiB.
BLOCK = 4096


def signed_spearman_edges(cells: PreparedCells, genes: NDArray[np.str_] | None = None) -> EdgeMatrix:
    """Spearman correlation of every gene pair with its sign (equal to ``scipy.stats.spearmanr``).

    Mid-ranks once for each gene, then products of the standardised ranks in float64, a block of genes at a time: beside
    the result it holds the ranks and one block. A gene that is constant over the cells has no rank correlation: its
    row and column are NaN.

    Parameters
    ----------
    genes
        Genes to score, default the universe.
    """
    chosen = cells.universe if genes is None else genes
    log = _control_columns(cells, cells.log, chosen)
    ranks = _centred_midranks(log)
    norm = np.sqrt(np.einsum("cg,cg->g", ranks, ranks))
    constant = norm == 0
    ranks /= np.where(constant, 1.0, norm)
    score = _inner_products(ranks)
    score[constant] = np.nan
    score[:, constant] = np.nan
    return EdgeMatrix(
        name="correlation_signed",
        genes=chosen,
        score=score,
        cells_behind=np.broadcast_to(np.int32(log.shape[0]), score.shape),
        cells_hash=cells.cells_hash,
        facts={"method": "Spearman, mid-ranks", "constant_genes": int(constant.sum())},
    )


def spearman_edges(cells: PreparedCells, genes: NDArray[np.str_] | None = None) -> EdgeMatrix:
    """Absolute Spearman correlation of every gene pair: the edge score that attention is held against."""
    return absolute_edges(signed_spearman_edges(cells, genes))


def absolute_edges(signed: EdgeMatrix) -> EdgeMatrix:
    """Strength of a signed correlation, whatever its direction."""
    return replace(
        signed,
        name="correlation",
        score=np.abs(signed.score),
        facts={**signed.facts, "method": f"absolute {signed.facts['method']}"},
    )


def rank_distance_edges(cells: PreparedCells, genes: NDArray[np.str_] | None = None) -> EdgeMatrix:
    """Minus the mean absolute difference of within-cell expression ranks, over cells that detect both genes.

    Rank-value models put genes in the order of counts over the gene's non-zero median; heads that look at
    neighbours in that order score pairs of similar rank. In each cell the detected genes of the list get
    mid-ranks of that ratio, divided by their number. The score is at most 0; NaN where no cell detects
    both.

    ``cells_behind`` counts the cells that detect both genes.
    """
    chosen = cells.universe if genes is None else genes
    counts = _control_columns(cells, cells.counts, chosen)
    totals = np.asarray(cells.counts[cells.control].sum(axis=1), dtype=np.float64).ravel()
    relative = _median_scaled(counts, totals)
    ranks = _within_cell_ranks(relative)
    distance = _pairwise_distance(relative.indptr, relative.indices, ranks, len(chosen))
    together = _together(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(together > 0, -distance / together, np.nan).astype(np.float32)
    return EdgeMatrix(
        name="rank_distance",
        genes=chosen,
        score=score,
        cells_behind=together,
        cells_hash=cells.cells_hash,
        facts={"method": "minus mean absolute difference of median-scaled within-cell ranks"},
    )


def co_detection_edges(cells: PreparedCells, genes: NDArray[np.str_] | None = None) -> EdgeMatrix:
    """Share of cells that detect both genes."""
    chosen = cells.universe if genes is None else genes
    counts = _control_columns(cells, cells.counts, chosen)
    together = _together(counts)
    return EdgeMatrix(
        name="co_detection",
        genes=chosen,
        score=(together / max(1, counts.shape[0])).astype(np.float32),
        cells_behind=np.broadcast_to(np.int32(counts.shape[0]), together.shape),
        cells_hash=cells.cells_hash,
        facts={"method": "share of cells that detect both genes"},
    )


def precedence_edges(cells: PreparedCells, genes: NDArray[np.str_] | None = None) -> EdgeMatrix:
    """Share of the cells that detect both genes in which the first one comes before the second; not symmetric.

    Order is by counts over the gene's non-zero median, highest first: the token order of rank-value models and, up
    to the scaling, of gene sentences. Equal values count one half. In a model whose positions see earlier ones
    alone this order decides which attention can exist. NaN where no cell detects both.
    """
    chosen = cells.universe if genes is None else genes
    counts = _control_columns(cells, cells.counts, chosen)
    totals = np.asarray(cells.counts[cells.control].sum(axis=1), dtype=np.float64).ravel()
    relative = _median_scaled(counts, totals)
    twice = np.zeros((len(chosen), len(chosen)), dtype=np.int32)
    for start, end in zip(relative.indptr[:-1], relative.indptr[1:], strict=True):
        here, values = relative.indices[start:end], relative.data[start:end]
        above = values[:, None] > values[None, :]
        twice[np.ix_(here, here)] += 1 + above.astype(np.int32) - above.T
    together = _together(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(together > 0, twice / (2.0 * together), np.nan).astype(np.float32)
    return EdgeMatrix(
        name="token_order",
        genes=chosen,
        score=score,
        cells_behind=together,
        cells_hash=cells.cells_hash,
        facts={"method": "share of cells in which the first gene comes first by median-scaled expression"},
    )


def restrict_edges(edges: EdgeMatrix, genes: NDArray[np.str_]) -> EdgeMatrix:
    """The same scores over fewer genes, in the order given.

    Raises
    ------
    ValueError
        If a gene is not scored.
    """
    at = _positions(edges.genes, genes, edges.name)
    both = np.ix_(at, at)
    return EdgeMatrix(
        name=edges.name,
        genes=genes,
        score=edges.score[both],
        cells_behind=edges.cells_behind[both],
        cells_hash=edges.cells_hash,
        layer=edges.layer,
        facts=edges.facts,
    )


def _control_columns(cells: PreparedCells, matrix: csr_matrix, genes: NDArray[np.str_]) -> csr_matrix:
    columns = matrix[cells.control][:, _positions(cells.genes, genes, cells.dataset)].tocsr()
    columns.sort_indices()
    return columns


def _positions(names: NDArray[np.str_], wanted: NDArray[np.str_], where: str) -> NDArray[np.int64]:
    at = pd.Index(names.astype(object)).get_indexer(wanted.astype(object))
    if (at < 0).any():
        missing = wanted[at < 0]
        raise ValueError(f"{where}: {missing.size} of {wanted.size} genes are not there, such as {str(missing[0])!r}.")
    return at.astype(np.int64)


def _centred_midranks(log: csr_matrix) -> NDArray[np.float64]:
    """Mid-ranks of every column less their mean; zeros share the lowest, so that only the rest is sorted."""
    from interp_assets.edges.rank_kernel import centred_midranks

    by_gene = log.tocsc()
    order = np.empty(by_gene.nnz, dtype=np.int64)
    for start, end in itertools.pairwise(by_gene.indptr):
        order[start:end] = start + np.argsort(by_gene.data[start:end])
    return centred_midranks(by_gene.indptr, by_gene.indices, by_gene.data, order, log.shape[0])


def _inner_products(columns: NDArray[np.float64]) -> NDArray[np.float32]:
    """Products of every pair of unit columns within -1 and 1, symmetric."""
    size = columns.shape[1]
    score = np.empty((size, size), dtype=np.float32)
    for start in range(0, size, BLOCK):
        left = columns[:, start : start + BLOCK]
        for other in range(start, size, BLOCK):
            block = left.T @ columns[:, other : other + BLOCK]
            np.clip(block, -1.0, 1.0, out=block)
            score[start : start + BLOCK, other : other + BLOCK] = block
            score[other : other + BLOCK, start : start + BLOCK] = block.T
    return score


def _together(counts: csr_matrix) -> NDArray[np.int32]:
    """Cells that detect both genes; float32 sums of ones are exact up to 16.7 million cells."""
    seen = (counts > 0).astype(np.float32).toarray()
    return np.rint(seen.T @ seen).astype(np.int32)


def _median_scaled(counts: csr_matrix, totals: NDArray[np.float64]) -> csr_matrix:
    """Counts per library over each gene's median among the cells that detect it."""
    scaled = counts.astype(np.float64)
    scaled.data = scaled.data / np.repeat(totals, np.diff(scaled.indptr))
    by_gene = scaled.tocsc()
    medians = np.ones(counts.shape[1])
    for gene in range(counts.shape[1]):
        values = by_gene.data[by_gene.indptr[gene] : by_gene.indptr[gene + 1]]
        if values.size:
            medians[gene] = np.median(values)
    scaled.data = scaled.data / medians[scaled.indices]
    return scaled


def _within_cell_ranks(relative: csr_matrix) -> NDArray[np.float64]:
    """Mid-rank of every stored value within its cell, divided by the number of detected genes there."""
    from scipy.stats import rankdata

    ranks = np.empty(relative.data.size)
    for start, end in zip(relative.indptr[:-1], relative.indptr[1:], strict=True):
        if end > start:
            ranks[start:end] = rankdata(relative.data[start:end]) / (end - start)
    return ranks


def _pairwise_distance(
    indptr: NDArray[np.integer], indices: NDArray[np.integer], ranks: NDArray[np.float64], genes: int
) -> NDArray[np.float64]:
    """Sum over cells of |rank_i - rank_j| where both are detected."""
    from interp_assets.edges.rank_kernel import pairwise_absolute_difference

    upper = pairwise_absolute_difference(indptr.astype(np.int64), indices.astype(np.int64), ranks, genes)
    return upper + upper.T
