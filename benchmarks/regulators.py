"""Times of the bootstrap of single regulators and of size-matched draws against their slow twins, in one run.

Run with ``python -m benchmarks.regulators``; every ratio is on the same data, scaled to the same amount of work.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.nulls import report, seconds
from interp_assets.stats.per_unit import stratified_auroc_bootstrap
from interp_assets.stats.subsets import size_matched_recovery, subset_labels

GENES, REGULATORS, TARGETS, DRAWS = 760, 100, 20, 200


def world(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, candidates and membership, regulators x genes."""
    candidate = np.arange(REGULATORS)[:, None] != np.arange(GENES)[None, :]
    member = candidate & (rng.random(candidate.shape) < TARGETS / GENES)
    return rng.normal(size=candidate.shape) + member, candidate, member


def drawn_auroc(target: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> float:
    """AUROC of one class-stratified resample, drawn candidate by candidate and ranked by scikit-learn."""
    labels = np.r_[np.ones(target.size), np.zeros(other.size)]
    return float(roc_auc_score(labels, np.r_[rng.choice(target, target.size), rng.choice(other, other.size)]))


def bootstrap(rng: np.random.Generator) -> None:
    scores, candidate, member = world(rng)
    rows = [(score[m], score[c & ~m]) for score, m, c in zip(scores, member, candidate, strict=True) if m.any()]
    fast = seconds(lambda: [stratified_auroc_bootstrap(*each, rng, DRAWS) for each in rows], 3)
    plain = DRAWS * seconds(lambda: [drawn_auroc(*each, rng) for each in rows])
    report(f"{DRAWS} resamples of {len(rows)} regulators x {GENES} genes", fast, plain)


def size_matched(rng: np.random.Generator) -> None:
    scores, candidate, member = world(rng)
    part = member & (rng.random(member.shape) < 0.58)
    labels = subset_labels(candidate, member, part)
    keep = labels >= 0
    fast = seconds(lambda: size_matched_recovery(scores, candidate, member, part, rng, DRAWS), 3)
    plain = DRAWS * seconds(lambda: roc_auc_score(labels[keep], scores[keep]), 3)
    report(f"{DRAWS} size-matched parts, pooled and by regulator", fast, plain)


def main() -> None:
    rng = np.random.default_rng(0)
    bootstrap(rng)
    size_matched(rng)


if __name__ == "__main__":
    main()
