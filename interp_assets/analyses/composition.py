"""Analysis 13: whether recovery follows the number of cells, or how many cell states are mixed in them.

A thresholded and a continuous metric stand side by side for every trend, because the published ones differ in sign, and
correlation of the same cells stands beside attention, because one source speaks of correlation edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.cell_runs import (
    ATTENTION,
    CORRELATION,
    KEPT_SHARE,
    RunCells,
    observed_types,
    recovered,
    relabelled_copies,
    relabelled_metrics,
    run_cells,
    run_scores,
)
from interp_assets.analyses.composition_draws import ARMS, Draw, composition_draws
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput
from interp_assets.analyses.rows import chosen_settings, collect, generator, row, skip, skip_all
from interp_assets.stats.recovery import Alternative, partial_spearman, permuted_spearman, spearman_draws
from interp_assets.stats.relabelled import relabelled_p, relabelled_trends
from interp_assets.stats.resampling import bootstrap_statistic, percentile_interval
from qc_standards.records import TestResult

Null = Mapping[str, NDArray[np.float64]]

NUMBER: Final = 13
ROLE: Final = "tissues[2]"
SETTINGS: Final = ("analysis_depth", "bootstrap", "composition_permutations", "composition_runs", "mantel_permutations")
# Runs draw from one pool of cells: with more cells each comes nearer to the edges of the whole pool, noise of the pool
# included, so that even unrelated references show trends over runs. Relabelled copies of the reference show them too.
P_RULE: Final = (
    "larger of two: permuted runs, and trends of references with relabelled target genes over the same runs; the "
    "second was added after permuted runs alone had called trends of unrelated references"
)
EDGES: Final = (ATTENTION, CORRELATION)
METRICS: Final = ("auroc", "f1")
JUDGED: Final = (
    *("rho", "p", "p_permuted_runs", "p_relabelled", "ci_low", "ci_high"),
    *("null_mean", "null_sd", "rho_without_cells"),
)
AGAINST: Final = {
    "fixed_shares": ("cells",),
    "fixed_cells": ("observed_types", "type_entropy"),
    "random_draw": ("cells", "observed_types", "type_entropy"),
}
ROWS: Final[Mapping[str, tuple[str, str, str, Alternative]]] = {
    "A13.1": ("fixed_shares", "auroc", "cells", "two-sided"),
    "A13.2": ("fixed_cells", "auroc", "observed_types", "two-sided"),
    "A13.3": ("random_draw", "f1", "observed_types", "less"),
}
TELLS: Final = {
    "A13.1": "Spearman correlation of AUROC with the number of cells while shares of cell types stay; 0 is no change",
    "A13.2": "Spearman correlation of AUROC with the number of cell types while the number of cells stays; above 0 "
    "means that a mixture is recovered better",
    "A13.3": "Spearman correlation of F1 of the kept edges with the cell types met by random draws; below 0 means that "
    "the top edges of mixed draws are worse, but larger draws meet more types (rho_without_cells takes cells out)",
}
# What each row used of the settings; the analysis layer enters none of them.
USED: Final = ("bootstrap", "composition_permutations", "composition_runs", "mantel_permutations")
USED_BY_RANGE: Final = ("bootstrap", "composition_runs")
FEWEST_RUNS: Final = 6


def controlled_composition(inputs: AnalysisInputs) -> AnalysisOutput:
    """Trends of recovery over runs in which cells and cell types are varied apart.

    Edges are the head and layer mean of attention and, of the same cells, absolute Spearman. Runs draw
    from one pool of cells, so that p is the larger of two, over permuted runs and against relabelled references.

    Tables
    ------
    ``composition_runs`` : run, arm, cells, planned and observed types, entropy of their shares, edge, AUROC, AUPRC, F1
    of the kept network with hits and expected hits.
    ``composition_trends`` : arm, edge, metric, against (cells, observed_types, type_entropy), rho with its interval
    over runs, p and the two it is the larger of, rho with the number of cells taken out.
    """
    used = chosen_settings(inputs, *SETTINGS)
    source = run_cells(inputs, ROLE)
    if isinstance(source, str):
        return skip_all(inputs, source)
    if source.types is None:
        why = f"{source.sample.dataset}: no column cell_type; declare one under `cells.obs` of the dataset"
        return skip_all(inputs, why, role=source.sample)
    if int(used["composition_runs"]) < FEWEST_RUNS:
        why = f"composition_runs = {used['composition_runs']}; a trend over runs needs at least {FEWEST_RUNS}"
        return skip_all(inputs, why, role=source.sample)
    typed = np.flatnonzero(source.types != "")
    draws = composition_draws(source.types[typed], int(used["composition_runs"]), generator(inputs, NUMBER, 1))
    if isinstance(draws, str):
        return skip_all(inputs, f"{source.sample.dataset}: {draws}", role=source.sample)
    # A cell without a type belongs to no mixture and is drawn in no run.
    runs, null = _runs(inputs, source, [replace(draw, cells=typed[draw.cells]) for draw in draws])
    trends = _trends(inputs, runs, null)
    settings = _settings(source, runs)
    results = [_row(inputs, source, runs, trends, spec.test_id, settings) for spec in inputs.tests]
    return collect(inputs, results, {"composition_runs": runs, "composition_trends": trends})


def _runs(inputs: AnalysisInputs, source: RunCells, draws: list[Draw]) -> tuple[pd.DataFrame, Null]:
    """One line a run and edge, and in the same order both metrics for every relabelled copy of the reference."""
    reference = source.references[0]
    copies = int(chosen_settings(inputs, "mantel_permutations")["mantel_permutations"])
    targets = relabelled_copies(source, reference, generator(inputs, NUMBER, 5), copies)
    lines, null = [], []
    for number, draw in enumerate(draws):
        types, entropy = observed_types(source, draw.cells)
        for edge in EDGES:
            scores, observed = run_scores(source, draw.cells, edge)
            found = recovered(reference, scores, [])
            null.append(relabelled_metrics(reference, scores, targets))
            lines.append(
                {
                    "run": number,
                    "arm": draw.arm,
                    "cells": int(draw.cells.size),
                    "planned_types": draw.planned_types,
                    "shares": draw.shares,
                    "observed_types": types,
                    "type_entropy": entropy,
                    "edge": edge,
                    "reference": reference.name,
                    "auroc": found.auroc,
                    "auprc": found.auprc,
                    "f1": float(found.top.f1[-1]),
                    "hits": float(found.top.hits[-1]),
                    "expected": float(found.top.expected[-1]),
                    "kept": int(found.top.k[-1]),
                    "missing_share": float(1.0 - observed[reference.rows][reference.candidate].mean()),
                }
            )
    return pd.DataFrame(lines), {metric: np.array([one[metric] for one in null]) for metric in METRICS}


def _trends(inputs: AnalysisInputs, runs: pd.DataFrame, null: Null) -> pd.DataFrame:
    used = chosen_settings(inputs, "bootstrap", "composition_permutations")
    lines = []
    for place, arm in enumerate(ARMS):
        for edge in EDGES:
            part = runs[(runs["arm"] == arm) & (runs["edge"] == edge)]
            for metric in METRICS:
                for against in AGAINST[arm]:
                    # The same permutations and resamples for both edges and metrics of an arm.
                    line = _trend(inputs, part, null, metric, against, place, used)
                    lines.append({"arm": arm, "edge": edge, "metric": metric, "against": against} | line)
    return pd.DataFrame(lines)


def _trend(
    inputs: AnalysisInputs,
    part: pd.DataFrame,
    null: Null,
    metric: str,
    against: str,
    place: int,
    used: Mapping[str, Any],
) -> dict[str, object]:
    """Trend of one metric over the runs of one arm; no number where one side is the same in all of them."""
    x, y = part[against].to_numpy(np.float64), part[metric].to_numpy(np.float64)
    alternative = next((r[3] for r in ROWS.values() if r[:3] == (ARMS[place], metric, against)), "two-sided")
    facts: dict[str, object] = {
        "alternative": alternative,
        "runs": len(part),
        "lowest": float(y.min()),
        "highest": float(y.max()),
        "resamples_requested": int(used["bootstrap"]),
        "resamples_done": 0,
        "permutations": 0,
        "copies": 0,
    }
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return dict.fromkeys(JUDGED, np.nan) | facts
    permutations = int(used["composition_permutations"])
    found = permuted_spearman(x, y, generator(inputs, NUMBER, 2, place), permutations, alternative)
    draws = spearman_draws(x, y, generator(inputs, NUMBER, 3, place), int(used["bootstrap"]))
    interval = percentile_interval(draws, requested=draws.size)
    copies = relabelled_trends(x, null[metric][part.index])
    p_relabelled = relabelled_p(found.rho, copies, alternative)
    known = copies[np.isfinite(copies)]
    cells = part["cells"].to_numpy(np.float64)
    apart = against != "cells" and np.ptp(cells) > 0.0
    return facts | {
        "rho": found.rho,
        "p": float(np.max([found.p, p_relabelled])),
        "p_permuted_runs": found.p,
        "p_relabelled": p_relabelled,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "null_mean": float(known.mean()) if known.size else np.nan,
        "null_sd": float(known.std()) if known.size else np.nan,
        "rho_without_cells": partial_spearman(x, y, cells) if apart else np.nan,
        "resamples_done": interval.resamples_done,
        "permutations": permutations,
        "copies": int(known.size),
    }


def _settings(source: RunCells, runs: pd.DataFrame) -> dict[str, Any]:
    reference = source.references[0]
    return {
        "cells_to_draw_from": source.count,
        "cells_without_type": 0 if source.types is None else int((source.types == "").sum()),
        "cells": {arm: sorted(map(int, set(runs.loc[runs["arm"] == arm, "cells"]))) for arm in ARMS},
        "edge": ATTENTION,
        "kept_share": KEPT_SHARE,
        "missing_rule": "lowest",
        "missing_share_largest": {edge: float(runs.loc[runs["edge"] == edge, "missing_share"].max()) for edge in EDGES},
        "positives": int(reference.member.sum()),
        "reference": reference.name,
    }


def _row(
    inputs: AnalysisInputs,
    source: RunCells,
    runs: pd.DataFrame,
    trends: pd.DataFrame,
    test_id: str,
    settings: Mapping[str, Any],
) -> TestResult:
    if test_id == "A13.4":
        settings = dict(settings) | chosen_settings(inputs, *USED_BY_RANGE)
        return _correlation_row(inputs, source, runs, trends, settings)
    settings = dict(settings) | chosen_settings(inputs, *USED)
    arm, metric, against, alternative = ROWS[test_id]
    chosen = trends[(trends["arm"] == arm) & (trends["against"] == against)].set_index(["edge", "metric"])
    found = chosen.loc[(ATTENTION, metric)]
    beside = {f"rho_of_{edge}_{name}": _number(chosen.loc[(edge, name), "rho"]) for edge in EDGES for name in METRICS}
    settings |= beside | {"metric": metric, "against": against, "alternative": alternative}
    if not np.isfinite(found["rho"]):
        why = (
            f"{source.sample.dataset}: {metric} or {against} is the same in all {int(found['runs'])} runs, so that no "
        )
        why += "trend can be seen"
        return skip(inputs, test_id, why, role=source.sample, settings=settings)
    settings |= {name: _number(found[name]) for name in ("p_permuted_runs", "p_relabelled", "rho_without_cells")}
    settings["p_rule"] = P_RULE
    return row(
        inputs,
        source.sample,
        test_id,
        settings=settings,
        layer=None,
        statistic=float(found["rho"]),
        effect=float(found["rho"]),
        ci_low=float(found["ci_low"]),
        ci_high=float(found["ci_high"]),
        p=float(found["p"]),
        n=int(found["runs"]),
        unit="run",
        null_name="relabelled target genes",
        null_mean=float(found["null_mean"]),
        null_sd=float(found["null_sd"]),
        resamples_requested=int(settings["mantel_permutations"]),
        resamples_done=int(found["copies"]),
        direction=f"{TELLS[test_id]}. The interval takes runs as independent. p: {P_RULE}",
    )


def _correlation_row(
    inputs: AnalysisInputs,
    source: RunCells,
    runs: pd.DataFrame,
    trends: pd.DataFrame,
    settings: Mapping[str, Any],
) -> TestResult:
    values = {edge: runs.loc[runs["edge"] == edge, "auroc"].to_numpy(np.float64) for edge in EDGES}
    own = values[CORRELATION]
    interval = bootstrap_statistic(
        own.size,
        lambda at: float(np.ptp(own[at])),
        generator(inputs, NUMBER, 4),
        int(chosen_settings(inputs, "bootstrap")["bootstrap"]),
    )
    told = trends[(trends["edge"] == CORRELATION) & (trends["metric"] == "auroc")]
    return row(
        inputs,
        source.sample,
        "A13.4",
        settings=dict(settings)
        | {
            "edge": CORRELATION,
            "auroc_lowest": float(own.min()),
            "auroc_highest": float(own.max()),
            "auroc_sd": float(own.std(ddof=1)),
            "auroc_range_of_attention": float(np.ptp(values[ATTENTION])),
            "auroc_sd_of_attention": float(values[ATTENTION].std(ddof=1)),
            "rho": {f"{r.arm} {r.against}": _number(r.rho) for r in told.itertuples()},
        },
        layer=None,
        statistic=float(own.mean()),
        effect=float(np.ptp(own)),
        ci_low=interval.low,
        ci_high=interval.high,
        n=int(own.size),
        unit="run",
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction="largest minus smallest AUROC of correlation edges over all runs; near 0 means stable. The "
        "interval of a range leans low, because a resample cannot exceed the observed range",
    )


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
