"""Edge scores within strata of cells, and the ways to combine strata: cell-state stratified scores (CSSI).

What belongs here: correlations of any number of label sets from sums of products, aggregators, called edges and how
well they recover known ones. What does not: making strata (`strata`), reading attention.

Source: paper section 4, CSSI. With s_k the score of an edge in stratum k of n_k cells and s_pool that of all cells:

- max: max |s_k|; range: max s_k - min s_k; spread: standard deviation of s_k (sizes ignored);
- mean: |sum (n_k / N) s_k|, and plain_mean with equal weights;
- deviation: max |s_k - s_pool|, and weighted_deviation: sum (n_k / N) |s_k - s_pool|;
- scenic: size-weighted mean of the ranks of |s_k| within each stratum.

Strata under the minimum size are dropped before anything is combined; N then counts the cells of those kept. An edge
that a kept stratum does not hold is left out of that stratum, and ranks last there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.compiled import compiled
from interp_assets.stats.grouped_sums import labelled_sums

Float = NDArray[np.float64]
Int = NDArray[np.int64]

AGGREGATORS: Final = (
    "max",
    "mean",
    "plain_mean",
    "range",
    "deviation",
    "weighted_deviation",
    "spread",
    "scenic",
)
_FEWEST: Final = 4  # cells behind a correlation with a Fisher interval: n - 3 must be positive
_CHUNK: Final = 4_000_000  # comparisons of pairs held at once
_FEW_PAIRS: Final = 10_000  # true-false pairs up to which comparing all is quicker than sorting
_RANK_DRAWS: Final = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeProducts:
    """Per-cell products whose sums give every correlation of regulator and target (N x (1 + T + P + T + P + T P)).

    Columns: one, x, y, x^2, y^2, x y, of values centred and scaled over all cells (which no correlation notices, and
    which keeps the differences of sums exact to about 1e-12).
    """

    columns: Float
    regulators: int
    targets: int

    @property
    def edges(self) -> int:
        """Candidate edges, regulator by regulator."""
        return self.regulators * self.targets


def edge_products(regulators: ArrayLike, targets: ArrayLike) -> EdgeProducts:
    """Products of regulators (N x T) and targets (N x P)."""
    x, y = _standardised(regulators), _standardised(targets)
    pairs = (x[:, :, None] * y[:, None, :]).reshape(x.shape[0], -1)
    columns = np.concatenate([np.ones((x.shape[0], 1)), x, y, x**2, y**2, pairs], axis=1)
    # Chosen columns of a table lie gene by gene, and so would these: sums by stratum read cell by cell.
    return EdgeProducts(columns=np.ascontiguousarray(columns), regulators=x.shape[1], targets=y.shape[1])


def _standardised(values: ArrayLike) -> Float:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 2 or not np.isfinite(given).all():
        raise ValueError(f"expression must be finite and cells x genes, not of shape {given.shape}")
    centred = given - given.mean(axis=0)
    sd = centred.std(axis=0)
    return np.asarray(centred / np.where(sd > 0, sd, 1.0))


def weighted_correlations(products: EdgeProducts, weights: ArrayLike) -> Float:
    """Pearson correlation of every edge under each set of cell weights (S x N): S x E, one matrix product for all.

    Weights are multiplicities: 1 for a cell of the stratum, 0 for others, more for a cell drawn repeatedly. A gene
    without variance, or fewer than 2 cells, gives NaN.
    """
    return _correlations(products, np.asarray(weights, dtype=np.float64) @ products.columns)


def _correlations(products: EdgeProducts, sums: Float) -> Float:
    """Correlation of every edge (S x E) from sums of the columns over the cells of S strata."""
    t, p = products.regulators, products.targets
    cuts = np.cumsum([1, t, p, t, p])
    n, x, y, xx, yy, xy = np.split(sums, cuts, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mx, my = x / n, y / n
        vx, vy = xx / n - mx**2, yy / n - my**2
        vx[vx < 1e-12], vy[vy < 1e-12] = np.nan, np.nan
        covariance = (xy / n).reshape(-1, t, p) - mx[:, :, None] * my[:, None, :]
        found = covariance / np.sqrt(vx[:, :, None] * vy[:, None, :])
    found = np.clip(found, -1.0, 1.0)
    found[n[:, 0] < 2] = np.nan
    return np.asarray(found.reshape(-1, products.edges))


def stratum_correlations(products: EdgeProducts, labels: ArrayLike, strata: int) -> tuple[Float, Int]:
    """Correlation within every stratum of every label set: D x K x E, and cells of the strata (D x K).

    ``labels`` is D x N (or N) with numbers from 0 to K - 1, or -1 for a cell of no stratum. What is computed from the
    cells is computed once: a label set only adds up the per-cell products.
    """
    table = np.atleast_2d(np.asarray(labels, dtype=np.int64))
    cells = products.columns.shape[0]
    if table.shape[1] != cells or (table.size and (table.max() >= strata or table.min() < -1)):
        raise ValueError(f"labels of shape {table.shape} are not numbers from -1 to {strata - 1} of {cells} cells")
    sums = labelled_sums(products.columns, np.ascontiguousarray(table), strata)
    found = _correlations(products, sums.reshape(-1, products.columns.shape[1]))
    return found.reshape(-1, strata, products.edges), sums[:, :, 0].astype(np.int64)


def kept_strata(score: Float, size: Int, minimum: int) -> Float:
    """Scores (... x K x E) with every stratum under the minimum size at NaN."""
    return np.asarray(np.where((size >= minimum)[..., None], score, np.nan))


def aggregate(
    score: Float, size: Int, pooled: Float, names: Sequence[str] = AGGREGATORS, *, minimum: int
) -> dict[str, Float]:
    """Combined scores (... x E) by name.

    ``score`` is ... x K x E within strata, ``size`` (... x K) their cells, ``pooled`` (E, or ... x E) the score of all
    cells together. An edge that no kept stratum holds is NaN, in every aggregator.

    Raises
    ------
    ValueError
        For a name that is no aggregator.
    """
    unknown = [name for name in names if name not in AGGREGATORS]
    if unknown:
        raise ValueError(f"{unknown[0]} is no aggregator; known: {', '.join(AGGREGATORS)}")
    kept = kept_strata(score, size, minimum)
    held = np.isfinite(kept)
    none = ~held.any(axis=-2)
    plain, weight = held.astype(np.float64), held * size[..., None].astype(np.float64)
    filled = np.where(held, kept, 0.0)
    gap = np.where(held, np.abs(kept - np.expand_dims(pooled, -2)), 0.0)
    found: dict[str, Float] = {}
    for name in names:
        if name == "max":
            values = np.abs(filled).max(axis=-2)
        elif name == "mean":
            values = np.abs(_mean(filled, weight))
        elif name == "plain_mean":
            values = np.abs(_mean(filled, plain))
        elif name == "range":
            values = np.where(held, kept, -np.inf).max(axis=-2) - np.where(held, kept, np.inf).min(axis=-2)
        elif name == "deviation":
            values = gap.max(axis=-2)
        elif name == "weighted_deviation":
            values = _mean(gap, weight)
        elif name == "spread":
            values = np.sqrt(_mean((filled - _mean(filled, plain)[..., None, :]) ** 2, plain))
        else:
            values = _scenic(np.where(held, np.abs(kept), -1.0), size, minimum)
        found[name] = np.where(none, np.nan, values)
    return found


def _mean(values: Float, weight: Float) -> Float:
    total = weight.sum(axis=-2)
    return np.asarray((values * weight).sum(axis=-2) / np.where(total > 0, total, 1.0))


def _scenic(strength: Float, size: Int, minimum: int) -> Float:
    """Size-weighted mean over kept strata of the rank of each edge, as a share of the edges (mid-ranks)."""
    edges, strata = strength.shape[-1], strength.shape[-2]
    weight = np.where(size >= minimum, size, 0).astype(np.float64).reshape(-1, strata)
    tables = np.ascontiguousarray(strength).reshape(-1, strata, edges)
    return _weighted_ranks(tables, np.argsort(tables, axis=-1), weight).reshape(*strength.shape[:-2], edges)


@compiled
def _weighted_ranks(values: Float, order: NDArray[np.intp], weight: Float) -> Float:  # pragma: no cover - compiled
    """Weighted mean over K of the mid-ranks of E values, as shares of E (D x K x E, weights D x K); D x E.

    Sums of whole weights times twice a mid-rank are whole numbers, so that edges of one mean rank are tied exactly.
    """
    draws, strata, edges = values.shape
    found = np.zeros((draws, edges))
    for draw in range(draws):
        total = weight[draw].sum()
        for stratum in range(strata):
            share, row, places = weight[draw, stratum], values[draw, stratum], order[draw, stratum]
            first = 0
            while share > 0 and first < edges:
                last = first + 1
                while last < edges and row[places[last]] == row[places[first]]:
                    last += 1
                for at in range(first, last):
                    found[draw, places[at]] += share * (first + 1 + last)
                first = last
        if total > 0:
            found[draw] /= 2 * edges * total
    return found


def recovery(score: ArrayLike, true: ArrayLike) -> tuple[Float, Float]:
    """AUROC and F1 at K = number of true edges, of each row of scores (... x E) against the known edges (E).

    F1@K = 2 TP / (K + P), which at K = P is the share of true edges among the best P; tied scores enter in
    expectation. A missing score ties with the lowest one of its row (rule "lowest"); a row without any score is NaN.
    AUROC equals `ranking.auroc` (mid-ranks), for many rows of few edges at once.
    """
    member = np.asarray(true, dtype=bool).ravel()
    table = np.asarray(score, dtype=np.float64).reshape(-1, member.size)
    if not member.any() or member.all():
        raise ValueError("recovery needs edges of both kinds")
    gone = ~np.isfinite(table)
    empty = gone.all(axis=1)
    lowest = np.where(gone, np.inf, table).min(axis=1)
    table = np.where(gone, np.where(empty, 0.0, lowest)[:, None], table)
    positive, negative = table[:, member], table[:, ~member]
    k = positive.shape[1]
    cut = -np.partition(-table, k - 1, axis=1)[:, k - 1 : k]
    above, tied = (positive > cut).sum(axis=1), (positive == cut).sum(axis=1)
    false_above, false_tied = (negative > cut).sum(axis=1), (negative == cut).sum(axis=1)
    room = k - above - false_above
    f1 = (above + room * tied / (tied + false_tied)) / k
    shape = np.shape(score)[:-1]
    auroc = _auroc(positive, negative)
    return np.where(empty, np.nan, auroc).reshape(shape), np.where(empty, np.nan, f1).reshape(shape)


def _auroc(positive: Float, negative: Float) -> Float:
    """Share of true-false pairs in the right order, ties one half, of each row; exact until the final division."""
    rows, pairs = positive.shape[0], positive.shape[1] * negative.shape[1]
    twice = np.empty(rows, dtype=np.int64)
    if pairs <= _FEW_PAIRS:
        step = max(1, _CHUNK // pairs)
        for first in range(0, rows, step):
            one, other = positive[first : first + step, :, None], negative[first : first + step, None, :]
            twice[first : first + step] = (one > other).sum(axis=(1, 2)) + (one >= other).sum(axis=(1, 2))
        return np.asarray(twice / (2.0 * pairs))
    ascending = np.sort(negative, axis=1)
    for row in range(rows):
        below = np.searchsorted(ascending[row], positive[row], "left")
        twice[row] = below.sum() + np.searchsorted(ascending[row], positive[row], "right").sum()
    return np.asarray(twice / (2.0 * pairs))


def fisher_p(correlation: ArrayLike, cells: ArrayLike) -> Float:
    """Two-sided p of a correlation by Fisher's z: z = atanh(r) sqrt(n - 3); NaN below 4 cells."""
    from scipy.special import ndtr

    r, n = np.asarray(correlation, np.float64), np.asarray(cells, np.float64)
    z = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)) * np.sqrt(np.where(n >= _FEWEST, n - 3.0, np.nan))
    return np.asarray(2.0 * ndtr(-np.abs(z)))


