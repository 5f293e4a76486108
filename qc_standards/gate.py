"""The gate: results, standards and claims in, verdicts with reasons out.

What belongs here: putting standards, criteria, controls and data origin together for every claim, and
judging controls. What does not: any statistics. Nothing else in the project decides a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from qc_standards.claims import (
    Claim,
    ControlExpectation,
    check_claim_ids,
    claims_registry,
    expectation,
    required_controls,
)
from qc_standards.content import table_hash
from qc_standards.criteria import judge_criterion
from qc_standards.criterion_parts import CriterionResult
from qc_standards.evidence import Evidence, is_missing
from qc_standards.records import DataOrigin, Outcome, Status
from qc_standards.registry import FAMILY_SIZES
from qc_standards.results import Results, ResultsError, check_stored, check_tests, read_results
from qc_standards.seeds import Seeds, seed_notes, seeds_behind
from qc_standards.standards import shipped_standards
from qc_standards.suites import StandardResult, judge_standard
from qc_standards.verdicts import FULL_SEEDS, Case, Clause, Grounds, Judgement, Verdict, behaves, decide

RELEASE_KINDS: Final = ("release", "positive_control", "negative_control")
CONTROL_CLAUSE: Final = "control_clause"
NO_ORIGIN: Final = "none"  # of an evaluation without a single row that was run


def _check_evaluation(evaluation: Mapping[str, Any]) -> None:
    if evaluation["release_kind"] not in RELEASE_KINDS:
        raise ResultsError(
            f"table evaluation: release_kind is {evaluation['release_kind']!r}, not one of {', '.join(RELEASE_KINDS)}"
        )
    origins = [*(str(origin) for origin in DataOrigin), NO_ORIGIN]
    if evaluation["data_origin"] not in origins:
        raise ResultsError(
            f"table evaluation: data_origin is {evaluation['data_origin']!r}, not one of {', '.join(origins)}"
        )
    if is_missing(evaluation["release"]) or is_missing(evaluation["study"]):
        raise ResultsError("table evaluation: release and study must be named")
    if is_missing(evaluation["context_mismatch"]) and evaluation["context_mismatch"] != "":
        raise ResultsError("table evaluation: context_mismatch is not stated; write an empty text where there is none")


def _standard_clause(result: StandardResult) -> Clause:
    return Clause(name=f"{result.id} ({result.title})", outcome=result.outcome, reason=result.reason)


def _control_clauses(claim: Claim, evidence: Evidence) -> tuple[Clause, ...]:
    """Controls of a claim: required ones must be judged and behave, optional ones must behave if judged."""
    release = str(evidence.evaluation["release"])
    frame = evidence.tables.get("control_outcomes")
    rows = [] if frame is None else frame.to_dict(orient="records")
    judged = {str(row["control"]): row for row in rows}
    repeated = len(judged) != len(rows)
    clauses = []
    for name in claim.controls:
        item = expectation(name)
        control = item.named(release)
        row = judged.get(control)
        if row is None and not item.required:
            continue
        if row is None or repeated:
            reason = "its outcome is missing" if row is None else "control_outcomes repeats a control"
            outcome = Outcome.NOT_EVALUABLE
        else:
            outcome = Outcome.PASS if row["behaves"] is True or row["behaves"] == 1 else Outcome.FAIL
            reason = f"expected {row['expected']}, observed {row['observed']}. {row['reason']}"
        clauses.append(Clause(name=f"control {control}", outcome=outcome, reason=reason))
    return tuple(clauses)


def _support_clauses(claim: Claim, standards: Sequence[StandardResult], evidence: Evidence) -> tuple[Clause, ...]:
    clauses = [
        _standard_clause(result)
        for result in standards
        if result.id in claim.standards and result.kind == "validity" and result.blocking
    ]
    judged = {result.id for result in standards}
    clauses += [
        Clause(name=f"standard {name}", outcome=Outcome.NOT_EVALUABLE, reason="is no active standard")
        for name in claim.standards
        if name not in judged
    ]
    missing = evidence.why_absent(claim.tests)
    if missing:
        clauses.append(Clause(name="required rows", outcome=Outcome.NOT_EVALUABLE, reason=missing))
    return tuple(clauses)


def _notes(
    evidence: Evidence, standards: Iterable[StandardResult], origin: DataOrigin, seeds: Seeds
) -> tuple[str, ...]:
    evaluation = evidence.evaluation
    told = []
    if origin is not DataOrigin.REAL:
        told.append(f"data origin {origin}")
    if evaluation["role_fit"] != "full":
        told.append(f"role fit {evaluation['role_fit'] or 'unknown'}: a stand-in dataset serves")
    told += seed_notes(seeds, FULL_SEEDS)
    if bool(evaluation["untrained"]):
        told.append("the model is untrained")
    warned = [
        item for item in standards if item.applies and item.severity == "warning" and item.outcome is not Outcome.PASS
    ]
    told += [f"warning {item.id} ({item.title}): {item.reason}" for item in warned if not item.unexamined]
    unexamined = [item.id for item in warned if item.unexamined]
    if unexamined:
        told.append(f"not examined, their table is absent or incomplete: {', '.join(unexamined)}")
    return tuple(told)


def _verdict(
    claim: Claim,
    evidence: Evidence,
    standards: tuple[StandardResult, ...],
    criteria: Mapping[str, CriterionResult],
) -> Verdict:
    evaluation = evidence.evaluation
    is_control = evaluation["release_kind"] != "release"
    origin = evidence.weakest_origin(claim.tests)
    mismatch = "" if is_missing(evaluation["context_mismatch"]) else str(evaluation["context_mismatch"])
    integrity = [
        item for item in standards if item.kind == "integrity" and item.applies and item.applies_to != CONTROL_CLAUSE
    ]
    case = Case(
        criteria=tuple(
            Clause(name=f"criterion {name}", outcome=criteria[name].outcome, reason=criteria[name].reason)
            for name in claim.criteria
        ),
        integrity=tuple(_standard_clause(item) for item in integrity if item.severity == "critical"),
        controls=() if is_control else _control_clauses(claim, evidence),
        support=_support_clauses(claim, standards, evidence),
        is_control=is_control,
        data_origin=origin,
        context_mismatch=mismatch,
    )
    decision = decide(case, claim.contexts)
    seeds = seeds_behind(evidence, claim.criteria)
    return Verdict(
        claim=claim.id,
        sentence=claim.sentence,
        release=str(evaluation["release"]),
        study=str(evaluation["study"]),
        state=decision.state,
        label=decision.label,
        reasons=decision.reasons,
        notes=_notes(evidence, standards, origin, seeds),
        criteria=tuple((name, criteria[name].outcome) for name in claim.criteria),
        evidence_level=claim.evidence_level,
        polarity=claim.polarity,
        data_origin=origin,
        role_fit=str(evaluation["role_fit"]),
        context_mismatch=mismatch,
        provisional=seeds.count < FULL_SEEDS,
        untrained=bool(evaluation["untrained"]),
        deciding=decision.deciding,
    )


def _grounds(evidence: Evidence) -> Grounds:
    """What the evaluation states about itself, and the datasets behind the headline's rows."""
    evaluation, tests = evidence.evaluation, evidence.tests
    run = tests[tests["status"] == Status.RUN.value]
    headline = run[run["test_id"].isin(list(claims_registry().headline.tests))]
    named = {key: evaluation.get(key) for key in ("release_id", "base_release", "data_origin")}
    told = {key: "" if is_missing(value) else str(value) for key, value in named.items()}
    return Grounds(
        release_id=told["release_id"],
        base_release=told["base_release"],
        seeds=seeds_behind(evidence, claims_registry().headline.criteria).count,
        origin=told["data_origin"],
        datasets=_names(headline["dataset"]),
        stand_ins=_names(run.loc[run["role_fit"] == "partial", "dataset"].str.split(" + ", regex=False).explode()),
        trained_on_evaluated_cells=evidence.flag("trained_on_evaluated_cells") is True,
    )


