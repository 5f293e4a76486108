"""The battery on one release in one study: inputs of each analysis, and the tables that describe the evaluation.

What belongs here: gathering. What does not: statistics (``analyses``, ``stats``), judging (``qc_standards``), or
anything that knows Dagster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd

from interp_assets.analyses.assemble import DatasetArtefacts, role_inputs, screen_de_rate
from interp_assets.analyses.catalogue import AnalysisRow, built
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, CellSample, RoleInputs
from interp_assets.analyses.rows import skip_all
from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.edges.layers import LayerChoice, relative_depth, resolve_layer, settled_depth
from interp_assets.edges.records import AttentionEdges, Reference
from interp_assets.interventions.records import Interventions
from interp_assets.models.controls import is_control
from interp_assets.models.records import ReleaseCard
from interp_assets.models.sourcing import PLANTED, control_regulators
from interp_assets.readings.records import Reading
from interp_assets.settings import COMPARED_ROLES, SELECTION_ROLE, RoleFilling, Study
from interp_assets.storage import canonical_json
from qc_standards.records import DataOrigin, Status, TestResult, skipped
from qc_standards.registry import PRIMARY_ROLE, declared_tests, tests_of_analysis, tests_of_role

Chosen = tuple[LayerChoice, pd.DataFrame]
NOT_BUILT = "analysis not built"
NO_INTERVENTIONS = "no interventions were run on this release"
NOT_READ = "nothing of this name was read from the release"
NOT_FOR_CONTROLS = "controls run only the rows that claims need"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledData:
    """What is stored of one dataset for those who look at its cells."""

    cells: PreparedCells
    labels: ScreenLabels
    references: Mapping[str, Reference]


def study_roles(
    study: Study,
    release: str,
    rows: Iterable[AnalysisRow],
    artefacts: Mapping[str, DatasetArtefacts | Unavailable],
    attention: Mapping[str, AttentionEdges | Unavailable],
) -> tuple[dict[str, RoleInputs], dict[str, str]]:
    """Inputs of every role on which the rows read attention, and the reason for each role that has none.

    The dataset the layer is chosen on is a role only for analyses about its data (``reads_selection``); the others
    receive the frozen choice and never see it.
    """
    roles: dict[str, RoleInputs] = {}
    absent: dict[str, str] = {}
    for role in _asked(rows):
        filling = study.roles.get(role)
        if filling is None:
            absent[role] = f"study {study.name} fills no role {role}"
            continue
        data, edges = artefacts[filling.dataset], attention[filling.dataset]
        gone = next((item for item in (data, edges) if isinstance(item, Unavailable)), None)
        if gone is not None:
            absent[role] = f"{gone.dataset}: {gone.reason}"
        elif isinstance(data, DatasetArtefacts) and isinstance(edges, AttentionEdges):
            roles[role] = _role(study, release, role, data, edges)
            if study.tf_catalogue and not data.tf_catalogue:
                absent["tf_catalogue"] = (
                    f"catalogue {study.tf_catalogue} is not available; `interp datasets list` says why"
                )
    return roles, absent


def _asked(rows: Iterable[AnalysisRow]) -> list[str]:
    """Roles on which some row reads attention, each once."""
    wanted = (role for row in rows for role in row.attended if role != SELECTION_ROLE or row.reads_selection)
    return list(dict.fromkeys(wanted))


def _role(study: Study, release: str, role: str, data: DatasetArtefacts, edges: AttentionEdges) -> RoleInputs:
    references = {name: data.references[name] for name in _listed(study, role) if name in data.references}
    return role_inputs(
        role,
        study.roles[role],
        replace(data, references=references),
        edges,
        primary_reference(study, role, references),
        (study.battery.min_positives, study.battery.min_negatives),
        control_regulators(data.labels) if release == PLANTED else None,
        screen_de_rate(data.labels, study.battery.folds, study.seed),
    )


def _listed(study: Study, role: str) -> tuple[str, ...]:
    """Reference networks of a study on one role, the one that is primary there first."""
    first = (study.layer_reference,) if role == SELECTION_ROLE and study.layer_reference else ()
    return tuple(dict.fromkeys([*first, *study.references]))


def primary_reference(study: Study, role: str, references: Mapping[str, Reference]) -> str:
    """Reference that the criteria use on a role: the study's own, else (no screen) the first one that is there.

    Nothing is planted in tissues; a screen that lacks its primary reference says so and takes no other.
    """
    listed = _listed(study, role)
    if role in COMPARED_ROLES:
        return study.primary_reference
    return next((name for name in listed if name in references), study.primary_reference)


def study_samples(
    study: Study,
    rows: Iterable[AnalysisRow],
    stored: Mapping[str, SampledData | Unavailable],
) -> tuple[dict[str, CellSample], dict[str, str]]:
    """Cells behind every role of the rows that ask for cells, and the reason for each role that has none."""
    samples: dict[str, CellSample] = {}
    absent: dict[str, str] = {}
    for role in dict.fromkeys(role for row in rows if "cells" in row.needs for role in row.roles):
        filling = study.roles.get(role)
        if filling is None:
            absent[role] = f"study {study.name} fills no role {role}"
            continue
        parts = [stored[name] for name in filling.datasets]
        gone = next((part for part in parts if isinstance(part, Unavailable)), None)
        if gone is not None:
            absent[role] = f"{gone.dataset}: {gone.reason}"
            continue
        own, *others = [_sample(study, role, filling, part) for part in parts if isinstance(part, SampledData)]
        samples[role] = replace(own, partner=others[0] if others else None)
    return samples, absent


def _sample(study: Study, role: str, filling: RoleFilling, data: SampledData) -> CellSample:
    references = {name: data.references[name] for name in _listed(study, role) if name in data.references}
    return CellSample(
        role=role,
        role_fit=filling.role_fit,
        cells=data.cells,
        labels=data.labels,
        references=references,
        primary_reference=primary_reference(study, role, references),
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All that analyses of one release in one study may read; what is not there has its reason in ``absent``.

    ``interventions`` are those on the release, or why there are none; ``readings`` by name likewise.
    """

    choice: Chosen
    roles: Mapping[str, RoleInputs] = field(default_factory=dict)
    samples: Mapping[str, CellSample] = field(default_factory=dict)
    readings: Mapping[str, Reading | str] = field(default_factory=dict)
    interventions: Interventions | str = NO_INTERVENTIONS
    absent: Mapping[str, str] = field(default_factory=dict)


