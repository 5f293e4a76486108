"""How many cells an effect needs to be found: closed forms, and how well they predict.

What belongs here: the cells an effect needs, the ratio of two kinds of effects, predictions of detection, and their
agreement with what was simulated. What does not: the simulation (`detection_simulation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from interp_assets.stats.repeated import weighted_correlations
from interp_assets.stats.resampling import group_weights

Float = NDArray[np.float64]
Scheme = Literal["edges_apart", "edges_paired", "groups"]
SCHEMES: Final[tuple[Scheme, ...]] = ("edges_apart", "edges_paired", "groups")
ALPHA: Final = 0.05
POWER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectClass:
    """One kind of effect: its size per cell, the noise of one cell, and a factor for tails heavier than Gaussian."""

    effect: float
    noise: float = 1.0
    tail: float = 1.0

    def __post_init__(self) -> None:
        for name in ("noise", "tail"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} = {value} must be a positive number")
        if not np.isfinite(self.effect) or self.effect == 0:
            raise ValueError(f"effect = {self.effect}: an effect of 0 is found with no number of cells")


def cells_needed(
    of: EffectClass, tested: ArrayLike, *, alpha: float = ALPHA, power: float = POWER
) -> NDArray[np.float64]:
    """Cells for one effect to be found with given power among m tested edges, Bonferroni over these.

    n* = ((z_{1 - alpha / (2 m)} + z_{power}) tail noise / |effect|)^2 (paper section 4, Detectability); a real
    number, to be rounded up by who sequences. Shape of ``tested``.

    >>> cells_needed(EffectClass(effect=0.08), [500, 2000, 10000]).round().tolist()
    [3499.0, 3995.0, 4567.0]
    """
    m = np.asarray(tested, dtype=np.float64)
    if not (m >= 1).all():
        raise ValueError("the number of tested edges must be one or more")
    if not 0.0 < alpha < 1.0 or not 0.0 < power < 1.0:
        raise ValueError(f"alpha = {alpha} and power = {power} must lie between 0 and 1")
    quantiles = -ndtri(alpha / (2.0 * m)) + ndtri(power)
    return np.asarray((quantiles * of.tail * of.noise / abs(of.effect)) ** 2, dtype=np.float64)


def cells_ratio(first: EffectClass, second: EffectClass) -> float:
    """Cells the first kind needs over cells the second needs; free of level, power and number of edges.

    (tail_1 noise_1 |effect_2| / (tail_2 noise_2 |effect_1|))^2: one tail factor for both kinds cancels.

    >>> round(cells_ratio(EffectClass(effect=0.12), EffectClass(effect=0.08)), 3)
    0.444
    >>> round(cells_ratio(EffectClass(effect=0.12, tail=1.8), EffectClass(effect=0.08, tail=1.2)), 3)
    1.0
    """
    first_size = first.tail * first.noise / abs(first.effect)
    return float((first_size / (second.tail * second.noise / abs(second.effect))) ** 2)


def break_even_tail(of: EffectClass, against: EffectClass) -> float:
    """Tail factor of ``of`` at which it needs as many cells as ``against``; beyond it the advantage is gone."""
    return against.tail * against.noise * abs(of.effect) / (of.noise * abs(against.effect))


def phase_log2_ratio(effect_ratio: ArrayLike, noise_ratio: ArrayLike, *, tail_ratio: float = 1.0) -> Float:
    """log2 of the ratio of cells over effect ratios (e) x noise ratios (s): 2 log2(noise tail / effect).

    Below 0 the kind in the numerator of the ratios needs fewer cells.
    """
    effect = np.asarray(effect_ratio, dtype=np.float64)
    noise = np.asarray(noise_ratio, dtype=np.float64)
    if not ((effect > 0).all() and (noise > 0).all() and tail_ratio > 0):
        raise ValueError("ratios of effects, noise and tails must be positive")
    return np.asarray(2.0 * (np.log2(noise * tail_ratio)[None, :] - np.log2(effect)[:, None]), dtype=np.float64)


def logistic_prediction(snr: ArrayLike, observations: ArrayLike, features: int) -> Float:
    """Detection as the framework predicts it: 1 / (1 + exp(-5 (SNR - sqrt(log p / N)))) (paper analysis 11).

    Broadcasts SNR (effect over noise of one observation) and N; p is the number of features. The 5 is a fitted
    steepness, so that this is no AUROC: it lies below one half where a detection AUROC cannot.
    """
    threshold = np.sqrt(np.log(features) / np.asarray(observations, dtype=np.float64))
    return np.asarray(1.0 / (1.0 + np.exp(-5.0 * (np.asarray(snr, dtype=np.float64) - threshold))))


def expected_auroc(snr: ArrayLike, observations: ArrayLike, *, bias_sd: float = 0.0) -> Float:
    """Expected AUROC of |z| for features with a mean of +-SNR against features without, N Gaussian observations each.

    With d = SNR sqrt(N), P(|Z + d| > |Z'|) for independent standard normal Z, Z' is
    Phi(d / sqrt 2)^2 + Phi(-d / sqrt 2)^2: the sum and the difference of the two are independent, and the larger
    one in absolute value is the one whose sign both share. It holds for every N if the noise is known. ``bias_sd``: a
    Gaussian bias of each feature, in units of the noise, that more observations do not remove; then
    d = SNR sqrt(N / (1 + N bias_sd^2)), at most SNR / bias_sd.

    >>> expected_auroc(0.0, 100).round(3).tolist(), expected_auroc(1.0, 100).round(3).tolist()
    (0.5, 1.0)
    """
    n = np.asarray(observations, dtype=np.float64)
    half = np.asarray(snr, dtype=np.float64) * np.sqrt(n / (2.0 * (1.0 + n * bias_sd**2)))
    above = ndtr(half)
    return np.asarray(above**2 + (1.0 - above) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a prediction and what was observed go together over the cells of a grid.

    ``r`` Pearson, ``rho`` Spearman, ``rmse`` root mean squared difference, ``p`` of r being as great with the
    observed values dealt out at random (``null_mean``, ``null_sd``), ``cells`` of the grid, ``permutations`` done. NaN
    and no permutation where one side is constant.
    """

    r: float
    rho: float
    rmse: float
    p: float
    null_mean: float
    null_sd: float
    cells: int
    permutations: int


def agreement(predicted: ArrayLike, observed: ArrayLike, rng: np.random.Generator, permutations: int) -> Agreement:
    """Correlation of prediction and observation over grid cells, p by permutation, one-sided for r > 0.

    p = (k + 1) / (n + 1) with k of n permutations as great. It asks whether they are related at all; a great r may
    still come with a bad prediction, which ``rmse`` shows.

    Raises
    ------
    ValueError
        If there are fewer than three cells, a value is missing, or no permutation is asked for.
    """
    x, y = (np.asarray(side, dtype=np.float64).ravel() for side in (predicted, observed))
    if x.shape != y.shape or x.size < 3 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"{x.size} predictions for {y.size} observations: three or more pairs of numbers are needed")
    if permutations < 1:
        raise ValueError(f"permutations = {permutations}: ask for one or more")
    rmse = float(np.sqrt(((x - y) ** 2).mean()))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        nan = float("nan")
        return Agreement(r=nan, rho=nan, rmse=rmse, p=nan, null_mean=nan, null_sd=nan, cells=x.size, permutations=0)
    standard = _standardised(x)
    shuffled = rng.permuted(np.tile(_standardised(y), (permutations, 1)), axis=1) @ standard
    r = float(standard @ _standardised(y))
    return Agreement(
        r=r,
        rho=float(_standardised(rankdata(x)) @ _standardised(rankdata(y))),
        rmse=rmse,
        p=float((1 + (shuffled >= r - 1e-12).sum()) / (permutations + 1)),
        null_mean=float(shuffled.mean()),
        null_sd=float(shuffled.std()),
        cells=x.size,
        permutations=permutations,
    )