def _names(column: pd.Series) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(name) for name in column if not is_missing(name) and name != ""))


def judge_standards(
    tests: pd.DataFrame, tables: Mapping[str, pd.DataFrame], extended: pd.DataFrame | None = None
) -> tuple[StandardResult, ...]:
    """Outcome of every active shipped standard for one evaluation, in id order."""
    evidence = Evidence(tests=tests, tables=tables, extended=extended)
    return tuple(judge_standard(item, evidence) for item in shipped_standards().values() if item.status == "active")


def _complete(standards: tuple[StandardResult, ...]) -> tuple[StandardResult, ...]:
    """Return the given standard results when they are those of the shipped, active standards."""
    due = {item.id: item.content_hash for item in shipped_standards().values() if item.status == "active"}
    if {result.id: result.content_hash for result in standards} != due:
        raise ResultsError("the given standard results are not those of the shipped standards; judge them again")
    return standards


def judge_tables(
    tests: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    claims: Iterable[str] | None = None,
    *,
    standards: tuple[StandardResult, ...] | None = None,
    extended: pd.DataFrame | None = None,
) -> Judgement:
    """Judge one evaluation from its results frame and tables alone.

    Parameters
    ----------
    tests
        The 153-row frame of `qc_standards.multiplicity.results_frame`.
    tables
        Result tables by name, with ``evaluation`` (one row) among them.
    claims
        Ids of the asserted claims; the headline claim when None. Every declared claim is judged anyway.
    standards
        Results of `judge_standards` on the same tests and tables, when already at hand.
    extended
        The extended tests of the evaluation; they say why a table is absent.

    Raises
    ------
    ResultsError
        When the frame is not a complete results frame or the evaluation row is not usable.
    ClaimsError
        When an asserted claim is not declared.
    """
    registry = claims_registry()
    asserted = check_claim_ids([registry.headline.id] if claims is None else claims)
    check_tests(tests)
    evidence = Evidence(tests=tests, tables=tables, extended=extended)
    evaluation = evidence.evaluation
    _check_evaluation(evaluation)
    judged = judge_standards(tests, tables, extended) if standards is None else _complete(standards)
    criteria = {name: judge_criterion(evidence, spec) for name, spec in registry.criteria.items()}
    verdicts = {claim.id: _verdict(claim, evidence, judged, criteria) for claim in registry.claims.values()}
    return Judgement(
        study=str(evaluation["study"]),
        release=str(evaluation["release"]),
        release_kind=str(evaluation["release_kind"]),
        standards=judged,
        criteria=MappingProxyType(criteria),
        verdicts=MappingProxyType(verdicts),
        asserted=asserted,
        headline=registry.headline.id,
        inputs=MappingProxyType(
            {"tests": table_hash(tests), **{name: table_hash(tables[name]) for name in sorted(tables)}}
        ),
        counts=MappingProxyType({str(s): int((tests["status"] == s.value).sum()) for s in Status}),
        significant=MappingProxyType({name: int(tests[f"significant_{name.lower()}"].sum()) for name in FAMILY_SIZES}),
        grounds=_grounds(evidence),
    )


