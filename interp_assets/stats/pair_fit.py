"""Least squares of one pair score on others, in sample and out of fold by target gene, from sums alone.

Scores are genes x genes (rows sources, columns targets), self pairs left out. Every number is exact: the sums of
each target gene hold all that least squares needs, so that no pair is visited twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.crossfit import group_folds
from interp_assets.stats.resampling import Interval, percentile_interval

Float = NDArray[np.float64]
Int = NDArray[np.int64]
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFit:
    """R2 of least squares with an intercept: on the pairs it was fitted to, and for target genes left out.

    The interval resamples target genes with their errors out of fold; no fit is repeated.
    """

    in_sample: float
    out_of_fold: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMoments:
    """Products of 1 and every score with each other, summed over the sources of each target (G x (1 + k) x (1 + k)).

    Scores are centred and scaled over all pairs, which changes no R2 with an intercept and keeps sums exact; a
    constant score is all 0. ``names`` are those of the k scores, in the order of the columns after the first.
    """

    names: tuple[str, ...]
    sums: Float


def pair_moments(scores: Mapping[str, ArrayLike]) -> PairMoments:
    """Moments of any number of pair scores by name, from which every fit among them follows.

    Raises
    ------
    ValueError
        If scores are not square or of different shapes, or a pair has no finite score.
    """
    tables = [np.asarray(table, dtype=np.float64) for table in scores.values()]
    shape = tables[0].shape
    if len(shape) != 2 or shape[0] != shape[1] or any(table.shape != shape for table in tables):
        raise ValueError(f"need square scores of one shape, got {', '.join(str(table.shape) for table in tables)}")
    pair = 1.0 - np.eye(shape[0])
    columns = [pair]
    for table in tables:
        values = np.where(pair > 0.0, table, 0.0)
        if not np.isfinite(values).all():
            raise ValueError("scores hold missing or infinite pairs; apply fill_missing and record its share")
        centred = (values - values.sum() / pair.sum()) * pair
        spread = np.sqrt((centred**2).sum() / pair.sum())
        columns.append(centred / spread if spread > ROUNDING * np.abs(values).max() else np.zeros(shape))
    sums = np.empty((shape[1], len(columns), len(columns)))
    for i, one in enumerate(columns):
        for j, other in enumerate(columns[: i + 1]):
            sums[:, i, j] = sums[:, j, i] = np.einsum("st,st->t", one, other)
    return PairMoments(names=tuple(scores), sums=sums)


def fit_pairs(
    moments: PairMoments,
    outcome: str,
    given: Sequence[str],
    *,
    folds: int,
    rng: np.random.Generator,
    weights: Int,
) -> PairFit:
    """R2 of one score on others over all ordered pairs, 1 - sum of squared errors / sum about the mean.

    Equal to `stats.explained.explained_variance` with least squares and folds by target gene.

    Parameters
    ----------
    folds
        All pairs of a target gene lie in one of so many folds.
    weights
        Resamples x genes, see `resampling.group_weights`.

    Raises
    ------
    ValueError
        If the outcome is the same for every pair.
    TooLittleDataError
        When there are fewer genes than folds.
    """
    at = np.array([0, *(1 + moments.names.index(name) for name in (*given, outcome))])
    own = moments.sums[:, at[:, None], at[None, :]]
    fold = group_folds(np.arange(own.shape[0]), folds, rng)
    whole = own.sum(axis=0)
    total = _about_mean(whole[None])[0]
    if total <= 0.0:
        raise ValueError(f"{outcome} is the same for every pair, so that nothing can explain it")
    errors = np.empty(own.shape[0])
    for number in range(folds):
        inside = fold == number
        errors[inside] = _errors(own[inside], _coefficients(whole - own[inside].sum(axis=0)))
    drawn = weights.astype(np.float64)
    spread = _about_mean(np.tensordot(drawn, own, axes=1))
    draws = np.full(drawn.shape[0], np.nan)
    np.divide(drawn @ errors, spread, out=draws, where=spread > ROUNDING * total)
    return PairFit(
        in_sample=float(1.0 - _errors(whole[None], _coefficients(whole))[0] / total),
        out_of_fold=float(1.0 - errors.sum() / total),
        interval=percentile_interval(1.0 - draws, requested=drawn.shape[0]),
    )


def _coefficients(moments: Float) -> Float:
    """Least squares of the last column on the others; a constant or collinear covariate gets the shortest solution."""
    return np.asarray(np.linalg.lstsq(moments[:-1, :-1], moments[:-1, -1], rcond=1e-12)[0])


def _errors(moments: Float, coefficients: Float) -> Float:
    """Sum of squared errors of each target."""
    full = np.append(-coefficients, 1.0)
    return np.asarray(np.einsum("i,tij,j->t", full, moments, full))


def _about_mean(moments: Float) -> Float:
    """Sum of squares of the outcome about its own mean, for each set of summed moments."""
    return np.asarray(moments[:, -1, -1] - moments[:, 0, -1] ** 2 / moments[:, 0, 0])
