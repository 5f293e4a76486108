"""Recovery of a network against networks whose target genes are relabelled all at once.

Regulators, how many targets each has and which targets they share stay; only which gene is which target changes. Pairs
of one network and draws from one pool of cells are not independent; they keep their ties under relabelling, so a p
against relabelled networks is honest where one over pairs or over such draws is too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]
BLOCK = 2_000_000  # pairs looked up at once; bounds memory whatever the size of the network
SLACK = 1e-12  # sums of the same numbers in another order differ in their last digits


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabelledTargets:
    """Listed pairs of a network of R regulators and of its relabelled copies (B).

    ``row`` (P) is the regulator of a pair, ``column`` (P) its target, ``own`` (P) the regulator's position among the
    genes, ``labels`` (B x G) the new label of every gene in each copy. ``candidate`` (R x G) is all but self
    pairs.
    """

    row: Int
    column: Int
    own: Int
    labels: Int
    candidate: Mask

    @property
    def positives(self) -> int:
        """Number of listed pairs."""
        return int(self.row.size)

    def sums(self, table: Float) -> tuple[float, Float]:
        """Sum of a table R x G over the listed pairs, and over those of every copy (B)."""
        null = np.empty(self.labels.shape[0])
        step = max(1, BLOCK // self.row.size)
        for start in range(0, null.size, step):
            moved = self.moved(slice(start, start + step))
            null[start : start + step] = table[self.row[None, :], moved].sum(axis=1)
        return float(table[self.row, self.column].sum()), null

    def moved(self, copies: slice) -> Int:
        """Target of every listed pair in some of the copies (copies x P).

        A target that would land on its own regulator takes the place of that regulator's own label instead, which
        keeps the copy one-to-one.
        """
        labels = self.labels[copies]
        moved = labels[:, self.column]
        return np.where(moved == self.own[None, :], labels[:, self.own], moved)

    def aurocs(self, score: Float) -> tuple[float, Float]:
        """Pooled AUROC of a score R x G, ties one half, and those of every copy (B)."""
        if score.shape != self.candidate.shape or not np.isfinite(score[self.candidate]).all():
            raise ValueError(f"scores of shape {score.shape} do not hold a finite number for every candidate pair")
        ranks = np.zeros(score.shape)
        ranks[self.candidate] = stats.rankdata(score[self.candidate])
        observed, null = self.sums(ranks)
        lowest = self.positives * (self.positives + 1) / 2.0
        pairs = float(self.positives) * float(self.candidate.sum() - self.positives)
        return (observed - lowest) / pairs, (null - lowest) / pairs


def relabelled_targets(member: ArrayLike, regulators: ArrayLike, relabelled: Int) -> RelabelledTargets:
    """Relabelled copies of a network (R x G); a target never becomes its own regulator.

    Parameters
    ----------
    regulators
        Position (R) of each regulator among the genes.
    relabelled
        Permutations x genes, see `stats.mantel.gene_permutations`.

    Raises
    ------
    ValueError
        If shapes do not match, a regulator is its own target, or listed or unlisted pairs are absent.
    """
    held, own = np.asarray(member, dtype=bool), np.asarray(regulators, dtype=np.int64)
    if held.ndim != 2 or own.shape != (held.shape[0],) or relabelled.shape[1:] != held.shape[1:]:
        raise ValueError(f"members {held.shape}, {own.size} regulators and labels {relabelled.shape} do not match")
    candidate = np.asarray(own[:, None] != np.arange(held.shape[1])[None, :])
    if (held & ~candidate).any():
        raise ValueError("a regulator is its own target; leave self pairs out")
    row, column = np.nonzero(held)
    if not 0 < row.size < int(candidate.sum()):
        raise ValueError(f"{row.size} of {int(candidate.sum())} pairs are listed; recovery needs both kinds")
    return RelabelledTargets(row=row, column=column, own=own[row], labels=relabelled, candidate=candidate)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabelledRecovery:
    """AUROC of a regulators x genes score and its null under relabelled target genes."""

    auroc: float
    null: Float

    @property
    def p(self) -> float:
        """One-sided p that relabelled targets are recovered as well, (k + 1) / (n + 1)."""
        return relabelled_p(self.auroc, self.null, "greater")

    @property
    def z(self) -> float:
        """Distance from the null mean in null standard deviations; NaN without spread."""
        spread = float(self.null.std(ddof=1)) if self.null.size > 1 else 0.0
        return float((self.auroc - self.null.mean()) / spread) if spread > 0 else float("nan")


def relabelled_recovery(score: ArrayLike, targets: RelabelledTargets) -> RelabelledRecovery:
    """Recovery of a network by a score R x G against its relabelled copies."""
    observed, null = targets.aurocs(np.asarray(score, dtype=np.float64))
    return RelabelledRecovery(auroc=observed, null=null)


def relabelled_p(observed: float, null: ArrayLike, alternative: Literal["two-sided", "greater", "less"]) -> float:
    """Share of copies at least as extreme as the observed value, (k + 1) / (n + 1); two-sided is farther from 0.

    A copy without a number shows nothing and is no copy. NaN where the observed value or every copy is missing.

    >>> relabelled_p(0.9, [0.1, -0.95, 0.2], "two-sided"), relabelled_p(0.9, [0.1, -0.95, 0.2], "greater")
    (0.5, 0.25)
    """
    values = np.asarray(null, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not np.isfinite(observed) or values.size == 0:
        return float("nan")
    extreme = {
        "two-sided": np.abs(values) >= abs(observed) - SLACK,
        "greater": values >= observed - SLACK,
        "less": values <= observed + SLACK,
    }[alternative]
    return float((extreme.sum() + 1) / (values.size + 1))


def relabelled_trends(x: ArrayLike, values: ArrayLike) -> Float:
    """Spearman correlation of runs (n) with each column of values (n x B); NaN for a constant column."""
    ranks = stats.rankdata(np.asarray(values, dtype=np.float64), axis=0)
    ranks -= ranks.mean(axis=0)
    own = stats.rankdata(np.asarray(x, dtype=np.float64))
    own -= own.mean()
    spread = np.sqrt((own**2).sum() * (ranks**2).sum(axis=0))
    out = np.full(ranks.shape[1], np.nan)
    np.divide(own @ ranks, spread, out=out, where=spread > 0)
    return out


def joint_stouffer(found: Sequence[RelabelledRecovery]) -> tuple[float, float]:
    """Stouffer's z over tests that shared their relabellings, and its p against the z of those relabellings.

    Sizes of one data set share cells and the network, so their p are not independent; the textbook p would be too
    small. Each null recovery is turned into a z by the mean and spread of its own test and summed like the observed.
    NaN where a null has no spread.
    """
    if not found or len({one.null.size for one in found}) != 1:
        raise ValueError("need tests with the same relabellings")
    spread = [float(one.null.std(ddof=1)) if one.null.size > 1 else 0.0 for one in found]
    if min(spread) == 0.0:
        return float("nan"), float("nan")
    root = np.sqrt(len(found))
    null = np.sum([(one.null - one.null.mean()) / sd for one, sd in zip(found, spread, strict=True)], axis=0) / root
    z = float(sum(one.z for one in found) / root)
    return z, relabelled_p(z, null, "greater")
