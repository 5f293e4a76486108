"""A small gene regulatory network with known weights: its cells, edge scores read from them, and how good these are.

What belongs here: drawing networks and cells, attention-like scores, recovery of the true weights, heterogeneity.
What does not: real cells, any model.

Orientation: ``weights[i, j]`` is the effect of source gene i on target gene j, as in edge tables. Cells differ in
state by generation: more states are more states, and no noise grows with the number of cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.stats.detection_simulation import signal_auroc

Float = NDArray[np.float64]

GENES: Final = 50
DENSITY: Final = 0.15
LARGEST_WEIGHT: Final = 2.0
STATES: Final = 4
ACTIVE_GENES: Final = 10
DRIVE_SD: Final = 1.0
ACTIVE_DRIVE: Final = 2.0
DROPOUT: Final = 0.1
DECAY_OVER_NORM: Final = 1.05  # above 1 every cell has one steady state
BASE_LEVEL: Final = 2.0
BIAS_DEGREES: Final = 3
BIAS_SCALE: Final = 0.1
BIAS_SD: Final = BIAS_SCALE * (BIAS_DEGREES / (BIAS_DEGREES - 2.0)) ** 0.5
RIDGE: Final = 0.1
SETTLED: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticNetwork:
    """Weights G x G (source, target; the diagonal is negative self-decay) and active genes of each state (S x G)."""

    weights: Float
    active: NDArray[np.bool_]

    @property
    def edges(self) -> NDArray[np.bool_]:
        """Ordered pairs of two genes (G x G): all but the diagonal."""
        return ~np.eye(self.weights.shape[0], dtype=bool)


def draw_network(
    rng: np.random.Generator, *, genes: int = GENES, density: float = DENSITY, states: int = STATES
) -> SyntheticNetwork:
    """Network with edges at the given density, weights uniform on -2 to 2, and 10 active genes in each state.

    Each state has active genes of its own while the genes last. The diagonal is minus 1.05 times the spectral norm of
    the rest: with a gate of slope 1 at most, every cell then has exactly one steady state.

    Raises
    ------
    ValueError
        If the states need more active genes than there are genes.
    """
    if states < 1 or states * ACTIVE_GENES > genes:
        raise ValueError(f"{states} states of {ACTIVE_GENES} active genes each do not fit into {genes} genes")
    weights = np.where(rng.random((genes, genes)) < density, 1.0, 0.0)
    weights *= rng.uniform(-LARGEST_WEIGHT, LARGEST_WEIGHT, size=(genes, genes))
    np.fill_diagonal(weights, 0.0)
    np.fill_diagonal(weights, -DECAY_OVER_NORM * max(float(np.linalg.norm(weights, 2)), 1.0))
    order = rng.permutation(genes)[: states * ACTIVE_GENES].reshape(states, ACTIVE_GENES)
    active = np.zeros((states, genes), dtype=bool)
    np.put_along_axis(active, order, True, axis=1)
    return SyntheticNetwork(weights=weights, active=active)


def steady_state(network: SyntheticNetwork, drive: ArrayLike) -> Float:
    """Steady state x (cells x genes) under an outer drive of the same shape.

    x_j = (sum over i of weights[i, j] tanh(x_i)) / decay + drive_j, by iteration to 1e-6, where decay is minus the
    diagonal. The map is a contraction, so the state exists, is unique and is reached.
    """
    pushed = np.asarray(drive, dtype=np.float64)
    decay = -np.diag(network.weights)
    coupling = np.where(network.edges, network.weights, 0.0) / decay[None, :]
    x: Float = pushed.copy()
    while True:
        following: Float = np.tanh(x) @ coupling + pushed
        moved = float(np.abs(following - x).max())
        x = following
        if moved <= SETTLED:
            return x


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticCells:
    """Expression cells x genes as measured (log scale, dropouts are 0) and the state of each cell."""

    expression: Float
    state: NDArray[np.int64]


def draw_cells(network: SyntheticNetwork, cells: int, states: int, rng: np.random.Generator) -> SyntheticCells:
    """Cells in equal parts of the first ``states`` states of a network.

    A cell's drive is normal noise of standard deviation 1, plus 2 for the active genes of its state. Its steady state,
    raised by a base level of 2 and cut at 0, is measured with a dropout of .1.

    Raises
    ------
    ValueError
        If there are more states than the network has, or fewer cells than states.
    """
    if not 1 <= states <= network.active.shape[0] or cells < states:
        raise ValueError(f"{cells} cells in {states} states of a network with {network.active.shape[0]}")
    state = np.arange(cells) % states
    level = np.maximum(_levels(network, state, rng) + BASE_LEVEL, 0.0)
    return SyntheticCells(expression=np.where(rng.random(level.shape) < DROPOUT, 0.0, level), state=state)


def regression_weights(expression: ArrayLike) -> Float:
    """Ridge coefficients of every target gene on all other genes, genes x genes (source, target), standardised genes.

    From the inverse P of the correlation matrix with .1 added to its diagonal: b_ij = -P_ij / P_jj. The diagonal is 0.

    Raises
    ------
    ValueError
        If a gene is constant: it has no coefficient.
    """
    correlation = coexpression_weights(expression)
    precision: Float = np.asarray(np.linalg.inv(correlation + (1.0 + RIDGE) * np.eye(correlation.shape[0])))
    weights = -precision / np.diag(precision)[None, :]
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights, dtype=np.float64)


def coexpression_weights(expression: ArrayLike) -> Float:
    """Pearson correlation of every two genes, genes x genes with a diagonal of 0: knows no direction.

    Raises
    ------
    ValueError
        If a gene is constant.
    """
    table = _varying(expression)
    genes = table.shape[1]
    correlation: Float = np.asarray(np.corrcoef(table, rowvar=False), dtype=np.float64).reshape(genes, genes)
    np.fill_diagonal(correlation, 0.0)
    return correlation


def _varying(expression: ArrayLike) -> Float:
    table = np.asarray(expression, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 2:
        raise ValueError(f"expression of shape {table.shape}: two or more cells x genes are needed")
    constant = np.flatnonzero(np.ptp(table, axis=0) == 0)
    if constant.size:
        raise ValueError(f"{constant.size} genes are constant over {table.shape[0]} cells: no weight can be estimated")
    return table


WEIGHTS: Final = {"regression": regression_weights, "coexpression": coexpression_weights}


def attention_like(weights: ArrayLike, expression: ArrayLike, gene_bias: ArrayLike) -> Float:
    """Attention-like scores genes x genes: tanh(estimated weight / its spread + expression bias + gene bias).

    ``weights`` were estimated from the cells (`WEIGHTS`) and are divided by their root mean square; the expression bias
    is .1 times the standardised mean expression of the target, the gene bias comes from `draw_bias`. Nothing of the
    true weights enters.
    """
    estimated = np.asarray(weights, dtype=np.float64)
    level = np.asarray(expression, dtype=np.float64).mean(axis=0)
    bias = BIAS_SCALE * (level - level.mean()) / level.std() + np.asarray(gene_bias)
    return np.asarray(np.tanh(estimated / np.sqrt((estimated**2).mean()) + bias[None, :]))


def draw_bias(genes: int, rng: np.random.Generator) -> Float:
    """Heavy-tailed bias of each target gene: .1 times Student t with 3 degrees of freedom."""
    return np.asarray(BIAS_SCALE * rng.standard_t(BIAS_DEGREES, size=genes))


def recovery(score: ArrayLike, network: SyntheticNetwork) -> float:
    """Pearson correlation of edge scores with the true weights over all ordered pairs, the diagonal left out."""
    pairs = network.edges
    return float(np.corrcoef(np.asarray(score)[pairs], network.weights[pairs])[0, 1])


def undirected_recovery(score: ArrayLike, network: SyntheticNetwork) -> float:
    """The same over unordered pairs, both directions added up: what scores without a direction could reach."""
    upper = np.triu_indices(network.weights.shape[0], 1)
    both = np.asarray(score) + np.asarray(score).T
    return float(np.corrcoef(both[upper], (network.weights + network.weights.T)[upper])[0, 1])


def between_state_share(cells: SyntheticCells) -> float:
    """Heterogeneity of expression: share of the variance that lies between states, mean over genes (omega squared).

    With df_b = S - 1: (SS_between - df_b MS_within) / (SS_total + MS_within), which is about 0 where states are alike
    whatever their number; 0 for one state. Needs two cells a state.
    """
    x, state = cells.expression, cells.state
    groups = int(state.max()) + 1
    if groups == 1:
        return 0.0
    size = np.bincount(state)
    means = np.stack([x[state == s].mean(axis=0) for s in range(groups)])
    between = (size[:, None] * (means - x.mean(axis=0)) ** 2).sum(axis=0)
    total = ((x - x.mean(axis=0)) ** 2).sum(axis=0)
    within = (total - between) / (x.shape[0] - groups)
    return float(((between - (groups - 1) * within) / (total + within)).mean())


def network_detection(
    network: SyntheticNetwork,
    snr: ArrayLike,
    observations: ArrayLike,
    rng: np.random.Generator,
    *,
    signals: int = 10,
) -> Float:
    """Detection AUROC of |t| over SNR x N in cells of one network: signals are genes shifted by +-SNR.

    The cells are those of the first state, each gene centred and scaled by its own spread over 4,000 further cells, so
    that genes are correlated as the network makes them. A shift of SNR for the signals and a heavy-tailed bias for
    every gene (`draw_bias`) are added before dropout sets values to 0. More observations contain the fewer ones.
    """
    ratio, counts = np.asarray(snr, dtype=np.float64), np.asarray(observations, dtype=np.int64)
    genes = network.weights.shape[0]
    level = _levels(network, np.zeros(4000 + int(counts.max()), dtype=np.int64), rng)
    level = (level[4000:] - level[:4000].mean(axis=0)) / level[:4000].std(axis=0)
    signal = np.isin(np.arange(genes), rng.choice(genes, signals, replace=False))
    sign = np.where(rng.random(genes) < 0.5, -1.0, 1.0) * signal
    shift = ratio[:, None] * sign + draw_bias(genes, rng)
    kept = (rng.random(level.shape) >= DROPOUT).astype(np.float64)
    found = np.empty((ratio.size, counts.size))
    for column, n in enumerate(counts):
        keep, value = kept[:n], level[:n]
        held, first, second = keep.sum(axis=0), (keep * value).sum(axis=0), (keep * value**2).sum(axis=0)
        mean = (first + shift * held) / n
        variance = ((second + 2.0 * shift * first + shift**2 * held) - n * mean**2) / (n - 1)
        found[:, column] = signal_auroc(np.abs(mean) / np.sqrt(variance / n), signal)
    return found


def _levels(network: SyntheticNetwork, state: NDArray[np.int64], rng: np.random.Generator) -> Float:
    noise = rng.normal(scale=DRIVE_SD, size=(state.size, network.weights.shape[0]))
    return steady_state(network, noise + ACTIVE_DRIVE * network.active[state])
