"""Two tests that read draws: is a difference within a margin, and is it different from 0.

What belongs here: p-values of draws. What does not: how the draws are made (`resampling`, `source_swap`), and the
equivalence test of one value a unit (`paired.equivalence_test`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from interp_assets.stats.paired import Equivalence


def bootstrap_equivalence(draws: ArrayLike, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Whether a difference lies within the margin: two one-sided tests on its bootstrap draws.

    p is the larger of (k + 1) / (n + 1), k the draws at or below -margin, and the same for those at or above
    +margin. p < alpha implies that the percentile interval of level 1 - 2 alpha lies inside the margin, the
    interval form of the two one-sided tests (paper analysis 22 asks for it beside every "equal"). A large p
    says nothing. Draws that are not numbers are left out; with none left, p is NaN and nothing is equivalent.
    ``mean`` is that of the draws.

    Raises
    ------
    ValueError
        If the margin is not positive.

    >>> bootstrap_equivalence([0.5] * 99, 1.0)
    Equivalence(mean=0.5, p=0.01, margin=1.0, equivalent=True)
    """
    if not margin > 0.0:
        raise ValueError(f"equivalence margin {margin} must be positive")
    values = _kept(draws)
    if values.size == 0:
        return Equivalence(float("nan"), float("nan"), margin, equivalent=False)
    beyond = max(int((values <= -margin).sum()), int((values >= margin).sum()))
    p = (beyond + 1) / (values.size + 1)
    return Equivalence(float(values.mean()), p, margin, equivalent=p < alpha)


def two_sided_p(draws: ArrayLike) -> float:
    """Two-sided p that 0 is one of the draws: 2 min (k + 1) / (n + 1), at most 1.

    k counts the draws at or beyond 0 on either side, so that p is never 0. With bootstrap draws of a difference,
    p < .05 goes with a 95 % percentile interval without 0; with draws of a null minus the observed value it is the
    permutation p. NaN where no draw is a number.

    >>> two_sided_p([0.2] * 199), two_sided_p([-1.0, 1.0])
    (0.01, 1.0)
    """
    values = _kept(draws)
    if values.size == 0:
        return float("nan")
    beyond = min(int((values <= 0.0).sum()), int((values >= 0.0).sum()))
    return min(1.0, 2.0 * (beyond + 1) / (values.size + 1))


def _kept(draws: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values = np.asarray(draws, dtype=np.float64)
    return values[np.isfinite(values)]
