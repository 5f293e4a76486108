"""Assets of the battery: the frozen layer, and the table of all 153 declared tests."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
import pandas as pd

from interp_assets.analyses import catalogue
from interp_assets.analyses.inputs import RoleInputs
from interp_assets.assets.reported import reported
from interp_assets.assets.stored_inputs import (
    CHOICE_FILE,
    FOLDER,
    attended_of_study,
    attention_of_study,
    by_dataset,
    dimensions,
    load_artefacts,
    load_roles,
    stored_choice,
)
from interp_assets.automation.conditions import incremental
from interp_assets.battery import (
    all_rows,
    results_from_json,
)
from interp_assets.battery import layer_choice as choose
from interp_assets.code_version import code_version
from interp_assets.edges.layers import LayerChoice
from interp_assets.evaluation_tables import (
    context_table,
    evaluation_table,
    lineage_table,
    mass_table,
    model_table,
    reading_table,
)
from interp_assets.io_managers import MANY, PATH, StoredFiles, files_version, parquet_bytes
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM, counts_metadata, significant_metadata, source_link
from interp_assets.models.records import ReleaseCard
from interp_assets.settings import SELECTION_ROLE
from interp_assets.storage import canonical_json
from qc_standards.records import TestResult


def layer_choice_asset(layout: Layout) -> dg.AssetsDefinition:
    """The analysis layer of a release in a study, frozen before any outcome is read.

    Its inputs are attention and references of the selection dataset alone; that is the lineage that keeps the choice
    away from the evaluation.
    """

    @dg.asset(
        key="layer_choice",
        partitions_def=layout.release_by_study,
        ins={
            "attention": dg.AssetIn(partition_mapping=attention_of_study(layout, "selecting"), metadata={MANY: True}),
            "layer_inputs": dg.AssetIn(),
        },
        io_manager_key="files",
        code_version=code_version("interp_assets.analyses.layer_choice:choose_layer"),
        metadata={PATH: FOLDER, **source_link("interp_assets.analyses.layer_choice:choose_layer")},
        group_name="models",
        kinds={"json"},
        owners=[TEAM],
        description="Which layer do the analyses read? Chosen on the layer-selection dataset, which holds no outcome "
        "of an evaluated screen, and frozen with a hash.",
        automation_condition=incremental(),
    )
    def layer_choice(
        context: dg.AssetExecutionContext, attention: dict[str, Any], layer_inputs: StoredFiles
    ) -> dg.Output[dict[str, bytes]]:
        study, release = dimensions(context)
        artefacts = load_artefacts(layout, layer_inputs.json("layer_inputs.json")["datasets"])
        name = layout.studies[study].dataset_of(SELECTION_ROLE) or ""
        choice, profile = choose(layout.studies[study], release, artefacts.get(name), by_dataset(attention).get(name))
        content = {"choice": asdict(choice), "sha256": choice.sha256, "profile": profile.to_dict(orient="list")}
        files = {CHOICE_FILE: canonical_json(content).encode("utf-8")}
        shown = {"depth": choice.depth, "chosen by": choice.chosen_by, "sha256": choice.sha256}
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return layer_choice


def test_results_asset(layout: Layout) -> dg.AssetsDefinition:
    """The 153 declared tests of one release in one study, with q-values over the declared families."""
    numbers = [row.key for row in catalogue.built()]

    @dg.asset(
        key="test_results",
        partitions_def=layout.release_by_study,
        ins={
            **{name: dg.AssetIn() for name in numbers},
            "attention": dg.AssetIn(partition_mapping=attended_of_study(layout), metadata={MANY: True}),
            "study_inputs": dg.AssetIn(),
            "layer_choice": dg.AssetIn(),
            "screens": dg.AssetIn(),
            "release": dg.AssetIn(),
        },
        io_manager_key="files",
        code_version=code_version(
            "interp_assets.battery", "interp_assets.evaluation_tables", "qc_standards.multiplicity"
        ),
        metadata={PATH: FOLDER},
        group_name="results",
        kinds={"parquet"},
        owners=[TEAM],
        description="What did all 153 declared tests find? One row each, run or not, with q-values over the declared "
        "sizes of families A, B and C.",
        automation_condition=incremental(),
    )
    def test_results(
        context: dg.AssetExecutionContext,
        attention: dict[str, Any],
        study_inputs: StoredFiles,
        layer_choice: StoredFiles,
        screens: StoredFiles,
        release: dict[str, ReleaseCard],
        **analyses: StoredFiles,
    ) -> dg.Output[dict[str, bytes]]:
        study, name = dimensions(context)
        roles, _ = load_roles(layout, study, name, study_inputs, attention, catalogue.built())
        results = [
            result
            for name in numbers
            for result in results_from_json(analyses[name].path(f"results/{name}.json").read_bytes())
        ]
        tables = {name: frame for stored in (*analyses.values(), screens) for name, frame in stored.tables().items()}
        choice, _ = stored_choice(layer_choice)
        files = results_files(layout, study, release["card"], roles, results, tables, choice)
        shown = counts_metadata(all_rows(results, name)) | significant_metadata(files["tests.parquet"])
        shown |= reported(layout, study, name, "registry")
        return dg.Output(files, data_version=files_version(files), metadata=shown)

    return test_results


def results_files(
    layout: Layout,
    study: str,
    card: ReleaseCard,
    roles: Mapping[str, RoleInputs],
    results: Sequence[TestResult],
    battery_tables: Mapping[str, pd.DataFrame],
    choice: LayerChoice,
) -> dict[str, bytes]:
    """``tests.parquet``, ``tests.csv`` and the tables that describe the evaluation.

    ``results/tables.json`` holds the content hash of every table of the battery, so that a changed table
    changes the data version that verdicts follow, even where no test result moved.
    """
    from qc_standards.documents import table_hash
    from qc_standards.multiplicity import results_frame

    settings = layout.studies[study]
    frame = results_frame(all_rows(results, card.name))
    tables = {
        "evaluation": evaluation_table(settings, card, roles, results, layout.cells_of, battery_tables, choice),
        "lineage": lineage_table(roles, choice),
        "model_facts": model_table(card, roles),
        "model_reading": reading_table(roles),
        "attention_mass": mass_table(roles),
        "evaluability": pd.concat([inputs.evaluability for inputs in roles.values()], ignore_index=True)
        if roles
        else pd.DataFrame(),
    }
    tables["context_replication"] = context_table(battery_tables)
    if settings.published_context:
        from qc_standards.published import compared

        tables["published_comparison"] = compared(frame)
    files = {
        "tests.parquet": parquet_bytes(frame),
        "tests.csv": frame.to_csv(index=False, lineterminator="\n").encode("utf-8"),
        "results/tables.json": canonical_json(
            {name: table_hash(table) for name, table in sorted(battery_tables.items())}
        ).encode("utf-8"),
    }
    return files | {f"tables/{name}.parquet": parquet_bytes(table) for name, table in tables.items() if len(table)}
