"""Cross-fitted predictions straightforwardly: scikit-learn fits one by one, and a bootstrap that ranks every draw anew.

Nothing is remembered from one release, metric or analysis to the next. Each function takes the arguments of the one it
stands for and returns `Parts`: folds, or draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.straightforward.clock import Parts
from benchmarks.straightforward.ranking import scored
from interp_assets.stats.crossfit import Boosting, Classifier, Fold, FoldPlan, Logistic
from interp_assets.stats.fit_memory import FitMemory
from interp_assets.stats.incremental import GAIN_MARGIN, CandidatePairs, _weighted_metrics
from interp_assets.stats.resampling import group_weights

Float = np.ndarray


def classifier(learner: Classifier) -> Any:
    """The scikit-learn model that a learner stands for."""
    if isinstance(learner, Logistic):
        logistic = LogisticRegression(
            C=learner.inverse_penalty, class_weight="balanced", tol=learner.tolerance, max_iter=5000
        )
        return make_pipeline(StandardScaler(), logistic)
    return HistGradientBoostingClassifier(**_trees(learner))


def _trees(learner: Boosting) -> dict[str, Any]:
    return {
        "max_iter": learner.iterations,
        "learning_rate": learner.learning_rate,
        "max_leaf_nodes": learner.leaves,
        "early_stopping": False,
        "random_state": learner.seed,
    }


def _folds(plan: FoldPlan, fit: Any) -> Parts:
    def part(number: int) -> Float:
        return fit(plan.folds[number])

    return Parts(count=len(plan.folds), part=part, ours=lambda found, number: found[plan.folds[number].test])


def remembered_scores(
    features: Float, positive: np.ndarray, plan: FoldPlan, learner: Classifier, memory: FitMemory
) -> Parts:
    """`incremental.remembered_scores`, with nothing remembered: a fit a fold."""
    return out_of_fold_scores(features, positive, plan, learner)


def out_of_fold_scores(
    features: Float, positive: np.ndarray, plan: FoldPlan, learner: Classifier, *, threads: int | None = None
) -> Parts:
    """`crossfit.out_of_fold_scores`."""

    def fit(fold: Fold) -> Float:
        model = classifier(learner).fit(features[fold.train], positive[fold.train])
        return model.decision_function(features[fold.test])

    return _folds(plan, fit)


def out_of_fold_means(
    features: Float, score: Float, plan: FoldPlan, learner: Boosting | None, *, threads: int | None = None
) -> Parts:
    """`crossfit.out_of_fold_means`."""

    def fit(fold: Fold) -> Float:
        model = LinearRegression() if learner is None else HistGradientBoostingRegressor(**_trees(learner))
        return model.fit(features[fold.train], score[fold.train]).predict(features[fold.test])

    return _folds(plan, fit)


def rows_fitted(features: Float, outcome: Any, plan: FoldPlan, *more: Any, **named: Any) -> float:
    """Size of a cross-fit: training pairs of all folds."""
    return float(sum(fold.train.size for fold in plan.folds))


def paired_gains(
    gene_only: Float,
    gene_plus_edge: Float,
    pairs: CandidatePairs,
    *,
    recall_at: Sequence[int],
    resamples: int,
    seed: Sequence[int],
    memory: FitMemory,
    margin: float = GAIN_MARGIN,
) -> Parts:
    """`incremental.paired_gains`: both predictions ranked anew in every draw of perturbations, pooled metrics.

    The metrics within a perturbation are means over what a draw holds in either way, and no part of the comparison.
    """
    tested = np.isfinite(gene_only)
    scores, kept = (gene_only[tested], gene_plus_edge[tested]), pairs.subset(tested)
    unit = np.unique(kept.perturbation, return_inverse=True)[1]
    weights = group_weights(int(unit.max()) + 1, resamples, np.random.default_rng(seed))
    every = np.arange(unit.size)
    fast: list[dict[str, Float]] = []

    def part(draw: int) -> list[float]:
        rows = np.repeat(every, weights[draw][unit])
        label = kept.positive[rows].astype(np.int8)
        metrics = (roc_auc_score, average_precision_score)
        return [scored(metric, label, score[rows]) for score in scores for metric in metrics]

    def ours(_: Any, draw: int) -> list[float]:
        if not fast:
            fast.extend(
                _weighted_metrics(each, pairs, recall_at, resamples, seed) for each in (gene_only, gene_plus_edge)
            )
        return [each[name][1 + draw] for each in fast for name in ("auroc", "auprc")]

    return Parts(count=resamples, part=part, ours=ours)


def draws_of_pairs(gene_only: Float, *given: Any, resamples: int, **named: Any) -> float:
    """Size of a paired bootstrap: pairs x draws."""
    return float(np.isfinite(gene_only).sum() * resamples)
