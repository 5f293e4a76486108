"""Assets of the battery: one for each built analysis, and the table of all 153 declared tests."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from interp_assets.analyses import catalogue
from interp_assets.analyses.assemble import DatasetArtefacts
from interp_assets.analyses.inputs import AnalysisOutput, RoleInputs
from interp_assets.automation import incremental
from interp_assets.battery import (
    NO_INTERVENTIONS,
    all_rows,
    evaluation_table,
    lineage_table,
    results_from_json,
    results_json,
    run_analysis,
    study_roles,
)
from interp_assets.battery import layer_choice as choose
from interp_assets.cells.records import Unavailable
from interp_assets.code_version import code_version
from interp_assets.edges.layers import LayerChoice
from interp_assets.interventions.records import read_files
from interp_assets.io_managers import MANY, PATH, StoredFiles, files_version, parquet_bytes, read_records
from interp_assets.layout import Layout, Use
from interp_assets.metadata import TEAM, result_metadata, source_link
from interp_assets.models.records import ReleaseCard
from interp_assets.settings import SELECTION_ROLE
from interp_assets.storage import canonical_json
from qc_standards.records import TestResult

FOLDER = "{study}/{release}"
CHOICE_FILE = "results/layer_choice.json"
DATASET_PARTS = ("de_labels", "gene_features", "correlation", "references")
Loaded = DatasetArtefacts | Unavailable


def attention_of_study(layout: Layout, use: Use = "evaluated") -> dg.MultiPartitionMapping:
    """Mapping from the (release, study) grid to the same release's attention on what the study uses in one way."""
    return dg.MultiPartitionMapping(
        {
            "release": dg.DimensionPartitionMapping("release", dg.IdentityPartitionMapping()),
            "dataset": dg.DimensionPartitionMapping("study", dg.StaticPartitionMapping(layout.feeding(use))),
        }
    )


@lru_cache(maxsize=4)
def stored_artefacts(store: Path, dataset: str, version: str) -> Loaded:
    """Stored artefacts of one dataset; ``version`` is in the key, so a changed dataset is read again."""
    del version
    parts: dict[str, Any] = {}
    for name in DATASET_PARTS:
        found = read_records(store / "cells" / dataset / name)
        if isinstance(found, Unavailable):
            return found
        parts[name] = found
    features = parts["gene_features"]["features"]
    return DatasetArtefacts(
        labels=parts["de_labels"]["labels"],
        features=features.table,
        edges=parts["correlation"],
        references=parts["references"],
        tf_catalogue=features.tf_catalogue,
    )


def load_roles(
    layout: Layout, study: str, release: str, study_inputs: StoredFiles, attention: Mapping[str, Any]
) -> tuple[dict[str, RoleInputs], dict[str, str]]:
    """Role inputs of one release in one study from what the dataset-level assets stored."""
    artefacts = load_artefacts(layout, study_inputs.json("study_inputs.json")["datasets"])
    return study_roles(layout.studies[study], release, catalogue.built(), artefacts, by_dataset(attention))


def load_artefacts(layout: Layout, versions: Mapping[str, str]) -> dict[str, Loaded]:
    """Stored artefacts of the datasets that an inputs asset lists with their versions."""
    return {name: stored_artefacts(layout.folders.store, name, version) for name, version in versions.items()}


def by_dataset(attention: Mapping[str, Any]) -> dict[str, Any]:
    """Loaded attention by the dataset it was read on."""
    return {item.dataset: item for item in attention.values()}


def stored_choice(layer_choice: StoredFiles) -> tuple[LayerChoice, pd.DataFrame]:
    """The frozen layer and the profile it was chosen by.

    Raises
    ------
    ValueError
        When the stored record does not match its hash: a layer that was edited by hand is not the frozen one.
    """
    stored = layer_choice.json(CHOICE_FILE)
    choice = LayerChoice(**stored["choice"])
    if choice.sha256 != stored["sha256"]:
        file = layer_choice.path(CHOICE_FILE)
        raise ValueError(f"{file}: the record does not match its hash; materialise layer_choice again")
    return choice, pd.DataFrame(stored["profile"])


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
        group_name="analyses",
        kinds={"json"},
        owners=[TEAM],
        description="Which layer the analyses read, chosen on the layer-selection dataset and frozen with a hash.",
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


