"""Detection over SNR x number of observations: what was simulated beside what was predicted, for analyses 3 and 11.

Both analyses ask whether theory predicts detection; they differ in where the observations come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, Simulated
from interp_assets.analyses.rows import chosen_settings, generator, row
from interp_assets.stats.detectability import agreement, correlation_draws, expected_auroc, logistic_prediction
from interp_assets.stats.repeated import pearson
from interp_assets.stats.resampling import percentile_interval
from qc_standards.records import TestResult

SNR: Final = tuple(float(value) for value in np.round(np.geomspace(0.1, 10.0, 11), 4))
OBSERVATIONS: Final = (100, 200, 500, 1000, 2000)
FEATURES: Final = 50
SIGNALS: Final = 10
SATURATED: Final = 0.999
FEWEST_CELLS: Final = 3  # grid cells below saturation before their own r is told
DECLARED: Final = "logistic"
PREDICTORS: Final = (DECLARED, "expected_auroc", "expected_auroc_with_bias")


def detection_table(auroc: NDArray[np.float64], bias_sd: float) -> pd.DataFrame:
    """One row a grid cell: mean and spread of the simulated AUROC (repeats x SNR x N) beside each prediction."""
    snr, n = np.meshgrid(SNR, OBSERVATIONS, indexing="ij")
    return pd.DataFrame(
        {
            "snr": snr.ravel(),
            "observations": n.ravel(),
            "features": FEATURES,
            "signals": SIGNALS,
            "repeats": auroc.shape[0],
            "auroc": auroc.mean(axis=0).ravel(),
            "auroc_sd": auroc.std(axis=0, ddof=1).ravel() if auroc.shape[0] > 1 else np.nan,
            "logistic": logistic_prediction(snr, n, FEATURES).ravel(),
            "expected_auroc": expected_auroc(snr, n).ravel(),
            "expected_auroc_with_bias": expected_auroc(snr, n, bias_sd=bias_sd).ravel(),
        }
    )


def agreement_table(inputs: AnalysisInputs, number: int, grid: pd.DataFrame) -> pd.DataFrame:
    """One row a predictor: r with its interval over grid cells and its permutation p, rho, root mean squared error.

    ``r_unsaturated`` is over the cells whose AUROC is below .999: elsewhere everything is found and any rising
    prediction agrees.
    """
    used = chosen_settings(inputs, "bootstrap", "detectability_draws")
    open_cells = grid["auroc"].to_numpy() < SATURATED
    rows = []
    for place, name in enumerate(PREDICTORS):
        predicted, observed = grid[name].to_numpy(), grid["auroc"].to_numpy()
        found = agreement(predicted, observed, generator(inputs, number, 1, place), int(used["detectability_draws"]))
        draws = correlation_draws(predicted, observed, generator(inputs, number, 2, place), int(used["bootstrap"]))
        interval = percentile_interval(draws, requested=int(used["bootstrap"]))
        rows.append(
            {
                "predictor": name,
                "r": found.r,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "p": found.p,
                "null_mean": found.null_mean,
                "null_sd": found.null_sd,
                "rho": found.rho,
                "rmse": found.rmse,
                "grid_cells": found.cells,
                "saturated_cells": int((~open_cells).sum()),
                "r_unsaturated": (
                    pearson(predicted[open_cells], observed[open_cells]) if open_cells.sum() >= FEWEST_CELLS else np.nan
                ),
                "permutations": found.permutations,
                "resamples_requested": interval.resamples_requested,
                "resamples_done": interval.resamples_done,
            }
        )
    return pd.DataFrame(rows)


def agreement_row(inputs: AnalysisInputs, test_id: str, table: pd.DataFrame, settings: Mapping[str, Any]) -> TestResult:
    """Row of the declared predictor; what the others reach stands in its settings."""
    by = table.set_index("predictor")
    found = by.loc[DECLARED]
    used = dict(settings) | {
        "features": FEATURES,
        "observations": list(OBSERVATIONS),
        "predictor": DECLARED,
        "r_by_predictor": {name: _number(by.loc[name, "r"]) for name in PREDICTORS},
        "r_unsaturated": {name: _number(by.loc[name, "r_unsaturated"]) for name in PREDICTORS},
        "rmse_by_predictor": {name: _number(by.loc[name, "rmse"]) for name in PREDICTORS},
        "saturated_cells": int(found["saturated_cells"]),
        "signals": SIGNALS,
        "snr": list(SNR),
    }
    return row(
        inputs,
        Simulated(),
        test_id,
        settings=used,
        layer=None,
        statistic=found["r"],
        effect=found["r"],
        effect_kind="pearson_r",
        ci_low=found["ci_low"],
        ci_high=found["ci_high"],
        p=found["p"],
        n=int(found["grid_cells"]),
        unit="grid cell",
        null_name="observed AUROC dealt out over grid cells",
        null_mean=found["null_mean"],
        null_sd=found["null_sd"],
        resamples_requested=int(chosen_settings(inputs, "detectability_draws")["detectability_draws"]),
        resamples_done=int(found["permutations"]),
        direction="correlation of predicted and simulated detection; above 0: detection rises where predicted",
    )


def _number(value: Any) -> float | None:
    """A finite number for the settings, or None: NaN has no canonical JSON."""
    return float(value) if np.isfinite(value) else None
