"""Recovery of one regulator at a time: AUROC, class-stratified bootstrap, exact p of few targets.

What belongs here: what a single row of scores and labels can say. What does not: means over rows, and which
regulators and candidates a row stands for. Orientation and labels as in `ranking`: higher means more
regulatory; 1 is a target, 0 another candidate, -1 no candidate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from interp_assets.stats.ranking import auroc
from interp_assets.stats.resampling import Interval, percentile_interval

Method = Literal["bootstrap", "exact rank", "no contrast"]
Float = NDArray[np.float64]
Int = NDArray[np.int64]

CHANCE: Final = 0.5
ALPHA: Final = 0.05
# Up to here the percentile interval does not hold its level (see `RowRecovery`) and counting is cheap.
EXACT_UP_TO: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRecovery:
    """Recovery of the targets of one regulator among its candidates.

    ``method`` says where ``above_chance`` comes from: a bootstrap interval that starts above .5, or for a single
    target, whose interval has no width from the positive side, an exact one-sided p below .05. A row whose
    candidates are all alike has "no contrast", AUROC NaN. ``p_exact`` (NaN beyond `EXACT_UP_TO` targets) stands
    beside the interval because a percentile interval of few targets is too narrow: with two, it starts above .5
    for a fifth to a quarter of the rows of a random score.
    """

    auroc: float
    n_targets: int
    n_candidates: int
    interval: Interval
    p_exact: float
    method: Method

    @property
    def above_chance(self) -> bool:
        """Whether the row's own method calls recovery above chance."""
        if self.method == "bootstrap":
            return self.interval.low > CHANCE
        return self.method == "exact rank" and self.p_exact < ALPHA


def row_recovery(scores: ArrayLike, labels: ArrayLike, rng: np.random.Generator, resamples: int) -> list[RowRecovery]:
    """Recovery of each row (R) of scores R x G against labels R x G (paper section 5, analysis 18).

    Rows with two or more targets get a 95% percentile interval over ``resamples`` class-stratified bootstraps of
    their candidates; rows with one target get none (0 resamples requested and done).

    Raises
    ------
    ValueError
        If a score is missing, shapes differ, or ``resamples`` is below 1.
    """
    if resamples < 1:
        raise ValueError(f"resamples = {resamples}; at least one is needed")
    observed = auroc(scores, labels)
    tails: dict[tuple[bytes, int], Float] = {}
    rows = zip(np.asarray(scores, np.float64), np.asarray(labels), observed, strict=True)
    return [
        _recover(score[label == 1], score[label == 0], float(value), rng, resamples, tails)
        for score, label, value in rows
    ]


def _recover(
    target: Float,
    other: Float,
    observed: float,
    rng: np.random.Generator,
    resamples: int,
    tails: dict[tuple[bytes, int], Float],
) -> RowRecovery:
    method: Method = "no contrast"
    interval, p = Interval(np.nan, np.nan, 0, 0), float("nan")
    if target.size and other.size:
        method = "exact rank"
        if target.size <= EXACT_UP_TO:
            p = _exact_p(target, other, tails)
        if target.size > 1:
            method = "bootstrap"
            draws = stratified_auroc_bootstrap(target, other, rng, resamples)
            interval = percentile_interval(draws, requested=resamples)
    return RowRecovery(
        auroc=observed,
        n_targets=int(target.size),
        n_candidates=int(target.size + other.size),
        interval=interval,
        p_exact=p,
        method=method,
    )


def stratified_auroc_bootstrap(target: ArrayLike, other: ArrayLike, rng: np.random.Generator, resamples: int) -> Float:
    """AUROC of each resample (B) of m target scores and n other scores, drawn within their class.

    Equal in distribution to drawing m of the targets and n of the others with replacement and ranking anew with
    mid-ranks. Only how many of the others fall below, onto and between the target scores matters, so these
    counts are drawn at once: 2 m + 1 numbers a resample instead of n.
    """
    positive, negative = np.asarray(target, np.float64), np.asarray(other, np.float64)
    if not positive.size or not negative.size:
        raise ValueError(f"AUROC needs both classes; got {positive.size} targets and {negative.size} others")
    distinct, copies = np.unique(positive, return_counts=True)
    drawn = rng.multinomial(positive.size, copies / positive.size, size=resamples)
    # Cell 2k lies between the distinct target scores k - 1 and k, cell 2k + 1 on score k.
    cell = np.searchsorted(distinct, negative, "left") + np.searchsorted(distinct, negative, "right")
    size = np.bincount(cell, minlength=2 * distinct.size + 1)
    counts = np.zeros((resamples, size.size), dtype=np.int64)
    filled = np.flatnonzero(size)
    counts[:, filled] = rng.multinomial(negative.size, size[filled] / negative.size, size=resamples)
    below = np.cumsum(counts, axis=1)
    twice = below[:, 0:-1:2] + below[:, 1::2]
    return np.asarray((drawn * twice).sum(axis=1) / (2.0 * positive.size * negative.size))


def exact_rank_p(target: ArrayLike, other: ArrayLike) -> float:
    """One-sided p that m random candidates reach the targets' rank sum, every choice counted.

    Ranks are mid-ranks of all candidates; choices that tie with the observed rank sum count in full, so the p is
    never too small. For one target it is the share of candidates (itself included) that score as high or
    higher; without ties it is the exact Mann-Whitney p.

    >>> exact_rank_p([0.7], [0.9, 0.7, 0.2])
    0.75
    """
    return _exact_p(np.asarray(target, np.float64), np.asarray(other, np.float64), {})


def _exact_p(target: Float, other: Float, tails: dict[tuple[bytes, int], Float]) -> float:
    """Exact p; rows with the same ties and number of targets share the counted tail in ``tails``."""
    doubled = np.rint(2.0 * stats.rankdata(np.concatenate([target, other]))).astype(np.int64)
    # Twice an untied rank is even: halved again, the sums to count are half as many.
    step = int(np.gcd.reduce(doubled))
    ranks = doubled // step
    pattern = np.sort(ranks)
    key = (pattern.tobytes(), target.size)
    if key not in tails:
        tails[key] = _rank_sum_tail(pattern, target.size)
    return float(tails[key][ranks[: target.size].sum()])


def _rank_sum_tail(ranks: Int, chosen: int) -> Float:
    """Share of the choices of ``chosen`` whole ranks whose sum is s or more, for every s from 0."""
    most = int(np.sort(ranks)[-chosen:].sum())
    choices = np.zeros((chosen + 1, most + 1))
    choices[0, 0] = 1.0
    for rank in ranks:
        choices[1:, rank:] += choices[:-1, : most + 1 - rank].copy()
    tail = np.cumsum(choices[chosen][::-1])[::-1]
    return np.asarray(tail / tail[0])
