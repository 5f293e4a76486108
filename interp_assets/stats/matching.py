"""Pairs matched on what a gene is like: propensity matching out of fold, and negatives of equal expression.

What belongs here: which negatives are set beside which positives, and how alike the two sides are then. What does
not: what is measured on the matched pairs (`incremental`, `ranking`).

Both matchings read labels. The propensity of a test fold is therefore fitted on the other folds, and the number of
perturbations that change a gene counts theirs alone: with counts of the test fold itself a positive would be
matched on its own outcome (paper section 9, trap 11).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from interp_assets.stats.crossfit import (
    FloatArray,
    Fold,
    FoldPlan,
    IndexArray,
    Logistic,
    TooLittleDataError,
    out_of_fold_scores,
)
from interp_assets.stats.incremental import CandidatePairs

# Training pairs count the outcomes of training folds without their own: that takes a third fold.
FEWEST_FOLDS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Positives and the negatives nearest to them, as positions among n candidate pairs.

    ``negative`` is positives x matches: with reuse, so that one negative may stand beside many positives.
    ``n_affected`` (n) is how many training perturbations of a pair's fold change its target, ``log_odds`` (n) the
    propensity. Both have one value a gene within a fold.
    """

    positive: IndexArray
    negative: IndexArray
    n_affected: FloatArray
    log_odds: FloatArray

    @property
    def distinct_negative(self) -> IndexArray:
        """Matched negatives, each once."""
        return np.unique(self.negative)

    @property
    def distinct(self) -> NDArray[np.bool_]:
        """Pairs of the matched set (n): positives and distinct negatives. Results are judged on these."""
        mask = np.zeros(self.log_odds.size, dtype=bool)
        mask[self.positive] = True
        mask[self.negative] = True
        return mask


@dataclass(frozen=True, slots=True)
class Balance:
    """Standardised mean differences of the covariates (c each): before, after with reuse, after on distinct pairs."""

    before: FloatArray
    reused: FloatArray
    distinct: FloatArray


def propensity_matching(
    gene_features: FloatArray,
    pairs: CandidatePairs,
    plan: FoldPlan,
    *,
    matches: int,
    rng: np.random.Generator,
) -> Matching:
    """The nearest negatives of every positive on the out-of-fold propensity of responding (paper section 4).

    For each fold over perturbations: logistic regression of the label on gene features and the number of
    perturbations that change the target, fitted on the other folds, those alone counted; then, among the pairs of
    the fold, the ``matches`` negatives nearest to each positive on the log-odds. The features are equal for all
    perturbations, so that the log-odds have one value a gene and the nearest negatives are mostly the same gene
    under other perturbations: ties are broken at random, else the order of the perturbations would decide.

    Parameters
    ----------
    gene_features : genes x features of the target.
    pairs : n candidate pairs.
    plan : folds over perturbations that test every pair, at least three.
    matches : negatives per positive.

    Raises
    ------
    ValueError
        When the plan does not split perturbations, leaves pairs untested, or has fewer than three folds.
    TooLittleDataError
        When a fold with positives has fewer negatives than matches, or a training fold lacks a class.
    """
    fold = _test_fold(plan)
    changed = _changed_in_fold(pairs, fold, len(plan.folds), gene_features.shape[0])
    n_affected, log_odds = np.empty(pairs.size), np.empty(pairs.size)
    positives, negatives = [], []
    for number, part in enumerate(plan.folds):
        counts = _affected(changed, fold, number, pairs.target)
        features = np.column_stack([gene_features[pairs.target], counts])
        alone = FoldPlan("perturbation", plan.perturbation, plan.target, (part,))
        found = out_of_fold_scores(features, pairs.positive, alone, Logistic())[part.test]
        n_affected[part.test] = counts[part.test]
        log_odds[part.test] = _one_value_a_gene(found, pairs.target[part.test])
        one, zero = (part.test[pairs.positive[part.test] == side] for side in (True, False))
        if one.size and zero.size < matches:
            raise TooLittleDataError(f"fold {number} has {zero.size} negatives for {matches} matches")
        if one.size:
            positives.append(one)
            negatives.append(zero[nearest(log_odds[one], log_odds[zero], matches, rng)])
    one, zero = np.concatenate(positives), np.concatenate(negatives)
    return Matching(positive=one, negative=zero, n_affected=n_affected, log_odds=log_odds)


