"""AUROC of a regulators x genes score over all its pairs, and its bootstrap over regulators at no extra ranking.

How often a positive of regulator r outranks a negative of regulator s is counted once for every r and s. A resample
of regulators only weighs these counts, so that ten thousand of them cost one product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outranked:
    """For R regulators: pairs (positive of r, negative of s) in the right order, ties one half (R x R), and sizes."""

    ordered: Float
    positives: Float
    negatives: Float

    @property
    def auroc(self) -> float:
        """Pooled AUROC over all candidate pairs."""
        return float(self.draws(np.ones((1, self.positives.size)))[0])

    def draws(self, weights: ArrayLike) -> Float:
        """Pooled AUROC of each resample (B) of regulators drawn ``weights`` (B x R) times; NaN without both kinds.

        Equal to `resampling.grouped_auroc_bootstrap` with regulators as groups.
        """
        drawn = np.asarray(weights, dtype=np.float64)
        pairs = (drawn @ self.positives) * (drawn @ self.negatives)
        right = ((drawn @ self.ordered) * drawn).sum(axis=1)
        out = np.full(drawn.shape[0], np.nan)
        np.divide(right, pairs, out=out, where=pairs > 0)
        return out


def outranked(score: ArrayLike, member: ArrayLike, candidate: ArrayLike) -> Outranked:
    """Counts behind the pooled AUROC of a score R x G against membership R x G among the candidate pairs.

    Raises
    ------
    ValueError
        If shapes differ, a candidate has no finite score, a member is no candidate, or one kind of pair is absent.
    """
    values = np.asarray(score, dtype=np.float64)
    held, able = np.asarray(member, dtype=bool), np.asarray(candidate, dtype=bool)
    if values.ndim != 2 or not values.shape == held.shape == able.shape:
        raise ValueError(f"scores {values.shape}, members {held.shape} and candidates {able.shape} do not match")
    if not np.isfinite(values[able]).all() or (held & ~able).any():
        raise ValueError("every candidate needs a finite score and every member must be a candidate")
    positives, negatives = held.sum(axis=1), (able & ~held).sum(axis=1)
    if not positives.sum() or not negatives.sum():
        raise ValueError(f"{int(positives.sum())} positive and {int(negatives.sum())} negative pairs; AUROC needs both")
    # Ascending keys make each search start where the last one ended.
    ascending = np.argsort(values[held], kind="stable")
    row, found = np.nonzero(held)[0][ascending], values[held][ascending]
    ordered = np.empty((values.shape[0], values.shape[0]))
    for other in range(values.shape[0]):
        against = np.sort(values[other, able[other] & ~held[other]])
        below = np.searchsorted(against, found, "left") + np.searchsorted(against, found, "right")
        ordered[:, other] = np.bincount(row, below / 2.0, values.shape[0])
    return Outranked(ordered=ordered, positives=positives.astype(np.float64), negatives=negatives.astype(np.float64))
