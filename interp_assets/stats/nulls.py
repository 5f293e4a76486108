"""Null distributions of reference recovery: shuffled labels, and networks rewired with every degree kept.

Pairs are regulators (R) x genes (G), self pairs removed. A network is a CSR matrix of targets by
regulator (`Network`). Scores are ranked once; a draw of either null is then a sum of ranks, in exact
multiples of one half, so that ties between a draw and the observation are recognised as ties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from interp_assets.stats.compiled import compiled

Float = NDArray[np.float64]
Int = NDArray[np.int64]
SMALLEST_SD = 1e-4
SMALLEST_JACCARD = 0.5
FEWEST_TRADEABLE = 2
FEWEST_TRADES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Targets of regulators in CSR form.

    ``start`` (R + 1) and ``target`` (edges) as in scipy; ``regulator`` (R) is each row's own gene position,
    which is never its target; ``genes`` is the number of columns.
    """

    start: Int
    target: Int
    regulator: Int
    genes: int

    @property
    def out_degree(self) -> Int:
        """Number of targets of each regulator (R)."""
        return np.diff(self.start)

    @property
    def in_degree(self) -> Int:
        """Number of regulators of each gene (G)."""
        return np.bincount(self.target, minlength=self.genes).astype(np.int64)

    def member(self) -> NDArray[np.bool_]:
        """Membership R x G: True where the network holds the pair."""
        member = np.zeros((self.regulator.size, self.genes), dtype=bool)
        member[np.repeat(np.arange(self.regulator.size), self.out_degree), self.target] = True
        return member


def network(member: ArrayLike, regulators: ArrayLike) -> Network:
    """Network of a membership matrix R x G and the gene positions of its R regulators.

    Raises
    ------
    ValueError
        If a regulator has no target (it could not trade), targets itself, or is listed twice.
    """
    table = np.asarray(member, dtype=bool)
    own = np.asarray(regulators, dtype=np.int64)
    if table.ndim != 2 or own.shape != (table.shape[0],) or np.unique(own).size != own.size:
        raise ValueError(f"membership {table.shape} needs one distinct regulator a row, got {own.shape}")
    if table[np.arange(own.size), own].any():
        raise ValueError("a regulator targets itself; remove self pairs first")
    degree = table.sum(axis=1)
    if (degree == 0).any():
        raise ValueError(f"regulators without targets cannot trade: rows {np.flatnonzero(degree == 0).tolist()}")
    start = np.concatenate(([0], np.cumsum(degree))).astype(np.int64)
    return Network(start=start, target=np.nonzero(table)[1], regulator=own, genes=table.shape[1])


@dataclass(frozen=True, slots=True)
class RankedPairs:
    """Mid-ranks of the scores of all candidate pairs (R x G, 0 at self pairs) and the number of pairs."""

    rank: Float
    pairs: int

    def auroc(self, rank_sum: ArrayLike, positives: int) -> Float:
        """AUROC of positives with a given sum of ranks: (sum - n(n+1)/2) / (n x negatives)."""
        negatives = self.pairs - positives
        if positives < 1 or negatives < 1:
            raise ValueError(f"AUROC needs both labels; got {positives} positives and {negatives} negatives")
        surplus = np.asarray(rank_sum, dtype=np.float64) - positives * (positives + 1) / 2.0
        return np.asarray(surplus / (positives * float(negatives)))

    def observed(self, net: Network) -> float:
        """AUROC of the scores against a network."""
        return float(self.auroc(self.rank[net.member()].sum(), net.target.size))


