"""Paired tests over units: signed-rank, equivalence, effect size. Sign: condition minus baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Float = NDArray[np.float64]
Alternative = Literal["two-sided", "greater", "less"]
TIES_EXACT_UP_TO = 13  # where scipy stops enumerating sign patterns


@dataclass(frozen=True, slots=True)
class SignedRank:
    """Wilcoxon signed-rank test of paired differences.

    ``statistic`` is the rank sum of the positive differences; ``n`` counts units, ``n_zero`` those without
    a difference, which are dropped. ``smallest_p`` is what n - n_zero units could reach at best.
    """

    statistic: float
    p: float
    n: int
    n_zero: int
    method: Literal["exact", "approximate", "no differences"]
    smallest_p: float


def signed_rank(differences: ArrayLike, alternative: Alternative = "two-sided") -> SignedRank:
    """Wilcoxon signed-rank test of n paired differences against a symmetric distribution around 0.

    The p is that of `scipy.stats.wilcoxon` with its defaults, so that anybody can recompute it: exact for up
    to 50 differences without ties and zeros, exact over sign patterns for up to 13 with them, otherwise the
    normal approximation with the variance corrected for ties and no continuity correction. Zero differences
    are dropped (Wilcoxon's rule); if nothing is left, p = 1.

    Raises
    ------
    ValueError
        If a difference is missing or there is none.

    >>> signed_rank([1.0, 2.0, 3.0, 4.0, 5.0], "greater").p
    0.03125
    """
    values = _differences(differences)
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(f"alternative {alternative!r}: use two-sided, greater or less")
    kept = values[values != 0.0]
    smallest = smallest_attainable_p(kept.size, alternative)
    if kept.size == 0:
        return SignedRank(0.0, 1.0, values.size, values.size, "no differences", smallest)
    size = np.abs(kept)
    ranks = stats.rankdata(size)
    statistic = float(ranks[kept > 0].sum())
    distinct = np.unique(size).size == values.size
    exact = values.size <= (50 if distinct else TIES_EXACT_UP_TO)
    if exact and not distinct:
        p = _sign_pattern_p(ranks, statistic, alternative)
    else:
        p = float(stats.wilcoxon(values, alternative=alternative).pvalue)
    return SignedRank(
        statistic=statistic,
        p=p,
        n=values.size,
        n_zero=values.size - kept.size,
        method="exact" if exact else "approximate",
        smallest_p=smallest,
    )


def _sign_pattern_p(ranks: Float, statistic: float, alternative: Alternative) -> float:
    """Exact p over all sign patterns of tied mid-ranks; scipy walks through them one by one in Python.

    Twice a mid-rank is a whole number, so the rank sums are counted by convolution.
    """
    doubled = np.rint(2.0 * ranks).astype(np.int64)
    patterns = np.zeros(int(doubled.sum()) + 1)
    patterns[0] = 1.0
    for step in doubled:
        patterns[step:] += patterns[: patterns.size - step].copy()
    patterns /= 2.0**ranks.size
    observed = int(np.rint(2.0 * statistic))
    greater, less = float(patterns[observed:].sum()), float(patterns[: observed + 1].sum())
    return {"greater": greater, "less": less, "two-sided": min(1.0, 2.0 * min(greater, less))}[alternative]


def smallest_attainable_p(n: int, alternative: Alternative = "two-sided") -> float:
    """Smallest p a signed-rank test of n non-zero differences can give: all signs equal.

    >>> smallest_attainable_p(5, "greater"), smallest_attainable_p(7, "two-sided")
    (0.03125, 0.015625)
    """
    if n < 0:
        raise ValueError(f"n = {n}; a number of units is not negative")
    return min(1.0, 2.0 ** (1 - n if alternative == "two-sided" else -n))


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided t tests of a mean difference against -margin and +margin."""

    mean: float
    p: float
    margin: float
    equivalent: bool


def equivalence_test(differences: ArrayLike, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Whether the mean paired difference lies within the margin: the larger p of two one-sided t tests.

    A large p of a difference test is no evidence of equality; this is (paper analysis 22). Differences
    that are all alike have no spread: p is 0 or 1 by whether they lie within the margin. One unit alone
    has p NaN and is not equivalent.

    Raises
    ------
    ValueError
        If the margin is not positive, a difference is missing or there is none.
    """
    values = _differences(differences)
    if not margin > 0.0:
        raise ValueError(f"equivalence margin {margin} must be positive")
    mean = float(values.mean())
    if values.size < 2:
        return Equivalence(mean, float("nan"), margin, equivalent=False)
    deviation = _deviation(values)
    if deviation == 0.0:
        p = 0.0 if abs(mean) < margin else 1.0
    else:
        error = deviation / np.sqrt(values.size)
        above = stats.t.sf((mean + margin) / error, values.size - 1)
        below = stats.t.cdf((mean - margin) / error, values.size - 1)
        p = float(max(above, below))
    return Equivalence(mean, p, margin, equivalent=p < alpha)


def cohens_d(differences: ArrayLike) -> float:
    """Paired effect size: mean over standard deviation (ddof 1) of condition - baseline.

    Positive when the condition is higher, everywhere (paper section 4). NaN when the differences have no
    spread or there is only one.
    """
    values = _differences(differences)
    deviation = _deviation(values) if values.size > 1 else 0.0
    return float(values.mean()) / deviation if deviation > 0.0 else float("nan")


def _deviation(values: Float) -> float:
    """Sample standard deviation; exactly 0 for values that are all alike, and for those whose squares underflow."""
    return 0.0 if np.ptp(values) == 0.0 else float(values.std(ddof=1))


def _differences(differences: ArrayLike) -> Float:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"need one difference a unit, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a unit has no difference; exclude it, and list it, before the test")
    return values
