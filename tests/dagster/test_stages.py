"""Which stale assets of a stage run together, and which wait until what lies between them is settled."""

from __future__ import annotations

import dagster as dg
import pytest

from interp_assets.evaluate import Evaluator
from interp_assets.layout import Layout, read_layout
from interp_assets.stages import Stage


@pytest.fixture
def layout(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("INTERP_STORE", str(tmp_path_factory.mktemp("store")))
    return read_layout()


def chain() -> dg.Definitions:
    """results -> verdict -> claim, and a picture beside the claim that reads the results alone."""

    @dg.asset
    def results() -> int:
        return 1

    @dg.asset(deps=[results])
    def verdict() -> int:
        return 1

    @dg.asset(deps=[verdict])
    def claim() -> int:
        return 1

    @dg.asset(deps=[results])
    def picture() -> int:
        return 1

    return dg.Definitions(assets=[results, verdict, claim, picture])


@pytest.mark.parametrize(
    ("stale", "runs"),
    [
        (["results", "claim"], ["results"]),  # the verdict may change: the claim waits
        (["results", "claim", "picture"], ["results", "picture"]),  # nothing stands between results and picture
        (["results", "verdict", "claim"], ["results", "verdict", "claim"]),  # one run keeps their order
        (["claim"], ["claim"]),
        (["verdict", "picture"], ["verdict", "picture"]),
    ],
)
def test_an_asset_waits_for_what_may_change_under_it(
    stale: list[str], runs: list[str], layout: Layout, instance: dg.DagsterInstance
) -> None:
    stage = Stage("all", tuple(map(dg.AssetKey, ("results", "verdict", "claim", "picture"))), None)
    found = Evaluator(chain(), layout, instance)._settled([dg.AssetKey(name) for name in stale], stage)
    assert [key.to_user_string() for key in found] == runs


def test_from_a_hundred_partitions_on_a_new_one_is_gathered_too(layout: Layout, instance: dg.DagsterInstance) -> None:
    """Dagster's stale state does not look at dependencies on so many; the leaderboard would stay as it was."""
    many = dg.StaticPartitionsDefinition([f"pair {number}" for number in range(100)])

    @dg.asset(partitions_def=many)
    def report() -> None: ...

    @dg.asset(deps=[report])
    def board() -> None: ...

    stage = Stage("board", (dg.AssetKey("board"),), None)
    evaluator = Evaluator(dg.Definitions([report, board]), layout, instance)

    def judged(partition: str, version: str) -> None:
        tags = {"dagster/data_version": version}
        instance.report_runless_asset_event(dg.AssetMaterialization("report", partition=partition, tags=tags))

    judged("pair 0", "1")
    evaluator._run(stage)
    evaluator._resolver = None
    assert evaluator._stale(stage) == []
    judged("pair 1", "1")
    evaluator._resolver = None
    assert evaluator._stale(stage) == list(stage.keys)
