"""How often a gene answers to other perturbations of its screen: the strongest predictor that knows no edge.

What belongs here: the cross-fitted rate. What does not: gene statistics of control cells (`cells.gene_features`)
and the number of perturbations that change a gene as a matching covariate (`stats.matching`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.crossfit import TooLittleDataError, group_folds

Float = NDArray[np.float64]


def training_de_rate(
    label: NDArray[np.int8],
    training: NDArray[np.bool_] | None,
    folds: int,
    seed: int | Sequence[int],
    *,
    group: ArrayLike | None = None,
) -> Float:
    """Shrunken share of *other* training perturbations that change each gene (P x G).

    A row outside ``training`` reads all training rows. A training row reads those of the other folds, folds
    dealt over perturbations, so that no row's score depends on its own outcome. With k of n listed training
    outcomes positive, and b the positive share of all outcomes that are read, the rate is (k + b) / (n + 1): a gene
    never listed in training scores b, and no gene scores 0 or 1 on thin evidence.

    Parameters
    ----------
    label : P x G; 1 responds, 0 does not, -1 not listed.
    training : P, True for training perturbations; None where the screen declares no split: then all are.
    folds : folds of the training perturbations, at least 2.
    seed : seed of the folds.
    group : P, the perturbed gene of every row (default: each row is one). Rows of one gene share a fold, and a
        test row whose gene is also among the training rows reads the folds without it.

    Raises
    ------
    TooLittleDataError
        When there are fewer training perturbations than folds, or a row is left without any listed outcome.
    ValueError
        When the shapes disagree.
    """
    gene = np.arange(label.shape[0]) if group is None else np.asarray(group)
    known = np.ones(label.shape[0], dtype=bool) if training is None else np.asarray(training, dtype=bool)
    if label.ndim != 2 or known.shape != label.shape[:1] or gene.shape != label.shape[:1]:
        raise ValueError(
            f"labels {label.shape} need one training flag ({known.shape}) and one gene ({gene.shape}) a row"
        )
    fold = _folds(gene, known, folds, seed)
    # Row f of `reads` marks the training rows that rows of fold f may read; the last row is read by test rows.
    numbers = np.arange(folds + 1)[:, None]
    reads = (known & (fold != numbers)).astype(np.float64)
    positives, listed = reads @ (label == 1), reads @ (label >= 0)
    total = listed.sum(axis=1, keepdims=True)
    if not (total[np.unique(fold)] > 0).all():
        raise TooLittleDataError("no outcome is listed among the training perturbations a row may read")
    base = positives.sum(axis=1, keepdims=True) / np.maximum(total, 1.0)
    rate = (positives + base) / (listed + 1.0)
    return np.asarray(rate[fold])


def _folds(
    gene: NDArray[np.generic], training: NDArray[np.bool_], folds: int, seed: int | Sequence[int]
) -> NDArray[np.intp]:
    """Fold of every row (P): that of its gene among the training rows, or ``folds`` where it has none."""
    rng = np.random.default_rng(seed)
    try:
        dealt = group_folds(gene[training].astype(np.str_), folds, rng)
    except TooLittleDataError as error:
        raise TooLittleDataError(f"training perturbations: {error}") from error
    of_gene = dict(zip(gene[training].tolist(), dealt.tolist(), strict=True))
    return np.array([of_gene.get(name, folds) for name in gene.tolist()], dtype=np.intp)
