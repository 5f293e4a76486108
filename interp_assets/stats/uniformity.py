"""Are p-values uniform? Distance to the uniform distribution, and how far chance takes it.

What belongs here: numbers about p-values that were drawn under a null. What does not: how they were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Float = NDArray[np.float64]
FEWEST_REFERENCES = 19  # 1 / (19 + 1) is the 5 per cent that the limit leaves out


@dataclass(frozen=True, slots=True)
class Uniformity:
    """How p-values of a true null are distributed.

    ``share_below`` is the share under ``alpha``; chance keeps it between ``share_low`` and ``share_high`` (95%) and
    keeps the Kolmogorov distance ``ks`` at or below ``ks_limit`` (95%). ``uniform`` says that ``ks`` is. ``excess`` is
    the distance on the side of too many small p-values only; ``valid`` says that it is within the limit: a test that is
    valid and not uniform errs on the safe side.
    """

    n: int
    mean: float
    share_below: float
    share_low: float
    share_high: float
    ks: float
    ks_limit: float
    uniform: bool
    excess: float
    valid: bool


def kolmogorov_distance(p: ArrayLike) -> float:
    """Largest difference between the distribution of the p-values and the uniform one (``scipy.stats.kstest``).

    Raises
    ------
    ValueError
        If there is no p, or one is missing or outside 0 to 1.

    >>> kolmogorov_distance([0.125, 0.375, 0.625, 0.875])
    0.125
    """
    return max(_sides(_checked(p)))


def independent_uniformity(p: ArrayLike, *, alpha: float = 0.05) -> Uniformity:
    """Uniformity of independent p-values: exact Kolmogorov and binomial limits.

    >>> independent_uniformity(np.linspace(0.005, 0.995, 100)).uniform
    True
    """
    values = _checked(p)
    low, high = stats.binom.ppf((0.025, 0.975), values.size, alpha) / values.size
    limit = float(stats.kstwo.ppf(0.95, values.size))
    return _judged(values, alpha, float(low), float(high), limit)


def dependent_uniformity(p: ArrayLike, references: Sequence[ArrayLike], *, alpha: float = 0.05) -> Uniformity:
    """Uniformity of p-values that depend on each other, judged by what the same procedure gives under the null.

    Parameters
    ----------
    p
        P-values of one run of the procedure.
    references
        P-values of further runs, each on data in which the null is true by construction. The limit is the
        ceil(.95 (B + 1))-th smallest of their B distances, the band the same two-sided on their shares.

    Raises
    ------
    ValueError
        If there are fewer than 19 references: their largest distance would not be a limit of 5 per cent.
    """
    if len(references) < FEWEST_REFERENCES:
        raise ValueError(f"{len(references)} reference runs; at least {FEWEST_REFERENCES} are needed for a limit of 5%")
    distances = np.sort([kolmogorov_distance(one) for one in references])
    shares = np.sort([float((_checked(one) < alpha).mean()) for one in references])
    runs = len(references)
    limit = distances[int(np.ceil(0.95 * (runs + 1))) - 1]
    # With few references the two-sided band is their whole range.
    outer = int(np.floor(0.025 * (runs + 1)))
    low, high = shares[max(outer - 1, 0)], shares[min(runs - outer, runs - 1)]
    return _judged(_checked(p), alpha, float(low), float(high), float(limit))


def clustered_uniformity(
    p: ArrayLike, rng: np.random.Generator, *, alpha: float = 0.05, resamples: int = 500
) -> Uniformity:
    """Uniformity of p-values runs x m: runs are independent, the p-values of one run may depend on each other.

    The limit is the 95th percentile of the largest |mean over runs of w (F - mean F)| with random signs w, where F
    is a run's distribution function on a grid of hundredths; the band of the share comes from its spread over runs.

    Raises
    ------
    ValueError
        If there are fewer than 19 runs.
    """
    values = np.atleast_2d(np.asarray(p, dtype=np.float64))
    runs = values.shape[0]
    if runs < FEWEST_REFERENCES:
        raise ValueError(f"{runs} runs; at least {FEWEST_REFERENCES} are needed for a limit of 5%")
    pooled = _checked(values)
    grid = np.arange(1, 100) / 100.0
    below = np.stack([(values <= x).mean(axis=1) for x in grid], axis=1)
    signs = rng.choice((-1.0, 1.0), (resamples, runs))
    distances = np.abs(signs @ (below - below.mean(axis=0))).max(axis=1) / runs
    error = 1.96 * float((values < alpha).mean(axis=1).std(ddof=1)) / np.sqrt(runs)
    return _judged(pooled, alpha, alpha - error, alpha + error, float(np.quantile(distances, 0.95)))


def _judged(values: Float, alpha: float, low: float, high: float, limit: float) -> Uniformity:
    excess, lack = _sides(values)
    distance = max(excess, lack)
    return Uniformity(
        n=values.size,
        mean=float(values.mean()),
        share_below=float((values < alpha).mean()),
        share_low=low,
        share_high=high,
        ks=distance,
        ks_limit=limit,
        uniform=distance <= limit,
        excess=excess,
        valid=excess <= limit,
    )


def _sides(values: Float) -> tuple[float, float]:
    """How far the distribution function of the p-values lies above, and below, the uniform one at most."""
    ordered = np.sort(values)
    steps = np.arange(ordered.size + 1) / ordered.size
    return float((steps[1:] - ordered).max()), float((ordered - steps[:-1]).max())


def _checked(p: ArrayLike) -> Float:
    values = np.asarray(p, dtype=np.float64).ravel()
    if values.size == 0:
        raise ValueError("no p-value; nothing can be said about their distribution")
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError("a p-value is missing or outside 0 to 1")
    return values
