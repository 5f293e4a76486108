"""The planted network: gene universe, perturbed regulators, direct and indirect edges with weights.

Weights depend on the known pairs and on gene variance only, never on correlation, so that co-expression has
no route to the planted truth except through real pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.cells.moments import detection, moments
from interp_assets.cells.planted_params import PlantedParams
from interp_assets.cells.records import PreparedCells

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneMoments:
    """Mean and variance of log1p counts per 10,000, share of cells with a count, share of all counts."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    detection: NDArray[np.float64]
    count_share: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedNetwork:
    """A signed network over a gene universe; the truth that one or more planted screens share.

    ``weight`` is regulators x universe, float32, 0 where there is no edge. ``state_bound`` marks edges that
    act in one cell state only. ``edges`` lists tf, target, weight, kind (direct or indirect), state_bound.
    ``eligible`` are genes an effect may move; ``variance_score`` is the normal score of log variance.
    """

    universe: NDArray[np.str_]
    regulators: NDArray[np.str_]
    weight: NDArray[np.float32]
    state_bound: NDArray[np.bool_]
    edges: pd.DataFrame
    eligible: NDArray[np.bool_]
    variance_score: NDArray[np.float64]
    facts: dict[str, Any] = field(default_factory=dict)


def gene_moments(base: PreparedCells, cells: NDArray[np.bool_]) -> GeneMoments:
    """Moments of every gene over the marked cells; all measured genes, variance with ddof 1."""
    rows = np.flatnonzero(cells)
    if len(rows) < 2:
        raise ValueError(f"{base.dataset}: {len(rows)} cells are marked; moments need at least 2")
    mean, variance = moments(base.log[rows])
    counts = base.counts[rows]
    total = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()
    return GeneMoments(mean=mean, variance=variance, detection=detection(counts), count_share=total / total.sum())


def control_pool(base: PreparedCells, params: PlantedParams) -> NDArray[np.bool_]:
    """Control cells of the wanted types (base order): what is perturbed, and what it is compared with."""
    if params.cell_types is None:
        return base.control
    return base.control & cell_annotation(base, params).isin(params.cell_types).to_numpy()


def cell_annotation(base: PreparedCells, params: PlantedParams) -> pd.Series[Any]:
    """Cell type of every cell as text.

    Raises
    ------
    ValueError
        If `obs` lacks the column named by ``cell_type_column``.
    """
    if params.cell_type_column not in base.obs.columns:
        raise ValueError(
            f"{base.dataset}: obs has no column {params.cell_type_column!r} (cell_type_column); "
            f"columns are {', '.join(map(str, base.obs.columns))}"
        )
    return base.obs[params.cell_type_column].astype(str)


