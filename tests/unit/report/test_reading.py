"""The adapter of the gate's files, the next step, the leaderboard and the terminal table."""

import io

import pandas as pd
import pytest
from rich.console import Console

from interp_assets.report import reading
from interp_assets.report.advice import BEHAVES, next_step
from interp_assets.report.index import COLUMNS, leaderboard, leaderboard_row, render_index
from interp_assets.report.registry_rows import registry_rows
from interp_assets.report.terminal import NAME_WIDTH, next_steps, sayings, verdict_table

EVIL = "<script>alert(1)</script>[red]x[/red]"


@pytest.mark.parametrize(("entry", "state"), [({}, "not evaluable"), ({"state": None}, "not evaluable")])
def test_missing_state_is_not_evaluable_and_closed(entry, state):
    view = reading.claim(entry)
    assert view.state == state
    assert not view.open


def test_only_supported_opens():
    states = ("supported", "refuted", "inconclusive", "not evaluable", "Supported ", "passed")
    assert [state for state in states if reading.claim({"state": state}).open] == ["supported"]


def test_headline_reads_the_written_verdict(results):
    view = reading.headline(results.verdict)
    assert view.sentence == "The attention of this model may be read as a gene regulatory network."
    assert view.text == "refuted (semi-synthetic)"
    assert view.criteria == ("a: fail", "b: fail", "c: fail", "d: not evaluable")
    assert view.provisional
    assert not view.published
    published = [claim.claim_id for claim in map(reading.claim, results.claims) if claim.published]
    assert "published_baselines_win" in published


def test_criteria_are_those_of_the_headline_in_both_readings(example, results):
    views = reading.criteria(results.verdict)
    assert [view.id for view in views] == ["a", "b", "c", "d"]
    frame = reading.criteria_table(example.example_judgement())
    assert list(frame.itertuples(index=False, name=None)) == [(v.id, v.title, v.outcome, v.reason) for v in views]
    undescribed = {**results.verdict, "criteria": {}}
    assert [view.outcome for view in reading.criteria(undescribed)] == ["fail", "fail", "fail", "not evaluable"]


def test_unknown_control_behaviour_is_neither_good_nor_bad():
    (view,) = reading.controls({"control_outcomes": pd.DataFrame([{"control": "control-planted"}])})
    assert view.behaves is None
    assert view.observed == "not judged"
    assert reading.controls({}) == ()


def test_failed_standards_come_first_and_inapplicable_ones_last(results):
    entries = [
        {"id": "QCS-01", "outcome": "pass"},
        {"id": "QCS-02", "outcome": "not evaluable", "applies": False},
        {"id": "QCS-03", "outcome": "fail"},
        {"id": "QCS-99"},
    ]
    views = reading.standards(entries)
    assert [v.standard_id for v in views] == ["QCS-03", "QCS-99", "QCS-01", "QCS-02"]
    assert views[0].how_to_fix
    assert views[1].how_to_fix == ""
    assert reading.standards(results.standards)[0].standard_id == "QCS-16"


def test_flags_of_the_verdict_and_of_the_table():
    tables = {"evaluation": pd.DataFrame([{"data_origin": "real", "trained_on_evaluated_cells": True}])}
    headline = {"provisional": True, "untrained": True, "role_fit": "partial", "context_mismatch": "pancreas"}
    view = reading.evaluation("x", {"release_kind": "negative_control", "headline": headline}, tables)
    assert view.origin_words == "real outcomes on real cells"
    for words in ("negative control", "untrained", "Partial fit", "mismatch: pancreas", "Provisional", "trained on"):
        assert any(words in flag for flag in view.flags), words
    quiet = {"evaluation": pd.DataFrame([{"data_origin": "real", "context_mismatch": "", "untrained": False}])}
    assert reading.evaluation("big", {}, quiet).flags == ()


def test_settings_that_are_no_json_stand_as_they_are():
    assert reading.settings_lines("folds=5") == (("settings", "folds=5"),)
    assert reading.settings_lines('{"folds": 5, "unit": "TF"}') == (("folds", "5"), ("unit", "TF"))
    assert reading.settings_lines(None) == ()


def _verdict(a="pass", b="pass", c="pass", d="pass", state="supported", origin="real", kind="release"):
    outcomes = {"a": a, "b": b, "c": c, "d": d}
    criteria = {name: {"outcome": outcome, "reason": f"why {name}"} for name, outcome in outcomes.items()}
    headline = {"state": state, "criteria": outcomes, "data_origin": origin}
    return {"headline": headline, "criteria": criteria, "release_kind": kind}


