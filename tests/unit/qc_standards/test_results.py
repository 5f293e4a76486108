import hashlib
import json
import struct

import numpy as np
import pandas as pd
import pytest

from qc_standards import results
from qc_standards.documents import canonical_json, differences, table_hash
from qc_standards.gate import check_folder, judge
from qc_standards.results import ResultsError, read_results


def rewrite(path, change):
    frame = pd.read_parquet(path)
    change(frame).to_parquet(path, index=False)


def set_cell(frame, test_id, column, value):
    frame = frame.copy()
    frame.loc[frame["test_id"] == test_id, column] = value
    return frame


def test_a_complete_folder_is_read_and_agrees_with_itself(planted_folder):
    read = read_results(planted_folder)
    assert len(read.tests) == 153
    assert set(read.stored) == {"standards.json", "claims.json", "verdict.json", "statement.json"}
    judgement = check_folder(planted_folder)
    assert judgement.release == "control-planted"


def test_judging_a_folder_equals_judging_in_memory(planted_folder, planted, passed_standards):
    assert judge(planted_folder).verdicts == planted.judge().verdicts


def test_writing_twice_gives_the_same_bytes(tmp_path, coexpression):
    coexpression.write(tmp_path / "one")
    coexpression.write(tmp_path / "two")
    for path in sorted((tmp_path / "one").rglob("*.*")):
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == twin.read_bytes(), path.name


@pytest.mark.parametrize(
    "name",
    [
        "tests.parquet",
        "verdict.json",
        "claims.json",
        "standards.json",
        "statement.json",
        "provenance.json",
        "tables/evaluation.parquet",
        "tables/lineage.parquet",
    ],
)
def test_a_missing_file_is_named(planted_folder, copy_of, name):
    folder = copy_of(planted_folder)
    (folder / name).unlink()
    with pytest.raises(ResultsError, match=name.split("/")[-1].removesuffix(".parquet")):
        check_folder(folder)


@pytest.mark.parametrize("name", ["tests.parquet", "tables/incremental_value.parquet", "verdict.json"])
@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_truncated_file_is_named(planted_folder, copy_of, name, keep):
    folder = copy_of(planted_folder)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ResultsError, match=name.split("/")[-1]):
        check_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.head(100), "100 rows, 153"),
        (lambda f: f.drop(columns="q_b"), r"missing \['q_b'\]"),
        (lambda f: f.assign(extra=1), r"not expected \['extra'\]"),
        (lambda f: pd.concat([f.head(152), f.head(1)], ignore_index=True), r"more than once: A01\.1"),
        (lambda f: f.iloc[::-1].reset_index(drop=True), "declared order"),
        (lambda f: set_cell(f, "A21.5", "test_id", "A99.9"), r"undeclared: A99\.9"),
        (lambda f: set_cell(f, "A21.5", "p", 1e-12), r"row hash differs for A21\.5"),
        (lambda f: set_cell(f, "A21.5", "effect", 0.9), r"row hash differs for A21\.5"),
        (lambda f: set_cell(f, "A21.5", "q_a", 1e-12), "q_a is not what"),
        (lambda f: set_cell(f, "A19.1", "significant_a", False), "significant_a is not what"),
        (lambda f: set_cell(f, "A21.5", "p", 1.5), "not a probability"),
        (lambda f: set_cell(f, "A21.5", "status", "skipped"), "needs a reason"),
        (lambda f: set_cell(f, "A21.5", "status", "maybe"), "maybe"),
    ],
)
def test_a_changed_battery_is_invalid(planted_folder, copy_of, change, message):
    folder = copy_of(planted_folder)
    rewrite(folder / "tests.parquet", change)
    with pytest.raises(ResultsError, match=message):
        check_folder(folder)


def test_a_table_without_its_column_is_invalid(planted_folder, copy_of):
    folder = copy_of(planted_folder)
    rewrite(folder / "tables/degree_null.parquet", lambda f: f.drop(columns="mean_jaccard"))
    with pytest.raises(ResultsError, match=r"degree_null\.parquet: missing column mean_jaccard"):
        check_folder(folder)


def test_an_edited_table_differs_from_the_stored_verdict(refuted_folder, copy_of):
    folder = copy_of(refuted_folder)
    rewrite(folder / "tables/perturbation_auroc.parquet", lambda f: f.assign(auroc=f["auroc"] + 1e-4))
    with pytest.raises(ResultsError, match="stored verdict differs"):
        check_folder(folder)


