"""K-means of small tables, thousands of times: a null of 100 draws for every number of strata needs as many runs.

Lloyd's rounds from a k-means++ start, the algorithm of `sklearn.cluster.KMeans` with one start; compiled because the
checks around one run of a library cost several times the run itself at 600 cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.compiled import compiled

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def kmeans_labels(points: ArrayLike, clusters: int, rng: np.random.Generator, *, rounds: int = 30) -> Int:
    """Cluster of each point (N) of an N x C table; a cluster that loses all its points stays empty.

    Raises
    ------
    ValueError
        If there are fewer points than clusters, or a coordinate is missing.
    """
    table = np.ascontiguousarray(points, dtype=np.float64)
    if table.ndim != 2 or not 1 <= clusters <= table.shape[0] or not np.isfinite(table).all():
        raise ValueError(f"{clusters} clusters need at least as many points, all finite; given {table.shape}")
    return lloyd(table, spread_centres(table, clusters, rng), rounds)


@compiled
def spread_centres(points: Float, clusters: int, rng: np.random.Generator) -> Float:  # pragma: no cover - compiled
    """K-means++ start (K x C): each next centre a point drawn by its squared distance to the nearest one so far."""
    count, width = points.shape
    centres = np.empty((clusters, width))
    nearest = np.full(count, np.inf)
    chosen = int(rng.random() * count)
    for number in range(clusters):
        centres[number] = points[chosen]
        total = 0.0
        for i in range(count):
            distance = 0.0
            for j in range(width):
                gap = points[i, j] - centres[number, j]
                distance += gap * gap
            nearest[i] = min(nearest[i], distance)
            total += nearest[i]
        at, reached = rng.random() * total, 0.0
        chosen = count - 1
        for i in range(count):
            reached += nearest[i]
            if reached > at:
                chosen = i
                break
    return centres


@compiled
def lloyd(points: Float, start: Float, rounds: int) -> Int:  # pragma: no cover - compiled
    """Labels after Lloyd's rounds from given centres: until nothing moves, at most ``rounds``."""
    centres = start.T.copy()
    label = np.full(points.shape[0], -1, dtype=np.int64)
    for _ in range(rounds):
        if _assign(points, centres, label) == 0:
            break
        _move(points, centres, label)
    return label


@compiled
def _assign(points: Float, centres: Float, label: Int) -> int:  # pragma: no cover - compiled
    """Give every point its nearest centre (centres C x K, so that the innermost loop runs over clusters)."""
    clusters, moved = centres.shape[1], 0
    distance = np.empty(clusters)
    for i in range(points.shape[0]):
        distance[:] = 0.0
        for j in range(points.shape[1]):
            for k in range(clusters):
                gap = points[i, j] - centres[j, k]
                distance[k] += gap * gap
        best = 0
        for k in range(1, clusters):
            if distance[k] < distance[best]:
                best = k
        moved += label[i] != best
        label[i] = best
    return moved


@compiled
def _move(points: Float, centres: Float, label: Int) -> None:  # pragma: no cover - compiled
    """Put every centre at the mean of its points; a centre without points stays."""
    size = np.zeros(centres.shape[1])
    total = np.zeros(centres.shape)
    for i in range(points.shape[0]):
        size[label[i]] += 1.0
        for j in range(points.shape[1]):
            total[j, label[i]] += points[i, j]
    for k in range(centres.shape[1]):
        if size[k] > 0:
            centres[:, k] = total[:, k] / size[k]
