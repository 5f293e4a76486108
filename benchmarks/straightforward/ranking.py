"""AUROC and average precision straightforwardly: one call of scikit-learn a row, one a draw.

Each function takes the arguments of the one it stands for and returns `Parts`: rows, or draws of a bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.straightforward.clock import Parts
from interp_assets.stats.ranking import RankedRows

Metric = Callable[[np.ndarray, np.ndarray], float]


def scored(metric: Metric, label: np.ndarray, score: np.ndarray) -> float:
    """Metric of the candidates (label 0 or 1); NaN where they lack a class."""
    kept = label >= 0
    label, score = label[kept], score[kept]
    return float(metric(label, score)) if label.size and 0 < label.sum() < label.size else float("nan")


def _rows(metric: Metric, scores: np.ndarray, labels: np.ndarray) -> Parts:
    at = np.broadcast_to(scores, labels.shape)
    return Parts(
        count=labels.shape[0],
        part=lambda row: scored(metric, labels[row], at[row]),
        ours=lambda found, row: found[row],
    )


def _levels(ranked: RankedRows) -> np.ndarray:
    """Scores of the same order and ties as those that were ranked."""
    level = np.empty(ranked.order.shape)
    np.put_along_axis(level, ranked.order, np.cumsum(ranked.first, axis=1).astype(np.float64), axis=1)
    return level


def ranked_auroc(ranked: RankedRows, labels: ArrayLike) -> Parts:
    """`RankedRows.auroc`."""
    return _rows(roc_auc_score, _levels(ranked), np.atleast_2d(np.asarray(labels)))


def ranked_average_precision(ranked: RankedRows, labels: ArrayLike) -> Parts:
    """`RankedRows.average_precision`."""
    return _rows(average_precision_score, _levels(ranked), np.atleast_2d(np.asarray(labels)))


def auroc(scores: ArrayLike, labels: ArrayLike) -> Parts:
    """`ranking.auroc`."""
    return _rows(roc_auc_score, np.atleast_2d(np.asarray(scores, np.float64)), np.atleast_2d(np.asarray(labels)))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> Parts:
    """`ranking.average_precision`."""
    table = np.atleast_2d(np.asarray(scores, np.float64))
    return _rows(average_precision_score, table, np.atleast_2d(np.asarray(labels)))


def _draws(metric: Metric, given: Sequence[Any]) -> Parts:
    score, label, group, weights = (np.asarray(each) for each in given)
    every = np.arange(score.size)

    def part(draw: int) -> float:
        rows = np.repeat(every, weights[draw][group])
        return scored(metric, label[rows].astype(np.int8), score[rows])

    return Parts(count=weights.shape[0], part=part, ours=lambda found, draw: found[draw])


def grouped_auroc_bootstrap(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike) -> Parts:
    """`resampling.grouped_auroc_bootstrap`: pairs repeated as often as their group was drawn, ranked anew."""
    return _draws(roc_auc_score, (scores, labels, groups, weights))


def grouped_average_precision_bootstrap(
    scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike
) -> Parts:
    """`resampling.grouped_average_precision_bootstrap`."""
    return _draws(average_precision_score, (scores, labels, groups, weights))
