"""Share of the variance of a score that covariates explain out of fold, and its bootstrap over target genes.

What belongs here: out-of-fold R2 of scored gene pairs under two groupings of the folds. What does not: which
pairs, scores and covariates an analysis uses. Nothing here is fitted and judged on the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.crossfit import (
    Boosting,
    FloatArray,
    FoldPlan,
    IndexArray,
    out_of_fold_means,
    plan_folds,
)
from interp_assets.stats.fit_memory import FitMemory, content_key
from interp_assets.stats.resampling import Interval, group_weights, percentile_interval

FoldsBy = Literal["pair", "target_gene"]
FOLDS_BY: Final[tuple[FoldsBy, ...]] = ("pair", "target_gene")

# Sums of squares that cancel to this share of themselves are rounding: such a resample has no variance.
ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPairs:
    """Scored ordered gene pairs, one entry a pair (n).

    ``covariates`` is n x columns, gene-level features of target and source; ``source`` and ``target`` are
    codes of the two genes.
    """

    score: FloatArray
    covariates: FloatArray
    source: IndexArray
    target: IndexArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Out-of-fold R2 of one score, with its 95% interval over resampled target genes.

    ``r2`` is NaN for a score without variance and is left below 0 where the covariates predict worse than
    the mean does. ``resamples_done`` of the interval counts the resamples whose scores vary.
    """

    r2: float
    interval: Interval
    n_pairs: int
    n_targets: int


def explained_variance(
    pairs: ScoredPairs,
    learner: Boosting | None,
    *,
    folds_by: FoldsBy,
    folds: int,
    fold_seed: Sequence[int],
    resamples: int,
    draw_seed: Sequence[int],
    memory: FitMemory,
) -> Explained:
    """Out-of-fold R2 of the score given the covariates (paper section 5, analysis 15).

    Under ``folds_by="target_gene"`` all pairs of a target gene are predicted from other target genes. Under
    ``"pair"`` the other pairs of the same gene stay in training, so that a flexible learner recognises the
    gene by its covariates; that number is an upper reading and never the result. ``learner`` None is least
    squares. The interval resamples whole target genes under both, with the same draws for the same seed; the
    fits are not repeated. The result is kept in ``memory`` by content.

    Raises
    ------
    TooLittleDataError
        When the groups cannot fill the folds, or a training fold is too small to boost.
    """
    key = content_key(
        "explained_variance", pairs.score, pairs.covariates, pairs.source, pairs.target,
        learner, folds_by, folds, list(fold_seed), resamples, list(draw_seed),
    )  # fmt: skip

    def compute() -> Explained:
        plan = covariate_folds(pairs, folds_by, folds=folds, seed=fold_seed)
        expected = out_of_fold_means(pairs.covariates, pairs.score, plan, learner)
        genes, unit = np.unique(pairs.target, return_inverse=True)
        weights = group_weights(genes.size, resamples, np.random.default_rng(draw_seed))
        draws = grouped_r2_bootstrap(pairs.score, expected, unit, weights)
        return Explained(
            r2=r2(pairs.score, expected),
            interval=percentile_interval(draws, requested=resamples),
            n_pairs=int(pairs.score.size),
            n_targets=int(genes.size),
        )

    found: Any = memory.recall(key, compute, lambda _: 200)
    if not isinstance(found, Explained):
        raise ValueError(f"memory holds a {type(found).__name__} where an Explained belongs")
    return found


def covariate_folds(pairs: ScoredPairs, folds_by: FoldsBy, *, folds: int, seed: Sequence[int]) -> FoldPlan:
    """Fold plan over the pairs: no target gene, or only no single pair, on both sides of a fold.

    Raises
    ------
    TooLittleDataError
        When there are fewer groups than folds.
    """
    if folds_by not in FOLDS_BY:
        raise ValueError(f"folds by {folds_by!r}: use one of {', '.join(FOLDS_BY)}")
    # Folds by pair are folds in which every pair is a group of its own.
    group = pairs.target if folds_by == "target_gene" else np.arange(pairs.target.size, dtype=np.intp)
    return plan_folds("target_gene", pairs.source, group, folds=folds, seed=seed)


def r2(score: FloatArray, predicted: FloatArray) -> float:
    """Share of variance explained: 1 - sum (score - predicted)^2 / sum (score - mean score)^2.

    Predictions are pooled over the folds and the mean is that of all n scores, as in
    `sklearn.metrics.r2_score` on `cross_val_predict`. NaN where the scores have no variance.

    >>> r2(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0]))
    0.5
    """
    one_group = np.zeros(np.shape(score), dtype=np.intp)
    return float(grouped_r2_bootstrap(score, predicted, one_group, np.ones((1, 1), dtype=np.int64))[0])


def grouped_r2_bootstrap(
    score: FloatArray, predicted: FloatArray, groups: IndexArray, weights: NDArray[np.int64]
) -> FloatArray:
    """R2 (B) of every resample of whole groups, from four sums a group; no prediction is made again.

    Equal to repeating each pair as often as its group was drawn and computing `r2`, the mean of the repeated
    scores included: with e_g, q_g, s_g, n_g the group's sums of squared errors, squared scores, scores and
    pairs, R2 = 1 - sum w e / (sum w q - (sum w s)^2 / sum w n). NaN for a resample without variance.

    Parameters
    ----------
    score, predicted, groups
        One entry a pair (n): finite score and prediction, group number from 0.
    weights
        Resamples x groups, how often a group was drawn; see `resampling.group_weights`.

    Raises
    ------
    ValueError
        If the shapes differ or a number is missing: a pair that no fold tested has no residual.
    """
    if not score.shape == predicted.shape == groups.shape or score.ndim != 1 or score.size == 0:
        raise ValueError(f"need one prediction and group a score: {score.shape}, {predicted.shape}, {groups.shape}")
    if not np.isfinite(score).all() or not np.isfinite(predicted).all():
        raise ValueError("scores and predictions must be finite; every pair must be tested by some fold")
    number = weights.shape[1]
    # Centring changes no R2 and keeps the difference of large sums exact; equal scores centre to exact zeros.
    centred = score - (score[0] if np.ptp(score) == 0.0 else score.mean())
    errors, squares, sums = (
        np.bincount(groups, values, number) for values in ((score - predicted) ** 2, centred**2, centred)
    )
    drawn = weights.astype(np.float64)
    total = drawn @ squares
    size = drawn @ np.bincount(groups, minlength=number)
    draws: FloatArray = np.full(weights.shape[0], np.nan)
    about_mean = total - np.divide((drawn @ sums) ** 2, size, out=np.zeros_like(total), where=size > 0)
    np.divide(drawn @ errors, about_mean, out=draws, where=about_mean > ROUNDING * total)
    return 1.0 - draws
