"""Spearman correlation of few units, judged by every order of one side.

What belongs here: one correlation over so few units that the normal approximation does not hold, and the smallest p
that so few can reach. What does not: correlations of many resamples at once (`rank_association`, `recovery`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations
from math import factorial
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.rank_association import asymptotic_p
from interp_assets.stats.recovery import spearman

Float = NDArray[np.float64]
FEWEST: Final = 4  # with three units no two-sided p is below 1/3
EXACT_UP_TO: Final = 8  # 40,320 orders
TOLERANCE: Final = 1e-12  # sums of the same numbers in another order; a tie is no difference by rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class SpearmanTest:
    """Spearman correlation of n units with a two-sided p.

    ``smallest_p`` is the least p that n units (with these ties, where every order was counted) can reach. ``method`` is
    "exact" or, beyond `EXACT_UP_TO` units, "t approximation". All numbers but n are NaN where a side is constant.
    """

    rho: float
    p: float
    n: int
    smallest_p: float
    method: str


def spearman_test(x: ArrayLike, y: ArrayLike) -> SpearmanTest:
    """Spearman correlation (mid-ranks) and its two-sided p over units.

    Up to `EXACT_UP_TO` units p is the share of all n! orders of one side with at least the observed |rho|; the observed
    order is one of them, so that p is never 0. Beyond, it is the t approximation with n - 2 degrees of freedom, never
    below 2 / n!.

    Raises
    ------
    ValueError
        If units are fewer than `FEWEST`, sides differ in length, or a value is missing.

    >>> spearman_test([0, 1, 2, 3], [0.5, 0.6, 0.7, 0.8])
    SpearmanTest(rho=1.0, p=0.08333333333333333, n=4, smallest_p=0.08333333333333333, method='exact')
    """
    left, right = (np.asarray(side, dtype=np.float64) for side in (x, y))
    if left.shape != right.shape or left.ndim != 1 or left.size < FEWEST:
        raise ValueError(f"need two values a unit for at least {FEWEST} units, got {left.shape} and {right.shape}")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("a unit has no value; exclude it, and list it, before the test")
    n = left.size
    rho = float(np.clip(np.round(spearman(left, right), 15), -1.0, 1.0))
    method = "exact" if n <= EXACT_UP_TO else "t approximation"
    if not np.isfinite(rho):
        return SpearmanTest(rho=rho, p=np.nan, n=n, smallest_p=np.nan, method=method)
    if method == "exact":
        size = np.abs(_of_all_orders(left, right))
        p, smallest = (float(np.mean(size >= least - TOLERANCE)) for least in (abs(rho), size.max()))
        return SpearmanTest(rho=rho, p=p, n=n, smallest_p=smallest, method=method)
    smallest = 2.0 / factorial(n)
    return SpearmanTest(rho=rho, p=max(asymptotic_p(rho, n), smallest), n=n, smallest_p=smallest, method=method)


def _of_all_orders(left: Float, right: Float) -> Float:
    """Spearman correlation (n!) of one side with every order of the other."""
    from scipy.stats import rankdata

    first, second = (rankdata(side) - (side.size + 1) / 2.0 for side in (left, right))
    scale = np.sqrt((first @ first) * (second @ second))
    return np.asarray(second[_orders(left.size)] @ first / scale, dtype=np.float64)


@cache
def _orders(n: int) -> NDArray[np.intp]:
    return np.array(list(permutations(range(n))), dtype=np.intp)
