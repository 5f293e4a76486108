"""Out-of-fold predictions of gene pairs, by folds that cannot leak.

What belongs here: fold plans over (perturbation, target gene) pairs, the two learners of the battery and
their out-of-fold predictions. What does not: metrics, intervals, and which covariates an analysis uses.

Every plan checks itself when it is made: a perturbation, a target gene, or both, never occur on the two
sides of a fold. Learners that did not converge, did not run in full or lack a class raise; nothing falls
back to a simpler learner.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

Split = Literal["perturbation", "target_gene", "joint"]
LearnerName = Literal["logistic", "boosting"]
SPLITS: Final[tuple[Split, ...]] = ("perturbation", "target_gene", "joint")
LEARNERS: Final[tuple[LearnerName, ...]] = ("logistic", "boosting")

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]


class TooLittleDataError(ValueError):
    """The pairs cannot fill the folds: the analysis is skipped with this reason, no number is made."""


class LeakingFoldError(ValueError):
    """A fold shares a perturbation or a target gene between training and test."""


class LearnerError(ValueError):
    """A learner did not converge or did not run as asked; nothing simpler takes its place."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Positions of the training and the test pairs of one fold."""

    train: IndexArray
    test: IndexArray


@dataclass(frozen=True, slots=True)
class FoldPlan:
    """Folds over n pairs, checked against the groups that must not be shared.

    ``perturbation`` and ``target`` hold one group code a pair. Under ``"perturbation"`` no perturbation,
    under ``"target_gene"`` no target gene, under ``"joint"`` neither occurs on both sides of a fold. No
    pair is tested twice.

    Raises
    ------
    LeakingFoldError
        When a fold shares a group that its split keeps apart, or a pair is tested twice.
    """

    split: Split
    perturbation: IndexArray
    target: IndexArray
    folds: tuple[Fold, ...]

    def __post_init__(self) -> None:
        times_tested = np.zeros(self.perturbation.size, dtype=np.int64)
        for number, fold in enumerate(self.folds):
            times_tested[fold.test] += 1
            if self.split in ("perturbation", "joint"):
                _refuse_shared("perturbation", self.perturbation, fold, number)
            if self.split in ("target_gene", "joint"):
                _refuse_shared("target gene", self.target, fold, number)
        if times_tested.max(initial=0) > 1:
            raise LeakingFoldError(f"{self.split} split: {int((times_tested > 1).sum())} pairs are tested twice")

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Pairs that some fold tests (n): all of them, except under the joint split."""
        mask = np.zeros(self.perturbation.size, dtype=bool)
        for fold in self.folds:
            mask[fold.test] = True
        return mask


def _refuse_shared(what: str, group: IndexArray, fold: Fold, number: int) -> None:
    shared = np.intersect1d(group[fold.train], group[fold.test])
    if shared.size:
        named = ", ".join(str(code) for code in shared[:5])
        raise LeakingFoldError(
            f"fold {number}: {shared.size} {what} groups occur in training and in test (codes {named}); "
            f"assign every pair of a {what} to one fold"
        )


def group_folds(group: IndexArray, folds: int, rng: np.random.Generator) -> IndexArray:
    """Fold number (0 .. folds - 1) of every pair (n), all pairs of a group in the same fold.

    Groups are dealt out in random order, so that fold sizes differ by one group at most.

    Raises
    ------
    TooLittleDataError
        When there are fewer groups than folds.
    """
    if folds < 2:
        raise ValueError(f"folds = {folds}: out-of-fold prediction needs at least 2")
    codes, inverse = np.unique(group, return_inverse=True)
    if codes.size < folds:
        raise TooLittleDataError(f"{codes.size} groups cannot fill {folds} folds")
    fold_of_code = np.empty(codes.size, dtype=np.intp)
    fold_of_code[rng.permutation(codes.size)] = np.arange(codes.size) % folds
    return fold_of_code[inverse]


def plan_folds(
    split: Split, perturbation: IndexArray, target: IndexArray, *, folds: int, seed: Sequence[int]
) -> FoldPlan:
    """Checked fold plan of one split over n pairs (paper section 4, incremental value).

    ``"perturbation"`` and ``"target_gene"`` group by one side and test every pair once. ``"joint"`` deals
    both sides into folds and uses the diagonal blocks: fold i tests (perturbation fold i) x (gene fold i),
    trains on (other perturbations) x (other genes) and discards the two mixed blocks. It therefore tests
    about 1 / folds of the pairs; the others stay untested.

    The same seed gives the same perturbation folds and the same gene folds under all three splits.

    Raises
    ------
    TooLittleDataError
        When a side has fewer groups than folds, or a fold is left without training or test pairs.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
    p_fold = t_fold = np.zeros(perturbation.size, dtype=np.intp)
    if split in ("perturbation", "joint"):
        p_fold = _side_folds("perturbations", perturbation, folds, [*seed, 0])
    if split in ("target_gene", "joint"):
        t_fold = _side_folds("target genes", target, folds, [*seed, 1])
    made = []
    for number in range(folds):
        in_p, in_t = p_fold == number, t_fold == number
        if split == "perturbation":
            train, test = ~in_p, in_p
        elif split == "target_gene":
            train, test = ~in_t, in_t
        else:
            train, test = ~in_p & ~in_t, in_p & in_t
        made.append(Fold(np.flatnonzero(train), np.flatnonzero(test)))
        if not (made[-1].train.size and made[-1].test.size):
            raise TooLittleDataError(f"{split} split: fold {number} has no training or no test pairs")
    return FoldPlan(split, perturbation, target, tuple(made))


