"""Analysis 23: which layer the battery reads, chosen where no outcome of the evaluation can be seen.

The choice is made by `choose_layer` on the dataset of the layer-selection role alone and frozen with a hash; the
evaluation only reads the record. What the evaluation's own profile looks like is a secondary view.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.perturbation_first import paired_aurocs, score_aurocs
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    role_or_reason,
    row,
    skip,
    skip_all,
)
from interp_assets.analyses.scores import check_same_cells, edge_scores, reference_pairs, reference_scores
from interp_assets.edges.layers import LayerChoice, relative_depth
from interp_assets.stats.ranking import auroc, r_precision
from interp_assets.stats.resampling import (
    bootstrap_mean,
    group_weights,
    grouped_auroc_bootstrap,
    percentile_interval,
)
from qc_standards.records import TestResult

NUMBER = 23
CRITERION = "auroc"
MIN_POSITIVES = 10


def choose_layer(
    role: RoleInputs, reference: str, resamples: int, seed: int
) -> tuple[LayerChoice, pd.DataFrame] | tuple[str, pd.DataFrame]:
    """Frozen choice of the layer with the best recovery of ``reference``, and the profile over all layers.

    Recovery is the AUROC over candidate pairs of the reference (each listed regulator against every other gene,
    paper section 4); ties go to the earlier layer. The profile has one row a layer: auroc with a 95 % interval
    over regulators, and F1 at as many pairs as the reference holds, because one account of the published choice
    names AUROC and another F1. Where the dataset cannot choose, a reason comes back in place of a choice.
    """
    if reference not in role.references:
        return f"reference {reference!r} is not available for {role.dataset}", pd.DataFrame()
    pairs = reference_pairs(role, reference)
    positives = int(pairs.member.sum())
    if positives < MIN_POSITIVES:
        few = f"reference {reference} has {positives} pairs among the {role.genes.size} evaluable genes"
        return f"{few} of {role.dataset}; {MIN_POSITIVES} are needed", pd.DataFrame()
    candidate = pairs.regulators[:, None] != np.arange(role.genes.size)[None, :]
    regulator = np.nonzero(candidate)[0]
    label = pairs.member[candidate].astype(np.int8)
    weights = group_weights(pairs.regulators.size, resamples, np.random.default_rng([seed, NUMBER]))
    rows = []
    for layer in range(role.attention.layers):
        scores = reference_scores(pairs, edge_scores(role, "attention", layer).score)[candidate]
        interval = percentile_interval(grouped_auroc_bootstrap(scores, label, regulator, weights), requested=resamples)
        rows.append(
            {
                "dataset": role.dataset,
                "reference": reference,
                "layer": layer,
                "depth": relative_depth(layer, role.attention.layers),
                "auroc": float(auroc(scores, label[None])[0]),
                "ci_low": interval.low,
                "ci_high": interval.high,
                "f1_at_positives": float(r_precision(scores, label[None])[0]),
                "n_positive": positives,
                "n_pairs": int(label.size),
                "n_regulators": int(pairs.regulators.size),
                "resamples_requested": interval.resamples_requested,
                "resamples_done": interval.resamples_done,
            }
        )
    profile = pd.DataFrame(rows)
    best = int(profile["auroc"].to_numpy().argmax())
    profile["chosen"] = profile["layer"] == best
    choice = LayerChoice(
        depth=relative_depth(best, role.attention.layers),
        chosen_by=f"best AUROC of {reference} on {role.dataset}",
        dataset=role.dataset,
        reference=reference,
        criterion=CRITERION,
        layer=best,
        layers=role.attention.layers,
        score=float(profile["auroc"].iloc[best]),
        cells_hash=role.attention.cells_hash,
        profile_hash=hashlib.sha256(profile.to_csv(index=False).encode("utf-8")).hexdigest(),
    )
    return choice, profile


def layer_prespecification(inputs: AnalysisInputs) -> AnalysisOutput:
    """Attention's mean per-perturbation AUROC at the frozen layer, beside the profile that froze it.

    The row is descriptive. It is skipped where the study settings fixed the layer: nothing was chosen then
    (paper section 5, analysis 23). Tables ``layer_choice`` and ``layer_selection_profile``.
    """
    role = role_or_reason(inputs, "primary_screen")
    choice = inputs.layer_choice
    if isinstance(role, str):
        return skip_all(inputs, role)
    if choice is None or not choice.dataset:
        why = "no layer choice was handed in" if choice is None else choice.chosen_by
        return skip_all(inputs, f"no layer was chosen on another dataset ({why})", role=role)
    check_same_cells(role)
    tables = {
        "layer_choice": choice_table(choice, inputs.selection_profile, role),
        "layer_selection_profile": inputs.selection_profile,
    }
    layer = analysis_layer(inputs, role)
    frame, shares = score_aurocs(inputs, role, layer, ("attention",))
    values = paired_aurocs(frame, "all").get("attention", np.empty(0))
    results = [_row(inputs, role, spec.test_id, choice, values, shares["attention"]) for spec in inputs.tests]
    return collect(inputs, results, tables)


def choice_table(choice: LayerChoice, profile: pd.DataFrame, role: RoleInputs) -> pd.DataFrame:
    """One row: the frozen record, what F1 would have chosen, and whether the evaluated cells took part."""
    by_f1 = int(profile["layer"].iloc[int(profile["f1_at_positives"].to_numpy().argmax())])
    return pd.DataFrame(
        [
            {
                "dataset": choice.dataset,
                "reference": choice.reference,
                "criterion": choice.criterion,
                "layer": choice.layer,
                "layers": choice.layers,
                "depth": choice.depth,
                "auroc": choice.score,
                "layer_by_f1": by_f1,
                "evaluated_dataset": role.dataset,
                "same_cells": choice.cells_hash == role.attention.cells_hash,
                "cells_hash": choice.cells_hash,
                "profile_hash": choice.profile_hash,
                "sha256": choice.sha256,
                "chosen_by": choice.chosen_by,
            }
        ]
    )


def _row(
    inputs: AnalysisInputs,
    role: RoleInputs,
    test_id: str,
    choice: LayerChoice,
    values: NDArray[np.float64],
    missing_share: float,
) -> TestResult:
    used = chosen_settings(inputs, "analysis_depth", "bootstrap", "min_positives", "min_negatives")
    used |= {
        "chosen_on": choice.dataset,
        "criterion": choice.criterion,
        "layer_choice": choice.sha256,
        "missing_rule": "lowest",
        "missing_share": missing_share,
        "reference": choice.reference,
    }
    layer = analysis_layer(inputs, role)
    if values.size == 0:
        reason = "no perturbation has enough positive and negative candidates; see perturbation_exclusions"
        return skip(inputs, test_id, reason, role=role, settings=used, layer=layer)
    interval = bootstrap_mean(values, generator(inputs, NUMBER), used["bootstrap"])
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        statistic=choice.score,
        effect=values.mean(),
        effect_kind="auroc",
        ci_low=interval.low,
        ci_high=interval.high,
        n=values.size,
        unit="perturbation",
        null_name="chance",
        null_mean=0.5,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction=f"mean AUROC at the frozen layer; the statistic is its {choice.criterion} on {choice.dataset}",
    )