def _test_fold(plan: FoldPlan) -> IndexArray:
    """The fold that tests each pair (n)."""
    if plan.split != "perturbation" or not plan.tested.all() or len(plan.folds) < FEWEST_FOLDS:
        raise ValueError(f"matching needs {FEWEST_FOLDS} or more folds over perturbations that test every pair")
    fold = np.empty(plan.perturbation.size, dtype=np.intp)
    for number, part in enumerate(plan.folds):
        fold[part.test] = number
    return fold


def _changed_in_fold(pairs: CandidatePairs, fold: IndexArray, folds: int, genes: int) -> FloatArray:
    """How many perturbations of each fold change each gene (folds x genes)."""
    place = (fold * genes + pairs.target)[pairs.positive]
    counts: FloatArray = np.bincount(place, minlength=folds * genes).astype(np.float64)
    return counts.reshape(folds, genes)


def _affected(changed: FloatArray, fold: IndexArray, test: int, target: IndexArray) -> FloatArray:
    """How many training perturbations change the target of every pair (n), as fold ``test`` may know it.

    Training pairs leave out their own fold as well, scaled up to the same number of folds: otherwise the model
    would be fitted on counts that hold the label it predicts.
    """
    training = changed.sum(axis=0) - changed[test]
    folds = changed.shape[0]
    others = (training[target] - changed[fold, target]) * (folds - 1) / (folds - 2)
    return np.asarray(np.where(fold == test, training[target], others))


def _one_value_a_gene(log_odds: FloatArray, target: IndexArray) -> FloatArray:
    """The log-odds with rounding differences between pairs of one gene removed, so that ties are ties."""
    _, first, gene = np.unique(target, return_index=True, return_inverse=True)
    return np.asarray(log_odds[first][gene])


def nearest(wanted: FloatArray, offered: FloatArray, matches: int, rng: np.random.Generator) -> IndexArray:
    """Positions in ``offered`` of the values nearest to each wanted one (wanted x matches), with reuse.

    Among equally distant values the choice is uniform at random, and no value is taken twice for one wanted.
    Equal in distance to a search over all differences.

    >>> nearest(np.array([0.1, 2.0]), np.array([5.0, 0.0, 1.0]), 2, np.random.default_rng(0))
    array([[1, 2],
           [2, 1]])

    Raises
    ------
    ValueError
        When fewer values are offered than matches are asked for.
    """
    if offered.size < matches:
        raise ValueError(f"{offered.size} values cannot give {matches} matches")
    values, run, counts = np.unique(offered, return_inverse=True, return_counts=True)
    runs = np.split(np.argsort(run, kind="stable"), np.cumsum(counts)[:-1])
    asked, who = np.unique(wanted, return_inverse=True)
    found = np.empty((wanted.size, matches), dtype=np.intp)
    askers = np.split(np.argsort(who, kind="stable"), np.cumsum(np.bincount(who))[:-1])
    for value, rows in zip(asked, askers, strict=True):
        surely, level = _nearest_runs(float(value), values, counts, matches)
        sure = np.concatenate([runs[i] for i in surely]) if surely else np.empty(0, dtype=np.intp)
        found[rows, : sure.size] = sure
        # A random stretch of a randomly ordered ring is a uniform choice without repeats, for any ring size.
        ring = rng.permutation(np.concatenate([runs[i] for i in level]))
        start = rng.integers(0, ring.size, rows.size)[:, None]
        found[rows, sure.size :] = ring[(start + np.arange(matches - sure.size)) % ring.size]
    return found


