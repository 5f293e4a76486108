"""Simulated cells of several states whose regulatory edges differ by state, and the closed form of pooling them.

What belongs here: the three generators behind the cell-state analyses and the dilution model. What does not: strata,
edge scores, any real data. All draws come from the generator that is handed in.

Source: paper section 5, analysis 10 (generators a to c) and section 4 (dilution model). Where the paper is silent a
constant below says what was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

# (cells, states) of the synthetic design, and cells of the structured one (paper section 5, analysis 10)
SYNTHETIC: Final = ((200, 2), (400, 4), (600, 6), (1000, 8), (1000, 10), (1500, 12))
STRUCTURED: Final = (200, 500, 1000, 2000, 5000)
# shares of 15 immune types and of 8 blood types: our choice, falling from a fifth (a third) to a hundredth (a fiftieth)
IMMUNE_SHARES: Final = (0.20, 0.15, 0.12, 0.10, 0.09, 0.07, 0.06, 0.05, 0.04, 0.03, 0.03, 0.02, 0.02, 0.01, 0.01)
BLOOD_SHARES: Final = (0.32, 0.20, 0.15, 0.12, 0.09, 0.06, 0.04, 0.02)
# how far a marker gene of a type lies above its mean elsewhere, in standard deviations of the background: our choice
MARKER_SHIFT: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMixture:
    """Cells of known states and the edges that are active in at least one of them.

    ``expression`` is N x G, ``state`` (N) the state of each cell, ``states`` how many there are. ``regulators`` (T)
    and ``targets`` (P) are columns of ``expression``; candidate edges are all T x P pairs, ``true`` (T x P) marks the
    active ones and ``active`` (S x T x P) says in which states.
    """

    expression: Float
    state: Int
    states: int
    regulators: Int
    targets: Int
    active: NDArray[np.bool_]

    @property
    def true(self) -> NDArray[np.bool_]:
        """Edges active in at least one state (T x P)."""
        return np.asarray(self.active.any(axis=0))


def state_sizes(cells: int, shares: ArrayLike) -> Int:
    """Whole numbers of cells by fixed shares, largest remainders first; they sum to ``cells``.

    >>> state_sizes(10, (0.55, 0.3, 0.15)).tolist()
    [6, 3, 1]
    """
    exact = cells * np.asarray(shares, dtype=np.float64) / np.sum(shares)
    size: Int = np.floor(exact).astype(np.int64)
    order = np.argsort(size - exact, kind="stable")
    size[order[: cells - int(size.sum())]] += 1
    return size


def multi_state(
    rng: np.random.Generator,
    cells: int,
    states: int,
    *,
    genes: int = 30,
    regulators: int = 5,
    shared: int = 2,
    strength: float = 0.5,
) -> StateMixture:
    """Synthetic design (a): equal states without mean differences, few edges in common.

    Background of every gene standard normal; in a state where an edge is active its target is its own value plus
    ``strength`` times the regulator. ``shared`` edges are active everywhere, max(2, 12 // states) in one state each;
    no edge is drawn twice.
    """
    private = max(2, 12 // states)
    pairs = regulators * (genes - regulators)
    if shared + private * states > pairs:
        raise ValueError(f"{shared + private * states} edges do not fit {pairs} pairs of regulator and target")
    state = np.repeat(np.arange(states), state_sizes(cells, np.ones(states)))
    drawn = rng.permutation(pairs)[: shared + private * states]
    flat = np.zeros((states, pairs), dtype=bool)
    flat[:, drawn[:shared]] = True
    for number in range(states):
        flat[number, drawn[shared + private * number : shared + private * (number + 1)]] = True
    active = flat.reshape(states, regulators, genes - regulators)
    values = rng.normal(size=(cells, genes))
    values[:, regulators:] += strength * _driven(values[:, :regulators], state, active)
    return StateMixture(
        expression=values,
        state=state,
        states=states,
        regulators=np.arange(regulators),
        targets=np.arange(regulators, genes),
        active=active,
    )


def immune_types(
    rng: np.random.Generator, cells: int, *, genes: int = 40, signal: float = 1.0, noise: float = 0.3
) -> StateMixture:
    """Structured design (b): 15 types in fixed shares, 15 edges, each active in one type and with a target of its own.

    10 regulators, 15 targets; the other 15 genes are markers, one a type. In the active type the target is ``signal``
    times the regulator plus ``noise`` times its own value, elsewhere its own value.
    """
    types, regulators = len(IMMUNE_SHARES), 10
    state = np.repeat(np.arange(types), state_sizes(cells, IMMUNE_SHARES))
    active = np.zeros((types, regulators, types), dtype=bool)
    active[rng.permutation(types), rng.integers(0, regulators, types), np.arange(types)] = True
    values = rng.normal(size=(cells, genes))
    targets = np.arange(regulators, regulators + types)
    on = np.any(active, axis=1)[state]
    driven = signal * _driven(values[:, :regulators], state, active) + noise * values[:, targets]
    values[:, targets] = np.where(on, driven, values[:, targets])
    values[np.arange(cells), regulators + types + state] += MARKER_SHIFT
    return StateMixture(
        expression=values,
        state=state,
        states=types,
        regulators=np.arange(regulators),
        targets=targets,
        active=active,
    )


def blood_cells(
    rng: np.random.Generator, cells: int = 3000, *, edges: int = 22, strength: float = 0.7, dropout: float = 0.15
) -> StateMixture:
    """PBMC-like design (c): 8 types, 245 genes (15 regulators, 30 targets, 200 other), edges active in one type each.

    In its type a target correlates with its regulator by ``strength`` (variance kept at one). Every type lifts a
    quarter of the other genes; values are then moved to mean 2, cut at 0, and set to 0 by ``dropout``.
    """
    types, regulators, wanted, other = len(BLOOD_SHARES), 15, 30, 200
    state = np.repeat(np.arange(types), state_sizes(cells, BLOOD_SHARES))
    active = np.zeros((types, regulators, wanted), dtype=bool)
    target = rng.permutation(wanted)[:edges]
    active[np.arange(edges) % types, rng.integers(0, regulators, edges), target] = True
    values = rng.normal(size=(cells, regulators + wanted + other))
    targets = np.arange(regulators, regulators + wanted)
    own = np.where(np.any(active, axis=1)[state], np.sqrt(1.0 - strength**2), 1.0)
    driven = strength * _driven(values[:, :regulators], state, active)
    values[:, targets] = own * values[:, targets] + driven
    values[:, targets[-1] + 1 :] += MARKER_SHIFT * (rng.random((types, other)) < 0.25)[state]
    values = np.maximum(values + 2.0, 0.0) * (rng.random(values.shape) >= dropout)
    return StateMixture(
        expression=values,
        state=state,
        states=types,
        regulators=np.arange(regulators),
        targets=targets,
        active=active,
    )


def _driven(regulators: Float, state: Int, active: NDArray[np.bool_]) -> Float:
    """Sum of the regulators that act on each target in the state of each cell (N x P)."""
    driven = np.empty((state.size, active.shape[2]))
    for number in range(active.shape[0]):
        inside = state == number
        driven[inside] = regulators[inside] @ active[number].astype(np.float64)
    return driven


def pooled_correlation(
    share: ArrayLike, mean: ArrayLike, variance: ArrayLike, covariance: ArrayLike
) -> tuple[float, float, float]:
    """Correlation of two genes in pooled cells, and its parts from within and between states.

    Law of total covariance with shares w_k: cov = sum w_k cov_k + sum w_k (mx_k - mx)(my_k - my), variances alike;
    rho = cov / sqrt(var_x var_y). With equal means only the first sum is left, and an edge of one state alone gives
    about (n_1 / N) rho_1 (paper section 4, dilution model).

    Parameters
    ----------
    share
        Shares of the states (S), summing to 1.
    mean, variance
        Means and variances of both genes by state (S x 2).
    covariance
        Covariance within each state (S).

    Returns
    -------
    Pooled correlation, its within-state part and its between-state part; the parts sum to it.
    """
    w, m = np.asarray(share, np.float64), np.asarray(mean, np.float64)
    v, c = np.asarray(variance, np.float64), np.asarray(covariance, np.float64)
    centred = m - w @ m
    total = w @ v + w @ centred**2
    scale = float(np.sqrt(total[0] * total[1]))
    within, between = float(w @ c) / scale, float(w @ (centred[:, 0] * centred[:, 1])) / scale
    return within + between, within, between
