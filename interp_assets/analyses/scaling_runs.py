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
    relabelled_metrics,
    run_scores,
)
from interp_assets.analyses.inputs import AnalysisInputs
from interp_assets.analyses.rows import chosen_settings, generator
from interp_assets.stats.ranking import auroc
from interp_assets.stats.recovery import jaccard, spearman, top_edges

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
    kept: dict[tuple[int, int], Recovered] = {}
    pairs: list[dict[str, object]] = []
    wanted = int(chosen_settings(inputs, "mantel_permutations")["mantel_permutations"])
    targets = [
        relabelled_copies(source, reference, generator(inputs, NUMBER, 6, place), wanted)
        for place, reference in enumerate(source.references[:2])
    ]
    copies = {one.name: np.empty((seeds, len(counts), wanted)) for one in source.references[:2]}
    for seed in range(seeds):
        order = generator(inputs, NUMBER, 1, seed).permutation(source.count)
        for at, count in enumerate(counts):
            cells = np.sort(order[:count])
            own, _ = run_scores(source, cells, ATTENTION)
            for one, moved in zip(source.references[:2], targets, strict=True):
                copies[one.name][seed, at] = relabelled_metrics(one, own, moved)["f1"]
            for edge in EDGES:
                lines += _run(source, seed, count, cells, edge, np.sort(order[: counts[LOW]]), kept)
            if 2 * count <= source.count:
                other, _ = run_scores(source, np.sort(order[count : 2 * count]), ATTENTION)
                first, second = kept[seed, count].scores, source.references[0].of(other)
                pairs.append(_pair(source, count, seed, seed, first, second, disjoint=True))
    for one, two in combinations(range(seeds), 2):
        if one // SEEDS_IN_A_TIER == two // SEEDS_IN_A_TIER:
            pairs += [_pair(source, n, one, two, kept[one, n].scores, kept[two, n].scores) for n in counts]
    frame = pd.DataFrame(pairs).sort_values(["disjoint", "cells", "first_seed", "second_seed"], ignore_index=True)
    return Scaling(source=source, counts=counts, runs=pd.DataFrame(lines), pairs=frame, copies=copies)


def _run(
    source: RunCells,
    seed: int,
    count: int,
    cells: NDArray[np.int64],
    edge: str,
    fewest: NDArray[np.int64],
    kept: dict[tuple[int, int], Recovered],
) -> list[dict[str, object]]:
    """Lines of one run, one a reference; the scores of the main edge are put into ``kept``."""
    scores, observed = run_scores(source, cells, edge)
    types, entropy = observed_types(source, cells)
    lines = []
    for number, reference in enumerate(source.references[:2]):
        found = recovered(reference, scores, TOP)
        if edge == ATTENTION and number == 0:
            kept[seed, count] = found
        lines.append(
            {
                "seed": seed,
                "cells": count,
                "edge": edge,
                "layer": source.layer if edge == ONE_LAYER else -1,
                "reference": reference.name,
                "primary": number == 0,
                **_numbers(reference, found),
                "auroc_seen_by_fewest": _seen(source, reference, found, fewest) if edge == ATTENTION else np.nan,
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


def _seen(source: RunCells, reference: RunReference, found: Recovered, fewest: NDArray[np.int64]) -> float:
    """AUROC over the pairs that the smallest draw of this seed holds: more cells cannot gain by seeing new pairs."""
    seen = reference.of(source.averaged.counts(fewest)) > 0
    label = np.where(seen, reference.positive, -1).astype(np.int8)
    return float(auroc(found.scores[None, :], label[None, :])[0])


def _pair(
    source: RunCells,
    count: int,
    first_seed: int,
    second_seed: int,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
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
        "jaccard": jaccard(top_edges(first, kept), top_edges(second, kept)),
        "jaccard_by_chance": kept / (2.0 * first.size - kept),
        "spearman": spearman(first, second),
    }
