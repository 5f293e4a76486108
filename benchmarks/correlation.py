"""Spearman correlation of every pair of scored genes, and how it grows with the genes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.growth import Growth
from benchmarks.paired import Path, Ways

if TYPE_CHECKING:
    from interp_assets.cells.records import PreparedCells
    from interp_assets.edges.records import EdgeMatrix

CELLS, GENES = 1500, 2000


def control_cells(cells: int, genes: int, rate: float = -1.0) -> PreparedCells:
    """Control cells with counts of very different genes; two cells in five detect a gene, by default."""
    import pandas as pd
    from scipy.sparse import csr_matrix, vstack

    from interp_assets.cells.prepare import normalised_log
    from interp_assets.cells.records import PreparedCells

    rng = np.random.default_rng(0)
    mean = rng.lognormal(rate, 1.5, genes)
    rows = [csr_matrix(rng.poisson(mean * rng.lognormal(0.0, 0.4)).astype(np.int32)) for _ in range(cells)]
    counts = vstack(rows, format="csr")
    names = np.array([f"G{number:05d}" for number in range(genes)])
    return PreparedCells(
        dataset="benchmark",
        species="human",
        data_origin="simulated",
        counts=counts,
        log=normalised_log(counts),
        genes=names,
        obs=pd.DataFrame(index=[f"cell-{number}" for number in range(cells)]),
        control=np.ones(cells, dtype=bool),
        cells_hash="benchmark",
        universe=names,
    )


def by_scipy(cells: int = CELLS, genes: int = GENES) -> Ways:
    """The edge score of the platform against one call of scipy on the dense matrix."""
    from scipy.stats import spearmanr

    from interp_assets.edges.scores import signed_spearman_edges

    held = control_cells(cells, genes)
    dense = held.log.toarray()
    return Ways(
        ours=lambda: signed_spearman_edges(held).score,
        theirs=lambda: spearmanr(dense).statistic,
        agree=same_correlation,
        warm=lambda: signed_spearman_edges(held, held.universe[:8]),
    )


def same_correlation(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Equal to the last figure of float32, with the same genes without a value."""
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    largest = float(np.nanmax(np.abs(ours - theirs)))
    if not largest <= 1e-6:
        raise AssertionError(f"correlations differ by up to {largest:.2g}")
    return f"largest difference {largest:.1g} (at most 1e-6: ours are stored as float32)"


def of_genes(genes: int) -> Callable[[], EdgeMatrix]:
    """Scores of so many genes over 500 cells."""
    from interp_assets.edges.scores import signed_spearman_edges

    held = control_cells(500, genes, rate=-2.5)
    signed_spearman_edges(held, held.universe[:8])
    return lambda: signed_spearman_edges(held)


PATHS = (
    Path(
        path=f"Spearman matrix, {GENES:,} x {GENES:,}, {CELLS:,} cells",
        against="scipy.stats.spearmanr of the dense matrix",
        goal=4.0,
        ways=by_scipy,
    ),
)
GROWTHS = (
    Growth(
        path="Spearman matrix, 500 cells",
        of="genes",
        sizes=(2500, 5000, 10_000, 20_000),
        work=of_genes,
        promise="The result takes 4 bytes a pair of genes; beside it stand the ranks and one block of products.",
    ),
)
