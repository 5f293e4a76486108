"""K-means of small tables, thousands of times: a null of 100 draws for every number of strata needs as many runs.

Lloyd's rounds from a k-means++ start, the algorithm of `sklearn.cluster.KMeans` with one start; compiled because the
checks around one run of a library cost several times the run itself at 600 cells.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.compiled import compiled

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_BLOCK: Final = 128  # points whose distances are held at once


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
    coordinates, centres = points.T.copy(), start.copy()
    label = np.full(points.shape[0], -1, dtype=np.int64)
    for _ in range(rounds):
        if _assign(coordinates, centres, label) == 0:
            break
        _move(coordinates, centres, label)
    return label


@compiled
def _assign(coordinates: Float, centres: Float, label: Int) -> int:  # pragma: no cover - compiled
    """Give every point its nearest centre, the first of equally near ones; how many labels changed.

    ``coordinates`` is C x N, so that the innermost loops run over a block of points and few clusters cost little.
    """
    moved, count = 0, coordinates.shape[1]
    distance, nearest, best = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK, dtype=np.int64)
    for first in range(0, count, _BLOCK):
        size = min(_BLOCK, count - first)
        nearest[:size], best[:size] = np.inf, 0
        for k in range(centres.shape[0]):
            distance[:size] = 0.0
            for j in range(centres.shape[1]):
                row, centre = coordinates[j][first : first + size], centres[k, j]
                for i in range(size):
                    gap = row[i] - centre
                    distance[i] += gap * gap
            for i in range(size):
                closer = distance[i] < nearest[i]
                nearest[i] = distance[i] if closer else nearest[i]
                best[i] = k if closer else best[i]
        for i in range(size):
            moved += label[first + i] != best[i]
            label[first + i] = best[i]
    return moved


@compiled
def _move(coordinates: Float, centres: Float, label: Int) -> None:  # pragma: no cover - compiled
    """Put every centre at the mean of its points; a centre without points stays."""
    size = np.zeros(centres.shape[0])
    total = np.zeros(centres.shape)
    for i in range(label.size):
        size[label[i]] += 1.0
    for j in range(coordinates.shape[0]):
        for i in range(label.size):
            total[label[i], j] += coordinates[j, i]
    for k in range(centres.shape[0]):
        if size[k] > 0:
            centres[k] = total[k] / size[k]
