"""A report as JUnit XML: one case per asserted claim and per standard.

Not evaluable is an error, refuted, inconclusive and failed are failures. A suite has neither where the exit code
is 0: standards that keep no asserted claim closed are told in the output of a passing case.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from qc_standards.outputs.findings import INVALID_INPUT, Finding, Report, Standing


def _xml_text(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return "".join(
        c
        for c in text
        if c in "\t\n" or (ord(c) >= 32 and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) not in (0xFFFE, 0xFFFF))
    )


def _case(suite: ET.Element, report: Report, finding: Finding) -> None:
    name = _xml_text(f"{finding.group}s.{report.identity}").replace("/", ".")
    case = ET.SubElement(suite, "testcase", classname=name, name=finding.rule)
    told = _xml_text("\n".join((*finding.reasons, *finding.notes)))
    if finding.standing is Standing.SKIPPED:
        ET.SubElement(case, "skipped", message=told)
    elif finding.red:
        kind = "error" if finding.standing is Standing.UNJUDGED else "failure"
        ET.SubElement(case, kind, message=_xml_text(finding.label), type=finding.state).text = told
    elif finding.standing is not Standing.CLEARED:
        ET.SubElement(case, "system-out").text = f"{finding.level}: {finding.label}: {told}"


def _count(suite: ET.Element) -> tuple[int, int, int]:
    cases = suite.findall("testcase")
    counts = [len(cases), *(sum(case.find(tag) is not None for case in cases) for tag in ("failure", "error"))]
    for attribute, count in zip(("tests", "failures", "errors"), counts, strict=True):
        suite.set(attribute, str(count))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    return counts[0], counts[1], counts[2]


def junit(report: Report) -> str:
    """JUnit XML of a report; an invalid input is one error per problem."""
    root = ET.Element("testsuites", name="qc-gate")
    if report.problems:
        suite = ET.SubElement(root, "testsuite", name="input")
        for problem in report.problems:
            case = ET.SubElement(suite, "testcase", classname="input", name="valid-input")
            error = ET.SubElement(case, "error", message="invalid input", type=INVALID_INPUT)
            error.text = _xml_text(problem.text)
    for group in ("claim", "standard"):
        findings = report.group(group)
        if findings:
            suite = ET.SubElement(root, "testsuite", name=f"{group}s")
            for finding in findings:
                _case(suite, report, finding)
    totals = [_count(suite) for suite in root]
    for place, attribute in enumerate(("tests", "failures", "errors")):
        root.set(attribute, str(sum(total[place] for total in totals)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
