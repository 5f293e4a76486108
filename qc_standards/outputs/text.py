"""A report for people: terminal lines and markdown. Reasons come before the verdict line everywhere."""

from __future__ import annotations

from qc_standards.outputs.findings import Finding, Report


def terminal(report: Report) -> str:
    """What decides, with its reasons most important first, then one verdict line each."""
    lines = [report.title]
    for finding in report.deciding:
        lines += ["", f"{finding.rule}: {finding.title}"]
        lines += [f"  because  {reason}" for reason in finding.reasons]
        lines += [f"  note     {note}" for note in finding.notes]
        lines += [f"  {name:7}  {text}" for name, text in finding.facts]
        lines.append(f"  VERDICT  {finding.label.upper()}")
    return "\n".join([*lines, *(("", report.footer) if report.footer else ())]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: str, findings: tuple[Finding, ...]) -> list[str]:
    if not findings:
        return []
    named = [f"{f.rule} {_cell(f.title)}" if f.group == "standard" else f.rule for f in findings]
    rows = [f"| {name} | {f.label} | {_cell('; '.join(f.reasons))} |" for name, f in zip(named, findings, strict=True)]
    return ["", f"| {head} | outcome | why |", "| --- | --- | --- |", *rows]


def markdown(report: Report) -> str:
    """Summary for a pull request or job page: verdict, reasons, criteria and standards."""
    lines = [f"## {_cell(report.title)}", ""]
    if report.problems:
        lines += ["**invalid input**", "", *(f"- {_cell(problem.text)}" for problem in report.problems)]
        return "\n".join(lines) + "\n"
    for finding in report.group("claim"):
        lines += [f"### {finding.rule}", "", finding.title, ""]
        lines += [f"- {_cell(text)}" for text in (*finding.reasons, *finding.notes)]
        lines += ["", f"**{finding.label}**", ""]
    lines.append(f"Together: **{report.verdict}** (exit code {report.exit_code})")
    lines += _table("criterion", report.group("criterion"))
    lines += _table("standard", report.group("standard"))
    return "\n".join(lines) + "\n"
