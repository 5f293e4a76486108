"""What one change makes the daemon ask for, tick by tick, on the real graph: what is missing or changed, and no more.

Study ``tiny`` with both controls and two releases, everything materialised as far as the run history knows. Nothing is
computed: what a tick asks for is reported as done, with the result that the test is about.
"""

from __future__ import annotations

import gc
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import pytest

from interp_assets.assets import analyses, judgement
from interp_assets.assets import history as comparison
from interp_assets.automation import upstream
from interp_assets.automation.conditions import gathering, incremental
from interp_assets.definitions import build_definitions
from interp_assets.layout import CONTROLS, RELEASE, Layout, read_layout

RELEASES = ("a", "b")
EVERYONE = tuple(f"{name}|tiny" for name in (*CONTROLS, *RELEASES))
MANY = ("claim", "figure", "supplement")  # many assets of one kind, which stand or fall together
JUDGEMENT = {"standards_results", "qc_verdict", "verdict_history", "published_entries", "report", *MANY}
BOARD = {None: {"verdict_changes", "leaderboard"}}
WITH_CONTROLS = {"extended_4", "extended_results"}  # E4 holds a release against the tests of the controls
# Rows that read no model: computed once a study.
OF_STUDY = {f"of_study/analysis_{number:02d}" for number in (3, 6, 7, 8, 9, 11)}
READINGS = {"cell_attention", "deletions", "mediation", "restricted_attention", "sensitivity_grid", "value_weighted"}
ATTENTION = {"attention", "random_weights/attention"}
SILENT = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
Asked = dict[str | None, set[str]]


def done(instance: dg.DagsterInstance, name: str, partition: str | None, version: str) -> None:
    """What ``name`` came out as, without a run."""
    tags = {"dagster/data_version": version}
    key = dg.AssetKey(name.split("/"))
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition, tags=tags))


@contextmanager
def history(folder: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(folder), overrides={"compute_logs": SILENT}) as instance:
        yield instance


@dataclass
class Deployment:
    """Definitions and run history; each tick goes on where the last one ended."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    cursor: object = None

    def tick(self) -> set[tuple[str, str | None]]:
        """Assets and partitions that one tick asks for."""
        found = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        return {
            (subset.key.to_user_string(), partition)
            for subset in (result.true_subset for result in found.results)
            if not subset.is_empty
            for partition in (subset.expensively_compute_partition_keys() if subset.is_partitioned else [None])
        }

    def round(self, changed: Callable[[str], bool], version: str = "2") -> Asked:
        """One tick, all of it done: by partition, as the daemon makes runs of it, ``MANY`` under one name."""
        asked: Asked = {}
        for name, partition in self.tick():
            asked.setdefault(partition, set()).add(name)
            done(self.instance, name, partition, version if changed(name) else "1")
        return {partition: self._shortened(names) for partition, names in asked.items()}

    def _shortened(self, names: set[str]) -> set[str]:
        keys = [key.to_user_string() for key in self.definitions.resolve_asset_graph().materializable_asset_keys]
        for kind in MANY:
            if (members := {name for name in keys if name.startswith(f"{kind}/")}) <= names:
                names = names - members | {kind}
        return names


@dataclass(frozen=True)
class Settled:
    """A deployment at rest, kept as files so that every test starts from it."""

    layout: Layout
    definitions: dg.Definitions
    home: Path
    cursor: object


@pytest.fixture(scope="module")
def settled(fast_folder: Path, deployed) -> Iterator[Settled]:
    home = fast_folder / "settled"
    (home / "releases").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("INTERP_DATA_MIRROR", raising=False)
        for name, value in deployed(home, home / "wheels", "tiny", home / "releases").items():
            patch.setenv(name, value)
        layout = read_layout()
        definitions = build_definitions(layout)
        with history(home) as instance:
            instance.add_dynamic_partitions(RELEASE.name, [*CONTROLS, *RELEASES])
            graph = definitions.resolve_asset_graph()
            for key in graph.materializable_asset_keys:
                grid = graph.get(key).partitions_def
                for partition in grid.get_partition_keys(dynamic_partitions_store=instance) if grid else [None]:
                    done(instance, key.to_user_string(), partition, "1")
            deployment = Deployment(definitions, instance)
            assert deployment.tick() == set()
        yield Settled(layout, definitions, home, deployment.cursor)


@pytest.fixture
def deployment(settled: Settled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    home = settled.home.parent / tmp_path_factory.mktemp("deployment").name
    shutil.copytree(settled.home, home)
    try:
        with history(home) as instance:
            yield Deployment(settled.definitions, instance, settled.cursor)
    finally:
        shutil.rmtree(home)


def everything(_: str) -> bool:
    return True


def nothing(_: str) -> bool:
    return False


def for_everyone(names: set[str]) -> Asked:
    return dict.fromkeys(EVERYONE, names)


def of_one_analysis_changed(settled: Settled, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """Definitions where the code of analysis 16 alone was edited."""
    plain = analyses.code_version
    (function,) = (str(row.function) for row in analyses.catalogue.every() if row.key == "analysis_16")
    monkeypatch.setattr(analyses, "code_version", lambda *of: plain(*of) + ("edited" if function in of else ""))
    return build_definitions(settled.layout)


def test_new_code_runs_its_analysis_and_what_its_result_changes(
    settled: Settled, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict rests on the controls too: it waits for theirs, and is given once."""
    deployment.definitions = of_one_analysis_changed(settled, monkeypatch)
    assert deployment.round(everything) == for_everyone({"analysis_16", "test_results", "control_outcome"})
    assert deployment.round(everything) == for_everyone(WITH_CONTROLS | JUDGEMENT)
    assert deployment.round(everything) == BOARD
    assert deployment.round(everything) == {}


