import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from qc_standards.causal_use import lowered, read_ablation
from qc_standards.claims import claims_registry
from qc_standards.criteria import judge_criterion
from qc_standards.evidence import Evidence, MissingEvidenceError
from qc_standards.records import Outcome

P, F, U, N = Outcome.PASS, Outcome.FAIL, Outcome.UNDECIDED, Outcome.NOT_EVALUABLE
SPEC = claims_registry().criteria["d"]
UPSTREAM = {"pool": "upstream"}


def judge(evaluation):
    return judge_criterion(Evidence(tests=evaluation.tests, tables=evaluation.tables), SPEC)


def part(evaluation, name):
    return next(one for one in judge(evaluation).parts if one.name == name)


def lower(evaluation, condition, amount, read_out="attention"):
    """Take ``amount`` from the read-out under conditions whose name starts with ``condition``."""
    table = evaluation.tables["intervention_auroc"].copy()
    chosen = table["condition"].str.startswith(condition) & (table["read_out"] == read_out)
    assert chosen.any()
    table.loc[chosen, "auroc"] -= amount
    evaluation.tables["intervention_auroc"] = table
    return evaluation


def without(evaluation, table, chosen):
    frame = evaluation.tables[table]
    assert chosen(frame).any()
    evaluation.tables[table] = frame[~chosen(frame)].reset_index(drop=True)
    return evaluation


def test_a_network_that_is_used_passes_every_part(planted):
    result = judge(planted)
    assert result.outcome is P, result.reason
    assert [one.name for one in result.parts] == [
        "dose response",
        "beyond random heads",
        "uniform attention",
        "feed-forward",
        "material",
    ]


def test_a_read_out_that_no_mask_lowers_fails(make_release):
    result = judge(make_release(drop=0.0))
    assert result.outcome is F
    assert "dose response" in result.reason


def test_numbers_equal_a_plain_recomputation(planted):
    table = planted.tables["intervention_auroc"]
    wide = table[table["read_out"] == "attention"].pivot(index="perturbation", columns="condition", values="auroc")
    drop = wide["clean"] - wide["upstream-top-50"]
    told = part(planted, "dose response").numbers
    assert told["change"] == pytest.approx(-drop.mean(), abs=1e-12)
    assert told["p"] == pytest.approx(wilcoxon(drop, alternative="greater").pvalue)
    sets = [wide["clean"] - wide[f"upstream-random-50/{draw}"] for draw in range(1, 21)]
    beyond = part(planted, "beyond random heads").numbers
    assert beyond["change"] == pytest.approx((np.mean(sets, axis=0) - drop).mean(), abs=1e-12)
    assert beyond["p"] == pytest.approx((1 + sum(one.mean() >= drop.mean() for one in sets)) / 21)


def test_heads_that_matter_no_more_than_random_ones_do_not_pass(planted):
    for dose, share in ((5, 0.1), (10, 0.2), (20, 0.4), (50, 1.0)):
        lower(planted, f"upstream-random-{dose}/", 0.25 * share)
    assert part(planted, "beyond random heads").outcome is F
    assert part(planted, "dose response").outcome is P
    assert judge(planted).outcome is F


def test_one_random_set_ahead_of_the_top_set_keeps_it_undecided(planted):
    lower(planted, "upstream-random-50/7", 0.4)
    told = part(planted, "beyond random heads")
    assert told.outcome is U
    assert told.numbers["p"] == pytest.approx(2 / 21)


def test_a_dose_response_that_turns_back_fails(planted):
    lower(planted, "upstream-top-50", -0.2)
    told = part(planted, "dose response")
    assert told.outcome is F
    assert "not monotone" in told.reason


@pytest.mark.parametrize(("condition", "name"), [("upstream-uniform", "uniform attention"), ("mlp-8", "feed-forward")])
def test_other_interventions_must_lower_it_too(planted, condition, name):
    lower(planted, condition, -0.2)
    assert part(planted, name).outcome is F
    assert judge(planted).outcome is F


def test_an_interval_around_the_margin_is_undecided(make_release):
    release = make_release(drop=0.0)
    table = release.tables["intervention_auroc"]
    chosen = (table["condition"] == "mlp-8") & (table["read_out"] == "attention")
    spread = np.random.default_rng(3).normal(-0.004, 0.03, chosen.sum())
    table.loc[chosen, "auroc"] += spread
    assert part(release, "feed-forward").outcome is U


