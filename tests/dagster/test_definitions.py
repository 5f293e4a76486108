"""The graph as a reader of the UI meets it: keys, groups, pools, owners, checks."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from interp_assets.analyses import catalogue
from interp_assets.assets.analyses import analysis_asset
from interp_assets.assets.presentation import placed, presented
from interp_assets.assets.releases import carried
from interp_assets.definitions import build_definitions
from interp_assets.figures.catalogue import CATALOGUE
from interp_assets.layout import CONTROLS, grid_key, read_layout
from interp_assets.readings.catalogue import READINGS
from interp_assets.stages import stages, waves
from interp_assets.supplement.catalogue import TABLES
from qc_standards.claims import claims_registry


@pytest.fixture(scope="module")
def graph():
    return build_definitions(read_layout()).resolve_asset_graph()


def keys(graph) -> set[str]:
    return {key.to_user_string() for key in graph.materializable_asset_keys}


def test_the_graph_holds_the_agreed_assets(graph) -> None:
    fixed = {"cells", "references", "gene_features", "de_labels", "correlation", "null_calibration", "release"}
    fixed |= {"study_inputs", "sample_inputs", "screen_inputs", "layer_inputs", "layer_choice", "screens"}
    fixed |= {"attention", "interventions", "grid_outcomes", *(entry.name for entry in READINGS)}
    judged = {"test_results", "standards_results", "control_outcome", "qc_verdict", "explorer", "report", "leaderboard"}
    judged |= {"verdict_history", "verdict_changes"}
    analyses = {row.key for row in catalogue.built()}
    analyses |= {f"of_study/{row.key}" for row in catalogue.every() if row.release_free}
    analyses |= {row.key for row in catalogue.extended()} | {"extended_results"}
    claims = {f"claim/{name}" for name in claims_registry().claims}
    figures = {f"figure/{spec.figure_id}" for spec in CATALOGUE} | {"published_entries"}
    figures |= {f"supplement/{spec.table_id}" for spec in TABLES}
    twins = {
        "random_weights/attention",
        "random_weights/interventions",
        *(f"{twin}/{key}" for twin in ("shuffled", "random_weights") for key in ("test_results", "control_outcome")),
    }
    raw = {key for key in keys(graph) if key.startswith("raw/")}
    assert keys(graph) - raw == fixed | judged | analyses | claims | figures | twins
    assert {"raw/baron_pancreas_human", "raw/pathway_commons_expression"} <= raw


def test_only_steps_that_run_a_model_hold_the_gpu_pool(graph) -> None:
    pooled = {key.to_user_string() for key in graph.materializable_asset_keys if "gpu" in (graph.get(key).pools or ())}
    models = {"attention", "interventions"}
    readings = {entry.name for entry in READINGS}
    assert pooled == models | readings | {f"random_weights/{name}" for name in models}


def test_every_asset_is_owned_described_and_grouped(graph) -> None:
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.owners == ["team:interpretability"], key
        assert (node.description or "").strip(), key
        assert node.group_name != "default", key


def test_groups_read_as_the_data_flow(graph) -> None:
    """No group reads from a later one."""
    place = {key: int((graph.get(key).group_name or "").partition("_")[0]) for key in graph.materializable_asset_keys}
    back = {
        (graph.get(parent).group_name, graph.get(key).group_name)
        for key in place
        for parent in graph.get(key).parent_keys
        if parent in place and place[parent] > place[key]
    }
    assert not back


def test_every_asset_has_kinds_tags_and_a_place_in_the_code(graph) -> None:
    layout = read_layout()
    kinds = {"dataset": layout.by_dataset, "study": layout.by_study, "store": None}
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.kinds, key
        assert node.tags["one_per"] == one_per(node, kinds), key
        for reference in node.metadata["dagster/code_references"].code_references:
            assert Path(reference.file_path).is_file(), key


def one_per(node, kinds) -> str:
    if isinstance(node.partitions_def, dg.MultiPartitionsDefinition):
        return "-and-".join(sorted(node.partitions_def.partition_dimension_names))
    named = {name for name, definition in kinds.items() if definition == node.partitions_def}
    return next(iter(named), "release" if isinstance(node.partitions_def, dg.DynamicPartitionsDefinition) else "file")


@pytest.mark.parametrize("row", catalogue.every(), ids=lambda row: row.key)
def test_an_analysis_says_what_it_answers_and_links_its_function(graph, row) -> None:
    node = graph.get(dg.AssetKey(row.key))
    question, _, rest = node.description.partition("\n\n")
    assert question.startswith("**")
    assert question.rstrip("*").endswith("?")
    assert all(f"`{test}`" in rest for test in row.test_ids)
    module, name = row.function.split(":")
    first = node.metadata["dagster/code_references"].code_references[0]
    assert first.file_path.endswith(f"{module.replace('.', '/')}.py")
    line = Path(first.file_path).read_text(encoding="utf-8").splitlines()[first.line_number - 1]
    assert name in line


def test_a_published_repository_makes_addresses_of_the_places_in_the_code(monkeypatch) -> None:
    monkeypatch.setenv("INTERP_REPOSITORY_URL", "https://github.com/example/platform")
    monkeypatch.setenv("INTERP_REPOSITORY_REVISION", "v1")
    (shown,) = presented([analysis_asset(read_layout(), catalogue.every()[0])])
    references = shown.metadata_by_key[shown.key]["dagster/code_references"].code_references
    address = "https://github.com/example/platform/tree/v1/interp_assets/"
    assert all(reference.url.startswith(address) for reference in references)


def test_a_group_without_a_place_in_the_flow_is_refused() -> None:
    with pytest.raises(ValueError, match="no place in the data flow"):
        placed("elsewhere")


def test_every_asset_is_kept_up_to_date_by_a_condition(graph) -> None:
    without = [
        key.to_user_string() for key in graph.materializable_asset_keys if not graph.get(key).automation_condition
    ]
    assert not without


def test_claims_and_standards_are_mirrored_as_checks(graph) -> None:
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert {name for asset, name in checks if asset == "qc_verdict"} == set(claims_registry().claims)
    assert len({name for asset, name in checks if asset == "standards_results"}) >= 12


def upstream(graph, instance, key: str, partition: str) -> set[tuple[str, str | None]]:
    """Every asset partition that one partition of ``key`` depends on, however far up."""
    seen: set[tuple[str, str | None]] = set()
    todo = [(dg.AssetKey(key.split("/")), partition)]
    with partition_loading_context(dynamic_partitions_store=instance):
        while todo:
            asset, of = todo.pop()
            for parent in graph.get_parents_partitions(asset, of).parent_partitions:
                found = (parent.asset_key.to_user_string(), parent.partition_key)
                if found not in seen:
                    seen.add(found)
                    todo.append((parent.asset_key, parent.partition_key))
    return seen


@pytest.mark.parametrize("study", ["demo", "bench"])
def test_no_outcome_of_the_evaluation_lies_upstream_of_the_layer(graph, instance, study: str) -> None:
    """The layer is fixed by lineage: only the selection dataset, its references and the release feed the choice."""
    layout = read_layout()
    (chosen_on,) = layout.selecting(study)
    instance.add_dynamic_partitions("release", ["any"])
    behind = upstream(graph, instance, "layer_choice", grid_key(release="any", study=study))
    by_dataset = {"cells", "de_labels", "correlation", "references", "gene_features", "null_calibration"}
    assert {partition for key, partition in behind if key in by_dataset} == {chosen_on}
    assert {partition for key, partition in behind if key == "attention"} == {f"{chosen_on}|any"}
    assert chosen_on not in layout.compared(study)
    outcomes = {f"raw/{name}" for name in layout.compared(study)}
    assert not outcomes & {key for key, _ in behind}


@pytest.mark.parametrize("study", ["demo", "bench"])
def test_every_analysis_reads_the_frozen_layer(graph, instance, study: str) -> None:
    instance.add_dynamic_partitions("release", ["any"])
    for row in catalogue.every():
        behind = upstream(graph, instance, row.key, grid_key(release="any", study=study))
        if row.release_free:
            assert not any(partition and "any" in partition for _, partition in behind), row.key
            continue
        assert ("layer_choice", grid_key(release="any", study=study)) in behind, row.key


def test_a_screen_that_is_only_compared_does_not_make_an_analysis_stale(graph, instance) -> None:
    instance.add_dynamic_partitions("release", ["any"])
    layout = read_layout()
    only_compared = set(layout.compared("bench")) - set(layout.evaluated("bench"))
    behind = upstream(graph, instance, "analysis_21", grid_key(release="any", study="bench"))
    assert only_compared
    assert not only_compared & {partition for key, partition in behind if key in ("de_labels", "correlation")}


def test_chains_of_one_wave_need_nothing_of_each_other(graph, instance) -> None:
    """They run in processes side by side."""
    instance.add_dynamic_partitions("release", ["control-planted", "control-coexpression", "one", "two"])
    for wave in waves(read_layout(), graph.materializable_asset_keys, "demo", ["one", "two"]):
        made = [{(key.to_user_string(), stage.partition) for stage in chain for key in stage.keys} for chain in wave]
        for number, chain in enumerate(wave[:4]):
            others = set().union(*(each for place, each in enumerate(made) if place != number))
            behind = upstream(graph, instance, chain[-1].keys[0].to_user_string(), chain[-1].partition)
            assert not others & behind, chain[-1].title


def test_stages_are_the_waves_one_after_the_other(graph) -> None:
    layout, assets = read_layout(), graph.materializable_asset_keys
    every = [stage.title for stage in stages(layout, assets, "demo", ["one"])]
    in_waves = [stage.title for wave in waves(layout, assets, "demo", ["one"]) for chain in wave for stage in chain]
    assert every == in_waves
    assert len(set(every)) == len(every)
    assert every.index("battery of one in demo") < every.index("verdict of control-planted in demo")


def test_an_analysis_that_asks_for_the_controls_reads_those_of_its_study(graph, instance) -> None:
    instance.add_dynamic_partitions("release", ["any", *CONTROLS])
    asking = [row for row in catalogue.extended() if "controls" in row.needs]
    assert asking
    own = {row.key for row in catalogue.extended() if row.for_controls}
    for row in asking:
        behind = upstream(graph, instance, row.key, grid_key(release="any", study="demo"))
        for control in CONTROLS:
            at = grid_key(release=control, study="demo")
            assert {key for key, partition in behind if partition == at} >= {"test_results", *own}


def test_standards_wait_for_the_tables_of_the_extended_analyses(graph, instance) -> None:
    instance.add_dynamic_partitions("release", ["any", *CONTROLS])
    behind = upstream(graph, instance, "standards_results", grid_key(release="any", study="demo"))
    assert ("extended_results", grid_key(release="any", study="demo")) in behind


@pytest.mark.parametrize("study", ["demo", "bench"])
def test_the_positive_control_carries_the_networks_of_the_study_and_no_database(study: str) -> None:
    """Tens of thousands of co-membership pairs would drown the outcomes that the control has to show."""
    layout = read_layout()
    chosen = layout.studies[study]
    screen = chosen.dataset_of("primary_screen")
    databases = set(chosen.reference_sets.values()) - set(chosen.references)
    assert databases
    assert databases <= set(layout.references_of(screen))
    stored = {name: name for name in layout.references_of(screen)}
    assert set(carried(layout, screen, stored)) == set(chosen.references)
    lacking = {name: name for name in stored if name != chosen.references[-1]}
    assert chosen.references[-1] not in carried(layout, screen, lacking)
