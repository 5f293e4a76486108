"""What is left of a score, row by row, once other scores of the same pairs have explained what they can.

What belongs here: rank transforms and least squares within one row (a perturbation, a regulator), without labels. What
does not: labels, or which scores explain which. The fit never sees a label, so that nothing can leak from it.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Variant = Literal["ranks", "normal scores, cubic"]
VARIANTS: Final[tuple[Variant, ...]] = ("ranks", "normal scores, cubic")
# Below this share of the row's own spread a residual is rounding, and its order means nothing.
ROUNDING: Final = 1e-9


def residual_rows(scores: ArrayLike, given: ArrayLike, able: ArrayLike) -> dict[Variant, Float]:
    """Residuals (S x R x G) of each row of several scores after least squares on other scores of that row, by variant.

    Within a row, over its candidates, every score becomes mid-ranks; "ranks" regresses these on the ranks of the
    other scores and a constant. "normal scores, cubic" turns mid-ranks r of n into the normal quantile of
    (r - .5) / n and adds squares and cubes of the other scores: a noisy copy of another score is a curve in ranks, and
    a line through it leaves a remainder that still follows the other score. A row that the others explain fully,
    rounding apart, comes back as zeros.

    Parameters
    ----------
    scores
        Scores S x R x G; each is explained on its own.
    given
        Other scores K x R x G; with none (K = 0) the centred ranks come back.
    able
        R x G, True for the candidates of a row; the rest is left out of ranks and fit and comes back as 0.

    Raises
    ------
    ValueError
        If shapes differ or a candidate has no finite score.

    >>> residual_rows([[[1.0, 2.0, 3.0, 9.0]]], [[[1.0, 2.0, 3.0, 4.0]]], np.ones((1, 4), bool))["ranks"]
    array([[[0., 0., 0., 0.]]])
    """
    from scipy.stats import rankdata

    wanted, others = np.asarray(scores, dtype=np.float64), np.asarray(given, dtype=np.float64)
    kept = np.asarray(able, dtype=bool)
    if wanted.ndim != 3 or others.ndim != 3 or not wanted.shape[1:] == others.shape[1:] == kept.shape:
        raise ValueError(f"scores {wanted.shape}, other scores {others.shape} and candidates {kept.shape} do not match")
    if not (np.isfinite(wanted[:, kept]).all() and np.isfinite(others[:, kept]).all()):
        raise ValueError("every candidate needs a finite score; apply fill_missing and record its share")
    left = {variant: np.zeros(wanted.shape) for variant in VARIANTS}
    for place in range(kept.shape[0]):
        at = np.flatnonzero(kept[place])
        if at.size == 0:
            continue
        ranks = rankdata(np.vstack([wanted[:, place, at], others[:, place, at]]), axis=1)
        for variant, own in left.items():
            own[:, place, at] = _residuals(ranks, wanted.shape[0], variant)
    return left


def _residuals(ranks: Float, scores: int, variant: Variant) -> Float:
    """Residuals (S x n) of the first S rows of ranks on the others."""
    values = ranks if variant == "ranks" else _normal(ranks)
    wanted, columns = values[:scores], values[scores:]
    if variant != "ranks":
        columns = np.vstack([columns, columns**2, columns**3])
    wanted = wanted - wanted.mean(axis=1, keepdims=True)
    if not len(columns):
        return np.asarray(wanted, dtype=np.float64)
    design = (columns - columns.mean(axis=1, keepdims=True)).T
    left = wanted - (design @ np.linalg.lstsq(design, wanted.T, rcond=None)[0]).T
    left[np.linalg.norm(left, axis=1) <= ROUNDING * np.linalg.norm(wanted, axis=1)] = 0.0
    return np.asarray(left, dtype=np.float64)


def _normal(ranks: Float) -> Float:
    from scipy.special import ndtri

    return np.asarray(ndtri((ranks - 0.5) / ranks.shape[-1]), dtype=np.float64)
