"""Analysis 11: whether the framework behaves as its theory says where the truth is known.

Networks, cells and circuits are drawn; no dataset and no model enters, and every release gets the same numbers.
Heterogeneity is generated as cell states. No noise grows with the number of cells, so that a loss of recovery, where
there is one, comes from the states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.detection_grid import OBSERVATIONS, SNR, agreement_row, agreement_table, detection_table
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, Simulated
from interp_assets.analyses.rows import chosen_settings, collect, generator, row, skip
from interp_assets.stats.games import efficiency_gap, exact_shapley, single_effects
from interp_assets.stats.paired import signed_rank
from interp_assets.stats.repeated import RepeatedCorrelation, repeated_correlation
from interp_assets.stats.resampling import bootstrap_mean
from interp_assets.stats.synthetic_circuits import draw_circuits, rank_correlations
from interp_assets.stats.synthetic_network import (
    BIAS_SD,
    DROPOUT,
    GENES,
    STATES,
    WEIGHTS,
    SyntheticNetwork,
    attention_like,
    between_state_share,
    draw_bias,
    draw_cells,
    draw_network,
    network_detection,
    recovery,
    undirected_recovery,
)
from qc_standards.records import TestResult

Series = Literal["growing_states", "one_state", "all_states", "fixed_cells"]
NUMBER: Final = 11
CELLS: Final = (200, 500, 1000, 2000)
FIXED_CELLS: Final = 1000
# Cells and states of each point. The first is the declared one; in the others one of the two does not change.
SERIES: Final[Mapping[Series, tuple[tuple[int, int], ...]]] = {
    "growing_states": tuple(zip(CELLS, range(1, STATES + 1), strict=True)),
    "one_state": tuple((cells, 1) for cells in CELLS),
    "all_states": tuple((cells, STATES) for cells in CELLS),
    "fixed_cells": tuple((FIXED_CELLS, states) for states in range(1, STATES + 1)),
}
DECLARED: Final[Series] = "growing_states"
SCORE: Final = "regression"
TRUTHS: Final = ("contribution", "path_strength")
ESTIMATORS: Final = ("shapley", "single_restored", "single_removed")


def synthetic_truth(inputs: AnalysisInputs) -> AnalysisOutput:
    """Recovery of known weights by cells and states, Shapley values against single effects, detection against theory.

    Rows: correlation of recovery with measured heterogeneity in the series where states come with cells (A11.1), rank
    correlation with the known contributions of Shapley values minus that of single effects (A11.2), correlation of the
    logistic prediction with detection in the generator's own cells (A11.3).

    Tables: ``synthetic_recovery`` (series, score, seed, cells, states, heterogeneity, recovery),
    ``synthetic_recovery_summary`` (means over seeds), ``synthetic_recovery_trend`` (series, score: r of recovery with
    heterogeneity and with log cells), ``synthetic_circuits`` (circuit, estimator, truth, rho),
    ``synthetic_circuits_summary``, ``synthetic_detection``, ``synthetic_detection_agreement``.
    """
    used = chosen_settings(inputs, "bootstrap", "detectability_draws", "simulated_circuits", "synthetic_seeds")
    seeds = int(used["synthetic_seeds"])
    if seeds < 1 or int(used["simulated_circuits"]) < 1:
        raise ValueError(f"study {inputs.study}: synthetic_seeds and simulated_circuits must be one or more")
    networks = [draw_network(generator(inputs, NUMBER, 3, seed)) for seed in range(seeds)]
    points = pd.concat([_recoveries(inputs, network, seed) for seed, network in enumerate(networks)], ignore_index=True)
    trends = {
        (series, score): _heterogeneity_trend(inputs, points, series, score)
        for series in ("growing_states", "fixed_cells")
        for score in WEIGHTS
    }
    circuits = _circuits(inputs, int(used["simulated_circuits"]))
    auroc = np.stack(
        [network_detection(one, SNR, OBSERVATIONS, generator(inputs, NUMBER, 7, s)) for s, one in enumerate(networks)]
    )
    grid = detection_table(auroc, bias_sd=BIAS_SD)
    agreed = agreement_table(inputs, NUMBER, grid)
    tables = {
        "synthetic_recovery": points,
        "synthetic_recovery_summary": _recovery_summary(points),
        "synthetic_recovery_trend": _trend_table(points, trends),
        "synthetic_circuits": circuits,
        "synthetic_circuits_summary": _circuit_summary(circuits),
        "synthetic_detection": grid,
        "synthetic_detection_agreement": agreed,
    }
    results = [
        _recovery_row(inputs, points, trends),
        _circuit_row(inputs, circuits),
        agreement_row(inputs, "A11.3", agreed, _detection_settings(inputs)),
    ]
    return collect(inputs, results, tables)


def _detection_settings(inputs: AnalysisInputs) -> dict[str, Any]:
    return chosen_settings(inputs, "bootstrap", "detectability_draws", "synthetic_seeds") | {
        "bias_sd": BIAS_SD,
        "dropout": DROPOUT,
        "noise": "cells of one state of the synthetic network",
        "score": "absolute t of one sample",
    }


def _recoveries(inputs: AnalysisInputs, network: SyntheticNetwork, seed: int) -> pd.DataFrame:
    """Recovery in every series of one network; a point that two series share is drawn once."""
    bias = draw_bias(GENES, generator(inputs, NUMBER, 4, seed))
    measured: dict[tuple[int, int], list[dict[str, object]]] = {}
    for cells, states in sorted({point for points in SERIES.values() for point in points}):
        drawn = draw_cells(network, cells, states, generator(inputs, NUMBER, 5, seed, cells, states))
        share = between_state_share(drawn)
        lines: list[dict[str, object]] = []
        for score, weights in WEIGHTS.items():
            edges = attention_like(weights(drawn.expression), drawn.expression, bias)
            lines.append(
                {
                    "score": score,
                    "seed": seed,
                    "cells": cells,
                    "states": states,
                    "heterogeneity": share,
                    "recovery": recovery(edges, network),
                    "recovery_undirected": undirected_recovery(edges, network),
                }
            )
        measured[cells, states] = lines
    rows = [{"series": series} | line for series, points in SERIES.items() for at in points for line in measured[at]]
    return pd.DataFrame(rows)


def _wide(points: pd.DataFrame, series: str, score: str, column: str) -> NDArray[np.float64]:
    """One column of one series as seeds x points."""
    chosen = points[(points["series"] == series) & (points["score"] == score)].sort_values(["seed", "cells", "states"])
    return chosen[column].to_numpy(dtype=np.float64).reshape(chosen["seed"].nunique(), -1)


def _heterogeneity_trend(
    inputs: AnalysisInputs, points: pd.DataFrame, series: Series, score: str
) -> RepeatedCorrelation:
    used = chosen_settings(inputs, "bootstrap", "detectability_draws")
    purpose = (list(SERIES).index(series), list(WEIGHTS).index(score))
    return repeated_correlation(
        _wide(points, series, score, "heterogeneity"),
        _wide(points, series, score, "recovery"),
        generator(inputs, NUMBER, 6, *purpose),
        permutations=int(used["detectability_draws"]),
        resamples=int(used["bootstrap"]),
        alternative="less",
    )


def _recovery_summary(points: pd.DataFrame) -> pd.DataFrame:
    grouped = points.groupby(["series", "score", "cells", "states"], sort=True)
    return grouped.agg(
        heterogeneity=("heterogeneity", "mean"),
        recovery=("recovery", "mean"),
        recovery_sd=("recovery", "std"),
        recovery_undirected=("recovery_undirected", "mean"),
        seeds=("seed", "nunique"),
    ).reset_index()


def _trend_table(points: pd.DataFrame, trends: Mapping[tuple[Series, str], RepeatedCorrelation]) -> pd.DataFrame:
    """Correlation of recovery with heterogeneity where states change, with log cells where cells change."""
    rows = []
    for series in SERIES:
        for score in WEIGHTS:
            found = trends.get((series, score))
            log_cells = np.log(_wide(points, series, score, "cells"))
            values = _wide(points, series, score, "recovery")
            changes = bool(np.ptp(log_cells) > 0)
            rows.append(
                {
                    "series": series,
                    "score": score,
                    "r_heterogeneity": found.r if found else np.nan,
                    "p_less": found.p if found else np.nan,
                    "ci_low": found.interval.low if found else np.nan,
                    "ci_high": found.interval.high if found else np.nan,
                    "r_log_cells": np.corrcoef(log_cells.ravel(), values.ravel())[0, 1] if changes else np.nan,
                    "first_recovery": values[:, 0].mean(),
                    "last_recovery": values[:, -1].mean(),
                    "seeds_falling": int((values[:, -1] < values[:, 0]).sum()),
                    "seeds": values.shape[0],
                }
            )
    return pd.DataFrame(rows)


def _recovery_row(
    inputs: AnalysisInputs, points: pd.DataFrame, trends: Mapping[tuple[Series, str], RepeatedCorrelation]
) -> TestResult:
    found = trends[DECLARED, SCORE]
    means = {
        series: [float(value) for value in _wide(points, series, SCORE, "recovery").mean(axis=0)] for series in SERIES
    }
    settings: dict[str, Any] = chosen_settings(inputs, "bootstrap", "detectability_draws", "synthetic_seeds") | {
        "cells": list(CELLS),
        "heterogeneity": "share of expression variance between states, mean over genes",
        "null": "recoveries permuted within a seed",
        "other_r": {f"{series}:{score}": one.r for (series, score), one in trends.items()},
        "recovery_by_point": means,
        "score": f"tanh({SCORE} weights + expression bias + gene bias)",
        "series": DECLARED,
        "states": [states for _, states in SERIES[DECLARED]],
    }
    return row(
        inputs,
        Simulated(),
        "A11.1",
        settings=settings,
        layer=None,
        reason="" if found.interval.resamples_done else "one seed has no interval; raise synthetic_seeds",
        statistic=found.r,
        effect=found.r,
        effect_kind="pearson_r",
        ci_low=found.interval.low,
        ci_high=found.interval.high,
        p=found.p,
        n=found.by_unit.size,
        unit="seed",
        null_name="recoveries permuted within a seed",
        null_mean=found.null_mean,
        null_sd=found.null_sd,
        resamples_requested=found.permutations,
        resamples_done=found.permutations,
        direction="correlation of recovery with heterogeneity where states come with cells; below 0 means that "
        "recovery falls; series with one of the two fixed stand in synthetic_recovery_trend",
    )


def _circuits(inputs: AnalysisInputs, count: int) -> pd.DataFrame:
    """Rank correlation of every estimator with both truths, one row each a circuit."""
    drawn = draw_circuits(count, generator(inputs, NUMBER, 8))
    values = drawn.coalition_values()
    shapley = exact_shapley(values)
    if np.abs(efficiency_gap(shapley, values)).max() > 1e-9:
        raise ValueError("Shapley values do not add up to the read-out of the circuit; the game is wrong")
    estimates = (shapley, single_effects(values), drawn.removal_effects())
    truths = (drawn.contributions(), drawn.path_strengths())
    frames = [
        pd.DataFrame(
            {
                "circuit": np.arange(count),
                "estimator": estimator,
                "truth": name,
                "components": drawn.components,
                "rho": rank_correlations(estimate, truth),
            }
        )
        for estimator, estimate in zip(ESTIMATORS, estimates, strict=True)
        for name, truth in zip(TRUTHS, truths, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)


def _circuit_summary(circuits: pd.DataFrame) -> pd.DataFrame:
    grouped = circuits.groupby(["truth", "estimator"], sort=True)["rho"]
    summary = grouped.agg(mean_rho="mean", median_rho="median", sd_rho="std", circuits="count").reset_index()
    read_outs = {"shapley": 2 ** int(circuits["components"].iloc[0])}
    summary["read_outs"] = [
        read_outs.get(name, int(circuits["components"].iloc[0]) + 1) for name in summary["estimator"]
    ]
    return summary


def _circuit_row(inputs: AnalysisInputs, circuits: pd.DataFrame) -> TestResult:
    used = chosen_settings(inputs, "bootstrap", "simulated_circuits")
    by = {truth: part.pivot(index="circuit", columns="estimator", values="rho") for truth, part in _by_truth(circuits)}
    rho = by["contribution"][["shapley", "single_restored"]].dropna()
    settings = used | {
        "components": int(circuits["components"].iloc[0]),
        "left_out": len(by["contribution"]) - len(rho),
        "mean_rho": {truth: {name: float(part[name].mean()) for name in ESTIMATORS} for truth, part in by.items()},
        "shapley": "exact, all coalitions",
        "single": "each component alone restored",
        "truth": "share of each target's input along known paths, times the answer of its gate",
    }
    if rho.empty:
        reason = "no circuit ranks its components (all estimates equal); raise simulated_circuits"
        return skip(inputs, "A11.2", reason, role=Simulated(), settings=_finite(settings))
    difference = (rho["shapley"] - rho["single_restored"]).to_numpy()
    test = signed_rank(difference, "greater")
    interval = bootstrap_mean(difference, generator(inputs, NUMBER, 9), int(used["bootstrap"]))
    return row(
        inputs,
        Simulated(),
        "A11.2",
        settings=settings,
        layer=None,
        statistic=test.statistic,
        effect=difference.mean(),
        effect_kind="delta_spearman_rho",
        ci_low=interval.low,
        ci_high=interval.high,
        p=test.p,
        n=difference.size,
        unit="simulated circuit",
        null_name="signed ranks symmetric around 0",
        null_mean=0.0,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction="rank correlation with the known contributions, Shapley minus single effects; above 0 means Shapley "
        "ranks better",
    )


def _by_truth(circuits: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(truth, circuits[circuits["truth"] == truth]) for truth in TRUTHS]


def _finite(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without means of nothing."""
    return {name: value for name, value in settings.items() if name != "mean_rho"}
