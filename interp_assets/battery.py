"""The battery on one release in one study: inputs of each analysis, and the tables that describe the evaluation.

What belongs here: gathering. What does not: statistics (``analyses``, ``stats``), judging (``qc_standards``), or
anything that knows Dagster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from interp_assets.analyses.assemble import DatasetArtefacts, role_inputs, screen_de_rate
from interp_assets.analyses.catalogue import AnalysisRow, built
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, RoleInputs
from interp_assets.analyses.rows import skip_all
from interp_assets.cells.records import Unavailable
from interp_assets.edges.layers import LayerChoice, relative_depth, resolve_layer, settled_depth
from interp_assets.edges.records import AttentionEdges
from interp_assets.interventions.records import Interventions
from interp_assets.models.controls import is_control
from interp_assets.models.records import ReleaseCard
from interp_assets.models.sourcing import PLANTED, control_regulators
from interp_assets.settings import SELECTION_ROLE, Study
from interp_assets.storage import canonical_json
from qc_standards.records import DataOrigin, Status, TestResult, skipped
from qc_standards.registry import declared_tests, tests_of_analysis

Chosen = tuple[LayerChoice, pd.DataFrame]
NOT_BUILT = "analysis not built"
NO_INTERVENTIONS = "no interventions were run on this release"
NOT_FOR_CONTROLS = "controls run only the rows that claims need"
WEAKEST_FIRST = (DataOrigin.SIMULATED, DataOrigin.SEMI_SYNTHETIC, DataOrigin.ARCHIVED, DataOrigin.REAL)


def study_roles(
    study: Study,
    release: str,
    rows: Iterable[AnalysisRow],
    artefacts: Mapping[str, DatasetArtefacts | Unavailable],
    attention: Mapping[str, AttentionEdges | Unavailable],
) -> tuple[dict[str, RoleInputs], dict[str, str]]:
    """Inputs of every role the rows ask for, and the reason for each role that has none.

    The dataset the layer is chosen on is no role here: analyses receive the frozen choice and never its data.
    """
    roles: dict[str, RoleInputs] = {}
    absent: dict[str, str] = {}
    minimum = (study.battery.min_positives, study.battery.min_negatives)
    for role in dict.fromkeys(role for row in rows for role in row.roles if role != SELECTION_ROLE):
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
            references = {name: data.references[name] for name in study.references if name in data.references}
            roles[role] = role_inputs(
                role,
                filling,
                replace(data, references=references),
                edges,
                study.primary_reference,
                minimum,
                judged_on,
                screen_de_rate(data.labels, study.battery.folds, study.seed),
            )
            if study.tf_catalogue and not data.tf_catalogue:
                absent["tf_catalogue"] = (
                    f"catalogue {study.tf_catalogue} is not available; `interp datasets list` says why"
                )
    return roles, absent


def layer_choice(
    study: Study, release: str, data: DatasetArtefacts | Unavailable | None, edges: AttentionEdges | Unavailable | None
) -> tuple[LayerChoice, pd.DataFrame]:
    """Layer that every analysis of the release reads, and the profile it was chosen by (empty without one).

    Chosen on the dataset of the selection role where the release has attention there, else the depth of the study
    settings, with the reason. Takes nothing of the evaluated screens, so that it cannot depend on them.
    """
    from interp_assets.analyses.layer_choice import choose_layer

    depth = study.battery.analysis_depth
    filling = study.roles.get(SELECTION_ROLE)
    if filling is None or data is None or edges is None:
        return settled_depth(depth, f"study {study.name} fills no role {SELECTION_ROLE}"), pd.DataFrame()
    if isinstance(data, Unavailable) or isinstance(edges, Unavailable):
        gone = data if isinstance(data, Unavailable) else edges
        return settled_depth(depth, f"{filling.dataset}: {getattr(gone, 'reason', '')}"), pd.DataFrame()
    if edges.layers == 1:
        return settled_depth(depth, f"{release} has one layer"), pd.DataFrame()
    reference = study.layer_reference or study.primary_reference
    minimum = (study.battery.min_positives, study.battery.min_negatives)
    role = role_inputs(SELECTION_ROLE, filling, data, edges, reference, minimum)
    found, profile = choose_layer(role, reference, study.battery.bootstrap, study.seed)
    return (settled_depth(depth, found), pd.DataFrame()) if isinstance(found, str) else (found, profile)


def analysis_inputs(
    study: Study,
    release: str,
    row: AnalysisRow,
    roles: Mapping[str, RoleInputs],
    absent: Mapping[str, str],
    choice: Chosen,
    interventions: Interventions | str = NO_INTERVENTIONS,
) -> AnalysisInputs:
    """Inputs of one analysis: its declared tests, its roles, the study's settings at the chosen layer.

    ``interventions`` are those on the release, or why there are none.
    """
    layer, profile = choice
    told = {**absent, "interventions": interventions} if isinstance(interventions, str) else absent
    return AnalysisInputs(
        study=study.name,
        release=release,
        tests=tests_of_analysis(row.number),
        roles={role: roles[role] for role in row.roles if role in roles},
        absent={name: told[name] for name in (*row.roles, "tf_catalogue", "interventions") if name in told},
        settings=study.battery.as_mapping() | {"analysis_depth": layer.depth},
        seed=study.seed,
        layer_choice=layer,
        selection_profile=profile,
        interventions=None if isinstance(interventions, str) else interventions,
    )


def run_analysis(
    study: Study,
    release: str,
    row: AnalysisRow,
    roles: Mapping[str, RoleInputs],
    absent: Mapping[str, str],
    choice: Chosen,
    interventions: Interventions | str = NO_INTERVENTIONS,
) -> AnalysisOutput:
    """Output of one built analysis; for a control only where a claim needs its rows.

    Raises
    ------
    ValueError
        When the analysis is declared but not built.
    """
    function = row.run
    if function is None:
        raise ValueError(f"analysis {row.number} ({row.title}) is declared but not built")
    inputs = analysis_inputs(study, release, row, roles, absent, choice, interventions)
    if is_control(release) and not row.for_controls:
        return skip_all(inputs, NOT_FOR_CONTROLS)
    return function(inputs)


def run_battery(
    study: Study,
    release: str,
    roles: Mapping[str, RoleInputs],
    absent: Mapping[str, str],
    choice: Chosen,
    interventions: Interventions | str = NO_INTERVENTIONS,
) -> dict[int, AnalysisOutput]:
    """Outputs of every built analysis, by number."""
    return {row.number: run_analysis(study, release, row, roles, absent, choice, interventions) for row in built()}


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
    tables: Mapping[str, pd.DataFrame] | None = None,
    choice: LayerChoice | None = None,
) -> pd.DataFrame:
    """One row: who is judged, on what kind of data, and what limits the verdict.

    ``cells_of`` names the dataset whose cells stand behind each screen; it tells whether the release was
    trained on them. ``tables`` of the battery and ``choice`` of the layer tell what this evaluation has to show, which
    decides what standards concern it.
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
                **_shown(roles, tables or {}, choice),
            }
        ]
    )


