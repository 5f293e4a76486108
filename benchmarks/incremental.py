"""What an edge adds to gene-level features: analysis 31 beside a plain scikit-learn script with the same numbers.

The work is six cells, three splits under two learners: out-of-fold predictions from three gene-level features and from
those with two of the edge, gains in three metrics, and the interval of every gain over 200 draws of perturbations, the
same draws for both predictions. Folds, learners, their settings and draws are the same in both ways.

The fits themselves are scikit-learn's in both ways, one for one, and cost the same; a second release or edge finds the
gene-only half remembered, which is not counted here. What is saved is the intervals: a draw of whole perturbations only
changes how often a pair counts, so that one sort of the predictions serves all draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.growth import Growth
from benchmarks.paired import Path, Ways

if TYPE_CHECKING:
    from interp_assets.stats.crossfit import FoldPlan
    from interp_assets.stats.fit_memory import FitMemory
    from interp_assets.stats.incremental import CandidatePairs, Gain

PERTURBATIONS, GENES = 100, 5_600
FOLDS, DRAWS, DRAWS_PLAIN = 5, 200, 2
BOOSTING: Final = {"iterations": 60, "learning_rate": 0.15, "leaves": 15}
TOLERANCE: Final = 1e-9
Cell = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Question:
    """Pairs of a screen, features of genes (G x 3) and of the edge (pairs x 2), and the cells to be computed."""

    pairs: CandidatePairs
    gene: np.ndarray
    edge: np.ndarray
    plans: Mapping[str, FoldPlan]
    learners: tuple[str, ...]
    boosting: Mapping[str, float]
    predicted: dict[Cell, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def cells(self) -> Iterator[Cell]:
        return ((split, learner) for split in self.plans for learner in self.learners)

    def ours(self, draws: int, memory: FitMemory | None = None) -> tuple[dict[Cell, tuple[Gain, ...]], FitMemory]:
        """Gains of every cell, and what was fitted for them."""
        from interp_assets.stats.crossfit import Boosting, Logistic
        from interp_assets.stats.fit_memory import FitMemory
        from interp_assets.stats.incremental import incremental_gains

        memory = memory or FitMemory()
        by_name = {"logistic": Logistic(), "boosting": Boosting(**self.boosting)}
        found = {
            (split, learner): incremental_gains(
                self.gene,
                self.edge,
                self.pairs,
                self.plans[split],
                by_name[learner],
                recall_at=(),
                resamples=draws,
                seed=[1],
                memory=memory,
            )
            for split, learner in self.cells
        }
        return found, memory

    def warm(self) -> None:
        """What a process pays once."""
        self.ours(2)

    def fit_plainly(self) -> None:
        """Out-of-fold predictions of every cell, without and with the edge."""
        alone = self.gene[self.pairs.target]
        blocks = (alone, np.column_stack([alone, self.edge]))
        for split, learner in self.cells:
            self.predicted[split, learner] = tuple(
                out_of_fold(plain_learner(learner, self.boosting), block, self.pairs.positive, self.plans[split])
                for block in blocks
            )

    def gains_plainly(self, draws: int) -> dict[Cell, dict[str, np.ndarray]]:
        """Gain in every metric, of all pairs first and then of every draw (1 + draws)."""
        return {cell: plain_gains(*scores, self.pairs, draws) for cell, scores in self.predicted.items()}


def plain_learner(name: str, boosting: Mapping[str, float]) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "logistic":
        # Of the solvers of scikit-learn the quickest one for many pairs of few features.
        quickest = LogisticRegression(class_weight="balanced", solver="newton-cholesky", tol=1e-8, max_iter=200)
        return make_pipeline(StandardScaler(), quickest)
    return HistGradientBoostingClassifier(
        max_iter=boosting["iterations"],
        learning_rate=boosting["learning_rate"],
        max_leaf_nodes=boosting["leaves"],
        early_stopping=False,
        random_state=0,
    )


def out_of_fold(model: Any, features: np.ndarray, positive: np.ndarray, plan: FoldPlan) -> np.ndarray:
    """Log-odds of every pair that a fold tests, else NaN (``cross_val_predict`` refuses a split that leaves some)."""
    found = np.full(positive.size, np.nan)
    for fold in plan.folds:
        model.fit(features[fold.train], positive[fold.train])
        found[fold.test] = model.decision_function(features[fold.test])
    return found


def plain_gains(alone: np.ndarray, both: np.ndarray, pairs: CandidatePairs, draws: int) -> dict[str, np.ndarray]:
    """Gains by resampling whole perturbations and asking scikit-learn for every draw."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    tested = np.isfinite(alone)
    positive, scores = pairs.positive[tested], [alone[tested], both[tested]]
    names, perturbation = np.unique(pairs.perturbation[tested], return_inverse=True)
    members = [np.flatnonzero(perturbation == name) for name in range(names.size)]
    by_perturbation = [
        np.array([precision_of_own(score[rows], positive[rows]) for rows in members]) for score in scores
    ]
    rng = np.random.default_rng([1])
    found: dict[str, list[float]] = {"auroc": [], "auprc": [], "r_precision": []}
    for draw in range(1 + draws):
        times = rng.multinomial(names.size, np.full(names.size, 1 / names.size)) if draw else np.ones(names.size, int)
        weight = times[perturbation]  # quicker than to repeat the pairs
        for name, metric in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            one, other = (metric(positive, score, sample_weight=weight) for score in scores)
            found[name].append(other - one)
        one, other = (np.nanmean(np.repeat(values, times)) for values in by_perturbation)
        found["r_precision"].append(other - one)
    return {name: np.array(values) for name, values in found.items()}