def test_an_immaterial_intervention_is_no_evidence_either_way(planted, make_release):
    planted.set("intervention_conditions", {"condition": "upstream-top-5"}, hidden_distance=0.019)
    result = judge(planted)
    assert result.outcome is N
    assert "upstream-top-5" in result.reason
    idle = make_release(drop=0.0)
    idle.tables["intervention_conditions"]["hidden_distance"] = 0.001
    assert judge(idle).outcome is N
    assert "no evidence" in judge(idle).parts[0].reason


@pytest.mark.parametrize("values", [{"hidden_distance": None}, {"changed": False}])
def test_an_unknown_or_absent_change_counts_as_none(planted, values):
    planted.set("intervention_conditions", {"condition": "mlp-8"}, **values)
    assert part(planted, "material").outcome is N


def test_fewer_than_twenty_random_sets_are_no_null(planted):
    without(planted, "intervention_conditions", lambda frame: frame["condition"] == "upstream-random-50/20")
    told = part(planted, "beyond random heads")
    assert told.outcome is N
    assert "19 random sets of 50 heads" in told.reason


def test_one_size_is_no_dose_response(planted):
    top = (*(f"upstream-top-{dose}" for dose in (10, 20, 50)),)
    without(planted, "intervention_conditions", lambda frame: frame["condition"].isin(top))
    assert part(planted, "dose response").outcome is N


@pytest.mark.parametrize("condition", ["upstream-uniform", "mlp-8"])
def test_a_kind_of_intervention_that_is_absent_is_not_passed(planted, condition):
    without(planted, "intervention_conditions", lambda frame: frame["condition"].str.startswith(condition))
    assert judge(planted).outcome is N


def test_conditions_behind_the_read_out_are_not_judged(planted):
    lower(planted, "mlp-15", -0.3)
    lower(planted, "top-5", -0.3)
    assert judge(planted).outcome is P


def test_a_condition_that_lies_about_its_place_is_refused(planted):
    planted.set("intervention_conditions", {"condition": "mlp-15"}, upstream=True)
    result = judge(planted)
    assert result.outcome is N
    assert "mlp-15 says upstream True, its parts mlp.15 and read-out layer 13 say otherwise" in result.reason


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (lambda frame: frame["condition"] == "clean", "lacks clean"),
        (lambda frame: (frame["condition"] == "mlp-8") & (frame["perturbation"] == "TF3"), "lacks a perturbation"),
        (lambda frame: frame["perturbation"].isin([f"TF{i}" for i in range(15, 60)]), "at least 20 are needed"),
        (lambda frame: frame["read_out"] == "attention", "lacks clean"),
    ],
)
def test_missing_read_outs_are_not_evaluable(planted, chosen, told):
    without(planted, "intervention_auroc", chosen)
    result = judge(planted)
    assert result.outcome is N
    assert told in result.reason


@pytest.mark.parametrize("table", ["intervention_auroc", "intervention_conditions"])
def test_a_repeated_row_is_not_evaluable(planted, table):
    frame = planted.tables[table]
    planted.tables[table] = pd.concat([frame, frame.head(1)], ignore_index=True)
    result = judge(planted)
    assert result.outcome is N
    assert "repeats" in result.reason


@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_does_not_matter(planted, seed):
    told = judge(planted)
    for name in ("intervention_auroc", "intervention_conditions"):
        planted.tables[name] = planted.tables[name].sample(frac=1, random_state=seed).reset_index(drop=True)
    again = judge(planted)
    assert (again.outcome, again.reason) == (told.outcome, told.reason)


def test_without_the_tables_the_skipped_rows_say_why(coexpression):
    result = judge(coexpression)
    assert result.outcome is N
    assert "an edge table has no heads" in result.reason


def test_a_drop_has_three_outcomes():
    thresholds = SPEC.thresholds
    noise = np.random.default_rng(0).normal(0.0, 0.01, 100)
    assert lowered(noise + 0.05, thresholds, 0).outcome is P
    assert lowered(noise * 0.1, thresholds, 0).outcome is F
    assert lowered(noise * 10, thresholds, 0).outcome is U


def test_evidence_is_read_once_and_whole(planted):
    found = read_ablation(Evidence(tests=planted.tests, tables=planted.tables), SPEC.thresholds)
    assert list(found.top()["size"]) == [5, 10, 20, 50]
    assert set(found.conditions["upstream"]) == {True}
    with pytest.raises(MissingEvidenceError, match="table intervention_conditions is absent"):
        read_ablation(Evidence(tests=planted.tests, tables={}), SPEC.thresholds)
