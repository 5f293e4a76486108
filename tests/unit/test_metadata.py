"""What the Dagster UI shows beside an asset."""

from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest

from interp_assets import columns
from interp_assets.assets.presentation import BESIDE, SCHEMAS
from interp_assets.assets.reported import reported
from interp_assets.battery import all_rows
from interp_assets.comparison.changes import verdict_changes
from interp_assets.io_managers import parquet_bytes
from interp_assets.metadata import (
    INLINE_PNG_LIMIT,
    LEADERBOARD_COLUMNS,
    counts_metadata,
    deciding_numbers,
    frame_schema,
    leaderboard_metadata,
    picture,
    plain,
    report_metadata,
    result_metadata,
    significant_metadata,
    table_schema,
    tables_metadata,
)
from interp_assets.report.claims_board import CLAIM_COLUMNS, claims_board
from interp_assets.report.index import leaderboard, leaderboard_row
from interp_assets.settings import Folders
from qc_standards.criterion_parts import CriterionPart, CriterionResult
from qc_standards.extended import extended_frame, extended_tests
from qc_standards.multiplicity import results_frame
from qc_standards.records import Outcome, Status, TestResult, skipped
from qc_standards.registry import declared_tests
from qc_standards.verdicts import Judgement

EVIL = "<img src=x> $a$ [l](javascript:1) *b*"


def written(name: str) -> pd.DataFrame:
    """A frame as the platform writes it, made by the code that writes it."""
    if name == "test_results":
        return results_frame(all_rows([], "some-release"))
    if name == "extended_results":
        return extended_frame([skipped(spec.test_id, "not run") for spec in extended_tests()])
    if name == "leaderboard":
        return leaderboard([leaderboard_row("demo", "some-release", {})])
    return verdict_changes([])


@pytest.mark.parametrize("name", ["test_results", "extended_results", "leaderboard", "verdict_changes"])
def test_declared_columns_are_those_that_are_written(name: str) -> None:
    declared = table_schema(*SCHEMAS[name]).columns
    frame = written(name)
    assert [column.name for column in declared] == list(frame.columns)
    kinds = {column.name: column.type for column in frame_schema(frame).columns}
    numbers = {"perturbations", "mean_auroc_attention", "mean_auroc_correlation", "mean_auroc_variance"}
    unread = numbers if name == "leaderboard" else set()  # without an evaluation there is no number to have a kind
    assert {c.name: c.type for c in declared if c.name not in unread} == {
        key: kind for key, kind in kinds.items() if key not in unread
    }
    assert all(column.description and "\n" not in column.description for column in declared)


def test_every_column_of_the_claims_board_has_words() -> None:
    file, names, words = BESIDE["leaderboard"]
    schema = table_schema(names, words)
    assert (file, tuple(names)) == ("leaderboard_claims.parquet", CLAIM_COLUMNS)
    assert {c.name for c in schema.columns if c.type == "float"} == {
        name for name, kind in claims_board([]).dtypes.items() if kind == "float64"
    }


def test_a_column_without_words_is_refused_where_a_table_is_declared() -> None:
    with pytest.raises(KeyError, match="nobody_knows"):
        table_schema(["p", "nobody_knows"], columns.RESULT)


def test_tables_of_an_analysis_show_what_was_written() -> None:
    first = pd.DataFrame({"score": ["attention"], "auroc": [0.5], "n_pairs": [3], "balanced": [True], "odd": [1.0]})
    shown = tables_metadata({"one": first, "empty": pd.DataFrame(), "two": first[["auroc"]]})
    assert shown["dagster/row_count"] == 1
    assert shown["table"] == "tables/one.parquet"
    found = {column.name: (column.type, column.description) for column in shown["dagster/column_schema"].columns}
    assert {name: kind for name, (kind, _) in found.items()} == {
        "score": "string",
        "auroc": "float",
        "n_pairs": "int",
        "balanced": "bool",
        "odd": "float",
    }
    assert "ROC" in found["auroc"][1]
    assert not found["odd"][1]
    assert "columns of tables/two.parquet" in shown
    assert tables_metadata({}) == {}