def precision_of_own(score: np.ndarray, positive: np.ndarray) -> float:
    """Share of positives among as many best pairs, in expectation over the orders of a tie; NaN without both kinds."""
    count = int(positive.sum())
    if count in (0, positive.size):
        return float("nan")
    threshold = np.sort(score)[-count]
    above, level = score > threshold, score == threshold
    return float((positive[above].sum() + (count - above.sum()) * positive[level].mean()) / count)


def question(
    perturbations: int, genes: int, splits: tuple[str, ...], learners: tuple[str, ...], boosting: Mapping[str, float]
) -> Question:
    """A screen whose positives follow the target's mean, and an edge that knows a little of them."""
    from interp_assets.stats.crossfit import plan_folds
    from interp_assets.stats.incremental import candidate_pairs

    rng = np.random.default_rng(0)
    z = rng.normal(size=genes)
    gene = np.column_stack(
        [np.exp(z), np.exp(z + rng.normal(size=genes)), 1 / (1 + np.exp(-z - rng.normal(size=genes)))]
    )
    source = rng.choice(genes, perturbations, replace=False)
    label = (rng.random((perturbations, genes)) < 0.03 * np.exp(0.7 * z)).astype(np.int8)
    label[np.arange(perturbations), source] = -1
    pairs = candidate_pairs(label, source)
    edge = np.column_stack([rng.normal(size=pairs.size) + 0.3 * pairs.positive, rng.random(pairs.size) < 0.1])
    plans = {split: plan_folds(split, pairs.perturbation, pairs.target, folds=FOLDS, seed=[0]) for split in splits}
    return Question(pairs=pairs, gene=gene, edge=edge, plans=plans, learners=learners, boosting=boosting)


def gain_ways(
    perturbations: int = PERTURBATIONS,
    genes: int = GENES,
    draws: int = DRAWS,
    plain: int = DRAWS_PLAIN,
    boosting: Mapping[str, float] = BOOSTING,
) -> Ways:
    """All six cells in both ways; the plain way fits everything and does a share of the draws."""
    asked = question(perturbations, genes, ("perturbation", "target_gene", "joint"), ("logistic", "boosting"), boosting)

    def agree(ours: Any, theirs: dict[Cell, dict[str, np.ndarray]]) -> str:
        # What was fitted is remembered: the first draws alone cost no fit.
        return same_gains(asked.ours(plain, ours[1])[0], theirs)

    return Ways(
        ours=lambda: asked.ours(draws),
        theirs=lambda: asked.gains_plainly(plain),
        once=asked.fit_plainly,
        agree=agree,
        share=plain / draws,
        warm=question(10, 60, ("perturbation",), ("logistic",), boosting).warm,
    )


def same_gains(ours: Mapping[Cell, tuple[Gain, ...]], theirs: Mapping[Cell, Mapping[str, np.ndarray]]) -> str:
    """Gain and interval over the draws that both ways hold, of every cell and metric."""
    largest, count = 0.0, 0
    for cell, gains in ours.items():
        for gain in gains:
            values = theirs[cell][gain.metric]
            expected = np.array([values[0], *np.quantile(values[1:], [0.025, 0.975])])
            apart = float(np.abs(np.array([gain.delta, gain.ci_low, gain.ci_high]) - expected).max())
            if not apart <= TOLERANCE:
                raise AssertionError(f"{cell}, {gain.metric}: the two ways differ by {apart:.2g}")
            largest, count = max(largest, apart), count + 1
    return f"{count} gains and the bounds of their intervals differ by at most {largest:.0e} (tolerance {TOLERANCE:g})"


def more_pairs(pairs: int) -> Callable[[], Any]:
    """Both learners under the perturbation split, 5,600 genes and ever more perturbations."""
    question(10, 60, ("perturbation",), ("logistic",), BOOSTING).warm()
    asked = question(pairs // GENES, GENES, ("perturbation",), ("logistic", "boosting"), BOOSTING)
    return lambda: asked.ours(DRAWS)


PATHS: Final = (
    Path(
        path="incremental value, 560,000 pairs x 5 features, 3 splits x 2 learners x 3 metrics",
        against="scikit-learn fits and metrics, 200 draws of perturbations resampled",
        goal=3.0,
        ways=gain_ways,
        rounds=2,
    ),
)
GROWTHS: Final = (
    Growth(
        path="incremental value, perturbation split, 2 learners, 200 draws",
        of="pairs",
        sizes=(140_000, 560_000, 2_240_000),
        work=more_pairs,
        promise="Time and memory grow with the pairs; most of the time is that of the fits.",
    ),
)
