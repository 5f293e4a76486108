"""Whether units of one class have larger values than all others: difference of means under exchanged labels.

What belongs here: two groups of units (regulators, donors), one value a unit. What does not: what a class is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.resampling import Interval, percentile_interval
from interp_assets.stats.subsets import two_sided_p

Float = NDArray[np.float64]
BLOCK = 4_000_000  # numbers drawn at once


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassContrast:
    """Mean of a class minus mean of the others, with the null of exchanged labels.

    ``p`` is two-sided, (k + 1) / (permutations + 1). ``smallest_p`` is the least it can be expected to reach: that of
    the draws, or the one choice of labels among all. ``interval`` resamples units within both groups; it is NaN, with
    no resample, where a group has one unit.
    """

    difference: float
    mean: float
    mean_others: float
    sd: float
    sd_others: float
    n: int
    n_others: int
    p: float
    smallest_p: float
    null_mean: float
    null_sd: float
    permutations: int
    interval: Interval


def class_contrast(
    values: ArrayLike, member: ArrayLike, rng: np.random.Generator, permutations: int, resamples: int
) -> ClassContrast:
    """Difference of means between the units (n) of a class and all others, labels exchanged ``permutations`` times.

    Raises
    ------
    ValueError
        If a value is missing, one side is empty, or fewer than one permutation or resample is asked for.
    """
    units, held = np.asarray(values, dtype=np.float64), np.asarray(member, dtype=bool)
    if units.ndim != 1 or units.shape != held.shape or not np.isfinite(units).all():
        raise ValueError(f"need one finite value and one label a unit, got {units.shape} and {held.shape}")
    inside, outside = units[held], units[~held]
    if min(inside.size, outside.size, permutations, resamples) < 1:
        raise ValueError(
            f"{inside.size} units in the class, {outside.size} outside, {permutations} permutations, {resamples} "
            "resamples; each must be at least 1"
        )
    difference = float(inside.mean() - outside.mean())
    null = _exchanged(units, inside.size, rng, permutations)
    return ClassContrast(
        difference=difference,
        mean=float(inside.mean()),
        mean_others=float(outside.mean()),
        sd=_sd(inside),
        sd_others=_sd(outside),
        n=inside.size,
        n_others=outside.size,
        p=two_sided_p(null, difference, 0.0),
        smallest_p=max(1.0 / (permutations + 1), 1.0 / comb(units.size, inside.size)),
        null_mean=float(null.mean()),
        null_sd=_sd(null),
        permutations=permutations,
        interval=_interval(inside, outside, rng, resamples),
    )


def _exchanged(units: Float, size: int, rng: np.random.Generator, permutations: int) -> Float:
    out = np.empty(permutations)
    total = units.sum()
    step = max(1, BLOCK // units.size)
    for start in range(0, permutations, step):
        stop = min(start + step, permutations)
        drawn = rng.permuted(np.tile(units, (stop - start, 1)), axis=1)[:, :size].sum(axis=1)
        out[start:stop] = drawn / size - (total - drawn) / (units.size - size)
    return out


def _interval(inside: Float, outside: Float, rng: np.random.Generator, resamples: int) -> Interval:
    if min(inside.size, outside.size) < 2:
        return Interval(float("nan"), float("nan"), 0, 0)
    means = [side[rng.integers(0, side.size, (resamples, side.size))].mean(axis=1) for side in (inside, outside)]
    return percentile_interval(means[0] - means[1], requested=resamples)


def _sd(values: Float) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")


def chance_sd(scores: ArrayLike, targets: int) -> float:
    """Standard deviation of the AUROC of ``targets`` candidates chosen at random among scored ones (N).

    From the exact variance of a rank sum with mid-ranks, (N + 1 - sum(t^3 - t) / (N (N - 1))) / (12 m (N - m)) for m
    targets and ties of t equal scores. One target gives about .29 whatever the score.

    Raises
    ------
    ValueError
        If not both kinds of candidates are left.

    >>> round(chance_sd([0.1, 0.2, 0.3, 0.4], 1), 4)
    0.3727
    """
    values = np.asarray(scores, dtype=np.float64)
    n = values.size
    if not 0 < targets < n:
        raise ValueError(f"{targets} targets of {n} candidates: both kinds are needed")
    ties = np.unique(values, return_counts=True)[1].astype(np.float64)
    correction = float((ties**3 - ties).sum()) / (n * (n - 1))
    return float(np.sqrt((n + 1 - correction) / (12.0 * targets * (n - targets))))
