"""The findings of one check, before any format: what was judged, how it stands, and the exit code that follows.

What belongs here: the record and what every format derives from it. What does not: formats, or judging.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

from qc_standards.assertions import ClaimsFileError
from qc_standards.places import Place, place_of

if TYPE_CHECKING:
    from qc_standards.statements import Statement

EXIT_CLEARED: Final = 0
EXIT_CLOSED: Final = 1
EXIT_INVALID: Final = 2
INVALID_INPUT: Final = "invalid-input"
VERDICTS: Final = ("cleared", "closed", "not evaluable", "invalid input")


class Standing(StrEnum):
    """How a claim, criterion or standard stands."""

    CLEARED = "cleared"
    CLOSED = "closed"
    UNJUDGED = "not evaluable"
    SKIPPED = "does not apply"


class Weight(StrEnum):
    """What a finding has to do with the exit code."""

    DECIDES = "decides"  # asserted claims, or standards asked for by id
    EXPLAINS = "explains"  # standards that keep an asserted claim closed
    ADVISES = "advises"  # everything else that is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One claim, criterion or standard. ``severity`` is how loudly it is told where it is not cleared.

    ``state`` is the verdict or outcome in its own words, ``label`` the same as people read it, with its caveats.
    """

    rule: str
    group: Literal["claim", "criterion", "standard"]
    title: str
    standing: Standing
    state: str
    label: str
    weight: Weight
    severity: Literal["error", "warning"] = "error"
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    place: Place | None = None

    @property
    def red(self) -> bool:
        """Whether a test report shows it as failed: never where the exit code is 0."""
        return self.weight is not Weight.ADVISES and self.standing in (Standing.CLOSED, Standing.UNJUDGED)

    @property
    def level(self) -> Literal["error", "warning", "note", "none"]:
        """How loudly it is told: ``none`` where there is nothing to do."""
        if self.standing in (Standing.CLEARED, Standing.SKIPPED):
            return "none"
        if self.weight is Weight.ADVISES:
            return "warning" if self.standing is Standing.CLOSED else "note"
        return self.severity


@dataclass(frozen=True, slots=True, kw_only=True)
class InputProblem:
    """Why an input could not be judged, and where, if that is known."""

    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that is told about one input. With ``problems`` the input is invalid and nothing was judged.

    ``identity`` names the input across runs; ``body`` is what the JSON report holds beside verdict and exit code.
    ``statement`` is there where claims were judged.
    """

    title: str
    identity: str
    findings: tuple[Finding, ...] = ()
    problems: tuple[InputProblem, ...] = ()
    footer: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    statement: Statement | None = None

    @property
    def deciding(self) -> tuple[Finding, ...]:
        """Findings that the exit code rests on."""
        return tuple(finding for finding in self.findings if finding.weight is Weight.DECIDES)

    def group(self, name: str) -> tuple[Finding, ...]:
        """Findings of one group, in order."""
        return tuple(finding for finding in self.findings if finding.group == name)

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`; nothing judged is *not evaluable*, so that an empty input clears nothing."""
        if self.problems:
            return "invalid input"
        standings = {finding.standing for finding in self.deciding} - {Standing.SKIPPED}
        if not standings or Standing.UNJUDGED in standings:
            return "not evaluable"
        return "cleared" if standings == {Standing.CLEARED} else "closed"

    @property
    def exit_code(self) -> int:
        """0 when everything that decides is cleared, 1 when something is closed, 2 when something was not judged."""
        return {"cleared": EXIT_CLEARED, "closed": EXIT_CLOSED}.get(self.verdict, EXIT_INVALID)


def invalid_input(error: Exception, what: str) -> Report:
    """Report of an input that could not be judged; the lines of a claims file are named one by one."""
    if isinstance(error, ClaimsFileError):
        problems = tuple(
            InputProblem(text=f"{error.where(item)}: {item.text}", place=place_of(error.path, max(item.line, 1)))
            for item in error.problems
        )
    else:
        problems = (InputProblem(text=str(error)),)
    return Report(title=what, identity="invalid", problems=problems)
