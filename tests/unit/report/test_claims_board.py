"""The leaderboard claim by claim, its plots, and what the index shows of changes and quarantine."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from interp_assets.report.claims_board import CEILING, CLAIM_COLUMNS, MEAN_AUROC, TRIVIAL, claim_rows, claims_board
from interp_assets.report.dot_plots import dot_plots
from interp_assets.report.index import _group, leaderboard, leaderboard_row, render_index

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def documents(example, results):
    from qc_standards.documents import claims_document

    judgement = example.example_judgement()
    claims = json.loads(json.dumps(claims_document(judgement)))
    return {"claims": claims, "verdict": {**results.verdict, "release_kind": "release"}}


@pytest.fixture
def board(documents, results):
    control = {**documents, "verdict": {**documents["verdict"], "release_kind": "positive_control"}}
    rows = claim_rows("demo", "control-planted", control, results.tables)
    return claims_board([*rows, *claim_rows("demo", EVIL, documents, results.tables)])


def test_every_claim_has_a_row_and_no_row_a_rank(board, documents) -> None:
    assert tuple(board.columns) == CLAIM_COLUMNS
    own = board[(board["release"] == EVIL) & (board["claim"] != "")]
    assert own["claim"].tolist() == [entry["id"] for entry in documents["claims"]["claims"]]
    assert not {"rank", "score", "total"} & set(board.columns)
    assert (board["data_origin"] != "").all()


def test_reference_lines_are_rows_of_their_own(board, results) -> None:
    table = results.tables["perturbation_auroc"]
    means = table[(table["subset"] == "all") & (table["role"] == "primary_screen")].groupby("score")["auroc"].mean()
    (trivial,) = board[board["kind"] == TRIVIAL]["value"]
    assert trivial == pytest.approx(means[["variance", "mean", "one_minus_dropout"]].max())
    assert len(board[board["kind"] == CEILING]) <= 1
    attention = board[(board["effect"] == MEAN_AUROC) & (board["kind"] == "release")]["value"].item()
    assert attention == pytest.approx(means["attention"])


def test_dots_lie_in_the_order_of_their_values(board) -> None:
    other = board.assign(value=board["value"] + 0.1, low=board["low"] + 0.1, high=board["high"] + 0.1)
    both = pd.concat([board, other.assign(release="higher", released="higher")])
    for plot in dot_plots(both):
        first, second = plot.dots
        assert second.x > first.x
        assert first.low <= first.x <= first.high


def test_the_index_keeps_hostile_names_text(board) -> None:
    changes = pd.DataFrame(
        [{"study": "demo", "level": "claim", "direction": "lost", "sentence": f"{EVIL} is refuted."}]
    )
    html = render_index(leaderboard([leaderboard_row("demo", EVIL, {})]), board, changes, {EVIL: "bad & broken"})
    assert "<script" not in html
    assert "bad &amp; broken" in html
    assert "claim lost" in html
    assert html.count("<svg") == len(dot_plots(board)) > 0


def test_a_claim_stands_under_its_own_name_also_beside_older_judgements(documents, results) -> None:
    """A release that was judged before a claim was declared: its cells do not move into that claim's column."""
    listed = documents["claims"]["claims"]
    older = {**documents, "claims": {**documents["claims"], "claims": listed[1:]}}
    rows = [*claim_rows("demo", "new", documents, results.tables), *claim_rows("demo", "old", older, results.tables)]
    board = claims_board(rows)
    new, old = _group("demo", leaderboard([]), board, None)["claims"]
    names = [entry["id"] for entry in listed]
    assert [cell["claim"] for cell in new["cells"]] == names
    assert [cell and cell["claim"] for cell in old["cells"]] == [None, *names[1:]]
    html = render_index(leaderboard([leaderboard_row("demo", "old", {})]), board)
    assert html.count("not judged") == 1


def test_a_ceiling_without_scores_states_no_number_of_perturbations(documents) -> None:
    ceiling = pd.DataFrame({"context": ["primary_screen:d"], "ceiling": [0.9], "ci_low": [0.8], "ci_high": [1.0]})
    board = claims_board(claim_rows("demo", "r", documents, {"noise_ceiling": ceiling}))
    assert board.loc[board["kind"] == CEILING, "n"].isna().all()
    assert (board["kind"] == CEILING).sum() == 1


def test_every_plot_says_what_its_axis_measures(board) -> None:
    plots = dot_plots(board)
    assert all(plot.axis and plot.axis in plot.told for plot in plots)
    html = render_index(leaderboard([leaderboard_row("demo", EVIL, {})]), board)
    assert all(f">{plot.axis}</text>" in html for plot in plots)


def test_twins_stand_apart_and_are_counted() -> None:
    names = ("r", "r.shuffled", "r.random-weights")
    html = render_index(leaderboard([leaderboard_row("demo", name, {}) for name in names]))
    board, twins = html.split('<details class="twins">')
    assert ">r</a>" in board
    assert ".shuffled" not in board
    assert "2 negative twins" in twins
    assert all(f">{name}</a>" in twins for name in names[1:])


def test_plots_say_where_their_outcomes_come_from(board) -> None:
    for plot in dot_plots(board):
        assert plot.origin == "semi-synthetic outcomes on real cells"
    html = render_index(leaderboard([leaderboard_row("demo", EVIL, {})]), board)
    assert html.count("Releases on: semi-synthetic outcomes on real cells.</span>") == len(dot_plots(board))