def output_files(number: int, output: AnalysisOutput) -> dict[str, bytes]:
    """Files of one analysis: its result rows and its tables."""
    files = {f"results/analysis_{number:02d}.json": results_json(output.results)}
    return files | {f"tables/{name}.parquet": parquet_bytes(frame) for name, frame in output.tables.items()}


def analysis_asset(layout: Layout, row: catalogue.AnalysisRow) -> dg.AssetsDefinition:
    """Asset of one analysis on the (release, study) grid."""

    @dg.asset(
        key=row.key,
        partitions_def=layout.release_by_study,
        ins={
            "attention": dg.AssetIn(partition_mapping=attention_of_study(layout), metadata={MANY: True}),
            "study_inputs": dg.AssetIn(),
            "layer_choice": dg.AssetIn(),
            **({"interventions": dg.AssetIn()} if "interventions" in row.needs else {}),
        },
        io_manager_key="files",
        code_version=code_version(str(row.function), "interp_assets.analyses.assemble"),
        metadata={PATH: FOLDER, **source_link(str(row.function))},
        group_name="analyses",
        kinds={"python"},
        owners=[TEAM],
        description=f"Analysis {row.number}: {row.title}. {row.section}",
        automation_condition=incremental(),
    )
    def analysis(
        context: dg.AssetExecutionContext,
        attention: dict[str, Any],
        study_inputs: StoredFiles,
        layer_choice: StoredFiles,
        **asked: StoredFiles,
    ) -> dg.Output[dict[str, bytes]]:
        study, release = dimensions(context)
        roles, absent = load_roles(layout, study, release, study_inputs, attention)
        changed = read_files(asked["interventions"].path) if asked else NO_INTERVENTIONS
        choice = stored_choice(layer_choice)
        output = run_analysis(layout.studies[study], release, row, roles, absent, choice, changed)
        files = output_files(row.number, output)
        return dg.Output(files, data_version=files_version(files), metadata=result_metadata(output.results))

    return analysis


def dimensions(context: dg.AssetExecutionContext) -> tuple[str, str]:
    """Study and release of the partition that is being materialised."""
    keys = context.partition_key.keys_by_dimension  # type: ignore[attr-defined]
    return keys["study"], keys["release"]


def test_results_asset(layout: Layout) -> dg.AssetsDefinition:
    """The 153 declared tests of one release in one study, with q-values over the declared families."""
    numbers = [row.key for row in catalogue.built()]

    @dg.asset(
        key="test_results",
        partitions_def=layout.release_by_study,
        ins={
            **{name: dg.AssetIn() for name in numbers},
            "attention": dg.AssetIn(partition_mapping=attention_of_study(layout), metadata={MANY: True}),
            "study_inputs": dg.AssetIn(),
            "layer_choice": dg.AssetIn(),
            "screens": dg.AssetIn(),
            "release": dg.AssetIn(),
        },
        io_manager_key="files",
        code_version=code_version("interp_assets.battery", "qc_standards.multiplicity"),
        metadata={PATH: FOLDER},
        group_name="results",
        kinds={"parquet"},
        owners=[TEAM],
        description="All 153 declared tests, one row each, with q-values over the declared family sizes.",
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
        roles, _ = load_roles(layout, study, name, study_inputs, attention)
        results = [
            result
            for name in numbers
            for result in results_from_json(analyses[name].path(f"results/{name}.json").read_bytes())
        ]
        tables = {name: frame for stored in (*analyses.values(), screens) for name, frame in stored.tables().items()}
        choice, _ = stored_choice(layer_choice)
        files = results_files(layout, study, release["card"], roles, results, tables, choice)
        shown = result_metadata(all_rows(results, name))
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
        "evaluability": pd.concat([inputs.evaluability for inputs in roles.values()], ignore_index=True)
        if roles
        else pd.DataFrame(),
    }
    files = {
        "tests.parquet": parquet_bytes(frame),
        "tests.csv": frame.to_csv(index=False, lineterminator="\n").encode("utf-8"),
        "results/tables.json": canonical_json(
            {name: table_hash(table) for name, table in sorted(battery_tables.items())}
        ).encode("utf-8"),
    }
    return files | {f"tables/{name}.parquet": parquet_bytes(table) for name, table in tables.items() if len(table)}
