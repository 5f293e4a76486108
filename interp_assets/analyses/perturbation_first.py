"""Analysis 19: do the edges of a perturbed gene rank the genes that respond to it? With the layer profile.

`perturbation_auroc` is the table every later comparison of edge scores and baselines pairs on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
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
from interp_assets.analyses.scores import (
    DE_RATE,
    Subset,
    candidate_labels,
    check_same_cells,
    edge_scores,
    gene_scores,
    rate_scores,
    subsets,
)
from interp_assets.edges.layers import relative_depth
from interp_assets.stats.paired import signed_rank
from interp_assets.stats.ranking import rank_rows
from interp_assets.stats.resampling import bootstrap_mean
from qc_standards.records import TestResult

NUMBER = 19
BASELINE = "Mann-Whitney, |log fold change| > 0.1, 500 control cells"
NO_BASELINE_LABELS = (
    f"baseline configuration ({BASELINE}) needs the perturbed cells; this screen lists outcomes without them"
)


def perturbation_first_evaluation(inputs: AnalysisInputs) -> AnalysisOutput:
    """Per-perturbation AUROC of every score, the layer profile, and the test of attention against .5.

    Candidates are the evaluable genes except the perturbed one; a perturbation with too few positives or
    negatives is excluded and listed. The test is a one-sided signed-rank of AUROC - .5 over perturbations
    with a bootstrap interval over perturbations (paper section 4, analysis 19).
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    check_same_cells(role)
    layer = analysis_layer(inputs, role)
    per_score, shares = score_aurocs(inputs, role, layer)
    tables = {
        "perturbation_auroc": per_score,
        "perturbation_exclusions": exclusions(inputs, role),
        "layer_profile": layer_profile(inputs, role),
    }
    baseline = baseline_aurocs(inputs, role, layer)
    if baseline is not None:
        tables["perturbation_auroc_baseline"] = baseline
    results = [_row(inputs, role, spec.test_id, per_score, baseline, shares, layer) for spec in inputs.tests]
    return collect(inputs, results, tables)


