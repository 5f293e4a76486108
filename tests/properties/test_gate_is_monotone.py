"""The gate is monotone: worse evidence never brings a claim nearer to supported, and foreign tables change nothing.

`test_gate_fails_closed` takes evidence away; here numbers get worse, clauses fail, and tables nobody asked for arrive.
Claims about published findings assert that an effect is absent, so only the claims of the four criteria are meant.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qc_standards.claims import claims_registry
from qc_standards.criteria import judge_criterion
from qc_standards.evidence import Evidence
from qc_standards.gate import judge_standards, judge_tables
from qc_standards.records import DataOrigin, Outcome, VerdictState
from qc_standards.verdicts import Case, Clause, decide
from tests.properties.laws import law
from tests.properties.test_gate_fails_closed import base

SEEDS = st.integers(0, 2**32 - 1)
SHARES = st.floats(0, 1)
RANK = {Outcome.FAIL: 0, Outcome.UNDECIDED: 1, Outcome.PASS: 2}
OUTCOMES = st.sampled_from(list(Outcome))
FOR_ATTENTION = ("attention_is_regulatory", "beats_gene_level_baselines", "adds_incremental_value")
FOR_ATTENTION += ("survives_confounds_and_degree", "causally_used")


def outcome(criterion, **tables):
    """Outcome of a criterion of the cleared evaluation with other tables."""
    evidence = Evidence(tests=base("cleared").tests, tables={**base("cleared").tables, **tables})
    return judge_criterion(evidence, claims_registry().criteria[criterion]).outcome


def assert_not_better(before, after):
    assert {before, after} <= set(RANK), "a number that is there can be judged"
    assert RANK[after] <= RANK[before]


@law("criterion a: a lower AUROC of attention, or a higher one of a baseline, is never better", 60)
@given(SEEDS, st.floats(-0.02, 0.02), st.floats(0, 0.05), SHARES, st.sampled_from(["attention", "variance", "mean"]))
def test_worse_ranking_is_never_better(seed, margin, loss, share, which):
    rng = np.random.default_rng(seed)
    table = base("cleared").tables["perturbation_auroc"].set_index(["score", "perturbation"]).copy()
    best = table["auroc"].loc["variance"].to_numpy()
    table.loc["attention", "auroc"] = np.clip(best + margin + rng.normal(0, 0.02, best.size), 0.1, 0.9)
    before = outcome("a", perturbation_auroc=table.reset_index())
    change = np.where(rng.random(best.size) < share, loss, 0.0) * (-1 if which == "attention" else 1)
    table.loc[which, "auroc"] = table["auroc"].loc[which].to_numpy() + change
    assert_not_better(before, outcome("a", perturbation_auroc=table.reset_index()))


@law("criterion b: lower gains, in any of the 18 combinations, are never better", 60)
@given(SEEDS, st.floats(0, 0.03), st.floats(0, 0.05), SHARES)
def test_a_smaller_gain_is_never_better(seed, width, loss, share):
    rng = np.random.default_rng(seed)
    table = base("cleared").tables["incremental_value"].copy()
    centre = rng.choice([0.0, 0.006, 0.02, 0.06]) + rng.normal(0, 0.002, len(table))
    table = table.assign(ci_low=centre - width, ci_high=centre + width, delta=centre)
    before = outcome("b", incremental_value=table)
    lost = np.where(rng.random(len(table)) < share, loss, 0.0)
    worse = table.assign(**{name: table[name] - lost for name in ("ci_low", "ci_high", "delta")})
    assert_not_better(before, outcome("b", incremental_value=worse))


@law("criterion c: less retained, less beyond degree, or a null that moves less, is never better", 80)
@given(SEEDS, st.sampled_from(["auroc_raw", "raw_ci_low", "kept", "observed", "z", "mean_jaccard", "null_sd"]), SHARES)
def test_less_that_is_kept_is_never_better(seed, worsened, share):
    rng = np.random.default_rng(seed)
    left = base("cleared").tables["residual_summary"].copy()
    kept = rng.choice([0.3, 0.75, 0.9]) + rng.normal(0, 0.1, len(left))
    left = left.assign(kept=kept, kept_ci_high=kept + 0.05, auroc_raw=rng.choice([0.55, 0.6, 0.9]))
    null = base("cleared").tables["degree_null"].copy()
    null = null.assign(z=rng.choice([1.0, 4.0, 30.0]), observed=null["null_mean"] + rng.choice([0.005, 0.05, 0.3]))
    before = outcome("c", residual_summary=left, degree_null=null)
    table = left if worsened in left else null
    table[worsened] = table[worsened] - share * (table[worsened].abs() + 0.1)
    if worsened == "kept":
        table["kept_ci_high"] = table["kept"] + 0.05
    after = outcome("c", residual_summary=left, degree_null=null)
    assert after is not Outcome.PASS or before is Outcome.PASS
    if worsened not in ("mean_jaccard", "null_sd"):  # a null that does not move says nothing in either direction
        assert_not_better(before, after)


@law("criterion d: a smaller drop, larger drops of random heads, or idle interventions, are never better", 25)
@given(SEEDS, st.sampled_from(["largest", "random", "idle"]), st.floats(0, 0.4), SHARES)
def test_less_use_of_heads_is_never_better(seed, worsened, amount, share):
    rng = np.random.default_rng(seed)
    conditions = base("cleared").tables["intervention_conditions"].copy()
    read = base("cleared").tables["intervention_auroc"].copy()
    read["auroc"] += rng.normal(0, 0.01, len(read)) * rng.choice([0.1, 1.0, 8.0])
    before = outcome("d", intervention_auroc=read, intervention_conditions=conditions)
    if worsened == "idle":
        conditions.loc[rng.random(len(conditions)) < share, "hidden_distance"] = 0.0
    else:
        top = conditions[(conditions["family"] == "top") & (conditions["operation"] == "zero_heads")]
        drawn = conditions[conditions["family"] == "random"]
        names = [top.sort_values("size")["condition"].iloc[-1]] if worsened == "largest" else list(drawn["condition"])
        hit = read["condition"].isin(names)
        read.loc[hit, "auroc"] += amount * share * (1 if worsened == "largest" else -1)
    after = outcome("d", intervention_auroc=read, intervention_conditions=conditions)
    assert after is not Outcome.PASS or before is Outcome.PASS


# The verdict table itself: whatever a claim depends on gets worse.


def clauses(outcomes, name):
    return tuple(Clause(name=f"{name} {place}", outcome=each, reason="") for place, each in enumerate(outcomes))


@st.composite
def cases(draw):
    few = {
        name: clauses(draw(st.lists(st.sampled_from([Outcome.PASS, *Outcome]), max_size=3)), name)
        for name in ("criteria", "integrity", "controls", "support")
    }
    return Case(
        **few,
        is_control=draw(st.booleans()),
        data_origin=draw(st.sampled_from([DataOrigin.REAL, *DataOrigin])),
        context_mismatch=draw(st.sampled_from(["", "", "another line"])),
    )


@law("verdict: no clause that gets worse, is added, or is lost from the criteria opens a claim", 300)
@given(cases(), st.sampled_from(["criteria", "integrity", "controls", "support"]), OUTCOMES, st.data())
def test_no_worse_clause_opens_a_claim(case, group, worse, data):
    assume(worse is not Outcome.PASS)
    held = getattr(case, group)
    added = replace(case, **{group: (*held, *clauses([worse], "added"))})
    assert decide(added).state is not VerdictState.SUPPORTED
    if held:
        place = data.draw(st.integers(0, len(held) - 1))
        changed = tuple(replace(clause, outcome=worse) if at == place else clause for at, clause in enumerate(held))
        assert decide(replace(case, **{group: changed})).state is not VerdictState.SUPPORTED
    assert decide(replace(case, criteria=())).state is not VerdictState.SUPPORTED


@law("verdict: truth that is not real, or of another context, opens no claim", 200)
@given(cases(), st.sampled_from([origin for origin in DataOrigin if origin is not DataOrigin.REAL]))
def test_weaker_truth_opens_no_claim(case, origin):
    before = decide(case).state
    assert decide(replace(case, context_mismatch="another tissue")).state is not VerdictState.SUPPORTED
    after = decide(replace(case, data_origin=origin)).state
    assert after is not VerdictState.SUPPORTED or (case.is_control and before is VerdictState.SUPPORTED)
    assert after is not VerdictState.REFUTED or before is VerdictState.REFUTED


# Whole evaluations.


@cache
def judged(name):
    standards = judge_standards(base(name).tests, base(name).tables)
    return standards, judge_tables(base(name).tests, base(name).tables, standards=standards)


def states(judgement):
    return {name: (verdict.label, verdict.reasons, verdict.notes) for name, verdict in judgement.verdicts.items()}


@law("gate: a standard that fails instead of passing opens no claim", 8)
@given(st.sampled_from(["cleared", "undecided", "refuted"]), st.sets(st.integers(0, 60), min_size=1, max_size=4))
def test_a_failing_standard_opens_no_claim(name, places):
    standards, before = judged(name)
    worse = tuple(
        replace(result, outcome=Outcome.FAIL, reason="made to fail")
        if place in {each % len(standards) for each in places}
        else result
        for place, result in enumerate(standards)
    )
    after = judge_tables(base(name).tests, base(name).tables, standards=worse)
    opened = {
        claim for claim, verdict in after.verdicts.items() if verdict.cleared and not before.verdicts[claim].cleared
    }
    assert not opened


@law("gate: higher p in declared tests open no claim", 6)
@given(st.sampled_from(["cleared", "undecided"]), st.sets(st.integers(0, 152), min_size=1, max_size=30), SHARES)
def test_a_higher_p_opens_no_claim(name, places, share):
    from qc_standards.multiplicity import results_frame

    rows = [
        replace(row, p=row.p + (1 - row.p) * share) if place in places and row.p is not None else row
        for place, row in enumerate(base(name).rows)
    ]
    before, after = judged(name)[1], judge_tables(results_frame(rows), base(name).tables)
    for claim in FOR_ATTENTION:
        assert before.verdicts[claim].cleared or not after.verdicts[claim].cleared


@law("gate: a table nobody asked for changes no verdict, reason or note", 4)
@given(
    st.sampled_from(["cleared", "refuted"]),
    st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=12),
    st.integers(0, 3),
)
def test_a_foreign_table_changes_nothing(name, called, rows):
    tables = base(name).tables
    assume(called not in tables)
    foreign = pd.DataFrame({"role": ["primary_screen"] * rows, "edge": "attention", "auroc": 0.99, "p": 0.0})
    standards = judge_standards(base(name).tests, {**tables, called: foreign})
    after = judge_tables(base(name).tests, {**tables, called: foreign}, standards=standards)
    assert states(after) == states(judged(name)[1])


@pytest.mark.parametrize("criterion", "abcd")
def test_the_evaluation_that_is_made_worse_passes_before(criterion):
    assert outcome(criterion) is Outcome.PASS
