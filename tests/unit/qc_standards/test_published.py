"""Published numbers and contradictions: complete, pointing at declared rows, and never standing in for a result."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

from qc_standards import published
from qc_standards.published import (
    COMPARISON_COLUMNS,
    SAME_QUANTITY,
    compared,
    contradictions,
    contradictions_of,
    signatures,
)
from qc_standards.registry import RegistryError, declared_tests


def test_every_contradiction_of_the_study_is_listed_once() -> None:
    ids = [each.id for each in contradictions()]
    assert ids == [f"PC{number:02d}" for number in range(1, 21)]
    assert len({each.topic for each in contradictions()}) == 20
    assert all(each.first and each.second and each.shown for each in contradictions())


def test_a_row_finds_the_contradictions_it_takes_part_in() -> None:
    assert [each.id for each in contradictions_of("A37.6")] == ["PC06"]
    assert {each.id for each in contradictions_of("A03.1")} == {"PC14"}
    assert contradictions_of("A22.1")
    assert contradictions_of("A02.1") == ()
    assert "Shown here" in contradictions_of("A03.1")[0].sentence


def test_signatures_point_at_rows_of_their_own_analysis() -> None:
    found = signatures()
    assert len(found) == 428
    assert len({each.id for each in found}) == 428
    numbers = {spec.test_id: spec.analysis_no for spec in declared_tests()}
    linked = [each for each in found if each.test_id]
    assert len(linked) > 60
    assert all(str(numbers[each.test_id]) == each.analysis for each in linked)
    assert all(each.low <= each.high for each in found if each.low is not None and each.high is not None)


@pytest.fixture
def tests() -> pd.DataFrame:
    rows = [
        {"test_id": "A22.1", "status": "run", "effect": 0.709, "effect_kind": "auroc"},
        {"test_id": "A21.1", "status": "run", "effect": 0.9, "effect_kind": "delta_auroc"},
        {"test_id": "A16.2", "status": "run", "effect": 3.6, "effect_kind": "share"},
        {"test_id": "A28.1", "status": "skipped", "effect": None, "effect_kind": "delta_auroc"},
    ]
    return pd.DataFrame(rows)


def test_computed_stands_beside_published_with_its_tolerance(tests: pd.DataFrame) -> None:
    table = compared(tests).set_index("test_id")
    assert ("test_id", *table.columns) == COMPARISON_COLUMNS
    assert bool(table.loc["A22.1", "within"]) is True
    assert table.loc["A22.1", ["low", "high", "computed"]].tolist() == [0.694, 0.714, 0.709]
    assert bool(table.loc["A21.1", "within"]) is False


def test_what_cannot_be_held_against_each_other_says_why(tests: pd.DataFrame) -> None:
    table = compared(tests).set_index("test_id")
    assert pd.isna(table.loc["A16.2", "within"])
    assert "share" in table.loc["A16.2", "remark"]
    assert table.loc["A28.1", "remark"] == "the row did not run"
    assert pd.isna(table.loc["A28.1", "computed"])
    assert table["within"].notna().sum() == 2


def test_one_quantity_may_have_two_names_and_no_other_may() -> None:
    kinds = {spec.effect_kind for spec in declared_tests()}
    units = {each.unit for each in signatures()}
    assert set(SAME_QUANTITY) <= units
    assert {kind for named in SAME_QUANTITY.values() for kind in named} <= kinds
    linked = next(each for each in signatures() if each.test_id and each.unit == "rho" and each.low is not None)
    row = {"test_id": linked.test_id, "status": "run", "effect": (linked.low + linked.high) / 2}
    same = compared(pd.DataFrame([{**row, "effect_kind": "spearman_rho"}])).set_index("signature_id")
    assert bool(same.loc[linked.id, "within"]) is True
    other = compared(pd.DataFrame([{**row, "effect_kind": "pearson_r"}])).set_index("signature_id")
    assert "states pearson_r" in other.loc[linked.id, "remark"]


def test_a_row_that_names_no_declared_test_is_refused(tmp_path, monkeypatch) -> None:
    rows = list(csv.DictReader(published.CONTRADICTIONS_FILE.open(encoding="utf-8")))
    rows[0]["tests"] = "A99.1"
    file = tmp_path / "contradictions.csv"
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setattr(published, "CONTRADICTIONS_FILE", file)
    with pytest.raises(RegistryError, match=r"row PC01: A99\.1 is no declared test"):
        contradictions.__wrapped__()
