"""Semi-synthetic perturbation screens: real control cells with a known network planted in them.

What belongs here: the knobs, the gene universe, the planted network and the thinning or boosting of real
counts. What does not: how outcomes are called (`planted_labels`) and control scores (`planted_scores`).
Everything made here has ``data_origin`` ``semi_synthetic``: the cells are real, the effects are not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.planted_network import (
    PlantedNetwork,
    cell_annotation,
    control_pool,
    draw_network,
    gene_moments,
)
from interp_assets.cells.planted_network import draw_universe as _draw_universe
from interp_assets.cells.planted_params import PlantedParams
from interp_assets.cells.records import PreparedCells

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["PlantedParams", "PlantedScreen", "draw_universe", "plant"]

KNOCK_DOWN = float(np.log(0.2))
ACTIVATION = float(np.log(4.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedScreen:
    """Perturbed cells, and the truth behind them.

    ``counts`` is cells x all genes of the base (CSR, int32); ``obs`` has one row a cell with the
    perturbation, the name of the control cell it was made from and that cell's annotations. ``network`` is
    the planted network (weights regulators x universe); ``log_fold`` is the natural-log fold that was asked
    for, perturbations x universe, outside the special cell state. ``generic`` lists the responders that no
    edge explains (perturbation, gene, log_fold).
    """

    dataset: str
    params: PlantedParams
    counts: csr_matrix
    obs: pd.DataFrame
    genes: NDArray[np.str_]
    universe: NDArray[np.str_]
    perturbations: NDArray[np.str_]
    network: PlantedNetwork
    planted_weight: NDArray[np.float32]
    log_fold: NDArray[np.float32]
    generic: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)


def draw_universe(
    base: PreparedCells,
    pairs: pd.DataFrame,
    params: PlantedParams,
    cells: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Gene universe and perturbed regulators of a planted screen, both drawn by the recipe.

    Parameters
    ----------
    base
        Prepared cells; only control cells are looked at.
    pairs
        Known regulator-target pairs, columns ``tf`` and ``target``.
    params
        Knobs; ``universe`` is ignored here.
    cells
        Cells to compute moments from (base order); default all control cells. Leave a held-out donor out
        here, or its cells take part in choosing the genes.

    Returns
    -------
    tuple
        Universe in the gene order of `base`, and regulators ordered by number of known targets.
    """
    pool = control_pool(base, params)
    chosen = pool if cells is None else pool & cells
    return _draw_universe(base.genes, gene_moments(base, chosen), pairs, params)


def plant(
    base: PreparedCells,
    pairs: pd.DataFrame,
    params: PlantedParams,
    network: PlantedNetwork | None = None,
) -> PlantedScreen:
    """Perturbed cells made from the control cells of `base`, with a planted signed network behind them.

    Parameters
    ----------
    base
        Real cells with raw integer counts.
    pairs
        Known regulator-target pairs, columns ``tf`` and ``target``; the planted network is a sample of
        them and of the two-step paths they form.
    params
        Knobs of the recipe. ``params.universe`` fixes the genes; None draws them.
    network
        A network drawn before (see `planted_network.draw_network`), to plant the same truth in other cells;
        its universe and regulators then win over `params`.

    Raises
    ------
    ValueError
        If too few regulators or cells exist for what `params` asks, naming the knob to change.
    """
    planted = network
    if planted is None:
        planted = draw_network(base.genes, gene_moments(base, control_pool(base, params)), pairs, params)
    perturbations = _perturbations(planted, params)
    rng = np.random.default_rng([params.seed, 2])
    rows = pd.Index(planted.regulators).get_indexer(perturbations)
    weight = planted.weight[rows]
    log_fold, state_fold, generic = _log_folds(planted, rows, perturbations, params, rng)
    counts, obs, cells = _perturbed_cells(base, planted, perturbations, log_fold, state_fold, params, rng)
    return PlantedScreen(
        dataset=base.dataset,
        params=params,
        counts=counts,
        obs=obs,
        genes=base.genes,
        universe=planted.universe,
        perturbations=perturbations,
        network=planted,
        planted_weight=weight,
        log_fold=log_fold,
        generic=generic,
        facts={
            "data_origin": "semi_synthetic",
            "world": params.world,
            "seed": params.seed,
            "perturbations": len(perturbations),
            "cells_asked": params.cells_per_perturbation * len(perturbations),
            "cells_drawn": cells,
            "generic_responders": len(generic),
            **planted.facts,
        },
    )


