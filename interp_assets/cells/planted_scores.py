"""Control scores of a planted world: what a network, a confounder and noise would score.

Arrays in, arrays out. Rows are perturbations, columns target genes; higher means more regulatory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

UNIT_WEIGHT = 1.8


def planted_score(weight: NDArray[np.floating], noise: float, rng: np.random.Generator) -> Scores:
    """Score of a model that knows the planted network: |weight| / 1.8 + N(0, noise).

    Parameters
    ----------
    weight
        Signed planted weights, perturbations x genes.
    noise
        Standard deviation; above .25 the score no longer beats gene variance (measured: .25 gives a
        per-perturbation AUROC of .95, .5 gives .85).
    rng
        Source of the noise.
    """
    return np.abs(weight) / UNIT_WEIGHT + rng.normal(0.0, noise, size=weight.shape)


def shuffled(score: NDArray[np.floating], rng: np.random.Generator) -> Scores:
    """The same scores with target columns permuted: every row keeps its values, no pair keeps its own."""
    return np.asarray(score, dtype=np.float64)[:, rng.permutation(score.shape[1])]


def confound_only(
    variance_score: NDArray[np.floating], perturbations: int, rng: np.random.Generator, slope: float = 0.8
) -> Scores:
    """Score that knows gene variance and nothing about pairs: slope x normal score of variance + N(0, 1)."""
    noise = rng.normal(size=(perturbations, len(variance_score)))
    return slope * np.asarray(variance_score, dtype=np.float64)[None, :] + noise


def source_permuted(score: NDArray[np.floating], rng: np.random.Generator) -> Scores:
    """The same scores with perturbation rows permuted: gene effects survive, regulator identity does not."""
    return np.asarray(score, dtype=np.float64)[rng.permutation(score.shape[0])]