def test_new_code_with_the_old_result_ends_before_the_verdict(
    settled: Settled, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.definitions = of_one_analysis_changed(settled, monkeypatch)
    assert deployment.round(nothing) == for_everyone({"analysis_16", "test_results", "control_outcome"})
    assert deployment.round(nothing) == {}


def with_another_standard(settled: Settled, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    monkeypatch.setattr("qc_standards.standards.standards_hash", lambda: "f" * 64)
    return build_definitions(settled.layout)


def test_another_standard_judges_again_and_computes_nothing(
    settled: Settled, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.definitions = with_another_standard(settled, monkeypatch)
    outcomes = {"control_outcome", "shuffled/control_outcome", "random_weights/control_outcome"}
    asked: Asked = {}
    for _ in range(3):
        found = deployment.round(everything)
        if found == BOARD:
            break
        for partition, names in found.items():
            assert not names & asked.get(partition, set()), "asked for twice"
            asked.setdefault(partition, set()).update(names)
    assert found == BOARD
    assert {partition: names - outcomes for partition, names in asked.items()} == for_everyone(JUDGEMENT)


def test_whatever_is_judged_by_a_standard_follows_its_version(
    settled: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def versions(definitions: dg.Definitions) -> dict[str, str | None]:
        graph = definitions.resolve_asset_graph()
        return {key.to_user_string(): graph.get(key).code_version for key in graph.materializable_asset_keys}

    before, after = versions(settled.definitions), versions(with_another_standard(settled, monkeypatch))
    outcomes = {"control_outcome", "shuffled/control_outcome", "random_weights/control_outcome"}
    assert {name for name in before if before[name] != after[name]} == {"standards_results", "qc_verdict"} | outcomes


def test_a_changed_file_that_changes_no_network_ends_at_the_networks(deployment: Deployment) -> None:
    done(deployment.instance, "raw/reactome_curated", "reactome_curated", "2")
    assert deployment.round(nothing) == {"planted_tiny": {"references", "gene_features", "null_calibration"}}
    assert deployment.round(nothing) == {}


def test_a_changed_network_reaches_every_release_in_order_and_once(deployment: Deployment) -> None:
    """Cells, outcomes and correlation are not made from that file; attention and study are brought up to date first.

    Nothing that the study computes by itself came out otherwise, so that its rows are not stamped again (analysis 3).
    E4 reads the study and waits for the controls; the verdict that shares its run is given with it.
    """
    done(deployment.instance, "raw/reactome_curated", "reactome_curated", "2")
    assert deployment.round(everything) == {"planted_tiny": {"references", "gene_features", "null_calibration"}}
    inputs = {"study_inputs", "screen_inputs", "sample_inputs"}
    assert deployment.round(lambda name: name.endswith("_inputs")) == {
        "tiny": {*inputs, *OF_STUDY},
        **{f"planted_tiny|{name}": ATTENTION for name in (*CONTROLS, *RELEASES)},
    }
    third = deployment.round(nothing)
    assert set(third) == set(EVERYONE)
    for names in third.values():
        assert {"analysis_01", "analysis_16", "interventions", "screens", "test_results", *READINGS} <= names
        assert not {*JUDGEMENT, *WITH_CONTROLS, "layer_choice", "analysis_03"} & names
    assert deployment.round(nothing) == for_everyone(WITH_CONTROLS | JUDGEMENT)


def test_another_dictionary_of_a_release_is_its_own_affair(deployment: Deployment) -> None:
    """No verdict is given from new files and old attention, and the other release is not touched."""
    done(deployment.instance, "release", "a", "2")
    first = deployment.round(everything)
    assert first.pop("planted_tiny|a") == ATTENTION
    (readings,) = first.values()
    assert set(first) == {"a|tiny"}
    assert readings >= READINGS
    assert {name for name in readings - READINGS if not name.startswith("analysis_")} == set()
    second = deployment.round(everything)
    assert set(second) == {"a|tiny"}
    judged = {"analysis_16", "interventions", "screens", "test_results", "shuffled/control_outcome"}
    assert judged | JUDGEMENT | WITH_CONTROLS <= second["a|tiny"]
    assert not READINGS & second["a|tiny"]
    assert deployment.round(everything) == BOARD


def test_a_setting_of_a_study_that_changes_no_content_ends_at_its_inputs(
    settled: Settled, deployment: Deployment
) -> None:
    """Where content did change, what the study computes comes first: no table of tests is made without it."""
    changed = {name: replace(study, seed=study.seed + 1) for name, study in settled.layout.studies.items()}
    deployment.definitions = build_definitions(replace(settled.layout, studies=changed))
    inputs = {"study_inputs", "screen_inputs", "sample_inputs", "layer_inputs"}
    assert deployment.round(nothing) == {"tiny": inputs | OF_STUDY}
    assert deployment.round(nothing) == {}
    done(deployment.instance, "study_inputs", "tiny", "2")
    asked = deployment.round(nothing)
    assert set(asked) == {*EVERYONE, "tiny"}
    assert asked["tiny"] == OF_STUDY
    assert {"analysis_16", "interventions", "shuffled/test_results"} <= asked["a|tiny"]
    assert not {*JUDGEMENT, "test_results", "analysis_03", "screens", "layer_choice"} & asked["a|tiny"]


def test_new_code_of_the_comparison_makes_both_boards_again(
    settled: Settled, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page shows the changes: no report has to come before it follows them."""
    plain = comparison.code_version
    changes = "interp_assets.comparison.changes"
    for module in (comparison, judgement):
        monkeypatch.setattr(
            module, "code_version", lambda *of: plain(*of)[:10] + ("edited" if changes in of else plain(*of)[10:])
        )
    deployment.definitions = build_definitions(settled.layout)
    assert deployment.round(everything) == BOARD
    assert deployment.round(everything) == {}


def test_ticks_do_not_pile_up_in_memory(instance: dg.DagsterInstance) -> None:
    """What a tick found holds on to its view of the history; a code server ticks for months."""

    @dg.asset
    def source() -> None: ...

    @dg.asset(deps=[source], automation_condition=incremental())
    def result() -> None: ...

    done(instance, "source", None, "0")
    deployment = Deployment(dg.Definitions([source, result]), instance)
    for version in "123":
        assert deployment.tick() == {("result", None)}
        done(instance, "result", None, version)
        assert deployment.tick() == set()
        done(instance, "source", None, version)
    gc.collect()
    assert len(upstream._OF_TICK) == 1


def test_a_verdict_waits_for_a_run_far_above_it(instance: dg.DagsterInstance) -> None:
    """Its own settings changed, but two steps above it something is being made again in another run."""
    grid, files = dg.StaticPartitionsDefinition(["x"]), dg.StaticPartitionsDefinition(["file"])
    running, go_on = threading.Event(), threading.Event()

    @dg.asset(partitions_def=files)
    def attention() -> dg.MaterializeResult:
        running.set()
        go_on.wait(60)
        return dg.MaterializeResult(data_version=dg.DataVersion("2"))

    above = dg.AssetDep(attention, partition_mapping=dg.StaticPartitionMapping({"file": "x"}))

    @dg.asset(partitions_def=grid)
    def settings() -> None: ...

    @dg.asset(partitions_def=grid, deps=[above], automation_condition=incremental())
    def results() -> None: ...

    @dg.asset(partitions_def=grid, deps=[results, settings], automation_condition=incremental())
    def verdict() -> None: ...

    for name, partition in (("attention", "file"), ("settings", "x"), ("results", "x"), ("verdict", "x")):
        done(instance, name, partition, "1")
    deployment = Deployment(dg.Definitions([attention, settings, results, verdict]), instance)
    assert deployment.tick() == set()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(dg.materialize, [attention], partition_key="file", instance=instance)
        assert running.wait(60)
        done(instance, "settings", "x", "2")
        assert deployment.tick() == set()
        go_on.set()
        assert run.result(60).success
    assert deployment.tick() == {("results", "x"), ("verdict", "x")}


@pytest.mark.parametrize("seen", [True, False], ids=["a tick in between", "no tick in between"])
def test_an_input_that_changes_under_a_run_is_read_again(instance: dg.DagsterInstance, seen: bool) -> None:
    grid = dg.StaticPartitionsDefinition(["x"])
    has_read, go_on = threading.Event(), threading.Event()

    @dg.asset(partitions_def=grid)
    def source() -> None: ...

    @dg.asset(partitions_def=grid, deps=[source], automation_condition=incremental())
    def result() -> None:
        has_read.set()
        go_on.wait(60)

    for name in ("source", "result"):
        done(instance, name, "x", "1")
    deployment = Deployment(dg.Definitions([source, result]), instance)
    assert deployment.tick() == set()
    done(instance, "source", "x", "2")
    assert deployment.tick() == {("result", "x")}
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(dg.materialize, [source, result], selection=["result"], partition_key="x", instance=instance)
        assert has_read.wait(60)
        assert deployment.tick() == set()
        done(instance, "source", "x", "3")
        if seen:
            assert deployment.tick() == set()
        go_on.set()
        assert run.result(60).success
    # The tick after the end may wait, because the run has only just ended.
    assert deployment.tick() | deployment.tick() | deployment.tick() == {("result", "x")}
    assert dg.materialize([source, result], selection=["result"], partition_key="x", instance=instance).success
    assert [deployment.tick() for _ in range(3)] == [set()] * 3, "it agrees with what is there, and is left alone"


def test_what_fails_after_it_was_overtaken_does_not_run_in_a_loop(instance: dg.DagsterInstance) -> None:
    grid = dg.StaticPartitionsDefinition(["x"])

    @dg.asset(partitions_def=grid)
    def source() -> None: ...

    @dg.asset(partitions_def=grid, deps=[source], automation_condition=incremental())
    def result() -> None:
        if "2" in reads:
            raise ValueError("fails on purpose")
        done(instance, "source", "x", "2")

    def run() -> bool:
        of = {"selection": ["result"], "partition_key": "x", "instance": instance, "raise_on_error": False}
        return bool(dg.materialize([source, result], **of).success)

    reads: list[str] = []
    for name in ("source", "result"):
        done(instance, name, "x", "1")
    deployment = Deployment(dg.Definitions([source, result]), instance)
    assert deployment.tick() == set()
    assert run()
    assert deployment.tick() | deployment.tick() == {("result", "x")}
    reads.append("2")
    assert not run()
    assert [deployment.tick() for _ in range(3)] == [set()] * 3
    reads.clear()
    done(instance, "source", "x", "3")
    assert deployment.tick() == {("result", "x")}


def test_what_comes_while_all_is_gathered_is_gathered_again(instance: dg.DagsterInstance) -> None:
    """It may have come too late to be read; asked for right after the tick, or some ticks later."""
    grid = dg.StaticPartitionsDefinition(["x", "y"])
    has_read, go_on = threading.Event(), threading.Event()

    @dg.asset(partitions_def=grid)
    def report() -> None: ...

    @dg.asset(deps=[report], automation_condition=gathering())
    def board() -> None:
        has_read.set()
        go_on.wait(60)

    done(instance, "report", "x", "1")
    done(instance, "board", None, "1")
    deployment = Deployment(dg.Definitions([report, board]), instance)
    assert deployment.tick() == set()
    done(instance, "report", "y", "1")
    assert deployment.tick() == {("board", None)}
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(dg.materialize, [report, board], selection=["board"], instance=instance)
        assert has_read.wait(60)
        assert deployment.tick() == set()
        done(instance, "report", "x", "2")
        assert deployment.tick() == set()
        go_on.set()
        assert run.result(60).success
    assert deployment.tick() == {("board", None)}
    done(instance, "report", "y", "2")  # before the next tick: nobody knows whether the run has read it
    done(instance, "board", None, "2")
    assert deployment.tick() == {("board", None)}
    done(instance, "board", None, "3")
    assert deployment.tick() == set()
