"""A report as SARIF 2.1.0, for code scanning and editors.

Rules are all declared claims and shipped standards, whatever was judged, so that a rule keeps its place between runs.
Results are asserted claims that are not cleared and standards that are not passed. An input that could not be judged
is a failed execution with a result of its own, so that a reader of results alone does not see an empty success.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from qc_standards.claims import Claim, claims_registry
from qc_standards.outputs.findings import INVALID_INPUT, Finding, Report
from qc_standards.places import Place
from qc_standards.standards import Standard, shipped_standards

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_BASES: Final = {"checkout": "%SRCROOT%", "package": "QC_STANDARDS"}
_BASE_TEXTS: Final = {
    "%SRCROOT%": "The checkout that qc-gate was run in.",
    "QC_STANDARDS": "The installed package qc_standards, which holds the shipped claims and standards.",
}


def _version() -> str:
    try:
        return version("interp-assets")
    except PackageNotFoundError:
        return "0.0.0"


def _text(text: str) -> dict[str, str]:
    return {"text": text}


def _claim_rule(claim: Claim) -> dict[str, Any]:
    registry = claims_registry()
    needs = [f"criterion {name}: {registry.criteria[name].definition}" for name in claim.criteria]
    standards = f"Standards: all integrity standards, {', '.join(claim.standards) or 'none more'}."
    controls = f"Controls: {', '.join(claim.controls)}."
    fix = "\n".join(("To clear it, every criterion must pass on real data.", *needs, standards, controls))
    return {
        "id": claim.id,
        "name": claim.id.title().replace("_", ""),
        "shortDescription": _text(claim.sentence),
        "fullDescription": _text(f"{claim.polarity} Evidence level {claim.evidence_level}."),
        "help": _text(f"{fix}\nMore: qc-gate explain {claim.id}"),
        "defaultConfiguration": {"level": "error"},
        "properties": {"version": registry.version, "kind": "claim", "evidence_level": str(claim.evidence_level)},
    }


def _standard_rule(standard: Standard) -> dict[str, Any]:
    return {
        "id": standard.id,
        "name": standard.id.replace("-", ""),
        "shortDescription": _text(standard.title),
        "fullDescription": _text(standard.rationale),
        "help": _text(f"{standard.how_to_fix}\nMore: qc-gate explain {standard.id}"),
        "defaultConfiguration": {"level": "error" if standard.severity == "critical" else "warning"},
        "properties": {
            "version": standard.version,
            "kind": standard.kind,
            "severity": standard.severity,
            "content_hash": standard.content_hash,
        },
    }


def _rules(own: Iterable[Standard]) -> list[dict[str, Any]]:
    invalid = {
        "id": INVALID_INPUT,
        "name": "InvalidInput",
        "shortDescription": _text("The input could not be judged."),
        "fullDescription": _text("A file is missing, damaged, contradicts itself, or asserts what it may not assert."),
        "help": _text(
            "The message names the file, the rule and the way out. Nothing was judged, so nothing is cleared."
        ),
        "defaultConfiguration": {"level": "error"},
    }
    claims = [_claim_rule(claim) for claim in claims_registry().claims.values()]
    standards = {**shipped_standards(), **{standard.id: standard for standard in own}}
    return [*claims, *(_standard_rule(standard) for standard in standards.values()), invalid]


def _location(place: Place) -> dict[str, Any]:
    artifact = {"uri": place.uri}
    if place.base in _BASES:
        artifact["uriBaseId"] = _BASES[place.base]
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": place.line}}}


def _fingerprint(*parts: str) -> dict[str, str]:
    """Identity of a result between runs: what was judged and by which rule, wherever its line moves."""
    return {"qcGateResult/v1": hashlib.sha256("\x1f".join(parts).encode()).hexdigest()}


def _result(rule: str, places: dict[str, int], level: str, text: str, place: Place | None) -> dict[str, Any]:
    result: dict[str, Any] = {"ruleId": rule, "level": level, "message": _text(text)}
    if rule in places:
        result["ruleIndex"] = places[rule]
    if place is not None:
        result["locations"] = [_location(place)]
    return result


def _message(finding: Finding) -> str:
    return "\n".join((f"{finding.rule} {finding.label}: {finding.title}", *finding.reasons, *finding.notes))


def _results(report: Report, places: dict[str, int]) -> list[dict[str, Any]]:
    told = [finding for name in ("claim", "standard") for finding in report.group(name) if finding.level != "none"]
    return [
        {
            **_result(finding.rule, places, finding.level, _message(finding), finding.place),
            "partialFingerprints": _fingerprint(report.identity, finding.rule),
        }
        for finding in told
    ] + [
        {
            **_result(INVALID_INPUT, places, "error", problem.text, problem.place),
            "partialFingerprints": _fingerprint(report.title, INVALID_INPUT, problem.text),
        }
        for problem in report.problems
    ]


def _notification(text: str, place: Place | None) -> dict[str, Any]:
    told: dict[str, Any] = {"descriptor": {"id": INVALID_INPUT}, "level": "error", "message": _text(text)}
    if place is not None:
        told["locations"] = [_location(place)]
    return told


def sarif(report: Report, own: Iterable[Standard] = ()) -> str:
    """SARIF 2.1.0 log of a report, the same bytes for the same report; ``own`` are standards of the user."""
    rules = _rules(own)
    places = {rule["id"]: index for index, rule in enumerate(rules)}
    invocation: dict[str, Any] = {"executionSuccessful": not report.problems, "exitCode": report.exit_code}
    if report.problems:
        invocation["toolExecutionNotifications"] = [_notification(p.text, p.place) for p in report.problems]
    run = {
        "tool": {
            "driver": {
                "name": "qc-gate",
                "semanticVersion": _version(),
                "rules": rules,
                "notifications": [{"id": INVALID_INPUT, "shortDescription": _text("The input could not be judged.")}],
            }
        },
        "automationDetails": {"id": f"qc-gate/{report.identity}/"},
        "invocations": [invocation],
        "originalUriBaseIds": {name: {"description": _text(text)} for name, text in _BASE_TEXTS.items()},
        "results": _results(report, places),
        "properties": {"subject": report.title, "verdict": report.verdict},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"
