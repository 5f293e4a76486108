"""What happens without a hand: new folders become partitions, missing partitions are requested."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.caching_instance_queryer import CachingInstanceQueryer

from interp_assets.analyses import catalogue
from interp_assets.automation.conditions import incremental
from interp_assets.automation.discovery import release_sensor, unregistered
from interp_assets.definitions import build_definitions
from interp_assets.layout import CONTROLS, RELEASE
from interp_assets.readings.catalogue import READINGS


def test_controls_are_registered_before_the_first_release() -> None:
    assert unregistered(["b", "a"], []) == [*CONTROLS, "a", "b"]
    assert unregistered(["b", "a"], [*CONTROLS, "a"]) == ["b"]
    assert unregistered(["a"], [*CONTROLS, "a"]) == []


def tick(layout, instance):
    sensor = release_sensor(layout)
    return sensor(dg.build_sensor_context(instance=instance))


def test_an_empty_folder_registers_the_controls_only(layout) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(layout, instance)
        (request,) = result.dynamic_partitions_requests
        assert list(request.partition_keys) == list(CONTROLS)


def test_a_release_is_registered_when_its_manifest_is_complete(layout, shipped: Path) -> None:
    source = shipped
    copy = layout.folders.releases / source.name
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(RELEASE.name, list(CONTROLS))
        copy.mkdir()
        for file in source.iterdir():
            if file.name != "release.json":
                shutil.copy(file, copy)
        assert "1 still being copied" in tick(layout, instance).skip_message
        shutil.copy(source / "release.json", copy)
        (request,) = tick(layout, instance).dynamic_partitions_requests
        assert list(request.partition_keys) == [source.name]
        instance.add_dynamic_partitions(RELEASE.name, [source.name])
        assert isinstance(tick(layout, instance), dg.SkipReason)


def test_a_damaged_release_is_refused_and_blocks_nobody(layout, shipped: Path) -> None:
    good, source = layout.folders.releases / shipped.name, shipped
    shutil.copytree(source, good)
    bad = layout.folders.releases / "damaged"
    shutil.copytree(source, bad)
    weights = bad / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with dg.DagsterInstance.ephemeral() as instance:
        (request,) = tick(layout, instance).dynamic_partitions_requests
        assert list(request.partition_keys) == [*CONTROLS, source.name]


def requested(definitions, instance, cursor=None):
    result = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=cursor)
    found = {
        (subset.key.to_user_string(), key)
        for subset in (entry.true_subset for entry in result.results)
        for key in (subset.expensively_compute_partition_keys() if subset.is_partitioned else [None])
        if not subset.is_empty
    }
    return result.cursor, found


def test_a_release_registered_before_the_first_tick_is_requested(layout) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(RELEASE.name, [*CONTROLS, "early"])
        _, first = requested(build_definitions(layout), instance)
        assert ("release", "early") in first
        assert ("raw/pathway_commons_expression", "pathway_commons_expression") in first
        assert ("attention", "planted_tiny|early") not in first  # its inputs are missing


def test_the_monthly_schedule_covers_every_release_in_every_study(layout, instance) -> None:
    definitions = build_definitions(layout)
    schedule = definitions.resolve_schedule_def("monthly_reevaluation")
    instance.add_dynamic_partitions(RELEASE.name, [*CONTROLS, "mine"])
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2026, 12, 1, 3),
        repository_def=definitions.get_repository_def(),
    )
    runs = schedule.evaluate_tick(context).run_requests
    assert {run.partition_key for run in runs} == {f"{name}|tiny" for name in (*CONTROLS, "mine")}
    assert len({run.run_key for run in runs}) == 3


def test_the_monthly_schedule_waits_for_a_release(layout, instance) -> None:
    definitions = build_definitions(layout)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime(2026, 12, 1, 3))
    tick = definitions.resolve_schedule_def("monthly_reevaluation").evaluate_tick(context)
    assert not tick.run_requests
    assert tick.skip_message == "no release is registered yet"


def granted(definitions, instance, cursor):
    """One tick whose requests all succeed; what was asked for, by partition, as the daemon groups it into runs."""
    cursor, wanted = requested(definitions, instance, cursor)
    runs: dict[str | None, set[str]] = {}
    for name, key in wanted:
        runs.setdefault(key, set()).add(name)
        tags = {"dagster/data_version": "1"}
        asset = dg.AssetKey(name.split("/"))
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key, tags=tags))
    return cursor, runs


def test_a_new_release_needs_six_runs_and_the_leaderboard(layout) -> None:
    """Whatever shares a partition is requested in one tick, so that it becomes one run, not one an asset."""
    definitions = build_definitions(layout)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(RELEASE.name, list(CONTROLS))
        cursor, runs = granted(definitions, instance, None)
        for _ in range(12):
            cursor, runs = granted(definitions, instance, cursor)
            if not runs:
                break
        assert not runs, "the controls never come to rest"
        instance.add_dynamic_partitions(RELEASE.name, ["late"])
        ticks = []
        for _ in range(4):
            cursor, runs = granted(definitions, instance, cursor)
            ticks.append(runs)
        # The study chooses its layer on no dataset, so that the choice waits for nothing; nor do rows without a model.
        of_study = {row.key for row in catalogue.built() if row.release_free}
        assert set(ticks[0]) == {"late", "late|tiny"}
        assert {"layer_choice", *of_study} <= ticks[0]["late|tiny"]
        assert set(ticks[1]) == {"planted_tiny|late", "late|tiny"}
        assert ticks[1]["planted_tiny|late"] == {"attention", "random_weights/attention"}
        assert {entry.name for entry in READINGS} <= ticks[1]["late|tiny"]
        assert set(ticks[2]) == {"late|tiny"}
        assert {"analysis_16", "screens", "test_results", "qc_verdict", "report"} <= ticks[2]["late|tiny"]
        assert ticks[3] == {None: {"verdict_changes", "leaderboard"}}
        assert granted(definitions, instance, cursor)[1] == {}


def test_a_failed_partition_does_not_run_in_a_loop() -> None:
    """It is asked for once, left alone after its failure, and asked for again when what it reads has changed."""
    partitions = dg.StaticPartitionsDefinition(["good", "broken"])

    @dg.asset(partitions_def=partitions)
    def source() -> None: ...

    @dg.asset(partitions_def=partitions, deps=[source], automation_condition=incremental())
    def result(context) -> None:
        if context.partition_key == "broken":
            raise ValueError("broken on purpose")

    @dg.asset(partitions_def=partitions, deps=[result], automation_condition=incremental())
    def reader() -> None: ...

    definitions = dg.Definitions([source, result, reader])

    def version(text: str) -> None:
        for key in ("good", "broken"):
            event = dg.AssetMaterialization("source", partition=key, tags={"dagster/data_version": text})
            instance.report_runless_asset_event(event)

    def tick(cursor):
        found = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=cursor)
        keys = {key: found.get_requested_partitions(dg.AssetKey(key)) for key in ("result", "reader")}
        return found.cursor, keys

    def run(key: str) -> None:
        dg.materialize(
            [source, result, reader],
            partition_key=key,
            selection=["result", "reader"],
            instance=instance,
            raise_on_error=False,
        )

    with dg.DagsterInstance.ephemeral() as instance:
        version("1")
        cursor, first = tick(None)
        assert first == {"result": {"good", "broken"}, "reader": {"good", "broken"}}
        run("good")
        run("broken")
        for _ in range(3):
            cursor, again = tick(cursor)
            assert again == {"result": set(), "reader": set()}
        version("2")
        cursor, changed = tick(cursor)
        assert changed["result"] == {"good", "broken"}


def test_what_ends_during_a_tick_is_not_run_again(instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick reads the events of its beginning and the runs of its end: what ended in between belongs to the next."""
    partitions = dg.StaticPartitionsDefinition(["a"])
    looked, told = threading.Event(), threading.Event()

    @dg.asset(partitions_def=partitions, automation_condition=incremental())
    def result() -> None: ...

    @dg.asset(partitions_def=partitions, deps=[result], automation_condition=incremental())
    def reader() -> None:
        told.set()
        looked.wait(60)

    definitions = dg.Definitions([result, reader])

    def tick(cursor):
        found = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=cursor)
        return found.cursor, {key for key in ("result", "reader") if found.get_num_requested(dg.AssetKey(key))}

    def end_the_run_after(prefetch):
        def prefetched(queryer, keys):
            prefetch(queryer, keys)
            looked.set()
            running.result(60)

        return prefetched

    cursor, wanted = tick(None)
    assert wanted == {"result", "reader"}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(dg.materialize, [result, reader], partition_key="a", instance=instance)
        assert told.wait(60)
        cursor, wanted = tick(cursor)
        assert wanted == set()
        prefetch = CachingInstanceQueryer.prefetch_asset_records
        monkeypatch.setattr(CachingInstanceQueryer, "prefetch_asset_records", end_the_run_after(prefetch))
        cursor, wanted = tick(cursor)
    assert wanted == set()
    assert running.result().success
    monkeypatch.undo()
    for _ in range(2):
        cursor, wanted = tick(cursor)
        assert wanted == set()
