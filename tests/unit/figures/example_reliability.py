"""Test-only tables of analyses 8 and 9. No number here is a result."""

from __future__ import annotations

import numpy as np
import pandas as pd

TISSUES = ("example-immune", "example-kidney", "example-lung")
LABELS = {"donor": 5, "batch": 8, "assay": 2}
SCORERS = ("pearson", "spearman", "mutual_information", "partial_correlation", "lasso", "ensemble")
CALIBRATORS = {"raw": 0.3, "platt": 0.07, "isotonic": 0.06}
SCREENS = "example-a + example-b"
ELSEWHERE = "example-c"


def reliability_tables(seed: int = 9) -> dict[str, pd.DataFrame]:
    """Tables of labels read off edges, of balanced edges, and of calibrated scores."""
    rng = np.random.default_rng(seed)
    return {
        "donor_classifiers": _classifiers(),
        "edge_balance": _balance(rng),
        "calibration_bins": _bins(),
        "calibration": _calibration(),
        "conformal": _conformal(0.0),
        "conformal_by_class": _conformal(0.1),
    }


def _classifiers() -> pd.DataFrame:
    lines = []
    for place, tissue in enumerate(TISSUES):
        for label, levels in LABELS.items():
            for classifier in ("logistic", "random_forest"):
                for cells in ("all", "within_cell_type"):
                    lone = tissue == "example-kidney" and label != "assay"
                    auc = np.nan if lone else 0.9 - 0.02 * place - 0.05 * (cells != "all")
                    lines.append(
                        {
                            "tissue": tissue,
                            "label": label,
                            "classifier": classifier,
                            "cells": cells,
                            "n_cells": 4000,
                            "n_labels": 1 if lone else levels,
                            "auc": auc,
                            "auc_sd": 0.01,
                            "balanced_accuracy": auc - 0.3,
                            "balanced_accuracy_sd": 0.02,
                            "chance_accuracy": 1.0 / levels,
                            "reason": f"the cells of {tissue} come from one {label}" if lone else "",
                        }
                    )
    return pd.DataFrame(lines)


def _balance(rng) -> pd.DataFrame:
    parts = []
    for tissue, label, share in (
        ("example-immune", "donor", 0.5),
        ("example-immune", "batch", 0.3),
        ("example-lung", "donor", 0.1),
        ("example-lung", "batch", 0.2),
        ("example-lung", "assay", 0.2),
    ):
        high = np.arange(600) < 600 * share
        asi = np.where(high, rng.uniform(0.51, 4.0, 600), rng.uniform(0.0, 0.49, 600))
        control = np.where(np.arange(600) < 30, 0.8, 0.1)
        flipped = np.arange(600) < 60
        frame = pd.DataFrame({"asi": asi, "asi_size_matched": control, "sign_flipped": flipped})
        parts.append(frame.assign(tissue=tissue, balanced_by=label))
    return pd.concat(parts, ignore_index=True)


def _bins() -> pd.DataFrame:
    lines = []
    for context, fitted_on in ((SCREENS, SCREENS), (ELSEWHERE, ELSEWHERE), (ELSEWHERE, "example-a")):
        for scorer in SCORERS:
            for calibrator in CALIBRATORS:
                for binning in ("equal_width", "equal_size"):
                    for number in range(6):
                        middle = 0.05 + 0.15 * number
                        seen = middle if calibrator != "raw" else 0.3 + 0.1 * middle
                        seen += 0.1 * (binning == "equal_width")
                        where = {"context": context, "fitted_on": fitted_on, "scorer": scorer, "calibrator": calibrator}
                        counted = {"binning": binning, "bin": number, "n_pairs": 910}
                        lines.append({**where, **counted, "mean_probability": middle, "share_edges": seen})
    return pd.DataFrame(lines)


def _calibration() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "context": context,
            "fitted_on": fitted_on,
            "scorer": scorer,
            "calibrator": calibrator,
            "ece": ece + 0.01 * place,
            "ci_low": ece - 0.02,
            "ci_high": ece + 0.03,
            "ece_constant": 0.012,
        }
        for context, fitted_on in ((SCREENS, SCREENS), (ELSEWHERE, "example-a"))
        for place, scorer in enumerate(SCORERS)
        for calibrator, ece in CALIBRATORS.items()
    )


def _conformal(lift: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "context": context,
            "scorer": scorer,
            "nominal": nominal,
            "n_test": 9000,
            "coverage": nominal + 0.01,
            "coverage_edges": nominal - 0.2 + 2 * lift,
            "share_empty": 0.01,
            "share_single": 0.14 + 0.03 * place - lift,
            "share_double": 0.85 - 0.03 * place + lift,
        }
        for context in (SCREENS, ELSEWHERE)
        for place, scorer in enumerate(SCORERS)
        for nominal in (0.95, 0.9, 0.8)
    )
