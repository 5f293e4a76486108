"""Assets of the analyses, one for each built row of the catalogue."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import pandas as pd

from interp_assets.analyses import catalogue
from interp_assets.analyses.cards import card
from interp_assets.analyses.inputs import AnalysisOutput
from interp_assets.assets.control_evidence import control_evidence, controls_of_row
from interp_assets.assets.reported import reported
from interp_assets.assets.stored_inputs import (
    FOLDER,
    attention_of_row,
    dimensions,
    load_roles,
    load_samples,
    stored_choice,
)
from interp_assets.automation.conditions import incremental
from interp_assets.battery import (
    NO_INTERVENTIONS,
    Chosen,
    Gathered,
    results_from_json,
    results_json,
    run_analysis,
    study_samples,
)
from interp_assets.code_version import code_version
from interp_assets.edges.layers import settled_depth
from interp_assets.interventions.records import read_files as read_interventions
from interp_assets.io_managers import PATH, StoredFiles, files_version, parquet_bytes
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM, plain, result_metadata, source_link, tables_metadata
from interp_assets.models.controls.catalogue import is_control
from interp_assets.readings.records import read_files as read_reading
from interp_assets.settings import Study

NO_RELEASE = ""  # behind numbers that a study computes once


def output_files(row: catalogue.AnalysisRow, output: AnalysisOutput) -> dict[str, bytes]:
    """Files of one analysis: its result rows and its tables."""
    files = {f"results/{row.key}.json": results_json(output.results)}
    return files | {f"tables/{name}.parquet": parquet_bytes(frame) for name, frame in output.tables.items()}


def analysis_output(
    row: catalogue.AnalysisRow, output: AnalysisOutput, where: Mapping[str, Any] | None = None
) -> dg.Output[dict[str, bytes]]:
    """What the asset of an analysis hands over: its files, their version, and what the UI shows.

    ``where`` is the place in the report; what a study computes once stands in no report of its own.
    """
    files = output_files(row, output)
    shown = {**(where or {}), **result_metadata(output.results), **tables_metadata(output.tables)}
    return dg.Output(files, data_version=files_version(files), metadata=shown)


def _declared(row: catalogue.AnalysisRow, folder: str) -> dict[str, Any]:
    """What every asset of an analysis declares alike."""
    return {
        "io_manager_key": "files",
        "metadata": {PATH: folder, **source_link(str(row.function))},
        "tags": {"analysis": row.label, "tests": str(row.tests)},
        "kinds": {"python"},
        "owners": [TEAM],
        "automation_condition": incremental(),
    }


def _described(row: catalogue.AnalysisRow) -> str:
    """What the analysis answers, from its card, and the hypotheses that its tests hold against data, in markdown."""
    told = card(row.card_name)
    tests = "\n".join(f"- `{spec.test_id}` {plain(spec.hypothesis)}" for spec in row.declared)
    figures = ", ".join(f"`figure/{name}`" for name in row.figure_ids)
    return "\n\n".join(
        [
            f"**{plain(told.question)}**",
            f"Analysis {row.label}, {plain(row.title)} ({plain(row.section)}). {plain(told.method)}",
            f"Null: {plain(told.null)}",
            f"Declared hypotheses, in the words of the registry (in brackets: what the source published)\n\n{tests}",
            *([f"Drawn in {figures}"] if figures else []),
        ]
    )


def analysis_asset(layout: Layout, row: catalogue.AnalysisRow) -> dg.AssetsDefinition:
    """Asset of one analysis on the (release, study) grid."""
    if row.release_free:
        return stamped_asset(layout, row)

    @dg.asset(
        key=row.key,
        partitions_def=layout.release_by_study,
        ins={
            **attention_of_row(layout, row),
            "study_inputs": dg.AssetIn(),
            "layer_choice": dg.AssetIn(),
            **({"sample_inputs": dg.AssetIn()} if "cells" in row.needs else {}),
            **({"interventions": dg.AssetIn()} if "interventions" in row.needs else {}),
            **{name: dg.AssetIn() for name in row.readings},
            **(controls_of_row(row)),
        },
        code_version=code_version(str(row.function), "interp_assets.analyses.assemble"),
        group_name="analyses" if row.series == "A" else "extended",
        description=_described(row),
        **_declared(row, FOLDER),
    )
    def analysis(context: dg.AssetExecutionContext, **given: Any) -> dg.Output[dict[str, bytes]]:
        study, release = dimensions(context)
        gathered = gather(layout, study, release, row, given)
        where = reported(layout, study, release, row.test_ids[0])
        return analysis_output(row, run_analysis(layout.studies[study], release, row, gathered), where)

    return analysis


def gather(layout: Layout, study: str, release: str, row: catalogue.AnalysisRow, given: Mapping[str, Any]) -> Gathered:
    """What one analysis reads, from the stored outputs of the assets it depends on, by asset name.

    Controls run few rows; what they will not read is not loaded.
    """
    choice = stored_choice(given["layer_choice"])
    if is_control(release) and not row.for_controls:
        return Gathered(choice=choice)
    roles, absent = load_roles(layout, study, release, given["study_inputs"], given.get("attention", {}), [row])
    sampled: dict[str, Any] = {}
    if "sample_inputs" in given:
        sampled, told = samples_of(layout, study, row, given["sample_inputs"])
        absent |= {role: reason for role, reason in told.items() if role not in absent}
    return Gathered(
        choice=choice,
        roles=roles,
        samples=sampled,
        readings={name: read_reading(name, given[name].path) for name in row.readings},
        interventions=read_interventions(given["interventions"].path) if "interventions" in given else NO_INTERVENTIONS,
        absent=absent,
        controls=control_evidence(given) if "controls" in row.needs else {},
    )


def samples_of(
    layout: Layout, study: str, row: catalogue.AnalysisRow, sample_inputs: StoredFiles
) -> tuple[dict[str, Any], dict[str, str]]:
    """Cells behind the roles of one analysis, and why the other roles have none."""
    fillings = layout.studies[study].roles
    names = [name for role in row.roles if role in fillings for name in fillings[role].datasets]
    return study_samples(layout.studies[study], [row], load_samples(layout, sample_inputs, names))


def _no_layer(study: Study) -> Chosen:
    return settled_depth(study.battery.analysis_depth, "no release is read"), pd.DataFrame()


def study_analysis_asset(layout: Layout, row: catalogue.AnalysisRow) -> dg.AssetsDefinition:
    """Asset of an analysis that reads nothing of a release: computed once a study."""

    @dg.asset(
        key=["of_study", row.key],
        partitions_def=layout.by_study,
        ins={name: dg.AssetIn() for name in ("study_inputs", *(["sample_inputs"] if "cells" in row.needs else []))},
        code_version=code_version(str(row.function)),
        group_name="study_analyses",
        description=f"{_described(row)}\n\nIt reads nothing of a release and is the same for each.",
        **_declared(row, "studies/{study}/" + row.key),
    )
    def analysis(context: dg.AssetExecutionContext, **given: StoredFiles) -> dg.Output[dict[str, bytes]]:
        study = layout.studies[context.partition_key]
        samples, absent = (
            samples_of(layout, study.name, row, given["sample_inputs"]) if "sample_inputs" in given else ({}, {})
        )
        gathered = Gathered(choice=_no_layer(study), samples=samples, absent=absent)
        return analysis_output(row, run_analysis(study, NO_RELEASE, row, gathered))

    return analysis


def stamped_asset(layout: Layout, row: catalogue.AnalysisRow) -> dg.AssetsDefinition:
    """Asset of an analysis on the (release, study) grid whose numbers the study computed once for all releases."""

    @dg.asset(
        key=row.key,
        partitions_def=layout.release_by_study,
        ins={"computed": dg.AssetIn(dg.AssetKey(["of_study", row.key]))},
        code_version=code_version("interp_assets.assets.analyses:stamped_asset"),
        group_name="analyses",
        description=_described(row),
        **_declared(row, FOLDER),
    )
    def analysis(context: dg.AssetExecutionContext, computed: StoredFiles) -> dg.Output[dict[str, bytes]]:
        study, release = dimensions(context)
        if is_control(release):  # skipped like any other row that no claim about a control needs
            settings = layout.studies[study]
            return analysis_output(row, run_analysis(settings, release, row, Gathered(choice=_no_layer(settings))))
        stored = results_from_json(computed.path(f"results/{row.key}.json").read_bytes())
        results = tuple(replace(result, release=release) for result in stored)
        where = reported(layout, study, release, row.test_ids[0])
        return analysis_output(row, AnalysisOutput(results=results, tables=computed.tables()), where)

    return analysis