def analysis_inputs(study: Study, release: str, row: AnalysisRow, gathered: Gathered) -> AnalysisInputs:
    """Inputs of one analysis: its declared tests, its roles, the declared settings of the study at the chosen layer."""
    layer, profile = gathered.choice
    settings = study.battery.as_mapping() | {"analysis_depth": layer.depth}
    changed, readings = gathered.interventions, gathered.readings
    told = dict(gathered.absent)
    told |= {"interventions": changed} if isinstance(changed, str) else {}
    told |= {name: found for name, found in readings.items() if isinstance(found, str)}
    return AnalysisInputs(
        study=study.name,
        release=release,
        tests=tests_of_analysis(row.number),
        roles={role: gathered.roles[role] for role in row.roles if role in gathered.roles},
        absent={
            name: told[name] for name in (*row.roles, *row.readings, "tf_catalogue", "interventions") if name in told
        },
        settings={name: value for name, value in settings.items() if name in row.settings},
        seed=study.seed,
        layer_choice=layer,
        selection_profile=profile,
        interventions=None if isinstance(changed, str) else changed,
        samples={role: gathered.samples[role] for role in row.roles if role in gathered.samples},
        readings={name: found for name in row.readings if not isinstance(found := readings.get(name, NOT_READ), str)},
    )


def run_analysis(study: Study, release: str, row: AnalysisRow, gathered: Gathered) -> AnalysisOutput:
    """Output of one built analysis; for a control only where a claim needs its rows.

    Raises
    ------
    ValueError
        When the analysis is declared but not built.
    """
    function = row.run
    if function is None:
        raise ValueError(f"analysis {row.number} ({row.title}) is declared but not built")
    inputs = analysis_inputs(study, release, row, gathered)
    if is_control(release) and not row.for_controls:
        return skip_all(inputs, NOT_FOR_CONTROLS)
    return function(inputs)


def run_battery(study: Study, release: str, gathered: Gathered) -> dict[int, AnalysisOutput]:
    """Outputs of every built analysis, by number."""
    return {row.number: run_analysis(study, release, row, gathered) for row in built()}


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

    ``data_origin`` is the weakest behind the rows of the primary screen; every other row states its own, and claims
    look at the rows they need.

    ``cells_of`` names the dataset whose cells stand behind each screen; it tells whether the release was
    trained on them. ``tables`` of the battery and ``choice`` of the layer tell what this evaluation has to show, which
    decides what standards concern it.
    """
    judged = {spec.test_id for spec in tests_of_role(PRIMARY_ROLE)}
    run = [result for result in results if result.status is Status.RUN]
    origins = {result.data_origin for result in run if result.data_origin and result.test_id in judged}
    weakest = next((str(origin) for origin in reversed(DataOrigin) if origin in origins), "none")
    filled = {study.roles[role].role_fit for role in roles} | {result.role_fit for result in run}
    primary = roles.get(PRIMARY_ROLE)
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
                "context_mismatch": primary.context_mismatch if primary else "",
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


REPLICATED = ("replication_28", "replication_33", "replication_37")


def context_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Comparisons that several contexts made, one row a comparison and context; empty where none was repeated.

    A comparison of one context only is no replication and is left to that context's own table.
    """
    held = [tables[name] for name in REPLICATED if len(tables.get(name, ()))]
    if not held:
        return pd.DataFrame()
    every = pd.concat(held, ignore_index=True)
    contexts = every.groupby("comparison")["context"].transform("nunique")
    return every[contexts > 1].reset_index(drop=True)


def lineage_table(roles: Mapping[str, RoleInputs], choice: LayerChoice) -> pd.DataFrame:
    """One row a score: which cells and which layer it comes from, and how the layer was chosen."""
    rows = []
    for role, inputs in roles.items():
        if role == SELECTION_ROLE:  # the layer is chosen there; its own rows judge no outcome at that layer
            continue
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
