"""Whether a pair score says which pairs a database holds: partial correlation, and enrichment of the best pairs.

What belongs here: one score (N pairs), one other quantity of the same pairs, and membership. What does not: which pairs
are candidates, and AUROC (`ranking`). Pairs share genes and are not independent. The p of a partial correlation and
Fisher's treat them as if they were, as the published tests do, and are too small where few genes hold most pairs;
`relabelled_hits` does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.rank_association import asymptotic_p
from interp_assets.stats.recovery import partial_spearman, spearman, top_edges

Float = NDArray[np.float64]
ALPHA: Final = 0.05
Z: Final = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledPartial:
    """Correlation of a score with membership, raw and given another quantity, over samples of negatives.

    A sample holds ``positives`` members and as many other pairs. ``raw`` and ``partial`` are means over the ``done``
    samples, with their sd over samples; ``kept`` is partial / raw. ``p`` is two-sided, from the mean partial
    correlation at n = 2 x positives, the size of *one* sample: drawing more samples steadies the mean and adds no
    evidence. ``significant_share`` is the share of single samples with p below .05, what one draw would have said.
    """

    positives: int
    n: int
    raw: float
    raw_sd: float
    partial: float
    partial_sd: float
    kept: float
    p: float
    significant_share: float
    requested: int
    done: int


def sampled_partial_correlation(
    score: ArrayLike, given: ArrayLike, member: ArrayLike, rng: np.random.Generator, samples: int, most: int
) -> SampledPartial:
    """Partial Spearman correlation of a score (N) with membership (N) given a third quantity (N), balanced samples.

    Every sample takes all members, or ``most`` of them at random where there are more, and as many other pairs,
    without replacement. Ranks are taken within the sample. A sample in which a quantity is constant or fixed by
    another gives no number and is counted out.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, one class is empty, or ``samples`` or ``most`` is below 1.
    """
    values, other = (np.asarray(side, dtype=np.float64) for side in (score, given))
    held = np.asarray(member, dtype=bool)
    if not values.shape == other.shape == held.shape or values.ndim != 1:
        raise ValueError(
            f"score {values.shape}, given {other.shape} and member {held.shape} are not over the same pairs"
        )
    if not (np.isfinite(values).all() and np.isfinite(other).all()):
        raise ValueError("scores hold missing or infinite values; apply fill_missing and record its share")
    inside, outside = np.flatnonzero(held), np.flatnonzero(~held)
    if min(inside.size, outside.size, samples, most) < 1:
        raise ValueError(f"{inside.size} members, {outside.size} others, {samples} samples of {most}: each at least 1")
    size = min(inside.size, outside.size, most)
    flag = np.repeat([1.0, 0.0], size)
    found = np.full((samples, 2), np.nan)
    for sample in range(samples):
        taken = np.concatenate([_taken(part, size, rng) for part in (inside, outside)])
        x, z = values[taken], other[taken]
        if np.ptp(x) > 0.0 and np.ptp(z) > 0.0:
            found[sample] = spearman(x, flag), partial_spearman(x, flag, z)
    return _summary(found[np.isfinite(found).all(axis=1)], size, samples)


def _taken(positions: NDArray[np.intp], size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    if positions.size == size:
        return positions
    return positions[rng.choice(positions.size, size, replace=False, shuffle=False)]


def _summary(found: Float, size: int, samples: int) -> SampledPartial:
    done = found.shape[0]
    raw, partial = (float(side.mean()) if done else np.nan for side in found.T)
    raw_sd, partial_sd = (float(side.std(ddof=1)) if done > 1 else np.nan for side in found.T)
    single = np.array([asymptotic_p(value, 2 * size, 1) for value in found[:, 1]])
    return SampledPartial(
        positives=size,
        n=2 * size,
        raw=raw,
        raw_sd=raw_sd,
        partial=partial,
        partial_sd=partial_sd,
        kept=partial / raw if done and raw != 0.0 else np.nan,
        p=asymptotic_p(partial, 2 * size, 1),
        significant_share=float((single < ALPHA).mean()) if done else np.nan,
        requested=samples,
        done=done,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TopEnrichment:
    """Membership of the k best pairs (``places``, ascending) against all other pairs.

    ``held`` of the ``k`` best and ``held_all`` of all ``pairs`` are members. ``odds_ratio`` is that of the 2 x 2 table
    (infinite or 0 with an empty cell), its 95 % interval Woolf's (NaN with an empty cell). ``greater`` and ``less`` are
    Fisher's exact one-sided p.
    """

    k: int
    places: NDArray[np.intp]
    held: int
    pairs: int
    held_all: int
    odds_ratio: float
    ci_low: float
    ci_high: float
    greater: float
    less: float


def top_enrichment(score: ArrayLike, member: ArrayLike, k: int) -> TopEnrichment:
    """Over- and under-representation of members (N) among the k best-scored pairs (N), Fisher's exact test.

    Among equal scores at the threshold the first pairs count.

    Raises
    ------
    ValueError
        If shapes differ, or k is not at least 1 and less than N.
    """
    from scipy.stats import fisher_exact

    values, held = np.asarray(score, dtype=np.float64), np.asarray(member, dtype=bool)
    if values.shape != held.shape or values.ndim != 1 or not 1 <= k < values.size:
        raise ValueError(f"score {values.shape}, member {held.shape}: the same pairs, and more than k = {k} of them")
    top = np.zeros(values.size, dtype=bool)
    places = top_edges(values, k)
    top[places] = True
    table = [[int((held & side).sum()), int((~held & side).sum())] for side in (top, ~top)]
    (a, b), (c, d) = table
    low = high = np.nan
    ratio = float(a * d / (b * c)) if b * c else (np.inf if a * d else np.nan)
    if min(a, b, c, d) > 0:
        width = Z * np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
        low, high = float(ratio * np.exp(-width)), float(ratio * np.exp(width))
    return TopEnrichment(
        k=k,
        places=places,
        held=a,
        pairs=values.size,
        held_all=a + c,
        odds_ratio=ratio,
        ci_low=low,
        ci_high=high,
        greater=float(fisher_exact(table, alternative="greater").pvalue),
        less=float(fisher_exact(table, alternative="less").pvalue),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabelledHits:
    """Members among given pairs when genes carry other labels: mean and sd over ``done`` relabellings.

    ``greater`` and ``less`` are one-sided p, (k + 1) / (done + 1).
    """

    observed: int
    mean: float
    sd: float
    greater: float
    less: float
    done: int


def relabelled_hits(
    member: ArrayLike, first: ArrayLike, second: ArrayLike, labels: ArrayLike, *, both: bool
) -> RelabelledHits:
    """Hits of pairs (first, second; K each) in a database (G x G) under relabellings of the genes (B x G).

    The pairs keep their hubs and the database keeps its own; only which gene is which is exchanged, so that a few hub
    genes count as the few genes they are and not as K independent pairs. ``both`` relabels both ends; otherwise the
    first one, the regulator, stays itself. Equal to counting in the relabelled database anew.

    Raises
    ------
    ValueError
        If there is no relabelling or no pair.
    """
    held, new = np.asarray(member, dtype=bool), np.asarray(labels, dtype=np.int64)
    left, right = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    if new.ndim != 2 or new.shape[0] == 0 or left.size == 0 or left.shape != right.shape:
        raise ValueError(
            f"labels {new.shape}, pairs {left.shape} and {right.shape}: at least one relabelling and one pair"
        )
    observed = int(held[left, right].sum())
    null = held[new[:, left] if both else left[None, :], new[:, right]].sum(axis=1)
    done = null.size
    return RelabelledHits(
        observed=observed,
        mean=float(null.mean()),
        sd=float(null.std(ddof=1)) if done > 1 else float("nan"),
        greater=float(((null >= observed).sum() + 1) / (done + 1)),
        less=float(((null <= observed).sum() + 1) / (done + 1)),
        done=done,
    )
