"""The one place that knows the shapes of ``verdict.json``, ``claims.json``, ``standards.json``, ``statement.json``.

Everything the page, the index and the terminal show about a verdict is read through these functions. A
missing outcome reads as "not evaluable", never as a pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from interp_assets.figures.wording import is_missing, is_small, listing, origin_label
from interp_assets.report.interventions import interventions_said
from interp_assets.report.shown import StoredRow, joined, listed, stated, under
from qc_standards.claims import claims_registry
from qc_standards.records import Outcome, VerdictState
from qc_standards.standards import shipped_standards
from qc_standards.statement_data import cite_lines
from qc_standards.verdicts import Judgement

VERDICT, CLAIMS, STANDARDS, STATEMENT = "verdict.json", "claims.json", "standards.json", "statement.json"
UNKNOWN = str(Outcome.NOT_EVALUABLE)
UNJUDGED = "not judged"
CAUSAL = "d"  # the criterion that interventions decide
_REFUSALS_SHOWN = 2
NO_ORIGIN = "none"  # what the table of the evaluation says where no test was run
_SAID = (
    (Outcome.FAIL, "fails", "fail"),
    (Outcome.NOT_EVALUABLE, "is not evaluable", "are not evaluable"),
    (Outcome.UNDECIDED, "is undecided", "are undecided"),
    (Outcome.PASS, "passes", "pass"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView:
    """One claim with its verdict. ``state`` is one of four words, ``text`` the displayed verdict."""

    claim_id: str
    sentence: str
    state: str
    text: str
    evidence_level: str = ""
    polarity: str = ""
    provisional: bool = False
    reasons: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    standards: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    published: bool = False

    @property
    def open(self) -> bool:
        """Whether the claim may be made: only `supported` opens one."""
        return self.state == VerdictState.SUPPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionView:
    """One criterion of the headline claim with its outcome and the numbers behind it.

    ``tests`` are the declared rows and ``tables`` the tables it is judged from.
    """

    id: str
    title: str
    outcome: str
    reason: str
    parts: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlView:
    """One control: what it had to do, what it did, and whether that is as it should be (None: unknown)."""

    control: str
    expected: str
    observed: str
    behaves: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardView:
    """Outcome of one standard, with what to do about it."""

    standard_id: str
    version: str
    title: str
    outcome: str
    severity: str
    kind: str
    reason: str
    how_to_fix: str
    applies: bool = True

    @property
    def passed(self) -> bool:
        """Whether there is nothing to do: passed, or of no concern to this release."""
        return self.outcome == Outcome.PASS or not self.applies


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementView:
    """What may be said, and what must not with the reason against it; ``further`` are the refusals shown on request."""

    may_say: str
    level: str
    must_not_say: tuple[tuple[str, str], ...]
    further: tuple[tuple[str, str], ...]
    cite: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationView:
    """What was evaluated, and the warnings that belong beside every verdict about it."""

    data_origin: str
    origin_words: str
    release_kind: str
    small: bool
    flags: tuple[str, ...]


def _text(source: Mapping[str, Any], *keys: str, default: str = "", place: str = "") -> str:
    for key in keys:
        value = source.get(key)
        if not is_missing(value) and str(value) != "":
            return stated(value, under(place, key))
    return default


def _words(value: Any, place: str = "") -> tuple[str, ...]:
    """List, single value, mapping or nothing, as separate pieces of text."""
    if is_missing(value) or value == "":
        return ()
    if isinstance(value, Mapping):
        return tuple(joined(f"{key}: ", stated(item, under(place, key))) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_piece(item, under(place, number)) for number, item in enumerate(value))
    return (stated(value, place),)


def _piece(item: Any, place: str) -> str:
    if isinstance(item, (list, tuple)):
        return listed([stated(part, under(place, number)) for number, part in enumerate(item)], ": ")
    if not isinstance(item, Mapping):
        return stated(item, place)
    name = _text(item, "name", "part", "title", "id", place=place)
    outcome = _text(item, "outcome", "state", place=place)
    reason = _text(item, "reason", "text", place=place)
    head = joined(name, ": ", outcome) if name and outcome else name or outcome
    return listed([piece for piece in (head, reason) if piece], " · ")


def claim(entry: Mapping[str, Any], place: str = "") -> ClaimView:
    """View of one entry of ``claims.json``; with its ``place`` there, its sentences carry their address."""
    state = _text(entry, "state", default=UNKNOWN)
    return ClaimView(
        claim_id=_text(entry, "id", default="unnamed claim"),
        sentence=_text(entry, "sentence", place=place),
        state=state,
        text=_text(entry, "label", default=state, place=place),
        evidence_level=_text(entry, "evidence_level").replace("_", " "),
        polarity=_text(entry, "polarity", place=place),
        provisional=bool(entry.get("provisional", False)),
        **{key: _words(entry.get(key), under(place, key)) for key in ("reasons", "caveats", "notes")},
        **{key: _words(entry.get(key)) for key in ("tests", "standards", "criteria")},
        published=not is_missing(entry.get("published_claim")),
    )


def claims(entries: Sequence[Mapping[str, Any]]) -> tuple[ClaimView, ...]:
    """Every entry of ``claims.json`` with its address."""
    return tuple(claim(entry, f"{CLAIMS}#/claims/{number}") for number, entry in enumerate(entries))


def headline(verdict: Mapping[str, Any]) -> ClaimView:
    """Headline claim of ``verdict.json``."""
    return claim(verdict.get("headline") or {}, f"{VERDICT}#/headline")


def criteria(verdict: Mapping[str, Any], tables: Mapping[str, pd.DataFrame] | None = None) -> tuple[CriterionView, ...]:
    """Criteria of the headline claim by name, read from ``verdict`` joined with ``criteria`` of ``claims.json``.

    A criterion that the headline names and nothing describes is not evaluable. With ``tables``, criterion d also says
    what the interventions showed.
    """
    described = verdict.get("criteria") or {}
    named = (verdict.get("headline") or {}).get("criteria") or {}
    views = [_criterion(name, {"outcome": named[name], **described.get(name, {})}) for name in sorted(named)]
    shown = interventions_said(tables or {})
    return tuple(replace(view, parts=(*view.parts, *shown)) if view.id == CAUSAL else view for view in views)


def _criterion(name: str, entry: Mapping[str, Any]) -> CriterionView:
    place = under(f"{CLAIMS}#/criteria", name)
    declared = claims_registry().criteria.get(name)
    return CriterionView(
        id=name,
        title=_text(entry, "title", place=place),
        outcome=_text(entry, "outcome", default=UNKNOWN),
        reason=_text(entry, "reason", default="no reason given", place=place),
        parts=_words(entry.get("parts"), under(place, "parts")),
        tests=declared.tests if declared else (),
        tables=declared.tables if declared else (),
    )


def why(verdict: Mapping[str, Any]) -> str:
    """Plain sentence on how the criteria came out: "Criteria a and b fail; criterion d is not evaluable."."""
    clauses = []
    for outcome, one, many in _SAID:
        names = [view.id for view in criteria(verdict) if view.outcome == outcome]
        if names:
            clauses.append(f"criterion {names[0]} {one}" if len(names) == 1 else f"criteria {listing(names)} {many}")
    sentence = "; ".join(clauses)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def further_reasons(verdict: Mapping[str, Any]) -> tuple[str, ...]:
    """Reasons of the headline verdict other than its criteria, whose numbers stand on their own cards."""
    own = tuple(f"criterion {view.id} {view.outcome}: {view.reason}" for view in criteria(verdict))
    return tuple(reason for reason in headline(verdict).reasons if reason not in own)


def statement(document: Mapping[str, Any]) -> StatementView | None:
    """View of ``statement.json``; None where none was stored."""
    if not document.get("may_say"):
        return None
    top = f"{STATEMENT}#"
    refused = [
        (
            _text(item, "sentence", place=under(top, "must_not_say", number)),
            _text(item, "because", default="no reason is recorded", place=under(top, "must_not_say", number)),
        )
        for number, item in enumerate(document.get("must_not_say") or ())
    ]
    cite = document.get("cite")
    return StatementView(
        may_say=_text(document, "may_say", place=top),
        level=_text(document, "evidence_level", default="none").replace("_", " "),
        must_not_say=tuple(refused[:_REFUSALS_SHOWN]),
        further=tuple(refused[_REFUSALS_SHOWN:]),
        cite=cite_lines(cite) if cite else (),
    )


def criteria_table(judgement: Judgement) -> pd.DataFrame:
    """Criteria of the headline claim as table ``criteria`` of the figure catalogue."""
    named = judgement.verdicts[judgement.headline].criteria
    found = [(name, outcome, judgement.criteria.get(name)) for name, outcome in named]
    rows = [
        (name, item.title, str(item.outcome), item.reason) if item else (name, "", str(outcome), "")
        for name, outcome, item in found
    ]
    return pd.DataFrame(rows, columns=["id", "title", "outcome", "reason"])


def controls(tables: Mapping[str, pd.DataFrame]) -> tuple[ControlView, ...]:
    """Controls with expected and observed behaviour, from the table ``control_outcomes``."""
    frame = tables.get("control_outcomes")
    rows = [] if frame is None else frame.to_dict("records")
    return tuple(_control(StoredRow("control_outcomes", number, row)) for number, row in enumerate(rows))


def _control(row: StoredRow) -> ControlView:
    behaves = row.values.get("behaves")
    return ControlView(
        control=row.words("control") or "unnamed control",
        expected=row.words("expected") or "not stated",
        observed=row.words("observed") or UNJUDGED,
        behaves=None if is_missing(behaves) else bool(behaves),
        reason=row.words("reason"),
    )


def standards(entries: Sequence[Mapping[str, Any]]) -> tuple[StandardView, ...]:
    """Results of the standards with the remedy their file names, failed ones first, otherwise in their order."""
    views = [_standard(entry, f"{STANDARDS}#/standards/{number}") for number, entry in enumerate(entries)]
    order = {str(Outcome.FAIL): 0, str(Outcome.NOT_EVALUABLE): 1, str(Outcome.UNDECIDED): 2}
    return tuple(sorted(views, key=lambda view: 3 if view.passed else order.get(view.outcome, 1)))


def _standard(entry: Mapping[str, Any], place: str) -> StandardView:
    name = _text(entry, "id", default="?")
    shipped = shipped_standards().get(name)
    return StandardView(
        standard_id=name,
        version=_text(entry, "version", place=place),
        title=_text(entry, "title", place=place),
        outcome=_text(entry, "outcome", default=UNKNOWN),
        severity=_text(entry, "severity"),
        kind=_text(entry, "kind"),
        reason=_text(entry, "reason", place=place),
        how_to_fix=stated(shipped.how_to_fix, f"standards/{name}#/how_to_fix") if shipped else "",
        applies=entry.get("applies", True) is not False,
    )


def evaluation(
    release: str, verdict: Mapping[str, Any], tables: Mapping[str, pd.DataFrame] | None = None
) -> EvaluationView:
    """Data origin, kind and warning flags, from the headline verdict and the table ``evaluation``.

    A verdict on nothing counts as one on the weakest data; where the evaluation read none, none is what is shown.
    """
    frame = (tables or {}).get("evaluation")
    row: dict[str, Any] = {str(k): v for k, v in frame.iloc[0].items()} if frame is not None and len(frame) else {}
    facts = {**row, **(verdict.get("headline") or {})}
    origin = NO_ORIGIN if _text(row, "data_origin") == NO_ORIGIN else _text(facts, "data_origin")
    kind = _text(verdict, "release_kind") or _text(row, "release_kind", default="release")
    return EvaluationView(
        data_origin=origin,
        origin_words=origin_label(origin),
        release_kind=kind,
        small=is_small(release),
        flags=_flags(release, kind, facts, f"{VERDICT}#/headline" if verdict.get("headline") else ""),
    )


def _flags(release: str, kind: str, facts: Mapping[str, Any], place: str) -> tuple[str, ...]:
    flags = []
    if kind != "release":
        flags.append(f"This is a {kind.replace('_', ' ')}, not a model that anyone claims anything about.")
    if is_small(release):
        flags.append("Small model, trained for demonstration; its verdict says nothing about full-size models.")
    if _true(facts.get("provisional")):
        flags.append("Provisional: too few seeds stand behind this verdict.")
    mismatch = _text(facts, "context_mismatch", place=place)
    if mismatch and mismatch.lower() not in {"false", "none"}:
        words = "cells and outcomes come from different contexts" if mismatch.lower() == "true" else mismatch
        flags.append(joined("Context mismatch: ", words, "."))
    if _text(facts, "role_fit") == "partial":
        flags.append("Partial fit: a stand-in data set serves in at least one role of this study.")
    if _true(facts.get("trained_on_evaluated_cells")):
        flags.append("The release was trained on cells that it is evaluated on.")
    if _true(facts.get("untrained")):
        flags.append("The weights of this release are untrained.")
    return tuple(flags)


def _true(value: Any) -> bool:
    return not is_missing(value) and (value is True or str(value).lower() == "true")


def settings_lines(settings_used: Any) -> tuple[tuple[str, str], ...]:
    """Settings a row really used, as (name, value) pairs; text that is no JSON object stands as it is."""
    if is_missing(settings_used) or settings_used in ("", "{}"):
        return ()
    try:
        loaded = json.loads(str(settings_used))
    except json.JSONDecodeError:
        return (("settings", str(settings_used)),)
    if not isinstance(loaded, dict):
        return (("settings", str(loaded)),)
    return tuple((str(key), value if isinstance(value, str) else json.dumps(value)) for key, value in loaded.items())
