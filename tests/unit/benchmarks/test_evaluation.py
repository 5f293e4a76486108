"""What is told of a finished evaluation: seconds of both ways by part, promises, steps, and the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks import evaluation, page, results
from benchmarks.catalogue import entries
from benchmarks.evaluation import PATHS, TIMES, place_of, summed, told
from benchmarks.evaluation_tables import tables
from benchmarks.straightforward.clock import Clock, Counted
from interp_assets.layout import grid_key
from interp_assets.stages import waves


def counted(topic: str, *, fast: dict[str, float], plain: float) -> Counted:
    """A function whose twin ran for half of its calls and took ``plain`` seconds there."""
    seen = Counted(topic, 1e-9)
    for place, took in fast.items():
        seen.count(place, took, took)
    seen.work_done, seen.plain, seen.plain_spent = seen.work / 2, plain, plain / 10
    seen.calls_done, seen.parts_done, seen.parts = 1, 5, 50
    return seen


@pytest.fixture
def run() -> dict[str, Any]:
    clock = Clock(
        counted={"interp_assets.stats.nulls:curveball_null": counted("nulls", fast={"battery": 4.0}, plain=40.0)}
    )
    whole = summed(clock, {"battery": 10.0, "data": 5.0}, ours=20.0)
    again = {"ours_s": 0.3, "theirs_s": 20.0, "each": [0.2, 0.3, 0.5], "agreement": "no step"}
    one = {"ours_s": 3.0, "theirs_s": 20.0, "steps": ["analysis_21 of a|b"], "agreement": "1 of 9 steps"}
    check = {"path": TIMES[0].path, "seconds": 2.0, "low": 1.0, "high": 3.0, "processor_s": 1.5, "goal": 5.0}
    check |= {"met": True, "rounds": 3, "loads": ("pandas",)}
    return {"whole": whole, "nothing": again, "one": one, "check": check}


def test_what_has_no_twin_counts_alike_on_both_sides(run: dict[str, Any]) -> None:
    stages = {stage["stage"]: stage for stage in run["whole"]["stages"]}
    assert stages["battery"] == {"stage": "battery", "ours_s": 10.0, "common_s": 6.0, "theirs_s": 86.0}
    assert stages["data"] == {"stage": "data", "ours_s": 5.0, "common_s": 5.0, "theirs_s": 5.0}
    assert stages["graph and history"]["theirs_s"] == stages["graph and history"]["ours_s"] == 5.0
    assert (run["whole"]["ours_s"], run["whole"]["theirs_s"]) == (20.0, 96.0)
    assert run["whole"]["share"] == pytest.approx(4.0 / 80.0)
    assert "20% of our time is in functions with a twin" in run["whole"]["agreement"]
    assert "the battery alone 8.6 x" in run["whole"]["agreement"]


def test_promises_are_kept_or_missed_by_their_ratio(run: dict[str, Any]) -> None:
    whole, nothing, one = (told(promise, run) for promise in PATHS)
    assert (whole["ratio"], whole["met"]) == (4.8, False)
    assert (nothing["ratio"], nothing["low"], nothing["high"], nothing["met"]) == (0.015, 0.01, 0.025, True)
    assert (one["ratio"], one["met"], one["steps"]) == (0.15, False, ["analysis_21 of a|b"])


def test_tables_say_how_much_was_extrapolated(run: dict[str, Any]) -> None:
    shown = tables(run["whole"])
    assert "| battery | 10.0 | 6.0 | 86.0 | 8.6 |" in shown
    assert "| **all** | 20.0 | 16.0 | 96.0 | 4.8 |" in shown
    assert "| `stats.nulls.curveball_null` | nulls | 1 | 4.0 | 80.0 | 5 of 50 parts of 1 calls | 0 |" in shown


def test_one_run_serves_every_entry_of_the_catalogue_and_the_page(
    run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def outcome(study: str, release: str, full: bool) -> dict[str, Any]:
        asked.append(release)
        return run

    monkeypatch.setattr(evaluation, "_outcome", outcome)
    own = entries(["evaluation"])
    records = [results.measured(entry) for entry in own]
    whole = results.merged({}, records, own, own)
    assert asked == [evaluation.RELEASE] * 4
    assert [record["path"] for record in whole["paths"]] == [promise.path for promise in PATHS]
    assert [record["path"] for record in whole["times"]] == ["qc-gate check FOLDER"]
    shown = page.measured_part(whole)
    assert "### Whole demo evaluation of one release" in shown
    assert "| battery | 10.0 | 6.0 | 86.0 | 8.6 |" in shown
    assert "whole demo evaluation of one release: 4.8 for 5" in shown


def test_a_run_that_failed_is_told_to_every_entry_and_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []

    def failing(*asked: Any) -> dict[str, Any]:
        runs.append("run")
        raise RuntimeError("two ways disagree")

    monkeypatch.setattr(evaluation, "_measured", failing)
    evaluation._outcome.cache_clear()
    for promise in PATHS:
        with pytest.raises(RuntimeError, match="two ways disagree"):
            promise.measured()
    assert runs == ["run"]
    evaluation._outcome.cache_clear()


def test_every_stage_of_an_evaluation_has_a_place() -> None:
    from interp_assets.definitions import defs
    from interp_assets.layout import read_layout

    keys = defs.resolve_asset_graph().materializable_asset_keys
    stages = [
        stage for wave in waves(read_layout(), keys, evaluation.STUDY, ["mine"]) for chain in wave for stage in chain
    ]
    places = {stage.title: place_of(stage.title) for stage in stages}
    elsewhere = {title for title, place in places.items() if place == evaluation.ELSEWHERE}
    assert all(title.startswith(("verdict of ", "changes and leaderboard")) for title in elsewhere)
    assert places["battery of mine in demo"] == "battery"
    assert places["release mine"] == "attention"
    assert grid_key(release="mine", study="demo") in {stage.partition for stage in stages}


def test_a_part_that_failed_loses_no_other(run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*_: Any) -> None:
        raise RuntimeError("a finished store was not fresh")

    monkeypatch.setattr(evaluation, "_again", again)
    monkeypatch.setattr(
        evaluation,
        "in_own_process",
        lambda function, *_: {**run["whole"], "steps_run": 9, "seconds": 3.0, "steps": ["analysis_21 of a|b"]},
    )
    monkeypatch.setattr(evaluation.start, "measure", lambda _: Measurement())
    found = evaluation._measured("/nowhere", "demo", "release", False)
    whole, nothing, one = PATHS
    assert told(whole, found)["ratio"] > 0
    assert told(one, found)["steps"] == ["analysis_21 of a|b"]
    with pytest.raises(RuntimeError, match="not fresh"):
        told(nothing, found)


@dataclass
class Measurement:
    seconds: float = 2.0