def _nearest_runs(value: float, values: FloatArray, counts: IndexArray, matches: int) -> tuple[list[int], list[int]]:
    """Runs of equal values that are surely taken, and the runs at the distance where the matches are complete."""
    right = int(np.searchsorted(values, value))
    left = right - 1
    surely: list[int] = []
    taken = 0
    while True:
        below = value - values[left] if left >= 0 else np.inf
        above = values[right] - value if right < values.size else np.inf
        level = [left] * bool(below <= above) + [right] * bool(above <= below)
        size = int(counts[level].sum())
        if taken + size >= matches:
            return surely, level
        surely, taken = surely + level, taken + size
        left, right = left - (below <= above), right + (above <= below)


def standardised_mean_difference(one: FloatArray, other: FloatArray) -> FloatArray:
    """|mean1 - mean0| / sqrt((var1 + var0) / 2) of every column (ddof 1).

    0 where both sides hold one and the same value, infinite where they hold two different constants.
    """
    gap = np.abs(one.mean(axis=0) - other.mean(axis=0))
    spread = np.sqrt((one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / 2.0)
    apart = np.where(gap > 0.0, np.inf, 0.0)
    return np.asarray(np.divide(gap, spread, out=apart, where=spread > 0.0))


def balance(covariates: FloatArray, positive: NDArray[np.bool_], matching: Matching) -> Balance:
    """How alike positives and negatives are in the covariates (n x c) before and after matching."""
    matched = covariates[matching.positive]
    sides = (
        (covariates[positive], covariates[~positive]),
        (matched, covariates[matching.negative.ravel()]),
        (matched, covariates[matching.distinct_negative]),
    )
    return Balance(*(standardised_mean_difference(one, other) for one, other in sides))


def restricted_plan(plan: FoldPlan, mask: NDArray[np.bool_]) -> FoldPlan:
    """The same folds over the pairs under ``mask`` (n), renumbered.

    Raises
    ------
    TooLittleDataError
        When a fold keeps no training or no test pair.
    """
    place = np.cumsum(mask) - 1
    folds = [Fold(*(place[part[mask[part]]] for part in (fold.train, fold.test))) for fold in plan.folds]
    for number, fold in enumerate(folds):
        if not (fold.train.size and fold.test.size):
            raise TooLittleDataError(f"{plan.split} split: fold {number} keeps no training or no test pairs")
    return FoldPlan(plan.split, plan.perturbation[mask], plan.target[mask], tuple(folds))


def paired_by_rank(label: NDArray[np.int8], covariate: ArrayLike, caliper: float) -> NDArray[np.int8]:
    """Labels (P x G) that keep, per row, positives and one negative each of nearly the same covariate rank.

    The closest positive and negative are paired first, each used once; ties go to the lower positions. A
    positive without a free negative within ``caliper`` (share of the G ranks) drops out, so that a row keeps as
    many negatives as positives and the covariate itself ranks them at chance.

    Parameters
    ----------
    label : P x G; 1, 0, -1 = no candidate.
    covariate : G, finite.
    """
    # Twice a mid-rank is a whole number: distances then tie exactly.
    rank = np.rint(2.0 * rankdata(covariate)).astype(np.int64)
    limit = 2.0 * caliper * rank.size
    paired = np.full_like(label, -1)
    for row in range(label.shape[0]):
        one, zero = np.flatnonzero(label[row] == 1), np.flatnonzero(label[row] == 0)
        kept = _closest_first(rank[one], rank[zero], limit)
        paired[row, one[kept[0]]], paired[row, zero[kept[1]]] = 1, 0
    return paired


def _closest_first(one: NDArray[np.int64], zero: NDArray[np.int64], limit: float) -> tuple[list[int], list[int]]:
    """Positions of the paired values of both sides, closest pairs first, each value once."""
    gap = np.abs(one[:, None] - zero[None, :])
    first, second = np.nonzero(gap <= limit)
    order = np.lexsort((second, first, gap[first, second]))
    used_one, used_zero = set[int](), set[int]()
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if i not in used_one and j not in used_zero:
            used_one.add(i)
            used_zero.add(j)
    return sorted(used_one), sorted(used_zero)
