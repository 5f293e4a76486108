"""The sensor of new releases on an instance: what it launches, how often, and that it never waits for a download."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dagster as dg
import pytest

from interp_assets.automation import discovery
from interp_assets.automation.discovery import SensorCursor, due, fetch_job
from interp_assets.definitions import build_definitions
from interp_assets.discovery.memory import memory_file, remembered
from interp_assets.discovery.sources import HubSource, read_sources
from interp_assets.layout import CONTROLS, RELEASE
from interp_assets.models.files.releases import find_releases
from tests.unit.releases.hub_server import Hub, serving

REPO = "lab/model"


@pytest.fixture
def hub(shipped: Path):
    with serving(Hub(REPO)) as found:
        found.commit({path.name: path.read_bytes() for path in shipped.iterdir()})
        yield found


@pytest.fixture
def declared(hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout):
    """The hub as the only declared source."""
    path = tmp_path / "platform.yaml"
    path.write_text(f"sources:\n- {{kind: hub, repo: {REPO}, endpoint: '{hub.endpoint}', every: 1h}}\n")
    monkeypatch.setenv("INTERP_PLATFORM", str(path))
    (source,) = read_sources(layout.folders)
    return source


class Clock:
    """Ticks of one sensor whose cursor lives on, at times of the test's choosing."""

    def __init__(self, layout, instance, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout, self.instance, self.patch = layout, instance, monkeypatch
        self.cursor: str | None = None
        self.definitions = build_definitions(layout)

    def tick(self, now: float):
        self.patch.setattr(discovery.time, "time", lambda: now)
        definitions = self.definitions
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=definitions, sensor_name="new_releases"
        ) as context:
            told = definitions.resolve_sensor_def("new_releases").evaluate_tick(context)
        self.cursor = told.cursor
        return told


@pytest.fixture
def clock(layout, instance, monkeypatch: pytest.MonkeyPatch) -> Clock:
    instance.add_dynamic_partitions(RELEASE.name, list(CONTROLS))
    return Clock(layout, instance, monkeypatch)


HOUR = 3600.0
START = 1000 * HOUR


def test_a_hub_is_asked_at_its_pace_and_a_new_commit_launches_one_run(declared, clock, hub):
    (run,) = clock.tick(START).run_requests
    assert run.run_key == f"{declared.key}:{hub.refs['main']}:1000"
    assert run.job_name == "fetch_release"
    assert run.tags["interp/cause"] == "new-release"
    assert not any("/resolve/" in line or "/tree/" in line for line in hub.asked), "a tick downloads nothing"
    hub.asked.clear()
    assert not clock.tick(START + 15).run_requests
    assert hub.asked == [], "not due yet"
    (later,) = clock.tick(START + HOUR).run_requests
    assert later.run_key != run.run_key, "what did not arrive is tried again one pace later"


def test_a_run_under_way_is_not_launched_twice(declared, clock, instance):
    (run,) = clock.tick(START).run_requests
    started = dg.DagsterRunStatus.STARTED
    instance.create_run_for_job(fetch_job(clock.layout), run_config=run.run_config, tags=run.tags, status=started)
    told = clock.tick(START + HOUR)
    assert not told.run_requests
    assert "being fetched" in told.skip_message


def test_the_run_fetches_and_the_next_tick_registers(declared, clock, instance, layout, shipped):
    (run,) = clock.tick(START).run_requests
    done = (
        build_definitions(layout)
        .resolve_job_def("fetch_release")
        .execute_in_process(run_config=run.run_config, instance=instance)
    )
    assert done.success
    (name,) = [release.name for release in find_releases(layout.folders.releases).complete]
    assert name == shipped.name
    (request,) = clock.tick(START + 15).dynamic_partitions_requests
    assert list(request.partition_keys) == [name]
    instance.add_dynamic_partitions(RELEASE.name, [name])
    told = clock.tick(START + HOUR)
    assert not told.run_requests
    assert "nothing new" in told.skip_message


def test_a_fetch_that_breaks_off_fails_its_run_and_leaves_no_release(declared, clock, instance, layout, hub):
    hub.short |= set(next(iter(hub.commits.values())))
    (run,) = clock.tick(START).run_requests
    done = (
        build_definitions(layout)
        .resolve_job_def("fetch_release")
        .execute_in_process(run_config=run.run_config, instance=instance, raise_on_error=False)
    )
    assert not done.success
    assert find_releases(layout.folders.releases).complete == ()
    assert remembered(layout.folders.releases, declared.key).commit == ""
    assert not clock.tick(START + 15).dynamic_partitions_requests


@pytest.mark.parametrize("status", [404, 429, 500])
def test_a_hub_that_does_not_answer_is_a_skip_with_its_reason(declared, clock, hub, status):
    hub.refusing = status
    told = clock.tick(START)
    assert not told.run_requests
    assert f"{declared.key}: skipped: " in told.skip_message
    assert hub.endpoint in told.skip_message
    hub.refusing = 0
    assert len(clock.tick(START + HOUR).run_requests) == 1


