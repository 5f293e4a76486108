"""AUROC of every perturbation over all layers, and its bootstrap over perturbations, against scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.growth import Growth
from benchmarks.paired import Path, Ways

LAYERS, PERTURBATIONS, GENES = 12, 100, 2000
POSITIVES = 0.03
# The candidate pairs of a screen of 280 perturbations over 2,000 genes.
GROUPS, DRAWS = 280, 10_000


def by_perturbation(layers: int = LAYERS, perturbations: int = PERTURBATIONS, genes: int = GENES) -> Ways:
    """One AUROC a perturbation and layer; scikit-learn's takes one row of scores a call."""
    from sklearn.metrics import roc_auc_score

    from interp_assets.stats.ranking import auroc

    rng = np.random.default_rng(0)
    labels = (rng.random((perturbations, genes)) < POSITIVES).astype(np.int8)
    scores = rng.normal(size=(layers, perturbations, genes)) + 0.3 * labels
    return Ways(
        ours=lambda: np.array([auroc(layer, labels) for layer in scores]),
        theirs=lambda: np.array(
            [[roc_auc_score(y, s) for y, s in zip(labels, layer, strict=True)] for layer in scores]
        ),
        agree=same_numbers,
        warm=lambda: auroc(scores[0, :2], labels[:2]),
    )


def pairs(groups: int, genes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two scores of all pairs of a screen, their labels, and the perturbation of each."""
    rng = np.random.default_rng(0)
    labels = (rng.random(groups * genes) < POSITIVES).astype(np.int64)
    first, second = rng.normal(size=(2, labels.size)) + np.array([[0.3], [0.2]]) * labels
    return first, second, labels, np.repeat(np.arange(groups), genes)


def resampled_auroc(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> float:
    """AUROC of pairs repeated as often as their group was drawn, ranked anew by scikit-learn."""
    from sklearn.metrics import roc_auc_score

    rows = np.repeat(np.arange(scores.size), weights[groups])
    return float(roc_auc_score(labels[rows], scores[rows]))


def by_resampling(draws: int = 10, of: int = DRAWS, groups: int = GROUPS, genes: int = GENES) -> Ways:
    """Pooled AUROC of every resample of perturbations."""
    from interp_assets.stats.resampling import group_weights, grouped_auroc_bootstrap

    score, _, labels, group = pairs(groups, genes)
    weights = group_weights(groups, of, np.random.default_rng(1))
    return Ways(
        ours=lambda: grouped_auroc_bootstrap(score, labels, group, weights)[:draws],
        theirs=lambda: np.array([resampled_auroc(score, labels, group, one) for one in weights[:draws]]),
        agree=same_numbers,
        share=draws / of,
        warm=lambda: grouped_auroc_bootstrap(score, labels, group, weights[:1]),
    )


def by_paired_resampling(draws: int = 5, of: int = DRAWS, groups: int = GROUPS, genes: int = GENES) -> Ways:
    """Difference of two scores' pooled AUROC in every resample, the same perturbations for both."""
    from interp_assets.stats.resampling import group_weights, grouped_auroc_bootstrap

    first, second, labels, group = pairs(groups, genes)
    weights = group_weights(groups, of, np.random.default_rng(1))

    def ours() -> np.ndarray:
        one, other = (grouped_auroc_bootstrap(score, labels, group, weights) for score in (first, second))
        return (one - other)[:draws]

    def theirs() -> np.ndarray:
        return np.array(
            [
                resampled_auroc(first, labels, group, one) - resampled_auroc(second, labels, group, one)
                for one in weights[:draws]
            ]
        )

    return Ways(
        ours=ours,
        theirs=theirs,
        agree=same_numbers,
        share=draws / of,
        warm=lambda: grouped_auroc_bootstrap(first, labels, group, weights[:1]),
    )


def same_numbers(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Equal up to the rounding of scikit-learn's areas."""
    largest = float(np.abs(np.asarray(ours) - theirs).max())
    if not largest <= 1e-12:
        raise AssertionError(f"AUROC differs by up to {largest:.2g}")
    return f"{np.size(theirs):,} numbers on the same resamples differ by at most {largest:.1g} (bound 1e-12)"


def of_perturbations(perturbations: int) -> Callable[[], np.ndarray]:
    """AUROC by perturbation over 2,000 genes, and 1,000 resamples of the pooled one."""
    from interp_assets.stats.ranking import auroc
    from interp_assets.stats.resampling import group_weights, grouped_auroc_bootstrap

    score, _, labels, group = pairs(perturbations, GENES)
    weights = group_weights(perturbations, 1000, np.random.default_rng(1))
    shape = (perturbations, GENES)
    grouped_auroc_bootstrap(score[:9], labels[:9], group[:9], weights[:1])
    auroc(score[:9], labels[None, :9])

    def work() -> np.ndarray:
        auroc(score.reshape(shape), labels.reshape(shape))
        return grouped_auroc_bootstrap(score, labels, group, weights)

    return work


PATHS = (
    Path(
        path=f"AUROC by perturbation, {LAYERS} layers x {PERTURBATIONS} x {GENES:,}",
        against="roc_auc_score, perturbation by perturbation",
        goal=12.0,
        ways=by_perturbation,
    ),
    Path(
        path=f"bootstrap of AUROC over perturbations, {GROUPS * GENES:,} pairs, {DRAWS:,} draws",
        against="resample and roc_auc_score",
        goal=30.0,
        ways=by_resampling,
    ),
    Path(
        path=f"bootstrap of a paired AUROC difference, {GROUPS * GENES:,} pairs, {DRAWS:,} draws",
        against="resample and roc_auc_score of both",
        goal=30.0,
        ways=by_paired_resampling,
    ),
)
GROWTHS = (
    Growth(
        path=f"AUROC by perturbation over {GENES:,} genes, and 1,000 resamples of the pooled AUROC",
        of="perturbations",
        sizes=(250, 500, 1000, 2000),
        work=of_perturbations,
        promise="Memory grows with the pairs alone: they are sorted once, and no resample copies them.",
    ),
)