def test_counts_cover_every_declared_test():
    shown = counts_metadata(all_rows([], "some-release"))
    assert (shown["tests run"], shown["tests skipped"]) == (0, len(declared_tests()))
    assert "analysis not built" in shown["skipped because"].value


def test_a_test_that_ran_is_a_number_for_trends_and_a_row_to_read() -> None:
    ran = TestResult(
        test_id="A16.1", status=Status.RUN, effect=0.25, effect_kind="auroc_gain", ci_low=0.1, ci_high=0.4, p=0.012
    )
    shown = result_metadata([ran, skipped("A16.2", EVIL)])
    assert shown["effect A16.1"] == 0.25
    assert "effect A16.2" not in shown
    rows = [record.data for record in shown["tests"].records]
    assert rows[0]["effect"] == "0.250 auroc gain"
    assert rows[0]["95% interval"] == "[0.100, 0.400]"
    assert rows[1]["effect"] == rows[1]["p"] == ""
    assert rows[1]["how to read it"] == f"skipped: {EVIL}"


def test_reasons_stay_text_in_markdown() -> None:
    told = counts_metadata([skipped("A16.2", EVIL)])["skipped because"].value
    assert told == f"- {plain(EVIL)}"
    assert r"\<img src=x\> \$a\$ \[l\](javascript:1) \*b\*" in told


def test_significant_tests_are_counted_by_family() -> None:
    frame = pd.DataFrame({"significant_a": [True, False, True], "significant_c": [False, False, False], "p": 0.1})
    shown = significant_metadata(parquet_bytes(frame))
    assert shown == {"dagster/row_count": 3, "significant in family a": 2, "significant in family c": 0}


def test_the_report_is_an_address_where_it_is_served_and_a_path_elsewhere() -> None:
    served = report_metadata("https://example.org/{study}/{release}/report.html", "/store", "demo", "a b", "A16.1")
    assert served["in the report"] == dg.MetadataValue.url("https://example.org/demo/a%20b/report.html#A16.1")
    local = report_metadata("", "/store", "demo", "r")
    assert local["in the report"] == dg.MetadataValue.path("/store/demo/r/report.html")


def test_an_asset_links_reports_where_the_deployment_says_they_are_served(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("INTERP_PLATFORM", raising=False)
    folders = Folders(store=tmp_path, releases=tmp_path, wheels=tmp_path, config=tmp_path)
    layout = SimpleNamespace(folders=folders)
    assert reported(layout, "demo", "r", "A16.1")["in the report"].value == f"{tmp_path}/demo/r/report.html#A16.1"
    address = "https://example.org/{study}/{release}/report.html"
    (tmp_path / "platform.yaml").write_text(f"notify:\n  link: {address}\n", encoding="utf-8")
    assert reported(layout, "demo", "r")["in the report"].value == "https://example.org/demo/r/report.html"


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


def judgement_of(criteria: dict[str, CriterionResult]) -> Judgement:
    return Judgement(
        study="tiny",
        release="r",
        release_kind="release",
        standards=(),
        criteria=criteria,
        verdicts={},
        asserted=(),
        headline="attention_is_regulatory",
        inputs={},
        counts={},
        significant={},
    )


def test_the_number_that_decides_a_criterion_is_drawn_over_releases_and_named() -> None:
    """Attention must beat every baseline, so that the smallest lead of those that fail decides."""
    parts = tuple(
        CriterionPart(
            name=name, outcome=Outcome.FAIL, reason="", numbers={"mean": mean, "ci_low": mean, "ci_high": mean}
        )
        for name, mean in (("variance", -0.1), ("mean", -0.2))
    )
    judgement = judgement_of(
        {"a": CriterionResult(id="a", title="beats baselines", outcome=Outcome.FAIL, reason="", parts=parts)}
    )
    shown = deciding_numbers(judgement, ["a", "b"])
    assert shown == {
        "criterion a, deciding number": -0.2,
        "criterion a, number of": "AUROC of attention minus mean",
    }
