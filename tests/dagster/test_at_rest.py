"""A tick is left out only where the look that it saves would have asked for nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from interp_assets import quarantine
from interp_assets.automation import at_rest
from interp_assets.automation.at_rest import Rest
from interp_assets.automation.conditions import condition_sensor, gathering, incremental
from interp_assets.layout import RELEASE
from interp_assets.quarantine import Quarantined

STUDY = dg.StaticPartitionsDefinition(["tiny"])
GRID = dg.MultiPartitionsDefinition({"release": RELEASE, "study": STUDY})
SILENT = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
KEYS = {"files": RELEASE, "study_inputs": STUDY, "qc_verdict": GRID, "report": GRID, "leaderboard": None}


def a_small_graph() -> dg.Definitions:
    """Files of a release and inputs of a study give a verdict, a report, and one table of all."""

    def asset(name: str, *deps: str, condition: dg.AutomationCondition = incremental()) -> dg.AssetsDefinition:  # noqa: B008
        @dg.asset(name=name, deps=list(deps), partitions_def=KEYS[name], automation_condition=condition)
        def made() -> None: ...

        return made

    assets = [
        asset("files"),
        asset("study_inputs"),
        asset("qc_verdict", "files", "study_inputs"),
        asset("report", "qc_verdict"),
        asset("leaderboard", "report", condition=gathering()),
    ]
    return dg.Definitions(assets=assets, sensors=[condition_sensor()])


@dataclass
class Deployment:
    """One run history and its sensor; with ``rests`` false every tick looks."""

    instance: dg.DagsterInstance
    rests: bool
    definitions: dg.Definitions = field(default_factory=a_small_graph)
    cursor: str | None = None
    looks: int = 0
    ended: int = 0

    def tick(self) -> list[tuple[str, tuple[str, ...]]]:
        """Partition and assets of every run that a tick asks for, sorted."""
        sensor = self.definitions.resolve_sensor_def("evaluate_what_is_missing")
        if not self.rests:
            sensor._rest = Rest()
        repository = self.definitions.get_repository_def()
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor, repository_def=repository) as context:
            found = sensor.evaluate_tick(context)
        self.cursor = found.cursor
        self.looks += "nothing has ended or come" not in str(found.skip_message)
        return sorted(
            (str(request.partition_key or ""), tuple(sorted(key.to_user_string() for key in request.asset_selection)))
            for request in found.run_requests
        )


@contextmanager
def history(folder: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(folder), overrides={"compute_logs": SILENT}) as instance:
        yield instance


@pytest.fixture
def pair(fast_folder: Path, tmp_path_factory, layout) -> Iterator[tuple[Deployment, Deployment]]:
    """The same deployment twice: one that rests, one that always looks."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "one").mkdir()
    (folder / "other").mkdir()
    with history(folder / "one") as one, history(folder / "other") as other:
        yield Deployment(one, rests=True), Deployment(other, rests=False)


def started(deployment: Deployment, asked: tuple[str, tuple[str, ...]]) -> Callable[[], None]:
    """A run of what was asked for, begun now; what comes back ends it, and with it its assets are there."""
    partition, names = asked
    keys = frozenset(dg.AssetKey(name) for name in names)
    instance = deployment.instance
    job = deployment.definitions.resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(
        job.get_subset(asset_selection=keys),
        asset_selection=keys,
        tags={"dagster/partition": partition} if partition else {},
        status=dg.DagsterRunStatus.STARTED,
    )

    def end() -> None:
        for name in names:
            tags = {"dagster/data_version": f"{partition} {name} {deployment.ended}"}
            event = dg.AssetMaterialization(name, partition=partition or None, tags=tags)
            instance.report_runless_asset_event(event)
        deployment.ended += 1
        instance.report_run_canceled(instance.get_run_by_id(run.run_id))

    return end


def set_aside(store: Path, name: str) -> None:
    record = dict.fromkeys(("release_id", "stage", "asset", "partition", "reason", "run_id", "since"), "x")
    quarantine.write(store, Quarantined(release=name, kind="release", **record))


