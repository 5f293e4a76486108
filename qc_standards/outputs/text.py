"""A report for people: terminal lines and markdown. Reasons come before the verdict line everywhere."""

from __future__ import annotations

from qc_standards.outputs.findings import Finding, Report
from qc_standards.outputs.said import markdown_lines, terminal_lines
from qc_standards.sentences import markdown_text, plain


def terminal(report: Report) -> str:
    """What decides, with its reasons most important first, then one verdict line each."""
    # Names come from the folder: one that held a line break could write a verdict line of its own.
    lines = [plain(report.title)]
    for finding in report.deciding:
        lines += ["", f"{finding.rule}: {plain(finding.title)}"]
        lines += [f"  because  {plain(reason)}" for reason in finding.reasons]
        lines += [f"  note     {plain(note)}" for note in finding.notes]
        lines += [f"  {name:7}  {plain(text)}" for name, text in finding.facts]
        lines.append(f"  VERDICT  {finding.label.upper()}")
    if report.statement is not None:
        lines += ["", *terminal_lines(report.statement, brief=True)]
    return "\n".join([*lines, *(("", report.footer) if report.footer else ())]) + "\n"


def _table(head: str, findings: tuple[Finding, ...]) -> list[str]:
    if not findings:
        return []
    named = [f"{f.rule} {markdown_text(f.title)}" if f.group == "standard" else f.rule for f in findings]
    rows = [
        f"| {name} | {f.label} | {markdown_text('; '.join(f.reasons))} |"
        for name, f in zip(named, findings, strict=True)
    ]
    return ["", f"| {head} | outcome | why |", "| --- | --- | --- |", *rows]


def markdown(report: Report) -> str:
    """Summary for a pull request or job page: verdict, reasons, criteria and standards."""
    lines = [f"## {markdown_text(report.title)}", ""]
    if report.problems:
        lines += ["**invalid input**", "", *(f"- {markdown_text(problem.text)}" for problem in report.problems)]
        return "\n".join(lines) + "\n"
    for finding in report.group("claim"):
        lines += [f"### {finding.rule}", "", finding.title, ""]
        lines += [f"- {markdown_text(text)}" for text in (*finding.reasons, *finding.notes)]
        lines += ["", f"**{finding.label}**", ""]
    lines.append(f"Together: **{report.verdict}** (exit code {report.exit_code})")
    if report.statement is not None:
        lines += ["", *markdown_lines(report.statement, brief=True)]
    lines += _table("criterion", report.group("criterion"))
    lines += _table("standard", report.group("standard"))
    return "\n".join(lines) + "\n"
