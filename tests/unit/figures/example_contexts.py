"""Test-only tables of other contexts, of the grid and of nested folds (20, 28, 30, 33, 37). No number is a result."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

PRIMARY = {"role": "primary_screen", "dataset": "example-screen"}
OTHER = {"role": "other_line_screen", "dataset": "example-rpe1"}
SECOND = {"role": "second_screen", "dataset": "example-k562-activation"}
SMALL = {"role": "small_screens[1]", "dataset": "example-t-cells"}
NEURONS = {"role": "small_screens[2]", "dataset": "example-neurons"}
# role -> perturbations, correlation, attention by layer of 0..7
CONTEXTS = {
    "replication_28": ((SECOND, 41, 0.65, {2: 0.612, 5: 0.584, 7: 0.605}),),
    "replication_33": ((SMALL, 7, 0.58, {2: 0.556, 5: 0.617, 6: 0.569, 7: 0.64}),),
    "replication_37": (
        (OTHER, 180, 0.6, {2: 0.638, 5: 0.596, 6: 0.64, 7: 0.656}),
        (NEURONS, 7, 0.55, {6: 0.538}),
        (PRIMARY, 97, 0.655, {6: 0.56, 2: 0.55, 5: 0.656, 7: 0.548}),
    ),
}
CONDITIONS = {
    "wide, all": (180, 1014, 0.6, 0.64),
    "wide, same perturbations": (64, 1014, 0.66, 0.68),
    "restricted": (64, 500, 0.62, 0.7),
    "restricted, attention read again": (0, 0, np.nan, np.nan),
}


def context_tables(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Tables of analyses 20, 28, 30, 33 and 37; those of the other line are made from ``tables`` of the primary one."""
    gains = tables["incremental_value"]
    gains = gains[(gains["split"] == "perturbation") & (gains["learner"] == "logistic")]
    residual = tables["residual_summary"]
    return {
        **{name: pd.DataFrame(_replication(contexts)) for name, contexts in CONTEXTS.items()},
        "replication_37_baselines": tables["baseline_differences"].assign(**OTHER, n=180),
        "replication_37_incremental": gains.assign(**OTHER, n_perturbations=180),
        "replication_37_residual": residual[residual["learner"] == "ols"].assign(**OTHER),
        "hvg_protocol": pd.DataFrame([_condition(name) for name in CONDITIONS]),
        "sensitivity_grid": _grid(),
        "nested_layer_choice": _folds(),
        "nested_layer_profile": _profile(),
    }


def _replication(contexts) -> list[dict]:
    return [
        {
            **where,
            "comparison": f"attention layer {layer} - correlation",
            "n_perturbations": n,
            "mean_difference": attention - correlation,
            "ci_low": attention - correlation - 0.4 / n**0.5,
            "ci_high": attention - correlation + 0.4 / n**0.5,
            "margin": 0.02,
            "smallest_p": 0.0156 if n == 7 else 1e-12,
            "reading": _reading(attention - correlation, 0.4 / n**0.5),
            "data_origin": "semi_synthetic",
            "layer": layer,
            "depth": layer / 7,
            "n_genes": 1014,
            "mean_attention": attention,
            "mean_correlation": correlation,
        }
        for where, n, correlation, layers in contexts
        for layer, attention in layers.items()
    ]


def _reading(difference: float, half: float) -> str:
    if abs(difference) > half:
        return "greater" if difference > 0 else "smaller"
    return "undecided"


def _condition(name: str) -> dict:
    n, genes, correlation, attention = CONDITIONS[name]
    return {
        **OTHER,
        "condition": name,
        "layer": 6,
        "n_genes": genes,
        "n_perturbations": n,
        "mean_attention": attention,
        "mean_correlation": correlation,
        "mean_difference": attention - correlation,
        "ci_low": attention - correlation - 0.03,
        "ci_high": attention - correlation + 0.03,
        "change": 0.06 if name == "restricted" else np.nan,
        "reason": "" if n else "example-rpe1: attention was not read again",
    }


def _grid() -> pd.DataFrame:
    rows = [
        {
            **PRIMARY,
            "condition": f"fold {fold}, cells {cells}, genes {genes}",
            "is_base": (fold, cells, genes) == (0.5, 750, 1000),
            "score": score,
            "log_fold": fold,
            "edge_cells": cells,
            "genes_tested": genes,
            "n": 97 - int(40 * fold),
            "mean_auroc": base + 0.04 * fold + genes / 40_000 + cells / 60_000,
            "gene_level_wins": score == "attention" or genes < 2500,
        }
        for score, base in (("attention", 0.52), ("correlation", 0.61), ("variance", 0.8))
        for fold, cells, genes in product((0.25, 0.5, 1.0), (190, 750, 1125), (500, 1000, 2500))
    ]
    return pd.DataFrame(rows)


def _folds() -> pd.DataFrame:
    sizes, differences = (20, 20, 19, 19, 19), (0.05, -0.01, 0.03, 0.06, 0.02)
    rows = [
        {**PRIMARY, "fold": fold, "n_train": 97 - n, "n_test": n, "layer": 6 if fold < 5 else 3, "difference": value}
        for fold, (n, value) in enumerate(zip(sizes, differences, strict=True), start=1)
    ]
    return pd.DataFrame(rows)


def _profile() -> pd.DataFrame:
    means = (-0.11, -0.1, -0.08, 0.01, 0.0, -0.02, 0.03, 0.01)
    rows = [
        {
            **PRIMARY,
            "layer": layer,
            "n_perturbations": 97,
            "mean_difference": mean,
            "ci_low": mean - 0.03,
            "ci_high": mean + 0.03,
            "fixed_beforehand": layer == 5,
        }
        for layer, mean in enumerate(means)
    ]
    return pd.DataFrame(rows)
