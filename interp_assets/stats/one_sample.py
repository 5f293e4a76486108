"""One-sample t-tests of many conditions over the same units, and of resamples of these units.

What belongs here: conditions that share units (perturbations) but not all of them. What does not: what a unit's value
is, or which conditions there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OneSample:
    """Mean against a fixed value, for every resample and condition (B x C each).

    ``n`` counts units (with their repeats), ``sd`` is the sample standard deviation, ``p`` one-sided (greater). With
    fewer than two units, or units that are all alike, ``t`` and ``p`` are NaN: nothing was tested.
    """

    n: Float
    mean: Float
    sd: Float
    t: Float
    p: Float


def one_sample_t(values: ArrayLike, expected: float, weights: ArrayLike | None = None) -> OneSample:
    """One-sample t-test (greater) of every condition over its units, t = (mean - expected) sqrt(n) / sd.

    Equal to ``scipy.stats.ttest_1samp(alternative="greater")`` on each row with units repeated as weighted
    (paper section 5, analysis 20).

    Parameters
    ----------
    values
        Conditions x units (C x P), NaN where a unit has no value in a condition.
    expected
        Mean under the null.
    weights
        Resamples x units (B x P), how often each unit is taken; None takes every unit once (B = 1).

    Raises
    ------
    ValueError
        If shapes do not match or a value is infinite.

    >>> one_sample_t([[0.6, 0.7, 0.8]], 0.5).t.round(3)
    array([[3.464]])
    """
    from scipy.special import stdtr

    table = np.asarray(values, dtype=np.float64)
    taken = np.ones((1, table.shape[-1])) if weights is None else np.asarray(weights, dtype=np.float64)
    if table.ndim != 2 or taken.ndim != 2 or taken.shape[1] != table.shape[1]:
        raise ValueError(f"values {table.shape} must be conditions x units and weights {taken.shape} resamples x units")
    if np.isinf(table).any():
        raise ValueError("a unit has an infinite value")
    present = ~np.isnan(table)
    # shifted by the expected value, so that squares of nearly equal values do not cancel
    shifted = np.where(present, table - expected, 0.0)
    n = taken @ present.T
    total = taken @ shifted.T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        spread = taken @ (shifted**2).T - n * mean**2
        variance = np.where(n > 1, np.maximum(spread, 0.0) / (n - 1), np.nan)
        # what is left of equal values is rounding, not spread
        variance = np.where(variance <= 1e-14 * np.maximum(mean**2, 1e-14), 0.0, variance)
        t = np.where(variance > 0, mean / np.sqrt(variance / n), np.nan)
        p = stdtr(n - 1, -t)
    return OneSample(n=n, mean=mean + expected, sd=np.sqrt(variance), t=t, p=np.where(np.isfinite(t), p, np.nan))
