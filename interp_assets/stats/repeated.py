"""Correlation of two quantities measured under the same conditions in several units (seeds, donors).

What belongs here: one correlation over units x conditions with uncertainty over units. What does not: correlations of
independent pairs, which scipy has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.resampling import Interval, group_weights, percentile_interval

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedCorrelation:
    """Pearson r over all units and conditions; ``p`` by permuting the conditions within every unit.

    ``by_unit`` holds the r of each unit. ``interval`` resamples units; it has no bounds for a single unit.
    """

    r: float
    p: float
    null_mean: float
    null_sd: float
    permutations: int
    by_unit: Float
    interval: Interval


def repeated_correlation(
    x: ArrayLike,
    y: ArrayLike,
    rng: np.random.Generator,
    *,
    permutations: int,
    resamples: int,
    alternative: Literal["less", "greater"] = "less",
) -> RepeatedCorrelation:
    """Pearson r of x and y, both units x conditions, one-sided p = (k + 1) / (n + 1).

    Conditions of one unit are no independent observations, so y is permuted within units and intervals resample
    whole units. Differences between units stay in every permutation.

    Raises
    ------
    ValueError
        If the tables differ in shape, hold fewer than two conditions or a gap, or one side is constant.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] < 2:
        raise ValueError(f"x {first.shape} and y {second.shape}: the same units x conditions are needed, two or more")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a measurement is missing; leave its unit out and say so")
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise ValueError("one of the two quantities is the same everywhere; it correlates with nothing")
    if permutations < 1:
        raise ValueError(f"permutations = {permutations}: ask for one or more")
    r = float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
    left = (first - first.mean()) / np.sqrt(((first - first.mean()) ** 2).sum())
    right = (second - second.mean()) / np.sqrt(((second - second.mean()) ** 2).sum())
    null = np.array([float((left * rng.permuted(right, axis=1)).sum()) for _ in range(permutations)])
    extreme = null <= r + 1e-12 if alternative == "less" else null >= r - 1e-12
    return RepeatedCorrelation(
        r=r,
        p=float((1 + extreme.sum()) / (permutations + 1)),
        null_mean=float(null.mean()),
        null_sd=float(null.std()),
        permutations=permutations,
        by_unit=np.array([pearson(a, b) for a, b in zip(first, second, strict=True)]),
        interval=_over_units(first, second, rng, resamples),
    )


def _over_units(x: Float, y: Float, rng: np.random.Generator, resamples: int) -> Interval:
    if x.shape[0] < 2:
        return Interval(float("nan"), float("nan"), resamples, 0)
    weights = group_weights(x.shape[0], resamples, rng)
    return percentile_interval(weighted_correlations(x, y, weights), requested=resamples)


def weighted_correlations(x: Float, y: Float, weights: ArrayLike) -> Float:
    """Pearson r over units x conditions for every weighting of the units (resamples x units); NaN without spread."""
    drawn = np.asarray(weights, dtype=np.float64)
    total = float(x.size)
    mean_x, mean_y, both, square_x, square_y = (
        drawn @ table.sum(axis=1) / total for table in (x, y, x * y, x**2, y**2)
    )
    spread = (square_x - mean_x**2) * (square_y - mean_y**2)
    return np.asarray(np.where(spread > 1e-15, (both - mean_x * mean_y) / np.sqrt(np.maximum(spread, 1e-15)), np.nan))


def pearson(x: Float, y: Float) -> float:
    """Pearson r of two vectors; NaN where one is constant or has fewer than two values."""
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
