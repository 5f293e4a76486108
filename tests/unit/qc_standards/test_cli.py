import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from qc_standards.cli import main
from qc_standards.standards import required_columns, shipped_standards


def claims_file(tmp_path, *ids):
    path = tmp_path / "claims.yaml"
    path.write_text("claims:\n" + "".join(f"  - {name}\n" for name in ids))
    return str(path)


def test_refuted_control_exits_1_with_reasons_before_the_verdict(refuted_folder, capsys, tmp_path):
    files = {name: tmp_path / f"out.{name}" for name in ("junit", "json", "markdown")}
    options = [item for name, path in files.items() for item in (f"--{name}", str(path))]
    assert main(["check", str(refuted_folder), *options]) == 1
    text = capsys.readouterr().out
    assert text.index("because  criterion a fail") < text.index("VERDICT  REFUTED")
    suites = {suite.get("name"): suite for suite in ET.parse(files["junit"]).getroot()}
    assert (suites["claims"].get("failures"), suites["claims"].get("errors")) == ("1", "0")
    report = json.loads(files["json"].read_text())
    idle = [entry["id"] for entry in report["standards"]["standards"] if not entry["applies"]]
    assert "QCS-11" in idle
    assert suites["standards"].get("skipped") == str(len(idle))
    assert report["exit_code"] == 1
    assert report["verdict"]["headline"]["state"] == "refuted"
    assert "**refuted (provisional)**" in files["markdown"].read_text()


def test_exit_codes_follow_the_asserted_claims(planted, planted_folder, tmp_path, capsys):
    cleared = ("beats_gene_level_baselines", "adds_incremental_value", "survives_confounds_and_degree")
    assert main(["check", str(planted_folder), "--claims", claims_file(tmp_path, *cleared)]) == 0
    mixed = claims_file(tmp_path, "beats_gene_level_baselines", "published_baselines_win")
    assert main(["check", str(planted_folder), "--claims", mixed]) == 1
    del planted.tables["residual_summary"]
    folder = planted.write(tmp_path / "store" / "control-planted")
    assert main(["check", str(folder)]) == 2
    assert "because  criterion c not evaluable" in capsys.readouterr().out
    assert main(["check", str(folder), "--claims", claims_file(tmp_path, *cleared)]) == 2
    assert main(["check", str(folder), "--claims", claims_file(tmp_path, cleared[0])]) == 0


