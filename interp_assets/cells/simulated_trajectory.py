"""Simulated trajectories: counts of cells along one lineage, with regulators that move before or with their targets.

What belongs here: the knobs and the recipe. What does not: how a trajectory is tested. Everything made here has
``data_origin`` ``simulated``: gene names are real, nothing else is.

Every gene follows a smooth random curve along time from 0 to 1, and each cell draws negative binomial counts around the
curves. A target repeats the curve of its regulator with the sign of the pair: delayed by a known lag in a stated share
of the pairs, without delay in the others. The other genes have curves of their own and tell where on the way a cell is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.dataset_records import DatasetSpec
from interp_assets.cells.declared import DeclarationError
from interp_assets.cells.prepare import cells_hash, normalised_log
from interp_assets.cells.records import PreparedCells

if TYPE_CHECKING:
    from interp_assets.edges.records import Reference

TRUTH = "true_pseudotime"
FINEST = 501  # points of a curve
EARLY_SHARE = 0.1
REPRESSING = 0.3  # share of pairs of unknown direction that repress


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryParams:
    """Knobs of a simulated trajectory.

    ``pairs`` regulator-target pairs of distinct genes, of which ``leading_share`` have a target that follows ``lag``
    later (a share of the whole way). ``background`` other genes. ``mean_count`` is the typical count of a gene in a
    cell, ``amplitude`` the natural-log spread of a curve, ``smoothness`` and ``background_smoothness`` the length over
    which a curve changes, ``dispersion`` that of the negative binomial, ``depth_sd`` the log spread of cell totals.
    """

    seed: int = 0
    cells: int = 600
    pairs: int = 24
    leading_share: float = 0.25
    lag: float = 0.06
    background: int = 400
    mean_count: float = 4.0
    amplitude: float = 0.9
    smoothness: float = 0.05
    background_smoothness: float = 0.15
    dispersion: float = 0.1
    depth_sd: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated, naming the knob."""
        for name, least in (("cells", 20), ("pairs", 1), ("background", 0), ("seed", 0)):
            found = getattr(self, name)
            if isinstance(found, bool) or not isinstance(found, int) or found < least:
                raise ValueError(f"{name} = {found!r}; a whole number of at least {least} is needed")
        for name in ("leading_share", "lag"):
            if not 0.0 <= getattr(self, name) <= (1.0 if name == "leading_share" else 0.5):
                raise ValueError(f"{name} = {getattr(self, name)!r} is out of range")
        for name in ("mean_count", "amplitude", "smoothness", "background_smoothness", "dispersion"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)!r} must be above 0")


def trajectory_params(spec: DatasetSpec) -> TrajectoryParams:
    """Knobs declared under ``simulated``.

    Raises
    ------
    DeclarationError
        Names the file and the key of an unknown knob or a value the recipe refuses.
    """
    known = [knob.name for knob in fields(TrajectoryParams)]
    unknown = sorted(set(spec.simulated) - set(known))
    if unknown:
        raise DeclarationError(
            f"{spec.file}: key `simulated.{unknown[0]}`: is not known here; known keys: {', '.join(known)}. "
            "Remove or rename it."
        )
    try:
        return TrajectoryParams(**spec.simulated)
    except (TypeError, ValueError) as error:
        raise DeclarationError(f"{spec.file}: key `simulated`: {error}. Correct the value.") from error


def simulated_pairs(pairs: pd.DataFrame, params: TrajectoryParams) -> pd.DataFrame:
    """Pairs of the trajectory, no gene in two of them: columns tf, target, direction (1 or -1) and lag (0 or more).

    Drawn from the network's pairs, those of stated direction where there are any; otherwise the sign is drawn too.

    Raises
    ------
    ValueError
        If the network has too few pairs of distinct genes.
    """
    rng = np.random.default_rng([params.seed, 1])
    stated = "direction" in pairs.columns and bool(pairs["direction"].isin((1, -1)).any())
    offered = pairs[pairs["direction"].isin((1, -1))] if stated else pairs
    taken: set[str] = set()
    rows: list[dict[str, Any]] = []
    for at in rng.permutation(len(offered)):
        pair = offered.iloc[int(at)]
        if len(rows) == params.pairs:
            break
        if pair["tf"] in taken or pair["target"] in taken:
            continue
        taken |= {pair["tf"], pair["target"]}
        sign = int(pair["direction"]) if stated else (-1 if rng.random() < REPRESSING else 1)
        rows.append({"tf": pair["tf"], "target": pair["target"], "direction": sign})
    if len(rows) < params.pairs:
        raise ValueError(f"pairs = {params.pairs}, but the network has {len(rows)} of distinct genes; ask for fewer")
    leading = round(params.leading_share * params.pairs)
    lag = np.where(np.arange(params.pairs) < leading, params.lag, 0.0)
    return pd.DataFrame(rows).assign(lag=rng.permutation(lag))


