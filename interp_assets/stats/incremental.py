"""What an edge score adds to gene-level features: four metrics and their paired perturbation bootstrap.

What belongs here: candidate pairs, the metrics of one pooled out-of-fold ranking and their bootstrap over
perturbations. What does not: fold plans and learners (`crossfit`), the simulated power (`power`), result rows.

Everywhere a higher score means more regulatory, the inference unit is the perturbation, and ties share
their places: AUROC counts a tied pair one half, average precision reads precision at the end of a tie, and
top-k counts what a random order of the tie would bring on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.crossfit import (
    Classifier,
    FloatArray,
    FoldPlan,
    IndexArray,
    TooLittleDataError,
    out_of_fold_scores,
)
from interp_assets.stats.equivalence import bootstrap_equivalence, two_sided_p
from interp_assets.stats.fit_memory import FitMemory, content_key
from interp_assets.stats.ranking import r_precision
from interp_assets.stats.ranking import recall_at as recall_in_top
from interp_assets.stats.resampling import (
    group_weights,
    grouped_auroc_bootstrap,
    grouped_average_precision_bootstrap,
    percentile_interval,
)

GAIN_MARGIN: Final = 0.005  # the gain that criterion b asks for and that the published power is for


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidatePairs:
    """Candidate pairs of a screen, one entry a pair (n): perturbation code, target position, label.

    ``perturbation`` codes the perturbed *gene*: two rows of a screen that perturb the same gene share a
    code, so that neither a fold nor a bootstrap draw can separate them.
    """

    perturbation: IndexArray
    target: IndexArray
    source: IndexArray
    positive: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Number of pairs."""
        return int(self.positive.size)

    @property
    def perturbations(self) -> int:
        """Number of different perturbed genes among the pairs."""
        return int(np.unique(self.perturbation).size)

    def subset(self, mask: NDArray[np.bool_]) -> CandidatePairs:
        """Pairs under ``mask``, codes unchanged."""
        return CandidatePairs(
            perturbation=self.perturbation[mask],
            target=self.target[mask],
            source=self.source[mask],
            positive=self.positive[mask],
        )


