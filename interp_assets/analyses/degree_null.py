"""Analysis 16: recovery of a reference against labels by chance, and against hub structure.

Correlation goes through the same nulls beside attention: passing the degree null is no evidence for
attention where co-expression passes it as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.rows import (
    analysis_layer,
    chosen_settings,
    collect,
    generator,
    role_or_reason,
    row,
    skip_all,
)
from interp_assets.analyses.scores import (
    ReferencePairs,
    check_same_cells,
    edge_scores,
    pairs_or_reason,
    reference_scores,
)
from interp_assets.stats.nulls import (
    NullTest,
    curveball_null,
    decompose,
    label_shuffle_null,
    network,
    rank_pairs,
)
from qc_standards.records import TestResult

NUMBER = 16
EDGES = ("attention", "correlation")


@dataclass(frozen=True, slots=True)
class _Recovery:
    """Both nulls of one edge score against one reference."""

    edge: str
    reference: str
    filled_share: float
    pairs: int
    shuffled: NullTest
    rewired: NullTest


def degree_preserving_null(inputs: AnalysisInputs) -> AnalysisOutput:
    """Recovery of the primary reference against shuffled labels and against rewired networks.

    Pairs are each listed regulator against every other gene. Rows: z and p over label shuffles, z and p over
    curveball networks, and the parts chance + degree + residual of the attention AUROC. Where the rewired
    null cannot be trusted its z and p are missing and the row says why.
    """
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return skip_all(inputs, role)
    check_same_cells(role)
    pairs = pairs_or_reason(role)
    if isinstance(pairs, str):
        return skip_all(inputs, pairs, role=role)
    layer = analysis_layer(inputs, role)
    recoveries = [_recover(inputs, role, pairs, edge, layer) for edge in EDGES]
    summary = pd.DataFrame(
        [_summary(role, found, test) for found in recoveries for test in (found.shuffled, found.rewired)]
    )
    tables = {
        "degree_null": summary.astype({"tradeable_regulators": "Int64", "degrees_kept": "boolean"}),
        "degree_null_draws": pd.concat([_draws(role, found) for found in recoveries], ignore_index=True),
    }
    results = [_row(inputs, role, recoveries[0], spec.test_id, layer) for spec in inputs.tests]
    return collect(inputs, results, tables)


def _recover(inputs: AnalysisInputs, role: RoleInputs, pairs: ReferencePairs, edge: str, layer: int) -> _Recovery:
    used = chosen_settings(inputs, "label_shuffles", "curveball_networks", "curveball_trades")
    filled = edge_scores(role, edge, layer)
    net = network(pairs.member, pairs.regulators)
    ranked = rank_pairs(reference_scores(pairs, filled.score), pairs.regulators)
    # The same generators for both edges: they meet the same shuffles and the same rewired networks.
    return _Recovery(
        edge,
        pairs.name,
        filled.filled_share,
        ranked.pairs,
        label_shuffle_null(ranked, net, generator(inputs, NUMBER, 1), used["label_shuffles"]),
        curveball_null(
            ranked,
            net,
            generator(inputs, NUMBER, 2),
            used["curveball_networks"],
            trades_per_regulator=used["curveball_trades"],
        ),
    )


def _summary(role: RoleInputs, found: _Recovery, test: NullTest) -> dict[str, object]:
    parts = decompose(test)
    return {
        "role": role.role,
        "dataset": role.dataset,
        "edge": found.edge,
        "reference": found.reference,
        "null": test.name,
        "observed": test.observed,
        "null_mean": test.mean,
        "null_sd": test.sd,
        "z": test.z,
        "p": test.p,
        "exceed": test.exceed,
        "draws_requested": test.draws_requested,
        "draws_done": test.draws.size,
        "mean_jaccard": np.nan if test.mean_jaccard is None else test.mean_jaccard,
        "tradeable_regulators": pd.NA if test.tradeable_regulators is None else test.tradeable_regulators,
        "degrees_kept": pd.NA if test.degrees_kept is None else test.degrees_kept,
        "chance_part": parts.chance,
        "degree_part": parts.degree,
        "residual_part": parts.residual,
        "reason": test.reason,
        "filled_share": found.filled_share,
        "pairs": found.pairs,
    }


def _draws(role: RoleInputs, found: _Recovery) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "role": role.role,
                "dataset": role.dataset,
                "edge": found.edge,
                "reference": found.reference,
                "null": test.name,
                "draw": np.arange(test.draws.size),
                "auroc": test.draws,
            }
        )
        for test in (found.shuffled, found.rewired)
    ]
    return pd.concat(frames, ignore_index=True)


def _row(inputs: AnalysisInputs, role: RoleInputs, found: _Recovery, test_id: str, layer: int) -> TestResult:
    used = chosen_settings(inputs, "analysis_depth")
    used |= {"missing_rule": "lowest", "missing_share": found.filled_share, "reference": found.reference}
    if test_id == "A16.1":
        test, used = found.shuffled, used | chosen_settings(inputs, "label_shuffles")
    else:
        test = found.rewired
        used |= chosen_settings(inputs, "curveball_networks", "curveball_trades")
    numbers: dict[str, object] = {
        "effect": test.z,
        "effect_kind": "z_score",
        "statistic": test.observed,
        "p": test.p,
    }
    reason = test.reason
    if test_id == "A16.3":
        # The split needs only the null mean, but a null that did not move or mix gives no degree part.
        residual = decompose(test).residual if not test.reason else float("nan")
        numbers = {"effect": residual, "effect_kind": "auroc_parts", "statistic": test.observed}
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        reason=reason,
        n=found.pairs,
        unit="candidate pair",
        null_name=test.name,
        null_mean=test.mean,
        null_sd=test.sd,
        resamples_requested=test.draws_requested,
        resamples_done=test.draws.size,
        direction="observed above null",
        **numbers,
    )