def _shown(
    roles: Mapping[str, RoleInputs], tables: Mapping[str, pd.DataFrame], choice: LayerChoice | None
) -> dict[str, bool]:
    """What the evaluation holds beyond the battery's core, each as a plain yes or no."""
    from interp_assets.analyses.circularity import direction_reference

    primary = roles.get("primary_screen")
    own = tables.get("modality_audit", pd.DataFrame())
    held = {name for name, table in tables.items() if len(table)}
    return {
        "layer_selected": choice is not None and bool(choice.dataset),
        "direction_reference": primary is not None and not isinstance(direction_reference(primary), str),
        "tf_catalogue": primary is not None and bool(primary.tf_catalogue),
        "own_gene_measured": len(own) > 0 and bool((own["role"] == "primary_screen").any()),
        "screen_own_genes": "modality_audit" in held,
        "null_guides": "null_calibration_summary" in held,
        "outcome_only": primary is not None and primary.baseline_label is None,
    }


def lineage_table(roles: Mapping[str, RoleInputs], choice: LayerChoice) -> pd.DataFrame:
    """One row a score: which cells and which layer it comes from, and how the layer was chosen."""
    rows = []
    for role, inputs in roles.items():
        attention = inputs.attention
        layer = resolve_layer(choice.depth, attention.layers)
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
                    "layer_chosen_by": choice.chosen_by if own else "no layer",
                    "layer_chosen_on": choice.dataset if own else "",
                    "layer_choice": choice.sha256 if own else "",
                    "orientation": "row regulator, column target",
                    "device": str(attention.facts.get("device", "cpu")) if own else "cpu",
                    "dtype": str(attention.facts.get("dtype", "float32")) if own else "float64",
                    "genes_in_universe": int(attention.facts.get("genes_in_universe", len(inputs.genes))),
                    "genes_evaluable": len(inputs.genes),
                    "missing_pair_share": _missing_share(inputs, matrix.score),
                }
            )
    return pd.DataFrame(rows)


def _missing_share(inputs: RoleInputs, score: Any) -> float:
    """Share of the screen's candidate pairs that no cell gave a score."""
    candidates = inputs.label >= 0
    missing = pd.isna(score[inputs.source]) & candidates
    return float(missing.sum() / max(int(candidates.sum()), 1))
