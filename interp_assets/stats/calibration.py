"""Turning edge scores into probabilities, and saying how wrong they are.

What belongs here: the split by perturbation, Platt and isotonic calibration, expected calibration error with its
bootstrap over perturbations, and split conformal sets (paper section 4, ECE and split conformal; section 5,
analysis 9). What does not: the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.resampling import group_weights

Float = NDArray[np.float64]
Int = NDArray[np.int64]
CalibratorName = Literal["raw", "platt", "isotonic"]
CALIBRATORS: Final[tuple[CalibratorName, ...]] = ("raw", "platt", "isotonic")
FIT, CALIBRATE, TEST = 0, 1, 2


def split_parts(strata: ArrayLike, rng: np.random.Generator) -> NDArray[np.intp]:
    """Part of every perturbation: `FIT` (half), `CALIBRATE` or `TEST` (a quarter each), dealt within strata.

    ``strata`` holds one code a perturbation, such as the screens it occurs in, so that every part has perturbations of
    every screen where there are enough. Strata take turns where a quarter is no whole number.
    """
    code = np.asarray(strata)
    turn = np.array([FIT, CALIBRATE, FIT, TEST])
    part = np.empty(code.size, dtype=np.intp)
    dealt = 0
    for stratum in np.unique(code):
        drawn = rng.permutation(np.flatnonzero(code == stratum))
        part[drawn] = turn[(dealt + np.arange(drawn.size)) % turn.size]
        dealt += drawn.size
    return part


def calibrated(name: CalibratorName, score: Float, label: NDArray[np.int8], new: Float) -> Float:
    """Probabilities of ``new`` scores by a calibrator fitted to ``score`` and ``label`` (0 or 1).

    raw: the score itself, which must lie between 0 and 1. platt: logistic regression on the standardised score without
    penalty. isotonic: the best monotone step function, flat outside the scores that were seen.

    Raises
    ------
    ValueError
        If a calibrator sees one class only.
    """
    if name == "raw":
        if new.size and not (new.min() >= 0.0 and new.max() <= 1.0):
            raise ValueError("raw scores must lie between 0 and 1 to be compared with shares")
        return np.asarray(new, dtype=np.float64)
    if np.unique(label).size < 2:
        raise ValueError(f"{name} calibration needs edges and others among its {label.size} pairs")
    if name == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        return np.asarray(IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, label).predict(new))
    return _platt(score, label, new)


def _platt(score: Float, label: NDArray[np.int8], new: Float) -> Float:
    """Logistic regression of one score; its two coefficients by scikit-learn without penalty."""
    from sklearn.linear_model import LogisticRegression

    spread = score.std()
    if spread <= 1e-12:
        return np.full(new.shape, label.mean())
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit((score - score.mean())[:, None] / spread, label)
    return np.asarray(model.predict_proba((new - score.mean())[:, None] / spread)[:, 1])


def equal_width_bins(probability: Float, bins: int) -> Int:
    """Bin of every probability among ``bins`` of equal width; the last one holds 1.

    >>> equal_width_bins(np.array([0.0, 0.1, 0.95, 1.0]), 10).tolist()
    [0, 1, 9, 9]
    """
    return np.minimum((probability * bins).astype(np.int64), bins - 1)


def equal_mass_bins(probability: Float, bins: int) -> Int:
    """Bin of every probability among ``bins`` of about equal size; equal probabilities share the bin of the first."""
    from scipy.stats import rankdata

    rank = rankdata(probability, method="min").astype(np.int64) - 1
    return np.asarray((rank * bins) // max(1, probability.size), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class BinSums:
    """Sums over the pairs of every perturbation and bin (T x bins): pairs, probabilities, edges."""

    pairs: Float
    probability: Float
    edges: Float

    def ece(self, weights: ArrayLike | None = None) -> Float:
        """Expected calibration error of every weighting of the perturbations (B x T); without weights of all of them.

        Sum over bins of share of pairs x |mean probability - share of edges| = sum of |summed difference| / pairs.
        """
        drawn = np.ones((1, self.pairs.shape[0])) if weights is None else np.asarray(weights, dtype=np.float64)
        missed = np.abs(drawn @ (self.probability - self.edges)).sum(axis=1)
        total = (drawn @ self.pairs).sum(axis=1)
        return np.asarray(np.divide(missed, total, out=np.full(total.shape, np.nan), where=total > 0))


def bin_sums(
    probability: Float, label: NDArray[np.int8], perturbation: Int, bin_of: Int, shape: tuple[int, int]
) -> BinSums:
    """Sums by perturbation (codes 0 to T - 1) and bin; ``shape`` is (T, bins). Bins stay fixed under resampling."""
    cell = np.ravel_multi_index((perturbation, bin_of), shape)
    size = shape[0] * shape[1]
    found = (np.bincount(cell, weights, size).reshape(shape) for weights in (None, probability, label))
    return BinSums(*(np.asarray(table, dtype=np.float64) for table in found))


def conformal_threshold(nonconformity: Float, alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha)) smallest of n nonconformities; infinite where n is too small for the level.

    >>> conformal_threshold(np.array([0.1, 0.2, 0.3, 0.4]), 0.2)
    0.4
    """
    place = int(np.ceil((nonconformity.size + 1) * (1.0 - alpha) - 1e-9))
    if place > nonconformity.size:
        return float("inf")
    return float(np.partition(nonconformity, place - 1)[place - 1])


