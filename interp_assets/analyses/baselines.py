"""Analyses 21 and 22: edges against what a single gene's statistics give, and attention against correlation.

Both compare per-perturbation AUROC of the same perturbations, candidates and cells, and never pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

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
from interp_assets.analyses.scores import DE_RATE, GENE_LEVEL, SUBSETS, Subset, check_same_cells, subsets
from interp_assets.stats.paired import cohens_d, equivalence_test, signed_rank
from interp_assets.stats.resampling import paired_mean_difference
from qc_standards.records import TestResult

EDGES = ("attention", "correlation")
BASELINES = (*GENE_LEVEL, DE_RATE)
MUST_BEAT = ("variance", "mean", "one_minus_dropout")
NOTHING = "no perturbation has enough positive and negative candidates; see perturbation_exclusions"
COMPARISONS = {
    "A21.1": ("variance", "correlation"),
    "A21.2": ("mean", "correlation"),
    "A21.3": ("one_minus_dropout", "correlation"),
    "A21.4": ("tf_out_degree", "correlation"),
    "A21.5": ("variance", "attention"),
    "A21.6": ("mean", "attention"),
    "A21.7": ("one_minus_dropout", "attention"),
}

BASELINE_COLUMNS = (
    *("role", "dataset", "subset", "baseline", "edge", "n", "mean_edge", "mean_baseline", "mean_difference"),
    *("ci_low", "ci_high", "p_two_sided", "p_edge_greater", "q_edge_greater"),
    *("resamples_requested", "resamples_done", "statistic"),
)
EDGE_COLUMNS = (
    *("role", "dataset", "subset", "n", "mean_attention", "sd_attention", "mean_correlation", "sd_correlation"),
    *("mean_difference", "ci_low", "ci_high", "p", "cohen_d", "equivalence_margin", "p_tost", "equivalent"),
    *("smallest_attainable_p", "resamples_requested", "resamples_done", "statistic", "layer"),
)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Per-perturbation AUROCs of one evaluation, and how they were made."""

    role: RoleInputs
    frame: pd.DataFrame
    shares: Mapping[str, float]
    layer: int


def gene_level_baselines(inputs: AnalysisInputs) -> AnalysisOutput:
    """Target variance, mean, 1 - dropout and TF out-degree against the edges, paired over perturbations.

    Effect and interval are of AUROC(baseline) - AUROC(edge): positive means that a property of the target
    alone, equal for every perturbation, does better. The table adds the reverse one-sided test with
    Benjamini-Hochberg over the three baselines that attention must beat (paper 7.2, criterion a), and, where it is
    known, how often the target answers to other training perturbations: a baseline that has seen outcomes.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    compared = compared_with_baselines(inputs, role)
    table = baseline_differences(inputs, compared)
    results = [_baseline_row(inputs, compared, table, spec.test_id) for spec in inputs.tests]
    return collect(inputs, results, {"baseline_differences": table})


def attention_against_correlation(inputs: AnalysisInputs) -> AnalysisOutput:
    """Attention minus correlation per perturbation at the layer fixed beforehand, with an equivalence test.

    Both scores must come from the same cells. A large p is not equality: the table holds the two one-sided
    tests at the study's margin and the smallest p this number of perturbations can reach (analysis 22).
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    compared = _compare(inputs, role, EDGES)
    table = pd.DataFrame([_edge_difference(inputs, compared, subset) for subset in subsets(role)])
    results = [_edge_row(inputs, compared, table, spec.test_id) for spec in inputs.tests]
    return collect(inputs, results, {"attention_vs_correlation": table})


def compared_with_baselines(inputs: AnalysisInputs, role: RoleInputs) -> _Compared:
    """Per-perturbation AUROCs of the edges and of every gene-level baseline on the screen of one role."""
    return _compare(inputs, role, (*EDGES, *BASELINES))


def baseline_differences(inputs: AnalysisInputs, compared: _Compared) -> pd.DataFrame:
    """One row per subset, edge and baseline: mean difference, interval and both tests."""
    rows = []
    named = [name for name in BASELINES if name != DE_RATE or compared.role.de_rate is not None]
    for subset in subsets(compared.role):
        values = paired_aurocs(compared.frame, subset)
        for edge in EDGES:
            part = [_baseline_difference(inputs, compared, subset, name, edge, values) for name in named]
            _add_q(part)
            rows.extend(part)
    return pd.DataFrame(rows)


def _compare(inputs: AnalysisInputs, role: RoleInputs, names: tuple[str, ...]) -> _Compared:
    check_same_cells(role)
    layer = analysis_layer(inputs, role)
    return _Compared(role, *score_aurocs(inputs, role, layer, names), layer)


def _baseline_difference(
    inputs: AnalysisInputs,
    compared: _Compared,
    subset: Subset,
    baseline: str,
    edge: str,
    values: Mapping[str, NDArray[np.float64]],
) -> dict[str, object]:
    requested = chosen_settings(inputs, "bootstrap")["bootstrap"]
    found: dict[str, object] = dict.fromkeys(BASELINE_COLUMNS, np.nan)
    found |= {
        "role": compared.role.role,
        "dataset": compared.role.dataset,
        "subset": subset,
        "baseline": baseline,
        "edge": edge,
        "n": 0,
        "resamples_requested": requested,
        "resamples_done": 0,
    }
    if edge not in values:
        return found
    # One generator per comparison: adding a comparison must not move the intervals of the others.
    rng = generator(inputs, 21, BASELINES.index(baseline), EDGES.index(edge), SUBSETS.index(subset))
    difference = paired_mean_difference(values[baseline], values[edge], rng, requested)
    two_sided = signed_rank(values[baseline] - values[edge])
    return found | {
        "n": values[edge].size,
        "mean_edge": values[edge].mean(),
        "mean_baseline": values[baseline].mean(),
        "mean_difference": difference.mean,
        "ci_low": difference.interval.low,
        "ci_high": difference.interval.high,
        "p_two_sided": two_sided.p,
        "p_edge_greater": signed_rank(values[edge] - values[baseline], "greater").p,
        "resamples_done": difference.interval.resamples_done,
        "statistic": two_sided.statistic,
    }


