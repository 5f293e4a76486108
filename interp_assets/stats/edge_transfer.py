"""Agreement of one set of edge scores measured twice, such as in two species, and what it would be by chance.

What belongs here: rank agreement, sign agreement and shared strongest pairs of regulator-target edges, and their
permutations. What does not: where the edges come from.

Pairs that share a gene are not independent, so a p-value never counts pairs. The gene-label null renames the genes of
the second measurement (regulators among regulators, other genes among other genes): every edge keeps the gene it shares
with others, only the match between the two measurements is lost. The edge-label null permutes single edges and breaks
that dependence too; its spread is too small (paper section 5, analysis 6, publishes this one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from interp_assets.stats.compiled import compiled

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]
Label = Literal["gene", "edge"]
FEWEST_PAIRS = 3  # a rank correlation of fewer says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedEdges:
    """Scores of N regulator-target pairs in two measurements.

    The first R of the G genes are the regulators. ``row`` (N) is the regulator, ``column`` (N) the target, ``first``
    and ``second`` (N) the scores. A pair of two regulators is one unordered pair and stands here once, under the
    earlier regulator. ``position`` (R x G) finds a pair's place in N, whichever way round; -1 at self pairs.
    """

    row: Int
    column: Int
    first: Float
    second: Float
    position: Int

    @property
    def regulators(self) -> int:
        """Number R of regulators."""
        return int(self.position.shape[0])

    @property
    def genes(self) -> int:
        """Number G of genes, regulators among them."""
        return int(self.position.shape[1])

    def passing(self, floor: float) -> Mask:
        """Pairs (N) with an absolute score of at least ``floor`` in both measurements."""
        return np.asarray((np.abs(self.first) >= floor) & (np.abs(self.second) >= floor))

    def of_regulator(self, regulator: int) -> Int:
        """Places of all pairs of one regulator, those under an earlier regulator included."""
        places = self.position[regulator]
        return np.asarray(places[places >= 0])


def paired_edges(first: ArrayLike, second: ArrayLike) -> PairedEdges:
    """Pairs of two R x G score tables whose first R columns are the regulators, in row order.

    Raises
    ------
    ValueError
        If the shapes differ, there are fewer genes than regulators, or a score is missing: leave such genes out.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 2 or one.shape != other.shape or one.shape[1] < one.shape[0] or not one.size:
        raise ValueError(f"two tables of one shape, regulators x genes, are needed; got {one.shape} and {other.shape}")
    regulators, genes = one.shape
    kept = np.arange(genes)[None, :] > np.arange(regulators)[:, None]
    row, column = np.nonzero(kept)
    if not (np.isfinite(one[kept]).all() and np.isfinite(other[kept]).all()):
        raise ValueError("a score is missing; leave genes without a score in either table out")
    position = np.full((regulators, genes), -1, dtype=np.int64)
    position[row, column] = np.arange(row.size)
    block = position[:, :regulators]
    position[:, :regulators] = np.maximum(block, block.T)
    return PairedEdges(row=row, column=column, first=one[kept], second=other[kept], position=position)