BROKEN = [{"id": "QCS-01", "kind": "integrity", "outcome": "fail"}]
MISBEHAVING = {"control": "control-planted", "observed": "b fail", "behaves": False, "reason": "criterion b fail"}
UNJUDGED = {"control": "control-planted", "observed": "not judged", "behaves": False, "reason": "absent"}
SEMI = "semi_synthetic"


@pytest.mark.parametrize(
    ("verdict", "standards", "controls", "expected"),
    [
        (_verdict(a="fail"), BROKEN, [MISBEHAVING], "fix QCS-01: "),
        (_verdict(a="fail"), [], [MISBEHAVING], "control control-planted does not behave: criterion b fail"),
        (_verdict(), [], [UNJUDGED], "evaluate control control-planted in this study"),
        (_verdict(b="fail", origin=SEMI), [], [], "evaluate on real outcomes"),
        (_verdict(b="fail", d="not evaluable"), [], [], "read criterion b in the report"),
        (_verdict(d="not evaluable"), [], [], "make criterion d evaluable: why d"),
        (_verdict(c="undecided"), [], [], "criterion c is undecided"),
        (_verdict(state="not evaluable", origin=SEMI), [], [], "evaluate on real outcomes"),
        (_verdict(), [], [], "repeat with another seed"),
        (_verdict(a="not evaluable") | {"rows": {"run": 0}}, BROKEN, [UNJUDGED], "make criterion a evaluable: why a"),
        (_verdict(a="not evaluable") | {"rows": {"run": 3}}, BROKEN, [], "fix QCS-01: "),
    ],
)
def test_one_next_step_follows_the_verdict_rules(verdict, standards, controls, expected):
    tables = {"control_outcomes": pd.DataFrame(controls)} if controls else {}
    assert expected in next_step("m", verdict, standards, tables)


def test_an_evaluation_of_nothing_names_no_data():
    verdict = {"release_kind": "release", "headline": {"data_origin": "simulated"}}
    tables = {"evaluation": pd.DataFrame([{"data_origin": "none"}])}
    assert reading.evaluation("x", verdict, tables).data_origin == "none"
    assert reading.evaluation("x", verdict, {}).data_origin == "simulated"


@pytest.mark.parametrize(
    ("release", "kind", "verdict", "expected"),
    [
        ("control-planted", "positive_control", _verdict(), "none: this control behaves"),
        ("control-planted", "positive_control", _verdict(d="not evaluable"), "criterion d must pass"),
        ("control-planted", "positive_control", _verdict(b="fail"), "criterion b must pass, or no verdict counts"),
        ("m.shuffled", "negative_control", _verdict(b="fail", state="refuted"), "none: this control behaves"),
        ("m.shuffled", "negative_control", _verdict(), "the claim must be refuted, or no verdict counts"),
    ],
)
def test_next_step_of_a_control_is_its_own_behaviour(release, kind, verdict, expected):
    assert expected in next_step(release, {**verdict, "release_kind": kind})


def test_registry_rows_keep_declared_order_and_numbers(results):
    rows = registry_rows(results.tests, results.registry)
    run = [row.test_id for row in rows if row.status == "run"]
    assert [row.test_id for row in rows[: len(run)]] == run
    declared = [spec.test_id for spec in results.registry]
    assert run == [name for name in declared if name in set(run)]
    found = results.tests.set_index("test_id")
    for row in rows:
        if row.status == "run":
            assert float(row.effect.order) == found.loc[row.test_id, "effect"]
            assert row.n.text == "97"
        else:
            assert row.computed == ()
            assert {row.effect.text, row.interval.text, row.p.text, row.n.text} == {"–"}


def test_descriptive_and_skipped_rows_are_never_significant(results):
    rows = registry_rows(results.tests.assign(significant_a=True), results.registry)
    confirmatory = {spec.test_id: spec.confirmatory for spec in results.registry}
    for row in rows:
        if row.significant == "yes":
            assert confirmatory[row.test_id]
            assert row.status == "run"


@pytest.fixture
def board(example, results):
    control = example.joined_verdict(example.example_judgement("control-planted", "positive_control"))
    rows = [
        leaderboard_row("demo", "control-planted", control),
        leaderboard_row("demo", results.release, results.verdict, results.standards, results.tables),
        leaderboard_row("bench", EVIL, {}),
    ]
    return leaderboard(rows)


