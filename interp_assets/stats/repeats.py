"""One number and one set of scores over repeats: how far the number moves, how far the scores agree.

What belongs here: spread against a margin, agreement of pairs of repeats. What does not: how repeats are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from interp_assets.stats.recovery import top_edges

Float = NDArray[np.float64]
Reading = Literal["greater", "less", "undecided"]
FEWEST: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Standard deviation over n repeats (ddof 1) with its interval, and whether it lies below a margin.

    ``statistic`` is (n - 1) sd^2 / margin^2, ``p`` the one-sided p against a standard deviation as large as the margin.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    statistic: float
    p: float


def spread_below(values: ArrayLike, margin: float, *, level: float = 0.95) -> Spread:
    """Whether a number moves by less than a margin between repeats: chi-square test of its variance.

    Under the null the standard deviation is the margin, and (n - 1) sd^2 / margin^2 follows chi-square with n - 1
    degrees of freedom if repeats are independent and normal; p is its lower tail. A small p says that the spread is
    below the margin; a large one says nothing. The interval inverts the same distribution.

    Raises
    ------
    ValueError
        If there are fewer than two repeats, a value is missing, or the margin is not positive.

    >>> found = spread_below([0.70, 0.71, 0.70, 0.71], 0.02)
    >>> found.low < found.sd < found.high, found.p < 0.05
    (True, True)
    """
    repeats = np.asarray(values, dtype=np.float64)
    if repeats.ndim != 1 or repeats.size < FEWEST or not np.isfinite(repeats).all():
        raise ValueError(f"need {FEWEST} or more repeats with a number each, got {repeats.tolist()}")
    if not margin > 0.0:
        raise ValueError(f"margin {margin} must be positive")
    free = repeats.size - 1
    sd = float(repeats.std(ddof=1))
    tail = (1.0 - level) / 2.0
    low, high = (sd * float(np.sqrt(free / stats.chi2.ppf(q, free))) for q in (1.0 - tail, tail))
    statistic = free * sd**2 / margin**2
    return Spread(
        n=repeats.size,
        mean=float(repeats.mean()),
        sd=sd,
        low=low,
        high=high,
        statistic=statistic,
        p=float(stats.chi2.cdf(statistic, free)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Medians over all pairs of repeats: Spearman correlation of all scores, Jaccard overlap of the k best."""

    spearman: float
    overlap: float
    pairs: int
    k: int


def agreement(scores: ArrayLike, k: int) -> Agreement:
    """Agreement of B repeats of E scores (B x E); every repeat is ranked once (mid-ranks).

    The correlation of a pair with a constant side is not defined; it is left out, and NaN is returned where none is
    left. The k best are those of `recovery.top_edges`.

    Raises
    ------
    ValueError
        If there are fewer than two repeats, a score is missing, or k is not between 1 and E.

    >>> agreement([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0]], 1)
    Agreement(spearman=0.5, overlap=1.0, pairs=3, k=1)
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < FEWEST or not np.isfinite(table).all():
        raise ValueError(f"need {FEWEST} or more repeats of the same scores without a gap, got shape {table.shape}")
    best = np.zeros(table.shape, dtype=np.float32)
    for row, values in zip(best, table, strict=True):
        row[top_edges(values, k)] = 1.0
    shared = np.rint(best @ best.T)
    ranks = stats.rankdata(table, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        ranks /= length
    one, other = np.triu_indices(table.shape[0], 1)
    rho = np.clip((ranks @ ranks.T)[one, other], -1.0, 1.0)
    defined = rho[np.isfinite(rho)]
    return Agreement(
        spearman=float(np.median(defined)) if defined.size else float("nan"),
        overlap=float(np.median((shared / (2 * k - shared))[one, other])),
        pairs=int(one.size),
        k=k,
    )


def reading_of(low: float, high: float, null: float) -> Reading:
    """How an interval reads against a null value; an interval without bounds is undecided.

    >>> reading_of(0.52, 0.6, 0.5), reading_of(0.4, 0.5, 0.5), reading_of(0.3, 0.4, 0.5)
    ('greater', 'undecided', 'less')
    """
    if low > null:
        return "greater"
    return "less" if high < null else "undecided"
