"""Rates over seeds with exact limits, and where a power curve reaches a level.

What belongs here: counts in, numbers out. What does not: which seeds are counted (`summary`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened among ``n`` seeds.

    ``low`` and ``high`` are the exact (Clopper-Pearson) two-sided 95 % limits, ``upper`` the exact one-sided 95 %
    upper limit. All are NaN where nothing was counted.
    """

    count: int
    n: int
    low: float
    high: float
    upper: float

    @property
    def value(self) -> float:
        """Share of the seeds; NaN without any."""
        return self.count / self.n if self.n else float("nan")


def rate(count: int, n: int, *, level: float = 0.95) -> Rate:
    """Rate of ``count`` among ``n`` with exact binomial limits (Clopper and Pearson 1934).

    The lower limit is the beta quantile (1 - level) / 2 of (count, n - count + 1), the upper one that of
    (count + 1, n - count); 0 and 1 at the ends.

    Raises
    ------
    ValueError
        If the count does not lie between 0 and n.

    >>> found = rate(0, 300)
    >>> round(found.upper, 4), found.low
    (0.0099, 0.0)
    """
    if not 0 <= count <= n:
        raise ValueError(f"count = {count} of n = {n}; a count lies between 0 and n")
    tail = (1.0 - level) / 2.0
    return Rate(count, n, _limit(count, n, tail), _limit(count, n, 1.0 - tail), _limit(count, n, level))


def _limit(count: int, n: int, quantile: float) -> float:
    from scipy.stats import beta

    if n == 0:
        return float("nan")
    if quantile < 0.5:
        return 0.0 if count == 0 else float(beta.ppf(quantile, count, n - count + 1))
    return 1.0 if count == n else float(beta.ppf(quantile, count + 1, n - count))


def crossing(strengths: Sequence[float], power: Sequence[float], level: float = 0.8) -> float | None:
    """Strength at which power first reaches ``level`` and does not fall below it again, log-linear between strengths.

    None where the strongest one stays below; the weakest strength itself where power is there from the start.

    >>> crossing([1.0, 2.0, 4.0], [0.2, 0.6, 1.0])
    2.8284271247461903
    """
    at, reached = np.log(np.asarray(strengths, dtype=np.float64)), np.asarray(power, dtype=np.float64)
    if at.size != reached.size or at.size == 0 or (np.diff(at) <= 0).any():
        raise ValueError("a power curve needs one power for each strength, weakest first")
    below = np.flatnonzero(~(reached >= level))
    if below.size == 0:
        return float(np.exp(at[0]))
    last = int(below[-1])
    if last == at.size - 1 or np.isnan(reached[last]):
        return None
    share = (level - reached[last]) / (reached[last + 1] - reached[last])
    return float(np.exp(at[last] + share * (at[last + 1] - at[last])))
