"""A report as one JSON document."""

from __future__ import annotations

from typing import Any

from qc_standards.documents import canonical_json
from qc_standards.outputs.findings import Report


def json_report(report: Report) -> str:
    """Verdict, exit code and everything judged, with sorted keys; an invalid input has ``error`` and no judgement."""
    content: dict[str, Any] = {**report.body, "state": report.verdict, "exit_code": report.exit_code}
    if report.problems:
        content["error"] = "\n".join(problem.text for problem in report.problems)
        content["problems"] = [
            {"text": p.text, "file": p.place.uri if p.place else "", "line": p.place.line if p.place else 0}
            for p in report.problems
        ]
    return canonical_json(content)
