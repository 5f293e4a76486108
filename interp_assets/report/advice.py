"""The one next thing to do about a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from interp_assets.report import reading
from interp_assets.report.shown import joined
from qc_standards.claims import expectation
from qc_standards.records import Outcome, VerdictState

BEHAVES = "none: this control behaves"


def next_step(
    release: str,
    verdict: Mapping[str, Any],
    standards: Sequence[Mapping[str, Any]] = (),
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> str:
    """One sentence: what to do first, given why the verdict is what it is.

    The order follows the verdict rules (docs/architecture.md): integrity, controls, then the criteria. Where no test
    was run there is nothing that a standard could find wrong; what was missing comes first.
    """
    tables = tables or {}
    if (verdict.get("rows") or {}).get("run") == 0 and (missing := _missing(verdict)):
        return missing
    evaluation = reading.evaluation(release, verdict, tables)
    broken = _integrity(standards)
    if broken:
        return broken
    if evaluation.release_kind != "release":
        return _as_control(release, verdict)
    return _control(tables) or _criteria(verdict, evaluation.data_origin)


def _integrity(standards: Sequence[Mapping[str, Any]]) -> str:
    for view in reading.standards(standards):
        if view.kind == "integrity" and not view.passed:
            return joined(f"fix {view.standard_id}: ", view.how_to_fix or view.reason or view.title)
    return ""


def _missing(verdict: Mapping[str, Any]) -> str:
    """The first criterion that cannot be evaluated, with its reason."""
    views = [view for view in reading.criteria(verdict) if view.outcome == Outcome.NOT_EVALUABLE]
    return joined(f"make criterion {views[0].id} evaluable: ", views[0].reason) if views else ""


def _as_control(release: str, verdict: Mapping[str, Any]) -> str:
    """What a release that is itself a control still owes: nothing, or the behaviour declared for it."""
    expected = expectation(release)
    outcomes = {view.id: view.outcome for view in reading.criteria(verdict)}
    missed = [name for name in expected.passes if outcomes.get(name) != Outcome.PASS]
    if missed:
        return f"repair this control first: criterion {', '.join(missed)} must pass, or no verdict counts"
    if expected.verdict is not None and reading.headline(verdict).state != expected.verdict:
        return f"repair this control first: the claim must be {expected.verdict}, or no verdict counts"
    return BEHAVES


def _control(tables: Mapping[str, pd.DataFrame]) -> str:
    for view in reading.controls(tables):
        if view.behaves is not True and view.observed == reading.UNJUDGED:
            return joined("evaluate control ", view.control, " in this study")
        if view.behaves is not True:
            return joined("control ", view.control, " does not behave: ", view.reason or view.observed)
    return ""


def _criteria(verdict: Mapping[str, Any], data_origin: str) -> str:
    views = reading.criteria(verdict)
    failed = [view.id for view in views if view.outcome == Outcome.FAIL]
    missing = _missing(verdict)
    undecided = [view.id for view in views if view.outcome == Outcome.UNDECIDED]
    if failed and data_origin not in ("", "real"):
        return "evaluate on real outcomes: INTERP_DATA_MIRROR=<folder> make evaluate STUDY=bench"
    if failed:
        return f"read criterion {', '.join(failed)} in the report; no run of this release opens the claim"
    if missing:
        return missing
    if undecided:
        return f"add perturbations or resamples: criterion {', '.join(undecided)} is undecided"
    if reading.headline(verdict).state != VerdictState.SUPPORTED:
        return "evaluate on real outcomes: INTERP_DATA_MIRROR=<folder> make evaluate STUDY=bench"
    return "repeat with another seed and another screen before relying on it"