def _perturbations(planted: PlantedNetwork, params: PlantedParams) -> NDArray[np.str_]:
    known = set(planted.regulators.tolist())
    if params.perturbations is not None:
        unknown = sorted(set(params.perturbations) - known)
        if unknown:
            raise ValueError(
                f"perturbations {', '.join(unknown[:5])} are not regulators of the planted network; "
                "name regulators that have planted edges"
            )
        return np.array(params.perturbations, dtype=str)
    if len(planted.regulators) < params.n_perturbations:
        raise ValueError(
            f"n_perturbations = {params.n_perturbations}, but the planted network has "
            f"{len(planted.regulators)} regulators; lower n_perturbations or regulator_detection"
        )
    return planted.regulators[: params.n_perturbations]


def _log_folds(
    planted: PlantedNetwork,
    rows: NDArray[np.int64],
    perturbations: NDArray[np.str_],
    params: PlantedParams,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, pd.DataFrame]:
    """Natural-log folds outside and inside the special cell state, and the generic responders."""
    shape = (len(perturbations), len(planted.universe))
    strength = rng.lognormal(0.0, params.strength_sd, size=shape[0])
    generic = _generic_effects(planted, shape[0], params, rng)
    sign = -1.0 if params.modality == "CRISPRi" else 1.0
    acts = params.world == "signal"
    own = pd.Index(planted.universe).get_indexer(perturbations)
    generic[np.arange(shape[0]), own] = 0.0

    def fold(weight: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        effect = strength[:, None] * (sign * weight * acts + generic)
        effect = np.clip(effect, *params.log_fold_limits)
        effect[np.arange(shape[0]), own] = KNOCK_DOWN if params.modality == "CRISPRi" else ACTIVATION
        return effect.astype(np.float32)

    everywhere = planted.weight[rows]
    bound = planted.state_bound[rows]
    inside = fold(everywhere) if bound.any() else None
    outside = fold(np.where(bound, 0.0, everywhere))
    p, g = np.nonzero(generic)
    table = pd.DataFrame(
        {
            "perturbation": perturbations[p],
            "gene": planted.universe[g],
            "log_fold": (strength[p] * generic[p, g]).astype(np.float32),
        }
    )
    return outside, inside, table


def _generic_effects(
    planted: PlantedNetwork, perturbations: int, params: PlantedParams, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Effects on genes that answer to anything, drawn by variance and whatever the network says."""
    genes = len(planted.universe)
    effect = np.zeros((perturbations, genes))
    mean = params.generic_mean
    if mean == 0.0:
        return effect
    eligible = np.flatnonzero(planted.eligible)
    chance = np.exp(params.generic_kappa * planted.variance_score[eligible])
    chance /= chance.sum()
    # One sign a gene: a generic responder is a property of the gene, not of what was perturbed.
    gene_sign = np.where(rng.random(genes) < 0.5, 1.0, -1.0)
    for row, count in enumerate(rng.poisson(mean, size=perturbations)):
        asked = min(int(count), len(eligible))
        drawn = rng.choice(eligible, size=asked, replace=False, p=chance)
        size = rng.lognormal(np.log(params.effect), params.effect_sd, size=asked)
        effect[row, drawn] = gene_sign[drawn] * size
    return effect


def _perturbed_cells(
    base: PreparedCells,
    planted: PlantedNetwork,
    perturbations: NDArray[np.str_],
    log_fold: NDArray[np.float32],
    state_fold: NDArray[np.float32] | None,
    params: PlantedParams,
    rng: np.random.Generator,
) -> tuple[csr_matrix, pd.DataFrame, int]:
    """Counts and annotations of the perturbed cells; control cells are reused, once a perturbation."""
    from scipy import sparse

    pool = np.flatnonzero(control_pool(base, params))
    if len(pool) < params.cells_per_perturbation:
        raise ValueError(
            f"cells_per_perturbation = {params.cells_per_perturbation}, but only {len(pool)} control cells "
            "qualify; lower it or widen cell_types"
        )
    columns = pd.Index(base.genes).get_indexer(planted.universe)
    if (columns < 0).any():
        lacking = planted.universe[columns < 0]
        raise ValueError(
            f"{base.dataset} lacks {len(lacking)} genes of the planted universe, such as "
            f"{', '.join(lacking[:5])}; plant in cells that measure them"
        )
    source = np.concatenate(
        [rng.choice(pool, size=params.cells_per_perturbation, replace=False) for _ in perturbations]
    )
    group = np.repeat(np.arange(len(perturbations)), params.cells_per_perturbation)
    expected = _expected_counts(base, columns, params)
    dense = np.asarray(base.counts[:, columns].todense(), dtype=np.int64)
    in_state = _in_state(base, params)
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    for p in range(len(perturbations)):
        members = np.flatnonzero(group == p)
        for chosen, folds in _folds_of(members, source, in_state, log_fold[p], state_fold, p):
            changed = np.flatnonzero(folds)
            if len(chosen) == 0:
                continue
            old = dense[np.ix_(source[chosen], changed)]
            new = _scale_counts(old, np.exp(folds[changed]), expected(source[chosen], changed), rng)
            r, c = np.nonzero(new != old)
            parts.append((chosen[r], columns[changed[c]], (new - old)[r, c]))
    r, c, delta = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    shape = (len(source), base.counts.shape[1])
    change = sparse.coo_matrix((delta.astype(np.int32), (r, c)), shape=shape).tocsr()
    counts = (base.counts[source] + change).astype(np.int32).tocsr()
    counts.eliminate_zeros()
    counts.sort_indices()
    obs = base.obs.iloc[source].assign(perturbation=perturbations[group], source_cell=base.obs.index[source])
    obs.index = pd.Index([f"planted-{i:06d}" for i in range(len(source))], name="cell")
    return counts, obs, len(source)


def _in_state(base: PreparedCells, params: PlantedParams) -> NDArray[np.bool_]:
    if params.state_share == 0.0:
        return np.zeros(base.counts.shape[0], dtype=bool)
    return (cell_annotation(base, params) == params.state).to_numpy()


def _folds_of(
    members: NDArray[np.int64],
    source: NDArray[np.int64],
    in_state: NDArray[np.bool_],
    outside: NDArray[np.float32],
    state_fold: NDArray[np.float32] | None,
    p: int,
) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Split the cells of one perturbation by state, each part with the folds that act in it."""
    if state_fold is None:
        return [(members, outside)]
    inside = in_state[source[members]]
    return [(members[~inside], outside), (members[inside], state_fold[p])]


def _expected_counts(base: PreparedCells, columns: NDArray[np.int64], params: PlantedParams) -> Any:
    """Function (cells, universe genes) -> counts expected from the cell's type and depth."""
    labels = cell_annotation(base, params).to_numpy()
    types, code = np.unique(labels, return_inverse=True)
    totals = np.asarray(base.counts.sum(axis=1)).ravel().astype(np.float64)
    indicator = (code[None, :] == np.arange(len(types))[:, None]) & base.control[None, :]
    counts = np.asarray((base.counts[:, columns].T @ indicator.T.astype(np.float64)).T)
    depth = indicator @ totals
    rate = np.divide(counts, depth[:, None], out=np.zeros_like(counts), where=depth[:, None] > 0)

    def expected(cells: NDArray[np.int64], genes: NDArray[np.int64]) -> NDArray[np.float64]:
        return rate[np.ix_(code[cells], genes)] * totals[cells][:, None]

    return expected


def _scale_counts(
    counts: NDArray[np.int64],
    fold: NDArray[np.floating[Any]],
    expected: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Integer counts after a fold change a gene: binomial thinning below 1, mixed Poisson gain above.

    The gain is Poisson((f - 1)(x/2 + expected/2)): scaling x alone would leave every zero a zero and make the
    counts far more dispersed than a gene that is truly expressed more.
    """
    down = np.minimum(fold, 1.0)[None, :]
    up = np.maximum(fold - 1.0, 0.0)[None, :]
    thinned = rng.binomial(counts, np.broadcast_to(down, counts.shape))
    gain = rng.poisson(up * 0.5 * (counts + expected))
    return np.where(up > 0, counts + gain, thinned)