def judge(source: Path | Results, claims: Iterable[str] | None = None) -> Judgement:
    """Judge a result folder, or results in memory, ignoring any stored verdict."""
    results = source if isinstance(source, Results) else read_results(source, judged=False)
    return judge_tables(results.tests, results.tables, claims, extended=results.extended)


def check_folder(folder: Path, claims: Iterable[str] | None = None) -> Judgement:
    """Judge a complete result folder again; any difference from its stored verdict is a `ResultsError`."""
    results = read_results(folder)
    judgement = judge(results, claims)
    check_stored(results, judgement)
    return judgement


def control_outcome(judgement: Judgement, expected: ControlExpectation | str | None = None) -> dict[str, Any]:
    """Row of ``control_outcomes`` for a judged control: expected, observed, whether it behaves, and why.

    A positive control behaves when it passes the criteria it is judged on and no integrity standard is
    broken; a negative one when its claim has the expected verdict. The expectation is looked up by the
    release's name when not given.
    """
    item = expected if isinstance(expected, ControlExpectation) else expectation(expected or judgement.release)
    row = {"control": judgement.release, "expected": item.expected}
    if item.verdict is not None:
        verdict = judgement.verdicts[item.claim]
        reason = verdict.reasons[0] if verdict.reasons else ""
        observed = f"{item.claim} {verdict.state}"
        return {**row, "observed": observed, "behaves": behaves(judgement, item), "reason": reason}
    broken = [s for s in judgement.standards if s.kind == "integrity" and s.blocking]
    outcomes = {name: judgement.criteria[name] for name in item.passes}
    missed = [
        f"criterion {name} {c.outcome}: {c.reason}" for name, c in outcomes.items() if c.outcome is not Outcome.PASS
    ]
    missed += [_standard_clause(result).text for result in broken]
    observed = ", ".join(f"{name} {c.outcome}" for name, c in outcomes.items())
    passed = "; ".join(f"{name}: {c.reason}" for name, c in outcomes.items())
    reason = "; ".join(missed) if missed else passed
    return {**row, "observed": observed, "behaves": behaves(judgement, item), "reason": reason}


def missing_control(name: str, reason: str) -> dict[str, Any]:
    """Row of ``control_outcomes`` for a control that could not be judged; it does not behave."""
    return {
        "control": name,
        "expected": expectation(name).expected,
        "observed": "not judged",
        "behaves": False,
        "reason": reason,
    }


def controls_frame(rows: Iterable[Mapping[str, Any]], release: str) -> pd.DataFrame:
    """Return ``control_outcomes`` of a release, one row per control; required ones not given appear as missing."""
    given = {str(row["control"]): dict(row) for row in rows}
    for name in required_controls(release):
        given.setdefault(name, missing_control(name, "the control was not evaluated in this study"))
    columns = ["control", "expected", "observed", "behaves", "reason"]
    return pd.DataFrame([given[name] for name in sorted(given)], columns=columns)