def draw_universe(
    genes: NDArray[np.str_], by_gene: GeneMoments, pairs: pd.DataFrame, params: PlantedParams
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Universe (order of `genes`) and perturbed regulators (most known targets first).

    The genes of highest variance fill ``top_variance_share`` of the universe, genes drawn at random among the
    detected ones the rest; the regulators are then forced in for the genes of lowest variance.
    """
    rng = np.random.default_rng([params.network_seed, 0])
    by_variance = np.argsort(-by_gene.variance, kind="stable")
    top = by_variance[: round(params.top_variance_share * params.n_genes)]
    others = np.flatnonzero(by_gene.detection >= params.universe_detection)
    others = np.setdiff1d(others, top)
    rest = params.n_genes - len(top)
    if len(others) < rest:
        raise ValueError(
            f"n_genes = {params.n_genes}, but only {len(others) + len(top)} genes are seen in "
            f"{params.universe_detection:.0%} of cells; lower n_genes or universe_detection"
        )
    universe = np.concatenate([top, rng.choice(others, size=rest, replace=False)])
    regulators = _regulators(genes, np.isin(np.arange(len(genes)), universe), by_gene, pairs, params)
    missing = np.setdiff1d(regulators, universe)
    removable = np.setdiff1d(universe, regulators)
    removed = removable[np.argsort(by_gene.variance[removable], kind="stable")][: len(missing)]
    chosen = np.sort(np.concatenate([np.setdiff1d(universe, removed), missing]))
    return genes[chosen], genes[regulators]


def _regulators(
    genes: NDArray[np.str_],
    in_universe: NDArray[np.bool_],
    by_gene: GeneMoments,
    pairs: pd.DataFrame,
    params: PlantedParams,
) -> NDArray[np.int64]:
    """Indices of the perturbed regulators: detected, well documented, most targets in the universe first."""
    adjacency = adjacency_matrix(genes, pairs)
    documented = pairs.loc[pairs["tf"] != pairs["target"]].groupby("tf")["target"].nunique()
    known = documented.reindex(genes, fill_value=0).to_numpy()
    targets = np.asarray(adjacency @ in_universe.astype(np.int64)).ravel()
    ready = (
        (by_gene.detection >= params.regulator_detection)
        & (known >= params.min_known_targets)
        & (targets >= params.min_universe_targets)
    )
    if params.universe is not None:
        ready &= in_universe
    candidates = np.flatnonzero(ready)
    ordered = candidates[np.lexsort((genes[candidates], -targets[candidates]))]
    if len(ordered) < params.n_perturbations:
        raise ValueError(
            f"n_perturbations = {params.n_perturbations}, but only {len(ordered)} regulators are seen in "
            f"{params.regulator_detection:.0%} of cells with {params.min_universe_targets} known targets in "
            "the universe; lower n_perturbations or regulator_detection"
        )
    return ordered[: params.n_perturbations]


def adjacency_matrix(genes: NDArray[np.str_], pairs: pd.DataFrame) -> csr_matrix:
    """Genes x genes indicator of the known pairs, self pairs and unmeasured genes dropped."""
    from scipy import sparse

    missing = {"tf", "target"} - set(pairs.columns)
    if missing:
        raise ValueError(f"known pairs lack the column {', '.join(sorted(missing))}; give tf and target")
    index = pd.Index(genes)
    source = index.get_indexer(pairs["tf"])
    target = index.get_indexer(pairs["target"])
    keep = (source >= 0) & (target >= 0) & (source != target)
    size = (len(genes), len(genes))
    matrix = sparse.coo_matrix((np.ones(keep.sum(), dtype=np.int64), (source[keep], target[keep])), shape=size)
    csr = matrix.tocsr()
    csr.data[:] = 1
    return csr


def draw_network(
    genes: NDArray[np.str_], by_gene: GeneMoments, pairs: pd.DataFrame, params: PlantedParams
) -> PlantedNetwork:
    """Planted network over the universe of `params`, or over a drawn one.

    Known targets are drawn first, up to a Poisson number a regulator, by variance; targets of two-step paths
    fill what is left with a smaller effect. In a 1,200-gene universe most regulators have few known targets,
    so without the second step the asked number would silently become "all of them".

    Raises
    ------
    ValueError
        If fewer than ``min_filled_share`` of the asked edges exist.
    """
    universe, regulators = _universe_and_regulators(genes, by_gene, pairs, params)
    index = pd.Index(genes)
    columns = index.get_indexer(universe)
    score = normal_score(by_gene.variance[columns])
    eligible = (by_gene.mean[columns] > params.target_mean_floor) & (
        by_gene.count_share[columns] < params.max_count_share
    )
    adjacency = adjacency_matrix(genes, pairs)
    rows = index.get_indexer(regulators)
    direct = np.asarray(adjacency[rows][:, columns].todense()) > 0
    paths = np.asarray((adjacency[rows] @ adjacency[:, columns]).todense(), dtype=np.float64)
    allowed = np.broadcast_to(eligible, direct.shape) & (universe[None, :] != regulators[:, None])
    rng = np.random.default_rng([params.network_seed, 1])
    edges, asked = _draw_edges(direct & allowed, np.where(allowed & ~direct, paths, 0.0), score, params, rng)
    if len(edges) < params.min_filled_share * asked:
        raise ValueError(
            f"edges_per_regulator = {params.edges_per_regulator:g} asks for {asked} edges, the known pairs "
            f"offer {len(edges)}; lower it, lower target_mean_floor or give more pairs"
        )
    weight = np.zeros(direct.shape, dtype=np.float32)
    weight[edges["row"], edges["column"]] = edges["weight"]
    bound = np.zeros(direct.shape, dtype=bool)
    bound[edges["row"], edges["column"]] = edges["state_bound"]
    edges.insert(0, "tf", regulators[edges["row"]])
    edges.insert(1, "target", universe[edges["column"]])
    return PlantedNetwork(
        universe=universe,
        regulators=regulators,
        weight=weight,
        state_bound=bound,
        edges=edges.drop(columns=["row", "column"]),
        eligible=eligible,
        variance_score=score,
        facts={
            "network_seed": params.network_seed,
            "edges_asked": asked,
            "edges_drawn": len(edges),
            "edges_direct": int((edges["kind"] == "direct").sum()),
            "eligible_targets": int(eligible.sum()),
        },
    )


def _universe_and_regulators(
    genes: NDArray[np.str_], by_gene: GeneMoments, pairs: pd.DataFrame, params: PlantedParams
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    if params.universe is None:
        return draw_universe(genes, by_gene, pairs, params)
    given = np.array(params.universe, dtype=str)
    unknown = np.setdiff1d(given, genes)
    if len(unknown):
        raise ValueError(
            f"universe names {len(unknown)} genes that the cells lack, such as {', '.join(unknown[:5])}; "
            "restrict it to measured genes"
        )
    regulators = genes[_regulators(genes, np.isin(genes, given), by_gene, pairs, params)]
    return given, regulators


def normal_score(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal scores of the ranks: Phi^-1((rank - .5) / n), ties at their mean rank.

    >>> normal_score(np.array([3.0, 1.0, 2.0])).round(3).tolist()
    [0.967, -0.967, 0.0]
    """
    from scipy.stats import norm, rankdata

    return np.asarray(norm.ppf((rankdata(values) - 0.5) / len(values)))


def _draw_edges(
    direct: NDArray[np.bool_],
    paths: NDArray[np.float64],
    score: NDArray[np.float64],
    params: PlantedParams,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, int]:
    """Edges as (row, column, weight, kind, state_bound), and how many were asked for."""
    tilt = np.exp(params.kappa * score)
    asked = rng.poisson(params.edges_per_regulator, size=len(direct))
    row: list[NDArray[np.int64]] = []
    column: list[NDArray[np.int64]] = []
    kind: list[str] = []
    for r, count in enumerate(asked):
        known = _weighted_sample(np.flatnonzero(direct[r]), tilt, int(count), rng)
        reach = np.sqrt(paths[r]) * tilt
        further = _weighted_sample(np.flatnonzero(reach > 0), reach, int(count) - len(known), rng)
        row.append(np.full(len(known) + len(further), r))
        column += [known, further]
        kind += ["direct"] * len(known) + ["indirect"] * len(further)
    kinds = np.array(kind)
    size = rng.lognormal(np.log(params.effect), params.effect_sd, size=len(kinds))
    size[kinds == "indirect"] *= params.indirect_factor
    sign = np.where(rng.random(len(kinds)) < params.positive_share, 1.0, -1.0)
    bound = (rng.random(len(kinds)) < params.state_share) & (kinds == "direct")
    frame = pd.DataFrame(
        {
            "row": np.concatenate(row),
            "column": np.concatenate(column),
            "weight": (sign * size).astype(np.float32),
            "kind": kinds,
            "state_bound": bound,
        }
    )
    return frame, int(asked.sum())


def _weighted_sample(
    candidates: NDArray[np.int64], chance: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """`count` candidates without replacement, or all of them when there are not more."""
    if len(candidates) <= count:
        return candidates
    p = chance[candidates]
    return rng.choice(candidates, size=count, replace=False, p=p / p.sum())