def test_a_misdeclared_file_stops_no_folder(declared, clock, tmp_path, layout, shipped):
    (tmp_path / "platform.yaml").write_text("sources:\n- {kind: ftp}\n")
    shutil.copytree(shipped, layout.folders.releases / shipped.name)
    told = clock.tick(START)
    (request,) = told.dynamic_partitions_requests
    assert list(request.partition_keys) == [shipped.name]
    clock.instance.add_dynamic_partitions(RELEASE.name, [shipped.name])
    assert "no source is watched" in clock.tick(START + 15).skip_message


def test_a_watched_folder_launches_a_run_for_what_is_complete(clock, layout, instance, shipped, tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "platform.yaml").write_text("sources:\n- {kind: folder, path: shared}\n")
    monkeypatch.setenv("INTERP_PLATFORM", str(tmp_path / "platform.yaml"))
    assert not clock.tick(START).run_requests
    shutil.copytree(shipped, shared / "theirs")
    (run,) = clock.tick(START + 15).run_requests
    definitions = clock.definitions
    assert (
        definitions.resolve_job_def("fetch_release")
        .execute_in_process(run_config=run.run_config, instance=instance)
        .success
    )
    assert [release.name for release in find_releases(layout.folders.releases).complete] == [shipped.name]
    assert not clock.tick(START + 30).run_requests


def test_what_a_watched_folder_cannot_give_is_told_by_the_tick_in_few_words(clock, tmp_path, monkeypatch):
    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / "shared" / name).mkdir(parents=True)
    (tmp_path / "shared" / "a" / "release.json").write_text("{")
    (tmp_path / "platform.yaml").write_text("sources:\n- {kind: folder, path: shared}\n")
    monkeypatch.setenv("INTERP_PLATFORM", str(tmp_path / "platform.yaml"))
    said = clock.tick(START).skip_message
    assert ": nothing new; a refused: " in said
    assert said.endswith("b incoming: no release.json yet; c incoming: no release.json yet; 2 more")


def test_files_that_change_under_a_name_are_read_again_each_time(clock, layout, instance, shipped):
    folder = layout.folders.releases / shipped.name
    shutil.copytree(shipped, folder)
    clock.tick(START)
    instance.add_dynamic_partitions(RELEASE.name, [shipped.name])
    assert not clock.tick(START + 15).run_requests
    manifest = json.loads((folder / "release.json").read_text())
    keys = []
    for number, family in enumerate(("edge_table", manifest["family"], "edge_table")):
        (folder / "release.json").write_text(json.dumps({**manifest, "family": family}))
        (run,) = clock.tick(START + 30 + 15 * number).run_requests
        assert (run.job_name, run.partition_key) == ("read_changed_release", shipped.name)
        assert run.tags["interp/cause"] == "changed"
        assert run.tags["interp/release"] == shipped.name
        keys.append(run.run_key)
        assert not clock.tick(START + 31 + 15 * number).run_requests
    assert len(set(keys)) == 3, "going back is a change too"


def test_a_card_that_is_damaged_says_nothing_so_the_release_is_read_again(clock, layout, instance, shipped):
    """Without a cursor the stored card says what was judged; a damaged one must not stand for "the same"."""
    shutil.copytree(shipped, layout.folders.releases / shipped.name)
    instance.add_dynamic_partitions(RELEASE.name, [shipped.name])
    assert not clock.tick(START).run_requests, "never read: what is missing is requested by the conditions"
    card = layout.folders.store / "releases" / shipped.name / "card" / "record.json"
    card.parent.mkdir(parents=True)
    card.write_text('{"kind": "ReleaseCard"')
    clock.cursor = None
    (run,) = clock.tick(START + 15).run_requests
    assert (run.job_name, run.partition_key) == ("read_changed_release", shipped.name)
    assert not clock.tick(START + 30).run_requests


def test_a_damaged_memory_of_a_source_is_a_skip_with_its_reason(declared, clock, layout):
    path = memory_file(layout.folders.releases, declared.key)
    path.parent.mkdir()
    path.write_text("{")
    told = clock.tick(START)
    assert not told.run_requests
    assert f"{path}: what was settled cannot be read" in told.skip_message
    assert path.read_text() == "{"


def test_without_sources_nothing_is_asked_and_nothing_written(clock, layout):
    assert clock.tick(START).skip_message == "0 release(s) known, 0 refused"
    assert list(layout.folders.releases.iterdir()) == []


@pytest.mark.parametrize("text", [None, "", "no json", "[]", '{"asked": 3}', '{"releases": {"a": 1}}'])
def test_a_cursor_that_cannot_be_read_is_an_empty_one(text):
    assert SensorCursor.read(text) == SensorCursor()


def test_a_cursor_survives_its_text():
    cursor = SensorCursor({"s": 1.5}, {"a": ("id", 2)})
    assert SensorCursor.read(cursor.text()) == cursor


def test_the_longest_waiting_source_is_due_first():
    first, second = (HubSource(repo=f"lab/{name}", endpoint="http://hub") for name in "ab")
    assert due([first, second], {first.key: 500.0, second.key: 100.0}, 5000.0) == [second, first]
    assert due([first, second], {first.key: 4000.0, second.key: 100.0}, 5000.0) == [second]


def test_a_clock_that_ran_ahead_silences_no_source():
    source = HubSource(repo="lab/a", endpoint="http://hub")
    assert due([source], {source.key: 9e9}, 5000.0) == [source]
    assert due([source], {source.key: float("nan")}, 5000.0) == [source]
