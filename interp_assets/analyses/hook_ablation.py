"""Extended analysis E5: ablation of scGPT-type models, read downstream of every change.

What belongs here: the rows that hold a silenced, uniform or random part of such a model against its clean run. What
does not: acting on the model (`models.encoder_layers`, `interventions`), or the declared ablation of analyses 29, 32
and 34, which reads any model at the frozen layer.

These models take no head mask, and torch calls no submodule that a hook could sit on; their layers are run from the
weights, with the same two places of action as any other model.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from interp_assets.analyses.ablation import ablation_table, interventions_or_reason, same_as
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
from interp_assets.interventions.conditions import CLEAN, DOSES
from interp_assets.interventions.readouts import LAST_ATTENTION, LOGITS
from interp_assets.interventions.records import Interventions
from interp_assets.stats.paired import signed_rank
from interp_assets.stats.resampling import bootstrap_mean
from qc_standards.records import TestResult

NUMBER: Final = 205  # separates the random numbers of E5 from those of analysis 5
FAMILIES: Final = frozenset({"scgpt"})
# Declared row -> condition held against random head sets of its size; doses are published numbers of heads of 324.
AGAINST_RANDOM: Final[Mapping[str, str]] = MappingProxyType(
    {f"E5.{place}": f"upstream-top-{dose}" for place, dose in enumerate(DOSES, start=1)}
)
DOSE_RESPONSE: Final = "E5.5"
# Declared row -> condition held against the clean run.
AGAINST_CLEAN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "E5.6": "mlp-8",
        "E5.7": "mlp-15",
        "E5.8": "mlp-13-15",
        "E5.9": "upstream-uniform-top-5",
        "E5.10": "upstream-uniform-top-10",
    }
)
CONDITIONS: Final[Mapping[str, str]] = MappingProxyType({**AGAINST_RANDOM, **AGAINST_CLEAN})
NO_FAMILY: Final = "the stored interventions do not name the family of the model; materialise interventions again"
NO_HEADS: Final = "fewer heads lie before the read-out layer than this dose needs, so there is nothing to choose"
NOTHING_BEHIND: Final = (
    "nothing is read behind the frozen layer: it is the last one and the release predicts no tokens, or no "
    "perturbation has enough candidates and a cell that holds its gene"
)
USED: Final = (
    *("analysis_depth", "bootstrap", "intervention_tokens", "random_head_sets"),
    *("min_positives", "min_negatives"),
)
STRUCTURAL: Final = "structural zero: every changed part lies at or after the layer that is read"


def hook_ablation(inputs: AnalysisInputs) -> AnalysisOutput:
    """Top heads against random ones, dose response, silenced feed-forward layers, uniform attention.

    Read downstream of every change: by the logits where the release predicts tokens, else by the attention of the last
    layer. Skipped for every family but scGPT's, whose ablation analyses 29, 32, 34 and 36 hold. Table
    ``hook_ablation``: every condition and read-out.
    """
    found = interventions_or_reason(inputs)
    used = chosen_settings(inputs, *USED)
    if isinstance(found, str):
        role = role_or_reason(inputs, "primary_screen")
        return skip_all(inputs, found, role=None if isinstance(role, str) else role)
    role, record = found
    read_out = read_behind(record)
    reason = other_family(record) or ("" if read_out else NOTHING_BEHIND)
    if reason:
        return skip_all(inputs, reason, role=role)
    table = ablation_table(inputs, record).assign(role=role.role, dataset=role.dataset)
    own = table[table["read_out"] == read_out].set_index("condition")
    known = {name: record.facts[name] for name in ("family", "cells", "tokens", "missing_pair_share")}
    told = {**used, **known, "read_out": read_out}
    results = [
        _dose_row(inputs, role, record, told)
        if spec.test_id == DOSE_RESPONSE
        else _condition_row(inputs, role, record, own, spec.test_id, told)
        for spec in inputs.tests
    ]
    return collect(inputs, results, {"hook_ablation": table})


def read_behind(record: Interventions) -> str:
    """Read-out that lies behind every change: the logits, else the last layer's attention; empty without either."""
    read = set(record.aurocs["read_out"])
    return next((name for name in (LOGITS, LAST_ATTENTION) if name in read), "")


def other_family(record: Interventions) -> str:
    """Why this analysis does not read these interventions; empty for a model of scGPT's type."""
    family = record.facts.get("family")
    if not family:
        return NO_FAMILY
    if family in FAMILIES:
        return ""
    return f"a model of family {family}: analyses 29, 32, 34 and 36 hold its ablation"


