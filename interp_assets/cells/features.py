"""Gene features of the control cells: what a gene-level baseline may know."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.moments import detection, moments
from interp_assets.cells.outcomes import positions
from interp_assets.cells.records import PreparedCells
from interp_assets.edges.records import Reference

FEATURES = ("mean", "variance", "dropout", "out_degree")


def gene_features(cells: PreparedCells, reference: Reference | None = None) -> pd.DataFrame:
    """Columns mean, variance, dropout, out_degree in universe order, with the gene names as index.

    Mean and sample variance (ddof 1) of log1p values and the share of zero cells, over the sampled control
    cells, the same that stand behind every edge score. ``out_degree`` counts a gene's targets inside the
    universe in `reference` and is NaN, not 0, without a reference; ``attrs`` names the reference and the
    cells.

    Raises
    ------
    ValueError
        If the reference is over other genes, or fewer than two control cells are there.
    """
    if int(cells.control.sum()) < 2:
        raise ValueError(
            f"dataset {cells.dataset!r}: at least 2 control cells are needed, {int(cells.control.sum())} found."
        )
    log = cells.log[cells.control][:, positions(cells.genes, cells.universe)]
    mean, variance = moments(log)
    frame = pd.DataFrame(
        {
            "mean": mean,
            "variance": variance,
            "dropout": 1.0 - detection(log),
            "out_degree": _out_degree(cells.universe, reference),
        },
        index=pd.Index(cells.universe.astype(object), name="gene"),
    )
    frame.attrs = {"cells_hash": cells.cells_hash, "out_degree": reference.name if reference else ""}
    return frame


def _out_degree(genes: NDArray[np.str_], reference: Reference | None) -> NDArray[np.float64]:
    if reference is None:
        return np.full(genes.size, np.nan)
    if not np.array_equal(reference.genes, genes):
        raise ValueError(f"reference {reference.name!r} is over other genes than the universe; restrict it first.")
    return np.bincount(reference.source, minlength=genes.size).astype(np.float64)
