"""Stratified scores straightforwardly: every draw of strata computed again from the cells of its strata.

Each function takes the arguments of the one it stands for and returns `Parts`: one label set a part.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score

from benchmarks.straightforward.clock import Parts
from interp_assets.analyses.cssi_designs import Dataset, Recovered
from interp_assets.stats.cssi import AGGREGATORS, called_edges, edge_p
from interp_assets.stats.kmeans import spread_centres

Float = np.ndarray


def strata_scores(x: Float, y: Float, labels: np.ndarray, strata: int) -> tuple[Float, np.ndarray]:
    """Correlation of every regulator and target within each stratum (K x E), and its cells (K)."""
    score, size = np.full((strata, x.shape[1] * y.shape[1]), np.nan), np.zeros(strata, dtype=np.int64)
    for stratum in range(strata):
        cells = labels == stratum
        size[stratum] = cells.sum()
        if size[stratum] >= 2:
            with np.errstate(invalid="ignore", divide="ignore"):
                table = np.corrcoef(x[cells], y[cells], rowvar=False)
            score[stratum] = table[: x.shape[1], x.shape[1] :].ravel()
    return score, size


def combined(score: Float, size: np.ndarray, pooled: Float, minimum: int, names: Sequence[str]) -> dict[str, Float]:
    """Scores of one label set (K x E) combined over its strata, by name of the rule."""
    score, size = score[size >= minimum], size[size >= minimum].astype(float)
    if not size.size:
        return {name: np.full(pooled.size, np.nan) for name in names}
    weight = np.where(np.isfinite(score), size[:, None], 0.0)
    ranks = [rankdata(np.where(np.isfinite(each), np.abs(each), -1.0)) for each in score]
    found: dict[str, Float] = {}
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        gap = np.abs(score - pooled)
        for name in names:
            if name == "max":
                found[name] = np.nanmax(np.abs(score), axis=0)
            elif name == "mean":
                found[name] = np.abs(np.nansum(score * weight, axis=0) / weight.sum(axis=0))
            elif name == "plain_mean":
                found[name] = np.abs(np.nanmean(score, axis=0))
            elif name == "range":
                found[name] = np.nanmax(score, axis=0) - np.nanmin(score, axis=0)
            elif name == "deviation":
                found[name] = np.nanmax(gap, axis=0)
            elif name == "weighted_deviation":
                found[name] = np.nansum(gap * weight, axis=0) / weight.sum(axis=0)
            elif name == "spread":
                found[name] = np.nanstd(score, axis=0)
            else:
                found[name] = np.average(ranks, axis=0, weights=size) / pooled.size
    nowhere = ~np.isfinite(score).any(axis=0)
    return {name: np.where(nowhere, np.nan, values) for name, values in found.items()}


def recovery(score: Float, true: np.ndarray) -> tuple[float, float]:
    """AUROC and F1 at the number of true edges; a missing score ties with the lowest."""
    if not np.isfinite(score).any():
        return float("nan"), float("nan")
    # Two ways of adding have other last digits; scores that are equal must tie in both.
    filled = np.round(np.where(np.isfinite(score), score, np.nanmin(score)), 11)
    true = true.ravel()
    k = int(true.sum())
    cut = np.sort(filled)[-k]
    above, tied = filled > cut, filled == cut
    hits = (true & above).sum() + (k - above.sum()) * (true & tied).sum() / tied.sum()
    return float(roc_auc_score(true, filled)), float(hits / k)


def recovered(
    data: Dataset,
    labels: np.ndarray,
    strata: int,
    minimum: int,
    *,
    aggregators: Sequence[str] = AGGREGATORS,
    calls: np.random.Generator | None = None,
) -> Parts:
    """`cssi_designs.recovered`: one label set a part."""
    values = data.mixture.expression
    x, y = values[:, data.mixture.regulators], values[:, data.mixture.targets]

    def part(draw: int) -> dict[str, Any]:
        score, size = strata_scores(x, y, labels[draw], strata)
        each = combined(score, size, data.pooled, minimum, aggregators)
        if calls is not None:  # the same on both sides
            p = edge_p(score[None], size[None], each["scenic"][None], minimum, calls)
            for values in p.values():
                called_edges(values, data.mixture.true)
        found = {name: recovery(values, data.mixture.true) for name, values in each.items()}
        return {name: np.array(numbers) for name, numbers in found.items()}

    def ours(found: Recovered, draw: int) -> dict[str, Any]:
        return {name: np.array([found.auroc[name][draw], found.f1[name][draw]]) for name in aggregators}

    return Parts(count=len(labels), part=part, ours=ours)


def judged_recovered(
    judged: Any,
    labels: np.ndarray,
    layers: Sequence[int],
    pooled: Sequence[Float],
    aggregators: Sequence[str],
    minimum: int,
) -> Parts:
    """`JudgedAttention.recovered`: means of a stratum by pandas, a layer a part."""
    label = labels[judged.cell]
    size = np.bincount(labels[labels >= 0], minlength=int(labels.max()) + 1)

    def part(place: int) -> Float:
        frame = pd.DataFrame(
            {"stratum": label, "pair": judged.pair, "value": judged.value[layers[place]].astype(float)}
        )
        means = frame[frame["stratum"] >= 0].groupby(["stratum", "pair"])["value"].mean().unstack()
        table = means.reindex(index=range(size.size), columns=range(judged.true.size)).to_numpy()
        each = combined(table, size, np.asarray(pooled[place]), minimum, aggregators)
        return np.array([recovery(each[name], judged.true)[0] for name in aggregators])

    return Parts(count=len(layers), part=part, ours=lambda found, place: found[place])


def kmeans_labels(points: Any, clusters: int, rng: np.random.Generator, *, rounds: int = 30) -> Parts:
    """`kmeans.kmeans_labels`: scikit-learn from the same start, held against ours by the spread within clusters."""
    table = np.ascontiguousarray(points, dtype=np.float64)

    def spread(labels: np.ndarray) -> float:
        own = [table[labels == cluster] for cluster in np.unique(labels)]
        return float(sum(((each - each.mean(axis=0)) ** 2).sum() for each in own))

    def part(_: int) -> float:
        start = spread_centres(table, clusters, rng)
        return float(KMeans(clusters, init=start, n_init=1, max_iter=rounds, tol=0.0).fit(table).inertia_)

    return Parts(count=1, part=part, ours=lambda found, _: spread(found))
