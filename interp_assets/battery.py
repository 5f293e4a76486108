"""The battery on one release in one study: inputs of each analysis, and the tables that describe the evaluation.

What belongs here: gathering. What does not: statistics (``analyses``, ``stats``), judging (``qc_standards``), or
anything that knows Dagster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from interp_assets.analyses.assemble import DatasetArtefacts, role_inputs
from interp_assets.analyses.catalogue import AnalysisRow, built
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.cells.records import Unavailable
from interp_assets.edges.layers import relative_depth, resolve_layer
from interp_assets.edges.records import AttentionEdges
from interp_assets.models.records import ReleaseCard
from interp_assets.models.sourcing import PLANTED, control_regulators
from interp_assets.settings import BatterySettings, Study
from interp_assets.storage import canonical_json
from qc_standards.records import DataOrigin, Status, TestResult, skipped
from qc_standards.registry import declared_tests, tests_of_analysis

NOT_BUILT = "analysis not built"
WEAKEST_FIRST = (DataOrigin.SIMULATED, DataOrigin.SEMI_SYNTHETIC, DataOrigin.ARCHIVED, DataOrigin.REAL)


def study_roles(
    study: Study,
    release: str,
    rows: Iterable[AnalysisRow],
    artefacts: Mapping[str, DatasetArtefacts | Unavailable],
    attention: Mapping[str, AttentionEdges | Unavailable],
) -> tuple[dict[str, RoleInputs], dict[str, str]]:
    """Inputs of every role the rows ask for, and the reason for each role that has none."""
    roles: dict[str, RoleInputs] = {}
    absent: dict[str, str] = {}
    minimum = (study.battery.min_positives, study.battery.min_negatives)
    for role in dict.fromkeys(role for row in rows for role in row.roles):
        filling = study.roles.get(role)
        if filling is None:
            absent[role] = f"study {study.name} fills no role {role}"
            continue
        data, edges = artefacts[filling.dataset], attention[filling.dataset]
        gone = next((item for item in (data, edges) if isinstance(item, Unavailable)), None)
        if gone is not None:
            absent[role] = f"{gone.dataset}: {gone.reason}"
        elif isinstance(data, DatasetArtefacts) and isinstance(edges, AttentionEdges):
            judged_on = control_regulators(data.labels) if release == PLANTED else None
            reference = study.primary_reference
            roles[role] = role_inputs(role, filling, data, edges, reference, minimum, judged_on)
    return roles, absent


def analysis_inputs(
    study: Study, release: str, row: AnalysisRow, roles: Mapping[str, RoleInputs], absent: Mapping[str, str]
) -> AnalysisInputs:
    """Inputs of one analysis: its declared tests, its roles, the study's settings."""
    return AnalysisInputs(
        study=study.name,
        release=release,
        tests=tests_of_analysis(row.number),
        roles={role: roles[role] for role in row.roles if role in roles},
        absent={role: absent[role] for role in row.roles if role in absent},
        settings=study.battery.as_mapping(),
        seed=study.seed,
    )


def run_analysis(
    study: Study, release: str, row: AnalysisRow, roles: Mapping[str, RoleInputs], absent: Mapping[str, str]
) -> AnalysisOutput:
    """Output of one built analysis.

    Raises
    ------
    ValueError
        When the analysis is declared but not built.
    """
    function = row.run
    if function is None:
        raise ValueError(f"analysis {row.number} ({row.title}) is declared but not built")
    return function(analysis_inputs(study, release, row, roles, absent))


def run_battery(
    study: Study, release: str, roles: Mapping[str, RoleInputs], absent: Mapping[str, str]
) -> dict[int, AnalysisOutput]:
    """Outputs of every built analysis, by number."""
    return {row.number: run_analysis(study, release, row, roles, absent) for row in built()}


def results_json(results: Iterable[TestResult]) -> bytes:
    """Result rows as canonical JSON; numbers keep every digit."""
    return canonical_json([asdict(result) for result in results]).encode("utf-8")


