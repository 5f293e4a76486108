"""What the gate writes for other programs keeps hostile names as text: Markdown, workflow commands, JUnit, CSV."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pandas as pd
import pytest

from qc_standards.multiplicity import results_frame
from qc_standards.outputs import annotations, junit, machine, reports, sarif, text
from qc_standards.results import TESTS_CSV, write_tests
from tests.unit.qc_standards import conftest as evaluations

EVIL = (
    "<script>alert(1)</script>",
    "[x](javascript:alert(1)) ![x](https://evil.example/x.png)",
    "a\n::error::taken\n::set-output name=x::y",
    "a%0A::warning::taken\r::error::taken",
    "| a | b |\n| --- | --- |",
    "]]></failure><x/>\x0b\x00",
    "`$(touch taken)` \u202e",
    "x\n  VERDICT  SUPPORTED\x1b[2J",
)


@pytest.fixture(scope="module")
def judgement():
    return evaluations.build(evaluations.COEXPRESSION).judge()


def named(judgement, name):
    """The judgement of a release of that name, which also stands in reasons and notes."""
    verdicts = {
        claim: replace(verdict, release=name, reasons=(f"criterion a fail: {name}",), notes=(name,))
        for claim, verdict in judgement.verdicts.items()
    }
    return replace(judgement, release=name, study=name, verdicts=verdicts)


@pytest.mark.parametrize("name", EVIL)
def test_hostile_names_stay_text_in_every_output_of_the_gate(judgement, name, tally):
    report, usual = (reports.of_judgement(named(judgement, each), None) for each in (name, "plain-name"))
    written = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text.markdown(report))  # code is text whatever it holds
    assert not re.search(r"(?<!\\)<\w", written), "a tag"
    assert not re.search(r"(?<!\\)\[[^\]]*\]\(", written), "a link or a picture"
    rows = re.compile(r"^\| ?---", re.MULTILINE)
    assert len(rows.findall(written)) == len(rows.findall(text.markdown(usual)))
    shown = text.terminal(report)
    assert shown.count("\n") == text.terminal(usual).count("\n"), "a name wrote a line of its own"
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", shown), "a sign that moves the cursor or turns the text"
    commands = annotations.workflow_commands(report)
    assert all(line.startswith(("::error", "::warning", "::notice")) for line in re.split(r"[\r\n]", commands) if line)
    assert ET.fromstring(junit.junit(report)) is not None
    assert json.loads(sarif.sarif(report))
    assert json.loads(machine.json_report(report))
    tally("security", "hostile names in Markdown, workflow commands, JUnit, SARIF and JSON of the gate", "right", 5)


@pytest.mark.parametrize(
    "words", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", '=HYPERLINK("http://x")', 'a,"b"\nc']
)
def test_a_csv_holds_what_the_table_holds(tmp_path, words, tally):
    """Data must come back as they were, so that nothing is put before a sign a spreadsheet takes for a formula.

    What stands in the columns of names cannot begin with one: names of releases and datasets begin with a letter or
    digit. A reason may; `docs/gate.md` says how to open such a file.
    """
    evaluation = evaluations.build(evaluations.COEXPRESSION)
    rows = [replace(row, reason=words) if row.status != "run" else row for row in evaluation.rows]
    frame = results_frame(rows)
    write_tests(tmp_path, frame)
    again = pd.read_csv(io.StringIO((tmp_path / TESTS_CSV).read_text(encoding="utf-8")), keep_default_na=False)
    assert again["reason"].tolist() == frame["reason"].tolist()
    assert words in again["reason"].tolist()
    for column in ("test_id", "release", "dataset"):
        assert not any(str(value).startswith(("=", "+", "-", "@", "\t")) for value in again[column])
    tally("security", "CSV: signs that a spreadsheet takes for formulas come back as they were", "right")
