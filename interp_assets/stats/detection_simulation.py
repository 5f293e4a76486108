"""Detection by simulation: noise that is not Gaussian, two estimators, and the cells at which effects are found.

What belongs here: drawing noise of known kind, estimating a location with its standard error, true and false findings
under Benjamini-Hochberg. What does not: the closed forms it is held against (`detectability`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr
from scipy.stats import false_discovery_control, rankdata

Float = NDArray[np.float64]
Family = Literal["gaussian", "contaminated", "correlated", "heteroskedastic", "student_t4"]
Estimator = Literal["mean", "huber"]
FAMILIES: Final[tuple[Family, ...]] = ("gaussian", "contaminated", "correlated", "heteroskedastic", "student_t4")
ESTIMATORS: Final[tuple[Estimator, ...]] = ("mean", "huber")

CONTAMINATION: Final = 0.1
OUTLIER_SD: Final = 5.0
COMMON_CORRELATION: Final = 0.3
SPREADS: Final = (0.5, 2.0)
DEGREES: Final = 4
HUBER_K: Final = 1.345  # 95% efficiency under Gaussian noise
MAD_TO_SD: Final = 1.482602218505602
NOISE_SD: Final[dict[Family, float]] = {
    "gaussian": 1.0,
    "contaminated": float(np.sqrt(1.0 + CONTAMINATION * (OUTLIER_SD**2 - 1.0))),
    "correlated": 1.0,
    "heteroskedastic": 1.0,
    "student_t4": float(np.sqrt(DEGREES / (DEGREES - 2.0))),
}
TPR_WANTED: Final = 0.8
FDR_ALLOWED: Final = 0.1


def draw_noise(family: Family, edges: int, cells: int, rng: np.random.Generator) -> Float:
    """Noise edges x cells, symmetric around 0.

    ``gaussian``: standard deviation 1. ``contaminated``: the same with 10% of the values of standard deviation 5.
    ``correlated``: standard deviation 1, correlation .3 between any two edges of a cell. ``heteroskedastic``: the
    standard deviation of a cell lies between .5 and 2 (log-uniform), scaled to mean variance 1. ``student_t4``:
    Student t with 4 degrees of freedom, variance 2.

    Raises
    ------
    ValueError
        If the family is unknown.
    """
    shape = (edges, cells)
    if family == "student_t4":
        return np.asarray(rng.standard_t(DEGREES, size=shape))
    noise = rng.normal(size=shape)
    if family == "gaussian":
        return noise
    if family == "contaminated":
        return np.asarray(np.where(rng.random(shape) < CONTAMINATION, OUTLIER_SD * noise, noise))
    if family == "correlated":
        common = rng.normal(size=cells)
        return np.asarray(np.sqrt(1.0 - COMMON_CORRELATION) * noise + np.sqrt(COMMON_CORRELATION) * common)
    if family == "heteroskedastic":
        low, high = np.log(SPREADS)
        variance = (SPREADS[1] ** 2 - SPREADS[0] ** 2) / (2.0 * (high - low))
        return np.asarray(noise * np.exp(rng.uniform(low, high, size=cells)) / np.sqrt(variance))
    raise ValueError(f"noise family {family!r}: use {', '.join(FAMILIES)}")


def mean_location(values: ArrayLike) -> tuple[Float, Float]:
    """Mean and its standard error for each row of edges x cells."""
    x = _table(values)
    return np.asarray(x.mean(axis=1)), np.asarray(x.std(axis=1, ddof=1) / np.sqrt(x.shape[1]))


def huber_location(values: ArrayLike, *, k: float = HUBER_K, most_steps: int = 60) -> tuple[Float, Float]:
    """Huber M-estimate of location and its standard error for each row of edges x cells.

    Solves sum psi((x - t) / s) = 0 with psi(r) = r cut to -k..k and s = MAD x 1.4826, by Newton steps from the
    median to 1e-10 s. Standard error: s sqrt(sum psi^2 / (n - 1)) / (sqrt(n) mean(|r| <= k)), the sandwich estimate.
    Equivariant: adding c to a row adds c to its estimate and leaves the error.

    Raises
    ------
    ValueError
        If a value is missing, there are fewer than two cells, half of a row is one value (its MAD is 0), or the steps
        do not settle.
    """
    x = _table(values)
    location: Float = np.asarray(np.median(x, axis=1))
    scale: Float = np.asarray(MAD_TO_SD * np.median(np.abs(x - location[:, None]), axis=1))
    if (scale <= 0).any():
        raise ValueError(f"{int((scale <= 0).sum())} rows hold one value in half of the cells; they have no scale")
    for _ in range(most_steps):
        residual = (x - location[:, None]) / scale[:, None]
        cut = np.clip(residual, -k, k)
        inside = (cut == residual).sum(axis=1)
        step = scale * cut.sum(axis=1) / np.maximum(inside, 1)
        location = location + step
        if (np.abs(step) <= 1e-10 * scale).all():
            n = x.shape[1]
            se = scale * np.sqrt((cut**2).sum(axis=1) / (n - 1)) * np.sqrt(n) / inside
            return location, np.asarray(se)
    raise ValueError(f"{int((np.abs(step) > 1e-10 * scale).sum())} Huber estimates do not settle in {most_steps} steps")


def _table(values: ArrayLike) -> Float:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] < 2:
        raise ValueError(f"values of shape {x.shape}: edges x cells with two cells or more are needed")
    if not np.isfinite(x).all():
        raise ValueError("a value is missing; leave the cell out or fill it by a stated rule")
    return x


LOCATIONS: Final = {"mean": mean_location, "huber": huber_location}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRates:
    """True positive rate and realised false discovery rate by effect (a) and number of cells (b), mean over seeds.

    ``cells`` may go beyond what an effect needs; nothing is interpolated. ``seeds`` counts simulations.
    """

    family: Family
    estimator: Estimator
    effects: tuple[float, ...]
    cells: tuple[int, ...]
    true_positive_rate: Float
    false_discovery_rate: Float
    seeds: int

    @property
    def detectable(self) -> NDArray[np.bool_]:
        """Where the true positive rate is at least .8 and the false discovery rate at most .1 (a x b)."""
        return np.asarray((self.true_positive_rate >= TPR_WANTED) & (self.false_discovery_rate <= FDR_ALLOWED))

    @property
    def area(self) -> float:
        """Share of the grid that is detectable."""
        return float(self.detectable.mean())

    def boundary(self, effect: int) -> int | None:
        """Smallest number of cells at which the effect in that place is detectable; None within this grid."""
        found = np.flatnonzero(self.detectable[effect])
        return int(self.cells[found[0]]) if found.size else None


def detection_rates(
    family: Family,
    effects: Sequence[float],
    cells: Sequence[int],
    seeds: Sequence[Sequence[int]],
    *,
    edges: int = 100,
    true_share: float = 0.2,
    level: float = 0.05,
) -> tuple[DetectionRates, ...]:
    """Findings among ``edges`` edges of which a share has an effect, Benjamini-Hochberg at ``level``; both estimators.

    Each edge is tested by estimate / error against Student t with n - 1 degrees of freedom, two-sided. More cells
    contain the fewer ones, and the same noise serves every effect and both estimators: estimates are equivariant, so
    the effect is added to the estimate and the data need estimating once. ``seeds``: one generator seed a simulation.
    """
    if not seeds or not effects or not cells or min(cells) < 2:
        raise ValueError("simulating detection needs a seed, an effect and numbers of cells of two or more")
    true = np.arange(edges) < round(true_share * edges)
    if not true.any():
        raise ValueError(f"{true_share} of {edges} edges is none; without a true edge there is no true positive rate")
    shift = np.asarray(effects)[:, None] * true[None, :]
    found = np.zeros((len(ESTIMATORS), 2, len(effects), len(cells)))
    for seed in seeds:
        noise = draw_noise(family, edges, max(cells), np.random.default_rng(list(seed)))
        for column, n in enumerate(cells):
            for place, estimator in enumerate(ESTIMATORS):
                estimate, error = LOCATIONS[estimator](noise[:, :n])
                found[place, :, :, column] += _rates((estimate + shift) / error, n - 1, true, level)
    found /= len(seeds)
    return tuple(
        DetectionRates(
            family=family,
            estimator=estimator,
            effects=tuple(float(e) for e in effects),
            cells=tuple(int(n) for n in cells),
            true_positive_rate=found[place, 0],
            false_discovery_rate=found[place, 1],
            seeds=len(seeds),
        )
        for place, estimator in enumerate(ESTIMATORS)
    )


def _rates(statistic: Float, degrees: int, true: NDArray[np.bool_], level: float) -> Float:
    """True positive and false discovery rate (2 x effects) of one test a column."""
    p = 2.0 * stdtr(degrees, -np.abs(statistic))
    called = false_discovery_control(p, axis=1) <= level
    hits = (called & true).sum(axis=1)
    return np.stack([hits / int(true.sum()), (called.sum(axis=1) - hits) / np.maximum(called.sum(axis=1), 1)])


def signal_auroc(score: ArrayLike, signal: NDArray[np.bool_]) -> Float:
    """AUROC of scores ... x features for the features that carry a signal, mid-ranks for ties."""
    ranks = rankdata(np.asarray(score, dtype=np.float64), axis=-1)
    yes = int(signal.sum())
    no = signal.size - yes
    if not yes or not no:
        raise ValueError("an AUROC needs features with and without a signal")
    return np.asarray((ranks[..., signal].sum(axis=-1) - yes * (yes + 1) / 2.0) / (yes * no))


def gaussian_detection(
    snr: Sequence[float],
    observations: Sequence[int],
    rng: np.random.Generator,
    *,
    repeats: int,
    features: int = 50,
    signals: int = 10,
) -> Float:
    """Detection AUROC of |t| over repeats x SNR x N: features measured N times, signals with a mean of +-SNR.

    Mean and variance of Gaussian observations are independent with known laws, so both are drawn as they are instead
    of N observations; the result has the same distribution.
    """
    n = np.asarray(observations, dtype=np.float64)
    if repeats < 1 or (n < 2).any():
        raise ValueError(f"{repeats} repeats of {observations} observations: one repeat and two observations or more")
    signal = np.arange(features) < signals
    shape = (repeats, len(snr), n.size, features)
    sign = np.where(rng.random(shape) < 0.5, -1.0, 1.0) * signal
    mean = sign * np.asarray(snr)[:, None, None] + rng.normal(size=shape) / np.sqrt(n)[:, None]
    variance = rng.chisquare(np.broadcast_to((n - 1.0)[:, None], shape)) / (n - 1.0)[:, None]
    return signal_auroc(np.abs(mean) / np.sqrt(variance), signal)
