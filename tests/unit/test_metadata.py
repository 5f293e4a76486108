"""What the Dagster UI shows beside an asset."""

import dagster as dg

from interp_assets.battery import all_rows
from interp_assets.metadata import INLINE_PNG_LIMIT, LEADERBOARD_COLUMNS, leaderboard_metadata, picture, result_metadata
from interp_assets.report.index import leaderboard, leaderboard_row
from qc_standards.registry import declared_tests


def test_counts_cover_every_declared_test():
    shown = result_metadata(all_rows([], "some-release"))
    assert (shown["tests run"], shown["tests skipped"]) == (0, len(declared_tests()))
    assert "analysis not built" in shown["skipped because"].value


def test_leaderboard_is_a_table_of_verdicts():
    board = leaderboard([leaderboard_row("demo", "some-release", {})])
    shown = leaderboard_metadata(board)
    assert shown["evaluations"] == 1
    (record,) = shown["verdicts"].records
    assert record.data["release"] == "some-release"
    assert record.data["d"] == "not evaluable"
    assert [column.name for column in shown["verdicts"].schema.columns] == [*LEADERBOARD_COLUMNS[:3], *"abcd"]


def test_small_picture_is_shown_and_a_large_one_described():
    small, large = picture(b"png", "a plot"), picture(bytes(INLINE_PNG_LIMIT + 1), "a plot")
    assert isinstance(small, dg.MarkdownMetadataValue)
    assert small.value.startswith("![a plot](data:image/png;base64,")
    assert isinstance(large, dg.TextMetadataValue)
    assert "see the file" in large.value