def results_from_json(content: bytes) -> list[TestResult]:
    """Result rows written by `results_json`; a row that breaks a rule of `TestResult` is an error."""
    return [TestResult(**{**entry, "status": Status(entry["status"])}) for entry in json.loads(content)]


def all_rows(results: Iterable[TestResult], release: str) -> list[TestResult]:
    """One result for each of the 153 declared tests; those of analyses not built are skipped and say so."""
    given = {result.test_id: result for result in results}
    return [
        given.get(spec.test_id) or skipped(spec.test_id, NOT_BUILT, release=release, effect_kind=spec.effect_kind)
        for spec in declared_tests()
    ]


def evaluation_table(
    study: Study,
    card: ReleaseCard,
    roles: Mapping[str, RoleInputs],
    results: Iterable[TestResult],
    cells_of: Mapping[str, str],
) -> pd.DataFrame:
    """One row: who is judged, on what kind of data, and what limits the verdict.

    ``cells_of`` names the dataset whose cells stand behind each screen; it tells whether the release was
    trained on them.
    """
    origins = {result.data_origin for result in results if result.status is Status.RUN and result.data_origin}
    weakest = next((str(origin) for origin in WEAKEST_FIRST if origin in origins), "none")
    filled = {study.roles[role].role_fit for role in roles}
    contexts = sorted({inputs.context_mismatch for inputs in roles.values()} - {""})
    evaluated = {cells_of.get(inputs.dataset, inputs.dataset) for inputs in roles.values()}
    return pd.DataFrame(
        [
            {
                "study": study.name,
                "release": card.name,
                "release_kind": card.kind,
                "base_release": card.base,
                "family": card.family,
                "release_id": card.release_id,
                "seeds": 1,
                "primary_reference": study.primary_reference,
                "data_origin": weakest,
                "context_mismatch": "; ".join(contexts),
                "role_fit": "partial" if "partial" in filled else "full",
                "untrained": card.gap is not None and card.gap <= 0,
                "held_out_gap": card.gap,
                "trained_on_evaluated_cells": bool(evaluated & set(card.trained_on)),
            }
        ]
    )


def lineage_table(study: Study, roles: Mapping[str, RoleInputs]) -> pd.DataFrame:
    """One row a score: which cells and which layer it comes from, and how the layer was chosen."""
    rows = []
    for role, inputs in roles.items():
        attention = inputs.attention
        layer = resolve_layer(study.battery.analysis_depth, attention.layers)
        scores = {
            "attention": attention.layer_matrix(layer),
            "correlation": inputs.correlation,
            **inputs.trivial,
        }
        for score, matrix in scores.items():
            own = score == "attention"
            rows.append(
                {
                    "score": score,
                    "dataset": inputs.dataset,
                    "role": role,
                    "cells_hash": matrix.cells_hash,
                    "layer": layer if own else -1,
                    "layer_depth": relative_depth(layer, attention.layers) if own else float("nan"),
                    "layer_chosen_by": _layer_choice(study) if own else "no layer",
                    "orientation": "row regulator, column target",
                    "device": str(attention.facts.get("device", "cpu")) if own else "cpu",
                    "dtype": str(attention.facts.get("dtype", "float32")) if own else "float64",
                    "genes_in_universe": int(attention.facts.get("genes_in_universe", len(inputs.genes))),
                    "genes_evaluable": len(inputs.genes),
                    "missing_pair_share": _missing_share(inputs, matrix.score),
                }
            )
    return pd.DataFrame(rows)


def _layer_choice(study: Study) -> str:
    """How the analysis layer was chosen, from the settings this evaluation really used."""
    depth = study.battery.analysis_depth
    published = "the published 13/17" if depth == BatterySettings().analysis_depth else f"{depth:.4g}"
    return f"depth {published}, fixed in the study settings"


def _missing_share(inputs: RoleInputs, score: Any) -> float:
    """Share of the screen's candidate pairs that no cell gave a score."""
    candidates = inputs.label >= 0
    missing = pd.isna(score[inputs.source]) & candidates
    return float(missing.sum() / max(int(candidates.sum()), 1))
