"""Analysis 35: what edges say about pairs whose genes are alike in what single genes tell.

The matched set is judged on distinct pairs. Whether it is balanced is a column of every table, a setting of every
row and, where it is not, the row's reason: the published matching misses its own target too.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.analyses.incremental_value import EDGES, GENE_FEATURES, equivalence
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput
from interp_assets.analyses.matched_set import COVARIATES, NUMBER, MatchedSet, matched_set
from interp_assets.analyses.perturbation_first import evaluable
from interp_assets.analyses.rows import collect, generator, role_or_reason, row, skip, skip_all
from interp_assets.analyses.scores import check_same_cells, edge_scores
from interp_assets.stats.crossfit import TooLittleDataError
from interp_assets.stats.equivalence import two_sided_p
from interp_assets.stats.ranking import rank_rows
from interp_assets.stats.resampling import bootstrap_mean
from qc_standards.records import TestResult

METRICS: Final = ("auroc", "auprc")
KINDS: Final = ("matched", "direct_targets")
NOTHING: Final = "no perturbation has enough positive and negative matched candidates"
BALANCE_COLUMNS: Final = (
    *("role", "dataset", "covariate", "smd_before", "smd_reused", "smd_distinct", "limit", "balanced"),
    *("n_positive", "n_negative_reused", "n_negative_distinct"),
)
VALUE_COLUMNS: Final = (
    *("role", "dataset", "edge", "metric", "gene_only", "gene_plus_edge", "delta", "ci_low", "ci_high", "p"),
    *("null_mean", "null_sd", "p_bootstrap", "margin", "p_equivalent", "equivalent"),
    *("n_pairs", "n_positive", "n_perturbations", "balanced"),
    *("resamples_requested", "resamples_done", "draws_requested", "draws_done"),
)
AUROC_COLUMNS: Final = (
    *("role", "dataset", "score", "pairs", "n_perturbations", "mean_auroc", "sd_auroc", "ci_low", "ci_high"),
    *("balanced", "resamples_requested", "resamples_done"),
)


def propensity_matched_evaluation(inputs: AnalysisInputs) -> AnalysisOutput:
    """Gain over gene-level features and raw edge AUROC among pairs matched on the propensity to respond.

    Propensity and matching are made out of fold over perturbations (`stats.matching.propensity_matching`); the
    distinct pairs go through analysis 26 in the same folds, and each perturbation's matched candidates are ranked by
    the raw edges (paper section 4, analysis 35). The interval of the gain is that of the perturbation bootstrap; its
    two-sided p compares it with the gains of edges of permuted perturbed genes, because bootstrap and signed-rank
    call 12 % of unrelated scores significant at .05 (`stats.source_swap`); the table holds the bootstrap p too.
    Tables `matched_balance`, `matched_value`, `matched_auroc`.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    check_same_cells(role)
    try:
        matched = matched_set(inputs, role)
    except TooLittleDataError as error:
        return skip_all(inputs, f"{role.dataset}: {error}", role=role)
    aurocs = pd.DataFrame(
        [_auroc_record(inputs, matched, edge, kind) for kind in KINDS for edge in EDGES], columns=list(AUROC_COLUMNS)
    )
    tables = {
        "matched_balance": _balance_table(matched),
        "matched_value": _value_table(matched),
        "matched_auroc": aurocs,
    }
    results = [
        _auroc_row(inputs, matched, aurocs, spec.test_id)
        if spec.test_id == "A35.3"
        else _gain_row(inputs, matched, spec.test_id)
        for spec in inputs.tests
    ]
    return collect(inputs, results, tables)


def _balance_table(matched: MatchedSet) -> pd.DataFrame:
    found = matched.balance
    records = [
        {
            "role": matched.role.role,
            "dataset": matched.role.dataset,
            "covariate": name,
            "smd_before": found.before[at],
            "smd_reused": found.reused[at],
            "smd_distinct": found.distinct[at],
            "limit": matched.limit,
            "balanced": bool(found.distinct[at] < matched.limit),
            "n_positive": matched.matching.positive.size,
            "n_negative_reused": matched.matching.negative.size,
            "n_negative_distinct": matched.matching.distinct_negative.size,
        }
        for at, name in enumerate(COVARIATES)
    ]
    return pd.DataFrame(records, columns=list(BALANCE_COLUMNS))


def _value_table(matched: MatchedSet) -> pd.DataFrame:
    records = []
    for edge in EDGES:
        for metric in METRICS:
            gain, null = matched.gain(edge, metric), matched.nulls[edge][metric]
            records.append(
                {
                    "role": matched.role.role,
                    "dataset": matched.role.dataset,
                    "edge": edge,
                    "metric": metric,
                    "gene_only": gain.gene_only,
                    "gene_plus_edge": gain.gene_plus_edge,
                    "delta": gain.delta,
                    "ci_low": gain.ci_low,
                    "ci_high": gain.ci_high,
                    "p": two_sided_p(null - gain.delta),
                    "null_mean": null.mean(),
                    "null_sd": null.std(ddof=1),
                    "p_bootstrap": gain.p,
                    **equivalence(gain),
                    "n_pairs": gain.n_pairs,
                    "n_positive": gain.n_positive,
                    "n_perturbations": gain.n_perturbations,
                    "balanced": matched.balanced,
                    "resamples_requested": gain.resamples_requested,
                    "resamples_done": gain.resamples_done,
                    "draws_requested": null.size,
                    "draws_done": int(np.isfinite(null).sum()),
                }
            )
    return pd.DataFrame(records, columns=list(VALUE_COLUMNS))


