"""Rank correlation of paired effects, plain or with covariates regressed out of both sides, and its nulls.

What belongs here: Spearman and partial Spearman over many resamples at once, a null that gives each source the
measured effects of another, the smallest correlation a sample can show. What does not: what the effects are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
TRIES_PER_SHUFFLE = 20
LEAST_ORDERS = 19  # other orders of sources; with fewer no p can fall to .05
SPEARMAN_INFLATION = 1.06  # Fieller, Hartley and Pearson 1957: variance of the z of a rank correlation


def rank_correlation(x: ArrayLike, y: ArrayLike, covariates: ArrayLike | None = None) -> Float:
    """Spearman correlation of each row of x and y (B x n), or partial Spearman given covariates (B x k x n).

    Ranks (mid-ranks) of both sides are regressed on the ranks of the covariates and a constant; the value is the
    Pearson correlation of the two residuals (paper section 5, analysis 5). Without covariates it equals
    ``scipy.stats.spearmanr``. A row in which a side is constant, or fully explained by the covariates, is NaN.

    Raises
    ------
    ValueError
        If shapes do not match or a value is not finite.
    """
    left, right = (np.atleast_2d(np.asarray(side, dtype=np.float64)) for side in (x, y))
    given = np.empty((1, 0, left.shape[1])) if covariates is None else np.asarray(covariates, dtype=np.float64)
    given = given[None] if given.ndim == 2 else given
    rows = max(left.shape[0], right.shape[0], given.shape[0])
    if left.shape[1] != right.shape[1] or given.ndim != 3 or given.shape[2] != left.shape[1]:
        raise ValueError(f"x {left.shape}, y {right.shape} and covariates {given.shape} are not over the same pairs")
    if not all(np.isfinite(side).all() for side in (left, right, given)):
        raise ValueError("effects and covariates must be finite; leave pairs without a value out, and count them")
    left, right = (_centred(np.broadcast_to(side, (rows, side.shape[1]))) for side in (left, right))
    if given.shape[1]:
        design = _centred(np.broadcast_to(given, (rows, *given.shape[1:])))
        left, right = _residual(left, design), _residual(right, design)
    norm = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    found = np.full(rows, np.nan)
    np.divide((left * right).sum(axis=1), norm, out=found, where=norm > 1e-9 * left.shape[1] ** 3)
    return np.clip(found, -1.0, 1.0)


def _centred(values: Float) -> Float:
    from scipy.stats import rankdata

    ranks: Float = np.asarray(rankdata(values, axis=-1), dtype=np.float64)
    centred: Float = ranks - ranks.mean(axis=-1, keepdims=True)
    return centred


def _residual(side: Float, design: Float) -> Float:
    """What least squares on the covariates (B x k x n) leaves of a side (B x n); collinear covariates do no harm."""
    weights = np.linalg.pinv(design.transpose(0, 2, 1), rcond=1e-10) @ side[:, :, None]
    fitted: Float = (design.transpose(0, 2, 1) @ weights)[:, :, 0]
    return side - fitted


def bootstrap_rank_correlation(
    x: ArrayLike, y: ArrayLike, covariates: ArrayLike | None, rng: np.random.Generator, resamples: int
) -> Float:
    """`rank_correlation` of resamples of pairs (n) with replacement; covariates are k x n or None."""
    left, right = (np.asarray(side, dtype=np.float64) for side in (x, y))
    drawn = rng.integers(0, left.size, (resamples, left.size))
    given = None if covariates is None else np.asarray(covariates, dtype=np.float64)[:, drawn].transpose(1, 0, 2)
    return rank_correlation(left[drawn], right[drawn], given)


def asymptotic_p(rho: float, pairs: int, covariates: int = 0) -> float:
    """Two-sided p of a (partial) Spearman correlation: t = rho sqrt(df / (1 - rho^2)), df = pairs - 2 - covariates."""
    from scipy.special import stdtr

    freedom = pairs - 2 - covariates
    if freedom < 1 or not np.isfinite(rho):
        return float("nan")
    if abs(rho) >= 1.0:
        return 0.0
    return float(2.0 * stdtr(freedom, -abs(rho) * np.sqrt(freedom / (1.0 - rho**2))))


def detectable_rho(pairs: int, covariates: int = 0, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest rank correlation that ``pairs`` pairs show with that power, two-sided; NaN for fewer than 4.

    tanh((z_{1 - alpha/2} + z_power) sqrt(1.06 / (pairs - 3 - covariates))).

    >>> round(detectable_rho(40), 2)
    0.44
    """
    from scipy.special import ndtri

    freedom = pairs - 3 - covariates
    if freedom < 1:
        return float("nan")
    return float(np.tanh((ndtri(1 - alpha / 2) + ndtri(power)) * np.sqrt(SPEARMAN_INFLATION / freedom)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePairs:
    """Source-target pairs (n) whose model effects are linked with a table of measured effects.

    ``effect`` (n); ``source`` (n, rows of the table), ``target`` (n, its columns); ``measured`` (S x T, NaN where
    nothing was measured). ``covariates`` (k x n) stay with the model's side, ``source_covariates`` (j x S) belong to
    the screen's side and move with the measured effects of a source.
    """

    effect: Float
    source: Int
    target: Int
    measured: Float
    covariates: Float
    source_covariates: Float

    def linked(self, order: Int, *, adjusted: bool) -> tuple[Float, Float | None]:
        """Measured effects when source i is given those of ``order[i]`` (B x S), and the covariates (None: raw)."""
        given = order[:, self.source]
        effects = self.measured[given, self.target[None, :]]
        if not adjusted:
            return effects, None
        fixed = np.broadcast_to(self.covariates[None], (order.shape[0], *self.covariates.shape))
        moving = self.source_covariates[:, given].transpose(1, 0, 2)
        return effects, np.concatenate([fixed, moving], axis=1)

    def correlation(self, order: Int, *, adjusted: bool) -> Float:
        """`rank_correlation` of effects and linked measurements for each order (B)."""
        effects, covariates = self.linked(order, adjusted=adjusted)
        covariates = None if covariates is None or not covariates.shape[1] else covariates
        return rank_correlation(self.effect, effects, covariates)


@dataclass(frozen=True, slots=True)
class ShuffleTest:
    """Observed correlation against that of shuffled sources; ``p`` is (k + 1) / (done + 1), two-sided.

    ``orders`` counts the different orders of sources among the draws, the true one left out; mean, sd and p are NaN
    where there are fewer than `LEAST_ORDERS`.
    """

    observed: float
    mean: float
    sd: float
    p: float
    requested: int
    done: int
    orders: int


def source_shuffle_test(pairs: SourcePairs, rng: np.random.Generator, shuffles: int, *, adjusted: bool) -> ShuffleTest:
    """Is the agreement more than targets that move under any source? Each source is given another's measurements.

    Target genes keep their place, so what a target does under every source stays in the null, whose mean need not be
    0: the p counts draws at least as far from the mean of all draws and the observed value as the observed value
    is. An order that asks for an effect nobody measured is drawn again, `TRIES_PER_SHUFFLE` times as often at most.
    """
    used = np.unique(pairs.source)
    kept: list[Int] = []
    for _ in range(shuffles * TRIES_PER_SHUFFLE):
        order = np.arange(pairs.measured.shape[0], dtype=np.int64)
        order[used] = rng.permutation(used)
        if np.isfinite(pairs.measured[order[pairs.source], pairs.target]).all():
            kept.append(order)
            if len(kept) == shuffles:
                break
    own = np.arange(pairs.measured.shape[0], dtype=np.int64)[None]
    observed = float(pairs.correlation(own, adjusted=adjusted)[0])
    orders = len({tuple(order) for order in kept} - {tuple(own[0])})
    draws = pairs.correlation(np.array(kept), adjusted=adjusted) if kept else np.empty(0)
    draws = draws[np.isfinite(draws)]
    if orders < LEAST_ORDERS or draws.size == 0 or not np.isfinite(observed):
        return ShuffleTest(observed, np.nan, np.nan, np.nan, shuffles, int(draws.size), orders)
    centre = np.append(draws, observed).mean()
    # last bits of equal orders must not decide
    beyond = int((np.abs(draws - centre) >= abs(observed - centre) - 1e-12).sum())
    sd = float(draws.std(ddof=1)) if draws.size > 1 else np.nan
    return ShuffleTest(
        observed, float(draws.mean()), sd, (beyond + 1) / (draws.size + 1), shuffles, int(draws.size), orders
    )
