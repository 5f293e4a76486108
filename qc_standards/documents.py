"""Canonical JSON documents of a judgement: sorted keys, no times, no NaN; and what differs between two.

What belongs here: the shape of ``standards.json``, ``claims.json`` and ``verdict.json``, and the list of all judged
documents. What does not: sentences (`qc_standards.statements`), reading or writing files (`qc_standards.results`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from qc_standards.claims import claims_registry
from qc_standards.content import table_hash as table_hash
from qc_standards.criterion_parts import CriterionResult
from qc_standards.registry import FAMILY_SIZES, registry_hash
from qc_standards.standards import standards_hash
from qc_standards.statements import statement_document as statement_document
from qc_standards.suites import StandardResult
from qc_standards.verdicts import Judgement, Verdict

FORMAT: Final = 1
_DIGITS: Final = 10
_TOLERANCE: Final = 1e-6


def canonical_json(document: Mapping[str, Any]) -> str:
    """Text of a document: sorted keys, two spaces, floats to 10 significant digits; NaN is refused."""
    return json.dumps(_rounded(document), sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if isinstance(value, np.generic):
        return _rounded(value.item())
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{_DIGITS}g}")
    return value


def standard_entry(result: StandardResult) -> dict[str, Any]:
    """One standard as ``standards.json`` shows it."""
    return {
        "id": result.id,
        "version": result.version,
        "title": result.title,
        "kind": result.kind,
        "severity": result.severity,
        "applies": result.applies,
        "applies_to": result.applies_to,
        "outcome": str(result.outcome),
        "reason": result.reason,
        "content_hash": result.content_hash,
        "checks": [{"id": c.id, "success": c.success, "observed": c.observed, "error": c.error} for c in result.checks],
    }


def _criterion(result: CriterionResult) -> dict[str, Any]:
    return {
        "title": result.title,
        "outcome": str(result.outcome),
        "reason": result.reason,
        "parts": [
            {"name": p.name, "outcome": str(p.outcome), "reason": p.reason, "numbers": dict(p.numbers)}
            for p in result.parts
        ],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    claim = claims_registry().claims[verdict.claim]
    return {
        "id": verdict.claim,
        "sentence": verdict.sentence,
        "state": str(verdict.state),
        "label": verdict.label,
        "cleared": verdict.cleared,
        "reasons": list(verdict.reasons),
        "notes": list(verdict.notes),
        "criteria": {name: str(outcome) for name, outcome in verdict.criteria},
        "tests": list(claim.tests),
        "standards": list(claim.standards),
        "controls": list(claim.controls),
        "caveats": list(claim.caveats),
        "evidence_level": str(verdict.evidence_level),
        "polarity": verdict.polarity,
        "published_claim": claim.published_claim,
        "data_origin": str(verdict.data_origin),
        "role_fit": verdict.role_fit,
        "context_mismatch": verdict.context_mismatch,
        "provisional": verdict.provisional,
        "untrained": verdict.untrained,
    }


def _head(judgement: Judgement) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "study": judgement.study,
        "release": judgement.release,
        "release_kind": judgement.release_kind,
    }


def standards_document(judgement: Judgement) -> dict[str, Any]:
    """Content of ``standards.json``: every standard with its version, hash, outcome and checks."""
    results = [standard_entry(result) for result in judgement.standards]
    return {**_head(judgement), "standards_hash": standards_hash(), "standards": results}


def claims_document(judgement: Judgement) -> dict[str, Any]:
    """Content of ``claims.json``: every criterion with its parts and the verdict of every claim."""
    return {
        **_head(judgement),
        "claims_hash": claims_registry().content_hash,
        "criteria": {name: _criterion(result) for name, result in judgement.criteria.items()},
        "claims": [_verdict(verdict) for verdict in judgement.verdicts.values()],
    }


def verdict_document(judgement: Judgement) -> dict[str, Any]:
    """Content of ``verdict.json``: the headline verdict, the state of all claims, and the inputs' hashes."""
    return {
        **_head(judgement),
        "headline": _verdict(judgement.verdicts[judgement.headline]),
        "claims": {name: verdict.label for name, verdict in judgement.verdicts.items()},
        "rows": dict(judgement.counts),
        "families": {
            name: {"size": size, "significant": judgement.significant[name]} for name, size in FAMILY_SIZES.items()
        },
        "registry_hash": registry_hash(),
        "claims_hash": claims_registry().content_hash,
        "standards_hash": standards_hash(),
        "inputs": dict(judgement.inputs),
    }


def documents(judgement: Judgement) -> dict[str, dict[str, Any]]:
    """The documents of a judgement by file name."""
    return {
        "standards.json": standards_document(judgement),
        "claims.json": claims_document(judgement),
        "verdict.json": verdict_document(judgement),
        "statement.json": statement_document(judgement),
    }


def differences(stored: Any, recomputed: Any, path: str = "") -> list[str]:
    """Where two JSON documents differ, one line each; numbers are compared to 1e-6 relative."""
    if isinstance(stored, dict) and isinstance(recomputed, dict):
        told = []
        for key in sorted(set(stored) | set(recomputed)):
            place = f"{path}.{key}" if path else str(key)
            if key not in stored or key not in recomputed:
                told.append(f"{place}: only {'recomputed' if key in recomputed else 'stored'}")
            else:
                told += differences(stored[key], recomputed[key], place)
        return told
    if isinstance(stored, list) and isinstance(recomputed, list) and len(stored) == len(recomputed):
        pairs = enumerate(zip(stored, recomputed, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{path}[{i}]")]
    return [] if _same(stored, recomputed) else [f"{path}: stored {stored!r}, recomputed {recomputed!r}"]


def _same(stored: Any, recomputed: Any) -> bool:
    numbers = [isinstance(v, (int, float)) and not isinstance(v, bool) for v in (stored, recomputed)]
    if all(numbers):
        return math.isclose(stored, recomputed, rel_tol=_TOLERANCE, abs_tol=1e-12)
    return type(stored) is type(recomputed) and bool(stored == recomputed)
