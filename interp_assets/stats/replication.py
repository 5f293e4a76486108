"""What one context can show about a mean paired difference: its interval, what it would find, and how to read it.

What belongs here: numbers of one set of units (perturbations). What does not: the tests of `paired`, or which contexts
are compared. Sign: condition minus baseline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from interp_assets.stats.paired import Equivalence, SignedRank, equivalence_test, signed_rank
from interp_assets.stats.resampling import BLOCK, Interval

Float = NDArray[np.float64]
Reading = Literal["greater", "smaller", "equal", "undecided"]
ALPHA: Final = 0.05
POWER: Final = 0.8
FEWEST: Final = 3  # with two, the noncentral t of scipy jumps near the wanted power


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextEvidence:
    """Mean paired difference of one context (n units), with what so many units could have shown.

    ``interval`` is the studentised bootstrap interval of the mean. ``detectable`` is the true difference found with
    power .8 at level .05, ``power_at_margin`` the power to find one as large as the margin; both are those of a paired
    t test on n units of this spread, and the power is 0 where the signed-rank test cannot reach the level at all.
    ``reading`` says greater, smaller, equal or undecided (`read_context`).
    """

    n: int
    mean: float
    sd: float
    interval: Interval
    test: SignedRank
    equivalence: Equivalence
    detectable: float
    power_at_margin: float
    reading: Reading


def context_evidence(
    differences: ArrayLike, margin: float, rng: np.random.Generator, resamples: int
) -> ContextEvidence:
    """Evidence of one context from its paired differences (n), one a unit (paper section 5, analyses 28, 33, 37).

    Raises
    ------
    ValueError
        If there are fewer than three differences, one is missing, or the margin is not positive.
    """
    values = _units(differences)
    test = signed_rank(values)
    equal = equivalence_test(values, margin)
    interval = studentised_interval(values, rng, resamples)
    sd = float(values.std(ddof=1))
    reachable = test.smallest_p <= ALPHA
    return ContextEvidence(
        n=values.size,
        mean=float(values.mean()),
        sd=sd,
        interval=interval,
        test=test,
        equivalence=equal,
        detectable=detectable_difference(values.size, sd),
        power_at_margin=power_to_detect(margin, values.size, sd) if reachable else 0.0,
        reading=read_context(interval, test.smallest_p, equal),
    )


def studentised_interval(
    values: ArrayLike, rng: np.random.Generator, resamples: int, *, level: float = 0.95
) -> Interval:
    """Bootstrap-t interval of the mean of n units: mean - t* x SE, t* = (mean* - mean) / SE* of each resample.

    Percentile intervals of few units are too narrow: for seven normal values they hold 95 % about 88 % of the time.
    A resample of one repeated unit has no SE* and is counted out. Units that are all alike give an interval of no
    width. For many units it equals the percentile interval (Efron and Tibshirani 1993, chapter 12).
    """
    units = _units(values)
    if resamples < 1:
        raise ValueError(f"resamples = {resamples}; at least one is needed")
    mean, error = float(units.mean()), float(units.std(ddof=1)) / math.sqrt(units.size)
    if np.ptp(units) == 0.0:
        return Interval(float(units[0]), float(units[0]), resamples, resamples)
    ratios = np.empty(resamples)
    step = max(1, BLOCK // units.size)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        drawn = units[rng.integers(0, units.size, (stop - start, units.size))]
        spread = np.where(np.ptp(drawn, axis=1) > 0.0, drawn.std(axis=1, ddof=1), np.nan)
        ratios[start:stop] = (drawn.mean(axis=1) - mean) / (spread / math.sqrt(units.size))
    kept = ratios[np.isfinite(ratios)]
    if kept.size == 0:
        return Interval(math.nan, math.nan, resamples, 0)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(kept, (tail, 1.0 - tail))
    return Interval(float(mean - high * error), float(mean - low * error), resamples, int(kept.size))


def power_to_detect(difference: float, n: int, sd: float, *, alpha: float = ALPHA) -> float:
    """Power of a two-sided paired t test of n differences with standard deviation ``sd`` at a true mean difference.

    1 - F(t; n - 1, delta) + F(-t; n - 1, delta), F the noncentral t with delta = difference sqrt(n) / sd and t its
    central quantile at 1 - alpha / 2. A signed-rank test has about .95 of its sample on normal differences and more
    on heavy tails.

    >>> round(power_to_detect(0.0, 20, 0.1), 12)
    0.05
    """
    _check_size(n, sd)
    if sd == 0.0:
        return 1.0 if difference != 0.0 else alpha
    shift = abs(difference) * math.sqrt(n) / sd
    limit = float(stats.t.ppf(1.0 - alpha / 2.0, n - 1))
    above, below = float(stats.nct.sf(limit, n - 1, shift)), float(stats.nct.cdf(-limit, n - 1, shift))
    # Far out scipy has no number: above, nothing is missed any more; below, nothing is left of at most alpha / 2.
    above, below = (above if math.isfinite(above) else 1.0), (below if math.isfinite(below) else 0.0)
    return min(1.0, above + below)


def detectable_difference(n: int, sd: float, *, power: float = POWER, alpha: float = ALPHA) -> float:
    """True mean difference that n paired differences of standard deviation ``sd`` find with the given power.

    The inverse of `power_to_detect`; 0 where the differences have no spread.
    """
    _check_size(n, sd)
    if not alpha < power < 1.0:
        raise ValueError(f"power = {power} must lie between alpha = {alpha} and 1")
    if sd == 0.0:
        return 0.0
    unit = sd / math.sqrt(n)
    upper = unit * (float(stats.t.ppf(1.0 - alpha / 2.0, n - 1)) + 40.0)
    found = optimize.brentq(lambda gap: power_to_detect(gap, n, sd, alpha=alpha) - power, 0.0, upper, xtol=1e-12)
    return float(found)


def read_context(interval: Interval, smallest_p: float, equal: Equivalence) -> Reading:
    """How a context reads: by its interval, equal only by the equivalence test, undecided where nothing could decide.

    Too few units to reach .05 leave it undecided whatever the interval says; a large p never makes it equal.
    """
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)) or smallest_p > ALPHA:
        return "undecided"
    if interval.low > 0.0:
        return "greater"
    if interval.high < 0.0:
        return "smaller"
    inside = -equal.margin < interval.low and interval.high < equal.margin
    return "equal" if equal.equivalent and inside else "undecided"


def _check_size(n: int, sd: float) -> None:
    if n < FEWEST or not (math.isfinite(sd) and sd >= 0.0):
        raise ValueError(f"n = {n}, sd = {sd}: power needs at least {FEWEST} units and a finite spread")


def _units(values: ArrayLike) -> Float:
    units = np.asarray(values, dtype=np.float64)
    if units.ndim != 1 or units.size < 2:
        raise ValueError(f"need at least two units with one value each, got shape {units.shape}")
    if not np.isfinite(units).all():
        raise ValueError("a unit has no value; exclude it, and list it, before the interval")
    return units
