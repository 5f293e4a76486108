"""A report as GitHub workflow commands, which show as annotations of a pull request."""

from __future__ import annotations

from typing import Final

from qc_standards.outputs.findings import Report
from qc_standards.places import Place

_COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice", "none": "notice"}


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _command(level: str, title: str, message: str, place: Place | None) -> str:
    """One command; a file is named only where it lies in the checkout, since no other can be shown."""
    properties = [f"title={_property(title)}"]
    if place is not None and place.base == "checkout":
        properties = [f"file={_property(place.uri)}", f"line={place.line}", *properties]
    return f"::{_COMMANDS[level]} {','.join(properties)}::{_data(message)}"


def workflow_commands(report: Report) -> str:
    """One command per deciding finding, or per problem of an invalid input: error, warning or notice."""
    lines = [_command("error", "invalid input", problem.text, problem.place) for problem in report.problems]
    lines += [
        _command(f.level, f"{f.rule}: {f.label}", "\n".join(f.reasons) or f.label, f.place) for f in report.deciding
    ]
    return "\n".join(lines) + "\n"
