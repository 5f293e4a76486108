"""Analysis 37: another cell line, a small screen, and whether the choice of genes makes the result.

Attention minus correlation at published depths in every context, the protocol of the most variable genes on the same
perturbations, and analyses 21, 25 and 26 on the other line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.analyses.context_parts import (
    LEARNER,
    PART_SETTINGS,
    ContextParts,
    direct_targets,
    further_parts,
)
from interp_assets.analyses.incremental_value import gain_row
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.paired_contexts import (
    DEPTHS,
    EDGES,
    FEWEST,
    Context,
    PairedScores,
    context_row,
    context_settings,
    context_table,
    evidence_numbers,
    in_context,
    paired_scores,
    skipped_context,
    too_few,
)
from interp_assets.analyses.replication import CONTEXT_SETTINGS, Asked, replicated
from interp_assets.analyses.residualisation import retention_row
from interp_assets.analyses.restricted_universe import CONDITIONS, Universes, compare_universes, universe_table
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    role_or_reason,
    row,
    skip,
)
from interp_assets.analyses.scores import edge_scores
from interp_assets.edges.layers import resolve_layer
from interp_assets.stats.paired import cohens_d
from interp_assets.stats.replication import context_evidence
from interp_assets.stats.resampling import bootstrap_mean
from qc_standards.records import TestResult

NUMBER: Final = 37
OTHER: Final = "other_line_screen"
PRIMARY: Final = "primary_screen"
FIRST: Final = (*CONTEXT_SETTINGS, "context_bootstrap", "restricted_share")
SETTINGS: Final = (*FIRST, *(name for name in PART_SETTINGS if name not in FIRST))
# The layer of A37.6 to A37.9 is not stated; the published numbers are those of layer 15.
PROTOCOL_DEPTH: Final = "L15"
ASKED: Final[Mapping[str, Asked]] = {
    "A37.1": (OTHER, "L6"),
    "A37.2": (OTHER, "L13"),
    "A37.3": (OTHER, "L15"),
    "A37.4": (OTHER, "L18"),
    "A37.5": ("small_screens[2]", "L15"),
    "A37.7": (PRIMARY, PROTOCOL_DEPTH),
    "A37.8": (OTHER, PROTOCOL_DEPTH),
}
PROTOCOL: Final = ("A37.6", "A37.9")
PARTS: Final = ("A37.10", "A37.11", "A37.12")


def cross_context_battery(inputs: AnalysisInputs) -> AnalysisOutput:
    """Attention minus correlation in other contexts, among the most variable genes, and beside gene-level features.

    Rows A37.1 to A37.5, A37.7 and A37.8: paired differences with studentised intervals. A37.6: what restricting the
    universe to its most variable genes changes on the same perturbations; A37.9: the difference there. A37.10 to
    A37.12: incremental value, residual recovery and direct targets of the other line at the layer fixed beforehand.
    Tables: `replication_37` (columns of standard QCS-31; also the primary screen at every published depth; never the
    restricted universe, which is no other context), `hvg_protocol`, `direct_targets_37`, `replication_37_baselines`,
    `_residual`, `_incremental` and `_parts` as in analysis 28.
    """
    used = chosen_settings(inputs, *SETTINGS)
    resamples = int(used["context_bootstrap"])
    results, contexts = replicated(inputs, NUMBER, ASKED, used, resamples)
    contexts += _primary_elsewhere(inputs, used, contexts)
    tables: dict[str, pd.DataFrame] = {}
    other = role_or_reason(inputs, OTHER)
    if isinstance(other, str):
        results += [skipped_context(inputs, None, test_id, other) for test_id in (*PROTOCOL, *PARTS)]
    else:
        rows, tables = _protocol(inputs, other, used)
        parts, targets = further_parts(inputs, other), direct_targets(inputs, other)
        results += [
            *rows,
            _gain(inputs, other, parts),
            _residual(inputs, other, parts),
            _targets(inputs, other, targets),
        ]
        tables |= parts.tables("replication_37")
        tables |= {} if isinstance(targets, str) else {"direct_targets_37": targets}
    if contexts:
        tables["replication_37"] = context_table(contexts)
    return collect(inputs, results, tables)


def _primary_elsewhere(inputs: AnalysisInputs, used: Mapping[str, Any], told: list[Context]) -> list[Context]:
    """The primary screen at the published depths that no row asks for, so that each depth is seen in two contexts."""
    role = inputs.roles.get(PRIMARY)
    if role is None:
        return []
    known = {context.scores.layer for context in told if context.scores.role is role}
    wanted = dict.fromkeys(resolve_layer(depth, role.attention.layers) for depth in DEPTHS.values())
    found = []
    for layer in (layer for layer in wanted if layer not in known):
        scores = paired_scores(inputs, role, layer)
        if not too_few(scores.perturbations.size, role.dataset):
            rng = generator(inputs, NUMBER, 80, layer)
            found.append(in_context(scores, rng, used, int(used["context_bootstrap"])))
    return found


def _protocol(
    inputs: AnalysisInputs, role: RoleInputs, used: Mapping[str, Any]
) -> tuple[list[TestResult], dict[str, pd.DataFrame]]:
    """Rows A37.6 and A37.9, and the table of the restricted universe."""
    layer = resolve_layer(DEPTHS[PROTOCOL_DEPTH], role.attention.layers)
    resamples = int(used["context_bootstrap"])
    found = compare_universes(inputs, role, layer)
    tables = {"hvg_protocol": universe_table(inputs, found, NUMBER, resamples)}
    few = too_few(found.restricted.perturbations.size, f"{role.dataset} among its most variable genes")
    if few:
        return [skipped_context(inputs, role, test_id, few, layer) for test_id in PROTOCOL], tables
    restricted = in_context(found.restricted, generator(inputs, NUMBER, 9), used, resamples)
    settings = _protocol_settings(found, used)
    told = "attention - correlation among the most variable genes"
    rows = [
        _change_row(inputs, found, used, settings, tables["hvg_protocol"]),
        context_row(inputs, restricted, "A37.9", settings, told),
    ]
    return rows, tables


def _protocol_settings(found: Universes, used: Mapping[str, Any]) -> dict[str, Any]:
    settings = context_settings(found.restricted, used, DEPTHS[PROTOCOL_DEPTH])
    return settings | {
        "genes_of_whole_universe": found.wide.role.genes.size,
        "perturbations_of_whole_universe": found.wide.attention.size,
        "published_layer": PROTOCOL_DEPTH,
        "restricted_share": used["restricted_share"],
        "ranked_by": "variance over control cells",
        "read_again": "yes" if found.again is not None else found.why_not,
    }


def _change_row(
    inputs: AnalysisInputs,
    found: Universes,
    used: Mapping[str, Any],
    settings: Mapping[str, Any],
    table: pd.DataFrame,
) -> TestResult:
    """A37.6: the difference among the most variable genes minus that of the same perturbations among all."""
    change = found.restricted.difference - found.same.difference
    rng = generator(inputs, NUMBER, 6)
    evidence = context_evidence(change, float(used["equivalence_margin"]), rng, int(used["context_bootstrap"]))
    again = table.set_index("condition").loc[CONDITIONS[3], ["change", "change_ci_low", "change_ci_high", "change_p"]]
    size = cohens_d(change)
    return row(
        inputs,
        found.wide.role,
        "A37.6",
        settings={
            **settings,
            "cohen_d": size if np.isfinite(size) else None,
            "restricted": _means(found.restricted),
            "whole_universe": _means(found.same),
            "change_read_again": {name: None if pd.isna(value) else float(value) for name, value in again.items()},
            "detectable_difference": evidence.detectable,
            "smallest_attainable_p": evidence.test.smallest_p,
        },
        layer=found.wide.layer,
        null_name="no change",
        **evidence_numbers(
            evidence,
            "(attention - correlation) among the most variable genes minus the same perturbations in the whole "
            "universe",
        ),
    )


def _means(scores: PairedScores) -> dict[str, float]:
    return {
        "attention": float(scores.attention.mean()),
        "correlation": float(scores.correlation.mean()),
        "difference": float(scores.difference.mean()),
    }


def _gain(inputs: AnalysisInputs, role: RoleInputs, parts: ContextParts) -> TestResult:
    if isinstance(parts.gained, str):
        return skip(inputs, "A37.10", parts.gained, role=role, layer=analysis_layer(inputs, role))
    comparison, cells = parts.gained
    return gain_row(inputs, role, comparison, "A37.10", cells[0], "auroc", "delta_auroc")


def _residual(inputs: AnalysisInputs, role: RoleInputs, parts: ContextParts) -> TestResult:
    layer = analysis_layer(inputs, role)
    if isinstance(parts.retained, str):
        return skip(inputs, "A37.11", parts.retained, role=role, layer=layer)
    pairs, found = parts.retained
    scored = ("attention", LEARNER)
    return retention_row(inputs, role, pairs, "A37.11", scored, found[scored], layer)


def _targets(inputs: AnalysisInputs, role: RoleInputs, found: pd.DataFrame | str) -> TestResult:
    """A37.12: mean AUROC over regulators of the targets that respond and are listed; correlation is the statistic."""
    layer = analysis_layer(inputs, role)
    used = chosen_settings(inputs, "analysis_depth", "bootstrap", "min_positives", "min_negatives")
    if not isinstance(found, str) and len(found) < FEWEST:
        listed = f"{len(found)} perturbed regulators have enough targets that respond and are listed"
        found = f"{role.dataset}: {listed}; at least {FEWEST} are needed for a mean (see direct_targets_37)"
    if isinstance(found, str):
        return skip(inputs, "A37.12", found, role=role, settings=used, layer=layer)
    values = found["attention"].to_numpy()
    interval = bootstrap_mean(values, generator(inputs, NUMBER, 12), int(used["bootstrap"]))
    return row(
        inputs,
        role,
        "A37.12",
        settings=used
        | {
            "direct_targets": int(found["n_direct"].sum()),
            "missing_rule": "lowest",
            "missing_share": {edge: edge_scores(role, edge, layer).filled_share for edge in EDGES},
            "positives": "responds and is listed",
            "reference": found["reference"].iloc[0],
            "variance_baseline": float(found["variance"].mean()),
        },
        layer=layer,
        statistic=found["correlation"].mean(),
        effect=values.mean(),
        effect_kind="auroc",
        ci_low=interval.low,
        ci_high=interval.high,
        n=values.size,
        unit="TF",
        null_name="chance",
        null_mean=0.5,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction="mean AUROC of attention on targets that respond and are listed; the statistic is correlation's",
    )
