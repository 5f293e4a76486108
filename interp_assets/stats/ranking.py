"""Ranking metrics of many rows at once: AUROC, average precision, precision and recall at k.

Conventions, the same in every function. A row is one unit (a perturbation, a regulator); a higher score
means more regulatory; labels are 1 (positive), 0 (negative) and -1 (no candidate, ignored altogether).
Scores must be finite: missing ones pass through `fill_missing` first, in sight. A row without a positive
or without a negative has no value: it comes back as NaN, never as .5 or 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.compiled import compiled

Float = NDArray[np.float64]
Labels = NDArray[np.int8]


def fill_missing(score: ArrayLike) -> tuple[Float, float]:
    """Scores with missing pairs at the lowest observed score, and the share of pairs that was filled.

    Rule "lowest": a pair that no cell held together (NaN) ties with the weakest pair observed in the same
    matrix, so that absence of evidence never ranks above evidence. Self pairs of a square matrix are no
    pairs: they set neither the lowest score nor the share, and come back at the lowest score.

    Parameters
    ----------
    score
        Genes x genes (or any two-dimensional) scores, NaN where missing.

    Raises
    ------
    ValueError
        If no pair has a score, or one is infinite.

    >>> fill_missing([[9.0, 0.5], [float("nan"), 9.0]])
    (array([[0.5, 0.5],
           [0.5, 0.5]]), 0.5)
    """
    filled = np.array(score, dtype=np.float64)
    if filled.ndim != 2:
        raise ValueError(f"scores must be a matrix, not of shape {filled.shape}")
    pair = np.ones(filled.shape, dtype=bool)
    if filled.shape[0] == filled.shape[1]:
        np.fill_diagonal(pair, val=False)
    if np.isinf(filled[pair]).any():
        raise ValueError("scores hold infinite values; only finite scores and NaN (missing) can be ranked")
    missing = np.isnan(filled)
    observed = pair & ~missing
    if not observed.any():
        raise ValueError("no pair has a score; nothing can be ranked")
    lowest = filled[observed].min()
    filled[missing | ~pair] = lowest
    return filled, float((missing & pair).sum() / pair.sum())


@dataclass(frozen=True, slots=True)
class RankedRows:
    """Scores sorted once, so that any number of label sets costs only sums.

    ``order`` is rows x genes (or 1 x genes for one score shared by all rows), ascending. ``first`` flags the
    first element of every run of equal scores in that order.
    """

    order: NDArray[np.intp]
    first: NDArray[np.bool_]

    def auroc(self, labels: ArrayLike) -> Float:
        """AUROC of each row (P) for labels P x G: share of positive-negative pairs in the right order.

        Ties count one half, which equals the rank formula with mid-ranks (paper section 4):
        sum over tie runs of positives x (negatives below + negatives in the run / 2), over all pairs.
        Counts are whole numbers until the final division.
        """
        table = np.atleast_2d(np.asarray(labels))
        _check_labels(table, (self.order.shape[0], self.order.shape[1]))
        return _auroc_of_rows(self.order, self.first, table.astype(np.int8, copy=False))

    def average_precision(self, labels: ArrayLike) -> Float:
        """Average precision of each row (P): sum of recall steps times precision, one step per tie run.

        Tied scores enter together, so the order of equal scores cannot matter (the definition of
        `sklearn.metrics.average_precision_score`). Never the trapezoid, which is optimistic.
        """
        sorted_labels = self._sorted(labels)
        positive, row = self._run_sums(sorted_labels == 1)
        negative, _ = self._run_sums(sorted_labels == 0)
        rows = sorted_labels.shape[0]
        n_positive = np.bincount(row, positive, rows)
        n_negative = np.bincount(row, negative, rows)
        hits = np.cumsum(n_positive)[row] - np.cumsum(positive) + positive
        misses = np.cumsum(n_negative)[row] - np.cumsum(negative) + negative
        steps = positive * _divide(hits, hits + misses, empty=0.0)
        return np.where(n_negative > 0, _divide(np.bincount(row, steps, rows), n_positive), np.nan)

    def _sorted(self, labels: ArrayLike) -> Labels:
        table = np.atleast_2d(np.asarray(labels))
        _check_labels(table, (self.order.shape[0], self.order.shape[1]))
        if self.order.shape[0] == 1:
            return np.asarray(table[:, self.order[0]])
        return np.asarray(np.take_along_axis(table, self.order, axis=1))

    def _run_sums(self, flags: NDArray[np.bool_]) -> tuple[Float, NDArray[np.intp]]:
        """Sums of flags over every tie run of every row, and the row each run belongs to."""
        first = np.broadcast_to(self.first, flags.shape).ravel()
        starts = np.flatnonzero(first)
        sums = np.add.reduceat(flags.ravel().astype(np.float64), starts)
        return sums, starts // flags.shape[1]


def rank_rows(scores: ArrayLike) -> RankedRows:
    """Sorted form of scores P x G, or of G scores shared by every row.

    Raises
    ------
    ValueError
        If a score is missing or infinite.
    """
    table = _finite(scores)
    order = np.argsort(table, axis=1)  # equal scores in any order: every number below is a sum over their run
    ascending = np.take_along_axis(table, order, axis=1)
    first = np.ones(table.shape, dtype=bool)
    first[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    return RankedRows(order=order, first=first)


def auroc(scores: ArrayLike, labels: ArrayLike) -> Float:
    """AUROC of each row (P) of scores P x G, or of G shared scores, against labels P x G.

    >>> auroc([0.1, 0.4, 0.4, 0.9], [[0, 0, 1, 1], [-1, 1, 0, -1]])
    array([0.875, 0.5  ])
    """
    return rank_rows(scores).auroc(labels)


def average_precision(scores: ArrayLike, labels: ArrayLike) -> Float:
    """Average precision of each row (P) of scores P x G, or of G shared scores; ties enter together."""
    return rank_rows(scores).average_precision(labels)


def precision_at(scores: ArrayLike, labels: ArrayLike, k: int) -> Float:
    """Share of positives among the k best candidates of each row (P), in expectation over tied orders.

    A row with fewer than k candidates uses all of them.
    """
    hits, taken, _ = _top(scores, labels, k)
    return _divide(hits, taken)


def recall_at(scores: ArrayLike, labels: ArrayLike, k: int) -> Float:
    """Share of each row's positives found among its k best candidates, in expectation over tied orders."""
    hits, _, positives = _top(scores, labels, k)
    return _divide(hits, positives)


