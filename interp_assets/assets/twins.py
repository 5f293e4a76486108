"""Assets of the negative twins: the whole battery on a release whose edges, or weights, mean nothing.

A twin shares the partition of the release it was made from, so that lineage ties a verdict to its own controls. The
battery of a twin is one asset, not one an analysis: nobody follows a twin's analyses one by one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dagster as dg

from interp_assets.analyses import catalogue
from interp_assets.assets.analyses import output_files
from interp_assets.assets.battery import results_files
from interp_assets.assets.judgement import judged_files
from interp_assets.assets.judging import rules_version
from interp_assets.assets.stored_inputs import attention_of_study, dimensions, load_roles, stored_choice
from interp_assets.automation.conditions import incremental
from interp_assets.battery import Gathered, run_battery
from interp_assets.cells.records import Unavailable
from interp_assets.code_version import code_version
from interp_assets.edges.records import AttentionEdges
from interp_assets.interventions.records import read_files
from interp_assets.io_managers import MANY, PATH, StoredFiles, files_version
from interp_assets.layout import Layout
from interp_assets.metadata import TEAM, result_metadata
from interp_assets.models.records import ReleaseCard

GROUP = "negative_twins"
TWIN_SEED = 0
SHUFFLED, RANDOM_WEIGHTS = "shuffled", "random-weights"
NO_MODEL = "shuffled edge scores stand for no model whose heads could be changed"
Edges = AttentionEdges | Unavailable


def _battery_version() -> str:
    sources = [str(row.function) for row in catalogue.built() if row.for_controls]
    return code_version(
        *sources,
        "interp_assets.battery",
        "interp_assets.evaluation_tables",
        "interp_assets.models.controls.catalogue",
        "qc_standards.multiplicity",
    )


def no_twin(base: ReleaseCard, suffix: str) -> str:
    """Why a release has no twin of this kind; empty when it has one."""
    if base.kind != "release":
        return "a control"
    if suffix == RANDOM_WEIGHTS and base.family == "edge_table":
        return "an edge table has no weights to draw at random"
    return ""


def twin_battery_asset(
    layout: Layout,
    prefix: str,
    suffix: str,
    attention_key: list[str],
    edges_of: Callable[[Edges], Edges],
    *,
    intervened: bool = False,
) -> dg.AssetsDefinition:
    """The battery on one kind of twin, from the attention at ``attention_key``; ``intervened``: it is a model."""

    @dg.asset(
        key=[prefix, "test_results"],
        partitions_def=layout.release_by_study,
        ins={
            "attention": dg.AssetIn(
                dg.AssetKey(attention_key),
                partition_mapping=attention_of_study(layout, "answered"),
                metadata={MANY: True},
            ),
            "study_inputs": dg.AssetIn(),
            "layer_choice": dg.AssetIn(),
            "release": dg.AssetIn(),
            **({"interventions": dg.AssetIn(dg.AssetKey([prefix, "interventions"]))} if intervened else {}),
        },
        io_manager_key="files",
        code_version=_battery_version(),
        metadata={PATH: "{study}/{release}." + suffix},
        group_name=GROUP,
        kinds={"parquet"},
        owners=[TEAM],
        description=f"Do the tests fail where nothing can be found? All declared tests on the {suffix} twin of the "
        f"release; a control has no twin.",
        automation_condition=incremental(),
    )
    def test_results(
        context: dg.AssetExecutionContext,
        attention: dict[str, Any],
        study_inputs: StoredFiles,
        layer_choice: StoredFiles,
        release: dict[str, ReleaseCard],
        **asked: StoredFiles,
    ) -> dg.Output[dict[str, bytes]]:
        base = release["card"]
        lacking = no_twin(base, suffix)
        if lacking:
            return dg.Output({}, data_version=dg.DataVersion("no twin"), metadata={"twin": f"none: {lacking}"})
        study, _ = dimensions(context)
        card = replace(
            base, name=f"{base.name}.{suffix}", kind="negative_control", base=base.name, gap=None, trained_on=()
        )
        changed = {key: edges_of(edges) for key, edges in attention.items()}
        answered = [row for row in catalogue.built() if row.for_controls]
        roles, absent = load_roles(layout, study, card.name, study_inputs, changed, answered)
        choice = stored_choice(layer_choice)  # a twin is read in the layer of its release
        interventions = read_files(asked["interventions"].path) if asked else NO_MODEL
        gathered = Gathered(choice=choice, roles=roles, interventions=interventions, absent=absent)
        outputs = run_battery(layout.studies[study], card.name, gathered)
        results = [result for output in outputs.values() for result in output.results]
        tables = {name: frame for output in outputs.values() for name, frame in output.tables.items()}
        files = results_files(layout, study, card, roles, results, tables, choice[0])
        for number, output in outputs.items():
            files |= output_files(catalogue.row(number), output)
        return dg.Output(files, data_version=files_version(files), metadata=result_metadata(results))

    return test_results


def twin_outcome_asset(layout: Layout, prefix: str, suffix: str) -> dg.AssetsDefinition:
    """Verdict of a twin, judged like any release but without controls of its own."""

    @dg.asset(
        key=[prefix, "control_outcome"],
        partitions_def=layout.release_by_study,
        ins={"test_results": dg.AssetIn(dg.AssetKey([prefix, "test_results"]))},
        io_manager_key="files",
        code_version=code_version("qc_standards.gate", "interp_assets.report.page", "interp_assets.figures.catalogue")
        + rules_version(),
        metadata={PATH: "{study}/{release}." + suffix},
        group_name=GROUP,
        kinds={"json"},
        owners=[TEAM],
        description=f"Does the {suffix} twin fail as it must?",
        automation_condition=incremental(),
    )
    def control_outcome(context: dg.AssetExecutionContext, test_results: StoredFiles) -> dg.Output[dict[str, bytes]]:
        if not test_results.names:
            return dg.Output({}, data_version=dg.DataVersion("no twin"), metadata={"twin": "none"})
        files, shown = judged_files(layout, test_results.folder)
        version = files_version({name: files[name] for name in files if name != "provenance.json"})
        return dg.Output(files, data_version=version, metadata=shown)

    return control_outcome


def _shuffled(edges: Edges) -> Edges:
    from interp_assets.models.controls.catalogue import shuffled

    return edges if isinstance(edges, Unavailable) else shuffled(edges, TWIN_SEED)


def twin_assets(layout: Layout) -> list[dg.AssetsDefinition]:
    """Assets of both kinds of twin."""
    found: list[Any] = [
        twin_battery_asset(layout, "shuffled", SHUFFLED, ["attention"], _shuffled),
        twin_outcome_asset(layout, "shuffled", SHUFFLED),
        twin_battery_asset(
            layout,
            "random_weights",
            RANDOM_WEIGHTS,
            ["random_weights", "attention"],
            lambda edges: edges,
            intervened=True,
        ),
        twin_outcome_asset(layout, "random_weights", RANDOM_WEIGHTS),
    ]
    return found
