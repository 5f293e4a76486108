"""Times of the ranking statistics and nulls against what a user would run instead, in one run.

Run with ``python -m benchmarks.nulls``; every ratio is on the same data, scaled to the same amount of work.
The plain functions here are the slow twins that the tests hold the fast ones to.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

GENES, REGULATORS, TARGETS = 1_200, 100, 47


def curveball_of_sets(
    targets: list[set[int]], regulators: list[int], rng: np.random.Generator, trades: int
) -> list[set[int]]:
    """Rewired target sets by the textbook procedure on Python sets; see ``stats.nulls.curveball``."""
    rewired = [set(each) for each in targets]
    for _ in range(trades):
        a, b = rng.choice(len(rewired), 2, replace=False)
        mine = rewired[a] - rewired[b] - {regulators[b]}
        theirs = rewired[b] - rewired[a] - {regulators[a]}
        pool = rng.permutation(sorted(mine | theirs)).tolist()
        rewired[a] = (rewired[a] - mine) | set(pool[: len(mine)])
        rewired[b] = (rewired[b] - theirs) | set(pool[len(mine) :])
    return rewired


def resampled_auroc(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> float:
    """AUROC of pairs repeated as often as their group was drawn, ranked anew by scikit-learn."""
    from sklearn.metrics import roc_auc_score

    rows = np.repeat(np.arange(scores.size), weights[groups])
    return float(roc_auc_score(labels[rows], scores[rows]))


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def report(name: str, fast: float, plain: float) -> None:
    print(f"{name:58s} {1e3 * fast:10.1f} ms   plain {1e3 * plain:12.1f} ms   ratio {plain / fast:8.1f}")


def rows_auroc(rng: np.random.Generator) -> None:
    from sklearn.metrics import roc_auc_score

    from interp_assets.stats.ranking import auroc

    scores = rng.normal(size=(REGULATORS, GENES))
    labels = (rng.random(scores.shape) < 0.03).astype(np.int8)
    fast = seconds(lambda: auroc(scores, labels), 3)
    plain = seconds(lambda: [roc_auc_score(y, s) for y, s in zip(labels, scores, strict=True)])
    report(f"AUROC of {REGULATORS} rows x {GENES} genes", fast, plain)


def bootstrap(rng: np.random.Generator) -> None:
    from interp_assets.stats.resampling import group_weights, grouped_auroc_bootstrap

    pairs, resamples = REGULATORS * GENES, 200
    scores, labels = rng.normal(size=pairs), (rng.random(pairs) < 0.03).astype(np.int64)
    groups = np.repeat(np.arange(REGULATORS), GENES)
    weights = group_weights(REGULATORS, resamples, rng)
    grouped_auroc_bootstrap(scores, labels, groups, weights[:1])
    fast = seconds(lambda: grouped_auroc_bootstrap(scores, labels, groups, weights), 3)
    plain = resamples * seconds(lambda: resampled_auroc(scores, labels, groups, weights[0]), 3)
    report(f"pooled AUROC, {resamples} resamples of {pairs:,} pairs", fast, plain)


def nulls(rng: np.random.Generator) -> None:
    from sklearn.metrics import roc_auc_score

    from interp_assets.stats.nulls import curveball_null, label_shuffle_null, network, rank_pairs

    regulators = rng.choice(GENES, REGULATORS, replace=False)
    member = np.zeros((REGULATORS, GENES), dtype=bool)
    for at, own in enumerate(regulators):
        member[at, rng.choice(np.delete(np.arange(GENES), own), TARGETS, replace=False)] = True
    scores = rng.normal(size=member.shape) + member
    net, ranked = network(member, regulators), rank_pairs(scores, regulators)
    label_shuffle_null(ranked, net, rng, 2)
    curveball_null(ranked, net, rng, 2)
    labels = member.ravel()
    fast = seconds(lambda: label_shuffle_null(ranked, net, rng, 1000))
    plain = 1000 * seconds(lambda: roc_auc_score(rng.permutation(labels), scores.ravel()), 5)
    report("1,000 label shuffles", fast, plain)
    sets = [set(np.flatnonzero(row).tolist()) for row in member]
    own = regulators.tolist()
    fast = seconds(lambda: curveball_null(ranked, net, rng, 200))
    plain = 200 * seconds(lambda: curveball_of_sets(sets, own, rng, 5 * REGULATORS), 3)
    plain += 200 * seconds(lambda: roc_auc_score(labels, scores.ravel()), 5)
    report("200 curveball networks, checked and scored", fast, plain)


def main() -> None:
    rng = np.random.default_rng(0)
    rows_auroc(rng)
    bootstrap(rng)
    nulls(rng)


if __name__ == "__main__":
    main()