def edge_p(score: Float, size: Int, scenic: Float, minimum: int, rng: np.random.Generator) -> dict[str, Float]:
    """Significance of every edge (... x E) under no association in any stratum, for the aggregators that have one.

    max: the smallest Fisher p of the K kept strata, corrected for the choice (Sidak: 1 - (1 - p)^K). mean: Fisher z
    added over strata, sum z_k (n_k - 3) / sqrt(sum (n_k - 3)). scenic: the weighted mean of K independent uniform
    ranks (``scenic`` of `aggregate`), by simulation, (exceeding + 1) / (draws + 1); ranks of null edges are pushed
    down by true ones, so it errs to the safe side.
    """
    from scipy.special import ndtr

    kept = kept_strata(score, size, minimum)
    held = np.isfinite(kept)
    count = held.sum(axis=-2)
    p = np.where(held, fisher_p(kept, size[..., None]), 1.0)
    lowest = np.minimum(p.min(axis=-2), 1.0 - 1e-16)
    best = np.where(count > 0, -np.expm1(count * np.log1p(-lowest)), np.nan)
    weight = np.where(held, np.maximum(size[..., None] - 3.0, 0.0), 0.0)
    z = np.arctanh(np.where(held, np.clip(kept, -1 + 1e-15, 1 - 1e-15), 0.0))
    total = weight.sum(axis=-2)
    added = (z * weight).sum(axis=-2) / np.sqrt(np.where(total > 0, total, np.nan))
    return {
        "max": best,
        "mean": np.asarray(2.0 * ndtr(-np.abs(added))),
        "scenic": np.where(count > 0, _rank_p(scenic, size, minimum, rng), np.nan),
    }