def simulate(spec: DatasetSpec, pairs: pd.DataFrame) -> PreparedCells:
    """Cells of a simulated trajectory; every gene is scored and every cell is a control cell.

    ``obs`` holds ``early`` (yes for the first tenth of the way) and the truth, ``true_pseudotime``, which is for tests:
    no analysis may read it.

    Parameters
    ----------
    pairs
        Pairs of the declared network (columns tf, target, where known direction).
    """
    from scipy.sparse import csr_matrix

    params = trajectory_params(spec)
    chosen = simulated_pairs(pairs, params)
    rng = np.random.default_rng([params.seed, 2])
    time = rng.permutation((np.arange(params.cells) + 0.5) / params.cells)
    regulator = _curves(params.pairs, params.smoothness, rng)
    lag = chosen["lag"].to_numpy()[:, None]
    sign = chosen["direction"].to_numpy()[:, None]
    others = _background_names(pairs, chosen, params, rng)
    background = _curves(len(others), params.background_smoothness, rng)
    level = np.vstack(
        [_at(regulator, time[None, :], 0.0), sign * _at(regulator, time[None, :], lag), _at(background, time, 0.0)]
    )
    genes = np.array([*chosen["tf"], *chosen["target"], *others], dtype=np.str_)
    counts = csr_matrix(_counts(level.T, params, rng))
    names = np.array([f"{spec.id}-{number:04d}" for number in range(params.cells)], dtype=np.str_)
    early = np.where(time < EARLY_SHARE, "yes", "no").astype(object)
    return PreparedCells(
        dataset=spec.id,
        species=spec.species,
        data_origin=spec.data_origin,
        counts=counts,
        log=normalised_log(counts),
        genes=genes,
        obs=pd.DataFrame({"early": early, TRUTH: time}, index=pd.Index(names.astype(object), name="cell")),
        control=np.ones(params.cells, dtype=bool),
        cells_hash=cells_hash(names),
        universe=genes,
        facts={
            "cells": params.cells,
            "genes": int(genes.size),
            "pairs": len(chosen),
            "pairs_leading": int((chosen["lag"] > 0).sum()),
            "pairs_activating": int((chosen["direction"] == 1).sum()),
            "seed": params.seed,
        },
    )


def simulated_reference(spec: DatasetSpec, pairs: pd.DataFrame, genes: NDArray[np.str_], name: str) -> Reference:
    """Pairs of a simulated trajectory with their signs as a reference inside a gene list; it says nothing of lags."""
    from interp_assets.edges.references import signed_reference

    chosen = simulated_pairs(pairs, trajectory_params(spec))
    return signed_reference(name, chosen[["tf", "target", "direction"]], genes)


def _background_names(
    pairs: pd.DataFrame, chosen: pd.DataFrame, params: TrajectoryParams, rng: np.random.Generator
) -> list[str]:
    known = np.unique(pairs[["tf", "target"]].to_numpy(dtype=np.str_))
    free = np.setdiff1d(known, chosen[["tf", "target"]].to_numpy(dtype=np.str_))
    if free.size < params.background:
        raise ValueError(
            f"background = {params.background}, but the network has {free.size} other genes; ask for fewer"
        )
    names: list[str] = rng.choice(free, params.background, replace=False).tolist()
    return names


def _curves(count: int, smoothness: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth random curves (count x points) of mean 0 and spread 1: white noise under a Gaussian of that width.

    Drawn over the way from -1 to 1, so that a delayed copy knows what came before the start.
    """
    from scipy.ndimage import gaussian_filter1d

    points = 2 * FINEST - 1
    found = gaussian_filter1d(rng.normal(size=(count, points)), smoothness * (FINEST - 1), axis=1, mode="wrap")
    visible = found[:, FINEST - 1 :]
    centre, spread = visible.mean(axis=1, keepdims=True), visible.std(axis=1, keepdims=True)
    return np.asarray((found - centre) / spread)


def _at(curves: NDArray[np.float64], time: NDArray[np.float64], lag: Any) -> NDArray[np.float64]:
    """Curves read at each cell's time minus the lag of each curve (curves x cells)."""
    when = np.broadcast_to(np.asarray(time) - lag, (curves.shape[0], np.asarray(time).shape[-1]))
    place = np.rint((when + 1.0) * (FINEST - 1)).astype(np.int64)
    return np.take_along_axis(curves, place, axis=1)


def _counts(level: NDArray[np.float64], params: TrajectoryParams, rng: np.random.Generator) -> NDArray[np.int32]:
    """Negative binomial counts (cells x genes) as Poisson counts of gamma rates around the curves."""
    gene = rng.lognormal(np.log(params.mean_count), 0.5, level.shape[1])
    depth = rng.lognormal(0.0, params.depth_sd, (level.shape[0], 1))
    mean = depth * gene * np.exp(params.amplitude * level - params.amplitude**2 / 2)
    shape = 1.0 / params.dispersion
    return rng.poisson(rng.gamma(shape, mean / shape)).astype(np.int32)
