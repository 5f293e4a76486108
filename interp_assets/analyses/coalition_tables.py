"""Interactions and Shapley values of the components of each run-pair, from the coalitions that were silenced.

What belongs here: tables of analysis 2 that need more than single effects. What does not: its rows.
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.component_effects import RunPair
from interp_assets.readings.coalitions import chain_coalitions
from interp_assets.readings.records import Reading
from interp_assets.stats.games import (
    exact_shapley,
    harsanyi_dividends,
    measured_interactions,
    shapley_from_marginals,
)

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def complete_values(pair: RunPair) -> Float | None:
    """Effects m of every coalition, cells x 2**K in bit-mask order; None where not all were measured."""
    components = pair.single.shape[0]
    if components > 20 or pair.coalitions.size != 2**components - 1:
        return None
    values = np.zeros((pair.joint.shape[1], 2**components))
    values[:, pair.coalitions] = pair.joint.T
    return values


def interaction_rows(pair: RunPair) -> list[dict[str, Any]]:
    """Interactions of one run-pair by number of components: how many were measured, and what they say of R.

    ``residual`` is R on the same cells; ``share_of_residual`` the signed sum over it, ``sum_absolute`` the sum of
    sizes, which no A_lb may exceed when every set was measured.
    """
    components = pair.single.shape[0]
    mean = dict(zip(pair.coalitions.tolist(), pair.joint.mean(axis=1).tolist(), strict=True))
    residual = mean[(1 << components) - 1] - sum(mean[1 << i] for i in range(components))
    rows = []
    for order, sizes in sorted(_interactions(pair, mean).items()):
        total = float(sizes.sum())
        rows.append(
            {
                **pair.names,
                "order": order,
                "sets_measured": sizes.size,
                "sets_possible": comb(components, order),
                "cells": pair.joint.shape[1],
                "sum": total,
                "sum_absolute": float(np.abs(sizes).sum()),
                "residual": residual,
                "share_of_residual": total / residual if residual else float("nan"),
            }
        )
    return rows


def _interactions(pair: RunPair, mean: dict[int, float]) -> dict[int, Float]:
    """Interactions of the mean effects by order: of every set, or of the measured sets of two and three."""
    values = complete_values(pair)
    if values is not None:
        dividends = harsanyi_dividends(values.mean(axis=0))
        order = np.array([mask.bit_count() for mask in range(dividends.size)])
        return {size: dividends[order == size] for size in range(2, pair.single.shape[0] + 1)}
    small = {_members(mask): effect for mask, effect in mean.items() if mask.bit_count() <= 3}
    found: dict[int, list[float]] = {}
    for members, interaction in measured_interactions(small).items():
        found.setdefault(len(members), []).append(interaction)
    return {size: np.array(interactions) for size, interactions in found.items()}


def _members(mask: int) -> frozenset[int]:
    return frozenset(i for i in range(mask.bit_length()) if mask >> i & 1)


def shapley_rows(pair: RunPair, reading: Reading) -> pd.DataFrame:
    """Shapley value of each component beside its single effect, on the same cells.

    Exact where every coalition was measured: the standard error is over cells. Otherwise from orders of joining: it is
    over pairs of an order and its reverse. ``bias`` is single effect - Shapley value.
    """
    values = complete_values(pair)
    if values is not None:
        by_cell = exact_shapley(values)
        shapley = by_cell.mean(axis=0)
        cells = by_cell.shape[0]
        error = by_cell.std(axis=0, ddof=1) / np.sqrt(cells) if cells > 1 else np.full(shapley.size, np.nan)
        method, gap, orders = "exact", float(shapley.sum() - values[:, -1].mean()), 0
    else:
        marginals, everything = _marginals(pair, np.asarray(reading.arrays[f"orders_{pair.granularity}"]))
        sampled = shapley_from_marginals(marginals, total=everything, antithetic=True)
        shapley, error = sampled.shapley, sampled.se
        method, gap, orders = "permutations", sampled.efficiency_gap, sampled.permutations
    single = _singles(pair)
    return pd.DataFrame(
        {
            **pair.names,
            "component": pair.components["component"],
            "name": pair.components["name"],
            "method": method,
            "shapley": shapley,
            "se": error,
            "single": single,
            "bias": single - shapley,
            "permutations": orders,
            "cells": pair.joint.shape[1],
            "efficiency_gap": gap,
        }
    )


def _singles(pair: RunPair) -> Float:
    """Mean effect of each component on the cells that sets were measured in (K)."""
    alone = np.left_shift(np.int64(1), np.arange(pair.single.shape[0], dtype=np.int64))
    return np.asarray(pair.joint[np.searchsorted(pair.coalitions, alone)].mean(axis=1), dtype=np.float64)


def _marginals(pair: RunPair, orders: Int) -> tuple[Float, float]:
    """What each component adds when it joins, by order (P x K), and the value of everybody; means over cells."""
    joined = chain_coalitions(orders)[:, 1:]
    places = np.searchsorted(pair.coalitions, joined)
    if (pair.coalitions[np.minimum(places, pair.coalitions.size - 1)] != joined).any():
        raise ValueError(f"{pair.regulator} to {pair.target}: an order of joining holds a coalition not measured")
    values = pair.joint.mean(axis=1)[places]
    steps = np.diff(np.concatenate([np.zeros((orders.shape[0], 1)), values], axis=1), axis=1)
    return np.take_along_axis(steps, np.argsort(orders, axis=1), axis=1), float(values[0, -1])
