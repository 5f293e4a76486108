import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from qc_standards.cli import main


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
    assert suites["standards"].get("skipped") == "13"
    report = json.loads(files["json"].read_text())
    assert report["exit_code"] == 1
    assert report["verdict"]["headline"]["state"] == "refuted"
    assert "**refuted**" in files["markdown"].read_text()


def test_exit_codes_follow_the_asserted_claims(planted_folder, tmp_path, capsys):
    cleared = ("beats_gene_level_baselines", "adds_incremental_value", "survives_confounds_and_degree")
    assert main(["check", str(planted_folder), "--claims", claims_file(tmp_path, *cleared)]) == 0
    assert main(["check", str(planted_folder)]) == 2
    text = capsys.readouterr().out
    assert "causal ablation not built" in text
    mixed = claims_file(tmp_path, "beats_gene_level_baselines", "published_baselines_win")
    assert main(["check", str(planted_folder), "--claims", mixed]) == 1


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


def test_annotations_only_inside_a_workflow(refuted_folder, capsys, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    main(["check", str(refuted_folder)])
    assert "::error" not in capsys.readouterr().out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    main(["check", str(refuted_folder)])
    assert "::error title=attention_is_regulatory%3A refuted::criterion a fail" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("QCS-09", "mean Jaccard distance"),
        ("QCS-17", "applies where release_kind is release and layer_selected is True"),
        ("QCS-23", "declared tests: A35.1, A35.2, A35.3"),
        ("published_matched_gain_null", "QCS-23"),
        ("attention_is_regulatory", "control-planted"),
        ("c", "degree-preserving"),
        ("A21.5", "published values (never computed here)"),
    ],
)
def test_explain(capsys, name, words):
    assert main(["explain", name]) == 0
    assert words in capsys.readouterr().out


def test_explain_unknown(capsys):
    assert main(["explain", "QCS-99"]) == 2
    assert "QCS-99" in capsys.readouterr().err


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


def test_help_list_and_explain_stay_light():
    code = (
        "import sys\nfrom qc_standards.cli import main\n"
        "main(['list']); main(['explain', 'QCS-05']); main(['explain', 'attention_is_regulatory'])\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'great_expectations', 'pandas', 'numpy', 'scipy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "exit codes of `check`" in done.stdout