def test_leaderboard_orders_releases_before_controls_and_mixes_nothing(board, results):
    assert tuple(board.columns) == COLUMNS
    assert board["release"].tolist() == [EVIL, results.release, "control-planted"]
    assert not [column for column in board.columns if "score" in column or "rank" in column]
    assert {type(text) for text in board[["verdict", "next_step"]].to_numpy().ravel()} == {str}  # no page's markup
    row = board.set_index("release").loc[results.release]
    table = results.tables["perturbation_auroc"]
    expected = table[(table["subset"] == "all") & (table["score"] == "attention")]["auroc"].mean()
    assert row["mean_auroc_attention"] == expected
    assert (row["criterion_a"], row["criterion_d"]) == ("fail", "not evaluable")
    assert (row["controls_behaving"], row["controls_expected"]) == (3, 3)


def test_nothing_known_is_not_evaluable_in_the_leaderboard(board):
    row = board.set_index("release").loc[EVIL]
    assert {row[f"criterion_{name}"] for name in "abcd"} == {"not evaluable"}
    assert row["state"] == "not evaluable"


def test_index_links_reports_and_escapes_names(board):
    html = render_index(board)
    assert "<script" not in html
    assert 'href="demo/geneformer-small-2k/report.html"' in html
    assert 'href="bench/%3Cscript%3E' in html
    assert "semi-synthetic outcomes on real cells" in html
    assert "script-src 'none'" in html
    assert "No release has been evaluated yet" in render_index(leaderboard([]))


def printed(board, width):
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    console.print(verdict_table(board))
    for line in next_steps(board):
        console.print(line)
    return stream.getvalue()


def test_terminal_table_shows_every_part_as_text(board):
    text = printed(board, 240)
    assert "[red]x[/red]" in text
    assert "geneformer-small-2k (small)" in text
    assert "refuted (semi-synthetic)" in text
    assert "n/e" in text
    assert "Data of demo: semi-synthetic outcomes on real cells" in text
    assert "evaluate on real outcomes" in text


def test_releases_that_owe_the_same_share_a_line(board):
    owed = board[board["next_step"] != BEHAVES]
    lines = [line.plain for line in next_steps(pd.concat([board, board.tail(1).assign(release="another")]))]
    assert len(lines) == owed["next_step"].nunique()
    for row in owed.itertuples():
        (line,) = [line for line in lines if line.endswith(f": {row.next_step}")]
        assert row.release in line
    assert sum("another" in line for line in lines) == 1


def test_terminal_says_one_line_a_release_and_none_for_controls(board):
    said = board.assign(in_short=[f"sentence {place} [red]" for place in range(len(board))])
    lines = [line.plain for line in sayings(said)]
    models = said[said["release_kind"] == "release"]
    assert 0 < len(models) < len(said)
    assert lines == [f"may be said, {row.release}: {row.in_short}" for row in models.itertuples()]
    assert sayings(board.assign(in_short="")) == []


def test_terminal_names_no_data_only_where_none_was_read(board):
    one = board[board["study"] == "demo"].reset_index(drop=True)
    origins = ["none", *one["data_origin"].tolist()[1:]]
    assert "Data: semi-synthetic outcomes on real cells" in printed(one.assign(data_origin=origins), 200)
    assert "Data: no outcomes were read" in printed(one.assign(data_origin="none"), 200)


def test_terminal_table_is_readable_at_80_columns(board):
    long = "a-release-whose-name-has-forty-character"
    assert len(long) == NAME_WIDTH
    one = board[board["study"] == "demo"].reset_index(drop=True)
    last = one.tail(1).assign(release=long, next_step="read the report")
    twin = one.head(1).assign(release="geneformer-small-4k.random-weights", next_step=BEHAVES)
    text = printed(pd.concat([one, last, twin]), 80)
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines[0].startswith("Study demo: ")
    assert any(line.startswith(f"{long} ") for line in lines)
    rows = [line.split() for line in lines if line.startswith("geneformer-small-2k")]
    assert rows == [["geneformer-small-2k", "(small)", "fail", "fail", "fail", "n/e", "refuted"]]
    assert "(semi-synthetic)" in text
    assert "Data: semi-synthetic outcomes on real cells" in text
    assert f"next, {long}: read the report" in text
    assert BEHAVES not in text