def _auroc_record(inputs: AnalysisInputs, matched: MatchedSet, edge: str, kind: str) -> dict[str, object]:
    """Mean per-perturbation AUROC of a raw edge among matched candidates."""
    resamples = int(matched.settings["bootstrap"])
    values = _aurocs(inputs, matched, edge, kind)
    record: dict[str, object] = dict.fromkeys(AUROC_COLUMNS, np.nan)
    record |= {
        "role": matched.role.role,
        "dataset": matched.role.dataset,
        "score": edge,
        "pairs": kind,
        "n_perturbations": values.size,
        "balanced": matched.balanced,
        "resamples_requested": resamples,
        "resamples_done": 0,
    }
    if not values.size:
        return record
    rng = generator(inputs, NUMBER, 2, EDGES.index(edge), KINDS.index(kind))
    interval = bootstrap_mean(values, rng, resamples)
    return record | {
        "mean_auroc": values.mean(),
        "sd_auroc": values.std(ddof=1) if values.size > 1 else np.nan,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "resamples_done": interval.resamples_done,
    }


def _aurocs(inputs: AnalysisInputs, matched: MatchedSet, edge: str, kind: str) -> NDArray[np.float64]:
    role, label = matched.role, matched.label
    if kind == "direct_targets":
        label = matched.direct_targets()
    keep = evaluable(inputs, label)
    if not keep.any():
        return np.empty(0)
    scores = edge_scores(role, edge, matched.layer).score[role.source[keep]]
    return np.asarray(rank_rows(scores).auroc(label[keep]))


def _settings(matched: MatchedSet) -> dict[str, object]:
    found, matching = matched.balance, matched.matching
    smd = {"before": found.before, "reused": found.reused, "distinct": found.distinct}
    return dict(matched.settings) | {
        "balanced": matched.balanced,
        "covariates": COVARIATES,
        # An infinite difference (two constants) has no place in the settings; the table holds it.
        "smd": {name: [v if math.isfinite(v) else None for v in values.tolist()] for name, values in smd.items()},
        "negatives_reused": matching.negative.size,
        "negatives_distinct": matching.distinct_negative.size,
        "positives": matching.positive.size,
        "pairs": matched.pairs.size,
        "missing_share": dict(matched.missing_share),
    }


def _gain_row(inputs: AnalysisInputs, matched: MatchedSet, test_id: str) -> TestResult:
    metric = "auroc" if test_id == "A35.1" else "auprc"
    gain, null = matched.gain("attention", metric), matched.nulls["attention"][metric]
    used = _settings(matched) | {
        "edge": "attention",
        "gene_features": GENE_FEATURES,
        "gene_only": gain.gene_only,
        "learner": "logistic",
        "metric": metric,
        "missing_rule": "lowest, with indicator",
        "split": "perturbation",
        "equivalent": gain.equivalent,
        "p_equivalent": gain.p_equivalent if gain.resamples_done else None,
        "p_bootstrap": gain.p if gain.resamples_done else None,
        "null_draws": null.size,
    }
    return row(
        inputs,
        matched.role,
        test_id,
        settings=used,
        layer=matched.layer,
        reason=matched.imbalance,
        statistic=gain.gene_plus_edge,
        effect=gain.delta,
        effect_kind=f"delta_{metric}",
        ci_low=gain.ci_low,
        ci_high=gain.ci_high,
        p=two_sided_p(null - gain.delta),
        n=gain.n_perturbations,
        unit="perturbation",
        null_name="edges of permuted perturbed genes",
        null_mean=null.mean(),
        null_sd=null.std(ddof=1),
        resamples_requested=gain.resamples_requested,
        resamples_done=gain.resamples_done,
        direction="gene and edge minus gene only, matched pairs",
    )


def _auroc_row(inputs: AnalysisInputs, matched: MatchedSet, table: pd.DataFrame, test_id: str) -> TestResult:
    by = table.set_index(["pairs", "score"])
    listed = by[["n_perturbations", "mean_auroc"]].reset_index().to_dict("records")
    used = _settings(matched) | {
        "missing_rule": "lowest",
        "score": "attention",
        "auroc": [{k: None if v != v else v for k, v in record.items()} for record in listed],
    }
    found = by.loc[("matched", "attention")]
    if found["n_perturbations"] == 0:
        return skip(inputs, test_id, NOTHING, role=matched.role, settings=used, layer=matched.layer)
    return row(
        inputs,
        matched.role,
        test_id,
        settings=used,
        layer=matched.layer,
        reason=matched.imbalance,
        effect=found["mean_auroc"],
        effect_kind="auroc",
        ci_low=found["ci_low"],
        ci_high=found["ci_high"],
        n=int(found["n_perturbations"]),
        unit="perturbation",
        null_name="chance",
        null_mean=0.5,
        resamples_requested=int(found["resamples_requested"]),
        resamples_done=int(found["resamples_done"]),
        direction="above .5, matched candidates",
    )
