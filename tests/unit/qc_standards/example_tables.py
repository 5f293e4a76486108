"""Good tables of one synthetic evaluation: lineage and evaluation, confounds (15, 17, 18, 23, 27, 35), screens."""

from __future__ import annotations

import hashlib
import json
from itertools import product
from typing import Any

import pandas as pd

from qc_standards.evidence import TABLE_COLUMNS
from qc_standards.metrics import VIEWS
from qc_standards.screen_metrics import FLAGS
from qc_standards.standards import shipped_standards

PRIMARY = {"role": "primary_screen", "dataset": "screen-main"}
CELLS = "0123456789abcdef"
PERTURBATIONS = 60
EDGES = ("attention", "correlation")
DRAWN = {"resamples_requested": 200, "resamples_done": 200}
R2 = 0.1  # effect of every result row of the evaluation
CHOSEN_ON = "blood-cells"
CHOSEN_BY = f"best AUROC of trrust on {CHOSEN_ON}"
BY_TARGETS = {name: {"regulators": 2} for name in ("1", "2", "3-9", "10+")}


def equality(gain: float, half: float = 0.003, margin: float = 0.005) -> dict[str, Any]:
    """Interval and equivalence test of a gain."""
    inside = abs(gain) + half < margin
    numbers = {"delta": gain, "ci_low": gain - half, "ci_high": gain + half}
    return {**numbers, "margin": margin, "p_equivalent": 0.005 if inside else 0.995, "equivalent": inside}


def _covariates() -> pd.DataFrame:
    scores = [("attention", "absolute"), ("correlation", "absolute"), ("correlation", "signed")]
    rows = [
        {
            **PRIMARY,
            "edge": edge,
            "variant": variant,
            "learner": learner,
            "folds_by": folds,
            "r2": R2 if folds == "target_gene" else 0.5,
            "ci_low": 0.05,
            "ci_high": 0.15,
            "n_pairs": 50000,
            "n_targets": 1100,
            **DRAWN,
        }
        for (edge, variant), learner, folds in product(scores, ("ols", "boosting"), ("target_gene", "pair"))
    ]
    return pd.DataFrame(rows)


def _circularity() -> pd.DataFrame:
    rows = [
        {
            **PRIMARY,
            "edge": edge,
            "reference": "trrust",
            "subset": subset,
            "auroc": 0.7,
            "ci_low": 0.65,
            "ci_high": 0.75,
            "n_positive": 200 if subset == "all" else 120,
            "n_pairs": 30000,
            "n_regulators": 18 if subset == "all" else 12,
            "conflicting": pd.NA if subset == "size_matched" else 7,
            "draws_requested": 200,
            "draws_done": 200,
            "p_against_size_matched": 0.4 if subset == "direction_known" else None,
        }
        for edge, subset in product(EDGES, ("all", "direction_known", "size_matched"))
    ]
    return pd.DataFrame(rows).astype({"conflicting": "Int64", "p_against_size_matched": "float64"})


def _per_regulator() -> pd.DataFrame:
    kinds = {
        "GATA1": {"n_targets": 18, "ci_low": 0.6, "ci_high": 0.8, "method": "bootstrap", "above_chance": True, **DRAWN},
        "SPI1": {"n_targets": 2, "ci_low": 0.4, "ci_high": 0.8, "p_exact": 0.2, "method": "bootstrap", **DRAWN},
        "FOXA1": {"n_targets": 1, "p_exact": 0.02, "method": "exact rank", "above_chance": True},
        "NFYB": {"n_targets": 1200, "auroc": None, "method": "no contrast"},
    }
    blank = {"auroc": 0.7, "ci_low": None, "ci_high": None, "p_exact": None, "above_chance": False}
    none = {"resamples_requested": 0, "resamples_done": 0}
    keys = {**PRIMARY, "reference": "trrust", "n_candidates": 1200}
    rows = [
        {**keys, **blank, **none, "edge": edge, "regulator": name, **facts}
        for edge, (name, facts) in product(EDGES, kinds.items())
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(("auroc", "ci_low", "ci_high", "p_exact"), "float64"))


