"""Recovery of a reference network by a fixed number of top edges, how stable those are, and exact tests over runs.

Pairs are one-dimensional here: a score and whether the reference holds the pair. A higher score means more
regulatory; ties at the threshold count in expectation. Top-k numbers go with the hits that a random order would give,
because with few positives a change of one or two hits is all there is (paper section 5, analysis 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from interp_assets.stats.ranking import auroc

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]
Alternative = Literal["two-sided", "greater", "less"]
FEWEST_RUNS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TopRecovery:
    """What the k best-scored pairs hold, one entry for every k.

    ``hits`` are positives among them (in expectation over tied orders), ``expected`` those of a random order,
    k P / M with P positives among M pairs. ``f1`` is 2 hits / (k + P); without a hit it is 0, which is a result.
    """

    k: Int
    hits: Float
    expected: Float
    precision: Float
    recall: Float
    f1: Float


def top_recovery(score: ArrayLike, positive: ArrayLike, ks: Sequence[int]) -> TopRecovery:
    """Hits, precision, recall and F1 of the k best pairs, for several k at once.

    A k beyond the number of pairs takes all of them.

    Raises
    ------
    ValueError
        If a score is not finite, no k or a k below 1 is given, or the pairs are all positive or all negative.

    >>> found = top_recovery([4.0, 3.0, 3.0, 1.0], [True, True, False, False], [1, 2])
    >>> found.hits.tolist(), found.f1.round(3).tolist()
    ([1.0, 1.5], [0.667, 0.75])
    """
    values, held = _pairs(score, positive)
    wanted = np.minimum(np.asarray(ks, dtype=np.int64), values.size)
    if wanted.size == 0 or wanted.min() < 1:
        raise ValueError(f"k = {list(ks)}; give at least one number of edges, each 1 or more")
    descending = -values
    thresholds = np.partition(descending, wanted - 1)[wanted - 1]
    hits = np.array([_expected_hits(descending, held, *each) for each in zip(wanted, thresholds, strict=True)])
    positives = float(held.sum())
    return TopRecovery(
        k=wanted,
        hits=hits,
        expected=wanted * positives / values.size,
        precision=hits / wanted,
        recall=hits / positives,
        f1=2.0 * hits / (wanted + positives),
    )


def _expected_hits(descending: Float, held: Mask, k: int, threshold: float) -> float:
    """Positives among the k lowest; in the run equal to the k-th they are spread evenly in expectation."""
    before, level = descending < threshold, descending == threshold
    start, size = np.count_nonzero(before), np.count_nonzero(level)
    return float(np.count_nonzero(held & before) + np.count_nonzero(held & level) * (k - start) / size)


def top_shares(score: ArrayLike, k: int) -> Float:
    """How far each pair belongs to the k best: 1 above the threshold, an equal share on it, else 0; sum k."""
    values = np.asarray(score, dtype=np.float64)
    if not 1 <= k <= values.size:
        raise ValueError(f"k = {k} of {values.size} pairs")
    threshold = np.partition(values, values.size - k)[values.size - k]
    above, level = values > threshold, values == threshold
    return np.asarray(above + level * ((k - above.sum()) / level.sum()), dtype=np.float64)


def top_edges(score: ArrayLike, k: int) -> NDArray[np.intp]:
    """Places of the k best pairs, ascending; among equal scores the first ones in pair order."""
    values = np.asarray(score, dtype=np.float64).ravel()
    if not 1 <= k <= values.size:
        raise ValueError(f"k = {k} of {values.size} pairs")
    descending = -values
    threshold = np.partition(descending, k - 1)[k - 1]
    if np.isnan(threshold):  # missing scores come after all others
        return np.sort(np.argsort(descending, kind="stable")[:k])
    before = np.flatnonzero(descending < threshold)
    return np.sort(np.concatenate([before, np.flatnonzero(descending == threshold)[: k - before.size]]))


def jaccard(one: ArrayLike, other: ArrayLike) -> float:
    """Share of two sets of edges that both hold: intersection over union.

    >>> jaccard([1, 2, 3], [2, 3, 4])
    0.5
    """
    first, second = np.unique(np.asarray(one)), np.unique(np.asarray(other))
    shared = np.intersect1d(first, second, assume_unique=True).size
    joint = first.size + second.size - shared
    if joint == 0:
        raise ValueError("two empty sets of edges have no overlap")
    return float(shared / joint)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignTest:
    """Exact sign test of n paired differences.

    ``p`` counts ties against the alternative and keeps them in n; ``p_without_ties`` drops them.
    """

    n: int
    below: int
    above: int
    tied: int
    p: float
    p_without_ties: float


def sign_test(differences: ArrayLike, alternative: Literal["greater", "less"]) -> SignTest:
    """Exact one-sided sign test: p = P(X >= count of the wanted sign), X binomial(n, 1/2).

    Raises
    ------
    ValueError
        If a difference is missing or there is none.

    >>> sign_test([-1.0] * 9, "less").p == 1 / 512
    True
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"need one finite difference a run, got {values.shape} with missing ones or none")
    if alternative not in ("greater", "less"):
        raise ValueError(f"alternative {alternative!r}: use greater or less")
    below, above = int((values < 0).sum()), int((values > 0).sum())
    count = below if alternative == "less" else above
    clear = below + above
    return SignTest(
        n=values.size,
        below=below,
        above=above,
        tied=values.size - clear,
        p=float(stats.binom.sf(count - 1, values.size, 0.5)),
        p_without_ties=float(stats.binom.sf(count - 1, clear, 0.5)) if clear else 1.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCorrelation:
    """Spearman correlation over runs with its permutation p, (k + 1) / (n + 1)."""

    rho: float
    p: float
    n: int
    null_mean: float
    null_sd: float
    permutations: int


def permuted_spearman(
    x: ArrayLike,
    y: ArrayLike,
    rng: np.random.Generator,
    permutations: int,
    alternative: Alternative = "two-sided",
) -> RankCorrelation:
    """Spearman correlation of n runs (mid-ranks), judged by permuting one side.

    Raises
    ------
    ValueError
        If runs are fewer than four, a value is missing, or one side is constant.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or first.size < FEWEST_RUNS:
        raise ValueError(f"need two values a run for at least {FEWEST_RUNS} runs, got {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a run has no value; exclude it, and list it, before the test")
    left, right = _unit_ranks(first), _unit_ranks(second)
    rho = float(left @ right)
    null = rng.permuted(np.tile(right, (permutations, 1)), axis=1) @ left
    slack = 1e-12
    extreme = {
        "two-sided": np.abs(null) >= abs(rho) - slack,
        "greater": null >= rho - slack,
        "less": null <= rho + slack,
    }[alternative]
    return RankCorrelation(
        rho=rho,
        p=float((extreme.sum() + 1) / (permutations + 1)),
        n=first.size,
        null_mean=float(null.mean()),
        null_sd=float(null.std(ddof=1)) if permutations > 1 else float("nan"),
        permutations=permutations,
    )


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman correlation with mid-ranks; NaN where one side is constant."""
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.size < 2 or np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return float("nan")
    return float(_unit_ranks(first) @ _unit_ranks(second))


def spearman_draws(x: ArrayLike, y: ArrayLike, rng: np.random.Generator, resamples: int) -> Float:
    """Spearman correlation of each resample (B) of n runs, ranks taken anew; NaN where a side is constant.

    A resample in which a side happens to be constant has no correlation; it is drawn again.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    out = np.full(resamples, np.nan)
    if np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return out
    while (open_draws := np.flatnonzero(np.isnan(out))).size:
        out[open_draws] = _resampled_spearman(first, second, rng, open_draws.size)
    return out


def _resampled_spearman(first: Float, second: Float, rng: np.random.Generator, resamples: int) -> Float:
    drawn = rng.integers(0, first.size, (resamples, first.size))
    left, right = (stats.rankdata(side[drawn], axis=1) for side in (first, second))
    left -= left.mean(axis=1, keepdims=True)
    right -= right.mean(axis=1, keepdims=True)
    spread = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    out = np.full(resamples, np.nan)
    np.divide((left * right).sum(axis=1), spread, out=out, where=spread > 0)
    return out


def partial_spearman(x: ArrayLike, y: ArrayLike, given: ArrayLike) -> float:
    """Spearman correlation of x and y with the rank-linear part of a third quantity taken out of both.

    NaN where the third quantity fixes one of them.
    """
    a, b, c = (_unit_ranks(np.asarray(values, dtype=np.float64)) for values in (x, y, given))
    ab, ac, bc = float(a @ b), float(a @ c), float(b @ c)
    left = (1.0 - ac**2) * (1.0 - bc**2)
    return float((ab - ac * bc) / np.sqrt(left)) if left > 1e-12 else float("nan")


def stouffer(p: ArrayLike) -> tuple[float, float]:
    """Combined z and one-sided p of m independent one-sided p with equal weights: z = sum z_i / sqrt(m).

    >>> z, p = stouffer([0.5, 0.5])
    >>> z, p
    (0.0, 0.5)
    """
    values = np.asarray(p, dtype=np.float64)
    if values.size == 0 or not ((values > 0) & (values <= 1)).all():
        raise ValueError("need p above 0 and at most 1; a permutation p is (k + 1) / (n + 1)")
    # p = 1 has no finite z; the half step below it keeps the combination defined.
    z = float(stats.norm.isf(np.minimum(values, 1.0 - 1e-12)).sum() / np.sqrt(values.size))
    return z, float(stats.norm.sf(z))


@dataclass(frozen=True, slots=True, kw_only=True)
class TieShares:
    """How often a positive pair scores above, below or level with a negative one, and the AUROC by tie rule.

    ``auroc`` counts a tie one half. ``broken`` are AUROCs with all ties broken at random (one a draw): their mean
    is ``auroc``, their spread is what the order of tied pairs decides. ``worst`` and ``best`` put every tie
    against or for the score.
    """

    auroc: float
    above: float
    below: float
    tied: float
    worst: float
    best: float
    broken: Float


def tie_shares(score: ArrayLike, positive: ArrayLike, rng: np.random.Generator, draws: int) -> TieShares:
    """AUROC of scores with many ties, taken apart (paper section 5, analysis 12)."""
    values, held = _pairs(score, positive)
    negative = np.sort(values[~held])
    low = np.searchsorted(negative, values[held], "left").sum()
    high = np.searchsorted(negative, values[held], "right").sum()
    pairs = float(negative.size) * float(held.sum())
    above, tied = float(low) / pairs, float(high - low) / pairs
    place = np.unique(values, return_inverse=True)[1].astype(np.float64)
    label = held.astype(np.int8)[None, :]
    broken = np.array([auroc((place + rng.random(values.size))[None, :], label)[0] for _ in range(draws)])
    return TieShares(
        auroc=above + tied / 2.0,
        above=above,
        below=1.0 - above - tied,
        tied=tied,
        worst=above,
        best=above + tied,
        broken=broken,
    )


def keep_top_targets(score: ArrayLike, regulators: ArrayLike, kept: int) -> Float:
    """Scores R x G with all but the ``kept`` best targets of each regulator set to 0, self pairs too.

    Scores are shifted so that the lowest kept one stays above 0. Among equal scores the first genes are kept. A missing
    score (NaN) is never kept, so that a regulator with fewer observed targets keeps fewer.
    """
    values, own = np.array(score, dtype=np.float64), np.asarray(regulators, dtype=np.int64)
    values[np.arange(values.shape[0]), own] = np.nan
    if not 1 <= kept < values.shape[1]:
        raise ValueError(f"kept = {kept} of {values.shape[1] - 1} targets a regulator")
    if np.isnan(values).all():
        raise ValueError("no target has a score, so that none can be kept")
    # NaN sorts last, so that missing targets come behind all observed ones.
    best = np.argsort(-values, axis=1, kind="stable")[:, :kept]
    chosen = np.take_along_axis(values, best, axis=1)
    out = np.zeros(values.shape)
    np.put_along_axis(out, best, np.where(np.isnan(chosen), 0.0, chosen - np.nanmin(chosen) + 1.0), axis=1)
    return out


def _unit_ranks(values: Float) -> Float:
    ranks = stats.rankdata(values)
    ranks -= ranks.mean()
    length = float(np.sqrt((ranks**2).sum()))
    if length == 0.0:
        raise ValueError("every run has the same value, so that nothing can go with it")
    return np.asarray(ranks / length)


def _pairs(score: ArrayLike, positive: ArrayLike) -> tuple[Float, Mask]:
    values, held = np.asarray(score, dtype=np.float64), np.asarray(positive, dtype=bool)
    if values.ndim != 1 or values.shape != held.shape or not np.isfinite(values).all():
        raise ValueError(f"need one finite score and one label a pair, got shapes {values.shape} and {held.shape}")
    if not held.any() or held.all():
        raise ValueError(f"{int(held.sum())} of {held.size} pairs are positive; recovery needs both kinds")
    return values, held
