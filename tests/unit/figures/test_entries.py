"""The declared figures and tables of the paper: answered by the catalogues, and honest states of an evaluation."""

import csv
import io
import re
from pathlib import Path

import pytest

from interp_assets.analyses.catalogue import CATALOGUE as ANALYSES
from interp_assets.figures import entries as declared
from interp_assets.figures import entry_states, page
from interp_assets.figures.catalogue import CATALOGUE
from interp_assets.figures.entries import EntryKind, entries, entry, split_name
from interp_assets.figures.entry_states import (
    EntryState,
    answers,
    answers_of,
    entries_csv,
    entry_rows,
    stored_entries,
)
from interp_assets.supplement.catalogue import TABLES

PAGE = Path(__file__).parents[3] / "docs" / "figures.md"


def _rows(made):
    return {row.entry.entry_id: row for row in entry_rows(made)}


def test_every_published_figure_and_table_is_declared_once_and_in_order():
    main = [f"Figure {number}" for number in range(1, 7)]
    supplementary = [f"Figure S{number}" for number in range(1, 40)]
    tables = [f"Table S{number}" for number in range(1, 15)]
    assert [each.entry_id for each in entries()] == [*main, *supplementary, *tables]
    assert all(each.title and each.plots for each in entries())
    kinds = {each.entry_id: each.kind for each in entries()}
    assert {kinds[name] for name in main} == {EntryKind.MAIN}
    assert {kinds[name] for name in tables} == {EntryKind.TABLE}


def test_every_entry_is_answered_and_every_name_is_declared():
    unanswered = [each.entry_id for each in entries() if not answers_of(each)]
    assert unanswered == []
    known = {name for each in entries() for name in each.names}
    named = {name: answer.name for answer in answers() for name in answer.published}
    assert {name: who for name, who in named.items() if name not in known} == {}


def test_answers_are_the_two_catalogues():
    assert [answer.name for answer in answers()] == [
        *(spec.figure_id for spec in CATALOGUE),
        *(spec.table_id for spec in TABLES),
    ]


def test_analyses_name_the_figures_that_name_them():
    by_entry = {each.entry_id: set(each.analyses) for each in entries() if each.kind is not EntryKind.TABLE}
    by_analysis = {name: {row.number for row in ANALYSES if name in row.figure_ids} for name in by_entry}
    assert by_entry == by_analysis


def test_a_picture_draws_an_analysis_of_the_entry_it_answers():
    for spec in CATALOGUE:
        for name in spec.published:
            wanted = set(entry(split_name(name)[0]).analyses)
            assert wanted & set(spec.analyses), f"{spec.figure_id} answers {name} with none of {sorted(wanted)}"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"kind": "poster"}, "kind 'poster'"),
        ({"analyses": "16;all"}, "analyses all"),
        ({"panels": "left; B right"}, "panel 'left'"),
    ],
)
def test_a_damaged_list_names_line_and_rule(tmp_path, monkeypatch, row, told):
    file = tmp_path / "entries.csv"
    good = {"id": "Figure 1", "kind": "main", "title": "t", "panels": "", "analyses": "1", "plots": "p"}
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, good)
        writer.writeheader()
        writer.writerows([good, {**good, "id": "Figure 2", **row}])
    monkeypatch.setattr(declared, "FILE", file)
    with pytest.raises(ValueError, match=rf"entries\.csv, line 3: {told}"):
        declared.entries.__wrapped__()


def test_an_entry_twice_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "entries.csv"
    file.write_text("id,kind,title,panels,analyses,plots\n" + "Figure 1,main,t,,1,p\n" * 2)
    monkeypatch.setattr(declared, "FILE", file)
    with pytest.raises(ValueError, match="Figure 1 declared more than once"):
        declared.entries.__wrapped__()


def test_unknown_entry_says_how_names_look():
    with pytest.raises(ValueError, match="no 'Figure 99'"):
        entry("Figure 99")


