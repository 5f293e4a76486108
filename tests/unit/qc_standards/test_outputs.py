"""Every format of the gate tells the same verdict, and tells it in the format's own schema."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
import xmlschema

from qc_standards.cli import main
from qc_standards.outputs.findings import Finding, Report, Standing, Weight, invalid_input
from qc_standards.outputs.junit import junit
from qc_standards.outputs.sarif import sarif
from qc_standards.standards import shipped_standards

SCHEMAS = Path(__file__).with_name("schemas")
CRITERIA = ("beats_gene_level_baselines", "adds_incremental_value", "survives_confounds_and_degree")
VERDICTS = {
    "supported": ("cleared", 0),
    "refuted": ("closed", 1),
    "inconclusive": ("closed", 1),
    "not evaluable": ("not evaluable", 2),
    "invalid": ("invalid input", 2),
    "wrong claims": ("invalid input", 2),
}


@dataclass(frozen=True)
class Told:
    """Everything one run of `qc-gate check` told."""

    code: int
    out: str
    err: str
    junit: ET.Element
    sarif: dict
    json: dict
    markdown: str
    files: dict[str, Path]


@pytest.fixture(scope="module")
def sarif_schema():
    return jsonschema.Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text()))


@pytest.fixture(scope="module")
def junit_schema():
    return xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd"))


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Run `qc-gate check` in an own folder with every output; the claims file lies there as ``claims.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    def run(folder, claims="", *more):
        files = {name: tmp_path / f"out.{name}" for name in ("junit", "sarif", "json", "markdown")}
        options = [item for name, path in files.items() for item in (f"--{name}", str(path))]
        if claims:
            (tmp_path / "claims.yaml").write_text(claims)
            options += ["--claims", "claims.yaml"]
        code = main(["check", str(folder), *options, "--github", *more])
        out = capsys.readouterr()
        return Told(
            code=code,
            out=out.out,
            err=out.err,
            junit=ET.parse(files["junit"]).getroot(),
            sarif=json.loads(files["sarif"].read_text()),
            json=json.loads(files["json"].read_text()),
            markdown=files["markdown"].read_text(),
            files=files,
        )

    return run


def asserting(*claims):
    return "claims:\n" + "".join(f"  - {name}\n" for name in claims)


@pytest.fixture
def told(request, check, planted, planted_folder, refuted_folder, tmp_path):
    """What is told about an input of the given kind."""
    kind = request.param
    if kind == "supported":
        return kind, check(planted_folder, asserting(*CRITERIA))
    if kind == "refuted":
        return kind, check(refuted_folder, asserting(*CRITERIA))
    if kind == "inconclusive":
        planted.set("incremental_value", {"edge": "attention", "split": "joint"}, ci_low=-0.01)
        return kind, check(planted.write(tmp_path / "store" / "open"), asserting(*CRITERIA))
    if kind == "not evaluable":
        del planted.tables["incremental_value"]
        return kind, check(planted.write(tmp_path / "store" / "gap"), asserting(*CRITERIA))
    if kind == "wrong claims":
        return kind, check(planted_folder, "claims:\n  - beats_gene_level_baselines\n  - attention_is_magic\n")
    folder = shutil.copytree(planted_folder, tmp_path / "edited")
    text = (folder / "verdict.json").read_text()
    (folder / "verdict.json").write_text(text.replace('"not evaluable', '"supported'))
    return kind, check(folder, asserting(*CRITERIA))


every_kind = pytest.mark.parametrize("told", list(VERDICTS), indirect=True)


def verdict_of_junit(root):
    suites = {suite.get("name"): suite for suite in root}
    if "input" in suites:
        assert set(suites) == {"input"}
        return "invalid input"
    claims = suites["claims"]
    if int(claims.get("errors")):
        return "not evaluable"
    if int(claims.get("failures")):
        return "closed"
    assert root.get("failures") == root.get("errors") == "0"
    return "cleared"


def claim_results(log):
    return [r for r in log["runs"][0]["results"] if not r["ruleId"].startswith("QCS-")]


def verdict_of_sarif(log):
    run = log["runs"][0]
    if not run["invocations"][0]["executionSuccessful"]:
        assert run["invocations"][0]["toolExecutionNotifications"]
        assert {result["ruleId"] for result in run["results"]} == {"invalid-input"}
        return "invalid input"
    texts = [result["message"]["text"].splitlines()[0] for result in claim_results(log)]
    if any(" not evaluable" in text for text in texts):
        return "not evaluable"
    return "closed" if texts else "cleared"


def verdict_of_annotations(out):
    titles = re.findall(r"^::\w+ .*?title=([^:]*)::", out, flags=re.M)
    if any(title == "invalid input" for title in titles):
        return "invalid input"
    labels = [title.split("%3A ")[1] for title in titles]
    if any(label.startswith("not evaluable") for label in labels):
        return "not evaluable"
    return "cleared" if all(label.startswith("supported") for label in labels) else "closed"


@every_kind
def test_all_outputs_tell_the_same_verdict(told):
    kind, said = told
    verdict, code = VERDICTS[kind]
    assert said.code == code
    assert (said.json["state"], said.json["exit_code"]) == (verdict, code)
    assert verdict_of_junit(said.junit) == verdict
    assert verdict_of_sarif(said.sarif) == verdict
    assert said.sarif["runs"][0]["invocations"][0]["exitCode"] == code
    assert verdict_of_annotations(said.out) == verdict
    if verdict == "invalid input":
        assert "**invalid input**" in said.markdown
        assert said.err.startswith("qc-gate: invalid input: ")
        assert "VERDICT" not in said.out
    else:
        assert f"Together: **{verdict}** (exit code {code})" in said.markdown
        assert said.out.count("VERDICT  ") == len(said.json["asserted"])


@every_kind
def test_outputs_follow_their_schemas(told, sarif_schema, junit_schema):
    _, said = told
    assert not [error.message for error in sarif_schema.iter_errors(said.sarif)]
    junit_schema.validate(str(said.files["junit"]))


def test_the_schemas_can_refuse(sarif_schema, junit_schema):
    assert list(sarif_schema.iter_errors({"version": "2.1.0", "runs": [{"results": []}]}))
    assert list(sarif_schema.iter_errors({"version": "2.1.0", "runs": [], "extra": 1}))
    assert not junit_schema.is_valid("<testsuites><testsuite name='x'/></testsuites>")
    assert not junit_schema.is_valid("<testsuites><testcase name='x'/></testsuites>")


@pytest.mark.parametrize("told", ["refuted"], indirect=True)
def test_a_result_points_at_the_line_that_asserts_it(told):
    _, said = told
    run = said.sarif["runs"][0]
    places = {}
    for result in claim_results(said.sarif):
        physical = result["locations"][0]["physicalLocation"]
        assert physical["artifactLocation"] == {"uri": "claims.yaml", "uriBaseId": "%SRCROOT%"}
        places[result["ruleId"]] = physical["region"]["startLine"]
        rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
        assert rule["id"] == result["ruleId"]
        assert rule["help"]["text"]
        assert rule["properties"]["version"]
        assert result["level"] == "error"
    assert places == {name: line for line, name in enumerate(CRITERIA, start=2)}
    for line, name in enumerate(CRITERIA, start=2):
        assert f"::error file=claims.yaml,line={line},title={name}%3A refuted (provisional)::criterion" in said.out
    assert "%SRCROOT%" in run["originalUriBaseIds"]


def test_without_a_claims_file_a_result_points_at_the_declaration(check, refuted_folder):
    from qc_standards.claims import CLAIMS_FILE

    said = check(refuted_folder)
    place = claim_results(said.sarif)[0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "registry/claims.yaml", "uriBaseId": "QC_STANDARDS"}
    line = CLAIMS_FILE.read_text().splitlines()[place["region"]["startLine"] - 1]
    assert line.strip() == "- id: attention_is_regulatory"
    assert "::error title=attention_is_regulatory%3A refuted (provisional)::" in said.out


@pytest.mark.parametrize("told", ["wrong claims"], indirect=True)
def test_a_wrong_line_is_named_in_every_format(told):
    _, said = told
    assert "claims.yaml:3: unknown claim attention_is_magic" in said.err
    assert "::error file=claims.yaml,line=3,title=invalid input::" in said.out
    run = said.sarif["runs"][0]
    for item in (run["results"][0], run["invocations"][0]["toolExecutionNotifications"][0]):
        assert item["locations"][0]["physicalLocation"]["region"]["startLine"] == 3
    assert said.json["problems"][0]["line"] == 3
    assert "attention_is_magic" in said.junit[0][0][0].text
    assert "attention_is_magic" in said.markdown


def test_the_same_input_gives_the_same_bytes_and_a_moved_line_the_same_fingerprint(check, refuted_folder):
    first = check(refuted_folder, asserting(*CRITERIA))
    before = {name: path.read_bytes() for name, path in first.files.items()}
    again = check(refuted_folder, asserting(*CRITERIA))
    assert {name: path.read_bytes() for name, path in again.files.items()} == before
    moved = check(refuted_folder, "# what we say about our model\n\n" + asserting(*CRITERIA))

    def prints(told):
        return [result["partialFingerprints"] for result in told.sarif["runs"][0]["results"]]

    assert prints(moved) == prints(first)
    assert moved.sarif != first.sarif


def test_a_warning_is_told_and_turns_nothing_red(check, make_release, tmp_path, sarif_schema, junit_schema):
    release = make_release()
    release.tables["evaluation"]["trained_on_evaluated_cells"] = True
    said = check(release.write(tmp_path / "store" / "seen"), asserting("beats_gene_level_baselines"))
    assert said.code == 0
    assert (said.junit.get("failures"), said.junit.get("errors")) == ("0", "0")
    told = [r for r in said.sarif["runs"][0]["results"] if r["ruleId"] == "QCS-16"]
    assert [r["level"] for r in told] == ["warning"]
    assert told[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].startswith("standards/QCS-16_")
    case = next(c for c in said.junit.iter("testcase") if c.get("name") == "QCS-16")
    assert case.find("system-out").text.startswith("warning: fail")
    junit_schema.validate(str(said.files["junit"]))
    assert not list(sarif_schema.iter_errors(said.sarif))


def test_a_standard_that_closes_a_claim_is_red_and_one_that_does_not_is_told(check, planted, tmp_path):
    planted.set("evaluability", {"stage": "scorable"}, pairs=99999)  # breaks QCS-10
    folder = planted.write(tmp_path / "store" / "grown")
    closed = check(folder, asserting("beats_gene_level_baselines"))
    assert closed.code == 2
    red = {case.get("name"): case for case in closed.junit.iter("testcase")}
    assert red["QCS-10"].find("failure") is not None
    spared = check(folder, asserting("survives_confounds_and_degree"))
    assert spared.code == 0
    calm = {case.get("name"): case for case in spared.junit.iter("testcase")}
    assert calm["QCS-10"].find("failure") is None
    assert calm["QCS-10"].find("system-out") is not None
    assert [r["level"] for r in spared.sarif["runs"][0]["results"] if r["ruleId"] == "QCS-10"] == ["warning"]


def test_annotations_come_by_themselves_only_in_a_workflow(refuted_folder, capsys, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    main(["check", str(refuted_folder)])
    assert "::error" not in capsys.readouterr().out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    main(["check", str(refuted_folder)])
    assert "::error title=attention_is_regulatory%3A refuted (provisional)::criterion a fail" in capsys.readouterr().out


def finding(standing, weight=Weight.DECIDES, **changes):
    values = {"rule": "QCS-01", "group": "standard", "title": "t", "state": "s", "label": "s"}
    return Finding(**{**values, "standing": standing, "weight": weight, **changes})


@pytest.mark.parametrize(
    ("standings", "verdict", "code"),
    [
        ((), "not evaluable", 2),
        (("does not apply",), "not evaluable", 2),
        (("cleared", "does not apply"), "cleared", 0),
        (("cleared", "closed"), "closed", 1),
        (("cleared", "closed", "not evaluable"), "not evaluable", 2),
        (("not evaluable", "does not apply"), "not evaluable", 2),
    ],
)
def test_the_exit_code_rests_on_what_decides(standings, verdict, code):
    decided = tuple(finding(Standing(standing)) for standing in standings)
    shown = tuple(finding(standing, Weight.ADVISES) for standing in Standing)
    report = Report(title="x", identity="x", findings=(*decided, *shown))
    assert (report.verdict, report.exit_code) == (verdict, code)


def test_a_problem_outweighs_every_finding():
    found = Report(title="x", identity="x", findings=(finding(Standing.CLEARED),))
    invalid = Report(
        title="x", identity="x", findings=found.findings, problems=invalid_input(ValueError("y"), "x").problems
    )
    assert (found.exit_code, invalid.exit_code) == (0, 2)


def test_junit_holds_no_character_that_xml_cannot(junit_schema, tmp_path):
    odd = finding(Standing.CLOSED, reasons=("nul \x00 bell \x07 half \ud800 end \uffff <&> ok",))
    text = junit(Report(title="x", identity="a/b", findings=(odd,)))
    (tmp_path / "odd.xml").write_text(text, encoding="utf-8")
    junit_schema.validate(str(tmp_path / "odd.xml"))
    assert ET.fromstring(text)[0][0][0].text == "nul  bell  half  end  <&> ok"


def test_rules_are_all_declared_claims_and_standards_whatever_was_judged():
    log = json.loads(sarif(Report(title="x", identity="x", findings=(finding(Standing.CLEARED),))))
    rules = {rule["id"]: rule for rule in log["runs"][0]["tool"]["driver"]["rules"]}
    assert set(shipped_standards()) < set(rules)
    standard = shipped_standards()["QCS-09"]
    assert rules["QCS-09"]["help"]["text"].startswith(standard.how_to_fix)
    assert rules["QCS-09"]["properties"]["version"] == standard.version
    assert "attention_is_regulatory" in rules
    assert log["runs"][0]["results"] == []
