"""Analyses 28 and 33: attention against correlation again, in a second screen and in a small one.

A context says beside its difference what it could have shown at all; equal is only what the equivalence test says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from interp_assets.analyses.context_parts import PART_SETTINGS, further_parts
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput
from interp_assets.analyses.paired_contexts import (
    DEPTHS,
    Context,
    context_row,
    context_settings,
    context_table,
    in_context,
    paired_scores,
    skipped_context,
    too_few,
)
from interp_assets.analyses.rows import chosen_settings, collect, generator, role_or_reason
from interp_assets.analyses.scores import check_same_cells
from interp_assets.edges.layers import resolve_layer
from qc_standards.records import TestResult

CONTEXT_SETTINGS: Final = ("analysis_depth", "equivalence_margin", "min_positives", "min_negatives")
SECOND_SETTINGS: Final = (*CONTEXT_SETTINGS, *(name for name in PART_SETTINGS if name not in CONTEXT_SETTINGS))
SMALL_SETTINGS: Final = (*CONTEXT_SETTINGS, "context_bootstrap")
Asked = tuple[str, str]
SECOND: Final[Mapping[str, Asked]] = {
    "A28.1": ("second_screen", "L6"),
    "A28.2": ("second_screen", "L13"),
    "A28.3": ("second_screen", "L18"),
}
SMALL: Final[Mapping[str, Asked]] = {
    "A33.1": ("small_screens[1]", "L6"),
    "A33.2": ("small_screens[1]", "L13"),
    "A33.3": ("small_screens[1]", "L15"),
    "A33.4": ("small_screens[1]", "L18"),
}


def second_screen_replication(inputs: AnalysisInputs) -> AnalysisOutput:
    """Attention minus correlation at three published depths in the second screen, then what analyses 21, 25, 26 ask.

    Table `replication_28` has the columns of standard QCS-31, one row a depth. `replication_28_baselines`,
    `replication_28_residual` and `replication_28_incremental` are the tables of analyses 21, 25 (least squares) and
    26 (perturbation split, logistic) on this screen, read at the layer fixed beforehand; `replication_28_parts` says
    of each whether it could be made, and why not.
    """
    used = chosen_settings(inputs, *SECOND_SETTINGS)
    results, contexts = replicated(inputs, 28, SECOND, used, int(used["bootstrap"]))
    tables = {"replication_28": context_table(contexts)} if contexts else {}
    role = inputs.roles.get("second_screen")
    if role is not None:
        tables |= further_parts(inputs, role).tables("replication_28")
    return collect(inputs, results, tables)


def small_screen_replication(inputs: AnalysisInputs) -> AnalysisOutput:
    """Attention minus correlation at four published depths in a screen of few perturbations, exact signed-rank test.

    Seven perturbations reach .0156 at best and find only large differences; the rows print both (paper section 5,
    analysis 33). Table `replication_33` has the columns of standard QCS-31.
    """
    used = chosen_settings(inputs, *SMALL_SETTINGS)
    results, contexts = replicated(inputs, 33, SMALL, used, int(used["context_bootstrap"]))
    return collect(inputs, results, {"replication_33": context_table(contexts)} if contexts else {})


def replicated(
    inputs: AnalysisInputs, number: int, asked: Mapping[str, Asked], used: Mapping[str, Any], resamples: int
) -> tuple[list[TestResult], list[Context]]:
    """Rows of the asked (role, published layer) pairs, and the contexts behind those that were run.

    Two rows that resolve to the same layer of one role are one condition: the second is skipped and names the first.
    """
    results: list[TestResult] = []
    contexts: list[Context] = []
    told: dict[tuple[str, int], str] = {}
    for test_id, (name, published) in asked.items():
        role = role_or_reason(inputs, name)
        if isinstance(role, str):
            results.append(skipped_context(inputs, None, test_id, role))
            continue
        check_same_cells(role)
        layer = resolve_layer(DEPTHS[published], role.attention.layers)
        first = told.setdefault((name, layer), test_id)
        if first != test_id:
            results.append(skipped_context(inputs, role, test_id, f"same as {first}", layer))
            continue
        scores = paired_scores(inputs, role, layer)
        few = too_few(scores.perturbations.size, role.dataset)
        if few:
            results.append(skipped_context(inputs, role, test_id, few, layer))
            continue
        rng = generator(inputs, number, int(test_id.partition(".")[2]))
        context = in_context(scores, rng, used, resamples)
        row_settings = context_settings(scores, used, DEPTHS[published]) | {"published_layer": published}
        results.append(context_row(inputs, context, test_id, row_settings))
        contexts.append(context)
    return results, contexts
