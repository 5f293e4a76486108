"""Which genes make up a universe of the most variable ones. Nothing else belongs here."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def most_variable(variance: ArrayLike, share: float) -> NDArray[np.int64]:
    """Positions, ascending, of the round(share x G) genes of largest variance (G values); ties go to the earlier gene.

    The published protocol keeps 2,000 of 3,309 genes (paper section 5, analysis 37).

    Raises
    ------
    ValueError
        If the share is not in (0, 1], a variance is missing, or no gene would be left.

    >>> most_variable([0.5, 2.0, 1.0, 1.0], 0.5).tolist()
    [1, 2]
    """
    values = np.asarray(variance, dtype=np.float64)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share = {share} must lie in (0, 1]; it is the part of the genes to keep")
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("every gene needs a finite variance; leave genes without one out before")
    wanted = round(share * values.size)
    if wanted < 1:
        raise ValueError(f"share {share} of {values.size} genes keeps none")
    return np.sort(np.argsort(-values, kind="stable")[:wanted]).astype(np.int64)
