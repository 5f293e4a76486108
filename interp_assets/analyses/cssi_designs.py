"""Simulated cells of known states, scored pooled and within known, estimated and meaningless strata side by side.

What belongs here: one dataset of a design, its label sets, and what they recover. What does not: declared rows
(`cssi_validation`, `cssi_null`), generators and scores (`stats`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.stats.cssi import (
    AGGREGATORS,
    EdgeProducts,
    aggregate,
    called_edges,
    edge_p,
    edge_products,
    fisher_p,
    recovery,
    stratum_correlations,
)
from interp_assets.stats.state_mixtures import StateMixture
from interp_assets.stats.strata import (
    gene_permuted_scores,
    kmeans_strata,
    principal_scores,
    random_strata,
    resized_strata,
    shuffled_strata,
)

Float = NDArray[np.float64]
Int = NDArray[np.int64]

NULLS: Final = ("shuffled", "random", "gene_permuted")
KINDS: Final = ("oracle", "estimated", *NULLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One simulated dataset: its per-cell products, an embedding, and what pooled cells recover."""

    mixture: StateMixture
    products: EdgeProducts
    embedding: Float
    pooled: Float
    pooled_auroc: float
    pooled_f1: float

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(self.mixture.state.size)


def scored_dataset(mixture: StateMixture) -> Dataset:
    """Dataset with its pooled scores: absolute correlation over all cells."""
    values = mixture.expression
    products = edge_products(values[:, mixture.regulators], values[:, mixture.targets])
    pooled = stratum_correlations(products, np.zeros(mixture.state.size, dtype=np.int64), 1)[0][0, 0]
    auroc, f1 = recovery(np.abs(pooled), mixture.true)
    return Dataset(
        mixture=mixture,
        products=products,
        embedding=principal_scores(values),
        pooled=pooled,
        pooled_auroc=float(auroc),
        pooled_f1=float(f1),
    )


def null_embeddings(data: Dataset, draws: int, rng: np.random.Generator) -> list[Float]:
    """Embeddings of gene-permuted cells, one a draw."""
    return [gene_permuted_scores(data.mixture.expression, rng) for _ in range(draws)]


def label_sets(data: Dataset, strata: int, nulls: Sequence[Float], rng: np.random.Generator) -> dict[str, Int]:
    """Label sets of every kind with one number of strata (D x N each; one draw for known and estimated strata).

    Known states are merged or cut to the number asked for. Estimated strata and those of gene-permuted cells are made
    by the same rule; the shuffled ones keep the sizes of the known ones.
    """
    oracle = resized_strata(data.mixture.state, strata, rng)
    draws = len(nulls)
    return {
        "oracle": oracle[None],
        "estimated": kmeans_strata(data.embedding, strata, rng)[None],
        "shuffled": shuffled_strata(oracle, rng, draws),
        "random": random_strata(data.cells, strata, rng, draws),
        "gene_permuted": np.stack([kmeans_strata(embedding, strata, rng) for embedding in nulls]),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What label sets of one kind recover: by aggregator, one number a draw.

    ``false_share`` and ``power`` are of the called edges, for the aggregators that have a p. ``scored`` (D) counts
    the strata that reach the minimum size, ``smallest`` (D) the cells of the smallest of them (0 where there is none).
    """

    auroc: Mapping[str, Float]
    f1: Mapping[str, Float]
    false_share: Mapping[str, Float]
    power: Mapping[str, Float]
    scored: Int
    smallest: Int


def recovered(
    data: Dataset,
    labels: Int,
    strata: int,
    minimum: int,
    *,
    aggregators: Sequence[str] = AGGREGATORS,
    calls: np.random.Generator | None = None,
) -> Recovered:
    """Recovery of the true edges by stratified scores; with a generator in ``calls``, edges are called as well.

    Calling needs ``scenic`` among the aggregators.
    """
    score, size = stratum_correlations(data.products, labels, strata)
    combined = aggregate(score, size, data.pooled, aggregators, minimum=minimum)
    found = {name: recovery(values, data.mixture.true) for name, values in combined.items()}
    called: dict[str, Any] = {}
    if calls is not None:
        p = edge_p(score, size, combined["scenic"], minimum, calls)
        called = {name: called_edges(p[name], data.mixture.true) for name in aggregators if name in p}
    kept = size >= minimum
    return Recovered(
        auroc={name: values[0] for name, values in found.items()},
        f1={name: values[1] for name, values in found.items()},
        false_share={name: values[0] for name, values in called.items()},
        power={name: values[1] for name, values in called.items()},
        scored=kept.sum(axis=1),
        smallest=np.where(kept.any(axis=1), np.where(kept, size, np.iinfo(np.int64).max).min(axis=1), 0),
    )


def pooled_calls(data: Dataset) -> tuple[float, float]:
    """False share and power of the edges called from all cells together (Fisher z, Benjamini-Hochberg)."""
    false_share, power, _ = called_edges(fisher_p(data.pooled, data.cells), data.mixture.true)
    return float(false_share), float(power)


def run_rows(
    design: str, data: Dataset, seed: int, *, minimum: int, draws: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Rows of `cssi_runs` for one dataset: every kind of strata and aggregator, means over draws.

    Known states are taken as they are; the others use as many strata as there are states, or as many as the minimum
    size allows.
    """
    states = data.mixture.states
    strata = max(2, min(states, data.cells // minimum))
    sets = label_sets(data, strata, null_embeddings(data, draws, rng), rng)
    sets["oracle"] = data.mixture.state[None]
    rows = []
    for kind, labels in sets.items():
        k = states if kind == "oracle" else strata
        found = recovered(data, labels, k, minimum)
        about = {"design": design, "cells": data.cells, "states": states, "seed": seed, "strata": kind, "k": k}
        about |= {"draws": len(labels), "strata_scored": float(found.scored.mean()), "minimum": minimum}
        about |= {"true_edges": int(data.mixture.true.sum()), "candidate_edges": data.products.edges}
        about |= {"f1_pooled": data.pooled_f1, "auroc_pooled": data.pooled_auroc}
        for name in found.auroc:
            numbers = {"f1": _mean(found.f1[name]), "auroc": _mean(found.auroc[name])}
            numbers |= {"draws_scored": int(np.isfinite(found.f1[name]).sum())}
            rows.append({**about, "aggregator": name, **numbers})
    return rows


def _mean(values: Float) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