def _condition_row(
    inputs: AnalysisInputs,
    role: RoleInputs,
    record: Interventions,
    table: pd.DataFrame,
    test_id: str,
    told: Mapping[str, Any],
) -> TestResult:
    name, layer = CONDITIONS[test_id], analysis_layer(inputs, role)
    if name not in table.index:
        return skip(inputs, test_id, NO_HEADS, role=role, settings=told, layer=layer)
    entry = table.loc[name]
    condition = record.conditions.set_index("condition").to_dict("index")[name]
    used = {**told, **{key: condition[key] for key in ("operation", "pool", "dose", "size", "parts")}}
    used["perturbations"] = entry["n"]
    earlier = same_as(test_id, CONDITIONS, record)
    if earlier:
        return skip(inputs, test_id, f"same as {earlier}", role=role, settings=used, layer=layer)
    shared: dict[str, Any] = {
        "settings": used,
        "layer": layer,
        "effect": entry["delta"],
        "ci_low": entry["ci_low"],
        "ci_high": entry["ci_high"],
    }
    if test_id in AGAINST_RANDOM:
        return row(
            inputs,
            role,
            test_id,
            **shared,
            statistic=entry["delta"] - entry["random_mean"],
            p=entry["p_random"],
            n=entry["random_sets"],
            null_name="random head sets of the same size",
            null_mean=entry["random_mean"],
            null_sd=entry["random_sd"],
            resamples_requested=int(told["random_head_sets"]),
            resamples_done=entry["random_sets"],
            direction="change of the read-out; the statistic is what it exceeds the mean random set by",
        )
    acts = _acts(record, str(told["read_out"]), int(condition["first_layer"]))
    return row(
        inputs,
        role,
        test_id,
        **shared,
        reason="" if acts else STRUCTURAL,
        statistic=entry["d"] if acts else None,
        p=entry["p"],
        n=entry["n"],
        null_name="clean model, same cells",
        null_mean=entry["clean_auroc"],
        resamples_requested=entry["resamples_requested"],
        resamples_done=entry["resamples_done"],
        direction="changed minus clean; the statistic is the paired effect size",
    )


def _acts(record: Interventions, read_out: str, first_layer: int) -> bool:
    """Whether a changed part lies before what is read; everything lies before the logits."""
    return read_out == LOGITS or first_layer < int(record.facts["layers"]) - 1


def dose_slopes(record: Interventions, read_out: str) -> tuple[pd.Series, list[int]] | None:
    """Slope of the change of the read-out over the number of silenced top heads, by perturbation; and the numbers.

    Least squares through the clean run (0 heads) and every upstream top set, each size once, in AUROC for one more
    head. None with fewer than two sizes: two points always lie on a line.
    """
    known = record.conditions
    chosen = known[(known["pool"] == "upstream") & (known["family"] == "top") & (known["operation"] == "zero_heads")]
    chosen = chosen.sort_values(["size", "dose"]).drop_duplicates("size")
    if len(chosen) < 2:
        return None
    clean = record.auroc_of(CLEAN, read_out)
    changed = [record.auroc_of(name, read_out).reindex(clean.index) for name in chosen["condition"]]
    sizes = np.array([0, *chosen["size"]], dtype=np.float64)
    centred = sizes - sizes.mean()
    values = np.vstack([clean.to_numpy(), *(series.to_numpy() for series in changed)])
    slopes = centred @ values / (centred @ centred)
    return pd.Series(slopes, index=clean.index), [int(size) for size in sizes]


def _dose_row(inputs: AnalysisInputs, role: RoleInputs, record: Interventions, told: Mapping[str, Any]) -> TestResult:
    layer = analysis_layer(inputs, role)
    found = dose_slopes(record, str(told["read_out"]))
    if found is None:
        reason = "fewer than two numbers of top heads can be told apart in this model"
        return skip(inputs, DOSE_RESPONSE, reason, role=role, settings=told, layer=layer)
    slopes, sizes = found
    values = slopes.to_numpy()
    test = signed_rank(values, "less")
    interval = bootstrap_mean(values, generator(inputs, NUMBER, 5), int(told["bootstrap"]))
    return row(
        inputs,
        role,
        DOSE_RESPONSE,
        settings={**told, "sizes": sizes},
        layer=layer,
        statistic=test.statistic,
        effect=values.mean(),
        ci_low=interval.low,
        ci_high=interval.high,
        p=test.p,
        n=values.size,
        null_name="no change with the number of silenced heads",
        null_mean=0.0,
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction="AUROC lost for one more silenced head is below 0",
    )
