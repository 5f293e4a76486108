"""Two-sided p of Student's t for very many statistics of many degrees of freedom.

What belongs here: the tail of one distribution. What does not: any test (`cells.differential`).

The incomplete beta function of the tail has a fast expansion where the degrees of freedom are many (DiDonato and
Morris 1992, ACM TOMS 18, equation 9, here with b = 1/2). With T = freedom / 2 - 1/4, L = log1p(t^2 / freedom) and
u = T L:

    p = sum_n c_n J_n(u) / sum_n c_n J_n(0),   J_0(u) = erfc(sqrt(u)),
    4 T^2 J_n = (2n - 3/2)(2n - 1/2) J_(n-1) + (u + 2n - 1/2) sqrt(u / pi) exp(-u) (L / 2)^(2n - 2).

The factor in front of the published expansion cancels, because p is 1 at t = 0.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.compiled import compiled

Float = NDArray[np.float64]

# Where the expansion holds to 1e-12 of the value; elsewhere the library's slower function is asked.
FEWEST_DEGREES: Final = 50.0
LARGEST_LOG: Final = 0.5
LARGEST_EXPONENT: Final = 650.0  # exp(-u) leaves the numbers of full precision beyond 708
# c_n = (b - 1) / (2n + 1)! + sum over m = 1 .. n - 1 of (m b - n) c_(n-m) / (2m + 1)! / n, and c_0 = 1.
_COEFFICIENTS: Final = (
    1.0,
    -1 / 12,
    1 / 160,
    -61 / 120960,
    1261 / 29030400,
    -79 / 20275200,
    66643 / 185980354560,
    -16820653 / 502146957312000,
    3745813 / 1182545215488000,
)


def two_sided_p(t: Float, freedom: Float) -> Float:
    """Chance of a statistic at least as far from 0 as t; NaN where t or the degrees of freedom are NaN.

    Equal to ``2 * scipy.special.stdtr(freedom, -abs(t))`` to 1e-12 of its value.
    """
    from scipy.special import stdtr

    flat, degrees = np.ravel(t), np.ravel(freedom)
    p = _expanded(flat, degrees)
    rest = p < 0
    p[rest] = 2.0 * stdtr(degrees[rest], -np.abs(flat[rest]))
    return p.reshape(np.shape(t))


@compiled
def _expanded(t: Float, freedom: Float) -> Float:  # pragma: no cover - compiled
    """Tail by the expansion; -1 where it does not hold, NaN where there is no statistic."""
    p = np.empty(t.size)
    for i in range(t.size):
        if not (math.isfinite(t[i]) and math.isfinite(freedom[i])):
            p[i] = -1.0 if not (math.isnan(t[i]) or math.isnan(freedom[i])) else np.nan
            continue
        middle, log = 0.5 * freedom[i] - 0.25, math.log1p(t[i] * t[i] / freedom[i])
        u = middle * log
        if freedom[i] < FEWEST_DEGREES or log > LARGEST_LOG or u > LARGEST_EXPONENT:
            p[i] = -1.0
            continue
        root, quarter, power, at = math.sqrt(u), 0.25 / (middle * middle), 1.0, 0.5
        density = root * math.exp(-u) / math.sqrt(math.pi)
        here, there = math.erfc(root), 1.0
        tail, whole = here, there
        for c in _COEFFICIENTS[1:]:
            growth = at * (at + 1.0)
            here = (growth * here + (u + at + 1.0) * density * power) * quarter
            there = growth * there * quarter
            tail += c * here
            whole += c * there
            power *= 0.25 * log * log
            at += 2.0
        p[i] = tail / whole
    return p
