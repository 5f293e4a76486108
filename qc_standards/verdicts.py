"""The verdict table: criteria, integrity, controls and evidence in, one state with its reasons out.

What belongs here: the decision and its caps. What does not: how a criterion or a standard is judged
(`qc_standards.criteria`, `qc_standards.suites`), or reading results (`qc_standards.gate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from qc_standards.claims import ControlExpectation, EvidenceLevel
from qc_standards.criterion_parts import CriterionResult
from qc_standards.records import DataOrigin, Outcome, VerdictState
from qc_standards.suites import StandardResult

FULL_SEEDS: Final = 3
NO_REAL_OUTCOMES: Final = "no real perturbation outcomes in this study"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One thing a verdict depends on: a criterion, a standard, a control or the required rows."""

    name: str
    outcome: Outcome
    reason: str

    @property
    def text(self) -> str:
        """The clause as a reason line."""
        return f"{self.name} {self.outcome}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything the verdict of one claim depends on.

    ``integrity`` and ``controls`` come first and close the claim when any is not passed; ``controls`` is empty
    where the judged release is itself a control. ``support`` holds what a supported verdict also needs: the
    critical validity standards the claim names, and its required rows.
    """

    criteria: tuple[Clause, ...]
    integrity: tuple[Clause, ...] = ()
    controls: tuple[Clause, ...] = ()
    support: tuple[Clause, ...] = ()
    is_control: bool = False
    data_origin: DataOrigin = DataOrigin.REAL
    context_mismatch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """State of a claim, how it reads, and the reasons with the most important first.

    ``deciding`` are the clauses that made the state what it is before data origin or context capped it.
    """

    state: VerdictState
    label: str
    reasons: tuple[str, ...]
    deciding: tuple[Clause, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Verdict on one claim for one release in one study. ``cleared`` only when supported."""

    claim: str
    sentence: str
    release: str
    study: str
    state: VerdictState
    label: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    criteria: tuple[tuple[str, Outcome], ...]
    evidence_level: EvidenceLevel
    polarity: str
    data_origin: DataOrigin
    role_fit: str
    context_mismatch: str
    provisional: bool
    untrained: bool
    deciding: tuple[Clause, ...] = ()

    @property
    def cleared(self) -> bool:
        """Whether the claim is open: supported and nothing else."""
        return self.state is VerdictState.SUPPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What an evaluation states about itself and every sentence about it has to cite.

    ``datasets`` stand behind the rows of the headline claim that were run, ``stand_ins`` behind rows whose role they
    fill only in part. ``origin`` is the stated one, which also says where nothing was read.
    """

    release_id: str = ""
    base_release: str = ""
    seeds: int = 0
    origin: str = ""
    datasets: tuple[str, ...] = ()
    stand_ins: tuple[str, ...] = ()
    trained_on_evaluated_cells: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Standards, criteria and verdicts of one release in one study.

    ``verdicts`` holds every declared claim; ``asserted`` the ids an exit code depends on. ``inputs`` has a
    content hash of the battery and of each table, ``counts`` the rows run, skipped and failed,
    ``significant`` the significant rows of each family.
    """

    study: str
    release: str
    release_kind: str
    standards: tuple[StandardResult, ...]
    criteria: Mapping[str, CriterionResult]
    verdicts: Mapping[str, Verdict]
    asserted: tuple[str, ...]
    headline: str
    inputs: Mapping[str, str]
    counts: Mapping[str, int]
    significant: Mapping[str, int]
    grounds: Grounds = Grounds()

    @property
    def asserted_verdicts(self) -> tuple[Verdict, ...]:
        """Verdicts of the asserted claims, in asserted order."""
        return tuple(self.verdicts[name] for name in self.asserted)


