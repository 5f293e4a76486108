"""Lagged cross-correlation of regulators and targets along an ordering of cells, and what its peak says.

What belongs here: binning, cross-correlation, the peak and its classes, and the same under shuffled orderings. What
does not: where the ordering comes from (`diffusion`).

Orientation: lag k compares the regulator in bin b with the target in bin b + k, so a positive lag means that the
regulator moves first (paper section 5, analysis 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
OUTCOMES: Final = ("consistent", "simultaneous", "target_leads", "weak", "wrong_sign")
CONSISTENT: Final = OUTCOMES.index("consistent")
BLOCK: Final = 4_000_000  # numbers held at once by a batch of shuffles: 32 MB


@dataclass(frozen=True, slots=True)
class LagPeaks:
    """Peaks of the cross-correlations of P pairs, with any leading axes (such as shuffles).

    ``lag`` and ``peak`` are where the absolute correlation is largest and its value there, ``outcome`` the position in
    `OUTCOMES`, ``score`` the directionality score: the largest correlation of the expected sign at a positive lag minus
    that at a negative lag. The score is 0 on average where time has no direction.
    """

    lag: Int
    peak: Float
    outcome: Int
    score: Float

    @property
    def rate(self) -> Float:
        """Share of consistent pairs (leading axes)."""
        return np.asarray((self.outcome == CONSISTENT).mean(axis=-1))

    @property
    def mean_score(self) -> Float:
        """Mean directionality score of the pairs (leading axes)."""
        return np.asarray(self.score.mean(axis=-1))


def bin_starts(cells: int, bins: int) -> Int:
    """First cell of each of ``bins`` runs of equal size (they differ by one cell at most).

    Raises
    ------
    ValueError
        If there are fewer cells than bins, or a single bin.
    """
    if bins < 2 or cells < bins:
        raise ValueError(f"{cells} cells cannot fill {bins} bins; at least two bins and one cell a bin are needed")
    return np.asarray(np.arange(bins) * cells // bins, dtype=np.int64)


def binned_means(values: ArrayLike, order: ArrayLike, bins: int) -> Float:
    """Mean of every gene in each bin (bins x genes) of the cells taken in ``order``.

    ``values`` is cells x genes. Bins hold equal numbers of cells, so that each mean is equally noisy.
    """
    sorted_values = np.asarray(values, dtype=np.float64)[np.asarray(order)]
    starts = bin_starts(sorted_values.shape[0], bins)
    sizes = np.diff(np.append(starts, sorted_values.shape[0]))
    return np.asarray(np.add.reduceat(sorted_values, starts, axis=0) / sizes[:, None])


def cross_correlation(regulator: ArrayLike, target: ArrayLike, lags: int) -> Float:
    """Cross-correlation at lags -``lags`` .. ``lags`` (... x 2 lags + 1) of series (... x bins).

    r_k = sum_b z(regulator)_b z(target)_{b + k} / bins, z over all bins: equal to ``scipy.signal.correlate`` of the
    standardised series over their length. The sum at lag k has bins - |k| terms and is not scaled up, so a lag has to
    earn its peak; two slow trends peak at lag 0. A series without variation correlates with nothing: 0.

    Raises
    ------
    ValueError
        If the lags do not leave half of the bins to compare.
    """
    one, other = _standardised(regulator), _standardised(target)
    bins = one.shape[-1]
    if not 1 <= lags <= bins // 2:
        raise ValueError(f"{lags} lags need at least {2 * max(lags, 1)} bins; there are {bins}")
    found = np.empty((*np.broadcast_shapes(one.shape, other.shape)[:-1], 2 * lags + 1))
    for lag in range(-lags, lags + 1):
        early = one[..., : bins - lag] if lag >= 0 else one[..., -lag:]
        late = other[..., lag:] if lag >= 0 else other[..., : bins + lag]
        found[..., lags + lag] = np.einsum("...b,...b->...", early, late) / bins
    return found


def _standardised(series: ArrayLike) -> Float:
    values = np.asarray(series, dtype=np.float64)
    values = values - values.mean(axis=-1, keepdims=True)
    spread = np.sqrt((values**2).mean(axis=-1, keepdims=True))
    return np.asarray(values / np.where(spread > 1e-12, spread, np.inf))


def lag_peaks(correlation: ArrayLike, expected_sign: ArrayLike, weak: float) -> LagPeaks:
    """Peak, class and directionality score of every pair.

    Parameters
    ----------
    correlation
        Cross-correlations ... x P x (2 lags + 1).
    expected_sign
        1 activation, -1 repression (P).
    weak
        Absolute peak below which no lag is read off.

    Notes
    -----
    In order: weak, then simultaneous (peak at lag 0), target leads (negative lag), wrong sign (positive lag), and
    consistent: a positive lag with the expected sign. Equal peaks go to the smaller lag, a negative one first.
    """
    table, sign = np.asarray(correlation, dtype=np.float64), np.asarray(expected_sign, dtype=np.float64)
    if not np.isin(sign, (-1.0, 1.0)).all() or table.ndim < 2 or table.shape[-2] != sign.size:
        raise ValueError(
            f"an expected sign of 1 or -1 is needed for each of {table.shape[-2:-1]} pairs; got {sign.size}"
        )
    lags = table.shape[-1] // 2
    axis = np.arange(-lags, lags + 1)
    nearest_first = np.argsort(np.abs(axis), kind="stable")
    place = nearest_first[np.abs(table[..., nearest_first]).argmax(axis=-1)]
    peak = np.take_along_axis(table, place[..., None], axis=-1)[..., 0]
    lag = axis[place]
    chosen = [np.abs(peak) < weak, lag == 0, lag < 0, np.sign(peak) != sign]
    classes = [OUTCOMES.index(name) for name in ("weak", "simultaneous", "target_leads", "wrong_sign")]
    aligned = table * sign[:, None]
    return LagPeaks(
        lag=lag.astype(np.int64),
        peak=peak,
        outcome=np.asarray(np.select(chosen, classes, CONSISTENT), dtype=np.int64),
        score=aligned[..., lags + 1 :].max(axis=-1) - aligned[..., :lags].max(axis=-1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LaggedPairs:
    """Regulator-target pairs over one set of cells.

    ``values`` is cells x genes, ``regulator`` and ``target`` (P) are columns of it, ``expected_sign`` (P) is 1 or -1.
    """

    values: Float
    regulator: Int
    target: Int
    expected_sign: Int
    bins: int
    lags: int
    weak: float

    def correlations(self, order: ArrayLike) -> Float:
        """Cross-correlations (P x lags) along one order of the cells."""
        means = binned_means(self.values, order, self.bins).T
        return cross_correlation(means[self.regulator], means[self.target], self.lags)

    def peaks(self, order: ArrayLike) -> LagPeaks:
        """Peaks of the pairs along one order of the cells."""
        return lag_peaks(self.correlations(order), self.expected_sign, self.weak)


def shuffled_peaks(pairs: LaggedPairs, rng: np.random.Generator, shuffles: int) -> LagPeaks:
    """Peaks (shuffles x P) with the order of the cells permuted.

    All genes keep their cells, so pairs that share a gene, and genes that vary together in a cell, stay together.
    """
    cells, genes = pairs.values.shape
    starts = bin_starts(cells, pairs.bins)
    sizes = np.diff(np.append(starts, cells))[:, None]
    values = np.ascontiguousarray(pairs.values)
    step = max(1, BLOCK // (pairs.bins * max(genes, 2 * pairs.regulator.size)))
    parts = []
    for start in range(0, shuffles, step):
        count = min(step, shuffles - start)
        means = np.empty((count, genes, pairs.bins))
        for at in range(count):
            means[at] = (np.add.reduceat(values[rng.permutation(cells)], starts, axis=0) / sizes).T
        found = cross_correlation(means[:, pairs.regulator], means[:, pairs.target], pairs.lags)
        parts.append(lag_peaks(found, pairs.expected_sign, pairs.weak))
    return joined_peaks(parts, axis=0)


def random_pair_peaks(
    means: ArrayLike,
    regulator_pool: ArrayLike,
    target_pool: ArrayLike,
    pairs: LaggedPairs,
    rng: np.random.Generator,
    sets: int,
) -> LagPeaks:
    """Peaks (sets x P) of random pairs, one drawn for each pair of the set.

    Parameters
    ----------
    means
        Binned means of the pool genes along the real order (bins x pool genes).
    regulator_pool, target_pool
        Columns of ``means`` that may stand for the regulator, or the target, of each pair (P x choices). A pair never
        draws the same gene twice; it needs two different genes to choose from.

    Notes
    -----
    A random pair inherits the expected sign of the pair it stands for.
    """
    series = np.asarray(means, dtype=np.float64).T
    first, second = np.asarray(regulator_pool, dtype=np.int64), np.asarray(target_pool, dtype=np.int64)
    count = pairs.expected_sign.size
    at = np.arange(count)
    drawn = first[at, rng.integers(0, first.shape[1], (sets, count))]
    # Weights of 0 for the gene already drawn: every other choice stays equally likely.
    keys = np.where(second[None] == drawn[..., None], -1.0, rng.random((sets, count, second.shape[1])))
    best = keys.argmax(axis=-1)
    if (np.take_along_axis(keys, best[..., None], axis=-1) < 0).any():
        raise ValueError("a pair has one gene to choose from for both sides; widen the pools")
    partner = second[at, best]
    found = cross_correlation(series[drawn], series[partner], pairs.lags)
    return lag_peaks(found, pairs.expected_sign, pairs.weak)


def joined_peaks(parts: Sequence[LagPeaks], *, axis: int) -> LagPeaks:
    """Peaks one after the other along an axis: 0 for further draws, -1 for further pairs."""
    return LagPeaks(
        lag=np.concatenate([part.lag for part in parts], axis=axis),
        peak=np.concatenate([part.peak for part in parts], axis=axis),
        outcome=np.concatenate([part.outcome for part in parts], axis=axis),
        score=np.concatenate([part.score for part in parts], axis=axis),
    )
