"""Analysis 6: whether edge scores of regulator-target pairs carry over to another species.

What belongs here: the comparison and its rows. Which genes, regulators and cells are compared is in `ortholog_pairs`,
the tables behind the rows are in `ortholog_tables`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from interp_assets.analyses import ortholog_tables as tables
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, CellSample, Pooled
from interp_assets.analyses.ortholog_pairs import (
    ALL_CELLS,
    FEWEST_TARGETS,
    CellView,
    SpeciesPair,
    Transfer,
    species_pair,
)
from interp_assets.analyses.pooled import pooled_source
from interp_assets.analyses.rows import chosen_settings, collect, generator, row, sample_or_reason, skip, skip_all
from interp_assets.stats.edge_transfer import (
    permutation_p,
    permuted_agreement,
    regulator_bootstrap,
    shared_top,
    sign_agreement,
    spearman,
)
from interp_assets.stats.resampling import group_weights, percentile_interval
from qc_standards.records import TestResult

NUMBER: Final = 6
ROLE: Final = "species_pair"
TOPS: Final = (100, 500, 1000, 5000)
ROW_TOP: Final = 1000
FEWEST_PAIRS: Final = 30
NULLS: Final = ("gene_label", "gene_label_within_expression", "edge_label")
BESIDE: Final = 200  # most permutations of a null that no row rests on
WHY_GENES: Final = (
    "pairs that share a gene are not independent; permuting gene names keeps that, permuting edges does not"
)


def ortholog_transfer(inputs: AnalysisInputs) -> AnalysisOutput:
    """Agreement of signed Spearman edges of regulator-target pairs between two species.

    Pairs are those of shared regulators with every other shared gene. Filtered pairs have |rho| of at least
    ``ortholog_floor`` in both species; the values over all pairs stand beside, as the filter raises the agreement.
    Null of the rows: ``ortholog_permutations`` permutations of the gene names of one species, the filter applied anew
    in each; the tables also hold, with 200, gene names permuted within bands of expression and single edges permuted
    as published. Intervals resample regulators (``bootstrap``).

    Tables: `ortholog_edges` (filtered pairs with their category), `ortholog_summary` (by cells, filter and regulator
    class), `ortholog_null` (every statistic against every null), `ortholog_sign_bins`, `ortholog_overlap`,
    `ortholog_per_tf` and `ortholog_categories`. ``cells`` is `all` or `within_cell_type`: the mean over cell types that
    both species have, with equal weights, which no difference in composition can make.
    """
    used = chosen_settings(inputs, "ortholog_permutations", "ortholog_floor", "bootstrap")
    sample = sample_or_reason(inputs, ROLE)
    if isinstance(sample, str):
        return skip_all(inputs, sample)
    pair = species_pair(sample)
    if isinstance(pair, str):
        return skip_all(inputs, pair, role=sample)
    found = [_compare(inputs, view, used) for view in (pair.whole, pair.within) if isinstance(view, CellView)]
    both = pooled_source(one for one in (sample, sample.partner) if one is not None)
    results = [_row(inputs, both, pair, found, spec.test_id, used) for spec in inputs.tests]
    return collect(inputs, results, tables.all_tables(sample, pair, found, float(used["ortholog_floor"])))


def _compare(inputs: AnalysisInputs, view: CellView, used: dict[str, Any]) -> Transfer:
    edges, floor = view.edges, float(used["ortholog_floor"])
    passing = edges.passing(floor)
    asked = int(used["ortholog_permutations"])
    tops = tuple(dict.fromkeys(min(k, edges.first.size) for k in TOPS))
    # The same generators for every choice of cells and every null: they differ in what is permuted, not in luck.
    weights = group_weights(edges.regulators, int(used["bootstrap"]), generator(inputs, NUMBER, 1))
    nulls = {
        name: permuted_agreement(
            edges,
            floor,
            tops,
            generator(inputs, NUMBER, 2),
            asked if name == NULLS[0] and view.cells == ALL_CELLS else min(asked, BESIDE),
            label="edge" if name == "edge_label" else "gene",
            strata=view.band if name == "gene_label_within_expression" else None,
        )
        for name in NULLS
    }
    every = np.ones(passing.size, dtype=bool)
    return Transfer(
        view=view,
        passing=passing,
        spearman=spearman(edges.first[passing], edges.second[passing]),
        spearman_all=spearman(edges.first, edges.second),
        interval=percentile_interval(regulator_bootstrap(edges, passing, weights), requested=weights.shape[0]),
        interval_all=percentile_interval(regulator_bootstrap(edges, every, weights), requested=weights.shape[0]),
        sign_agreement=sign_agreement(edges.first[passing], edges.second[passing]),
        sign_agreement_all=sign_agreement(edges.first, edges.second),
        tops=tops,
        shared_top=tuple(shared_top(edges.first, edges.second, k) for k in tops),
        by_regulator=_by_regulator(view, passing),
        by_regulator_all=_by_regulator(view, every),
        nulls=nulls,
    )


def _by_regulator(view: CellView, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    edges = view.edges
    found = np.full(edges.regulators, np.nan)
    for regulator in range(edges.regulators):
        places = edges.of_regulator(regulator)
        places = places[kept[places]]
        if places.size >= FEWEST_TARGETS:
            found[regulator] = spearman(edges.first[places], edges.second[places])
    return found


def _row(
    inputs: AnalysisInputs,
    both: CellSample | Pooled,
    pair: SpeciesPair,
    found: list[Transfer],
    test_id: str,
    used: dict[str, Any],
) -> TestResult:
    whole = found[0]
    pairs = int(whole.passing.sum())
    interval = test_id == "A06.1"
    settings = _settings(pair, found, {k: v for k, v in used.items() if k != "bootstrap" or interval})
    if test_id != "A06.3" and pairs < FEWEST_PAIRS:
        told = (
            f"{pairs} pairs reach |rho| of {used['ortholog_floor']} in both species, {FEWEST_PAIRS} are needed; "
            "lower `ortholog_floor` or give datasets of more cells"
        )
        return skip(inputs, test_id, told, role=both, settings=settings)
    make = {"A06.1": _spearman, "A06.2": _signs, "A06.3": _overlap, "A06.4": _spread}[test_id]
    numbers = make(whole)
    if isinstance(numbers, str):
        return skip(inputs, test_id, numbers, role=both, settings=settings)
    return row(inputs, both, test_id, settings={**settings, **numbers.pop("told", {})}, layer=None, **numbers)


def _null_numbers(null: NDArray[np.float64]) -> dict[str, Any]:
    kept = null[np.isfinite(null)]
    return {
        "null_name": "gene names of one species permuted, regulators among regulators",
        "null_mean": kept.mean() if kept.size else None,
        "null_sd": kept.std(ddof=1) if kept.size > 1 else None,
        "resamples_requested": null.size,
        "resamples_done": kept.size,
    }


def _spearman(whole: Transfer) -> dict[str, Any]:
    null = whole.nulls["gene_label"].spearman
    return {
        "statistic": whole.spearman,
        "effect": whole.spearman,
        "ci_low": whole.interval.low,
        "ci_high": whole.interval.high,
        "p": permutation_p(whole.spearman, null, two_sided=True),
        "n": int(whole.passing.sum()),
        "direction": "rank correlation of the two species' edge scores over filtered pairs; above 0 means conserved; "
        "interval over regulators",
        **_null_numbers(null),
    }


def _signs(whole: Transfer) -> dict[str, Any]:
    null = whole.nulls["gene_label"].sign_agreement
    return {
        "statistic": whole.sign_agreement,
        "effect": whole.sign_agreement,
        "p": permutation_p(whole.sign_agreement, null),
        "n": int(whole.passing.sum()),
        "direction": "share of filtered pairs with the same sign in both species; .5 is no agreement",
        **_null_numbers(null),
    }


def _row_top(whole: Transfer) -> int:
    """Place in ``tops`` of the k told: 1,000, less where that is over a tenth of the pairs, at least the smallest."""
    most = min(ROW_TOP, whole.passing.size // 10)
    return max((at for at, k in enumerate(whole.tops) if k <= most), default=0)


def _overlap(whole: Transfer) -> dict[str, Any]:
    at = _row_top(whole)
    null = whole.nulls["gene_label"].shared_top[:, at].astype(np.float64)
    expected = float(null.mean())
    return {
        "statistic": float(whole.shared_top[at]),
        "effect": whole.shared_top[at] / expected if expected > 0 else float("nan"),
        "p": permutation_p(float(whole.shared_top[at]), null),
        "n": int(whole.view.edges.first.size),
        "reason": "" if expected > 0 else "no permutation shares a pair: no fold over chance; see ortholog_overlap",
        "direction": f"shared pairs among the {whole.tops[at]} strongest of all pairs in each species over the number "
        "expected by chance; above 1 means more than chance",
        "told": {"k": whole.tops[at]},
        **_null_numbers(null),
    }


def _spread(whole: Transfer) -> dict[str, Any] | str:
    values = whole.by_regulator[np.isfinite(whole.by_regulator)]
    if values.size < 2:
        return f"{values.size} regulator has {FEWEST_TARGETS} filtered pairs; a range needs two"
    gene = whole.nulls["gene_label"]
    told = np.where(gene.pairs_by_regulator >= FEWEST_TARGETS, gene.by_regulator, np.nan)
    null = np.array([np.ptp(line[np.isfinite(line)]) if np.isfinite(line).sum() > 1 else np.nan for line in told])
    names = whole.view.genes[: whole.view.edges.regulators]
    low, high = int(np.nanargmin(whole.by_regulator)), int(np.nanargmax(whole.by_regulator))
    return {
        "statistic": float(np.median(values)),
        "effect": float(values.max() - values.min()),
        "n": int(values.size),
        "direction": "highest minus lowest Spearman correlation of a regulator over its filtered pairs, the statistic "
        "is the median; a range grows with the number of regulators and with few pairs each: read the null beside it",
        "told": {
            "highest": [str(names[high]), float(values.max())],
            "lowest": [str(names[low]), float(values.min())],
            "all_pairs_range": float(np.nanmax(whole.by_regulator_all) - np.nanmin(whole.by_regulator_all)),
        },
        **_null_numbers(null),
    }


def _settings(pair: SpeciesPair, found: list[Transfer], used: dict[str, Any]) -> dict[str, Any]:
    whole = found[0]
    within = found[1] if len(found) > 1 else None
    edge, gene = whole.nulls["edge_label"], whole.nulls["gene_label"]
    return {
        **used,
        **pair.facts,
        "all_pairs": int(whole.passing.size),
        "all_pairs_null_mean": float(gene.spearman_all.mean()),
        "all_pairs_sign_agreement": _number(whole.sign_agreement_all),
        "all_pairs_spearman": _number(whole.spearman_all),
        "cells": "all control cells",
        "edge_label_null_sd": _null_numbers(edge.spearman)["null_sd"],
        "least_targets": FEWEST_TARGETS,
        "missing_rule": "constant genes left out; within cell types also genes that share no type with a partner",
        "null": WHY_GENES,
        "reference": pair.reference,
        "score": "signed Spearman",
        "within_cell_type_spearman": _number(within.spearman) if within is not None else None,
        "within_cell_type_genes_left_out": within.view.left_out if within is not None else None,
        "within_cell_type_reason": pair.within if isinstance(pair.within, str) else "",
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
