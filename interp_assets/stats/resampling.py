"""Bootstrap intervals over units (perturbations, regulators, donors), never over pairs.

Every draw comes from a generator handed in. An interval says how many resamples were asked for and how
many gave a number; the caller reports both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.compiled import compiled

Float = NDArray[np.float64]
Int = NDArray[np.int64]
BLOCK = 4_000_000  # numbers drawn at once; bounds memory at 32 MB whatever the number of resamples


@dataclass(frozen=True, slots=True)
class Interval:
    """Percentile interval of a statistic, and the resamples behind it."""

    low: float
    high: float
    resamples_requested: int
    resamples_done: int


def percentile_interval(draws: ArrayLike, *, requested: int, level: float = 0.95) -> Interval:
    """Interval between the two tails of bootstrap draws; draws that are not numbers are left out and counted.

    >>> percentile_interval([1.0, 2.0, 3.0, float("nan")], requested=4, level=0.5)
    Interval(low=1.5, high=2.5, resamples_requested=4, resamples_done=3)
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level = {level} must lie between 0 and 1")
    values = np.asarray(draws, dtype=np.float64)
    kept = values[np.isfinite(values)]
    if kept.size == 0:
        return Interval(float("nan"), float("nan"), requested, 0)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(kept, (tail, 1.0 - tail))
    return Interval(float(low), float(high), requested, int(kept.size))