def correlation_draws(
    predicted: ArrayLike, observed: ArrayLike, rng: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Pearson r of resampled grid cells, one a draw; NaN where a draw has no spread."""
    x, y = (np.asarray(side, dtype=np.float64).ravel() for side in (predicted, observed))
    return weighted_correlations(x[:, None], y[:, None], group_weights(x.size, resamples, rng))


def _standardised(values: ArrayLike) -> Float:
    """Values with mean 0 and squares that add up to 1, so that a product of two is their correlation."""
    side: Float = np.asarray(values, dtype=np.float64)
    centred: Float = side - float(side.mean())
    return np.asarray(centred / np.sqrt((centred**2).sum()), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotEffects:
    """Effects of E edges in two classes as a pilot experiment would measure them, edges in groups (run-pairs).

    ``attention`` and ``intervention`` (E) are measured effects, ``noise`` the standard deviation of one cell in
    each class, ``group`` (E) numbers the groups from 0.
    """

    attention: Float
    intervention: Float
    group: NDArray[np.int64]
    noise: tuple[float, float] = (1.0, 1.0)

    @property
    def ratio(self) -> float:
        """Cells for the mean intervention effect over cells for the mean attention effect."""
        first = EffectClass(effect=float(self.intervention.mean()), noise=self.noise[1])
        return cells_ratio(first, EffectClass(effect=float(self.attention.mean()), noise=self.noise[0]))


def simulated_pilot(
    attention: EffectClass,
    intervention: EffectClass,
    rng: np.random.Generator,
    *,
    edges: int = 400,
    groups: int = 50,
    pilot_cells: int = 2000,
    spread: float = 0.8,
    group_spread: float = 0.3,
) -> PilotEffects:
    """Effects that vary as measured ones do: log-normal over edges, shifted by group, seen through cell noise.

    The means are the stated effects. ``spread`` and ``group_spread`` are standard deviations of the log; one half of
    the variance over edges is common to both classes. The noise of one cell is multiplied by the class's tail factor.
    """
    group = np.arange(edges) % groups
    shared, of_group = rng.normal(size=edges), rng.normal(size=(2, groups))[:, group]
    measured = []
    for number, of in enumerate((attention, intervention)):
        own = rng.normal(size=edges)
        log = spread * (shared + own) / np.sqrt(2.0) + group_spread * of_group[number]
        true = of.effect * np.exp(log - (spread**2 + group_spread**2) / 2.0)
        measured.append(true + of.noise * of.tail * rng.normal(size=edges) / np.sqrt(pilot_cells))
    noise = (attention.noise * attention.tail, intervention.noise * intervention.tail)
    return PilotEffects(attention=measured[0], intervention=measured[1], group=group, noise=noise)


def projected_ratios(pilot: PilotEffects, scheme: Scheme, rng: np.random.Generator, draws: int) -> Float:
    """Ratio of cells (intervention over attention) in each of ``draws`` resamples of a pilot.

    Schemes: ``edges_apart`` resamples the edges of each class on its own, ``edges_paired`` the same edges for both,
    ``groups`` whole groups with all their edges. Only the last one covers the true ratio where groups differ.

    Raises
    ------
    ValueError
        If the scheme is unknown, or only one group or edge is there to resample.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r}: use {', '.join(SCHEMES)}")
    units = int(pilot.group.max()) + 1 if scheme == "groups" else pilot.attention.size
    if units < 2:
        raise ValueError(f"{units} unit to resample by {scheme}; two or more are needed")
    weights = group_weights(units, draws, rng).astype(np.float64)
    other = group_weights(units, draws, rng).astype(np.float64) if scheme == "edges_apart" else weights
    if scheme == "groups":
        weights = other = weights[:, pilot.group]
    first = (weights @ pilot.attention) / weights.sum(axis=1)
    second = (other @ pilot.intervention) / other.sum(axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray((pilot.noise[1] * first / (pilot.noise[0] * second)) ** 2)