def r_precision(scores: ArrayLike, labels: ArrayLike) -> Float:
    """Precision of each row (P) at k = its own number of positives, in expectation over tied orders.

    >>> r_precision([3.0, 2.0, 2.0, 1.0], [[1, 1, 0, 0]])
    array([0.75])
    """
    hits, _, positives = _top(scores, labels, None)
    return _divide(hits, positives)


def _top(scores: ArrayLike, labels: ArrayLike, k: int | None) -> tuple[Float, Float, Float]:
    """Expected positives among the best k candidates, candidates taken, and positives, per row.

    ``k`` None means each row's number of positives. With m of the t candidates tied at the threshold
    taken, the expected number of positives among them is m times the positive share of the tie.
    """
    if k is not None and k < 1:
        raise ValueError(f"k = {k}; at least one candidate must be taken")
    table = np.atleast_2d(np.asarray(labels))
    given = _finite(scores)
    _check_labels(table, (given.shape[0], given.shape[1]))
    candidate = table >= 0
    positives = (table == 1).sum(axis=1)
    available = candidate.sum(axis=1)
    taken = np.minimum(positives if k is None else k, available)
    ranked = np.where(candidate, given, -np.inf)
    descending = -np.sort(-ranked, axis=1)
    threshold = np.take_along_axis(descending, np.maximum(taken - 1, 0)[:, None], axis=1)
    above = candidate & (ranked > threshold)
    tied = candidate & (ranked == threshold)
    share = _divide((tied & (table == 1)).sum(axis=1), tied.sum(axis=1), empty=0.0)
    hits = (above & (table == 1)).sum(axis=1) + (taken - above.sum(axis=1)) * share
    both = (positives > 0) & (positives < available)
    return np.where(both, hits, np.nan), taken.astype(np.float64), positives.astype(np.float64)


@compiled
def _auroc_of_rows(
    order: NDArray[np.intp], first: NDArray[np.bool_], labels: Labels
) -> Float:  # pragma: no cover - compiled
    found = np.empty(labels.shape[0])
    for row in range(labels.shape[0]):
        own = row if order.shape[0] > 1 else 0
        positives, negatives, run_positives, run_negatives, twice_in_order = 0, 0, 0, 0, 0
        for place in range(order.shape[1]):
            if first[own, place]:
                twice_in_order += run_positives * (2 * negatives + run_negatives)
                positives += run_positives
                negatives += run_negatives
                run_positives = run_negatives = 0
            label = labels[row, order[own, place]]
            run_positives += label == 1
            run_negatives += label == 0
        twice_in_order += run_positives * (2 * negatives + run_negatives)
        pairs = (positives + run_positives) * (negatives + run_negatives)
        found[row] = twice_in_order / (2.0 * pairs) if pairs > 0 else np.nan
    return found


def _finite(scores: ArrayLike) -> Float:
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"scores must be rows x genes or genes, not of shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("scores hold missing or infinite values; apply fill_missing and record its share")
    return table


def _check_labels(table: NDArray[Any], shape: tuple[int, int]) -> None:
    if table.ndim != 2 or table.shape[1] != shape[1] or shape[0] not in (1, table.shape[0]):
        raise ValueError(f"labels of shape {table.shape} do not match scores of shape {shape}")
    whole = table.dtype.kind in "bi"
    if not ((table >= -1).all() and (table <= 1).all() if whole else np.isin(table, (-1, 0, 1)).all()):
        raise ValueError("labels must be 1 (positive), 0 (negative) or -1 (no candidate)")


def _divide(numerator: ArrayLike, denominator: ArrayLike, *, empty: float = np.nan) -> Float:
    over, under = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    quotient = np.full(over.shape, empty)
    np.divide(over, under, out=quotient, where=under > 0)
    return quotient
