"""Circuits regulator -> intermediate -> target with known paths: what patching says of their components.

What belongs here: drawing circuits, the value of every coalition of intermediates, the known contribution of each.
What does not: Shapley values and single effects (`games`), real components of a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from interp_assets.stats.games import coalition_members

Float = NDArray[np.float64]
Gate = Literal["hill", "linear"]

REGULATORS: Final = 3
INTERMEDIATES: Final = 8
TARGETS: Final = 4
TO_INTERMEDIATE: Final = 0.6
TO_TARGET: Final = 0.4
WEIGHTS: Final = (0.3, 1.5)
HILL_POWER: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuits:
    """C circuits: ``paths`` C x K x T, what intermediate k passes on to target t, summed over all regulators.

    ``half`` C x T is the input at which a Hill gate is half open, ``gate`` the law of every target.
    """

    paths: Float
    half: Float
    gate: Gate

    @property
    def components(self) -> int:
        """Number of intermediates K: the components that are patched."""
        return int(self.paths.shape[1])

    def opened(self, received: ArrayLike) -> Float:
        """Answer of the targets (... x C x T) to their input: x^2 / (x^2 + half^2), or the input itself."""
        x = np.asarray(received, dtype=np.float64)
        if self.gate == "linear":
            return x
        return np.asarray(x**HILL_POWER / (x**HILL_POWER + self.half**HILL_POWER))

    def coalition_values(self) -> Float:
        """Read-out with each coalition of intermediates switched on and the others off, C x 2**K in bit-mask order.

        The read-out is the sum over targets; with no intermediate it is 0.
        """
        members = coalition_members(self.components).astype(np.float64)
        received = np.einsum("sk,ckt->sct", members, self.paths)
        return np.asarray(self.opened(received).sum(axis=2).T)

    def contributions(self) -> Float:
        """Known contribution of each intermediate (C x K): its share of every target's input, times its answer.

        sum over t of paths[k, t] / (sum over j of paths[j, t]) x opened(t). Read off the drawn weights in the intact
        circuit: no intermediate is switched, no coalition is valued.
        """
        received = self.paths.sum(axis=1)
        answer = self.opened(received)
        per_input = np.divide(answer, received, out=np.zeros_like(answer), where=received > 0)
        return np.asarray((self.paths * per_input[:, None, :]).sum(axis=2))

    def removal_effects(self) -> Float:
        """What the read-out loses without each intermediate, all others on (C x K)."""
        values = self.coalition_values()
        everybody = values.shape[1] - 1
        without = everybody - 2 ** np.arange(self.components)
        return np.asarray(values[:, [everybody]] - values[:, without])

    def path_strengths(self) -> Float:
        """Sum of the weight products of all paths through each intermediate (C x K), whatever the gates do."""
        return np.asarray(self.paths.sum(axis=2))


def draw_circuits(circuits: int, rng: np.random.Generator, *, gate: Gate = "hill") -> Circuits:
    """Circuits of 3 regulators, 8 intermediates and 4 targets with positive weights uniform on .3 to 1.5.

    A regulator reaches an intermediate with probability .6, an intermediate a target with .4. A gate's half input is
    uniform between a quarter and the whole of its full input: some targets answer only to several intermediates
    together, others are satisfied by one.

    Raises
    ------
    ValueError
        If there is no circuit to draw, or the gate is unknown.
    """
    if circuits < 1 or gate not in ("hill", "linear"):
        raise ValueError(f"{circuits} circuits with gate {gate!r}: draw one or more, with gate hill or linear")
    first = rng.uniform(*WEIGHTS, size=(circuits, REGULATORS, INTERMEDIATES))
    first *= rng.random(first.shape) < TO_INTERMEDIATE
    second = rng.uniform(*WEIGHTS, size=(circuits, INTERMEDIATES, TARGETS))
    second *= rng.random(second.shape) < TO_TARGET
    paths = first.sum(axis=1)[:, :, None] * second
    full = paths.sum(axis=1)
    half = np.where(full > 0, full, 1.0) * rng.uniform(0.25, 1.0, size=full.shape)
    return Circuits(paths=paths, half=half, gate=gate)


def rank_correlations(estimates: ArrayLike, truth: ArrayLike) -> Float:
    """Spearman correlation of estimates and truth in every row (C x K to C), mid-ranks; NaN where one side is constant.

    Values are compared to 12 decimals, so that equal ones that differ by rounding share their rank.
    """
    x, y = (rankdata(np.round(np.asarray(side, dtype=np.float64), 12), axis=1) for side in (estimates, truth))
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.asarray(np.divide((x * y).sum(axis=1), spread, out=np.full(spread.shape, np.nan), where=spread > 0))