def bootstrap_mean(values: ArrayLike, rng: np.random.Generator, resamples: int, *, level: float = 0.95) -> Interval:
    """Percentile interval of the mean over units (n values, one a unit).

    Raises
    ------
    ValueError
        If a value is missing: a unit without a value must be excluded, and listed, before.
    """
    units = _units(values)
    draws = np.empty(_positive(resamples))
    step = max(1, BLOCK // units.size)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        draws[start:stop] = units[rng.integers(0, units.size, (stop - start, units.size))].mean(axis=1)
    return percentile_interval(draws, requested=resamples, level=level)


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """Mean of paired differences (condition minus baseline) with its interval over units."""

    mean: float
    interval: Interval


def paired_mean_difference(
    condition: ArrayLike,
    baseline: ArrayLike,
    rng: np.random.Generator,
    resamples: int,
    *,
    level: float = 0.95,
) -> MeanDifference:
    """Mean of condition - baseline over the same units, with a bootstrap interval over units."""
    first, second = _units(condition), _units(baseline)
    if first.shape != second.shape:
        raise ValueError(f"paired values need the same units: {first.size} against {second.size}")
    difference = first - second
    return MeanDifference(float(difference.mean()), bootstrap_mean(difference, rng, resamples, level=level))


def bootstrap_statistic(
    units: int,
    statistic: Callable[[NDArray[np.intp]], float],
    rng: np.random.Generator,
    resamples: int,
    *,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of any statistic of the positions of resampled units; NaN draws are counted out."""
    if units < 1:
        raise ValueError("a bootstrap needs at least one unit")
    draws = [statistic(rng.integers(0, units, units)) for _ in range(_positive(resamples))]
    return percentile_interval(draws, requested=resamples, level=level)


def group_weights(groups: int, resamples: int, rng: np.random.Generator) -> Int:
    """How often each group is drawn in each resample (resamples x groups, rows sum to the groups)."""
    if groups < 1:
        raise ValueError("a bootstrap needs at least one group")
    drawn = rng.multinomial(groups, np.full(groups, 1.0 / groups), size=_positive(resamples))
    return np.asarray(drawn, dtype=np.int64)


def grouped_auroc_bootstrap(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike) -> Float:
    """Pooled AUROC of every resample (B) of whole groups, from one sort of the scores.

    Equal to repeating each pair as often as its group was drawn and ranking again with mid-ranks; counts
    stay integers until the final division. A resample without positives or negatives gives NaN.

    Parameters
    ----------
    scores, labels, groups
        One entry a pair (N): finite score, label 0 or 1, group number from 0.
    weights
        Resamples x groups, how often a group was drawn; see `group_weights`. Use the same weights for two
        scores to bootstrap their difference.
    """
    order, first, label, group, drawn = _presort(scores, labels, groups, weights)
    return _auroc_draws(label[order], group[order], first, drawn)


def grouped_average_precision_bootstrap(
    scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike
) -> Float:
    """Pooled average precision of every resample (B) of whole groups; tied scores enter together.

    Arguments and exactness as in `grouped_auroc_bootstrap`. A resample without positives or negatives
    gives NaN.
    """
    order, first, label, group, drawn = _presort(scores, labels, groups, weights)
    return _average_precision_draws(label[order], group[order], first, drawn)


def _presort(
    scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike
) -> tuple[NDArray[np.intp], NDArray[np.bool_], Int, Int, Int]:
    """Order of the scores, first of every run of equal ones, labels, groups, and weights as groups x resamples."""
    score = np.asarray(scores, dtype=np.float64)
    label, group, drawn = (_integers(x, n) for x, n in ((labels, "labels"), (groups, "groups"), (weights, "weights")))
    if score.ndim != 1 or label.shape != score.shape or group.shape != score.shape or drawn.ndim != 2:
        raise ValueError(
            f"pairs must be one-dimensional and weights resamples x groups; got scores {score.shape}, "
            f"labels {label.shape}, groups {group.shape}, weights {drawn.shape}"
        )
    if not np.isfinite(score).all() or not np.isin(label, (0, 1)).all() or (drawn < 0).any():
        raise ValueError("scores must be finite, labels 0 or 1, weights not negative")
    if group.size and (group.min() < 0 or group.max() >= drawn.shape[1]):
        raise ValueError(f"group numbers must run from 0 to {drawn.shape[1] - 1}, the columns of weights")
    order = np.argsort(score)  # equal scores in any order: draws add up whole runs of them
    ascending = score[order]
    first = np.ones(score.size, dtype=bool)
    first[1:] = ascending[1:] != ascending[:-1]
    return order, first, label, group, np.ascontiguousarray(drawn.T)


# Draws are the inner loop: their counts lie side by side, so that one pair is added to many draws at once. Counts are
# whole numbers, and every draw adds its terms in the order of the pairs: the same numbers as draw after draw.
@compiled
def _auroc_draws(
    label: Int, group: Int, first: NDArray[np.bool_], by_group: Int
) -> Float:  # pragma: no cover - compiled
    draws = by_group.shape[1]
    positives, negatives = np.zeros(draws, dtype=np.int64), np.zeros(draws, dtype=np.int64)
    run_positives, run_negatives = np.zeros(draws, dtype=np.int64), np.zeros(draws, dtype=np.int64)
    twice_in_order = np.zeros(draws, dtype=np.int64)
    for i in range(label.size):
        w, ends = by_group[group[i]], i + 1 == label.size or first[i + 1]
        if first[i] and ends:  # no tie
            if label[i] == 1:
                for b in range(draws):
                    twice_in_order[b] += 2 * w[b] * negatives[b]
                    positives[b] += w[b]
            else:
                for b in range(draws):
                    negatives[b] += w[b]
            continue
        into = run_positives if label[i] == 1 else run_negatives
        for b in range(draws):
            into[b] += w[b]
        if ends:
            for b in range(draws):
                twice_in_order[b] += run_positives[b] * (2 * negatives[b] + run_negatives[b])
                positives[b] += run_positives[b]
                negatives[b] += run_negatives[b]
                run_positives[b] = run_negatives[b] = 0
    found = np.empty(draws)
    for b in range(draws):
        pairs = positives[b] * negatives[b]
        found[b] = twice_in_order[b] / (2.0 * pairs) if pairs > 0 else np.nan
    return found


@compiled
def _average_precision_draws(
    label: Int, group: Int, first: NDArray[np.bool_], by_group: Int
) -> Float:  # pragma: no cover - compiled
    draws = by_group.shape[1]
    hits, misses = np.zeros(draws, dtype=np.int64), np.zeros(draws, dtype=np.int64)
    run_hits, total = np.zeros(draws, dtype=np.int64), np.zeros(draws)
    any_hit = False
    for i in range(label.size - 1, -1, -1):
        w = by_group[group[i]]
        any_hit |= label[i] == 1
        into = run_hits if label[i] == 1 else misses  # misses of a run count for all its hits, which come at its end
        for b in range(draws):
            into[b] += w[b]
        if first[i] and any_hit:
            for b in range(draws):
                if run_hits[b] > 0:
                    hits[b] += run_hits[b]
                    total[b] += run_hits[b] * (hits[b] / (hits[b] + misses[b]))
                    run_hits[b] = 0
            any_hit = False
    found = np.empty(draws)
    for b in range(draws):
        found[b] = total[b] / hits[b] if hits[b] > 0 and misses[b] > 0 else np.nan
    return found


def _integers(values: ArrayLike, name: str) -> Int:
    given = np.asarray(values)
    whole = given.astype(np.int64)
    if not np.array_equal(whole, given):
        raise ValueError(f"{name} must be whole numbers")
    return whole


def _units(values: ArrayLike) -> Float:
    units = np.asarray(values, dtype=np.float64)
    if units.ndim != 1 or units.size == 0:
        raise ValueError(f"need one value a unit, got shape {units.shape}")
    if not np.isfinite(units).all():
        raise ValueError("a unit has no value; exclude it, and list it, before the bootstrap")
    return units


def _positive(resamples: int) -> int:
    if resamples < 1:
        raise ValueError(f"resamples = {resamples}; at least one is needed")
    return resamples
