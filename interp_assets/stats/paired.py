"""Paired tests over units: signed-rank, equivalence, effect size. Sign: condition minus baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Float = NDArray[np.float64]
Alternative = Literal["two-sided", "greater", "less"]
EXACT_UP_TO = 50  # beyond, the normal approximation is good to three decimals of p


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

    Up to 50 differences the p is exact, ties included: the distribution over all sign patterns of the
    mid-ranks at hand. Above, the normal approximation with the variance corrected for ties, without
    continuity correction. Zero differences are dropped (Wilcoxon's rule); if nothing is left, p = 1.

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
    ranks = stats.rankdata(np.abs(kept))
    statistic = float(ranks[kept > 0].sum())
    exact = kept.size <= EXACT_UP_TO
    greater, less = _exact_tails(ranks, statistic) if exact else _normal_tails(ranks, statistic)
    p = {"greater": greater, "less": less, "two-sided": min(1.0, 2.0 * min(greater, less))}[alternative]
    return SignedRank(
        statistic,
        float(p),
        values.size,
        values.size - kept.size,
        "exact" if exact else "approximate",
        smallest,
    )


def smallest_attainable_p(n: int, alternative: Alternative = "two-sided") -> float:
    """Smallest p a signed-rank test of n non-zero differences can give: all signs equal.

    >>> smallest_attainable_p(5, "greater"), smallest_attainable_p(7, "two-sided")
    (0.03125, 0.015625)
    """
    if n < 0:
        raise ValueError(f"n = {n}; a number of units is not negative")
    return min(1.0, 2.0 ** (1 - n if alternative == "two-sided" else -n))


def _exact_tails(ranks: Float, statistic: float) -> tuple[float, float]:
    """P(W >= statistic) and P(W <= statistic) over all sign patterns of the ranks given.

    Twice a mid-rank is a whole number, so the subset sums are counted exactly by convolution.
    """
    doubled = np.rint(2.0 * ranks).astype(np.int64)
    patterns = np.zeros(int(doubled.sum()) + 1)
    patterns[0] = 1.0
    for step in doubled:
        patterns[step:] += patterns[: patterns.size - step].copy()
    patterns /= 2.0**ranks.size
    observed = int(np.rint(2.0 * statistic))
    return float(patterns[observed:].sum()), float(patterns[: observed + 1].sum())


def _normal_tails(ranks: Float, statistic: float) -> tuple[float, float]:
    # With mid-ranks the variance of W over sign patterns is the sum of squared ranks / 4: ties included.
    z = (statistic - ranks.sum() / 2.0) / np.sqrt((ranks**2).sum() / 4.0)
    return float(stats.norm.sf(z)), float(stats.norm.cdf(z))


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
    if np.ptp(values) == 0.0:
        p = 0.0 if abs(mean) < margin else 1.0
    else:
        error = float(values.std(ddof=1)) / np.sqrt(values.size)
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
    if values.size < 2 or np.ptp(values) == 0.0:
        return float("nan")
    return float(values.mean() / values.std(ddof=1))


def _differences(differences: ArrayLike) -> Float:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"need one difference a unit, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a unit has no difference; exclude it, and list it, before the test")
    return values
