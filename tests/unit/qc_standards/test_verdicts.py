from itertools import product

import pytest

from qc_standards.records import DataOrigin, Outcome, VerdictState
from qc_standards.verdicts import NO_REAL_OUTCOMES, Case, Clause, decide

P, F, U, N = Outcome.PASS, Outcome.FAIL, Outcome.UNDECIDED, Outcome.NOT_EVALUABLE


def clauses(outcomes, name="criterion"):
    return tuple(Clause(name=f"{name} {i}", outcome=o, reason=f"why {i}") for i, o in enumerate(outcomes))


@pytest.mark.parametrize(
    ("criteria", "integrity", "controls", "support", "state"),
    [
        ([P, P, P, P], [P], [P, P, P], [], "supported"),
        ([P, P, P, P], [F], [P, P, P], [], "not evaluable"),
        ([P, P, P, P], [N], [P, P, P], [], "not evaluable"),
        ([F, F, F, F], [F], [P, P, P], [], "not evaluable"),
        ([P, P, P, P], [P], [P, F, P], [], "not evaluable"),
        ([F, P, P, P], [P], [P, N, P], [], "not evaluable"),
        ([F, P, P, P], [P], [P], [], "refuted"),
        ([F, N, U, P], [P], [P], [], "refuted"),
        ([F, P, P, P], [P], [P], [F], "refuted"),
        ([P, N, P, P], [P], [P], [], "not evaluable"),
        ([P, N, U, P], [P], [P], [], "not evaluable"),
        ([P, P, P, P], [P], [P], [F], "not evaluable"),
        ([P, P, P, P], [P], [P], [N], "not evaluable"),
        ([P, U, P, P], [P], [P], [N], "not evaluable"),
        ([P, U, P, P], [P], [P], [], "inconclusive"),
        ([U, U, U, U], [], [], [], "inconclusive"),
        ([P], [], [], [], "supported"),
        ([], [P], [P], [], "not evaluable"),
    ],
)
def test_verdict_table(criteria, integrity, controls, support, state):
    case = Case(
        criteria=clauses(criteria),
        integrity=clauses(integrity, "standard"),
        controls=clauses(controls, "control"),
        support=clauses(support, "support"),
    )
    decision = decide(case)
    assert decision.state == state
    assert decision.label == state


def test_only_all_pass_is_supported():
    for outcomes in product([P, F, U, N], repeat=4):
        supported = decide(Case(criteria=clauses(outcomes))).state is VerdictState.SUPPORTED
        assert supported == all(outcome is P for outcome in outcomes)


def test_worsening_any_outcome_never_opens_a_claim():
    for outcomes in product([P, F, U, N], repeat=3):
        for place, worse in product(range(3), [F, U, N]):
            changed = [worse if i == place else o for i, o in enumerate(outcomes)]
            after = decide(Case(criteria=clauses(changed))).state
            assert after is not VerdictState.SUPPORTED


@pytest.mark.parametrize("origin", ["archived", "semi_synthetic", "simulated"])
@pytest.mark.parametrize("outcomes", list(product([P, F, U, N], repeat=2)))
def test_truth_that_is_not_real_clears_no_release(origin, outcomes):
    decision = decide(Case(criteria=clauses(outcomes), data_origin=DataOrigin(origin)))
    if F in outcomes:
        assert decision.state is VerdictState.REFUTED
        assert decision.label == f"refuted ({origin.replace('_', '-')})"
    else:
        assert decision.state is VerdictState.NOT_EVALUABLE
        assert decision.label == f"not evaluable: {NO_REAL_OUTCOMES}"
    assert any(NO_REAL_OUTCOMES in reason for reason in decision.reasons)


def test_a_control_may_be_supported_on_planted_truth():
    case = Case(criteria=clauses([P]), data_origin=DataOrigin.SEMI_SYNTHETIC, is_control=True)
    assert decide(case).state is VerdictState.SUPPORTED


def test_context_mismatch_caps_at_inconclusive_unless_named():
    case = Case(criteria=clauses([P, P]), context_mismatch="control cells from K562, outcomes from RPE1")
    assert decide(case).state is VerdictState.INCONCLUSIVE
    assert decide(case).reasons[0].startswith("context mismatch")
    named = decide(case, contexts=["control cells from K562, outcomes from RPE1"])
    assert named.state is VerdictState.SUPPORTED


@pytest.mark.parametrize(("outcome", "state"), [(F, "refuted"), (N, "not evaluable"), (U, "inconclusive")])
def test_context_mismatch_never_raises_a_verdict(outcome, state):
    assert decide(Case(criteria=clauses([P, outcome]), context_mismatch="other line")).state == state


def test_the_deciding_reason_comes_first():
    case = Case(criteria=clauses([U, N, F, P]), support=clauses([N], "rows"))
    reasons = decide(case).reasons
    assert reasons[0].startswith("criterion 2 fail")
    assert [reason.split(":")[0] for reason in reasons[1:]] == [
        "criterion 1 not evaluable",
        "rows 0 not evaluable",
        "criterion 0 undecided",
    ]
    broken = decide(Case(criteria=clauses([F]), integrity=clauses([F], "standard")))
    assert broken.reasons[0].startswith("standard 0 fail")