def rank_pairs(scores: ArrayLike, regulators: ArrayLike) -> RankedPairs:
    """Mid-ranks of scores R x G among all candidate pairs; the pair of a regulator with itself is none.

    Raises
    ------
    ValueError
        If the score of a candidate pair is missing or infinite.
    """
    table = np.asarray(scores, dtype=np.float64)
    own = np.asarray(regulators, dtype=np.int64)
    candidate = np.ones(table.shape, dtype=bool)
    candidate[np.arange(own.size), own] = False
    if not np.isfinite(table[candidate]).all():
        raise ValueError("scores hold missing or infinite values; apply fill_missing and record its share")
    rank = np.zeros(table.shape)
    rank[candidate] = stats.rankdata(table[candidate])
    return RankedPairs(rank, int(candidate.sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class NullTest:
    """An observed AUROC against draws of a null.

    ``z`` uses the standard deviation with ddof 1; ``p`` is (exceed + 1) / (draws + 1), where ``exceed``
    counts draws at or above the observation. Where ``reason`` is not empty the null cannot be trusted and z
    and p are NaN. The last three fields verify a rewired null (degrees that nothing verified count as not
    kept) and are None for shuffled labels.
    """

    name: str
    observed: float
    draws: Float
    draws_requested: int
    mean: float
    sd: float
    z: float
    p: float
    exceed: int
    reason: str = ""
    mean_jaccard: float | None = None
    tradeable_regulators: int | None = None
    degrees_kept: bool | None = None


def label_shuffle_null(ranked: RankedPairs, net: Network, rng: np.random.Generator, shuffles: int) -> NullTest:
    """Observed AUROC against labels shuffled over all candidate pairs (paper analysis 16).

    Each draw puts the network's number of positives on distinct pairs at random.
    """
    draws = ranked.auroc(_shuffle_sums(ranked.rank[ranked.rank > 0.0], net.target.size, shuffles, rng), net.target.size)
    return null_test("label_shuffle", ranked.observed(net), draws, requested=shuffles)


def curveball_null(
    ranked: RankedPairs,
    net: Network,
    rng: np.random.Generator,
    networks: int,
    *,
    trades_per_regulator: int = FEWEST_TRADES,
) -> NullTest:
    """Observed AUROC against networks rewired with out-degrees and in-degrees kept.

    Not evaluable, with the reason, when fewer than two regulators have anything to trade, when the rewired
    networks stay within a mean Jaccard distance of .5 of the original, or when the null has a standard
    deviation below 1e-4 (a score of the target alone cannot move, because in-degrees are kept).
    """
    tradeable = tradeable_regulators(net)
    observed = ranked.observed(net)
    facts: dict[str, Any] = {"tradeable_regulators": int(tradeable.size), "degrees_kept": False}
    if tradeable.size < FEWEST_TRADEABLE:
        reason = f"{tradeable.size} regulators have targets to trade; at least {FEWEST_TRADEABLE} are needed"
        return null_test("curveball", observed, np.empty(0), requested=networks, reason=reason, **facts)
    sums, distances = np.empty(networks), np.empty(networks)
    kept = True
    for draw in range(networks):
        rewired = curveball(net, rng, trades_per_regulator=trades_per_regulator, tradeable=tradeable)
        sums[draw] = _rank_sum(ranked.rank, rewired.start, rewired.target)
        distances[draw] = jaccard_distance(net, rewired)
        kept = kept and same_degrees(net, rewired)
    if not kept:
        raise ValueError("curveball changed a degree; the null would not be degree-preserving")
    jaccard = float(distances.mean())
    reason = (
        ""
        if jaccard >= SMALLEST_JACCARD
        else (
            f"rewired networks stay within Jaccard distance {jaccard:.3f} of the original; {SMALLEST_JACCARD} is needed"
        )
    )
    facts |= {"mean_jaccard": jaccard, "degrees_kept": kept}
    draws = ranked.auroc(sums, net.target.size)
    return null_test("curveball", observed, draws, requested=networks, reason=reason, **facts)


def null_test(
    name: str, observed: float, draws: ArrayLike, *, requested: int, reason: str = "", **checks: Any
) -> NullTest:
    """Observation against draws: mean, sd (ddof 1), z and p = (exceed + 1) / (draws + 1).

    z and p are NaN when a reason is given or the null hardly moves (sd below 1e-4).
    """
    values = np.asarray(draws, dtype=np.float64)
    enough = values.size > 1
    mean = float(values.mean()) if enough else float("nan")
    sd = float(values.std(ddof=1)) if enough else float("nan")
    if not reason and not enough:
        reason = f"{values.size} draws give no null distribution"
    if not reason and sd < SMALLEST_SD:
        reason = f"the null has standard deviation {sd:.1e}, below {SMALLEST_SD:.0e}: it cannot move this score"
    exceed = int((values >= observed).sum())
    z = (observed - mean) / sd if not reason else float("nan")
    p = (exceed + 1) / (values.size + 1) if not reason else float("nan")
    return NullTest(
        name=name,
        observed=observed,
        draws=values,
        draws_requested=requested,
        mean=mean,
        sd=sd,
        z=z,
        p=p,
        exceed=exceed,
        reason=reason,
        **checks,
    )


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Parts of an AUROC: chance (.5), what degrees alone give, and the rest. They sum to the AUROC."""

    chance: float
    degree: float
    residual: float


def decompose(test: NullTest) -> Decomposition:
    """Split an observed AUROC: .5 + (null mean - .5) + (observed - null mean) (paper section 4)."""
    return Decomposition(0.5, test.mean - 0.5, test.observed - test.mean)


def curveball(
    net: Network,
    rng: np.random.Generator,
    *,
    trades_per_regulator: int = FEWEST_TRADES,
    tradeable: Int | None = None,
) -> Network:
    """Network rewired by trades of targets, every out-degree and in-degree kept (paper section 4).

    A trade picks two regulators, pools the targets that only one of them has, and deals them out at random,
    each keeping its number. A target that is the other regulator itself is not dealt, so that no self pair
    arises. Only regulators that have something to trade are picked: drawn among all genes, almost every
    trade would be empty and the null would be the original network.

    Parameters
    ----------
    trades_per_regulator
        Trades are this many times the tradeable regulators; fewer than 5 leave the original visible.
    tradeable
        Rows to pick from, if already known from `tradeable_regulators`.
    """
    if trades_per_regulator < FEWEST_TRADES:
        raise ValueError(f"{trades_per_regulator} trades a regulator do not mix; use at least {FEWEST_TRADES}")
    rows = tradeable_regulators(net) if tradeable is None else tradeable
    if rows.size < FEWEST_TRADEABLE:
        raise ValueError("fewer than two regulators have targets to trade; this network cannot be rewired")
    first = rng.integers(0, rows.size, trades_per_regulator * rows.size)
    second = rng.integers(0, rows.size - 1, first.size)
    second += second >= first
    # A trade never deals more than both regulators' targets together: each of them, and its place.
    dealt = np.empty(4 * int(net.out_degree[rows].max()), dtype=np.int64)
    target, seen = net.target.copy(), np.zeros(net.genes, dtype=np.int64)
    _trade(net.start, target, net.regulator, rows[first], rows[second], seen, dealt, rng)
    return Network(start=net.start, target=target, regulator=net.regulator, genes=net.genes)


def tradeable_regulators(net: Network) -> Int:
    """Rows that could trade with at least one other: each of the two has a target the other lacks."""
    member = net.member().astype(np.float32)
    shared = member @ member.T
    is_target = member[:, net.regulator]
    exclusive = net.out_degree[:, None] - shared - is_target
    able = (exclusive > 0.5) & (exclusive.T > 0.5)
    np.fill_diagonal(able, val=False)
    return np.flatnonzero(able.any(axis=1))


def same_degrees(one: Network, other: Network) -> bool:
    """Whether two networks have equal out-degrees, equal in-degrees, and no pair twice or with itself."""
    return bool(
        np.array_equal(one.out_degree, other.out_degree)
        and np.array_equal(one.in_degree, other.in_degree)
        and _pairs_are_distinct(other.start, other.target, other.regulator, np.full(other.genes, -1))
    )


def jaccard_distance(one: Network, other: Network) -> float:
    """Mean over regulators of 1 - shared / joint targets between two networks of equal regulators."""
    shared = _shared_targets(one.start, one.target, other.start, other.target, np.full(one.genes, -1))
    joint = one.out_degree + other.out_degree - shared
    return float((1.0 - shared / joint).mean())


@compiled
def _pairs_are_distinct(start: Int, target: Int, regulator: Int, last: Int) -> bool:  # pragma: no cover - compiled
    """Whether no row holds a target twice or its own regulator; ``last`` starts as -1 for every gene."""
    for row in range(start.size - 1):
        for i in range(start[row], start[row + 1]):
            if last[target[i]] == row or target[i] == regulator[row]:
                return False
            last[target[i]] = row
    return True


@compiled
def _shared_targets(
    start: Int, target: Int, other_start: Int, other_target: Int, last: Int
) -> Int:  # pragma: no cover - compiled
    """Number of targets that each row has in both networks; ``last`` starts as -1 for every gene."""
    shared = np.zeros(start.size - 1, dtype=np.int64)
    for row in range(start.size - 1):
        for i in range(start[row], start[row + 1]):
            last[target[i]] = row
        for i in range(other_start[row], other_start[row + 1]):
            shared[row] += last[other_target[i]] == row
    return shared


@compiled
def _trade(
    start: Int, target: Int, regulator: Int, first: Int, second: Int, seen: Int, dealt: Int, rng: np.random.Generator
) -> None:  # pragma: no cover - compiled
    """Carry out the trades in place. ``seen`` is zero for every gene; ``dealt`` holds the targets of a trade twice."""
    pool, place = dealt[: dealt.size // 2], dealt[dealt.size // 2 :]
    for t in range(first.size):
        a, b = first[t], second[t]
        # Two marks of this trade alone: nothing has to be cleared for the next one.
        of_second, of_both = 2 * t + 1, 2 * t + 2
        for i in range(start[b], start[b + 1]):
            seen[target[i]] = of_second
        pooled = 0
        for i in range(start[a], start[a + 1]):
            if seen[target[i]] == of_second:
                seen[target[i]] = of_both
            elif target[i] != regulator[b]:
                pool[pooled], place[pooled] = target[i], i
                pooled += 1
        for i in range(start[b], start[b + 1]):
            if seen[target[i]] == of_second and target[i] != regulator[a]:
                pool[pooled], place[pooled] = target[i], i
                pooled += 1
        for i in range(pooled - 1, 0, -1):
            j = int(rng.random() * (i + 1))
            pool[i], pool[j] = pool[j], pool[i]
        for i in range(pooled):
            target[place[i]] = pool[i]


@compiled
def _shuffle_sums(
    rank: Float, positives: int, shuffles: int, rng: np.random.Generator
) -> Float:  # pragma: no cover - compiled
    """Rank sums of random sets of pairs: a partial shuffle is uniform from whatever order it starts."""
    left = rank.copy()
    sums = np.zeros(shuffles)
    for draw in range(shuffles):
        for i in range(positives):
            j = i + int(rng.random() * (left.size - i))
            left[i], left[j] = left[j], left[i]
            sums[draw] += left[i]
    return sums


@compiled
def _rank_sum(rank: Float, start: Int, target: Int) -> float:  # pragma: no cover - compiled
    total = 0.0
    for row in range(start.size - 1):
        for i in range(start[row], start[row + 1]):
            total += rank[row, target[i]]
    return total
