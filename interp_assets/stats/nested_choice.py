"""Which of several scores is best, chosen inside the folds and judged outside them.

What belongs here: nested cross-validation over units (perturbations) of a table scores x units, and its bootstrap.
What does not: how a score of a unit is made, or any p-value.

Nothing is fitted, so a layer is judged by its mean over units. Subtracting the same baseline from every layer changes
no choice: choosing by AUROC and choosing by AUROC minus correlation are one rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.crossfit import TooLittleDataError

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedChoice:
    """Chosen layer of every outer fold and what it gives on held-out units.

    ``fold`` (n) is the outer fold of each unit, ``chosen`` (folds) the layer that the inner folds of its training
    units chose, ``inner`` (folds x layers) the inner score of every layer, ``held_out`` (n) the value of the chosen
    layer at each unit, all units once.
    """

    fold: Int
    chosen: Int
    inner: Float
    held_out: Float


def deal_folds(groups: Int, folds: int, rng: np.random.Generator) -> Int:
    """Fold of every unit (n), equal groups together, fold sizes at most one group apart.

    Raises
    ------
    TooLittleDataError
        When there are fewer groups than folds.
    """
    codes, inverse = np.unique(groups, return_inverse=True)
    if folds < 2:
        raise ValueError(f"folds = {folds}; a choice inside folds needs at least two")
    if codes.size < folds:
        raise TooLittleDataError(f"{codes.size} perturbed genes cannot fill {folds} folds")
    dealt = np.empty(codes.size, dtype=np.int64)
    dealt[rng.permutation(codes.size)] = np.arange(codes.size) % folds
    return np.asarray(dealt[inverse], dtype=np.int64)


def nested_choice(
    values: Float, groups: Int, *, outer: int, inner: int, rng: np.random.Generator, weight: Int | None = None
) -> NestedChoice:
    """Nested choice among layers from values (layers x n): inner folds choose, the outer fold judges.

    For every outer fold its training units are dealt into inner folds; the score of a layer is the mean over inner
    folds of its mean in the fold; the best layer is taken, ties going to the earlier one (paper section 5, analysis
    30). Units of one group never part. ``weight`` (n) says how often a unit counts (a bootstrap draw); units of
    weight 0 take no part and have no fold (-1) and no held-out value (NaN).

    Raises
    ------
    TooLittleDataError
        When the units cannot fill the folds.
    """
    layers, units = values.shape
    count = np.ones(units, dtype=np.int64) if weight is None else weight
    there = np.flatnonzero(count > 0)
    fold = np.full(units, -1, dtype=np.int64)
    fold[there] = deal_folds(groups[there], outer, rng)
    chosen, scores = np.empty(outer, dtype=np.int64), np.empty((outer, layers))
    held_out = np.full(units, np.nan)
    for number in range(outer):
        train = np.flatnonzero((fold != number) & (fold >= 0))
        within = deal_folds(groups[train], inner, rng)
        share = np.zeros((train.size, inner))
        share[np.arange(train.size), within] = count[train]
        scores[number] = (values[:, train] @ (share / share.sum(axis=0))).mean(axis=1)
        chosen[number] = int(scores[number].argmax())
        test = fold == number
        held_out[test] = values[chosen[number], test]
    return NestedChoice(fold=fold, chosen=chosen, inner=scores, held_out=held_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedDraws:
    """Bootstrap draws of the whole nested choice: mean held-out difference, its paired d, and the layers chosen.

    ``mean``, ``effect_size``, ``score`` and ``baseline`` have one entry a draw (NaN where a draw could not fill the
    folds), ``times_chosen`` one a layer: in how many outer folds of all draws it was chosen.
    """

    mean: Float
    effect_size: Float
    score: Float
    baseline: Float
    times_chosen: Int


def nested_bootstrap(
    values: Float,
    baseline: Float,
    groups: Int,
    *,
    outer: int,
    inner: int,
    rng: np.random.Generator,
    resamples: int,
) -> NestedDraws:
    """Draws of the pooled held-out difference to ``baseline`` (n), the choice of the layer made anew in each.

    A draw takes whole groups with replacement; copies of a group stay in one fold, so that no unit is trained and
    tested on. Resampling the held-out values of one choice alone would treat that choice as known.
    """
    codes, member = np.unique(groups, return_inverse=True)
    draws = np.full((4, resamples), np.nan)
    times = np.zeros(values.shape[0], dtype=np.int64)
    for number in range(resamples):
        weight = np.bincount(rng.integers(0, codes.size, codes.size), minlength=codes.size)[member]
        try:
            found = nested_choice(values, groups, outer=outer, inner=inner, rng=rng, weight=weight)
        except TooLittleDataError:
            continue
        times += np.bincount(found.chosen, minlength=times.size)
        there = weight > 0
        kept, score = weight[there].astype(np.float64), found.held_out[there]
        gap = score - baseline[there]
        mean = float(np.average(gap, weights=kept))
        spread = np.sqrt(np.average((gap - mean) ** 2, weights=kept) * kept.sum() / (kept.sum() - 1.0))
        size = mean / spread if spread > 0.0 else np.nan
        draws[:, number] = mean, size, np.average(score, weights=kept), np.average(baseline[there], weights=kept)
    return NestedDraws(mean=draws[0], effect_size=draws[1], score=draws[2], baseline=draws[3], times_chosen=times)