def _rank_p(scenic: Float, size: Int, minimum: int, rng: np.random.Generator) -> Float:
    """Significance of size-weighted mean ranks, by drawing uniform ranks for the strata of each label set."""
    edges = scenic.shape[-1]
    sizes = np.where(size >= minimum, size, 0).reshape(-1, size.shape[-1]).astype(np.float64)
    flat, found = scenic.reshape(-1, edges), np.full((sizes.shape[0], edges), np.nan)
    ranks = rng.integers(1, edges + 1, (_RANK_DRAWS, size.shape[-1])) / edges
    for row, weight in enumerate(sizes):
        if weight.sum() > 0:
            drawn = np.sort(ranks @ (weight / weight.sum()))
            exceeding = drawn.size - np.searchsorted(drawn, flat[row] - 1e-12, "left")
            found[row] = (exceeding + 1.0) / (drawn.size + 1.0)
    return found.reshape(scenic.shape)


def called_edges(p: Float, true: ArrayLike, alpha: float = 0.05) -> tuple[Float, Float, Int]:
    """Realised false share, power and number of called edges of each row of p (... x E).

    Called: Benjamini-Hochberg over the edges of a row at ``alpha``. False share is 0 where nothing is called (the
    definition of the false discovery rate); a row with a missing p is NaN.
    """
    from scipy.stats import false_discovery_control

    member = np.asarray(true, dtype=bool).ravel()
    gone: NDArray[np.bool_] = np.asarray(~np.isfinite(p).all(axis=-1))
    q = false_discovery_control(np.where(gone[..., None], 1.0, np.clip(p, 0.0, 1.0)), axis=-1)
    call = q <= alpha
    called: Int = np.asarray(call.sum(axis=-1))
    hits = (call & member).sum(axis=-1)
    false_share = (called - hits) / np.maximum(called, 1)
    power = hits / member.sum()
    return np.where(gone, np.nan, false_share), np.where(gone, np.nan, power), called


def best_of(gains: Mapping[str, Float]) -> tuple[Float, NDArray[np.intp]]:
    """Largest gain over the named choices for each draw (the same choice for real and for null strata), and which."""
    stacked = np.stack([np.nan_to_num(np.asarray(values, np.float64), nan=-np.inf) for values in gains.values()])
    return stacked.max(axis=0), stacked.argmax(axis=0)


def exceedance_p(null: ArrayLike, observed: float) -> float:
    """(null draws at or above the observed value + 1) / (null draws + 1); missing draws count as exceeding.

    NaN where the observed value is missing: what was not seen is not judged.
    """
    if not np.isfinite(observed):
        return float("nan")
    draws: NDArray[Any] = np.asarray(null, dtype=np.float64).ravel()
    return float((np.count_nonzero(~(draws < observed)) + 1) / (draws.size + 1))