def _strata(gain: float) -> pd.DataFrame:
    rows = [
        {
            **PRIMARY,
            "catalogue": "human-factors",
            "stratum": stratum,
            "edge": edge,
            "n_perturbations": 30,
            "n_pairs": 30000,
            "n_positive": 700,
            "gene_only": 0.6,
            "gene_plus_edge": 0.6 + (gain if edge == "attention" else 0.0),
            **equality(gain if edge == "attention" else 0.0),
            **DRAWN,
            "reason": "",
        }
        for stratum, edge in product(("tf", "non_tf"), EDGES)
    ]
    return pd.DataFrame(rows)


def _matched(gain: float) -> dict[str, pd.DataFrame]:
    balance = [
        {
            **PRIMARY,
            "covariate": covariate,
            "smd_before": 0.9,
            "smd_reused": 0.02,
            "smd_distinct": 0.06,
            "limit": 0.1,
            "balanced": True,
            "n_positive": 1500,
            "n_negative_reused": 7500,
            "n_negative_distinct": 4000,
        }
        for covariate in ("mean", "variance", "dropout", "tgt_n_affected")
    ]
    values = [
        {
            **PRIMARY,
            "edge": edge,
            "metric": metric,
            "gene_only": 0.7,
            "gene_plus_edge": 0.7 + (gain if edge == "attention" else 0.0),
            **equality(gain if edge == "attention" else 0.0),
            "p": 0.5,
            "n_pairs": 5500,
            "n_positive": 1500,
            "n_perturbations": 60,
            "balanced": True,
            **DRAWN,
            "draws_requested": 99,
            "draws_done": 99,
        }
        for edge, metric in product(EDGES, ("auroc", "auprc"))
    ]
    return {"matched_balance": pd.DataFrame(balance), "matched_value": pd.DataFrame(values)}


def layer_profile() -> pd.DataFrame:
    """Recovery of the reference on the layer-selection dataset, by layer; layer 13 of 18 is best."""
    rows = [
        {
            "dataset": CHOSEN_ON,
            "reference": "trrust",
            "layer": layer,
            "depth": layer / 17,
            "auroc": 0.7 - 0.01 * abs(layer - 13),
            "ci_low": 0.6,
            "ci_high": 0.8,
            "f1_at_positives": 0.1,
            "chosen": layer == 13,
            **DRAWN,
        }
        for layer in range(18)
    ]
    return pd.DataFrame(rows)


def layer_choice() -> pd.DataFrame:
    """The frozen record, named by the sha256 of its content."""
    record = {
        "depth": 13 / 17,
        "chosen_by": CHOSEN_BY,
        "dataset": CHOSEN_ON,
        "reference": "trrust",
        "criterion": "auroc",
        "layer": 13,
        "layers": 18,
        "score": 0.7,
        "cells_hash": "b" * 64,
        "profile_hash": "c" * 64,
    }
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    shown = {name: value for name, value in record.items() if name != "score"}
    facts = {"auroc": 0.7, "layer_by_f1": 12, "evaluated_dataset": PRIMARY["dataset"], "same_cells": False}
    return pd.DataFrame([{**shown, **facts, "sha256": hashlib.sha256(text.encode()).hexdigest()}])


def confound_tables(gain: float) -> dict[str, pd.DataFrame]:
    """Tables that a release has and a control has not; ``gain`` is what attention adds to gene-level features."""
    return {
        "covariate_r2": _covariates(),
        "circularity": _circularity(),
        "per_regulator": _per_regulator(),
        "tf_strata": _strata(gain),
        **_matched(gain / 2),
        "layer_choice": layer_choice(),
        "layer_selection_profile": layer_profile(),
    }


# Written by an analysis exactly as its standard defines it.
AS_CONTRACTED = frozenset(
    {
        "context_replication",
        "nested_layer_choice",
        "cssi_null",
        "label_leakage",
        "edge_balance",
        "calibration",
        "conformal",
        "stability",
        "noise_ceiling",
    }
)


def contract_tables() -> dict[str, pd.DataFrame]:
    """Tables that standards define, as they show them passing: written by no analysis yet, or `AS_CONTRACTED`."""
    return {
        item.applies_to: pd.DataFrame([dict(row) for row in item.examples["passing"].rows])
        for item in shipped_standards().values()
        if item.applies_to not in VIEWS and (item.applies_to not in TABLE_COLUMNS or item.applies_to in AS_CONTRACTED)
    }


