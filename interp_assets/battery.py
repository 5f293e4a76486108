"""The battery on one release in one study: inputs of each analysis, and its rows.

What belongs here: gathering. What does not: statistics (``analyses``, ``stats``), the tables that describe an
evaluation (``evaluation_tables``), judging (``qc_standards``), or anything that knows Dagster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

import pandas as pd

from interp_assets.analyses.assemble import DatasetArtefacts, role_inputs, screen_de_rate
from interp_assets.analyses.catalogue import AnalysisRow, built
from interp_assets.analyses.inputs import AnalysisInputs, AnalysisOutput, CellSample, ControlEvidence, RoleInputs
from interp_assets.analyses.rows import skip_all
from interp_assets.cells.records import PreparedCells, ScreenLabels, Unavailable
from interp_assets.edges.layers import LayerChoice, settled_depth
from interp_assets.edges.records import AttentionEdges, Reference
from interp_assets.interventions.records import Interventions
from interp_assets.models.controls.catalogue import is_control
from interp_assets.models.sourcing import PLANTED, control_regulators
from interp_assets.readings.records import Reading
from interp_assets.settings import COMPARED_ROLES, SELECTION_ROLE, RoleFilling, Study
from interp_assets.storage import canonical_json
from qc_standards.extended import extended_tests
from qc_standards.records import Status, TestResult, skipped
from qc_standards.registry import declared_tests

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
    rows = tuple(rows)
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
            roles[role] = _role(study, release, role, data, edges, _databases(study, role, rows, data))
            if study.tf_catalogue and not data.tf_catalogue:
                absent["tf_catalogue"] = (
                    f"catalogue {study.tf_catalogue} is not available; `interp datasets list` says why"
                )
    return roles, absent


def _asked(rows: Iterable[AnalysisRow]) -> list[str]:
    """Roles on which some row reads attention, each once."""
    wanted = (role for row in rows for role in row.attended if role != SELECTION_ROLE or row.reads_selection)
    return list(dict.fromkeys(wanted))


def _databases(study: Study, role: str, rows: Iterable[AnalysisRow], data: DatasetArtefacts) -> Mapping[str, Reference]:
    """Databases of the study by name, where some row compares them on this role and the dataset has them."""
    if not any("reference_sets" in row.needs and role in row.roles for row in rows):
        return {}
    held = data.references
    return {name: held[dataset] for name, dataset in study.reference_sets.items() if dataset in held}


def _role(
    study: Study,
    release: str,
    role: str,
    data: DatasetArtefacts,
    edges: AttentionEdges,
    databases: Mapping[str, Reference],
) -> RoleInputs:
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
        databases,
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

    ``interventions`` are those on the release, or why there are none; ``readings`` by name likewise. ``controls`` are
    what the study's controls came out as, for the analyses that ask for them.
    """

    choice: Chosen
    roles: Mapping[str, RoleInputs] = field(default_factory=dict)
    samples: Mapping[str, CellSample] = field(default_factory=dict)
    readings: Mapping[str, Reading | str] = field(default_factory=dict)
    interventions: Interventions | str = NO_INTERVENTIONS
    absent: Mapping[str, str] = field(default_factory=dict)
    controls: Mapping[str, ControlEvidence] = field(default_factory=dict)


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
        tests=row.declared,
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
        controls=gathered.controls,
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
        raise ValueError(f"analysis {row.label} ({row.title}) is declared but not built")
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


def extended_rows(results: Iterable[TestResult], release: str) -> list[TestResult]:
    """One result for each declared extended test; those of analyses not built are skipped and say so."""
    given = {result.test_id: result for result in results}
    return [
        given.get(spec.test_id) or skipped(spec.test_id, NOT_BUILT, release=release, effect_kind=spec.effect_kind)
        for spec in extended_tests()
    ]