def behaves(judgement: Judgement, expected: ControlExpectation) -> bool:
    """Whether a judged control does what it must.

    A negative one has its claim refuted; a positive one passes its criteria and breaks no integrity standard.
    """
    if expected.verdict is not None:
        return judgement.verdicts[expected.claim].state is expected.verdict
    broken = any(result.kind == "integrity" and result.blocking for result in judgement.standards)
    return not broken and all(judgement.criteria[name].outcome is Outcome.PASS for name in expected.passes)


def _not_passed(clauses: Sequence[Clause]) -> list[Clause]:
    return [clause for clause in clauses if clause.outcome is not Outcome.PASS]


def _of(clauses: Sequence[Clause], outcome: Outcome) -> list[Clause]:
    return [clause for clause in clauses if clause.outcome is outcome]


def _first_match(case: Case) -> tuple[VerdictState, list[Clause]]:
    """First row of the verdict table that matches, with the clauses that made it match."""
    broken = _not_passed(case.integrity) + _not_passed(case.controls)
    if broken:
        return VerdictState.NOT_EVALUABLE, broken
    failed = _of(case.criteria, Outcome.FAIL)
    if failed:
        return VerdictState.REFUTED, failed
    gaps = _of(case.criteria, Outcome.NOT_EVALUABLE) + _not_passed(case.support)
    if gaps or not case.criteria:
        return VerdictState.NOT_EVALUABLE, gaps
    undecided = _of(case.criteria, Outcome.UNDECIDED)
    if undecided:
        return VerdictState.INCONCLUSIVE, undecided
    return VerdictState.SUPPORTED, list(case.criteria)


def _others(case: Case, told: Sequence[Clause]) -> list[str]:
    """Remaining clauses that did not pass: failures, then gaps, then undecided ones."""
    rest = [c for c in (*case.criteria, *case.support) if c not in told]
    ranked = (Outcome.FAIL, Outcome.NOT_EVALUABLE, Outcome.UNDECIDED)
    return [clause.text for outcome in ranked for clause in _of(rest, outcome)]


def decide(case: Case, contexts: Sequence[str] = ()) -> Decision:
    """Verdict by the first matching row of the table, then capped by data origin and context.

    1. an integrity standard or a control is not passed: not evaluable; 2. any criterion fails: refuted;
    3. any criterion, named validity standard or required row is not evaluable: not evaluable; 4. any
    criterion undecided: inconclusive; 5. supported. On data that are not real a release that is no control
    is *refuted (origin)* or *not evaluable*; a context mismatch the claim does not name (``contexts``) caps
    at inconclusive.
    """
    state, deciding = _first_match(case)
    reasons = [clause.text for clause in deciding] + _others(case, deciding)
    if case.context_mismatch and case.context_mismatch not in contexts and state is VerdictState.SUPPORTED:
        state = VerdictState.INCONCLUSIVE
        reasons.insert(0, f"context mismatch: {case.context_mismatch}")
    if case.is_control or case.data_origin is DataOrigin.REAL:
        return Decision(state=state, label=str(state), reasons=tuple(reasons), deciding=tuple(deciding))
    return _assay_run(case, state, reasons, deciding)


def _assay_run(case: Case, state: VerdictState, reasons: list[str], deciding: Sequence[Clause]) -> Decision:
    """Reading of a verdict whose truth is not real: it can refute, and can clear nothing."""
    origin = str(case.data_origin).replace("_", "-")
    told = f"{NO_REAL_OUTCOMES} (data origin {origin})"
    if state is VerdictState.REFUTED:
        label = f"refuted ({origin})"
        return Decision(state=state, label=label, reasons=(*reasons, told), deciding=tuple(deciding))
    closed_before = state is VerdictState.NOT_EVALUABLE
    ordered = (*reasons, told) if closed_before else (told, *reasons)
    return Decision(
        state=VerdictState.NOT_EVALUABLE,
        label=f"not evaluable: {NO_REAL_OUTCOMES}",
        reasons=tuple(ordered),
        deciding=tuple(deciding),
    )
