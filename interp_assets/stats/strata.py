"""Sets of strata for the same cells: known, estimated, and three kinds that mean nothing.

What belongs here: making labels. What does not: scoring edges within them (`cssi`).

Labels are 0 to K - 1, one a cell. Estimated strata come from an embedding of the cells and never from the genes whose
edges are scored (paper section 4, CSSI); simulated cells have no model, so their principal scores stand in for it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.kmeans import kmeans_labels

Float = NDArray[np.float64]
Int = NDArray[np.int64]

NEIGHBOURS: Final = 15
RESOLUTION: Final = 1.0
COMPONENTS: Final = 10
ROUNDS: Final = 10


class StrataError(ValueError):
    """More strata than the cells allow."""


def most_strata(cells: int, minimum: int) -> int:
    """Largest number of strata whose mean size still reaches the minimum.

    >>> most_strata(200, 20)
    10
    """
    return cells // max(1, minimum)


def require_cells(cells: int, strata: int, minimum: int) -> None:
    """Raise `StrataError` where strata would hold fewer cells than the minimum on average."""
    if strata > most_strata(cells, minimum):
        raise StrataError(
            f"{strata} strata of {cells} cells hold {cells / strata:.3g} cells each; at least {minimum} are needed. "
            f"Ask for at most {most_strata(cells, minimum)} strata"
        )


def principal_scores(values: NDArray[Any], components: int = COMPONENTS) -> Float:
    """Scores of the cells (N x C) on the leading principal components of N x G values; columns are centred."""
    centred = np.asarray(values, dtype=np.float64) - np.mean(values, axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    scores: Float = centred @ axes[:, ::-1][:, :components]
    return scores


def kmeans_strata(embedding: NDArray[Any], strata: int, rng: np.random.Generator) -> Int:
    """Strata by k-means from one k-means++ start; one may be empty, and is then dropped like every small one."""
    return kmeans_labels(embedding, strata, rng, rounds=ROUNDS)


def leiden_available() -> bool:
    """Whether the packages that Leiden needs are installed."""
    return all(find_spec(name) is not None for name in ("scanpy", "igraph"))


def leiden_strata(embedding: NDArray[Any], seed: int) -> Int:
    """Strata by Leiden on the graph of 15 nearest neighbours at resolution 1 (paper section 4).

    Edges are weighted by a Gaussian kernel: scanpy's umap weights compile for half a minute on first use.

    Raises
    ------
    StrataError
        If scanpy or igraph is not installed: nothing else goes by this name.
    """
    if not leiden_available():
        raise StrataError("Leiden needs the packages scanpy and igraph; install them or use k-means")
    import anndata
    import scanpy

    cells = anndata.AnnData(np.asarray(embedding, dtype=np.float32))
    neighbours = min(NEIGHBOURS, cells.n_obs - 1)
    scanpy.pp.neighbors(cells, n_neighbors=neighbours, use_rep="X", method="gauss", random_state=seed)
    scanpy.tl.leiden(cells, resolution=RESOLUTION, random_state=seed, flavor="igraph", n_iterations=2, directed=False)
    return np.asarray(cells.obs["leiden"].cat.codes, dtype=np.int64)


def chosen_kmeans(embedding: NDArray[Any], most: int, rng: np.random.Generator) -> Int:
    """K-means strata with the number of them (2 to ``most``) that has the best silhouette; no outcome is looked at."""
    from sklearn.metrics import silhouette_score

    found = [kmeans_strata(embedding, strata, rng) for strata in range(2, most + 1)]
    found = [label for label in found if 1 < np.unique(label).size < label.size]
    if not found:
        raise StrataError(f"{len(embedding)} cells fall into no two strata; give more cells")
    return max(found, key=lambda label: float(silhouette_score(embedding, label)))


def estimated_strata(embedding: NDArray[Any], most: int, rng: np.random.Generator) -> tuple[Int, str]:
    """Strata from an embedding of the cells, and the method: Leiden where installed, else k-means by silhouette."""
    if leiden_available():
        return leiden_strata(embedding, int(rng.integers(2**31))), "leiden"
    return chosen_kmeans(embedding, most, rng), "k-means, number by silhouette"


def shuffled_strata(label: Int, rng: np.random.Generator, draws: int) -> Int:
    """Labels dealt to other cells, sizes kept (D x N)."""
    return rng.permuted(np.broadcast_to(label, (draws, label.size)), axis=1)


def random_strata(cells: int, strata: int, rng: np.random.Generator, draws: int) -> Int:
    """Labels drawn uniformly over K strata (D x N)."""
    return rng.integers(0, strata, (draws, cells))


def gene_permuted_scores(values: NDArray[Any], rng: np.random.Generator, components: int = COMPONENTS) -> Float:
    """Principal scores of cells whose genes were permuted across cells, each gene for itself: no cell is left whole."""
    return principal_scores(rng.permuted(values, axis=0), components)


def resized_strata(label: Int, strata: int, rng: np.random.Generator) -> Int:
    """Known strata brought to another number: whole ones merged, or the largest ones cut in two at random.

    Merged strata are the two smallest, again and again, so that sizes stay as even as they can.
    """
    found = np.unique(label, return_inverse=True)[1].astype(np.int64).reshape(label.shape)
    while (count := int(found.max()) + 1) != strata:
        size = np.bincount(found)
        if count > strata:
            one, other = np.argsort(size, kind="stable")[:2]
            found[found == other] = one
            found = np.unique(found, return_inverse=True)[1].astype(np.int64)
        else:
            members = np.flatnonzero(found == int(np.argmax(size)))
            if members.size < 2:
                raise StrataError(f"{label.size} cells cannot form {strata} strata")
            found[rng.permutation(members)[: members.size // 2]] = count
    return found