def rank_edges(values: ArrayLike, regulators: int) -> Float:
    """Spearman correlation of the first ``regulators`` genes with all genes (R x G) over cells (cells x genes).

    Mid-ranks, equal to ``scipy.stats.spearmanr``. A gene that is constant over the cells has none: NaN.
    """
    ranks = rankdata(np.asarray(values, dtype=np.float64), axis=0)
    ranks -= ranks.mean(axis=0)
    norm = np.sqrt((ranks**2).sum(axis=0))
    ranks /= np.where(norm > 0, norm, np.nan)
    return np.asarray(np.clip(ranks[:, :regulators].T @ ranks, -1.0, 1.0))


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman correlation with mid-ranks, equal to ``scipy.stats.spearmanr``; NaN for fewer than 3 pairs or no spread.

    >>> round(spearman([1, 2, 3, 4], [1, 3, 2, 4]), 3)
    0.8
    """
    one, other = rankdata(np.asarray(first)), rankdata(np.asarray(second))
    if one.size < FEWEST_PAIRS:
        return float("nan")
    one, other = one - one.mean(), other - other.mean()
    norm = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / norm) if norm > 0 else float("nan")


def sign_agreement(first: ArrayLike, second: ArrayLike) -> float:
    """Share of pairs with the same sign; pairs that are 0 in either measurement have none and are left out."""
    product = np.sign(np.asarray(first, dtype=np.float64)) * np.sign(np.asarray(second, dtype=np.float64))
    signed = product != 0
    return float((product[signed] > 0).mean()) if signed.any() else float("nan")


def shared_top(first: ArrayLike, second: ArrayLike, k: int) -> int:
    """How many pairs are among the k strongest (absolute score) of both measurements; earlier pairs win ties."""
    one, other = (np.argsort(-np.abs(np.asarray(scores)), kind="stable")[:k] for scores in (first, second))
    return int(np.isin(one, other).sum())


def regulator_bootstrap(edges: PairedEdges, chosen: Mask, weights: ArrayLike) -> Float:
    """Spearman correlation of the chosen pairs over resampled regulators (resamples).

    ``weights`` (resamples x R) says how often each regulator is drawn (`resampling.group_weights`). Ranks are those of
    all chosen pairs and are not redone in a resample, so that a resample costs a few sums. NaN below 3 pairs.
    """
    drawn = np.asarray(weights, dtype=np.float64)
    if int(np.count_nonzero(chosen)) < FEWEST_PAIRS:
        return np.full(drawn.shape[0], np.nan)
    row = edges.row[chosen]
    x, y = (rankdata(scores[chosen]) for scores in (edges.first, edges.second))
    x, y = x - x.mean(), y - y.mean()
    sums = np.stack([np.bincount(row, w, edges.regulators) for w in (np.ones(x.size), x, y, x * y, x * x, y * y)])
    n, sx, sy, sxy, sxx, syy = sums @ drawn.T
    with np.errstate(divide="ignore", invalid="ignore"):
        cov = sxy - sx * sy / n
        found = cov / np.sqrt((sxx - sx * sx / n) * (syy - sy * sy / n))
    return np.where(n >= FEWEST_PAIRS, found, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferNull:
    """Agreement under P permutations of the second measurement.

    ``spearman``, ``sign_agreement`` and ``pairs`` (P) are of the pairs that pass the floor in both after permuting;
    ``spearman_all`` (P) is of all pairs. ``shared_top`` (P x K) counts pairs that are among the k strongest of both.
    ``by_regulator`` (P x R) is Spearman per regulator over passing pairs, NaN below 3 pairs; a pair of two regulators
    counts for the earlier one only. ``pairs_by_regulator`` (P x R) says how many those are.
    """

    spearman: Float
    spearman_all: Float
    sign_agreement: Float
    pairs: Int
    shared_top: Int
    by_regulator: Float
    pairs_by_regulator: Int


def permuted_agreement(
    edges: PairedEdges,
    floor: float,
    tops: Sequence[int],
    rng: np.random.Generator,
    permutations: int,
    *,
    label: Label = "gene",
    strata: ArrayLike | None = None,
) -> TransferNull:
    """Agreement after permuting gene names, or single edges, of the second measurement.

    Parameters
    ----------
    strata
        Stratum of every gene (G), for gene labels: genes are renamed within their stratum, such as a band of
        expression, so that what agrees through expression alone stays.

    Notes
    -----
    Ranks in a permutation break ties by order instead of sharing them: scores of different pairs are rarely equal.
    """
    if permutations < 1:
        raise ValueError(f"permutations = {permutations} must be at least 1")
    if label == "edge" and strata is not None:
        raise ValueError("strata are of genes; edge labels are permuted over all pairs")
    blocks = _blocks(edges, strata)
    first_passes = np.abs(edges.first) >= floor
    order = np.argsort(edges.first, kind="stable")
    second_passes = np.abs(edges.second) >= floor
    by_second = np.argsort(edges.second, kind="stable")
    by_second = by_second[second_passes[by_second]]
    place = np.full(edges.first.size, -1, dtype=np.int64)
    place[by_second] = np.arange(by_second.size)
    state = (order[first_passes[order]], place, edges.row, edges.first > 0, edges.second > 0)
    ranks = tuple(_standardised_ranks(scores) for scores in (edges.first, edges.second))
    top = _top_places(edges, tops)
    found = np.empty((permutations, 4))
    shared = np.empty((permutations, len(top)), dtype=np.int64)
    per_row = np.empty((permutations, edges.regulators))
    row_pairs = np.empty((permutations, edges.regulators), dtype=np.int64)
    for number in range(permutations):
        index = rng.permutation(edges.first.size) if label == "edge" else _renamed(edges, blocks, rng)
        found[number, :3] = _passing_agreement(*state, index, by_second.size, per_row[number], row_pairs[number])
        found[number, 3] = ranks[0] @ ranks[1][index]
        shared[number] = [int((strength[index[strongest]] < k).sum()) for k, strongest, strength in top]
    return TransferNull(
        spearman=found[:, 0],
        sign_agreement=found[:, 1],
        pairs=found[:, 2].astype(np.int64),
        spearman_all=found[:, 3],
        shared_top=shared,
        by_regulator=per_row,
        pairs_by_regulator=row_pairs,
    )


def permutation_p(observed: float, null: NDArray[np.float64], *, two_sided: bool = False) -> float:
    """(k+1)/(n+1) over the permutations that gave a number; NaN without any."""
    kept = null[np.isfinite(null)]
    if not kept.size or not np.isfinite(observed):
        return float("nan")
    beyond = np.abs(kept) >= abs(observed) if two_sided else kept >= observed
    return float((beyond.sum() + 1) / (kept.size + 1))


def _blocks(edges: PairedEdges, strata: ArrayLike | None) -> list[Int]:
    """Genes that may exchange names: regulators with regulators, others with others, within a stratum."""
    stratum = np.zeros(edges.genes, dtype=np.int64) if strata is None else np.asarray(strata, dtype=np.int64)
    if stratum.shape != (edges.genes,):
        raise ValueError(f"strata of {stratum.size} genes were given for {edges.genes} genes")
    side = np.arange(edges.genes) < edges.regulators
    return [
        np.flatnonzero((stratum == value) & (side == regulators))
        for value in np.unique(stratum)
        for regulators in (True, False)
    ]


def _renamed(edges: PairedEdges, blocks: list[Int], rng: np.random.Generator) -> Int:
    """For every pair, the place of the pair whose second score it receives."""
    name = np.arange(edges.genes)
    for block in blocks:
        name[block] = rng.permutation(block)
    index = np.empty(edges.row.size, dtype=np.int64)
    _place_of_renamed(edges.row, edges.column, edges.position, name, index)
    return index


@compiled
def _place_of_renamed(row: Int, column: Int, position: Int, name: Int, index: Int) -> None:  # pragma: no cover
    """Equal to ``position[name[row], name[column]]``, several times faster."""
    for pair in range(row.size):
        index[pair] = position[name[row[pair]], name[column[pair]]]


def _standardised_ranks(scores: Float) -> Float:
    ranks = rankdata(scores)
    ranks = ranks - ranks.mean()
    norm = float(np.sqrt(ranks @ ranks))
    return np.asarray(ranks / norm if norm > 0 else np.full(scores.size, np.nan))


def _top_places(edges: PairedEdges, tops: Sequence[int]) -> list[tuple[int, Int, Int]]:
    """For each k: the k strongest pairs of the first measurement, and every pair's strength rank in the second."""
    strongest = np.argsort(-np.abs(edges.first), kind="stable")
    strength = np.empty(edges.second.size, dtype=np.int64)
    strength[np.argsort(-np.abs(edges.second), kind="stable")] = np.arange(edges.second.size)
    return [(int(k), strongest[:k], strength) for k in tops]


