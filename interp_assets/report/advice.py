"""The one next thing to do about a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interp_assets.report import reading
from qc_standards.records import Outcome, VerdictState


def next_step(
    release: str,
    verdict: Mapping[str, Any],
    standards: Sequence[Mapping[str, Any]] = (),
    release_kind: str = "release",
    data_origin: str = "",
) -> str:
    """One sentence: what to do first, given why the verdict is what it is.

    The order follows the verdict rules (design section 8): integrity, controls, then the criteria.
    """
    broken = _integrity(standards)
    if broken:
        return broken
    if release_kind != "release":
        return "none: a control only has to behave"
    control = _control(release, verdict)
    if control:
        return control
    return _criteria(verdict, data_origin)


def _integrity(standards: Sequence[Mapping[str, Any]]) -> str:
    for view in reading.standards(standards):
        if view.kind == "integrity" and not view.passed:
            return f"fix {view.standard_id}: {view.how_to_fix or view.reason or view.title}"
    return ""


def _control(release: str, verdict: Mapping[str, Any]) -> str:
    for view in reading.controls(verdict):
        if view.behaves is False:
            return f"control {view.control} does not behave: {view.reason or view.observed}"
        if view.behaves is None and view.observed in ("", "not observed", "absent"):
            return f"evaluate control {view.control} for {release}"
    return ""


def _criteria(verdict: Mapping[str, Any], data_origin: str) -> str:
    views = reading.criteria(verdict)
    failed = [view.id for view in views if view.outcome == Outcome.FAIL]
    missing = [view for view in views if view.outcome == Outcome.NOT_EVALUABLE]
    undecided = [view.id for view in views if view.outcome == Outcome.UNDECIDED]
    if failed and data_origin not in ("", "real"):
        return "evaluate on real outcomes: INTERP_DATA_MIRROR=<folder> make evaluate STUDY=bench"
    if failed:
        return f"read criterion {', '.join(failed)} in the report; no run of this release opens the claim"
    if missing:
        return f"make criterion {missing[0].id} evaluable: {missing[0].reason}"
    if undecided:
        return f"add perturbations or resamples: criterion {', '.join(undecided)} is undecided"
    if reading.headline(verdict).state != VerdictState.SUPPORTED:
        return "evaluate on real outcomes: INTERP_DATA_MIRROR=<folder> make evaluate STUDY=bench"
    return "repeat with another seed and another screen before relying on it"
