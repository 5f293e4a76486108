"""Suites for plain Great Expectations: opened where this package cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from qc_standards.cli import main
from qc_standards.gx_export import COLUMNS
from qc_standards.standards import shipped_standards

ACTIVE = sorted(name for name, standard in shipped_standards().items() if standard.status == "active")

# Run in a process of its own: what a laboratory with Great Expectations and nothing of ours would do.
PLAIN = """
import json, sys, warnings
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("qc_standards", "interp_assets"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
warnings.simplefilter("ignore")
import great_expectations as gx
import pandas as pd

folder = Path(sys.argv[1])
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
whole = context.data_sources.add_pandas("x").add_dataframe_asset("x").add_batch_definition_whole_dataframe("x")
told = {}
for name, entry in json.loads((folder / "index.json").read_text())["standards"].items():
    if "suite" not in entry:
        continue
    content = json.loads((folder / entry["suite"]).read_text())
    suite = gx.ExpectationSuite(**content)
    types = sorted(item.expectation_type for item in suite.expectations)
    assert types == sorted(item["type"] for item in content["expectations"]), f"{name}: types were dropped"
    for kind, table in entry["tables"].items():
        result = whole.get_batch({"dataframe": pd.read_csv(folder / table)}).validate(suite)
        raised = [r for r in result.results if (r.exception_info or {}).get("raised_exception")]
        assert result.statistics["evaluated_expectations"] == len(types) and not raised, name
        told[f"{name} {kind}"] = bool(result.success)
assert not {"qc_standards", "interp_assets"} & set(sys.modules)
print(json.dumps(told))
"""


def opened(folder):
    done = subprocess.run([sys.executable, "-c", PLAIN, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def exported(folder, *results):
    assert main(["export", "--gx", str(folder), *map(str, results)]) == 0
    return folder


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("export") / "gx")


def test_plain_great_expectations_sees_every_example_as_we_do(examples):
    told = opened(examples)
    assert sorted(told) == sorted(f"{name} {kind}" for name in ACTIVE for kind in ("passing", "failing"))
    wrong = [name for name, success in told.items() if success != name.endswith("passing")]
    assert not wrong


def test_a_table_that_was_cut_or_edited_is_refused(examples, tmp_path):
    folder = tmp_path / "cut"
    folder.mkdir()
    suite = "QCS-09.suite.json"
    (folder / suite).write_text((examples / suite).read_text())
    lines = (examples / "QCS-09.passing.csv").read_text().splitlines(keepends=True)
    failing = (examples / "QCS-09.failing.csv").read_text().splitlines(keepends=True)
    broken = next(i for i, line in enumerate(failing) if line.rstrip().endswith("False"))
    tables = {
        "whole": lines,
        "empty": lines[:1],
        "one row less": lines[:-1],
        "twice": [*lines[:-1], lines[1]],
        "failed row left out": [line for i, line in enumerate(failing) if i != broken],
        "no verdict": [*lines[:-1], lines[-1].replace("True", "")],
        "another standard": [line.replace("QCS-09", "QCS-08") for line in lines],
        "another version": [line.replace(f",{shipped_standards()['QCS-09'].version},", ",0.0.9,") for line in lines],
        "columns in another order": [",".join(reversed(lines[0].strip().split(","))) + "\n", *lines[1:]],
    }
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text("".join(text))
    entry = {"suite": suite, "tables": {name: f"{name}.csv" for name in tables}}
    (folder / "index.json").write_text(json.dumps({"standards": {"QCS-09": entry}}))
    assert opened(folder) == {f"QCS-09 {name}": name == "whole" for name in tables}


def test_suites_hold_core_expectations_and_nothing_random(examples, tmp_path):
    again = exported(tmp_path / "again")
    names = sorted(path.name for path in examples.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    for name in names:
        text = (examples / name).read_bytes()
        assert text == (again / name).read_bytes(), name
        assert b'"id"' not in text
    import great_expectations.expectations as gxe

    for name in ACTIVE:
        suite = json.loads((examples / f"{name}.suite.json").read_text())
        for item in suite["expectations"]:
            assert hasattr(gxe, "".join(part.capitalize() for part in item["type"].split("_")))
        assert suite["meta"]["content_hash"] == shipped_standards()[name].content_hash
        assert (examples / f"{name}.passing.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_the_metrics_of_an_evaluation_are_exported(planted, tmp_path, capsys):
    planted.set("evaluability", {"stage": "scorable"}, pairs=99999)  # QCS-10 fails
    del planted.tables["incremental_power"]
    del planted.tables["residual_summary"]  # QCS-08 is not evaluable
    folder = exported(tmp_path / "gx", planted.write(tmp_path / "store" / "control-planted"))
    index = json.loads((folder / "index.json").read_text())["standards"]
    assert sorted(index) == ACTIVE
    assert "suite" not in index["QCS-11"]
    assert index["QCS-11"]["reason"] == "does not apply where release_kind is positive_control"
    told = opened(folder)
    assert told["QCS-01 results"] is True
    assert told["QCS-10 results"] is False
    assert told["QCS-08 results"] is False
    assert set(told) == {f"{name} results" for name, entry in index.items() if "suite" in entry}
    for name, success in told.items():
        assert success == (index[name.split()[0]]["outcome"] == "pass"), name
    text = (folder / "QCS-10.csv").read_text()
    assert "`grown` is 0" in text


def test_invalid_results_are_not_exported(refuted_folder, copy_of, tmp_path, capsys):
    folder = copy_of(refuted_folder)
    (folder / "claims.json").write_text((folder / "claims.json").read_text().replace("refuted", "supported"))
    assert main(["export", "--gx", str(tmp_path / "gx"), str(folder)]) == 2
    assert "nothing exported" in capsys.readouterr().err
    assert not (tmp_path / "gx").exists()


def test_an_export_is_not_mixed_with_another(examples, refuted_folder, tmp_path, capsys):
    folder = exported(tmp_path / "gx", refuted_folder)
    exported(folder, refuted_folder)
    assert main(["export", "--gx", str(folder)]) == 2
    assert "which this export does not write; name an empty folder" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["export", "--gx", str(tmp_path / "file")]) == 2
