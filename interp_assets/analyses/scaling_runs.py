"""Runs of analysis 1: three numbers of cells over independent draws, each scored by a kept network and by all pairs.

What belongs here: drawing, scoring and pairing of runs. What does not: tests over them (`analyses.scaling`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.cell_runs import (
    ATTENTION,
    CORRELATION,
    ONE_LAYER,
    Recovered,
    RunCells,
    RunReference,
    observed_types,
    recovered,
    relabelled_copies,
    relabelled_f1,
    run_scores,
)
from interp_assets.analyses.inputs import AnalysisInputs
from interp_assets.analyses.rows import chosen_settings, generator
from interp_assets.stats.ranking import auroc
from interp_assets.stats.recovery import jaccard, spearman, top_edges

Scored = tuple[NDArray[np.float64], NDArray[np.bool_]]

NUMBER: Final = 1
EDGES: Final = (ATTENTION, ONE_LAYER, CORRELATION)
LOW, MIDDLE, HIGH = 0, 1, 2
TOP: Final = (20, 50, 100, 200, 500)
SEEDS_IN_A_TIER: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """All runs of one evaluation: one line a seed, count, edge and reference, and one a pair of seeds.

    ``copies`` by reference is F1 of the layer mean for every relabelled copy of it (seeds x counts x B).
    """

    source: RunCells
    counts: tuple[int, ...]
    runs: pd.DataFrame
    pairs: pd.DataFrame
    copies: Mapping[str, NDArray[np.float64]]

    def differences(self, reference: str, metric: str, at: int = MIDDLE) -> NDArray[np.float64]:
        """Metric of each seed at one count minus the low count, layer mean of attention."""
        wide = self.values(reference, metric)
        return wide[:, at] - wide[:, LOW]

    def values(self, reference: str, metric: str) -> NDArray[np.float64]:
        """Metric of the layer mean of attention, seeds x counts."""
        chosen = self.runs[(self.runs["edge"] == ATTENTION) & (self.runs["reference"] == reference)]
        wide = chosen.pivot(index="seed", columns="cells", values=metric)
        return wide[list(self.counts)].to_numpy(np.float64)


def scaled(inputs: AnalysisInputs, source: RunCells, counts: tuple[int, ...], seeds: int) -> Scaling:
    """All runs of the seeds, pairs of seeds within a tier, and pairs of draws of a seed that share no cell."""
    lines: list[dict[str, object]] = []
    kept: dict[tuple[int, int], _Kept] = {}
    pairs: list[dict[str, object]] = []
    wanted = int(chosen_settings(inputs, "mantel_permutations")["mantel_permutations"])
    targets = [
        relabelled_copies(source, reference, generator(inputs, NUMBER, 6, place), wanted)
        for place, reference in enumerate(source.references[:2])
    ]
    copies = {one.name: np.empty((seeds, len(counts), wanted)) for one in source.references[:2]}
    for seed in range(seeds):
        order = generator(inputs, NUMBER, 1, seed).permutation(source.count)
        fewest = source.averaged.counts(np.sort(order[: counts[LOW]])) > 0
        for at, count in enumerate(counts):
            cells = np.sort(order[:count])
            own = run_scores(source, cells, ATTENTION)
            kept[seed, count] = _kept(source, own[0])
            for one, moved in zip(source.references[:2], targets, strict=True):
                copies[one.name][seed, at] = relabelled_f1(one, own[0], moved)
            for edge in EDGES:
                scored = own if edge == ATTENTION else run_scores(source, cells, edge)
                lines += _run(source, seed, cells, edge, scored, fewest)
            if 2 * count <= source.count:
                other, _ = run_scores(source, np.sort(order[count : 2 * count]), ATTENTION)
                pairs.append(_pair(source, count, seed, seed, kept[seed, count], _kept(source, other), disjoint=True))
    for one, two in combinations(range(seeds), 2):
        if one // SEEDS_IN_A_TIER == two // SEEDS_IN_A_TIER:
            pairs += [_pair(source, n, one, two, kept[one, n], kept[two, n]) for n in counts]
    frame = pd.DataFrame(pairs).sort_values(["disjoint", "cells", "first_seed", "second_seed"], ignore_index=True)
    return Scaling(source=source, counts=counts, runs=pd.DataFrame(lines), pairs=frame, copies=copies)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Candidate scores of one draw for the primary reference, and the places of the edges it keeps."""

    scores: NDArray[np.float64]
    edges: NDArray[np.intp]


def _kept(source: RunCells, scores: NDArray[np.float64]) -> _Kept:
    reference = source.references[0]
    values = reference.of(scores)
    return _Kept(values, top_edges(values, reference.kept))


def _run(
    source: RunCells, seed: int, cells: NDArray[np.int64], edge: str, scored: Scored, fewest: NDArray[np.bool_]
) -> list[dict[str, object]]:
    """Lines of one run, one a reference; ``fewest`` are the pairs that the smallest draw of the seed holds."""
    scores, observed = scored
    types, entropy = observed_types(source, cells)
    lines = []
    for number, reference in enumerate(source.references[:2]):
        found = recovered(reference, scores, TOP)
        lines.append(
            {
                "seed": seed,
                "cells": cells.size,
                "edge": edge,
                "layer": source.layer if edge == ONE_LAYER else -1,
                "reference": reference.name,
                "primary": number == 0,
                **_numbers(reference, found),
                "auroc_seen_by_fewest": _seen(reference, found, fewest) if edge == ATTENTION else np.nan,
                "observed_types": types,
                "type_entropy": entropy,
                "missing_share": float(1.0 - observed[reference.rows][reference.candidate].mean()),
            }
        )
    return lines


def _numbers(reference: RunReference, found: Recovered) -> dict[str, object]:
    top = found.top
    numbers: dict[str, object] = {
        "kept": int(top.k[-1]),
        "positives": int(reference.member.sum()),
        "pairs": int(reference.candidate.sum()),
        "hits": float(top.hits[-1]),
        "expected": float(top.expected[-1]),
        "f1": float(top.f1[-1]),
        "recall": float(top.recall[-1]),
        "auroc": found.auroc,
        "auprc": found.auprc,
    }
    for place, k in enumerate(TOP):
        numbers |= {f"f1_{k}": float(top.f1[place]), f"recall_{k}": float(top.recall[place])}
    return numbers


def _seen(reference: RunReference, found: Recovered, fewest: NDArray[np.bool_]) -> float:
    """AUROC over the pairs that the smallest draw of this seed holds: more cells cannot gain by seeing new pairs."""
    seen = fewest[reference.rows][reference.candidate]
    label = np.where(seen, reference.positive, -1).astype(np.int8)
    return float(auroc(found.scores[None, :], label[None, :])[0])


def _pair(
    source: RunCells,
    count: int,
    first_seed: int,
    second_seed: int,
    first: _Kept,
    second: _Kept,
    *,
    disjoint: bool = False,
) -> dict[str, object]:
    kept = source.references[0].kept
    return {
        "cells": count,
        "first_seed": first_seed,
        "second_seed": second_seed,
        "tier": first_seed // SEEDS_IN_A_TIER,
        "disjoint": disjoint,
        "cells_in_common": 0.0 if disjoint else count / source.count,
        "kept": kept,
        "jaccard": jaccard(first.edges, second.edges),
        "jaccard_by_chance": kept / (2.0 * first.scores.size - kept),
        "spearman": spearman(first.scores, second.scores),
    }