def _add_q(rows: list[dict[str, object]]) -> None:
    """Benjamini-Hochberg over the three baselines an edge must beat.

    Out-degree is a control, the response rate has seen outcomes; neither is in the family, neither has a q.
    """
    family = [item for item in rows if item["baseline"] in MUST_BEAT]
    p = np.array([item["p_edge_greater"] for item in family], dtype=np.float64)
    if np.isnan(p).any():
        return
    for item, q in zip(family, false_discovery_control(p), strict=True):
        item["q_edge_greater"] = float(q)


def _baseline_row(inputs: AnalysisInputs, compared: _Compared, table: pd.DataFrame, test_id: str) -> TestResult:
    baseline, edge = COMPARISONS[test_id]
    used = _settings(inputs, compared, (edge,)) | {"baseline": baseline, "edge": edge}
    chosen = (table["subset"] == "all") & (table["baseline"] == baseline) & (table["edge"] == edge)
    found = table[chosen].iloc[0]
    if found["n"] == 0:
        return skip(inputs, test_id, NOTHING, role=compared.role, settings=used, layer=compared.layer)
    return _difference_row(
        inputs, compared, test_id, found, used, direction=f"{baseline} - {edge}", p=found["p_two_sided"]
    )


def _edge_difference(inputs: AnalysisInputs, compared: _Compared, subset: Subset) -> dict[str, object]:
    chosen = chosen_settings(inputs, "bootstrap", "equivalence_margin")
    values = paired_aurocs(compared.frame, subset)
    found: dict[str, object] = dict.fromkeys(EDGE_COLUMNS, np.nan)
    found |= {
        "role": compared.role.role,
        "dataset": compared.role.dataset,
        "subset": subset,
        "n": 0,
        "equivalence_margin": float(chosen["equivalence_margin"]),
        "equivalent": False,
        "resamples_requested": chosen["bootstrap"],
        "resamples_done": 0,
        "layer": compared.layer,
    }
    if "attention" not in values:
        return found
    attention, correlation = values["attention"], values["correlation"]
    rng = generator(inputs, 22, SUBSETS.index(subset))
    difference = paired_mean_difference(attention, correlation, rng, chosen["bootstrap"])
    test = signed_rank(attention - correlation)
    equal = equivalence_test(attention - correlation, float(chosen["equivalence_margin"]))
    several = attention.size > 1
    return found | {
        "n": attention.size,
        "mean_attention": attention.mean(),
        "sd_attention": attention.std(ddof=1) if several else np.nan,
        "mean_correlation": correlation.mean(),
        "sd_correlation": correlation.std(ddof=1) if several else np.nan,
        "mean_difference": difference.mean,
        "ci_low": difference.interval.low,
        "ci_high": difference.interval.high,
        "p": test.p,
        "cohen_d": cohens_d(attention - correlation),
        "p_tost": equal.p,
        "equivalent": equal.equivalent,
        "smallest_attainable_p": test.smallest_p,
        "resamples_done": difference.interval.resamples_done,
        "statistic": test.statistic,
    }


def _edge_row(inputs: AnalysisInputs, compared: _Compared, table: pd.DataFrame, test_id: str) -> TestResult:
    used = _settings(inputs, compared, EDGES) | chosen_settings(inputs, "equivalence_margin")
    found = table[table["subset"] == "all"].iloc[0]
    if found["n"] == 0:
        return skip(inputs, test_id, NOTHING, role=compared.role, settings=used, layer=compared.layer)
    direction = "attention - correlation"
    return _difference_row(inputs, compared, test_id, found, used, direction=direction, p=found["p"])


def _difference_row(
    inputs: AnalysisInputs,
    compared: _Compared,
    test_id: str,
    found: pd.Series,
    used: Mapping[str, object],
    *,
    direction: str,
    p: float,
) -> TestResult:
    return row(
        inputs,
        compared.role,
        test_id,
        settings=used,
        layer=compared.layer,
        statistic=found["statistic"],
        effect=found["mean_difference"],
        effect_kind="delta_auroc",
        ci_low=found["ci_low"],
        ci_high=found["ci_high"],
        p=p,
        n=int(found["n"]),
        unit="perturbation",
        null_name="no difference",
        null_mean=0.0,
        resamples_requested=int(found["resamples_requested"]),
        resamples_done=int(found["resamples_done"]),
        direction=direction,
    )


def _settings(inputs: AnalysisInputs, compared: _Compared, edges: tuple[str, ...]) -> dict[str, object]:
    used: dict[str, object] = chosen_settings(inputs, "analysis_depth", "bootstrap", "min_positives", "min_negatives")
    return used | {"missing_rule": "lowest", "missing_share": {edge: compared.shares[edge] for edge in edges}}
