"""Every run says which release, which study or dataset, and why."""

from __future__ import annotations

import dagster as dg
import pytest

from interp_assets.automation.run_tags import TAGS, run_tags

GRID = dg.MultiPartitionKey({"release": "r|1", "dataset": "d"})


@pytest.mark.parametrize(
    ("partition", "options", "expected"),
    [
        (GRID, {}, {"interp/release": "r|1", "interp/dataset": "d"}),
        (dg.MultiPartitionKey({"study": "s", "release": "r"}), {}, {"interp/release": "r", "interp/study": "s"}),
        ("r", {}, {"interp/release": "r"}),
        ("s", {"dimension": "study"}, {"interp/study": "s"}),
        ("d", {"dimension": "dataset"}, {"interp/dataset": "d"}),
        (None, {}, {}),
    ],
)
def test_tags(partition, options, expected) -> None:
    found = run_tags(partition, "changed", **options)
    assert found == {**expected, "interp/cause": "changed"}
    assert set(found) <= set(TAGS)


def test_an_unknown_cause_or_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="one of new-release, changed, schedule, backfill, command"):
        run_tags("r", "whim")
    with pytest.raises(ValueError, match="dimension layer has no tag"):
        run_tags(dg.MultiPartitionKey({"release": "r", "layer": "3"}), "changed")


def test_dagster_takes_them() -> None:
    @dg.asset
    def one() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([one], instance=instance, tags=run_tags(GRID, "backfill"))
        assert instance.get_run_by_id(done.run_id).tags["interp/release"] == "r|1"
