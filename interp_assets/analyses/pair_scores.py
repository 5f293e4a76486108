"""Scores of all ordered gene pairs of one role, for analyses that hold attention against expression.

What belongs here: attention at one layer or as the mean of all, and what expression says of a pair. What does not:
any statistic. Missing pairs take the lowest observed score (`stats.ranking.fill_missing`), their share travels along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from interp_assets.analyses.inputs import RoleInputs
from interp_assets.edges.records import EdgeMatrix
from interp_assets.stats.ranking import fill_missing

Float = NDArray[np.float64]
PRODUCT: Final = "product_of_means"
MINIMUM: Final = "minimum_of_means"
CO_EXPRESSION: Final = "co_expression"
QUANTITIES: Final = (PRODUCT, MINIMUM, CO_EXPRESSION)
FEWEST_PAIRS: Final = 20
LAYER: Final = "attention"
LAYER_MEAN: Final = "attention_layer_mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairScore:
    """One score of every ordered pair (genes x genes, finite), and which pairs were really observed."""

    name: str
    score: Float
    observed: NDArray[np.bool_]

    @property
    def missing_share(self) -> float:
        """Share of the pairs, self pairs apart, that were filled."""
        pair = ~np.eye(self.score.shape[0], dtype=bool)
        return float((~self.observed & pair).sum() / pair.sum())

    @property
    def of_pairs(self) -> Float:
        """Scores of the ordered pairs in row order, self pairs left out."""
        return np.asarray(self.score[~np.eye(self.score.shape[0], dtype=bool)])


def attention_pairs(role: RoleInputs, layer: int | None) -> PairScore:
    """Head-mean attention of one layer, or of all layers averaged (``layer`` None)."""
    if layer is not None:
        return _filled(LAYER, role.attention.layer_matrix(layer), role)
    if not role.attention.layers:
        raise ValueError(f"{role.dataset}: attention of no layer was read")
    total = np.zeros((role.genes.size, role.genes.size))
    for number in range(role.attention.layers):
        total += _checked(role.attention.layer_matrix(number), role)
    return _finished(LAYER_MEAN, total / role.attention.layers)


def expression_pairs(role: RoleInputs) -> dict[str, PairScore]:
    """What expression says of a pair, by name: product and minimum of the two means, and absolute Spearman.

    Means are of log-normalised expression over the cells of the edge scores.

    Raises
    ------
    ValueError
        If the mean of a gene is missing.
    """
    mean = role.features["mean"].to_numpy(np.float64)
    if mean.shape != role.genes.shape or not np.isfinite(mean).all():
        raise ValueError(f"{role.dataset}: mean expression is missing for some evaluable genes")
    return {
        PRODUCT: _finished(PRODUCT, np.outer(mean, mean)),
        MINIMUM: _finished(MINIMUM, np.minimum.outer(mean, mean)),
        CO_EXPRESSION: co_expression_pairs(role),
    }


def co_expression_pairs(role: RoleInputs) -> PairScore:
    """Absolute Spearman correlation of the two genes over the cells of the edge scores."""
    return _filled(CO_EXPRESSION, role.correlation, role)


def scores_over(role: RoleInputs, score: Float, genes: NDArray[np.str_]) -> Float:
    """Scores of a role (genes x genes) over some of its genes, in the order given."""
    at = pd.Index(role.genes.astype(object)).get_indexer(genes.astype(object))
    return np.asarray(score[np.ix_(at, at)])


def observed_spearman(scores: Sequence[PairScore]) -> Float:
    """Spearman correlations among scores over the pairs observed in all of them; NaN where too few are left."""
    kept = ~np.eye(scores[0].score.shape[0], dtype=bool)
    for one in scores:
        kept = kept & one.observed
    found = np.full((len(scores), len(scores)), np.nan)
    if int(kept.sum()) < FEWEST_PAIRS:
        return found
    values = [one.score[kept] for one in scores]
    able = [k for k, each in enumerate(values) if np.ptp(each) > 0.0]
    if able:
        found[np.ix_(able, able)] = np.atleast_2d(np.corrcoef([rankdata(values[k]) for k in able]))
    return found


def _filled(name: str, edges: EdgeMatrix, role: RoleInputs) -> PairScore:
    return _finished(name, _checked(edges, role))


def _finished(name: str, raw: Float) -> PairScore:
    score, _ = fill_missing(raw)
    return PairScore(name=name, score=score, observed=~np.isnan(raw))


def _checked(edges: EdgeMatrix, role: RoleInputs) -> Float:
    if not np.array_equal(edges.genes, role.genes):
        raise ValueError(f"{role.dataset}: genes of {edges.name} are not the evaluable genes in their order")
    return np.asarray(edges.score, dtype=np.float64)