@pytest.mark.parametrize("name", ["verdict.json", "claims.json", "standards.json", "statement.json"])
def test_an_edited_verdict_is_invalid(refuted_folder, copy_of, name):
    folder = copy_of(refuted_folder)
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("refuted", "supported").replace('"pass"', '"fail"'))
    with pytest.raises(ResultsError, match=name.replace(".", r"\.")):
        check_folder(folder)


def test_a_removed_optional_table_is_seen(refuted_folder, copy_of):
    folder = copy_of(refuted_folder)
    (folder / "tables/incremental_power.parquet").unlink()
    with pytest.raises(ResultsError, match="incremental_power"):
        check_folder(folder)


def test_no_folder(tmp_path):
    with pytest.raises(ResultsError, match="no such result folder"):
        check_folder(tmp_path / "nothing")


def test_judging_needs_no_stored_verdict(planted_folder, copy_of):
    folder = copy_of(planted_folder)
    for name in ("verdict.json", "claims.json", "standards.json", "statement.json", "provenance.json"):
        (folder / name).unlink()
    assert judge(folder).release == "control-planted"


def test_a_refused_write_leaves_nothing_behind(tmp_path, planted):
    with pytest.raises(ResultsError):
        results.write_tests(tmp_path / "x", planted.tests.head(3))
    with pytest.raises(ResultsError, match="lineage"):
        results.write_tables(tmp_path / "x", {"lineage": pd.DataFrame({"score": ["attention"]})})
    assert not (tmp_path / "x").exists()


def test_the_stored_documents_are_canonical(planted_folder):
    for name in ("verdict.json", "claims.json", "standards.json", "statement.json"):
        text = (planted_folder / name).read_text()
        assert canonical_json(json.loads(text)) == text
        assert "NaN" not in text


def test_canonical_json_refuses_nan_and_rounds_noise():
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": float("nan")})
    assert canonical_json({"b": np.float64(0.1 + 0.2), "a": (1, None)}) == (
        '{\n  "a": [\n    1,\n    null\n  ],\n  "b": 0.3\n}\n'
    )


@pytest.mark.parametrize(
    ("stored", "again", "told"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 0.1}, {"a": 0.1 + 1e-9}, []),
        ({"a": 0.1}, {"a": 0.101}, ["a: stored 0.1, recomputed 0.101"]),
        ({"a": 1}, {"a": True}, ["a: stored 1, recomputed True"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a: stored [1, 2], recomputed [1]"]),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}, ["a[0].b: stored 'x', recomputed 'y'"]),
        ({"a": 1}, {"b": 1}, ["a: only stored", "b: only recomputed"]),
    ],
)
def test_differences(stored, again, told):
    assert differences(stored, again) == told


def test_table_hash_is_that_of_a_loop_over_cells():
    columns = {
        "text": ["a", None, "c"],
        "mixed": ["a", 1, 2.5],
        "flag": [True, None, False],
        "whole": [1, 2**40, -3],
        "x": [0.1, float("nan"), -0.0],
    }
    expected = hashlib.sha256()
    for name, values in columns.items():
        expected.update(f"{name}\x1e3\x1e".encode())
        if name in ("text", "mixed"):
            expected.update("\x1f".join("\x00" if value is None else str(value) for value in values).encode())
        else:
            numbers = (float("nan") if value is None or value != value else float(value) + 0.0 for value in values)
            expected.update(b"".join(struct.pack("<d", number) for number in numbers))
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    assert table_hash(frame) == expected.hexdigest()
    assert table_hash(frame.infer_objects()) == expected.hexdigest()


def test_table_hash_is_about_content_and_not_about_dtypes(tmp_path):
    frame = pd.DataFrame(
        {
            "name": ["a", None, "c"],
            "layer": pd.Series([5, None, 7], dtype=object),
            "flag": [True, False, True],
            "nothing": pd.Series([None, None, None], dtype=object),
            "count": pd.array([1, None, 3], dtype="Int64"),
            "kept": pd.array([True, None, False], dtype="boolean"),
            "x": [0.1, np.nan, -0.0],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    back = pd.read_parquet(tmp_path / "t.parquet")
    assert table_hash(back) == table_hash(frame)
    for column, value in (
        ("name", "b"),
        ("layer", 6),
        ("flag", False),
        ("count", 9),
        ("kept", False),
        ("x", 0.1000001),
    ):
        changed = frame.copy()
        changed.loc[0, column] = value
        assert table_hash(changed) != table_hash(frame), column
    assert table_hash(frame.rename(columns={"x": "y"})) != table_hash(frame)
    assert table_hash(frame.head(2)) != table_hash(frame)
