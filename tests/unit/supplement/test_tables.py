"""Supplementary tables: from computed tables and rows alone, published values apart, absent input said."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from interp_assets.report.supplement import table_files
from interp_assets.supplement import declared_tables, printed
from interp_assets.supplement.catalogue import TABLES, table_csv, tabulate
from interp_assets.supplement.records import TableSkipped, Tabulated
from qc_standards.published import signatures
from qc_standards.registry import declared_tests

SPECS = {spec.table_id: spec for spec in TABLES}


def _table(found, table_id: str) -> pd.DataFrame:
    made = tabulate(SPECS[table_id], found)
    assert isinstance(made, Tabulated), made
    return made.frame


def test_the_catalogue_has_the_fourteen_tables_in_order() -> None:
    assert [spec.published for spec in TABLES] == [(f"Table S{number}",) for number in range(1, 15)]
    assert [spec.table_id for spec in TABLES] == [f"table_s{number:02d}" for number in range(1, 15)]


@pytest.mark.parametrize("spec", TABLES, ids=lambda spec: spec.table_id)
def test_every_table_names_study_release_and_origin_and_is_stable(spec, found) -> None:
    made = tabulate(spec, found)
    assert isinstance(made, Tabulated)
    text = table_csv(made).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows
    assert {(row["study"], row["release"]) for row in rows} == {("example", "example-release")}
    assert "data_origin" in rows[0]
    assert "nan" not in text.lower().split(",")
    assert table_csv(tabulate(spec, found)) == table_csv(made)
    assert table_files(made) == {f"supplement/{spec.table_id}.csv": table_csv(made)}


@pytest.mark.parametrize("spec", [spec for spec in TABLES if spec.tables], ids=lambda spec: spec.table_id)
def test_absent_or_empty_input_is_a_reason_in_a_file(spec, found) -> None:
    for name in spec.tables:
        without = replace(found, tables={key: frame for key, frame in found.tables.items() if key != name})
        skipped = tabulate(spec, without)
        assert isinstance(skipped, TableSkipped)
        assert f"table {name} was not computed" in skipped.reason
        assert table_files(skipped)[f"supplement/{spec.table_id}.txt"].decode().startswith("not made: ")
        empty = tabulate(spec, replace(found, tables={**found.tables, name: found.tables[name].iloc[:0]}))
        assert isinstance(empty, TableSkipped)
        assert f"{name} has no rows" in empty.reason


def test_a_reason_says_why_the_analysis_did_not_run(found) -> None:
    without = replace(found, tables={})
    assert "study example fills no such role" in tabulate(SPECS["table_s04"], without).reason


def test_without_extended_rows_the_declared_tables_are_made(found) -> None:
    bare = replace(found, extended=pd.DataFrame(columns=["test_id", "status", "reason", "data_origin"]), tables={})
    assert isinstance(tabulate(SPECS["table_s10"], bare), Tabulated)
    assert isinstance(tabulate(SPECS["table_s12"], bare), TableSkipped)


def test_overview_counts_rows_and_shows_the_first_that_ran(found) -> None:
    frame = _table(found, "table_s01").set_index("analysis")
    assert len(frame) == 37
    assert frame["tests_declared"].sum() == 153
    assert frame["tests_run"].sum() == 8
    assert tuple(frame.loc[22, ["first_row_run", "effect", "datasets"]]) == ("A22.1", 0.05, "example-screen")
    assert frame.loc[1, "not_run_because"] == "study example fills no such role"


def test_screens_stand_beside_their_published_contexts(found) -> None:
    frame = _table(found, "table_s02").set_index("test_id")
    assert list(frame["published_evaluable_perturbations"]) == [44, 151, 280, 77, 1167, 7, 7]
    assert frame.loc["A22.1", "modality"] == "CRISPRi"
    assert (frame.loc["A22.1", "evaluable_perturbations"], frame.loc["A22.1", "genes"]) == (24, 300)
    assert pd.isna(frame.loc["A33.3", "evaluable_perturbations"])
    assert frame.loc["A33.3", "data_origin"] == ""


def test_grid_is_corrected_over_its_conditions(found) -> None:
    frame = _table(found, "table_s03")
    grid = frame[(frame["part"] == "grid of conditions") & (frame["score"] == "attention")].set_index("condition")
    assert len(grid) == 27
    assert grid.loc["c0", "q"] == pytest.approx(0.001 * 27)
    assert grid.loc["c1", "q"] == pytest.approx(0.02 * 27 / 2)
    assert grid.loc["c2", "q"] == 1.0
    assert "variance" not in set(frame["score"])


def test_agreement_rows_enter_where_they_ran(found) -> None:
    ran = found.tests.copy()
    row = ran["test_id"] == "A05.1"
    ran.loc[row, ["status", "effect", "p", "q_a", "data_origin"]] = ["run", 0.2, 0.03, 0.4, "real"]
    frame = _table(replace(found, tests=ran), "table_s03")
    first = frame.iloc[0]
    assert (first["value"], first["p"], first["q"], first["data_origin"]) == (0.2, 0.03, 0.4, "real")


def test_overlap_has_published_values_where_the_paper_has_the_row(found) -> None:
    frame = _table(found, "table_s04").set_index("k")
    assert tuple(frame.loc[100, ["overlap", "fold", "published_overlap", "published_fold"]]) == (
        20.0,
        10.0,
        26.0,
        484.0,
    )
    assert frame.loc[700, ["published_overlap", "published_fold"]].isna().all()
    assert set(frame["data_origin"]) == {"real"}
    text = table_csv(tabulate(SPECS["table_s04"], found)).decode()
    assert "not printed" in text
    assert "not computed" in text


def test_published_designs_stand_beside_known_strata_alone(found) -> None:
    frame = _table(found, "table_s05").set_index(["cells", "strata"])
    assert tuple(frame.loc[(200, "oracle"), ["f1_strata", "published_f1_strata"]]) == (0.9, 0.957)
    assert pd.isna(frame.loc[(200, "estimated"), "published_f1_strata"])
    assert set(frame["data_origin"]) == {"simulated"}
    assert set(_table(found, "table_s06")["data_origin"]) == {"simulated"}
    structured = _table(found, "table_s06").set_index(["cells", "strata"])
    assert structured.loc[(500, "oracle"), "published_auroc_pooled"] == 0.932


def test_layers_meet_published_ones_at_their_depth(found) -> None:
    frame = _table(found, "table_s07")
    assert set(frame["data_origin"]) == {"real"}
    assert list(frame["strata"].unique()) == ["estimated", "random"]
    own = frame[frame["strata"] == "estimated"].set_index("layer")
    assert (own.loc[5, "published_layer"], own.loc[7, "published_layer"]) == (12, 17)
    assert own.loc[7, "published_auroc_pooled"] == 0.6732
    assert set(own["variant"]) == {"max"}
    biology = _table(found, "table_s12")
    last = biology[(biology["layer"] == 7) & (biology["database"] == "KEGG")].iloc[0]
    assert (last["auroc"], last["published_auroc"]) == (pytest.approx(0.57), 0.539)
    beside = biology[biology["edge"] == "correlation"].set_index("database")
    assert (beside.loc["TRRUST", "auroc"], beside.loc["TRRUST", "published_auroc"]) == (0.58, 0.649)
    assert pd.isna(beside.loc["house list", "published_auroc"])


def test_curated_and_further_references_part(found) -> None:
    first, others = _table(found, "table_s08"), _table(found, "table_s09")
    assert set(first["reference"]) == {"TRRUST v2"}
    assert set(others["reference"]) == {"dorothea", "planted"}
    assert list(first["cells"]) == [200, 500]
    assert list(first["published_auroc"]) == [0.444, 0.549]


def test_registry_holds_every_row_with_published_columns_apart(found, tests) -> None:
    frame = _table(found, "table_s10").set_index("test_id")
    assert list(frame.index) == [spec.test_id for spec in declared_tests()]
    row = tests.set_index("test_id").loc["A28.2"]
    assert tuple(frame.loc["A28.2", ["effect", "p", "q_b"]]) == (row["effect"], row["p"], row["q_b"])
    assert frame.loc["A28.2", "published_effect"] != ""
    assert all(name.startswith("published_") for name in list(frame)[-7:])


def test_claims_of_both_kinds_have_their_key_row(found) -> None:
    frame = _table(found, "table_s11").set_index("claim")
    assert len(frame) == 1 + 20
    assert tuple(frame.loc["beats_baselines", ["key_test", "effect", "analyses"]]) == ("A22.1", 0.05, "22; 21")
    assert frame.loc["beats_baselines", "sentence"] == "Attention beats <b>baselines</b>, $x$."
    assert frame.loc["published claim 13", "tests"].startswith("A34.1")
    assert frame.loc["published claim 8", "published_flag"] == "descriptive"
    numbers = {spec.published["claim_no"] for spec in declared_tests() if "claim_no" in spec.published}
    assert {str(number) for number in declared_tables.published_sentences()} == numbers


def test_best_layers_are_those_of_the_table(found) -> None:
    frame = _table(found, "table_s13").set_index("edge")
    assert tuple(frame.loc["attention", ["best_screen_layer", "best_reference_layer"]]) == (7, 0)
    assert frame.loc["attention", "best_screen_auroc"] == pytest.approx(0.74)
    assert pd.isna(frame.loc["correlation", "best_reference_auroc"])
    assert frame.loc["value-weighted (cosine)", "published_best_screen_auroc"] == 0.587


def test_regulators_most_targets_first(found) -> None:
    frame = _table(found, "table_s14")
    assert list(frame["regulator"]) == ["<i>TF</i>", "GATA1", "EGR1"]
    assert list(frame["published_targets"].fillna(0)) == [0, 18, 9]


def test_printed_values_are_those_of_the_registry() -> None:
    known = {each.id: each.value for each in signatures()}
    with printed.FILE.open() as handle:
        for row in csv.DictReader(handle):
            assert row["value"] in known or float(row["value"]) is not None
    assert printed.printed()["table_s05"][("600/6", "f1_ratio")] == float(known["SIG163"])


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["table_s04,1,k,many"], "line 2: value 'many'"),
        (["table_s04,1,k,1", "table_s04,1,k,2"], r"line 3: table_s04 .* stands twice"),
    ],
)
def test_a_damaged_list_of_printed_values_names_its_line(tmp_path: Path, monkeypatch, lines, told) -> None:
    file = tmp_path / "printed.csv"
    file.write_text("\n".join(["table,key,column,value", *lines]) + "\n")
    monkeypatch.setattr(printed, "FILE", file)
    with pytest.raises(ValueError, match=told):
        printed.printed.__wrapped__()
