"""Diffusion pseudotime of cells, rooted by cells that are known to be early.

What belongs here: the ordering. What does not: which genes it may see (the caller leaves out every gene under test).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionPseudotime:
    """Pseudotime of every cell (0 at the root; infinite where no path of neighbours leads to it).

    ``root`` is the root cell. ``early_first`` is the chance that a cell known to be early comes before one that is not
    (AUROC): about 1 where the ordering follows what is known, .5 where it does not.
    """

    pseudotime: Float
    root: int
    early_first: float


def diffusion_pseudotime(
    values: ArrayLike, early: ArrayLike, *, components: int = 30, neighbours: int = 15
) -> DiffusionPseudotime:
    """Diffusion pseudotime (Haghverdi et al. 2016, ``scanpy.tl.dpt``) of cells x genes values.

    Parameters
    ----------
    values
        Log-normalised expression of the genes that the ordering may use (cells x genes).
    early
        Cells known to be early (cells). The root is the extreme cell of the first diffusion component on their side.
    components, neighbours
        Principal components, and neighbours of a cell in the Gaussian-kernel graph.

    Raises
    ------
    ValueError
        If no cell, or every cell, is early, or there are too few cells or genes for the components.
    """
    table, known = np.asarray(values, dtype=np.float64), np.asarray(early, dtype=bool)
    if known.shape != table.shape[:1] or not 0 < int(known.sum()) < known.size:
        raise ValueError(
            f"{int(known.sum())} of {table.shape[0]} cells are known to be early; some, and not all, must be"
        )
    kept = min(components, min(table.shape) - 1)
    if kept < 2 or table.shape[0] <= neighbours + 1:
        raise ValueError(f"{table.shape[0]} cells x {table.shape[1]} genes are too few for an ordering")
    component, distances = _diffusion(table, known, kept, neighbours)
    rank = np.argsort(np.argsort(distances, kind="stable"), kind="stable")
    late = int((~known).sum())
    below = float(rank[~known].sum()) - late * (late - 1) / 2.0
    return DiffusionPseudotime(pseudotime=distances, root=component, early_first=below / (late * int(known.sum())))


def _diffusion(values: Float, early: NDArray[np.bool_], components: int, neighbours: int) -> tuple[int, Float]:
    """Root cell and pseudotime; scanpy is loaded here, its import takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy as sc
        from anndata import AnnData

        data = AnnData(values.astype(np.float32))
        sc.pp.pca(data, n_comps=components, svd_solver="arpack", random_state=0)
        sc.pp.neighbors(data, n_neighbors=neighbours, method="gauss", random_state=0)
        sc.tl.diffmap(data, n_comps=min(15, values.shape[0] - 2))
        first = np.asarray(data.obsm["X_diffmap"])[:, 1]
        low = float(np.median(first[early])) <= float(np.median(first[~early]))
        root = int(first.argmin() if low else first.argmax())
        data.uns["iroot"] = root
        sc.tl.dpt(data)
    return root, np.asarray(data.obs["dpt_pseudotime"], dtype=np.float64)