def evaluable(inputs: AnalysisInputs, label: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Perturbations (P) with enough positive and enough negative candidates to have an AUROC."""
    limits = chosen_settings(inputs, "min_positives", "min_negatives")
    positives, negatives = (label == 1).sum(axis=1), (label == 0).sum(axis=1)
    return (positives >= max(1, limits["min_positives"])) & (negatives >= max(1, limits["min_negatives"]))


def score_aurocs(
    inputs: AnalysisInputs,
    role: RoleInputs,
    layer: int,
    names: tuple[str, ...] | None = None,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Per-perturbation AUROC of the named scores (default: all), and the share of pairs each had filled.

    Rows are (subset, score, perturbation); only evaluable perturbations are present, so any two scores of
    one subset pair completely. Missing edge scores follow `stats.ranking.fill_missing`.
    """
    frames, shares = [], {}
    labels = {subset: candidate_labels(role, subset) for subset in subsets(role)}
    for name, scores in _scores(role, layer, names, shares):
        ranked = rank_rows(scores)
        for subset, label in labels.items():
            keep = evaluable(inputs, label)
            frames.append(_auroc_frame(role, subset, name, ranked.auroc(label), label, keep))
    frame = pd.concat(frames, ignore_index=True)
    frame["layer"] = pd.array(np.where(frame["score"] == "attention", layer, -1), dtype="Int64")
    frame.loc[frame["layer"] < 0, "layer"] = pd.NA
    return frame.sort_values("subset", kind="stable", ignore_index=True), shares


def baseline_aurocs(inputs: AnalysisInputs, role: RoleInputs, layer: int) -> pd.DataFrame | None:
    """Per-perturbation AUROC of attention on labels called in the baseline configuration; None without them."""
    if role.baseline_label is None:
        return None
    label = candidate_labels(replace(role, label=role.baseline_label))
    scores = edge_scores(role, "attention", layer).score[role.source]
    return _auroc_frame(role, "all", "attention", rank_rows(scores).auroc(label), label, evaluable(inputs, label))


def _scores(
    role: RoleInputs, layer: int, names: tuple[str, ...] | None, shares: dict[str, float]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Scores P x G (pairwise, response rate) or G (gene-level), one at a time; notes the filled shares on the way."""
    for name in ("attention", "correlation", *sorted(role.trivial)):
        if names is None or name in names:
            filled = edge_scores(role, name, layer)
            shares[name] = filled.filled_share
            yield name, filled.score[role.source]
    for name, scores in gene_scores(role).items():
        if names is None or name in names:
            yield name, scores
    rates = rate_scores(role)
    if rates is not None and (names is None or DE_RATE in names):
        yield DE_RATE, rates


def _auroc_frame(
    role: RoleInputs,
    subset: Subset,
    score: str,
    values: NDArray[np.float64],
    label: NDArray[np.int8],
    keep: NDArray[np.bool_],
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "role": role.role,
            "dataset": role.dataset,
            "perturbation": role.perturbations[keep],
            "subset": subset,
            "score": score,
            "auroc": values[keep],
            "n_positive": (label == 1).sum(axis=1)[keep],
            "n_negative": (label == 0).sum(axis=1)[keep],
        }
    )


def exclusions(inputs: AnalysisInputs, role: RoleInputs) -> pd.DataFrame:
    """Perturbations without an AUROC, each with the reason, per gene subset.

    Those already lost before the analysis (not measured, not in the vocabulary) come first, without counts.
    """
    limits = chosen_settings(inputs, "min_positives", "min_negatives")
    earlier = role.exclusions[["perturbation", "reason"]].assign(role=role.role, dataset=role.dataset)
    frames = [earlier.assign(subset="all", n_positive=pd.NA, n_negative=pd.NA)]
    for subset in subsets(role):
        label = candidate_labels(role, subset)
        out = ~evaluable(inputs, label)
        frame = _auroc_frame(role, subset, "", np.zeros(out.size), label, out)
        counts = zip(frame["n_positive"], frame["n_negative"], strict=True)
        frame["reason"] = [
            f"{positives} positive and {negatives} negative candidates; "
            f"at least {limits['min_positives']} and {limits['min_negatives']} are needed"
            for positives, negatives in counts
        ]
        frames.append(frame)
    columns = ["role", "dataset", "perturbation", "subset", "n_positive", "n_negative", "reason"]
    listed = pd.concat([frame[columns].astype(object) for frame in frames], ignore_index=True)
    return listed.astype({name: "Int64" if name.startswith("n_") else "string" for name in columns})


def layer_profile(inputs: AnalysisInputs, role: RoleInputs) -> pd.DataFrame:
    """Mean and spread (ddof 1) of attention's per-perturbation AUROC in every layer: a secondary view.

    The layer of the tests was fixed beforehand; picking the best one here would be choosing on the
    evaluation data.
    """
    layers = role.attention.layers
    rows = []
    for subset in subsets(role):
        label = candidate_labels(role, subset)
        keep = evaluable(inputs, label)
        for layer in range(layers):
            scores = edge_scores(role, "attention", layer).score[role.source[keep]]
            values = rank_rows(scores).auroc(label[keep]) if keep.any() else np.empty(0)
            rows.append(
                {
                    "role": role.role,
                    "dataset": role.dataset,
                    "layer": layer,
                    "depth": relative_depth(layer, layers),
                    "subset": subset,
                    "mean_auroc": values.mean() if values.size else np.nan,
                    "sd_auroc": values.std(ddof=1) if values.size > 1 else np.nan,
                    "n_perturbations": values.size,
                }
            )
    return pd.DataFrame(rows)


def paired_aurocs(frame: pd.DataFrame, subset: Subset) -> Mapping[str, NDArray[np.float64]]:
    """AUROC by score for one subset, each in the same order of perturbations."""
    part = frame[frame["subset"] == subset]
    return {str(name): rows["auroc"].to_numpy() for name, rows in part.groupby("score", sort=False)}


def _row(
    inputs: AnalysisInputs,
    role: RoleInputs,
    test_id: str,
    frame: pd.DataFrame,
    baseline: pd.DataFrame | None,
    shares: Mapping[str, float],
    layer: int,
) -> TestResult:
    used = chosen_settings(inputs, "analysis_depth", "bootstrap", "min_positives", "min_negatives")
    used |= {"missing_rule": "lowest", "missing_share": shares["attention"], "score": "attention"}
    if test_id == "A19.1":
        if baseline is None:
            return skip(inputs, test_id, NO_BASELINE_LABELS, role=role, layer=layer)
        frame, used = baseline, used | {"configuration": BASELINE}
    values = paired_aurocs(frame, "all").get("attention", np.empty(0))
    if values.size == 0:
        reason = "no perturbation has enough positive and negative candidates; see perturbation_exclusions"
        return skip(inputs, test_id, reason, role=role, settings=used, layer=layer)
    test = signed_rank(values - 0.5, "greater")
    purpose = 1 if test_id == "A19.1" else 2
    interval = bootstrap_mean(values, generator(inputs, NUMBER, purpose), used["bootstrap"])
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        statistic=test.statistic,
        effect=values.mean(),
        effect_kind="auroc",
        ci_low=interval.low,
        ci_high=interval.high,
        p=test.p,
        n=values.size,
        unit="perturbation",
        null_name="chance",
        null_mean=0.5,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction="above .5",
    )
