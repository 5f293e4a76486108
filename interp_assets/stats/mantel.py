"""Association of two scores over gene pairs, judged by shuffling genes and not pairs.

Pairs share genes, so n (n - 1) pairs are far fewer than n (n - 1) independent observations. The permutation test of
Mantel relabels the genes of one score and leaves the other in place (paper section 5, analyses 12 and 14). Matrices
are genes x genes in one gene order, ordered pairs, self pairs left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from interp_assets.stats.compiled import compiled
from interp_assets.stats.resampling import group_weights

Float = NDArray[np.float64]
Int = NDArray[np.int64]
FEWEST_GENES: Final = 4
BLOCK: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MantelTest:
    """Correlation over gene pairs with its gene-label permutation null.

    ``p`` counts permutations at least as far from 0 (two-sided), ``p_greater`` those at least as high;
    both are (k + 1) / (n + 1).
    """

    correlation: float
    p: float
    p_greater: float
    null_mean: float
    null_sd: float
    n_pairs: int
    n_genes: int
    permutations: int


@dataclass(frozen=True, slots=True)
class PairRanks:
    """Centred mid-ranks of a genes x genes score over its ordered pairs, scaled to unit length; 0 on the diagonal.

    The product sum of two of them is the Spearman correlation, whatever the order of genes in one.
    """

    values: Float

    @property
    def genes(self) -> int:
        """Number of genes."""
        return int(self.values.shape[0])


def pair_ranks(score: ArrayLike) -> PairRanks:
    """Mid-ranks of all ordered pairs of a square score, centred and scaled.

    Raises
    ------
    ValueError
        If the score is not square, too small, not finite off the diagonal, or the same for every pair.
    """
    table = np.array(score, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.shape[0] < FEWEST_GENES:
        raise ValueError(f"need scores of at least {FEWEST_GENES} x {FEWEST_GENES} genes, got shape {table.shape}")
    pair = ~np.eye(table.shape[0], dtype=bool)
    if not np.isfinite(table[pair]).all():
        raise ValueError("scores hold missing or infinite pairs; apply fill_missing and record its share")
    ranks = rankdata(table[pair])
    ranks -= ranks.mean()
    length = float(np.sqrt((ranks**2).sum()))
    if length == 0.0:
        raise ValueError("every pair has the same score, so that it correlates with nothing")
    values = np.zeros(table.shape)
    values[pair] = ranks / length
    return PairRanks(values)


def spearman_of_pairs(one: PairRanks, other: PairRanks) -> float:
    """Spearman correlation of two scores over all ordered pairs, equal to `scipy.stats.spearmanr` of the pairs."""
    _same_genes(one, other)
    return float((one.values * other.values).sum())


def gene_permutations(genes: int, permutations: int, rng: np.random.Generator) -> Int:
    """Random relabellings of the genes (permutations x genes)."""
    if permutations < 1:
        raise ValueError(f"permutations = {permutations}; at least one is needed")
    return np.asarray(rng.permuted(np.tile(np.arange(genes, dtype=np.int64), (permutations, 1)), axis=1))


def mantel_test(one: PairRanks, other: PairRanks, relabelled: Int) -> MantelTest:
    """Spearman correlation of two scores against relabellings of the genes of the first.

    Rows and columns move together, so that each relabelled score keeps everything but which gene is which. Ranks
    are taken once: relabelling permutes them, and mean and length stay.
    """
    return mantel_tests(one, [other], relabelled)[0]


def mantel_tests(one: PairRanks, others: Sequence[PairRanks], relabelled: Int) -> tuple[MantelTest, ...]:
    """`mantel_test` of one score with each of several, all meeting the same relabellings of its genes."""
    for other in others:
        _same_genes(one, other)
    fixed = np.stack([other.values for other in others])
    symmetric = all(np.array_equal(other.values, other.values.T) for other in others)
    # Where the others are symmetric, both directions of the first meet the same value: half of the work.
    moved = one.values + one.values.T if symmetric else one.values
    null = _relabelled_sums(moved, fixed, np.ascontiguousarray(relabelled), symmetric)
    return tuple(
        _judged(spearman_of_pairs(one, other), np.ascontiguousarray(null[:, k]), one.genes)
        for k, other in enumerate(others)
    )


def mantel_membership(score: PairRanks, source: ArrayLike, target: ArrayLike, relabelled: Int) -> MantelTest:
    """Spearman correlation of a score with membership of a network (1 for listed pairs, else 0), genes relabelled.

    Only listed pairs enter the sum, so that a permutation costs as many look-ups as there are pairs. Pairs must be
    distinct and no self pairs.

    Raises
    ------
    ValueError
        If no pair or every pair is listed, one twice, or a gene with itself.
    """
    first, second = np.asarray(source, dtype=np.int64), np.asarray(target, dtype=np.int64)
    pairs = score.genes * (score.genes - 1)
    distinct = np.unique(first * score.genes + second).size
    if distinct != first.size or (first == second).any() or not 0 < first.size < pairs:
        raise ValueError(
            f"membership needs distinct pairs of two genes, some but not all of {pairs}; got {first.size} pairs, "
            f"{distinct} distinct"
        )
    share = first.size / pairs
    length = np.sqrt(pairs * share * (1.0 - share))
    observed = float(score.values[first, second].sum() / length)
    null = np.array([score.values[label[first], label[second]].sum() for label in relabelled]) / length
    return _judged(observed, null, score.genes)


def gene_bootstrap(
    one: PairRanks, others: Sequence[PairRanks], rng: np.random.Generator, resamples: int
) -> list[Float]:
    """Spearman correlation of one score with each other one in every resample (B) of genes; NaN without spread.

    A gene drawn k times counts k-fold in each of its pairs; pairs of a gene with its own copy do not exist. Ranks are
    those of the data and not taken anew in each resample, which leaves products of matrices alone. All others meet the
    same resamples.
    """
    for other in others:
        _same_genes(one, other)
    weight = group_weights(one.genes, resamples, rng).astype(np.float64)
    total = float(one.genes) ** 2 - (weight**2).sum(axis=1)

    def summed(table: Float) -> Float:
        return np.asarray(((weight @ table) * weight).sum(axis=1))

    own, squares = summed(one.values), summed(one.values**2)
    draws = []
    for other in others:
        theirs = summed(other.values)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt((squares - own**2 / total) * (summed(other.values**2) - theirs**2 / total))
            draws.append(np.asarray((summed(one.values * other.values) - own * theirs / total) / spread))
    return draws


def _judged(observed: float, null: Float, genes: int) -> MantelTest:
    # Sums of the same numbers in another order differ in their last digits; such a draw is as extreme.
    slack = 1e-12
    far = int((np.abs(null) >= abs(observed) - slack).sum())
    high = int((null >= observed - slack).sum())
    return MantelTest(
        correlation=observed,
        p=(far + 1) / (null.size + 1),
        p_greater=(high + 1) / (null.size + 1),
        null_mean=float(null.mean()),
        null_sd=float(null.std(ddof=1)) if null.size > 1 else float("nan"),
        n_pairs=genes * (genes - 1),
        n_genes=genes,
        permutations=int(null.size),
    )


def _same_genes(one: PairRanks, other: PairRanks) -> None:
    if one.genes != other.genes:
        raise ValueError(f"scores over {one.genes} and {other.genes} genes cannot be compared; restrict both")


@compiled
def _relabelled_sums(moved: Float, fixed: Float, relabelled: Int, upper: bool) -> Float:  # pragma: no cover - compiled
    """Sums over pairs of moved[g(i), g(j)] * fixed[k, i, j] for every relabelling g; ``upper``: pairs i < j alone."""
    others, genes = fixed.shape[0], fixed.shape[1]
    sums = np.zeros((relabelled.shape[0], others))
    row = np.empty(genes)
    # A block of relabellings shares each row of the fixed scores while it lies in the cache.
    for start in range(0, relabelled.shape[0], BLOCK):
        stop = min(start + BLOCK, relabelled.shape[0])
        for i in range(genes):
            first = i + 1 if upper else 0
            for draw in range(start, stop):
                label = relabelled[draw]
                values = moved[label[i]]
                for j in range(first, genes):
                    row[j] = values[label[j]]
                for k in range(others):
                    sums[draw, k] += np.dot(fixed[k, i, first:], row[first:])
    return sums