@dataclass(frozen=True, slots=True)
class ConformalSets:
    """Whether the set of every test pair (N) holds the label "edge" and the label "no edge"."""

    edge: NDArray[np.bool_]
    other: NDArray[np.bool_]

    def covered(self, label: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Pairs whose set holds the true label."""
        return np.asarray(np.where(label == 1, self.edge, self.other))

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of empty, single and double sets; they add up to 1."""
        size = self.edge.astype(np.int64) + self.other
        empty, single = float((size == 0).mean()), float((size == 1).mean())
        return empty, single, 1.0 - empty - single


def conformal_sets(
    probability: Float, label: NDArray[np.int8], new: Float, alpha: float, *, by_class: bool
) -> ConformalSets:
    """Split conformal sets of ``new`` probabilities, the threshold from calibration pairs.

    Nonconformity is 1 - p(true label). One threshold for both labels (the published rule), or ``by_class`` one from the
    pairs of each label, which holds the coverage within both; a label that no calibration pair has is never excluded.
    """
    nonconformity = np.where(label == 1, 1.0 - probability, probability)
    if by_class:
        edge, other = (conformal_threshold(nonconformity[label == k], alpha) for k in (1, 0))
    else:
        edge = other = conformal_threshold(nonconformity, alpha)
    return ConformalSets(1.0 - new <= edge, new <= other)


def perturbation_shares(held: NDArray[np.bool_], perturbation: Int, weights: Float) -> Float:
    """Share of pairs that are held, for every weighting (B x T) of the perturbations of the pairs."""
    size = weights.shape[1]
    inside = np.bincount(perturbation, held, size)
    total = weights @ np.bincount(perturbation, minlength=size)
    return np.asarray(np.divide(weights @ inside, total, out=np.full(total.shape, np.nan), where=total > 0))


def perturbation_weights(perturbations: int, resamples: int, rng: np.random.Generator) -> Float:
    """Bootstrap weights over perturbations (B x T) as floats."""
    return group_weights(perturbations, resamples, rng).astype(np.float64)


def contradicted_p(gain: Float) -> float:
    """(resamples whose gain is not above 0 + 1) / (resamples + 1); one without a number speaks for nothing either.

    >>> contradicted_p(np.array([0.2, 0.1, -0.3, np.nan]))
    0.6
    """
    return float((1 + (~(gain > 0.0)).sum()) / (gain.size + 1))
