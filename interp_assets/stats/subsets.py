"""Recovery of a part of a reference: what is left when only some of its positives count.

What belongs here: recovery under two sets of positives over the same regulators, and size-matched random parts.
What does not: why a positive belongs to the part. A positive outside the part is no candidate at all: it is
never a negative. Regulators without a positive in the part drop out with all their candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.ranking import auroc
from interp_assets.stats.resampling import grouped_auroc_bootstrap

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetRecovery:
    """Recovery of one set of positives, pooled and by regulator.

    ``by_regulator`` (R) is NaN where a regulator has dropped out or lists all its candidates; ``n_positive`` and
    ``n_candidates`` (R) are then 0 for a regulator that dropped out. ``draws`` (B) and ``mean_draws`` (B) are the
    pooled AUROC and the mean over regulators in resamples of whole regulators, NaN where a resample has none.
    """

    auroc: float
    draws: Float
    by_regulator: Float
    mean_draws: Float
    n_positive: Int
    n_candidates: Int

    @property
    def regulator_mean(self) -> float:
        """Mean AUROC over the regulators that have one; NaN without any."""
        values = self.by_regulator[np.isfinite(self.by_regulator)]
        return float(values.mean()) if values.size else float("nan")

    @property
    def regulators(self) -> int:
        """Regulators with at least one positive."""
        return int((self.n_positive > 0).sum())


def subset_labels(candidate: ArrayLike, member: ArrayLike, part: ArrayLike) -> NDArray[np.int8]:
    """Labels R x G: 1 for positives of the part, 0 for candidates the reference does not hold, -1 for the rest.

    Parameters
    ----------
    candidate, member, part
        R x G: pairs that may be scored, pairs the reference holds, positives that count.

    Raises
    ------
    ValueError
        If the part is not inside the reference, or the reference not among the candidates.

    >>> subset_labels([[True, True, True]], [[True, True, False]], [[True, False, False]])
    array([[ 1, -1,  0]], dtype=int8)
    """
    able, held, counted = (np.asarray(table, dtype=bool) for table in (candidate, member, part))
    if (counted & ~held).any() or (held & ~able).any():
        raise ValueError("the part must lie inside the reference, and the reference among the candidate pairs")
    labels = np.where(counted, 1, np.where(able & ~held, 0, -1)).astype(np.int8)
    labels[~counted.any(axis=1)] = -1
    return labels


def subset_recovery(scores: ArrayLike, labels: NDArray[np.int8], weights: Int) -> SubsetRecovery:
    """Recovery of R x G labels from `subset_labels`, and of every resample of regulators.

    ``weights`` is resamples x R, how often a regulator was drawn (`resampling.group_weights`). Regulators that
    dropped out keep their column, so that two subsets under the same weights are paired.
    """
    table = np.asarray(scores, dtype=np.float64)
    regulator, target = np.nonzero(labels >= 0)
    every = np.vstack([np.ones((1, labels.shape[0]), dtype=np.int64), weights])
    pooled = np.full(every.shape[0], np.nan)
    if regulator.size:
        pooled = grouped_auroc_bootstrap(table[regulator, target], labels[regulator, target], regulator, every)
    each = auroc(table, labels)
    kept = np.isfinite(each)
    drawn = weights[:, kept].sum(axis=1)
    mean_draws = np.full(weights.shape[0], np.nan)
    np.divide(weights[:, kept] @ each[kept], drawn, out=mean_draws, where=drawn > 0)
    return SubsetRecovery(
        auroc=float(pooled[0]),
        draws=pooled[1:],
        by_regulator=each,
        mean_draws=mean_draws,
        n_positive=(labels == 1).sum(axis=1),
        n_candidates=(labels >= 0).sum(axis=1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeMatched:
    """Recovery of random parts of a reference with as many positives of every regulator as the part observed.

    ``draws`` (D) are pooled AUROCs, ``mean_draws`` (D) means over regulators, ``by_regulator`` (R) the means over
    draws (NaN for regulators that dropped out). ``expected`` and ``expected_mean`` are what the draws average to
    in the long run, computed exactly. ``p`` and ``mean_p`` are the two-sided shares of draws at least as far from
    that as the observed part, (k + 1) / (D + 1); NaN where ``movable``, the number of regulators that have
    positives to choose among, is 0.
    """

    draws: Float
    mean_draws: Float
    by_regulator: Float
    expected: float
    expected_mean: float
    p: float
    mean_p: float
    movable: int


def size_matched_recovery(
    scores: ArrayLike,
    candidate: ArrayLike,
    member: ArrayLike,
    part: ArrayLike,
    rng: np.random.Generator,
    draws: int,
) -> SizeMatched:
    """Recovery of random parts that keep each regulator's number of positives (paper section 5, analysis 17).

    A draw takes, for every regulator, as many of its positives as ``part`` holds, without replacement; the others
    are no candidates. Regulators, negatives and positives by regulator are then those of the part, and only
    *which* positives were kept is left to differ: neither a loss of positives nor another mix of regulators can
    look like circularity.

    With the negatives fixed, AUROC is the mean over positives of the share of negatives below them (ties one
    half), so a draw is a sum of shares ranked once. Equal to ranking the labels of each draw anew.

    Raises
    ------
    ValueError
        If ``draws`` is below 1, or see `subset_labels`.
    """
    if draws < 1:
        raise ValueError(f"draws = {draws}; at least one is needed")
    placed = _placed(np.asarray(scores, np.float64), np.asarray(member, bool), subset_labels(candidate, member, part))
    if not placed.chosen.any():
        nothing = np.full(draws, np.nan)
        return SizeMatched(
            draws=nothing, mean_draws=nothing, by_regulator=np.full(placed.wanted.size, np.nan),
            expected=np.nan, expected_mean=np.nan, p=np.nan, mean_p=np.nan, movable=0,
        )  # fmt: skip
    taken = matched_positions(placed.regulator, placed.wanted, rng, draws)
    pooled, each = placed.aurocs(taken)
    observed, observed_each = placed.aurocs(np.flatnonzero(placed.chosen)[None, :])
    expected, expected_each = placed.expected()
    means, observed_mean = _mean_over_regulators(each), float(_mean_over_regulators(observed_each)[0])
    expected_mean = float(_mean_over_regulators(expected_each[None, :])[0])
    movable = int(((placed.wanted > 0) & (placed.wanted < placed.held)).sum())
    return SizeMatched(
        draws=pooled,
        mean_draws=means,
        by_regulator=each.mean(axis=0),
        expected=expected,
        expected_mean=expected_mean,
        p=two_sided_p(pooled, float(observed[0]), expected) if movable else float("nan"),
        mean_p=two_sided_p(means, observed_mean, expected_mean) if movable else float("nan"),
        movable=movable,
    )


def two_sided_p(draws: Float, observed: float, expected: float) -> float:
    """(k + 1) / (D + 1), k counting the draws (D) at least as far from ``expected`` as ``observed`` is.

    NaN without an observation or an expectation.
    """
    if not np.isfinite([observed, expected]).all():
        return float("nan")
    # Draws are multiples of a fraction: the tolerance is rounding, far below one step.
    far = np.abs(draws - expected) >= abs(observed - expected) - 1e-12
    return float((np.count_nonzero(far) + 1) / (draws.size + 1))


def matched_positions(regulator: Int, wanted: Int, rng: np.random.Generator, draws: int) -> NDArray[np.intp]:
    """Positions (D x sum of wanted) of random positives, ``wanted`` (R) of each regulator without replacement.

    ``regulator`` (P) is the row number of every positive, ascending; columns keep that order, so that all draws
    have the same regulators in the same columns.
    """
    first = np.searchsorted(regulator, np.arange(wanted.size))
    place = np.arange(regulator.size) - first[regulator]
    # Half a unit keeps the keys of a regulator clear of those of the next after rounding.
    order = np.argsort(regulator + 0.5 * rng.random((draws, regulator.size)), axis=1)
    return np.asarray(order[:, place < wanted[regulator]])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """Positives (P) of the regulators that stay, with twice the number of negatives below each, ties once.

    ``pooled`` counts among the negatives of all regulators, ``own`` among those of the same one. ``wanted`` and
    ``held`` (R) count the positives of a regulator in the part and in the reference; ``negatives`` (R).
    """

    regulator: Int
    chosen: Mask
    pooled: Int
    own: Int
    wanted: Int
    held: Int
    negatives: Int

    def aurocs(self, taken: NDArray[np.intp]) -> tuple[Float, Float]:
        """Pooled AUROC (D) and AUROC by regulator (D x R) of the positives at positions D x K."""
        pooled = _over(self.pooled[taken].sum(axis=1), np.array(2.0 * taken.shape[1] * self.negatives.sum()))
        each = np.full((taken.shape[0], self.wanted.size), np.nan)
        stay = self.wanted > 0
        starts = np.concatenate(([0], np.cumsum(self.wanted[stay])[:-1]))
        sums = np.add.reduceat(self.own[taken], starts, axis=1)
        each[:, stay] = _over(sums, 2.0 * self.wanted[stay] * self.negatives[stay])
        return pooled, each

    def expected(self) -> tuple[float, Float]:
        """Mean of both over all parts of the same sizes: every positive of a regulator is as likely as another."""
        share = (self.wanted / np.maximum(1, self.held))[self.regulator]
        pooled = _over((share * self.pooled).sum(), np.array(2.0 * self.wanted.sum() * self.negatives.sum()))
        sums = np.bincount(self.regulator, self.own, self.wanted.size)
        return float(pooled), _over(sums, np.where(self.wanted > 0, 2.0 * self.held * self.negatives, 0.0))


def _placed(scores: Float, member: Mask, labels: NDArray[np.int8]) -> _Placed:
    wanted = (labels == 1).sum(axis=1)
    regulator, target = np.nonzero(member & (wanted > 0)[:, None])
    positive = scores[regulator, target]
    own = np.zeros(regulator.size, dtype=np.int64)
    for row in np.flatnonzero(wanted):
        mine = regulator == row
        own[mine] = _twice_below(positive[mine], scores[row, labels[row] == 0])
    return _Placed(
        regulator=regulator,
        chosen=labels[regulator, target] == 1,
        pooled=_twice_below(positive, scores[labels == 0]),
        own=own,
        wanted=wanted,
        held=np.bincount(regulator, minlength=wanted.size),
        negatives=(labels == 0).sum(axis=1),
    )


def _twice_below(scores: Float, negatives: Float) -> Int:
    ascending = np.sort(negatives)
    return np.searchsorted(ascending, scores, "left") + np.searchsorted(ascending, scores, "right")


def _over(numerator: ArrayLike, denominator: ArrayLike) -> Float:
    """Quotient, NaN where there is nothing to divide by."""
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    found: Float = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=found, where=below > 0)
    return found


def _mean_over_regulators(each: Float) -> Float:
    """Mean of every line (D) over the regulators (R) that have an AUROC, the same in every line."""
    kept = np.isfinite(each[0])
    return np.asarray(each[:, kept].mean(axis=1)) if kept.any() else np.full(each.shape[0], np.nan)
