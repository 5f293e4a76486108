"""Test-only tables of the confound analyses and of several screens. No number here is a result."""

from __future__ import annotations

import numpy as np
import pandas as pd

ROLE = {"role": "primary_screen", "dataset": "example-screen"}
SCREENS = {
    "example-screen": ("crispri", 97, ""),
    "example-rpe1": ("crispri", 180, "outcomes of RPE1 cells, scores from pancreas cells"),
    "example-k562-activation": ("crispra", 41, ""),
    "example-thp1": ("crisprko", 0, ""),
}
LEVELS = {
    "variance": ("gene_level", 0.88),
    "mean": ("gene_level", 0.87),
    "one_minus_dropout": ("gene_level", 0.84),
    "tf_out_degree": ("gene_level", 0.5),
    "de_rate": ("gene_level", 0.91),
    "correlation": ("pairwise", 0.66),
    "rank_distance": ("pairwise", 0.71),
    "co_detection": ("pairwise", 0.69),
    "attention": ("attention", 0.56),
}


def confound_tables(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Tables of analyses 15, 17, 18, 23, 27 and 35, and of the screen comparison."""
    return {
        "covariate_r2": _covariate_r2(),
        "circularity": _circularity(),
        "circularity_per_regulator": _circularity_per_regulator(rng),
        "per_regulator": _per_regulator(rng),
        "layer_selection_profile": _layer_selection_profile(),
        "layer_choice": _layer_choice(),
        "tf_strata": _tf_strata(),
        "matched_balance": _matched_balance(),
        "matched_value": _matched_value(),
        "matched_auroc": _matched_auroc(),
        "screen_scores": _screen_scores(),
        "screen_evaluability": _screen_evaluability(),
        "null_calibration": _null_calibration(rng),
        "null_calibration_summary": _null_calibration_summary(),
        "modality_audit": _modality_audit(rng),
    }


def _covariate_r2() -> pd.DataFrame:
    values = {
        ("attention", "absolute", "ols"): 0.21,
        ("attention", "absolute", "boosting"): 0.33,
        ("correlation", "absolute", "ols"): 0.41,
        ("correlation", "absolute", "boosting"): 0.47,
        ("correlation", "signed", "ols"): -0.02,
        ("correlation", "signed", "boosting"): 0.12,
    }
    rows = [
        {
            **ROLE,
            **dict(zip(("edge", "variant", "learner"), names, strict=True)),
            "folds_by": folds_by,
            "r2": r2 + leak,
            "ci_low": r2 + leak - 0.05,
            "ci_high": r2 + leak + 0.05,
            "n_pairs": 20_000,
            "n_targets": 1_014,
        }
        for names, r2 in values.items()
        for folds_by, leak in (("target_gene", 0.0), ("pair", 0.09))
    ]
    return pd.DataFrame(rows)


def _circularity() -> pd.DataFrame:
    parts = {"all": (0.0, 812, 64), "direction_known": (-0.03, 402, 51), "size_matched": (-0.004, 402, 51)}
    rows = [
        {
            **ROLE,
            "edge": edge,
            "reference": "example-curated",
            "subset": subset,
            "auroc": auroc + shift,
            "ci_low": auroc + shift - 0.04,
            "ci_high": auroc + shift + 0.04,
            "n_positive": positives,
            "n_regulators": regulators,
        }
        for edge, auroc in (("attention", 0.61), ("correlation", 0.64))
        for subset, (shift, positives, regulators) in parts.items()
    ]
    return pd.DataFrame(rows)


def _circularity_per_regulator(rng: np.random.Generator) -> pd.DataFrame:
    rows = [
        {
            **ROLE,
            "edge": edge,
            "reference": "example-curated",
            "subset": subset,
            "regulator": f"TF{i:02d}",
            "n_targets": 5,
            "auroc": float(rng.beta(6, 4)) if i else np.nan,
        }
        for edge in ("attention", "correlation")
        for subset, size in (("all", 64), ("direction_known", 51), ("size_matched", 51))
        for i in range(size)
    ]
    return pd.DataFrame(rows)


def _per_regulator(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for reference, regulators in (("example-chip", 44), ("example-curated", 12)):
        for edge in ("attention", "correlation"):
            for i in range(regulators):
                targets = max(1, 60 // (i + 1))
                auroc, half = float(rng.beta(7, 5)), 0.9 / (targets + 2)
                single = targets == 1
                rows.append(
                    {
                        **ROLE,
                        "reference": reference,
                        "edge": edge,
                        "regulator": f"REG{i:02d}",
                        "n_targets": targets,
                        "n_candidates": 1_013,
                        "auroc": auroc,
                        "ci_low": np.nan if single else max(0.0, auroc - half),
                        "ci_high": np.nan if single else min(1.0, auroc + half),
                        "p_exact": 1 - auroc,
                        "method": "exact rank" if single else "bootstrap",
                        "above_chance": auroc > 0.95 if single else auroc - half > 0.5,
                    }
                )
    return pd.DataFrame(rows)


def _layer_selection_profile() -> pd.DataFrame:
    means = [0.52, 0.535, 0.56, 0.571, 0.58, 0.566, 0.55, 0.54]
    rows = [
        {
            "dataset": "example-other-donors",
            "reference": "example-curated",
            "layer": layer,
            "depth": layer / 7,
            "auroc": mean,
            "ci_low": mean - 0.03,
            "ci_high": mean + 0.03,
            "f1_at_positives": 0.04 if layer == 6 else 0.03,
            "n_positive": 317,
            "n_regulators": 58,
            "chosen": layer == 4,
        }
        for layer, mean in enumerate(means)
    ]
    return pd.DataFrame(rows)


def _layer_choice() -> pd.DataFrame:
    row = {
        "dataset": "example-other-donors",
        "reference": "example-curated",
        "criterion": "auroc",
        "layer": 4,
        "layers": 8,
        "depth": 4 / 7,
        "auroc": 0.58,
        "layer_by_f1": 6,
        "evaluated_dataset": ROLE["dataset"],
        "same_cells": False,
    }
    return pd.DataFrame([row])


def _tf_strata() -> pd.DataFrame:
    few = "example-screen: 3 perturbations cannot fill 5 folds with positive and negative candidates in each"
    rows = [
        {
            **ROLE,
            "catalogue": "example-tf-list",
            "stratum": stratum,
            "edge": edge,
            "n_perturbations": 3 if missing else 94,
            "n_pairs": 0 if missing else 95_100,
            "gene_only": np.nan if missing else 0.871,
            "gene_plus_edge": np.nan if missing else 0.871 + delta,
            "delta": np.nan if missing else delta,
            "ci_low": np.nan if missing else delta - 0.002,
            "ci_high": np.nan if missing else delta + 0.002,
            "margin": 0.005,
            "equivalent": not missing and abs(delta) < 0.003,
            "reason": few if missing else "",
        }
        for stratum, missing in (("tf", True), ("non_tf", False))
        for edge, delta in (("attention", -0.0004), ("correlation", 0.0045))
    ]
    return pd.DataFrame(rows)


def _matched_balance() -> pd.DataFrame:
    values = {
        "mean": (0.92, 0.05, 0.07),
        "variance": (1.04, 0.06, 0.08),
        "dropout": (0.88, 0.05, 0.06),
        "tgt_n_affected": (1.31, 0.09, 0.174),
    }
    rows = [
        {
            **ROLE,
            "covariate": name,
            "smd_before": before,
            "smd_reused": reused,
            "smd_distinct": distinct,
            "limit": 0.1,
            "balanced": distinct < 0.1,
        }
        for name, (before, reused, distinct) in values.items()
    ]
    return pd.DataFrame(rows)


def _matched_value() -> pd.DataFrame:
    rows = [
        {
            **ROLE,
            "edge": edge,
            "metric": metric,
            "gene_only": 0.63,
            "gene_plus_edge": 0.63 + delta,
            "delta": delta,
            "ci_low": delta - 0.004,
            "ci_high": delta + 0.004,
            "margin": 0.005,
            "equivalent": abs(delta) < 0.001,
            "n_perturbations": 88,
        }
        for edge, deltas in (("attention", (0.0004, 0.0012)), ("correlation", (0.006, 0.007)))
        for metric, delta in zip(("auroc", "auprc"), deltas, strict=True)
    ]
    return pd.DataFrame(rows)


def _matched_auroc() -> pd.DataFrame:
    rows = [
        {
            **ROLE,
            "score": score,
            "pairs": pairs,
            "n_perturbations": 0 if mean is None else 80,
            "mean_auroc": np.nan if mean is None else mean,
            "ci_low": np.nan if mean is None else mean - 0.02,
            "ci_high": np.nan if mean is None else mean + 0.02,
        }
        for pairs, means in (("matched", (0.51, 0.53)), ("direct_targets", (None, None)))
        for score, mean in zip(("attention", "correlation"), means, strict=True)
    ]
    return pd.DataFrame(rows)


def _screen_scores() -> pd.DataFrame:
    rows = []
    for at, (dataset, (modality, scored, mismatch)) in enumerate(SCREENS.items()):
        for basis in ("own", "common"):
            for score, (level, mean) in LEVELS.items():
                if not scored and (basis == "common" or level != "gene_level"):
                    continue
                value = mean - 0.02 * at
                rows.append(
                    {
                        "role": f"screens[{at}]" if at else "primary_screen",
                        "dataset": dataset,
                        "data_origin": "real" if at else "semi_synthetic",
                        "modality": modality,
                        "context_mismatch": mismatch,
                        "subset": "all",
                        "basis": basis,
                        "score": score,
                        "level": level,
                        "n_perturbations": scored or 24,
                        "n_pairs": 1_000 * (scored or 24),
                        "mean_auroc": value,
                        "sd_auroc": 0.08,
                        "ci_low": value - 0.02,
                        "ci_high": value + 0.02,
                    }
                )
    return pd.DataFrame(rows)


def _screen_evaluability() -> pd.DataFrame:
    reach = {
        "gene_level": 1.0,
        "pairwise": 0.7,
        "attention": 0.58,
        "geneformer_gc95m_vocabulary": 0.68,
        "scgpt_vocabulary": 0.69,
    }
    rows = [
        {
            "dataset": dataset,
            "score": score,
            "perturbations_listed": (scored or 24) + 12,
            "pairs_listed": 1_200 * (scored or 24),
            "perturbations": int(scored * part),
            "pairs": int(1_200 * (scored or 24) * part) if scored or score == "gene_level" else 0,
            "scorable_perturbations": int(scored * part * 0.9),
            "scorable_pairs": int(1_000 * (scored or 24) * part) if scored or score == "gene_level" else 0,
        }
        for dataset, (_, scored, _) in SCREENS.items()
        for score, part in reach.items()
    ]
    return pd.DataFrame(rows)


CALIBRATED = {
    "Wilcoxon, attention against correlation": 1.0,
    "Bootstrap of the gain": 0.55,
    "Permutation of perturbed genes": 1.0,
    "Mann-Whitney of a gene": 1.0,
}


def _null_calibration(rng: np.random.Generator) -> pd.DataFrame:
    frames = [
        pd.DataFrame({"test": name, "replicate": np.arange(200), "p": rng.beta(shape, 1.0, 200)})
        for name, shape in CALIBRATED.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _null_calibration_summary() -> pd.DataFrame:
    rows = [
        {
            "test": name,
            "replicates": 200,
            "share_below_05": 0.19 if shape < 1 else 0.045,
            "ks": 0.21 if shape < 1 else 0.06,
            "ks_limit": 0.096,
            "uniform": shape == 1.0,
            "n_genes": 1_014,
            "note": "bootstrap p of unrelated scores" if shape < 1 else "",
        }
        for name, shape in CALIBRATED.items()
    ]
    return pd.DataFrame(rows)


def _modality_audit(rng: np.random.Generator) -> pd.DataFrame:
    expected = {"crispri": "down", "crispra": "up", "crisprko": "not up"}
    rows = []
    for dataset, (modality, scored, _) in SCREENS.items():
        sign = 1.0 if modality == "crispra" else -1.0
        for i in range(scored or 9):
            lfc = sign * float(rng.gamma(4, 0.2)) if i % 11 else -sign * 0.2
            agrees = "undecided" if abs(lfc) < 0.3 and i % 11 else ("no" if i % 11 == 0 else "yes")
            rows.append(
                {
                    "dataset": dataset,
                    "perturbation": f"GENE{i:03d}",
                    "modality": modality,
                    "lfc": lfc,
                    "q": 0.01,
                    "expected": expected[modality],
                    "agrees": agrees,
                }
            )
    return pd.DataFrame(rows)