@pytest.mark.parametrize("what", ["truncated", "unknown claim", "edited", "absent"])
def test_invalid_input_exits_2_with_one_clear_error(refuted_folder, copy_of, tmp_path, capsys, what):
    folder, options = copy_of(refuted_folder), []
    if what == "truncated":
        data = (folder / "tests.parquet").read_bytes()
        (folder / "tests.parquet").write_bytes(data[:1000])
    elif what == "edited":
        text = (folder / "verdict.json").read_text()
        (folder / "verdict.json").write_text(text.replace('"refuted"', '"supported"'))
    elif what == "absent":
        folder = folder / "nothing"
    else:
        options = ["--claims", claims_file(tmp_path, "attention_is_magic")]
    junit = tmp_path / "junit.xml"
    assert main(["check", str(folder), *options, "--junit", str(junit)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("qc-gate: invalid input: ")
    assert "Traceback" not in captured.err
    assert ET.parse(junit).getroot()[0].get("errors") == "1"


@pytest.mark.parametrize(
    ("names", "code", "words"),
    [
        (["QCS-01"], 0, "VERDICT  PASS"),
        (["QCS-10"], 1, "VERDICT  FAIL"),
        (["QCS-01", "QCS-10", "QCS-01"], 1, "VERDICT  FAIL"),
        (["QCS-08"], 2, "VERDICT  NOT EVALUABLE"),
        (["QCS-10", "QCS-08"], 2, "VERDICT  NOT EVALUABLE"),
        (["QCS-11"], 2, "VERDICT  DOES NOT APPLY"),
        (["QCS-01", "QCS-11"], 0, "VERDICT  DOES NOT APPLY"),
    ],
)
def test_named_standards_decide_alone_and_clear_no_claim(planted, tmp_path, capsys, names, code, words):
    planted.set("evaluability", {"stage": "scorable"}, pairs=99999)  # QCS-10 fails
    del planted.tables["residual_summary"]  # QCS-08 has no table
    folder = planted.write(tmp_path / "store" / "control-planted")
    options = [item for name in names for item in ("--standard", name)]
    files = ["--json", str(tmp_path / "out.json"), "--junit", str(tmp_path / "out.xml")]
    assert main(["check", str(folder), *options, *files]) == code
    text = capsys.readouterr().out
    assert words in text
    assert text.count("VERDICT") == len(set(names))
    assert "no claim was judged" in text
    report = json.loads((tmp_path / "out.json").read_text())
    assert set(report) == {"standards", "state", "exit_code"}
    root = ET.parse(tmp_path / "out.xml").getroot()
    assert [suite.get("name") for suite in root] == ["standards"]
    assert (root.get("failures"), root.get("errors")) != ("0", "0") or "DOES NOT APPLY" in words or code == 0


@pytest.mark.parametrize("name", ["QCS-99", "attention_is_regulatory", ""])
def test_an_unknown_standard_is_invalid(planted_folder, capsys, name):
    assert main(["check", str(planted_folder), "--standard", name]) == 2
    assert f"unknown standard {name}; declared: QCS-01" in capsys.readouterr().err


def test_a_standard_of_invalid_results_is_invalid(refuted_folder, copy_of, capsys):
    folder = copy_of(refuted_folder)
    (folder / "verdict.json").write_text((folder / "verdict.json").read_text().replace('"refuted"', '"supported"'))
    assert main(["check", str(folder), "--standard", "QCS-01"]) == 2
    assert "stored verdict differs" in capsys.readouterr().err


def test_claims_and_standards_are_not_mixed(planted_folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        main(["check", str(planted_folder), "--standard", "QCS-01", "--claims", claims_file(tmp_path, "causally_used")])
    assert done.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("error", [TypeError("'<' not supported"), KeyError("auroc"), RuntimeError("dropped")])
def test_whatever_breaks_while_judging_is_invalid_and_never_refuted(
    refuted_folder, tmp_path, capsys, monkeypatch, error
):
    def broken(*_):
        raise error

    monkeypatch.setattr("qc_standards.gate.judge", broken)
    junit = tmp_path / "junit.xml"
    assert main(["check", str(refuted_folder), "--junit", str(junit)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"qc-gate: invalid input: could not be judged: {type(error).__name__}: ")
    assert "test_cli.py, line" in told
    assert ET.parse(junit).getroot().get("errors") == "1"


def test_an_output_that_cannot_be_written_is_no_success(planted_folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    claims = claims_file(tmp_path, "beats_gene_level_baselines")
    assert main(["check", str(planted_folder), "--claims", claims, "--sarif", str(tmp_path / "file" / "x")]) == 2
    assert "nothing more was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("QCS-09", "mean Jaccard distance"),
        ("QCS-17", "Applies where `release_kind` is release and `layer_selected` is true"),
        ("QCS-23", "tests A35.1, A35.2, A35.3 say why"),
        ("published_matched_gain_null", "QCS-23"),
        ("attention_is_regulatory", "control-planted"),
        ("c", "degree-preserving"),
        ("A21.5", "published values (never computed here)"),
    ],
)
def test_explain(capsys, name, words):
    assert main(["explain", name]) == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["QCS-99"], ["QCS-99", "--example", "passing"], ["c", "--example", "failing"]])
def test_explain_unknown(capsys, arguments):
    assert main(["explain", *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err


def test_explain_shows_the_columns_of_a_table_of_ones_own(capsys):
    assert main(["explain", "QCS-09"]) == 0
    text = capsys.readouterr().out
    assert "qc-gate validate TABLE --standard QCS-09" in text
    for column in required_columns(shipped_standards()["QCS-09"]):
        assert column in text.split("columns:")[1]


def test_list(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert "attention_is_regulatory" in text
    assert "QCS-01" in text
    assert main(["list", "tests"]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 154


def test_validate(capsys):
    assert main(["validate"]) == 0
    assert "153 tests" in capsys.readouterr().out


def test_validate_names_a_broken_standard(tmp_path, capsys):
    from qc_standards.standards import STANDARDS_FOLDER

    text = (STANDARDS_FOLDER / "QCS-16_cells_unseen_by_release.yaml").read_text()
    (tmp_path / "QCS-16_cells_unseen_by_release.yaml").write_text(
        text.replace("value_set: [false]", "value_set: [true]")
    )
    assert main(["validate", "--standards", str(tmp_path)]) == 2
    assert "QCS-16 passing example fails ['unseen-cells']" in capsys.readouterr().err


def test_help_list_explain_and_claims_stay_light(tmp_path):
    code = (
        "import sys\nfrom qc_standards.cli import main\n"
        "main(['list']); main(['explain', 'QCS-05']); main(['explain', 'attention_is_regulatory'])\n"
        "main(['explain', 'QCS-05', '--example', 'failing']); main(['claims', sys.argv[1]])\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'great_expectations', 'pandas', 'numpy', 'scipy', 'pyarrow', 'anndata'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, claims_file(tmp_path, "causally_used")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "exit codes of `check`" in done.stdout