def test_states_follow_from_what_was_made():
    every = {answer.name: "" for answer in answers()}
    full = _rows(every)
    assert full["Figure 4"].state is EntryState.DRAWN
    assert full["Figure 4"].lacking == ()
    lacking = _rows({**every, "tf_strata": "table tf_strata was not computed"})["Figure 3"]
    assert lacking.state is EntryState.PARTLY
    assert lacking.lacking == ("Incremental value by kind of perturbed gene: table tf_strata was not computed",)
    none = _rows({})
    assert {row.state for row in none.values()} == {EntryState.SKIPPED}
    assert none["Table S10"].lacking == ("Registry of tests: not made in this evaluation",)


def test_a_panel_without_a_picture_is_named():
    full = _rows({answer.name: "" for answer in answers()})["Figure 6"]
    assert full.state is EntryState.PARTLY
    (lacking,) = full.lacking
    assert lacking.startswith("panel C (covariate balance): no picture here, matching is run on the primary screen")


def test_every_panel_without_a_picture_says_why_and_no_other():
    for each in entries():
        drawn = {letter for answer in answers_of(each) for letter in answer.panels_of(each)}
        assert {panel.letter for panel in each.panels if panel.without} == {
            panel.letter for panel in each.panels if panel.letter not in drawn
        }


def test_an_entry_that_nothing_answers_has_no_picture(monkeypatch):
    monkeypatch.setattr(entry_states, "answers", lambda: ())
    assert {row.state for row in entry_rows({})} == {EntryState.NONE}


def test_stored_files_give_states_and_reasons(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "supplement").mkdir()
    (tmp_path / "figures" / "circularity.txt").write_text("not drawn: no direction, <b>known</b>\n")
    (tmp_path / "figures" / "causal_ablation.svg").write_text("<svg/>")
    (tmp_path / "supplement" / "table_s04.csv").write_text("k\n")
    rows = {row.entry.entry_id: row for row in stored_entries(tmp_path)}
    assert rows["Figure 4"].state is EntryState.DRAWN
    assert rows["Table S4"].state is EntryState.DRAWN
    assert rows["Figure S29"].state is EntryState.SKIPPED
    assert rows["Figure S29"].lacking == ("Entries of unknown direction: no direction, <b>known</b>",)
    text = entries_csv(tuple(rows.values()))
    stored = {row["entry"]: row for row in csv.DictReader(io.StringIO(text))}
    assert len(stored) == 59
    assert stored["Figure 4"]["answered_by"] == "figures/causal_ablation.svg"
    assert stored["Figure S29"]["state"] == "skipped"
    assert text == entries_csv(stored_entries(tmp_path))


def test_the_page_is_current_with_the_catalogues():
    text = PAGE.read_text(encoding="utf-8")
    assert text == page.page(page.states_of(text)), f"run {page.COMMAND}"
    assert len(re.findall(r"^\| (?:Figure|Table) S?\d+ \| \*\*", text, flags=re.MULTILINE)) == 59


def test_the_page_takes_states_from_an_evaluation_and_keeps_them(tmp_path, capsys):
    folder = tmp_path / "demo" / "some-release"
    (folder / "figures").mkdir(parents=True)
    (folder / "tests.parquet").touch()
    (folder / "figures" / "circularity.txt").write_text("not drawn: a | b <script>\n")
    file = tmp_path / "figures.md"
    assert page.main([str(file), "--results", str(folder)]) == 0
    text = file.read_text(encoding="utf-8")
    assert "Release `some-release` in study `demo`: 0 drawn, 0 partly drawn, 59 skipped" in text
    assert "a \\| b &lt;script>" in text
    assert page.main([str(file)]) == 0
    assert file.read_text(encoding="utf-8") == text
    assert page.main([str(file), "--results", str(tmp_path)]) == 2
    assert "no tests.parquet" in capsys.readouterr().err
