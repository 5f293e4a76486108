"""Attention is extracted on the datasets that a study reads, without a hand too, and nothing waits for any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.partitions.context import partition_loading_context

from interp_assets.assets.releases import answered_anywhere, read_anywhere
from interp_assets.definitions import build_definitions
from interp_assets.layout import RELEASE, Layout, read_layout
from interp_assets.stages import stages

GRIDS = ("attention", "random_weights/attention")
INPUTS = ("cells", "de_labels", "correlation", "references")


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployed) -> Iterator[tuple[Layout, dg.Definitions]]:
    """The studies that ship, of many datasets, of which most are read without a model."""
    releases = tmp_path / "releases"
    releases.mkdir()
    monkeypatch.delenv("INTERP_DATA_MIRROR", raising=False)
    for name, value in deployed(tmp_path, tmp_path / "wheels", "demo,bench", releases).items():
        monkeypatch.setenv(name, value)
    layout = read_layout()
    yield layout, build_definitions(layout)


def wanted(layout: Layout, grid: str) -> frozenset[str]:
    return {"attention": read_anywhere, "random_weights/attention": answered_anywhere}[grid](layout)


def test_nothing_reads_attention_on_another_dataset(deployment, instance) -> None:
    layout, definitions = deployment
    graph: AssetGraph = definitions.resolve_asset_graph()
    instance.add_dynamic_partitions(RELEASE.name, ["r"])
    read = dict.fromkeys(GRIDS, 0)
    for grid in GRIDS:
        key = dg.AssetKey(grid.split("/"))
        for child in graph.get(key).child_keys:
            below, above = graph.get(child).partitions_def, graph.get(key).partitions_def
            mapping = graph.get_partition_mapping(child, key)
            for partition in below.get_partition_keys(dynamic_partitions_store=instance):
                subset = below.empty_subset().with_partition_keys([partition])
                with partition_loading_context(dynamic_partitions_store=instance):
                    found = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, below, above)
                datasets = {name.keys_by_dimension["dataset"] for name in found.partitions_subset.get_partition_keys()}
                assert datasets <= wanted(layout, grid), f"{child} of {partition} waits for {grid}"
                read[grid] += len(datasets)
    assert all(read.values())


def test_a_command_extracts_what_the_daemon_asks_for(deployment) -> None:
    layout, definitions = deployment
    keys = definitions.resolve_asset_graph().materializable_asset_keys
    extracted: dict[str, set[str]] = {grid: set() for grid in GRIDS}
    for study in layout.studies:
        for stage in stages(layout, keys, study, ["r"]):
            for key in stage.keys:
                if (grid := "/".join(key.path)) in extracted:
                    extracted[grid].add(stage.partition.keys_by_dimension["dataset"])
    assert extracted == {grid: set(wanted(layout, grid)) for grid in GRIDS}


def test_the_daemon_asks_for_no_attention_that_nobody_reads(deployment, instance) -> None:
    layout, definitions = deployment
    instance.add_dynamic_partitions(RELEASE.name, ["r"])
    instance.report_runless_asset_event(dg.AssetMaterialization("release", partition="r"))
    datasets = definitions.resolve_asset_graph().get(dg.AssetKey("cells")).partitions_def.get_partition_keys()
    for name in INPUTS:
        for dataset in datasets:
            instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=dataset))
    chosen = dg.AssetSelection.assets(*(dg.AssetKey(grid.split("/")) for grid in GRIDS))
    found = dg.evaluate_automation_conditions(definitions, instance, asset_selection=chosen)
    assert {result.key.to_user_string() for result in found.results} == set(GRIDS)
    for result in found.results:
        partitions = result.true_subset.expensively_compute_partition_keys()
        asked = {partition.keys_by_dimension["dataset"] for partition in map(split, partitions)}
        assert asked == wanted(layout, result.key.to_user_string())
        assert len(asked) < len(datasets)


def split(partition: str) -> dg.MultiPartitionKey:
    dataset, release = partition.split("|")
    return dg.MultiPartitionKey({"dataset": dataset, "release": release})