def happens(number: random.Random, names: list[str], store: Path) -> Callable[[dg.DagsterInstance], None]:
    """Something that comes by itself, the same for every history it is told to."""
    kind = number.choice(["nothing"] * 10 + ["release", "inputs", "aside", "lifted"])
    name = f"r{number.randrange(10**6)}"
    if kind == "release":
        names.append(name)
        return lambda instance: instance.add_dynamic_partitions(RELEASE.name, [name])
    if kind == "inputs":
        event = dg.AssetMaterialization("study_inputs", partition="tiny", tags={"dagster/data_version": name})
        return lambda instance: instance.report_runless_asset_event(event)
    if kind == "aside" and names:
        set_aside(store, number.choice(names))
    if kind == "lifted":
        for held in quarantine.read(store):
            quarantine.lift(store, held)
    return lambda _: None


@pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")
@pytest.mark.parametrize("seed", range(2))
def test_a_sensor_that_rests_asks_for_what_one_that_never_does_asks_for(pair, layout, seed: int) -> None:
    number, names = random.Random(seed), []
    resting, looking = pair
    going: list[tuple[int, Callable[[], None]]] = []
    asked_for = 0
    for now in range(32):
        event = happens(number, names, layout.folders.store)
        asked = []
        for deployment in pair:
            event(deployment.instance)
            asked.append(deployment.tick())
        assert asked[0] == asked[1], f"tick {now}"
        asked_for += len(asked[0])
        for one in asked[0]:
            ends = now + number.randrange(2, 9)
            going += [(ends, started(deployment, one)) for deployment in pair]
        for _, end in [entry for entry in going if entry[0] <= now]:
            end()
        going = [entry for entry in going if entry[0] > now]
    assert asked_for >= 3
    assert looking.looks == 32
    assert resting.looks < 26, "it never rested"


def at_peace(deployment: Deployment) -> int:
    """Do what every tick asks for until one is left out; how often it looked by then."""
    for _ in range(20):
        looks = deployment.looks
        asked = deployment.tick()
        for one in asked:
            started(deployment, one)()
        if deployment.looks == looks:
            return looks
    raise AssertionError("it never rests")


def test_at_rest_a_tick_costs_no_look_and_whatever_comes_is_seen(pair, layout) -> None:
    deployment, _ = pair
    deployment.instance.add_dynamic_partitions(RELEASE.name, ["held"])
    set_aside(layout.folders.store, "held")
    looks = at_peace(deployment)
    assert deployment.tick() == []
    assert deployment.looks == looks
    deployment.instance.add_dynamic_partitions(RELEASE.name, ["new"])
    (asked,) = deployment.tick()
    assert asked == ("new", ("files",))
    started(deployment, asked)()
    at_peace(deployment)
    quarantine.lift(layout.folders.store, "held")
    assert deployment.tick() == [("held", ("files",))]
    at_peace(deployment)
    event = dg.AssetMaterialization("study_inputs", partition="tiny", tags={"dagster/data_version": "by hand"})
    deployment.instance.report_runless_asset_event(event)
    assert ("new|tiny", ("qc_verdict", "report")) in deployment.tick()


def test_what_is_remembered_ends_with_time_and_with_another_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(at_rest.time, "monotonic", lambda: clock[0])
    there = at_rest.Scene((), frozenset(), frozenset(), frozenset(), (0, 0))
    rest = Rest()
    for cursor, after in (("a", "b"), ("b", "c")):
        assert not rest.lasts(cursor, there)
        rest.looked(cursor, after, there, asked=False)
    assert rest.lasts("c", there)
    assert not rest.lasts("b", there), "another process looked in between"
    clock[0] = at_rest.LONGEST + 1
    assert not rest.lasts("c", there)
    rest.looked("c", "d", there, asked=True)
    assert not rest.lasts("d", there), "what was asked for is looked after"
