"""Analysis 8: whether donor, batch and assay can be read off edge features, and which edges depend on them.

Donors differ in their cell types, so every reading is repeated within cell types, and donors are also permuted within
cell types. Dropping any cells moves an edge a little, so donors are compared with random drops of as many cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interp_assets.analyses.donor_audit import (
    FOREST_SHARE,
    LABELS,
    MIN_CELLS_A_LABEL,
    MIN_CELLS_A_TYPE,
    MIN_DETECTED,
    TOP,
    Audit,
    Tissue,
    audit,
    tissue,
)
from interp_assets.analyses.donor_tables import audit_tables
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput
from interp_assets.analyses.pooled import pooled_source
from interp_assets.analyses.rows import chosen_settings, collect, row, sample_or_reason, skip
from interp_assets.stats.edge_balance import LeaveOneOut
from interp_assets.stats.edge_transfer import permutation_p
from interp_assets.stats.leakage import CLASSIFIERS, fold_interval
from qc_standards.records import TestResult

ROLES = {name: (f"donor_audit[{n}]",) for name, n in (("A08.1", 1), ("A08.2", 3), ("A08.5", 3))} | {
    "A08.3": ("donor_audit[1]", "donor_audit[2]", "donor_audit[3]"),
    "A08.4": ("donor_audit[1]", "donor_audit[3]"),
    "A08.6": ("donor_audit[1]", "donor_audit[2]", "donor_audit[3]"),
}


def donor_leakage(inputs: AnalysisInputs) -> AnalysisOutput:
    """Audit of up to three tissues: classifiers of the labels, balanced edge scores, edges without a donor.

    Features are the products of standardised expression of the 200 most varying regulator-target pairs of the primary
    reference. A tissue without two donors (batches, assays) has no number for them and says so.

    Tables: `label_leakage` (QCS-32: a label read by a classifier), `edge_balance` (QCS-33: an edge before and after
    balancing), `donor_classifiers` (every reading with fold spread, chance and permutations), `edge_asi` (an edge with
    its largest index), `asi_scan` (blacklisted share by threshold), `lodo_edges` (an edge's SD over left-out donors
    against random drops), `label_association` (Cramer's V of two labels), `donor_gap` (a donor's AUC of cell types).
    """
    used = chosen_settings(inputs, "balance_draws", "folds", "leakage_permutations", "leakage_trees", "lodo_draws")
    audits: dict[str, Audit | str] = {}
    by_dataset: dict[str, Audit | str] = {}
    for role in ROLES["A08.6"]:
        sample = sample_or_reason(inputs, role)
        if isinstance(sample, str):
            audits[role] = sample
            continue
        if sample.dataset not in by_dataset:
            found = tissue(inputs, sample)
            by_dataset[sample.dataset] = audit(inputs, found, used) if isinstance(found, Tissue) else found
        audits[role] = by_dataset[sample.dataset]
    makers = {"A08.1": _donor, "A08.2": _donor, "A08.3": _assay, "A08.4": _left_out, "A08.5": _gap, "A08.6": _folds}
    results = [makers[spec.test_id](inputs, spec.test_id, audits, used) for spec in inputs.tests]
    done = [found for found in by_dataset.values() if isinstance(found, Audit)]
    return collect(inputs, results, audit_tables(done))


def _held(audits: Mapping[str, Audit | str], test_id: str) -> tuple[list[Audit], str]:
    """Audits of the roles of a test, each dataset once, and the reasons of the others."""
    held: dict[str, Audit] = {}
    why = []
    for role in ROLES[test_id]:
        found = audits[role]
        if isinstance(found, str):
            why.append(f"{role}: {found}")
        else:
            held.setdefault(found.tissue.name, found)
    return list(held.values()), "; ".join(why)


def _settings(used: Mapping[str, Any], held: Sequence[Audit], *names: str, **facts: Any) -> dict[str, Any]:
    return {name: used[name] for name in names} | {
        "cells": {one.tissue.name: one.tissue.z.shape[0] for one in held},
        "datasets": [one.tissue.name for one in held],
        "min_cells_a_label": MIN_CELLS_A_LABEL,
        "min_share_of_cells_showing_a_gene": MIN_DETECTED,
        "pairs": {one.tissue.name: one.tissue.source.size for one in held},
        "reference": {one.tissue.name: one.tissue.reference for one in held},
        **facts,
    }


def _donor(
    inputs: AnalysisInputs, test_id: str, audits: Mapping[str, Audit | str], used: Mapping[str, Any]
) -> TestResult:
    held, why = _held(audits, test_id)
    if not held:
        return skip(inputs, test_id, why)
    found = held[0]
    first = audits[ROLES["A08.1"][0]]
    if test_id == "A08.2" and first is found:
        return skip(inputs, test_id, "same as A08.1", role=found.tissue.sample)
    if reason := found.tissue.labels["donor"].reason:
        return skip(inputs, test_id, reason, role=found.tissue.sample)
    return _label_row(inputs, test_id, held, used, "donor", "logistic", "")


def _assay(
    inputs: AnalysisInputs, test_id: str, audits: Mapping[str, Audit | str], used: Mapping[str, Any]
) -> TestResult:
    every, why = _held(audits, test_id)
    held = [one for one in every if not one.tissue.labels["assay"].reason]
    reasons = [why] if why else []
    reasons += [one.tissue.labels["assay"].reason for one in every if one not in held]
    if not held:
        return skip(inputs, test_id, "; ".join(reasons), role=every[0].tissue.sample if every else None)
    return _label_row(inputs, test_id, held, used, "assay", "random_forest", "; ".join(reasons))


def _label_row(
    inputs: AnalysisInputs,
    test_id: str,
    held: Sequence[Audit],
    used: Mapping[str, Any],
    label: str,
    classifier: str,
    reason: str,
) -> TestResult:
    """AUC of one classifier, mean over tissues; p of the linear classifier that every permutation fits again."""
    folds = np.mean([_fold_aucs(one, label, classifier) for one in held], axis=0)
    auc, low, high = fold_interval(folds)
    draws = np.mean([one.nulls[label].draws for one in held], axis=0)
    linear = float(np.mean([one.nulls[label].auc for one in held]))
    facts = _settings(used, held, "folds", "leakage_permutations", "leakage_trees", **_label_facts(held, label))
    return row(
        inputs,
        pooled_source(one.tissue.sample for one in held),
        test_id,
        settings=facts | {"classifier": classifier, "label": label, "linear_auc": linear, "top_pairs": TOP},
        layer=None,
        reason=reason,
        statistic=linear,
        effect=auc,
        ci_low=low,
        ci_high=high,
        p=permutation_p(linear, draws),
        n=sum(one.tissue.labels[label].known.size for one in held),
        null_name=f"{label}s permuted within folds, linear classifier fitted again",
        null_mean=draws.mean(),
        null_sd=draws.std(ddof=1) if draws.size > 1 else None,
        resamples_requested=int(used["leakage_permutations"]),
        resamples_done=draws.size,
        direction=f"AUC of reading the {label} off edge features, .5 by chance; above .5 means that edges carry it",
    )


def _fold_aucs(one: Audit, label: str, classifier: str) -> Any:
    found = one.reading(label, classifier).found
    if found is None:
        raise ValueError(f"{one.tissue.name} has no reading of {label}")
    return found.auc


def _label_facts(held: Sequence[Audit], label: str) -> dict[str, Any]:
    """Readings beside the one of the row: the other classifier, within cell types, and both further nulls."""
    facts: dict[str, Any] = {"forest_permutations_requested_share": 1 / FOREST_SHARE}
    for one in held:
        named = {
            f"{classifier}_{cells}": None if found is None else float(found.auc.mean())
            for classifier in CLASSIFIERS
            for cells in ("all", "within_cell_type")
            for found in (one.reading(label, classifier, cells).found,)
        }
        within = one.nulls_within.get(label)
        named["p_permuted_within_cell_types"] = None if within is None else within.p
        named["null_mean_within_cell_types"] = None if within is None else float(within.draws.mean())
        named["forest_null_mean"] = float(one.forest_nulls[label].mean())
        named["forest_null_draws"] = one.forest_nulls[label].size
        facts[one.tissue.name] = named
    return facts


def _left_out(
    inputs: AnalysisInputs, test_id: str, audits: Mapping[str, Audit | str], used: Mapping[str, Any]
) -> TestResult:
    every, why = _held(audits, test_id)
    reasons = [why] if why else []
    reasons += [one.left_out for one in every if isinstance(one.left_out, str)]
    pairs = [(one, one.left_out) for one in every if isinstance(one.left_out, LeaveOneOut)]
    if not pairs:
        return skip(inputs, test_id, "; ".join(reasons), role=every[0].tissue.sample if every else None)
    held = [one for one, _ in pairs]
    observed = float(np.mean([left.median for _, left in pairs]))
    draws = np.mean([left.medians for _, left in pairs], axis=0)
    facts = {
        "by_dataset": {one.tissue.name: left.median for one, left in pairs},
        **_composition_matched(held, observed),
        "edge_score": "Pearson correlation",
        "edges_without_sd": {one.tissue.name: int(np.isnan(left.observed).sum()) for one, left in pairs},
        "ratio_to_null": observed / float(draws.mean()),
        "summary": "median over edges, mean over datasets",
    }
    return row(
        inputs,
        pooled_source(one.tissue.sample for one in held),
        test_id,
        settings=_settings(used, held, "lodo_draws", **facts),
        layer=None,
        reason="; ".join([*reasons, "no interval: donors are the unit and each is left out once"]),
        statistic=observed - float(draws.mean()),
        effect=observed,
        p=permutation_p(observed, draws),
        n=sum(len(one.tissue.labels["donor"].levels) for one in held),
        unit="donor",
        null_name="random drops of as many cells",
        null_mean=draws.mean(),
        null_sd=draws.std(ddof=1) if draws.size > 1 else None,
        resamples_requested=int(used["lodo_draws"]),
        resamples_done=draws.size,
        direction="SD of an edge over leaving one donor out, median; above the null means that donors move edges",
    )


def _composition_matched(held: Sequence[Audit], observed: float) -> dict[str, Any]:
    """The same SD where random drops have the cell types of the donor; None where a dataset names no types."""
    within = [one.left_out_within for one in held if isinstance(one.left_out_within, LeaveOneOut)]
    if len(within) < len(held):
        return {"composition_matched_mean": None, "composition_matched_p": None}
    draws = np.mean([left.medians for left in within], axis=0)
    return {
        "composition_matched_mean": float(draws.mean()),
        "composition_matched_p": permutation_p(observed, draws),
    }


def _gap(
    inputs: AnalysisInputs, test_id: str, audits: Mapping[str, Audit | str], used: Mapping[str, Any]
) -> TestResult:
    held, why = _held(audits, test_id)
    if not held:
        return skip(inputs, test_id, why)
    found, gap = held[0], held[0].gap
    if isinstance(gap, str):
        return skip(inputs, test_id, gap, role=found.tissue.sample)
    low, high = _donor_interval(gap.random - gap.grouped)
    facts = {
        "by_donor_grouped": gap.grouped.tolist(),
        "by_donor_random": gap.random.tolist(),
        "classifier": "ridge regression on 50 principal components",
        "donor_permutations": gap.draws.size,
        "target": "cell_type",
        "top_pairs": TOP,
    }
    return row(
        inputs,
        found.tissue.sample,
        test_id,
        settings=_settings(used, held, "leakage_permutations", **facts),
        layer=None,
        statistic=gap.grouped.mean(),
        effect=gap.gap,
        ci_low=low,
        ci_high=high,
        p=gap.p,
        n=gap.random.size,
        unit="donor",
        null_name="donors permuted within cell types, classifier fitted again",
        null_mean=gap.draws.mean(),
        null_sd=gap.draws.std(ddof=1) if gap.draws.size > 1 else None,
        resamples_requested=gap.draws.size,
        resamples_done=gap.draws.size,
        direction="AUC with cells of the donor in training minus without; above 0 means that random folds flatter",
    )


def _donor_interval(differences: Any) -> tuple[float, float]:
    """95 % t interval of the mean over donors; none for a single donor."""
    from scipy.stats import t

    if differences.size < 2:
        return float("nan"), float("nan")
    half = float(t.ppf(0.975, differences.size - 1) * differences.std(ddof=1) / np.sqrt(differences.size))
    return float(differences.mean()) - half, float(differences.mean()) + half


def _cells_read(one: Audit) -> int:
    """Cells that have any of the labels that can be read; a cell that several classifiers see counts once."""
    codes = [label.code for name, label in one.tissue.labels.items() if name in LABELS and not label.reason]
    return int((np.array(codes) >= 0).any(axis=0).sum())


def _folds(
    inputs: AnalysisInputs, test_id: str, audits: Mapping[str, Audit | str], used: Mapping[str, Any]
) -> TestResult:
    every, why = _held(audits, test_id)
    read = [(one, r) for one in every for r in one.readings if r.label in LABELS and r.cells == "all" and r.found]
    reasons = [why] if why else []
    reasons += [one.tissue.labels[name].reason for one in every for name in LABELS if one.tissue.labels[name].reason]
    if not read:
        return skip(inputs, test_id, "; ".join(reasons), role=every[0].tissue.sample if every else None)
    held = list({one.tissue.name: one for one, _ in read}.values())
    spread = [float(r.found.auc.std(ddof=1)) for _, r in read if r.found]
    each = {
        f"{one.tissue.name} {r.label} {r.classifier}": {
            "auc_mean": float(r.found.auc.mean()),
            "auc_sd": float(r.found.auc.std(ddof=1)),
            "balanced_accuracy_mean": float(r.found.balanced_accuracy.mean()),
            "balanced_accuracy_sd": float(r.found.balanced_accuracy.std(ddof=1)),
        }
        for one, r in read
        if r.found
    }
    folds = np.mean([r.found.auc for _, r in read if r.found], axis=0)
    mean, low, high = fold_interval(folds)
    facts = {"classifiers": each, "min_cells_a_type": MIN_CELLS_A_TYPE, "top_pairs": TOP}
    return row(
        inputs,
        pooled_source(one.tissue.sample for one in held),
        test_id,
        settings=_settings(used, held, "folds", "leakage_trees", **facts),
        layer=None,
        reason="; ".join(reasons),
        statistic=float(np.mean(spread)),
        effect=mean,
        ci_low=low,
        ci_high=high,
        n=sum(_cells_read(one) for one in held),
        unit="cell",
        null_name="chance",
        null_mean=0.5,
        resamples_requested=int(used["folds"]),
        resamples_done=folds.size,
        direction="AUC, mean over folds and classifiers; the statistic is its SD over folds, mean over classifiers",
    )