@compiled
def _passing_agreement(
    order: Int,
    place: Int,
    row: Int,
    first_positive: Mask,
    second_positive: Mask,
    index: Int,
    second_size: int,
    per_row: Float,
    row_pairs: Int,
) -> tuple[float, float, float]:  # pragma: no cover - compiled
    """Spearman, sign agreement and number of the pairs that pass in both; fills Spearman and pairs by row.

    Walks the passing pairs in the order of the first score and leaves each at its place in the order of the second;
    walking those places gives the second rank, and 1 - 6 sum d2 / (n (n2 - 1)) the correlation.
    """
    at = np.full(second_size, -1, dtype=np.int64)
    rank = np.zeros(index.size, dtype=np.int64)
    row_rank = np.zeros(index.size, dtype=np.int64)
    row_pairs[:] = 0
    n = same = 0
    for pair in order:
        other = index[pair]
        where = place[other]
        if where < 0:
            continue
        n += 1
        row_pairs[row[pair]] += 1
        rank[pair] = n
        row_rank[pair] = row_pairs[row[pair]]
        at[where] = pair
        same += first_positive[pair] == second_positive[other]
    seen = np.zeros(per_row.size, dtype=np.int64)
    squares = np.zeros(per_row.size)
    total, reached = 0.0, 0
    for pair in at:
        if pair < 0:
            continue
        reached += 1
        line = row[pair]
        seen[line] += 1
        gap = float(rank[pair] - reached)
        total += gap * gap
        gap = float(row_rank[pair] - seen[line])
        squares[line] += gap * gap
    for line in range(per_row.size):
        m = float(seen[line])
        per_row[line] = 1.0 - 6.0 * squares[line] / (m * (m * m - 1.0)) if m >= 3.0 else np.nan
    size = float(n)
    if n < 3:
        return np.nan, np.nan, size
    return 1.0 - 6.0 * total / (size * (size * size - 1.0)), same / size, size
