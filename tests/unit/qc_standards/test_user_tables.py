"""A standard held against a table that a user brings."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from qc_standards.cli import main
from qc_standards.explain import example_csv
from qc_standards.standards import STANDARDS_FOLDER, required_columns, shipped_standards
from qc_standards.user_tables import UserTableError, column_map, named_as_standards, read_table

ACTIVE = [name for name, standard in shipped_standards().items() if standard.status == "active"]
NULLS = "QCS-09"


@pytest.fixture
def table(tmp_path):
    """Write the example of a standard as a file of the given ending; returns its path."""

    def write(name=NULLS, kind="passing", ending="csv", **changes):
        frame = pd.read_csv(io.StringIO(example_csv(name, kind))).assign(**changes)
        path = tmp_path / f"mine.{ending}"
        if ending == "parquet":
            frame.to_parquet(path, index=False)
        else:
            frame.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t"}[ending])
        return path

    return write


def validate(path, *options, standard=NULLS):
    return main(["validate", str(path), "--standard", standard, *options])


@pytest.mark.parametrize("name", ACTIVE)
def test_the_examples_of_every_standard_survive_as_csv(name, tmp_path, capsys):
    for kind, code in (("passing", 0), ("failing", 1)):
        assert main(["explain", name, "--example", kind]) == 0
        path = tmp_path / f"{kind}.csv"
        path.write_text(capsys.readouterr().out)
        assert validate(path, standard=name) == code, capsys.readouterr()
        assert f"VERDICT  {'FAIL' if code else 'PASS'}" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
@pytest.mark.parametrize(("kind", "code"), [("passing", 0), ("failing", 1)])
def test_a_table_is_read_from_three_kinds_of_file(table, ending, kind, code):
    assert validate(table(kind=kind, ending=ending)) == code


def test_columns_are_named_by_the_user(table, capsys):
    path = table()
    frame = pd.read_csv(path).rename(columns={"mean_jaccard": "Jaccard (mean)", "null_sd": "NullSD"})
    frame.to_csv(path, index=False)
    assert validate(path) == 2
    told = capsys.readouterr().err
    assert "lacks column" in told
    assert "mean_jaccard (read by QCS-09)" in told
    assert "Columns are " in told
    assert "Jaccard (mean)" in told
    assert "--map null_sd=NullSD --map 'mean_jaccard=Jaccard (mean)'" in told
    assert validate(path, "--map", "mean_jaccard=Jaccard (mean)", "--map", "null_sd=NullSD") == 0


def test_a_mapped_column_takes_the_place_of_one_with_that_name(table):
    path = table(broken=0.0)
    assert validate(path) == 0
    assert validate(path, "--map", "mean_jaccard=broken") == 1


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["mean_jaccard"], "write column=their_column"),
        (["=x"], "write column=their_column"),
        (["jaccard=x"], "QCS-09 read no column jaccard; they read "),
        (["z=a", "z=b"], "is mapped twice"),
        (["z=a", "p=a"], "mapped twice|read no column p"),
    ],
)
def test_a_wrong_map_is_refused(pairs, message):
    with pytest.raises(UserTableError, match=message):
        column_map(pairs, [shipped_standards()[NULLS]])


def test_a_map_to_a_column_that_is_not_there_names_those_that_are(table, capsys):
    assert validate(table(), "--map", "null_sd=spread") == 2
    assert "--map names column spread; columns are " in capsys.readouterr().err


def test_a_repeated_column_is_refused():
    standard = shipped_standards()[NULLS]
    columns = [*required_columns(standard), required_columns(standard)[0]]
    with pytest.raises(UserTableError, match="more than once"):
        named_as_standards(pd.DataFrame([[1] * len(columns)], columns=columns), {}, [standard], "mine")


def test_an_empty_table_fails(table, capsys):
    path = table()
    pd.read_csv(path).head(0).to_csv(path, index=False)
    assert validate(path) == 1
    assert "rows (0)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "no such table"),
        ("nothing.csv", b"", "cannot be read as csv"),
        ("torn.parquet", b"PAR1torn", "cannot be read as parquet"),
        ("table.xlsx", b"x", "ending .xlsx is not known; bring parquet, csv, tsv or h5ad"),
        ("table", b"x", "ending missing is not known"),
        ("torn.h5ad", b"x", "cannot be read as h5ad"),
    ],
)
def test_a_table_that_cannot_be_read_is_invalid_and_named(tmp_path, capsys, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert validate(path, "--json", str(tmp_path / "out.json")) == 2
    assert f"qc-gate: invalid input: {path}: {message}" in capsys.readouterr().err
    assert json.loads((tmp_path / "out.json").read_text())["exit_code"] == 2


def test_a_number_that_is_text_is_not_evaluable(table, capsys):
    assert validate(table(mean_jaccard="high")) == 2
    assert "NOT EVALUABLE" in capsys.readouterr().out


def test_several_standards_are_held_against_one_table(tmp_path, capsys):
    one, other = (next(csv.DictReader(io.StringIO(example_csv(name, "passing")))) for name in ("QCS-13", "QCS-16"))
    path = tmp_path / "mine.csv"
    pd.DataFrame([{**one, **other}]).to_csv(path, index=False)
    options = ["--standard", "QCS-16", "--junit", str(tmp_path / "out.xml"), "--json", str(tmp_path / "out.json")]
    assert validate(path, *options, standard="QCS-13") == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert [entry["id"] for entry in report["standards"]] == ["QCS-13", "QCS-16"]
    cases = list(ET.parse(tmp_path / "out.xml").getroot().iter("testcase"))
    assert [case.get("name") for case in cases] == ["QCS-13", "QCS-16"]
    assert "no claim was judged" in capsys.readouterr().out


def test_standards_of_ones_own_are_held_and_shown(tmp_path, table, capsys):
    folder = tmp_path / "standards"
    folder.mkdir()
    source = next(STANDARDS_FOLDER.glob("QCS-09_*.yaml"))
    (folder / source.name).write_text(source.read_text().replace("QCS-09", "QCS-91"))
    (folder / source.name).rename(folder / source.name.replace("QCS-09", "QCS-91"))
    sarif = tmp_path / "out.sarif"
    options = ["--standards", str(folder), "--sarif", str(sarif)]
    assert validate(table(kind="failing"), *options, standard="QCS-91") == 1
    run = json.loads(sarif.read_text())["runs"][0]
    rule = run["tool"]["driver"]["rules"][run["results"][0]["ruleIndex"]]
    assert rule["id"] == "QCS-91"
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.endswith("standards/" + source.name.replace("QCS-09", "QCS-91"))
    assert validate(table(), *options, standard="QCS-09") == 2
    assert "unknown standard QCS-09; declared: QCS-91" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["validate", "t.csv"], ["validate", "--standard", "QCS-09"]])
def test_a_table_needs_a_standard_and_the_reverse(arguments, capsys):
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2
    assert "validate TABLE needs --standard ID" in capsys.readouterr().err


@pytest.fixture
def h5ad(tmp_path):
    """An h5ad file with the passing example under obs, the failing one under uns/mine."""
    import anndata
    import numpy as np

    passing, failing = (pd.read_csv(io.StringIO(example_csv(NULLS, kind))) for kind in ("passing", "failing"))
    passing.index = passing.index.astype(str)
    data = anndata.AnnData(X=np.zeros((len(passing), 1), dtype=np.float32), obs=passing, uns={"mine": failing, "n": 3})
    path = tmp_path / "mine.h5ad"
    data.write_h5ad(path)
    return path


def test_tables_of_an_h5ad_file(h5ad, capsys):
    assert validate(h5ad) == 0
    assert validate(h5ad, "--place", "uns/mine") == 1
    assert validate(h5ad, "--place", "uns/n") == 2
    assert "no table at uns/n; tables are obs, var, uns/mine" in capsys.readouterr().err


def test_text_of_an_h5ad_file_is_plain_text(h5ad):
    assert not [name for name, kind in read_table(h5ad).dtypes.items() if kind == "category"]


def test_without_anndata_the_extra_is_named(h5ad, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "anndata", None)
    assert validate(h5ad) == 2
    assert 'pip install "interp-assets[h5ad]"' in capsys.readouterr().err


def test_validating_a_csv_file_imports_no_anndata(table):
    code = (
        "import sys\nfrom qc_standards.cli import main\n"
        f"code = main(['validate', {str(table())!r}, '--standard', 'QCS-09'])\n"
        "sys.exit(code or sorted({'anndata', 'scanpy', 'torch', 'dagster', 'sklearn'} & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
