"""Analyses 29, 32 and 34: what the read-out loses when heads are silenced, made uniform, or layers silenced.

What belongs here: the declared rows and the tables of the causal ablation. What does not: running a model
(`interp_assets.interventions`). Sign: condition minus clean model, everywhere.

A condition none of whose parts lies before the read-out layer cannot change the published read-out: its row is a
structural zero (p = 1) and says so; what it does downstream is in ``causal_ablation`` (paper section 9, item 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

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
from interp_assets.interventions.records import Interventions
from interp_assets.stats.paired import cohens_d, signed_rank
from interp_assets.stats.resampling import bootstrap_mean
from qc_standards.records import TestResult

CLEAN: Final = "clean"
READ_OUT: Final = "attention"
# Declared row -> condition; the numbers are the published ones (heads of 324, layers 0..17).
CONDITIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "A29.1": "top-5",
        "A29.2": "random-5/1",
        "A29.3": "random-5/2",
        "A29.4": "random-5/3",
        "A29.5": "entropy-matched-5",
        "A32.1": "top-20",
        "A32.2": "top-50",
        "A32.3": "bottom-5",
        "A32.4": "bottom-10",
        "A32.5": "random-10/1",
        "A32.6": "random-20/1",
        "A32.7": "random-50/1",
        "A32.8": "top-5",
        "A32.9": "top-10",
        "A32.10": "composite-5",
        "A32.11": "composite-10",
        "A32.12": "layer-14",
        "A34.1": "uniform-top-5",
        "A34.2": "uniform-top-10",
        "A34.3": "uniform-random-10/1",
        "A34.4": "mlp-8",
        "A34.5": "mlp-15",
        "A34.6": "mlp-13-15",
    }
)
USED: Final = (
    *("analysis_depth", "bootstrap", "intervention_tokens", "random_head_sets"),
    *("min_positives", "min_negatives"),
)
NO_SUCH_HEADS: Final = "the model has a single head: there is none to match"


def original_head_ablation(inputs: AnalysisInputs) -> AnalysisOutput:
    """Analysis 29: five conditions against the clean model, and what every head was ranked by.

    Per-perturbation AUROC under the mask minus without it, two-sided signed-rank (paper section 5, analysis 29).
    Table ``head_ranking``.
    """
    found = interventions_or_reason(inputs)
    if isinstance(found, str):
        return _skip_all(inputs, found)
    role, record = found
    heads = record.heads.assign(role=role.role, dataset=role.dataset, reference=role.primary_reference)
    return collect(inputs, _rows(inputs, role, record), {"head_ranking": heads})


def expanded_head_ablation(inputs: AnalysisInputs) -> AnalysisOutput:
    """Analysis 32: dose response over all heads and among those upstream, with random sets as their null.

    Tables ``causal_ablation`` (every condition and read-out), ``intervention_conditions`` and ``intervention_auroc``
    (what criterion d is judged on).
    """
    found = interventions_or_reason(inputs)
    if isinstance(found, str):
        return _skip_all(inputs, found)
    role, record = found
    named = {"role": role.role, "dataset": role.dataset}
    tables = {
        "causal_ablation": ablation_table(inputs, record).assign(**named),
        "intervention_conditions": record.conditions.assign(**named),
        "intervention_auroc": record.aurocs.assign(**named),
    }
    return collect(inputs, _rows(inputs, role, record), tables)


def orthogonal_interventions(inputs: AnalysisInputs) -> AnalysisOutput:
    """Analysis 34: uniform attention and silenced feed-forward layers against the clean model."""
    found = interventions_or_reason(inputs)
    if isinstance(found, str):
        return _skip_all(inputs, found)
    return collect(inputs, _rows(inputs, *found))


def interventions_or_reason(inputs: AnalysisInputs) -> tuple[RoleInputs, Interventions] | str:
    """Screen and interventions of this evaluation, or why there are none."""
    role = role_or_reason(inputs, "primary_screen")
    if isinstance(role, str):
        return role
    if inputs.interventions is None:
        return inputs.absent.get("interventions", "no interventions were run")
    return role, inputs.interventions


def _skip_all(inputs: AnalysisInputs, reason: str) -> AnalysisOutput:
    role = role_or_reason(inputs, "primary_screen")
    return skip_all(inputs, reason, role=None if isinstance(role, str) else role)


def same_as(test_id: str, conditions: Mapping[str, str], record: Interventions) -> str:
    """Earlier row of the same analysis that changes the same parts in the same way; empty if there is none.

    In a small model several published numbers of heads are one and the same.
    """
    known = record.conditions.set_index("condition")
    own = known.loc[conditions[test_id]]
    for earlier in conditions:
        if earlier == test_id:
            return ""
        if earlier.split(".")[0] != test_id.split(".")[0] or conditions[earlier] not in known.index:
            continue
        other = known.loc[conditions[earlier]]
        if other["operation"] == own["operation"] and _parts(other) == _parts(own):
            return earlier
    return ""


def _parts(condition: pd.Series) -> frozenset[str]:
    return frozenset(str(condition["parts"]).split(";"))


def used_settings(inputs: AnalysisInputs, record: Interventions, condition: pd.Series) -> dict[str, Any]:
    """Study settings and facts of the condition that a row rests on."""
    used = chosen_settings(inputs, *USED)
    told = ("family", "operation", "pool", "dose", "draw", "size", "parts", "upstream_parts", "read_out_layer")
    used |= {name: condition[name] for name in told}
    used |= {name: record.facts[name] for name in ("cells", "tokens", "missing_pair_share")}
    return used | {"read_out": READ_OUT, "uses_outcomes": bool(condition["uses_outcomes"])}


def _rows(inputs: AnalysisInputs, role: RoleInputs, record: Interventions) -> list[TestResult]:
    return [_row(inputs, role, record, spec.test_id) for spec in inputs.tests]


def _row(inputs: AnalysisInputs, role: RoleInputs, record: Interventions, test_id: str) -> TestResult:
    name = CONDITIONS[test_id]
    known = record.conditions.set_index("condition")
    if name not in known.index:
        return skip(inputs, test_id, NO_SUCH_HEADS, role=role)
    condition = known.loc[name]
    used = used_settings(inputs, record, condition)
    layer = analysis_layer(inputs, role)
    earlier = same_as(test_id, CONDITIONS, record)
    if earlier:
        return skip(inputs, test_id, f"same as {earlier}", role=role, settings=used, layer=layer)
    clean = record.auroc_of(CLEAN, READ_OUT)
    changed = record.auroc_of(name, READ_OUT).reindex(clean.index)
    if changed.size == 0:
        reason = "no perturbation has enough candidates and a cell that holds its gene"
        return skip(inputs, test_id, reason, role=role, settings=used, layer=layer)
    test = signed_rank(changed - clean)
    purpose = list(CONDITIONS).index(test_id)
    interval = bootstrap_mean(changed, generator(inputs, 29, purpose), used["bootstrap"])
    acts = int(condition["upstream_parts"]) > 0
    confirmatory = next(spec.confirmatory for spec in inputs.tests if spec.test_id == test_id)
    return row(
        inputs,
        role,
        test_id,
        settings=used,
        layer=layer,
        reason="" if acts else "structural zero: every changed part lies at or after the read-out layer",
        statistic=test.statistic,
        effect=changed.mean(),
        ci_low=interval.low,
        ci_high=interval.high,
        p=test.p if confirmatory else None,
        n=changed.size,
        unit="perturbation",
        null_name="clean model, same cells",
        null_mean=clean.mean(),
        resamples_requested=interval.resamples_requested,
        resamples_done=interval.resamples_done,
        direction=f"{changed.mean() - clean.mean():+.4f} against the clean model",
    )


def ablation_table(inputs: AnalysisInputs, record: Interventions) -> pd.DataFrame:
    """Every condition and read-out: difference to the clean model, its interval and test, and its random null.

    ``random_mean``, ``random_sd`` and ``p_random`` compare with the random sets of the same size and pool: p is the
    share of sets, this one included, that lower the read-out at least as much, (k + 1) / (n + 1).
    """
    bootstrap = chosen_settings(inputs, "bootstrap")["bootstrap"]
    wide = record.aurocs.pivot(index=["read_out", "condition"], columns="perturbation", values="auroc")
    frames = []
    for read_out, part in wide.groupby(level="read_out", sort=False):
        values = part.droplevel("read_out")
        clean = values.loc[CLEAN].to_numpy()
        rows = [
            _condition_row(entry, str(read_out), values.loc[entry["condition"]].to_numpy(), clean, inputs, bootstrap)
            for entry in record.conditions.to_dict(orient="records")
        ]
        frames.append(_with_random_null(pd.DataFrame(rows)))
    return pd.concat(frames, ignore_index=True)


def _condition_row(
    entry: Mapping[Any, Any],
    read_out: str,
    changed: NDArray[np.float64],
    clean: NDArray[np.float64],
    inputs: AnalysisInputs,
    bootstrap: int,
) -> dict[str, Any]:
    difference = changed - clean
    test = signed_rank(difference)
    interval = bootstrap_mean(difference, generator(inputs, 32), bootstrap)
    upstream = {"attention": entry["upstream"], "last_attention": entry["upstream_of_last"]}
    told = ("condition", "family", "operation", "pool", "dose", "draw", "size")
    return {
        **{name: entry[name] for name in told},
        "read_out": read_out,
        "upstream": bool(upstream.get(read_out, True)),
        "n": difference.size,
        "clean_auroc": clean.mean(),
        "mean_auroc": changed.mean(),
        "delta": difference.mean(),
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": test.p,
        "d": cohens_d(difference),
        "resamples_requested": interval.resamples_requested,
        "resamples_done": interval.resamples_done,
    }


def _with_random_null(frame: pd.DataFrame) -> pd.DataFrame:
    null = frame[(frame["pool"] == "upstream") & (frame["family"] == "random")]
    drawn = {dose: part["delta"].to_numpy() for dose, part in null.groupby("dose")}
    told = []
    for entry in frame.to_dict(orient="records"):
        own = entry["pool"] == "upstream" and entry["family"] == "top" and entry["operation"] == "zero_heads"
        sets = drawn.get(entry["dose"], np.empty(0)) if own else np.empty(0)
        told.append(
            {
                "random_sets": sets.size,
                "random_mean": sets.mean() if sets.size else np.nan,
                "random_sd": sets.std(ddof=1) if sets.size > 1 else np.nan,
                "p_random": (1 + (sets <= entry["delta"]).sum()) / (1 + sets.size) if sets.size else np.nan,
            }
        )
    return pd.concat([frame, pd.DataFrame(told)], axis=1)