def candidate_pairs(label: NDArray[np.int8], source: NDArray[np.integer]) -> CandidatePairs:
    """Candidate pairs of a label matrix (perturbations x genes; 1, 0, -1 = no candidate), row by row.

    Raises
    ------
    ValueError
        When a perturbed gene is a candidate of its own perturbation.
    TooLittleDataError
        When no pair is positive, or none is negative.
    """
    row, target = np.nonzero(label >= 0)
    origin = np.asarray(source, dtype=np.intp)[row]
    if (origin == target).any():
        raise ValueError("a perturbed gene is among its own candidates: set its label to -1 (no candidate)")
    positive = label[row, target] == 1
    if positive.all() or not positive.any():
        lacking = "positive" if not positive.any() else "negative"
        raise TooLittleDataError(f"{positive.size} candidate pairs and none is {lacking}")
    code = np.unique(origin, return_inverse=True)[1]
    return CandidatePairs(
        perturbation=code.astype(np.intp), target=target.astype(np.intp), source=origin, positive=positive
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One metric of gene-only and of gene + edge predictions, and their paired difference.

    ``ci_low``/``ci_high`` bound ``delta``, ``gene_only_low``/``gene_only_high`` bound ``gene_only``: 95%
    percentile intervals over resampled perturbations. ``resamples_done`` counts the draws in which the
    metric exists. ``n_perturbations`` are those the metric reads. ``p`` is two-sided against no gain,
    ``p_equivalent`` that of the test behind ``equivalent``: the gain lies within ``margin``.
    """

    metric: str
    gene_only: float
    gene_plus_edge: float
    delta: float
    ci_low: float
    ci_high: float
    gene_only_low: float
    gene_only_high: float
    n_perturbations: int
    n_pairs: int
    n_positive: int
    resamples_requested: int
    resamples_done: int
    p: float
    margin: float
    p_equivalent: float
    equivalent: bool


def paired_gains(
    gene_only: FloatArray,
    gene_plus_edge: FloatArray,
    pairs: CandidatePairs,
    *,
    recall_at: Sequence[int],
    resamples: int,
    seed: Sequence[int],
    memory: FitMemory,
    margin: float = GAIN_MARGIN,
) -> tuple[Gain, ...]:
    """Gains in AUROC, AUPRC (pooled), R-precision and recall@k (mean over perturbations).

    Both predictions are out of the same folds; pairs where they are NaN were not tested and are left out.
    Every draw takes whole perturbations and is shared by the two predictions and all metrics, so that the
    interval is that of a paired difference (paper section 4, incremental value).

    Raises
    ------
    ValueError
        When the two predictions cover different pairs.
    TooLittleDataError
        When the tested pairs lack a class.
    """
    if not np.array_equal(np.isfinite(gene_only), np.isfinite(gene_plus_edge)):
        raise ValueError("gene-only and gene + edge predictions cover different pairs; use the same folds")
    base = cast(
        dict[str, FloatArray],
        memory.recall(
            content_key("metrics", gene_only, pairs.perturbation, pairs.positive, recall_at, resamples, seed),
            lambda: _weighted_metrics(gene_only, pairs, recall_at, resamples, seed),
            lambda metrics: sum(values.nbytes for values in metrics.values()),
        ),
    )
    full = _weighted_metrics(gene_plus_edge, pairs, recall_at, resamples, seed)
    return _gains(base, full, pairs.subset(np.isfinite(gene_only)), margin)


def _weighted_metrics(
    score: FloatArray, pairs: CandidatePairs, recall_at: Sequence[int], resamples: int, seed: Sequence[int]
) -> dict[str, FloatArray]:
    """Every metric of the finite scores, unweighted first and then in every draw (1 + resamples)."""
    tested = np.isfinite(score)
    score, pairs = score[tested], pairs.subset(tested)
    if pairs.positive.all() or not pairs.positive.any():
        raise TooLittleDataError("the tested pairs lack a class")
    unit = np.unique(pairs.perturbation, return_inverse=True)[1]
    units = int(unit.max()) + 1
    drawn = group_weights(units, resamples, np.random.default_rng(seed))
    weights = np.vstack([np.ones((1, units), dtype=np.int64), drawn])
    found = {
        "auroc": grouped_auroc_bootstrap(score, pairs.positive, unit, weights),
        "auprc": grouped_average_precision_bootstrap(score, pairs.positive, unit, weights),
    }
    table, label = _by_perturbation(score, pairs.positive, unit, units)
    for name, values in _top_k(table, label, recall_at).items():
        exists = np.isfinite(values)
        count = weights[:, exists].sum(axis=1)
        total = weights[:, exists] @ values[exists]
        found[name] = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return found


def _by_perturbation(
    score: FloatArray, positive: NDArray[np.bool_], unit: IndexArray, units: int
) -> tuple[FloatArray, NDArray[np.int8]]:
    """Scores and labels as perturbations x most candidates of one, -1 beyond a perturbation's own."""
    order = np.argsort(unit, kind="stable")
    counts = np.bincount(unit, minlength=units)
    place = np.arange(unit.size) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.zeros((units, int(counts.max())))
    label = np.full(table.shape, -1, dtype=np.int8)
    table[unit[order], place] = score[order]
    label[unit[order], place] = positive[order]
    return table, label


def _top_k(table: FloatArray, label: NDArray[np.int8], recall_at: Sequence[int]) -> dict[str, FloatArray]:
    return {"r_precision": r_precision(table, label)} | {
        f"recall_{k}": recall_in_top(table, label, int(k)) for k in recall_at
    }


def _gains(
    base: dict[str, FloatArray], full: dict[str, FloatArray], pairs: CandidatePairs, margin: float
) -> tuple[Gain, ...]:
    both_classes = np.intersect1d(pairs.perturbation[pairs.positive], pairs.perturbation[~pairs.positive]).size
    made = []
    for name in base:
        delta = full[name] - base[name]
        requested = delta.size - 1
        interval = percentile_interval(delta[1:], requested=requested)
        alone = percentile_interval(base[name][1:], requested=requested)
        equal = bootstrap_equivalence(delta[1:], margin)
        gain = Gain(
            metric=name,
            gene_only=float(base[name][0]),
            gene_plus_edge=float(full[name][0]),
            delta=float(delta[0]),
            ci_low=interval.low,
            ci_high=interval.high,
            gene_only_low=alone.low,
            gene_only_high=alone.high,
            n_perturbations=pairs.perturbations if name in ("auroc", "auprc") else int(both_classes),
            n_pairs=pairs.size,
            n_positive=int(pairs.positive.sum()),
            resamples_requested=requested,
            resamples_done=interval.resamples_done,
            p=two_sided_p(delta[1:]),
            margin=margin,
            p_equivalent=equal.p,
            equivalent=equal.equivalent,
        )
        made.append(gain)
    return tuple(made)


def incremental_gains(
    gene_features: FloatArray,
    edge_features: FloatArray,
    pairs: CandidatePairs,
    plan: FoldPlan,
    learner: Classifier,
    *,
    recall_at: Sequence[int],
    resamples: int,
    seed: Sequence[int],
    memory: FitMemory,
    margin: float = GAIN_MARGIN,
) -> tuple[Gain, ...]:
    """Gains of gene + edge over gene-only predictions, same folds, same learner, same draws.

    Parameters
    ----------
    gene_features : genes x features of the target alone.
    edge_features : n x columns of the pair: the score, and a missing indicator where scores are missing.
    memory : keeps out-of-fold predictions by content; gene-only ones serve every release of a process.
    """
    genes = gene_features[pairs.target]
    gene_only = remembered_scores(genes, pairs.positive, plan, learner, memory)
    both = remembered_scores(np.column_stack([genes, edge_features]), pairs.positive, plan, learner, memory)
    return paired_gains(
        gene_only, both, pairs, recall_at=recall_at, resamples=resamples, seed=seed, memory=memory, margin=margin
    )


def remembered_scores(
    features: FloatArray,
    positive: NDArray[np.bool_],
    plan: FoldPlan,
    learner: Classifier,
    memory: FitMemory,
) -> FloatArray:
    """`out_of_fold_scores`, kept in ``memory`` by the content of features, labels, folds and settings."""
    folds = [part for fold in plan.folds for part in (fold.train, fold.test)]
    key = content_key(features, positive, *folds, learner)
    found = memory.recall(
        key,
        lambda: out_of_fold_scores(features, positive, plan, learner),
        lambda scores: int(scores.nbytes),
    )
    return cast(FloatArray, found)