def _side_folds(what: str, group: IndexArray, folds: int, seed: Sequence[int]) -> IndexArray:
    try:
        return group_folds(group, folds, np.random.default_rng(seed))
    except TooLittleDataError as error:
        raise TooLittleDataError(f"{what}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosting:
    """Settings of gradient boosting: number of trees, shrinkage and leaves of a tree."""

    iterations: int = 60
    learning_rate: float = 0.15
    leaves: int = 15
    seed: int = 0

    # Below this a tree may not split even once (20 pairs a leaf), and "boosting" would be a constant.
    smallest_training_fold = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic:
    """Settings of logistic regression: inverse L2 strength on standardised features, Newton steps allowed.

    Classes are weighted to balance (paper section 2.4). The optimum is found by Newton steps with a
    Cholesky solve: the objective of the usual quasi-Newton solver, reached to machine precision in about
    six steps.
    """

    inverse_penalty: float = 1.0
    steps: int = 200
    tolerance: float = 1e-8


Classifier = Logistic | Boosting


def out_of_fold_scores(
    features: FloatArray,
    positive: NDArray[np.bool_],
    plan: FoldPlan,
    learner: Classifier,
    *,
    threads: int | None = None,
) -> FloatArray:
    """Out-of-fold log-odds (n) that a pair is positive; NaN where the plan tests nothing.

    Parameters
    ----------
    features : n x columns, finite.
    positive : n, True for a positive pair.
    plan : folds over the same n pairs.
    learner : `Logistic` (features standardised on the training fold) or `Boosting`.
    threads : folds fitted side by side (default: the usable cores). Each fit runs on one thread, so the
        result does not depend on it.

    Raises
    ------
    TooLittleDataError
        When a training fold lacks a class, or is too small to boost.
    LearnerError
        When a fit did not converge or stopped early.
    """
    _check_shapes(features, positive, plan)
    for number, fold in enumerate(plan.folds):
        count = int(positive[fold.train].sum())
        if count in (0, fold.train.size):
            lacking = "positive" if count == 0 else "negative"
            raise TooLittleDataError(f"{plan.split} split: training fold {number} has no {lacking} pair")
        _check_boostable(learner, plan, number)

    def fit(fold: Fold) -> FloatArray:
        x, y, new = features[fold.train], positive[fold.train], features[fold.test]
        if isinstance(learner, Logistic):
            return _fit_logistic(x, y, new, learner)
        return _fit_boosted_classifier(x, y, new, learner)

    return _pool(features.shape[0], plan, fit, threads)


def out_of_fold_means(
    features: FloatArray,
    score: FloatArray,
    plan: FoldPlan,
    learner: Boosting | None,
    *,
    threads: int | None = None,
) -> FloatArray:
    """Out-of-fold expectation of ``score`` (n) given ``features``: least squares, or boosting when given.

    Least squares with an intercept, solved in 64-bit floats by singular values, so that a constant or
    collinear covariate changes nothing. NaN where the plan tests nothing.
    """
    _check_shapes(features, score, plan)
    for number in range(len(plan.folds)):
        _check_boostable(learner, plan, number)

    def fit(fold: Fold) -> FloatArray:
        x, y, new = features[fold.train], score[fold.train], features[fold.test]
        return _fit_least_squares(x, y, new) if learner is None else _fit_boosted_mean(x, y, new, learner)

    return _pool(features.shape[0], plan, fit, threads)


def _check_shapes(features: FloatArray, outcome: NDArray[Any], plan: FoldPlan) -> None:
    n = plan.perturbation.size
    if features.ndim != 2 or features.shape[0] != n or outcome.shape != (n,):
        raise ValueError(f"features {features.shape} and outcome {outcome.shape} do not belong to a plan of {n} pairs")
    if not np.isfinite(features).all() or not np.isfinite(outcome).all():
        raise ValueError("features and outcome must be finite: fill missing scores by the declared rule first")


def _check_boostable(learner: object, plan: FoldPlan, number: int) -> None:
    size = plan.folds[number].train.size
    if isinstance(learner, Boosting) and size < Boosting.smallest_training_fold:
        raise TooLittleDataError(
            f"{plan.split} split: training fold {number} has {size} pairs, boosting needs "
            f"{Boosting.smallest_training_fold}"
        )


def _pool(n: int, plan: FoldPlan, fit: Callable[[Fold], FloatArray], threads: int | None) -> FloatArray:
    # BLAS keeps one limit for the process, OpenMP one for each thread: the first is set around the pool (and
    # restored), the second inside every worker.
    libraries = _thread_libraries(len(sys.modules))
    with (
        libraries.limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(
            max_workers=threads or usable_cores(),
            initializer=partial(libraries.limit, limits=1, user_api="openmp"),
        ) as pool,
    ):
        parts = list(pool.map(fit, plan.folds))
    pooled = np.full(n, np.nan)
    for fold, part in zip(plan.folds, parts, strict=True):
        pooled[fold.test] = part
    return pooled


@lru_cache(maxsize=1)
def _thread_libraries(modules: int) -> Any:
    """Loaded libraries that run threads of their own, looked for again once a module more has been imported.

    Looking for them takes as long as a fit of a few thousand pairs, and a null of 200 permutations asks a thousand
    times.
    """
    from sklearn import ensemble, linear_model  # noqa: F401 (their libraries have to be loaded before they are found)
    from threadpoolctl import ThreadpoolController

    del modules
    return ThreadpoolController()


def usable_cores() -> int:
    """Cores this process may use, which a container limits below those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _standardised(train: FloatArray, new: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both blocks on the scale of the training block; a constant column is centred and left alone."""
    centre, spread = train.mean(axis=0), train.std(axis=0)
    # Rounding leaves a constant column a spread of a few ulp; dividing by it would make noise of it.
    constant = spread <= 10 * np.finfo(np.float64).eps * np.abs(centre)
    spread = np.where(constant, 1.0, spread)
    return (train - centre) / spread, (new - centre) / spread


def _fit_logistic(x: FloatArray, y: NDArray[np.bool_], new: FloatArray, settings: Logistic) -> FloatArray:
    from sklearn.linear_model import LogisticRegression

    x, new = _standardised(x, new)
    model = LogisticRegression(
        C=settings.inverse_penalty,
        class_weight="balanced",
        solver="newton-cholesky",
        tol=settings.tolerance,
        max_iter=settings.steps,
    ).fit(x, y)
    coefficients = model.coef_[0]
    log_odds = x @ coefficients + model.intercept_[0]
    weight = np.where(y, 0.5 / y.mean(), 0.5 / (1.0 - y.mean()))
    error = weight * (1.0 / (1.0 + np.exp(-log_odds)) - y)
    slope = x.T @ error + coefficients / settings.inverse_penalty
    steepest = max(float(np.abs(slope).max()), abs(float(error.sum()))) / y.size
    if not steepest <= 1e-6:
        raise LearnerError(f"logistic regression did not converge: slope {steepest:.2g} after {model.n_iter_[0]} steps")
    return cast(FloatArray, new @ coefficients + model.intercept_[0])


def recalibrated_log_odds(log_odds: FloatArray, positive: NDArray[np.bool_]) -> FloatArray:
    """Log-odds (n) on the scale that one-variable logistic regression on these pairs gives them."""
    column = log_odds[:, None]
    return _fit_logistic(column, positive, column, Logistic())


def _boosting_arguments(settings: Boosting) -> dict[str, Any]:
    return {
        "max_iter": settings.iterations,
        "learning_rate": settings.learning_rate,
        "max_leaf_nodes": settings.leaves,
        "early_stopping": False,
        "random_state": settings.seed,
    }


def _refuse_short_run(model: Any, settings: Boosting) -> None:
    if model.n_iter_ != settings.iterations:
        raise LearnerError(f"boosting ran {model.n_iter_} of {settings.iterations} iterations")


def _fit_boosted_classifier(x: FloatArray, y: NDArray[np.bool_], new: FloatArray, settings: Boosting) -> FloatArray:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(**_boosting_arguments(settings)).fit(x, y)
    _refuse_short_run(model, settings)
    return cast(FloatArray, model.decision_function(new))


def _fit_boosted_mean(x: FloatArray, y: FloatArray, new: FloatArray, settings: Boosting) -> FloatArray:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(**_boosting_arguments(settings)).fit(x, y)
    _refuse_short_run(model, settings)
    return cast(FloatArray, model.predict(new))


def _fit_least_squares(x: FloatArray, y: FloatArray, new: FloatArray) -> FloatArray:
    x, new = _standardised(x, new)
    design = np.column_stack([np.ones(x.shape[0]), x])
    coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
    return cast(FloatArray, coefficients[0] + new @ coefficients[1:])
