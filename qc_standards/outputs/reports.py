"""Reports made from judgements: which finding decides, which explains, and where each is written down.

What belongs here: turning a judgement, or results of standards, into a `Report`. What does not: formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qc_standards import documents
from qc_standards.assertions import Assertion, ClaimsFile
from qc_standards.claims import claims_registry
from qc_standards.criterion_parts import CriterionResult
from qc_standards.outputs.findings import Finding, Report, Standing, Weight
from qc_standards.places import claim_place, place_of, standard_place
from qc_standards.records import Outcome, VerdictState
from qc_standards.standards import STANDARDS_FOLDER
from qc_standards.statements import statement
from qc_standards.suites import StandardResult
from qc_standards.verdicts import Judgement, Verdict

_STATES = {
    VerdictState.SUPPORTED: Standing.CLEARED,
    VerdictState.REFUTED: Standing.CLOSED,
    VerdictState.INCONCLUSIVE: Standing.CLOSED,
    VerdictState.NOT_EVALUABLE: Standing.UNJUDGED,
}
_OUTCOMES = {
    Outcome.PASS: Standing.CLEARED,
    Outcome.FAIL: Standing.CLOSED,
    Outcome.UNDECIDED: Standing.CLOSED,
    Outcome.NOT_EVALUABLE: Standing.UNJUDGED,
}


def _claim(verdict: Verdict, assertion: Assertion | None, path: Path | None) -> Finding:
    marks = [name for name, on in (("provisional", verdict.provisional), ("untrained", verdict.untrained)) if on]
    level = str(verdict.evidence_level)
    facts = []
    if assertion:
        if assertion.level != verdict.evidence_level:
            level = f"asserted as {assertion.level}, declared as {verdict.evidence_level}"
        facts = [
            (name, text) for name, text in (("context", assertion.context), ("wording", assertion.wording)) if text
        ]
    return Finding(
        rule=verdict.claim,
        group="claim",
        title=verdict.sentence,
        standing=_STATES[verdict.state],
        state=str(verdict.state),
        label=verdict.label + (f" ({', '.join(marks)})" if marks else ""),
        weight=Weight.DECIDES,
        severity="warning" if verdict.state is VerdictState.INCONCLUSIVE else "error",
        reasons=verdict.reasons,
        notes=verdict.notes,
        facts=(("level", f"{level}; {verdict.polarity}"), *facts),
        place=place_of(path, assertion.line) if assertion and path else claim_place(verdict.claim),
    )


def _criterion(name: str, result: CriterionResult) -> Finding:
    return Finding(
        rule=name,
        group="criterion",
        title=result.title,
        standing=_OUTCOMES[result.outcome],
        state=str(result.outcome),
        label=str(result.outcome),
        weight=Weight.ADVISES,
        reasons=(result.reason,),
    )


def _standard(result: StandardResult, weight: Weight, folder: Path = STANDARDS_FOLDER) -> Finding:
    state = str(result.outcome) if result.applies else str(Standing.SKIPPED)
    return Finding(
        rule=result.id,
        group="standard",
        title=result.title,
        standing=_OUTCOMES[result.outcome] if result.applies else Standing.SKIPPED,
        state=state,
        label=state,
        weight=weight,
        severity="error" if result.severity == "critical" else "warning",
        reasons=(result.reason,),
        facts=(("version", f"{result.version}, {result.kind}, {result.severity}"),),
        place=standard_place(result.id, folder),
    )


def _explains(result: StandardResult, closed: Sequence[Verdict]) -> bool:
    """Whether a standard that was not passed keeps one of the closed claims closed."""
    if not result.blocking or not closed:
        return False
    registry = claims_registry().claims
    return result.kind == "integrity" or any(result.id in registry[verdict.claim].standards for verdict in closed)


def of_judgement(judgement: Judgement, asserted: ClaimsFile | None = None) -> Report:
    """Report of a judged evaluation: the asserted claims decide."""
    given = {assertion.id: assertion for assertion in asserted.assertions} if asserted else {}
    path = asserted.path if asserted else None
    verdicts = judgement.asserted_verdicts
    closed = [verdict for verdict in verdicts if not verdict.cleared]
    counts = ", ".join(f"{count} {status}" for status, count in judgement.counts.items())
    families = ", ".join(f"{name} {count}" for name, count in judgement.significant.items())
    judged = {name.removesuffix(".json"): content for name, content in documents.documents(judgement).items()}
    return Report(
        title=f"{judgement.release} in study {judgement.study}",
        identity=f"{judgement.study}/{judgement.release}",
        findings=(
            *(_claim(verdict, given.get(verdict.claim), path) for verdict in verdicts),
            *(_criterion(name, result) for name, result in judgement.criteria.items()),
            *(
                _standard(result, Weight.EXPLAINS if _explains(result, closed) else Weight.ADVISES)
                for result in judgement.standards
            ),
        ),
        footer=f"rows: {counts}; significant: {families}",
        statement=statement(judgement),
        body={"asserted": list(judgement.asserted), "assertions": [_shown(item) for item in given.values()], **judged},
    )


def _shown(assertion: Assertion) -> dict[str, Any]:
    return {
        "id": assertion.id,
        "level": str(assertion.level),
        "context": assertion.context,
        "wording": assertion.wording,
        "line": assertion.line,
    }


def of_standards(
    results: Sequence[StandardResult], title: str, identity: str, folder: Path = STANDARDS_FOLDER
) -> Report:
    """Report of standards that were asked for by id: they decide, and no claim is judged."""
    return Report(
        title=title,
        identity=identity,
        findings=tuple(_standard(result, Weight.DECIDES, folder) for result in results),
        footer="standards only: no claim was judged",
        body={"standards": [documents.standard_entry(result) for result in results]},
    )
