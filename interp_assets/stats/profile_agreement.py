"""Whether profiles over the same components are ordered alike: Spearman, joint permutation, joint bootstrap.

What belongs here: R profiles over K components and pairs of them. What does not: what a profile stands for.

Components are permuted, and resampled, for all profiles together: profiles of one source share what makes a component
large in all of them, and treating them as independent would count that many times.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Float = NDArray[np.float64]
Int = NDArray[np.int64]
REDRAWS = 50
TOLERANCE = 1e-12  # sums of the same numbers in another order; a tie is no exceedance by rounding


def rank_correlations(profiles: ArrayLike, pairs: ArrayLike) -> Float:
    """Spearman correlation of pairs of profiles (C), mid-ranks for ties; NaN where a profile is constant.

    Parameters
    ----------
    profiles : R x K, finite, K at least 2.
    pairs : C x 2, rows of ``profiles``.
    """
    scaled, chosen = _scaled_ranks(_profiles(profiles)), _pairs(pairs)
    return np.asarray((scaled[chosen[:, 0]] * scaled[chosen[:, 1]]).sum(axis=1), dtype=np.float64)


def permuted_rank_correlations(
    profiles: ArrayLike, pairs: ArrayLike, source: ArrayLike, rng: np.random.Generator, permutations: int
) -> Float:
    """Spearman correlations (N x C) after the components of every source were permuted.

    All profiles of one source (R numbers from 0) get the same order in a draw, and sources orders of their own. A pair
    within one source therefore keeps its correlation: pairs join two sources.

    Raises
    ------
    ValueError
        If a pair joins profiles of one source, or no permutation is asked for.
    """
    values, chosen, owner = _profiles(profiles), _pairs(pairs), np.asarray(source, dtype=np.int64)
    if owner.shape != (values.shape[0],) or (owner[chosen[:, 0]] == owner[chosen[:, 1]]).any():
        raise ValueError("every profile has one source, and the two profiles of a pair have different ones")
    if permutations < 1:
        raise ValueError(f"permutations = {permutations}; at least one is needed")
    scaled = _scaled_ranks(values)
    components = np.tile(np.arange(values.shape[1]), (permutations, 1))
    orders = [rng.permuted(components, axis=1) for _ in range(int(owner.max()) + 1)]
    found = np.empty((permutations, chosen.shape[0]))
    for place, (first, second) in enumerate(chosen):
        a, b = scaled[first][orders[owner[first]]], scaled[second][orders[owner[second]]]
        found[:, place] = (a * b).sum(axis=1)
    return found


def resampled_rank_correlations(
    profiles: ArrayLike, pairs: ArrayLike, rng: np.random.Generator, resamples: int
) -> Float:
    """Spearman correlations (B x C) over components drawn with replacement, the same components for all pairs.

    Ranks are taken anew in every draw. A draw in which a compared profile is constant has no correlation and is drawn
    again, at most `REDRAWS` times: of four components one draw in 64 holds a single one. So the draws are those of the
    bootstrap given that every profile varies. A profile that stays constant leaves NaN for its pairs.
    """
    values, chosen = _profiles(profiles), _pairs(pairs)
    if resamples < 1:
        raise ValueError(f"resamples = {resamples}; at least one is needed")
    compared = np.unique(chosen)
    drawn = rng.integers(0, values.shape[1], (resamples, values.shape[1]))
    flat = np.arange(resamples)
    for _ in range(REDRAWS):
        flat = flat[(np.ptp(values[compared][:, drawn[flat]], axis=2) == 0.0).any(axis=0)]
        drawn[flat] = rng.integers(0, values.shape[1], (flat.size, values.shape[1]))
    scaled = {int(row): _scaled_ranks(values[row][drawn]) for row in compared}
    return np.stack([(scaled[int(a)] * scaled[int(b)]).sum(axis=1) for a, b in chosen], axis=1)


def permutation_p(observed: ArrayLike, null: ArrayLike) -> Float:
    """Two-sided p, (1 + number of |null| >= |observed|) / (1 + draws), for C numbers against N x C draws.

    NaN where the observed number or one of its draws is none: nothing was tested.

    >>> permutation_p([0.9], [[0.1], [-0.95], [0.2]]).tolist()
    [0.5]
    """
    size, draws = np.abs(np.asarray(observed, dtype=np.float64)), np.abs(np.asarray(null, dtype=np.float64))
    p = (1 + (draws >= size - TOLERANCE).sum(axis=0)) / (1 + draws.shape[0])
    return np.where(np.isfinite(size) & np.isfinite(draws).all(axis=0), p, np.nan)


def _scaled_ranks(values: Float) -> Float:
    """Ranks along the last axis, centred and at unit length, so that a correlation is a sum of products."""
    ranks = rankdata(values, axis=-1)
    centred = ranks - ranks.mean(axis=-1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=-1, keepdims=True))
    scaled = np.full(centred.shape, np.nan)
    np.divide(centred, length, out=scaled, where=length > 0)
    return scaled


def _profiles(profiles: ArrayLike) -> Float:
    values = np.asarray(profiles, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2 or not np.isfinite(values).all():
        raise ValueError(f"profiles of shape {values.shape}: profiles x components, two components or more, all finite")
    return values


def _pairs(pairs: ArrayLike) -> Int:
    chosen = np.asarray(pairs, dtype=np.int64)
    if chosen.ndim != 2 or chosen.shape[1] != 2 or chosen.shape[0] == 0:
        raise ValueError(f"pairs of shape {chosen.shape}: one or more pairs of profiles (C x 2) are needed")
    return chosen
