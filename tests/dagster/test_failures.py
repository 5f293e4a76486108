"""After a run failed: tried again where the machine was at fault, quarantine where the release was, and the way out."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from interp_assets import quarantine
from interp_assets.automation.conditions import incremental, incremental_release
from interp_assets.automation.failure_kinds import StepError, failure_kind
from interp_assets.automation.failures import AfterFailures, Memory
from interp_assets.automation.run_settings import RunSettings
from interp_assets.executors import OtherDeploymentError
from interp_assets.layout import RELEASE

STUDIES = dg.StaticPartitionsDefinition(["s1", "s2"])
GRID = dg.MultiPartitionsDefinition({"release": RELEASE, "study": STUDIES})


@pytest.mark.parametrize(
    ("reason", "chain", "kind"),
    [
        ("STEP_FAILURE", [("HashMismatchError", "weights differ")], "release"),
        ("STEP_FAILURE", [("ValueError", "attention holds NaN in layer 3")], "release"),
        ("STEP_FAILURE", [("FileNotFoundError", "[Errno 2] No such file or directory")], "release"),
        ("STEP_FAILURE", [("OSError", "[Errno 28] No space left on device")], "infrastructure"),
        ("STEP_FAILURE", [("sqlite3.OperationalError", "database is locked")], "infrastructure"),
        ("STEP_FAILURE", [("DagsterExecutionStepExecutionError", ""), ("MemoryError", "")], "infrastructure"),
        ("STEP_FAILURE", [("torch.OutOfMemoryError", "CUDA out of memory")], "infrastructure"),
        ("STEP_FAILURE", [("distributed.client.FutureCancelledError", "scheduler lost")], "infrastructure"),
        (
            "STEP_FAILURE",
            [(f"interp_assets.executors.{OtherDeploymentError.__name__}", "")],
            "infrastructure",
        ),
        ("STEP_FAILURE", [], "release"),
        ("UNKNOWN", [], "infrastructure"),
        ("START_TIMEOUT", [], "infrastructure"),
    ],
)
def test_whose_fault_a_failure_is(reason: str, chain: list[tuple[str, str]], kind: str) -> None:
    assert failure_kind(reason, [StepError(*error) for error in chain]) == kind


class World:
    """A release asset, an asset on the grid and one behind it; ``errors`` says which partitions fail and how."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.errors: dict[str, Exception] = {}
        self.instance, self.store, self.releases = instance, folder / "store", folder / "releases"
        self.releases.mkdir(parents=True)
        self.version = "1"

        @dg.asset(partitions_def=RELEASE, automation_condition=incremental_release())
        def release(context) -> dg.Output[None]:
            self.fail(context.partition_key)
            return dg.Output(None, data_version=dg.DataVersion(self.version))

        @dg.asset(partitions_def=GRID, deps=[release], automation_condition=incremental())
        def attention(context) -> None:
            self.fail(context.partition_key)

        @dg.asset(partitions_def=GRID, deps=[attention], automation_condition=incremental())
        def qc_verdict() -> None: ...

        self.assets = [release, attention, qc_verdict]
        self.definitions = dg.Definitions(self.assets)
        self.cursor = None
        self.memory = Memory()
        layout = SimpleNamespace(folders=SimpleNamespace(store=self.store, releases=self.releases))
        graph = self.definitions.resolve_asset_graph()
        self.after = AfterFailures(layout, instance, graph, RunSettings(retries=2, delay=10))  # type: ignore[arg-type]

    def fail(self, key: str) -> None:
        if error := self.errors.get(str(key)):
            raise error

    def tick(self) -> set[tuple[str, str]]:
        """What the conditions ask for at the next look."""
        found = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        names = [asset.key for asset in self.assets]
        return {(key.to_user_string(), part) for key in names for part in found.get_requested_partitions(key)}

    def run(self, asked: set[tuple[str, str]], **tags: str) -> None:
        """Carry out what was asked for, one run a partition, as the daemon groups it."""
        for part in sorted({part for _, part in asked}):
            selection = [name for name, of in asked if of == part]
            dg.materialize(
                self.assets,
                partition_key=part,
                selection=selection,
                instance=self.instance,
                raise_on_error=False,
                tags=tags,
            )

    def look(self, now: float) -> list[dg.RunRequest]:
        return list(self.after.tick(self.memory, now))


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("INTERP_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("INTERP_RELEASES", str(tmp_path / "releases"))
    instance.add_dynamic_partitions(RELEASE.name, ["good", "bad"])
    return World(tmp_path, instance)


def add_folder(world: World, name: str, content: str) -> None:
    folder = world.releases / name
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_text(content)
    entry = {"path": "weights", "size": len(content), "sha256": "0" * 64}
    (folder / "release.json").write_text(json.dumps({"name": name, "family": "edge_table", "files": [entry]}))


def broken_in_one_study(world: World) -> None:
    add_folder(world, "bad", "nan")
    world.errors["bad|s1"] = ValueError("layer 3 holds NaN")
    world.run(world.tick())
    world.run(world.tick())


def test_a_release_that_fails_by_itself_is_put_aside_and_blocks_nobody(world: World) -> None:
    broken_in_one_study(world)
    assert world.look(time.time()) == []
    (record,) = quarantine.read(world.store).values()
    assert (record.release, record.kind, record.asset, record.partition) == ("bad", "release", "attention", "bad|s1")
    assert record.reason == "ValueError: layer 3 holds NaN"
    assert record.release_id
    assert record.files
    made = {str(key) for key in world.instance.get_materialized_partitions(dg.AssetKey("qc_verdict"))}
    assert made == {"good|s1", "good|s2", "bad|s2"}
    assert world.tick() == set()
    assert world.look(time.time()) == []
    assert list(quarantine.read(world.store).values()) == [record]


def test_nothing_of_a_release_in_quarantine_is_asked_for_until_it_is_lifted(world: World) -> None:
    broken_in_one_study(world)
    world.look(time.time())
    assert world.tick() == set()
    world.version = "2"
    for name in ("good", "bad"):
        world.run({("release", name)})
    asked = world.tick()
    assert asked == {(name, f"good|{study}") for name in ("attention", "qc_verdict") for study in ("s1", "s2")}
    world.run(asked)
    for _ in range(2):
        assert world.tick() == set()
    assert quarantine.lift(world.store, "bad")
    asked = world.tick()
    assert ("release", "bad") in asked
    world.errors.clear()
    for _ in range(4):
        world.run(asked)
        asked = world.tick()
    made = {str(key) for key in world.instance.get_materialized_partitions(dg.AssetKey("qc_verdict"))}
    assert "bad|s1" in made
    assert asked == set()


def test_a_lifted_release_that_fails_again_is_put_aside_again(world: World) -> None:
    broken_in_one_study(world)
    world.look(time.time())
    for _ in range(2):
        assert world.tick() == set()
    quarantine.lift(world.store, "bad")
    for _ in range(3):
        world.run(world.tick())
    assert world.tick() == set()
    world.look(time.time())
    assert set(quarantine.read(world.store)) == {"bad"}


def test_quarantine_ends_when_the_files_have_changed_and_stand_still(world: World) -> None:
    broken_in_one_study(world)
    world.look(time.time())
    add_folder(world, "bad", "half")
    world.look(time.time())
    assert set(quarantine.read(world.store)) == {"bad"}
    add_folder(world, "bad", "whole file")
    world.look(time.time())
    assert set(quarantine.read(world.store)) == {"bad"}, "the copy went on since the last look"
    world.look(time.time())
    assert quarantine.read(world.store) == {}


def test_a_full_disk_is_tried_again_later_and_then_given_up(world: World) -> None:
    add_folder(world, "bad", "sound")
    world.run({("release", "bad")})
    world.errors["bad|s1"] = OSError(28, "No space left on device")
    asked = {("attention", "bad|s1"), ("qc_verdict", "bad|s1")}
    world.run(asked)
    now = time.time()
    for attempt, wait in ((1, 10), (2, 20)):
        assert world.look(now) == []
        assert world.look(now + wait - 1) == []
        (request,) = world.look(now + wait + 1)
        assert request.partition_key == "bad|s1"
        assert {key.to_user_string() for key in request.asset_selection} == {"attention", "qc_verdict"}
        assert request.tags["interp/attempt"] == str(attempt)
        assert request.tags["interp/release"] == "bad"
        assert quarantine.read(world.store) == {}
        world.run(asked, **{"interp/attempt": str(attempt)})
        now += wait + 2
    assert world.look(now) == []
    (record,) = quarantine.read(world.store).values()
    assert (record.kind, record.reason) == ("infrastructure", "OSError: [Errno 28] No space left on device")


def test_only_what_a_failed_run_left_undone_is_tried_again(world: World) -> None:
    world.errors["good|s1"] = sqlite3.OperationalError("database is locked")
    world.run({("release", "good")})
    world.run({("attention", "good|s1"), ("qc_verdict", "good|s1")})
    world.look(time.time())
    world.errors.clear()
    world.run({("attention", "good|s1")})
    assert world.look(time.time() + 60) == [], "somebody has made it since"


def test_failures_of_what_all_releases_share_put_nobody_aside(world: World, instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(RELEASE.name, ["control-planted"])
    world.errors["control-planted"] = ValueError("broken control")
    world.run({("release", "control-planted")})
    assert world.look(time.time()) == []
    assert quarantine.read(world.store) == {}
    assert "left until what it reads changes" in world.after.told[-1]


def test_a_damaged_record_keeps_its_release_aside_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / "odd.json").write_text("{not json")
    record = quarantine.read(tmp_path)["odd"]
    assert "interp quarantine lift odd" in record.reason
    with pytest.raises(ValueError, match="no name of a release"):
        quarantine.lift(tmp_path, "../odd")


def test_a_cursor_of_another_version_starts_anew() -> None:
    assert Memory.of('{"other": 1}') == Memory()
    assert Memory.of("nonsense") == Memory()
