"""Tables of analysis 8, one row a fact; see `donor_leakage` for what each holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.analyses.donor_audit import LABELS, SCALE, Audit, Reading, cells_of_both
from interp_assets.stats.edge_balance import Balanced, LeaveOneOut
from interp_assets.stats.leakage import DonorGap, cramers_v, fold_interval

BLACKLIST: Final = 0.5
THRESHOLDS: Final = tuple(round(0.1 * step, 1) for step in range(1, 11))


def audit_tables(audits: Sequence[Audit]) -> dict[str, pd.DataFrame]:
    """Tables of all audited tissues; a table without a row is left out."""
    label_lines = [line for one in audits for r in one.readings if r.label in LABELS for line in [_leak(one, r)]]
    balanced = [_balanced(one, label) for one in audits for label in LABELS]
    edge_balance = _stack(balanced)
    tables = {
        "label_leakage": pd.DataFrame(label_lines),
        "donor_classifiers": pd.DataFrame([_classifier(one, r) for one in audits for r in one.readings]),
        "edge_balance": edge_balance,
        "edge_asi": _edge_asi(edge_balance),
        "asi_scan": pd.DataFrame([line for part in balanced for line in _scan(part)]),
        "lodo_edges": _stack([_lodo(one) for one in audits]),
        "label_association": pd.DataFrame([line for one in audits for line in _association(one)]),
        "donor_gap": pd.DataFrame([line for one in audits for line in _gap(one)]),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _stack(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    held = [part for part in parts if len(part)]
    return pd.concat(held, ignore_index=True) if held else pd.DataFrame()


def _read(one: Audit, reading: Reading) -> dict[str, Any]:
    return {
        "tissue": one.tissue.name,
        "label": reading.label,
        "classifier": reading.classifier,
        "cells": reading.cells,
        "n_cells": reading.n_cells,
        "n_labels": reading.n_labels,
    }


def _leak(one: Audit, reading: Reading) -> dict[str, Any]:
    line = _read(one, reading)
    empty = {"auc": None, "ci_low": None, "ci_high": None, "balanced_accuracy": None, "leaks": False}
    if reading.found is None:
        return line | empty | {"reason": reading.reason}
    auc, low, high = fold_interval(reading.found.auc)
    accuracy = float(reading.found.balanced_accuracy.mean())
    numbers = {"auc": auc, "ci_low": low, "ci_high": high, "balanced_accuracy": accuracy, "leaks": low > 0.5}
    return line | numbers | {"reason": None}


def _classifier(one: Audit, reading: Reading) -> dict[str, Any]:
    label, found = one.tissue.labels[reading.label], reading.found
    counts = np.bincount(label.code[label.known]) if label.known.size else np.array([])
    return {
        **_read(one, reading),
        "n_cell_types": reading.n_types,
        "labels_dropped": label.dropped,
        "largest_label_share": float(counts.max() / counts.sum()) if counts.size else np.nan,
        "n_features": one.tissue.features.shape[1],
        "auc": float(found.auc.mean()) if found else np.nan,
        "auc_sd": float(found.auc.std(ddof=1)) if found else np.nan,
        "balanced_accuracy": float(found.balanced_accuracy.mean()) if found else np.nan,
        "balanced_accuracy_sd": float(found.balanced_accuracy.std(ddof=1)) if found else np.nan,
        "chance_accuracy": 1.0 / reading.n_labels,
        **_permuted(one, reading),
        "reason": reading.reason,
    }


def _permuted(one: Audit, reading: Reading) -> dict[str, Any]:
    """What permuted labels gave: beside logistic regression the linear classifier, beside the forest a few forests."""
    names = ("linear_auc", "null_mean", "p", "null_mean_within_cell_types", "p_within_cell_types")
    numbers: dict[str, Any] = dict.fromkeys(names, np.nan) | {"permutations": 0}
    free, within = one.nulls.get(reading.label), one.nulls_within.get(reading.label)
    forests = one.forest_nulls.get(reading.label)
    if reading.cells != "all":
        return numbers
    if reading.classifier == "random_forest":
        return numbers if forests is None else numbers | {"null_mean": forests.mean(), "permutations": forests.size}
    if free is not None:
        numbers |= {"linear_auc": free.auc, "null_mean": free.draws.mean(), "p": free.p}
        numbers["permutations"] = free.draws.size
    if within is not None:
        numbers |= {"null_mean_within_cell_types": within.draws.mean(), "p_within_cell_types": within.p}
    return numbers


def _balanced(one: Audit, label: str) -> pd.DataFrame:
    found = one.balance[label]
    if not isinstance(found, Balanced):
        return pd.DataFrame()
    tissue = one.tissue
    frame = pd.DataFrame(
        {
            "tissue": tissue.name,
            "balanced_by": label,
            "source": tissue.genes[tissue.source],
            "target": tissue.genes[tissue.target],
            "score_full": found.full,
            "score_balanced": found.balanced,
            "asi": found.asi,
            "blacklisted": found.asi > BLACKLIST,
            "sign_flipped": found.sign_flipped,
            "score_size_matched": found.size_matched,
            "asi_size_matched": found.asi_size_matched,
            "cells_a_draw": found.cells_a_draw,
        }
    )
    # A gene that no balanced draw holds leaves no score to compare.
    return frame[frame["asi"].notna()].reset_index(drop=True)


def _edge_asi(edges: pd.DataFrame) -> pd.DataFrame:
    """One row an edge: the largest index over the labels that were balanced, and by which."""
    if edges.empty:
        return pd.DataFrame()
    keys = ["tissue", "source", "target"]
    most = edges.loc[edges.groupby(keys, sort=False)["asi"].idxmax(), [*keys, "score_full", "balanced_by", "asi"]]
    most = most.rename(columns={"balanced_by": "most_by", "asi": "asi_max"})
    wide = edges.pivot(index=keys, columns="balanced_by", values="asi").add_prefix("asi_").reset_index()
    for name in LABELS:
        if f"asi_{name}" not in wide:
            wide[f"asi_{name}"] = np.nan
    flags = edges.groupby(keys, sort=False)[["blacklisted", "sign_flipped"]].any().reset_index()
    columns = [*keys, *(f"asi_{name}" for name in LABELS)]
    return most.merge(wide[columns], on=keys).merge(flags, on=keys).reset_index(drop=True)


def _scan(edges: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for threshold in THRESHOLDS if len(edges) else ():
        yield {
            "tissue": edges["tissue"].iloc[0],
            "balanced_by": edges["balanced_by"].iloc[0],
            "threshold": threshold,
            "n_edges": len(edges),
            "share_above": float((edges["asi"] > threshold).mean()),
            "share_above_size_matched": float((edges["asi_size_matched"] > threshold).mean()),
            "share_flipped": float(edges["sign_flipped"].mean()),
        }


def _lodo(one: Audit) -> pd.DataFrame:
    from scipy.stats import false_discovery_control

    found, within, tissue = one.left_out, one.left_out_within, one.tissue
    if not isinstance(found, LeaveOneOut):
        return pd.DataFrame()
    frame = pd.DataFrame(
        {
            "tissue": tissue.name,
            "source": tissue.genes[tissue.source],
            "target": tissue.genes[tissue.target],
            "n_donors": len(tissue.labels["donor"].levels),
            "lodo_sd": found.observed,
            "null_sd": np.nanmean(found.null, axis=0),
            "p": found.edge_p,
            "draws": found.null.shape[0],
        }
    )
    composed = isinstance(within, LeaveOneOut)
    frame["null_sd_within_cell_types"] = np.nanmean(within.null, axis=0) if isinstance(within, LeaveOneOut) else np.nan
    frame["p_within_cell_types"] = within.edge_p if isinstance(within, LeaveOneOut) else np.nan
    frame = frame[frame["lodo_sd"].notna()].reset_index(drop=True)
    frame["q"] = false_discovery_control(frame["p"])
    frame["q_within_cell_types"] = false_discovery_control(frame["p_within_cell_types"]) if composed else np.nan
    return frame


def _association(one: Audit) -> Iterator[dict[str, Any]]:
    labels = one.tissue.labels
    for first, second in combinations((*LABELS, SCALE), 2):
        both = (labels[first].code >= 0) & (labels[second].code >= 0)
        codes = labels[first].code[both], labels[second].code[both]
        yield {
            "tissue": one.tissue.name,
            "label": first,
            "other_label": second,
            "n_cells": int(both.sum()),
            "levels": np.unique(codes[0]).size,
            "other_levels": np.unique(codes[1]).size,
            "cramers_v": cramers_v(*codes) if both.any() else np.nan,
            "reason": labels[first].reason or labels[second].reason,
        }


def _gap(one: Audit) -> Iterator[dict[str, Any]]:
    if not isinstance(one.gap, DonorGap):
        return
    label = one.tissue.labels["donor"]
    donors = np.unique(label.code[cells_of_both(one.tissue)])
    for code, random, grouped in zip(donors, one.gap.random, one.gap.grouped, strict=True):
        numbers = {"auc_random_folds": random, "auc_donor_left_out": grouped}
        yield {"tissue": one.tissue.name, "donor": label.levels[code], **numbers}
