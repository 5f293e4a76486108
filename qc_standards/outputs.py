"""A judgement as text for people and machines: terminal lines, markdown, JUnit, JSON, CI annotations.

What belongs here: formats. What does not: any decision. Reasons come before the verdict line everywhere.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qc_standards import documents
from qc_standards.records import Outcome, VerdictState
from qc_standards.suites import StandardResult
from qc_standards.verdicts import Judgement, Verdict

EXIT_CLEARED: Final = 0
EXIT_CLOSED: Final = 1
EXIT_INVALID: Final = 2

_ANNOTATION: Final[Mapping[VerdictState, str]] = MappingProxyType(
    {
        VerdictState.SUPPORTED: "notice",
        VerdictState.INCONCLUSIVE: "warning",
        VerdictState.REFUTED: "error",
        VerdictState.NOT_EVALUABLE: "error",
    }
)


def exit_code(judgement: Judgement) -> int:
    """2 if any asserted claim is not evaluable; else 1 if any is refuted or inconclusive; else 0."""
    states = {verdict.state for verdict in judgement.asserted_verdicts}
    if not states or VerdictState.NOT_EVALUABLE in states:
        return EXIT_INVALID
    return EXIT_CLEARED if states == {VerdictState.SUPPORTED} else EXIT_CLOSED


def _suffix(verdict: Verdict) -> str:
    marks = [name for name, on in (("provisional", verdict.provisional), ("untrained", verdict.untrained)) if on]
    return f" ({', '.join(marks)})" if marks else ""


def terminal(judgement: Judgement) -> str:
    """Asserted claims with their reasons, most important first, then one verdict line each."""
    lines = [f"{judgement.release} in study {judgement.study}"]
    for verdict in judgement.asserted_verdicts:
        lines += ["", f"{verdict.claim}: {verdict.sentence}"]
        lines += [f"  because  {reason}" for reason in verdict.reasons]
        lines += [f"  note     {note}" for note in verdict.notes]
        lines.append(f"  level    {verdict.evidence_level}; {verdict.polarity}")
        lines.append(f"  VERDICT  {verdict.label.upper()}{_suffix(verdict)}")
    counts = ", ".join(f"{count} {status}" for status, count in judgement.counts.items())
    families = ", ".join(f"{name} {count}" for name, count in judgement.significant.items())
    lines += ["", f"rows: {counts}; significant: {families}"]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def markdown(judgement: Judgement) -> str:
    """Summary for a pull request or job page: reasons, verdicts, criteria and standards that did not pass."""
    lines = [f"## {judgement.release} in study {judgement.study}", ""]
    for verdict in judgement.asserted_verdicts:
        lines += [f"### {verdict.claim}", "", verdict.sentence, ""]
        lines += [f"- {_cell(text)}" for text in (*verdict.reasons, *verdict.notes)]
        lines += ["", f"**{verdict.label}**{_suffix(verdict)}", ""]
    lines += ["| criterion | outcome | why |", "| --- | --- | --- |"]
    lines += [f"| {n} | {c.outcome} | {_cell(c.reason)} |" for n, c in judgement.criteria.items()]
    lines += ["", "| standard | outcome | why |", "| --- | --- | --- |"]
    lines += [
        f"| {s.id} {_cell(s.title)} | {s.outcome if s.applies else 'does not apply'} | {_cell(s.reason)} |"
        for s in judgement.standards
    ]
    return "\n".join(lines) + "\n"


def _xml_text(text: str) -> str:
    return "".join(c for c in text if c in "\t\n" or (ord(c) >= 32 and not 0xD800 <= ord(c) <= 0xDFFF))


def _claim_case(suite: ET.Element, judgement: Judgement, verdict: Verdict) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"claims.{judgement.release}", name=verdict.claim)
    if verdict.cleared:
        return
    kind = "error" if verdict.state is VerdictState.NOT_EVALUABLE else "failure"
    told = ET.SubElement(case, kind, message=_xml_text(verdict.label), type=str(verdict.state))
    told.text = _xml_text("\n".join((*verdict.reasons, *verdict.notes)))


def _standard_case(suite: ET.Element, judgement: Judgement, result: StandardResult) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"standards.{judgement.release}", name=result.id)
    if not result.applies:
        ET.SubElement(case, "skipped", message=_xml_text(result.reason))
    elif result.outcome is Outcome.PASS:
        return
    elif result.severity == "warning":
        ET.SubElement(case, "system-out").text = _xml_text(f"warning: {result.reason}")
    else:
        kind = "failure" if result.outcome is Outcome.FAIL else "error"
        ET.SubElement(case, kind, message=_xml_text(result.title), type=str(result.outcome)).text = _xml_text(
            result.reason
        )


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))


def junit(judgement: Judgement) -> str:
    """JUnit XML: one case per asserted claim and per standard; not evaluable is an error, not a failure."""
    root = ET.Element("testsuites", name="qc-gate")
    claims = ET.SubElement(root, "testsuite", name="claims")
    for verdict in judgement.asserted_verdicts:
        _claim_case(claims, judgement, verdict)
    standards = ET.SubElement(root, "testsuite", name="standards")
    for result in judgement.standards:
        _standard_case(standards, judgement, result)
    for suite in (claims, standards):
        _count(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def junit_invalid(message: str) -> str:
    """JUnit XML of an input that could not be judged: one error."""
    root = ET.Element("testsuites", name="qc-gate")
    suite = ET.SubElement(root, "testsuite", name="claims")
    case = ET.SubElement(suite, "testcase", classname="claims", name="valid-input")
    ET.SubElement(case, "error", message="invalid input", type="invalid").text = _xml_text(message)
    _count(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def json_report(judgement: Judgement) -> str:
    """One JSON document with the asserted claims, the exit code, and all three judged documents."""
    report = {
        "asserted": list(judgement.asserted),
        "exit_code": exit_code(judgement),
        **{name.removesuffix(".json"): d for name, d in documents.documents(judgement).items()},
    }
    return documents.canonical_json(report)


def json_invalid(message: str) -> str:
    """JSON document of an input that could not be judged."""
    return documents.canonical_json({"exit_code": EXIT_INVALID, "error": message})


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def workflow_commands(judgement: Judgement) -> str:
    """GitHub workflow commands, one per asserted claim: error, warning or notice."""
    lines = []
    for verdict in judgement.asserted_verdicts:
        title = _escaped(f"{verdict.claim}: {verdict.label}").replace(":", "%3A").replace(",", "%2C")
        body = _escaped("\n".join(verdict.reasons) or verdict.label)
        lines.append(f"::{_ANNOTATION[verdict.state]} title={title}::{body}")
    return "\n".join(lines) + "\n"
