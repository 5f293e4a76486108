"""Bootstrap of single regulators, and size-matched draws of a part of their targets, against scikit-learn a draw."""

from __future__ import annotations

import numpy as np

from benchmarks.paired import Path, Ways

GENES, REGULATORS, TARGETS, DRAWS = 760, 100, 20, 200


def world(
    rng: np.random.Generator, regulators: int = REGULATORS, genes: int = GENES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, candidates and membership, regulators x genes."""
    candidate = np.arange(regulators)[:, None] != np.arange(genes)[None, :]
    member = candidate & (rng.random(candidate.shape) < TARGETS / genes)
    return rng.normal(size=candidate.shape) + member, candidate, member


def drawn_auroc(target: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> float:
    """AUROC of one class-stratified resample, drawn candidate by candidate and ranked by scikit-learn."""
    from sklearn.metrics import roc_auc_score

    labels = np.r_[np.ones(target.size), np.zeros(other.size)]
    return float(roc_auc_score(labels, np.r_[rng.choice(target, target.size), rng.choice(other, other.size)]))


def by_regulator(draws: int = 10, of: int = DRAWS, regulators: int = REGULATORS, genes: int = GENES) -> Ways:
    """Resamples of the targets and of the other genes of each regulator."""
    from interp_assets.stats.per_unit import stratified_auroc_bootstrap

    scores, candidate, member = world(np.random.default_rng(0), regulators, genes)
    rows = [(score[m], score[c & ~m]) for score, m, c in zip(scores, member, candidate, strict=True) if m.any()]

    def ours() -> np.ndarray:
        rng = np.random.default_rng(1)
        return np.array([stratified_auroc_bootstrap(*each, rng, of) for each in rows])

    def theirs() -> np.ndarray:
        rng = np.random.default_rng(2)
        return np.array([[drawn_auroc(*each, rng) for _ in range(draws)] for each in rows])

    return Ways(ours=ours, theirs=theirs, agree=same_distribution, share=draws / of, warm=ours)


def by_part(draws: int = 10, of: int = DRAWS, regulators: int = REGULATORS, genes: int = GENES) -> Ways:
    """Random parts with as many targets of every regulator as the given part; pooled AUROC of each."""
    from sklearn.metrics import roc_auc_score

    from interp_assets.stats.subsets import size_matched_recovery, subset_labels

    rng = np.random.default_rng(0)
    scores, candidate, member = world(rng, regulators, genes)
    part = member & (rng.random(member.shape) < 0.58)
    held = [np.flatnonzero(row) for row in member]

    def ours() -> np.ndarray:
        return size_matched_recovery(scores, candidate, member, part, np.random.default_rng(1), of).draws[None]

    def drawn(rng: np.random.Generator) -> float:
        chosen = np.zeros(member.shape, dtype=bool)
        for row, wanted in enumerate(part.sum(axis=1)):
            chosen[row, rng.choice(held[row], wanted, replace=False)] = True
        labels = subset_labels(candidate, member, chosen)
        return float(roc_auc_score(labels[labels >= 0], scores[labels >= 0]))

    def theirs() -> np.ndarray:
        rng = np.random.default_rng(2)
        return np.array([[drawn(rng) for _ in range(draws)]])

    return Ways(ours=ours, theirs=theirs, agree=same_distribution, share=draws / of, warm=ours)


def same_distribution(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Draws of both ways (rows x draws): means over rows within four standard errors."""
    gap = float((ours.mean(axis=1) - theirs.mean(axis=1)).mean())
    error = float(np.sqrt((ours.var(axis=1, ddof=1) * (1 / ours.shape[1] + 1 / theirs.shape[1])).mean() / len(ours)))
    if not abs(gap) <= 4 * error:
        raise AssertionError(f"mean draws differ by {gap:.2g}, {abs(gap) / error:.1f} standard errors")
    return f"mean AUROC of the draws {abs(gap) / error:.1f} standard errors apart (at most 4)"


PATHS = (
    Path(
        path=f"bootstrap of single regulators, {REGULATORS} x {GENES}, {DRAWS} draws",
        against="resample within classes and roc_auc_score",
        goal=10.0,
        ways=by_regulator,
    ),
    Path(
        path=f"size-matched parts of a reference, {REGULATORS} x {GENES}, {DRAWS} draws",
        against="draw the part and roc_auc_score",
        goal=10.0,
        ways=by_part,
    ),
)
