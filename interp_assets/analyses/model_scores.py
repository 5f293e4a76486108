"""Scores that stand side by side in analysis 12: the release, edges that need no model, single genes, token order.

What belongs here: regulators x genes scores of one set of cells. What does not: recovery, intervals, p.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses.cell_runs import (
    ATTENTION,
    CORRELATION,
    ONE_LAYER,
    ORDER,
    RunCells,
    RunReference,
    run_scores,
)
from interp_assets.edges.records import EdgeMatrix
from interp_assets.edges.scores import co_detection_edges, precedence_edges, rank_distance_edges
from interp_assets.stats.crossfit import TooLittleDataError, out_of_fold_means, plan_folds
from interp_assets.stats.ranking import fill_missing
from interp_assets.stats.recovery import keep_top_targets

Float = NDArray[np.float64]
Int = NDArray[np.int64]
PRODUCT: Final = "product_of_means"
ORDER_REMOVED: Final = "attention_without_token_order"
TRUNCATED: Final = "attention_top_20"
KEPT_TARGETS: Final = 20
# What a score is made of; the reader compares within and across these.
KINDS: Final[Mapping[str, str]] = {
    ATTENTION: "release",
    ONE_LAYER: "release",
    TRUNCATED: "release",
    ORDER_REMOVED: "release",
    CORRELATION: "model-free edge",
    "rank_distance": "model-free edge",
    "co_detection": "model-free edge",
    PRODUCT: "model-free edge",
    ORDER: "order",
    "target_mean": "single gene",
    "target_attention": "single gene",
    "target_in_degree_elsewhere": "single gene",
}
AT_EVERY_COUNT: Final = (ATTENTION, ONE_LAYER, CORRELATION, PRODUCT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScores:
    """Scores R x G by name over one set of cells, all finite, and why a score is absent."""

    cells: int
    scores: Mapping[str, Float]
    missing_share: Mapping[str, float]
    absent: Mapping[str, str]


def model_scores(source: RunCells, cells: Int, *, every: bool, folds: int, seed: list[int]) -> ModelScores:
    """Scores of the given cells; ``every`` False leaves those of `AT_EVERY_COUNT`.

    Single genes as targets: mean expression, and mean attention received over all regulators. The in-degree in
    another reference depends on the reference that is tested and is added by `in_degree_elsewhere`.
    """
    scores: dict[str, Float] = {}
    missing: dict[str, float] = {}
    absent: dict[str, str] = {}
    for edge in (ATTENTION, ONE_LAYER, CORRELATION):
        scores[edge], observed = run_scores(source, cells, edge)
        missing[edge] = float(1.0 - observed.mean())
        if edge == ATTENTION:
            # A pair that no cell held is no target that the model attends most.
            held = np.where(observed, scores[edge], np.nan)
    mean = source.expression[cells].mean(axis=0, dtype=np.float64)
    scores[PRODUCT] = np.outer(mean[source.averaged.rows], mean)
    if every:
        scores[TRUNCATED] = keep_top_targets(held, source.averaged.rows, _kept(source))
        for edges in _pairwise(source, cells):
            scores[edges.name], missing[edges.name] = _rows_of(source, edges)
        if source.ordered is not None:
            # a model that looks back: what order alone gives its pooled attention, in its own order of tokens
            scores[ORDER], observed = run_scores(source, cells, ORDER)
            missing[ORDER] = float(1.0 - observed.mean())
        shape = scores[ATTENTION].shape
        scores["target_mean"] = np.broadcast_to(mean, shape)
        scores["target_attention"] = np.broadcast_to(scores[ATTENTION].mean(axis=0), shape)
        without = _without_order(source, scores[ATTENTION], scores[ORDER], folds, seed)
        if isinstance(without, str):
            absent[ORDER_REMOVED] = without
        else:
            scores[ORDER_REMOVED] = without
    return ModelScores(cells=int(cells.size), scores=scores, missing_share=missing, absent=absent)


def missing_rule_of_order(source: RunCells) -> str:
    """What token order gives a pair that no cell holds."""
    return "a pair that no cell holds counts as one half" if source.ordered is None else "lowest"


def in_degree_elsewhere(source: RunCells, tested: RunReference) -> Float | None:
    """How many regulators another reference lists for each target (R x G); None where there is no other one."""
    others = [one for one in source.references[:2] if one.name != tested.name]
    if not others:
        return None
    return np.broadcast_to(others[0].member.sum(axis=0).astype(np.float64), source.averaged.shape)


def _kept(source: RunCells) -> int:
    return min(KEPT_TARGETS, source.averaged.genes.size - 2)


def _pairwise(source: RunCells, cells: Int) -> list[EdgeMatrix]:
    whole = source.sample.cells
    control = np.zeros(whole.control.size, dtype=bool)
    control[source.averaged.cells[cells]] = True
    chosen = replace(whole, control=control)
    genes = source.averaged.genes
    return [make(chosen, genes) for make in (rank_distance_edges, co_detection_edges, precedence_edges)]


def _rows_of(source: RunCells, edges: EdgeMatrix) -> tuple[Float, float]:
    """Rows of the read regulators, missing pairs at the lowest; a pair without an order counts as even."""
    raw = np.asarray(edges.score, dtype=np.float64)[source.averaged.rows]
    if edges.name == ORDER:
        return np.where(np.isnan(raw), 0.5, raw), float(np.isnan(raw).mean())
    return fill_missing(raw)


def _without_order(source: RunCells, attention: Float, order: Float, folds: int, seed: list[int]) -> Float | str:
    """Attention minus what token order predicts for unseen target genes (least squares on order and its square)."""
    own = source.averaged.rows
    row, target = np.nonzero(own[:, None] != np.arange(attention.shape[1])[None, :])
    covariates = np.column_stack([order[row, target], order[row, target] ** 2])
    try:
        plan = plan_folds("target_gene", own[row].astype(np.intp), target.astype(np.intp), folds=folds, seed=seed)
    except TooLittleDataError as error:
        return str(error)
    left = np.zeros(attention.shape)
    left[row, target] = attention[row, target] - out_of_fold_means(covariates, attention[row, target], plan, None)
    return left
