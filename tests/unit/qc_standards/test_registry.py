import csv
import re

import pytest

from qc_standards import registry
from qc_standards.registry import RegistryError, declared_tests, in_family, read_tests, tests_of_analysis

by_id = {spec.test_id: spec for spec in declared_tests()}


def test_the_battery_has_its_declared_size():
    specs = declared_tests()
    assert len(specs) == 153
    assert sum(spec.confirmatory for spec in specs) == 95
    assert sum(not spec.confirmatory for spec in specs) == 58
    assert {spec.analysis_no for spec in specs} == set(range(1, 38))
    assert sum(in_family(spec, "C") for spec in specs) == 27


def test_family_c_has_one_confirmatory_row_per_analysis():
    primary = [spec for spec in declared_tests() if spec.family_c_primary]
    assert len({spec.analysis_no for spec in primary}) == len(primary)
    assert all(spec.confirmatory for spec in primary)
    with_confirmatory = {spec.analysis_no for spec in declared_tests() if spec.confirmatory}
    assert with_confirmatory == {spec.analysis_no for spec in primary}


@pytest.mark.parametrize(
    ("test_id", "depth"),
    [("A28.1", 6 / 17), ("A28.2", 13 / 17), ("A28.3", 1.0), ("A30.1", 15 / 17), ("A34.4", 8 / 17), ("A21.1", 13 / 17)],
)
def test_depth_is_the_published_layer_over_17(test_id, depth):
    assert by_id[test_id].depth == pytest.approx(depth, abs=1e-15)


def test_every_named_layer_agrees_with_its_depth():
    named = [spec for spec in declared_tests() if re.fullmatch(r"L\d+", spec.published.get("layer", ""))]
    assert len(named) > 15
    for spec in named:
        layer = int(spec.published["layer"][1:])
        assert spec.depth == pytest.approx(min(layer, 17) / 17), spec.test_id


@pytest.mark.parametrize(
    ("test_id", "heads"), [("A29.1", 5), ("A32.1", 20), ("A32.7", 50), ("A32.12", 18), ("A34.3", 10), ("A36.2", 10)]
)
def test_head_share_is_a_count_of_324(test_id, heads):
    assert by_id[test_id].head_share == pytest.approx(heads / 324, abs=1e-15)


def test_rows_without_masked_heads_have_no_head_share():
    masked = {spec.analysis_no for spec in declared_tests() if spec.head_share is not None}
    assert masked == {29, 32, 34, 36}
    assert by_id["A34.4"].head_share is None


def test_published_values_stay_in_their_own_mapping():
    assert by_id["A21.5"].published["effect"] == "0.881 vs 0.704"
    assert by_id["A21.5"].published["significant"] == "yes"
    with registry.TESTS_FILE.open(newline="") as handle:
        columns = next(csv.reader(handle))
    computed = [column for column in columns if not column.startswith("published_")]
    assert not {"p", "q", "effect", "n"} & set(computed)


def test_simulation_rows_need_no_role_and_screens_name_theirs():
    assert by_id["A03.1"].roles == ()
    assert by_id["A21.5"].roles == ("primary_screen",)
    assert by_id["A04.1"].roles == ("tissues[1]", "tissues[2]")


def test_analysis_lookup():
    assert [spec.test_id for spec in tests_of_analysis(16)] == ["A16.1", "A16.2", "A16.3"]
    with pytest.raises(RegistryError, match="analysis 38"):
        tests_of_analysis(38)
    with pytest.raises(RegistryError, match=r"A99\.1"):
        registry.test_spec("A99.1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "changed size"),
        (lambda rows: [*rows[:-1], rows[0]], "declared twice"),
        (lambda rows: [{**rows[0], "confirmatory": "maybe"}, *rows[1:]], "yes or no"),
        (lambda rows: [{**rows[0], "depth": "1.5"}, *rows[1:]], "outside"),
        (lambda rows: [{**rows[0], "confirmatory": "no"}, *rows[1:]], "confirmatory 94"),
    ],
)
def test_a_changed_battery_is_refused(tmp_path, change, message):
    with registry.TESTS_FILE.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    broken = tmp_path / "tests.csv"
    with broken.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(change(rows))
    with pytest.raises(RegistryError, match=message):
        read_tests(broken)


def test_a_lacking_column_is_named(tmp_path):
    (tmp_path / "tests.csv").write_text("test_id\nA01.1\n")
    with pytest.raises(RegistryError, match="analysis_no"):
        read_tests(tmp_path / "tests.csv")