def _modality(role: str, dataset: str, modality: str, expected: str, agrees: list[str]) -> list[dict[str, Any]]:
    row = {"role": role, "role_fit": "full", "dataset": dataset, "modality": modality, "expected": expected}
    return [
        {**row, "perturbation": f"TF{i}", "lfc": -1.0, "p": 0.001, "q": 0.01, "cells": 80, "agrees": word}
        for i, word in enumerate(agrees)
    ]


def screen_tables() -> dict[str, pd.DataFrame]:
    """Tables of the screens: those of releases and of the two fixed controls."""
    audit = [
        *_modality("primary_screen", "screen-main", "crispri", "down", ["yes"] * 18 + ["undecided", "no"]),
        *_modality("second_screen", "screen-2", "crisprko", "not up", ["yes"] * 3 + ["undecided"] * 9),
    ]
    scores = [
        {**PRIMARY, "kind": "cells", "subset": "all", "basis": "own", "score": score, "mean_auroc": 0.7}
        for score in EDGES
    ]
    band = {"share_below_05": 0.05, "share_low": 0.02, "share_high": 0.08, "ks": 0.05, "ks_limit": 0.096}
    keys = {"labels": "welch", "assignment": "shuffled", "guides": 40, "n_genes": 300, "replicates": 200, "note": ""}
    tests = [
        {**keys, "analysis": "22", "test": f"score {i}", "genes": genes, "mean_p": 0.5, **band, "uniform": True}
        for genes, i in product(("detected", "all"), range(10))
    ]
    return {
        "modality_audit": pd.DataFrame(audit),
        "screen_scores": pd.DataFrame(scores),
        "null_calibration_summary": pd.DataFrame(tests),
    }


def other_tables(numbers: Any) -> dict[str, pd.DataFrame]:
    """Tables of comparison, power, lineage and evaluation that every kind of release has."""
    difference = numbers.attention - 0.65
    return {
        "attention_vs_correlation": pd.DataFrame(
            [
                {
                    "role": "primary_screen",
                    "dataset": "screen-main",
                    "subset": "all",
                    "n": PERTURBATIONS,
                    "mean_difference": difference,
                    "ci_low": difference - 0.01,
                    "ci_high": difference + 0.01,
                    "p": 1e-9,
                    "equivalence_margin": 0.02,
                    "p_tost": 0.9,
                    "equivalent": False,
                }
            ]
        ),
        "incremental_power": pd.DataFrame(
            [
                {"edge": edge, "true_gain": 0.005, "simulations": 20, "detected": 19, "power": 0.95}
                for edge in ("attention", "correlation")
            ]
        ),
        "lineage": pd.DataFrame(
            [
                {
                    "score": score,
                    "dataset": "screen-main",
                    "role": "primary_screen",
                    "cells_hash": CELLS,
                    "layer": 13 if score == "attention" else None,
                    "layer_depth": 13 / 17,
                    "layer_chosen_by": CHOSEN_BY if score == "attention" else "no layer",
                    "layer_chosen_on": CHOSEN_ON if score == "attention" else "",
                    "layer_choice": layer_choice()["sha256"].iloc[0] if score == "attention" else "",
                    "orientation": "regulator to target",
                    "device": "cpu",
                    "dtype": "float32",
                    "genes_in_universe": 1200,
                    "genes_evaluable": 1100,
                    "missing_pair_share": 0.01,
                }
                for score in ("attention", "correlation")
            ]
        ),
        "evaluability": pd.DataFrame(
            [
                {
                    "role": "primary_screen",
                    "dataset": "screen-main",
                    "stage": stage,
                    "perturbations": PERTURBATIONS,
                    "genes": 1200,
                    "pairs": pairs,
                    "positives": 1500,
                }
                for stage, pairs in (
                    ("listed", 72000),
                    ("measured", 72000),
                    ("in_vocabulary", 66000),
                    ("scorable", 65000),
                )
            ]
        ),
        "evaluation": pd.DataFrame(
            [
                {
                    "study": "demo",
                    "release": numbers.release,
                    "release_kind": numbers.kind,
                    "base_release": numbers.release.removesuffix(".shuffled"),
                    "data_origin": numbers.origin,
                    "context_mismatch": "",
                    "role_fit": "full",
                    "untrained": False,
                    "trained_on_evaluated_cells": False,
                    **dict.fromkeys(FLAGS, True),
                    "outcome_only": False,
                }
            ]
        ),
    }
