"""What runs are asked for with: cause, priority and time limit; what schedules and backfills leave out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from interp_assets import quarantine
from interp_assets.automation.backfills import plan, submit
from interp_assets.automation.launcher import WatchedRunLauncher
from interp_assets.automation.run_settings import RunSettings, read_run_settings
from interp_assets.cells.declared import DeclarationError
from interp_assets.definitions import build_definitions
from interp_assets.evaluate import dagster_instance
from interp_assets.layout import CONTROLS, RELEASE, grid_key
from interp_assets.quarantine import Quarantined
from interp_assets.settings import PROJECT, SettingsError


def set_aside(store: Path, name: str) -> None:
    record = dict.fromkeys(("release_id", "stage", "asset", "partition", "reason", "run_id", "since"), "x")
    quarantine.write(store, Quarantined(release=name, kind="release", **record))


def test_a_tick_asks_for_new_releases_first_and_says_why(layout, instance) -> None:
    """The sensor itself, as the code server evaluates it: one run a partition, each with its tags."""
    definitions = build_definitions(layout)
    instance.add_dynamic_partitions(RELEASE.name, ["early", "aside"])
    set_aside(layout.folders.store, "aside")
    sensor = definitions.resolve_sensor_def("evaluate_what_is_missing")
    with dg.build_sensor_context(instance=instance, repository_def=definitions.get_repository_def()) as context:
        requests = sensor.evaluate_tick(context).run_requests
    tags = {request.tags.get("dagster/partition"): request.tags for request in requests}
    assert tags["early"]["interp/release"] == "early"
    assert tags["early"]["interp/cause"] == "new-release"
    assert tags["pathway_commons_expression"]["interp/dataset"] == "pathway_commons_expression"
    assert int(tags["pathway_commons_expression"]["dagster/priority"]) > int(tags["early"]["dagster/priority"]) > 0
    assert tags["early"]["dagster/max_runtime"] == str(2 * 3600)
    assert not {"aside", "aside|tiny"} & set(tags)


def test_a_release_judged_before_is_something_that_changed(layout, instance) -> None:
    settings = RunSettings()
    key = grid_key(release="r", study="tiny")
    new, changed, scheduled = (
        int(settings.tags(key, cause, plain="release")["dagster/priority"])
        for cause in ("new-release", "changed", "schedule")
    )
    assert new > changed > scheduled


def test_run_settings_come_from_the_platform_file(layout, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "platform.yaml"
    monkeypatch.setenv("INTERP_PLATFORM", str(path))
    path.write_text("runs: {retries: 5, hours: {study: 3}, priorities: {schedule: 7}}\n")
    found = read_run_settings(layout.folders)
    assert (found.retries, found.delay, found.hours["study"], found.hours["shared"]) == (5, 60, 3, 12)
    assert found.tags(grid_key(release="r", study="tiny"), "schedule", plain="release")["dagster/priority"] == "7"
    path.write_text("runs: {hours: {studdy: 3}}\n")
    with pytest.raises(DeclarationError, match=r"studdy"):
        read_run_settings(layout.folders)


def test_the_schedule_leaves_a_release_in_quarantine_alone(layout, instance) -> None:
    definitions = build_definitions(layout)
    instance.add_dynamic_partitions(RELEASE.name, ["mine", "aside"])
    set_aside(layout.folders.store, "aside")
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2026, 12, 1, 3),
        repository_def=definitions.get_repository_def(),
    )
    runs = definitions.resolve_schedule_def("monthly_reevaluation").evaluate_tick(context).run_requests
    assert [run.partition_key for run in runs] == ["mine|tiny"]
    assert runs[0].tags["interp/cause"] == "schedule"


@pytest.mark.parametrize(("what", "stages"), [("verdicts", {"late"}), ("all", {"late", "early"})])
def test_a_backfill_covers_exactly_the_partitions_of_its_study(layout, instance, what: str, stages: set[str]) -> None:
    graph = build_definitions(layout).resolve_asset_graph()
    registered = [*CONTROLS, "mine", "other", "aside"]
    instance.add_dynamic_partitions(RELEASE.name, registered)
    set_aside(layout.folders.store, "aside")
    planned = plan(layout, graph, registered, "tiny", ["mine", "aside"], what)
    assert planned.releases == ("mine",)
    assert set(planned.left_out) == {"aside"}
    names = {key.to_user_string() for key in planned.partitions}
    assert {"qc_verdict", "report"} <= names
    assert ({"attention", "test_results", "release"} <= names) == ("early" in stages)
    partitions = {name for keys in planned.partitions.values() for name in keys}
    assert partitions <= {"mine", "mine|tiny", "planted_tiny|mine"}
    number = submit(instance, graph, planned, RunSettings())
    stored = instance.get_backfill(number)
    assert stored.tags["interp/release"] == "mine"
    assert stored.tags["dagster/priority"] == "10"
    assert stored.asset_backfill_data.target_subset.num_partitions_and_non_partitioned_assets == planned.count


def test_a_backfill_of_what_nobody_registered_is_refused(layout, instance) -> None:
    graph = build_definitions(layout).resolve_asset_graph()
    with pytest.raises(SettingsError, match="release nobody is not registered yet"):
        plan(layout, graph, list(CONTROLS), "tiny", ["nobody"], "all")
    with pytest.raises(SettingsError, match="unknown study"):
        plan(layout, graph, list(CONTROLS), "none", [], "all")


def test_the_shipped_settings_retry_lost_workers_and_keep_one_run_a_partition(layout) -> None:
    with dagster_instance(layout) as instance:
        assert isinstance(instance.run_launcher, WatchedRunLauncher)
        assert instance.run_monitoring_enabled
        assert (instance.run_retries_max_retries, instance.run_retries_retry_on_asset_or_op_failure) == (2, False)
        limits = instance.get_concurrency_config().run_queue_config.tag_concurrency_limits
        assert [(limit["key"], limit["limit"]) for limit in limits] == [("dagster/partition", 1)]


def test_the_named_dagster_yaml_counts_and_replaces_a_former_one(layout, tmp_path, monkeypatch) -> None:
    mine = tmp_path / "server.yaml"
    mine.write_text("telemetry: {enabled: false}\n")
    home = layout.folders.dagster_home / "dagster.yaml"
    with dagster_instance(layout):
        assert home.read_bytes() == (PROJECT / "dagster.yaml").read_bytes()
    monkeypatch.setenv("INTERP_DAGSTER_YAML", str(mine))
    with dagster_instance(layout):
        assert yaml.safe_load(home.read_text()) == {"telemetry": {"enabled": False}}
    monkeypatch.delenv("INTERP_DAGSTER_YAML")
    with dagster_instance(layout):
        assert home.read_bytes() == mine.read_bytes(), "a file that a person wrote stays"
    monkeypatch.setenv("INTERP_DAGSTER_YAML", str(tmp_path / "absent.yaml"))
    with pytest.raises(SettingsError, match="no such file"):
        dagster_instance(layout)


def test_every_job_of_the_code_location_resolves(layout) -> None:
    """A code server resolves all jobs when it starts, also those behind sensors; one that fails ends the deployment."""
    build_definitions(layout).get_repository_def().load_all_definitions()
