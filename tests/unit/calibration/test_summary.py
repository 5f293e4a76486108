from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest
from statsmodels.stats.proportion import proportion_confint

from interp_assets.calibration import summary
from interp_assets.calibration.rates import rate


def test_every_outcome_is_counted_and_only_a_pass_is_a_false_pass(results):
    results.criterion("pure", "a", ["pass", "fail", "undecided", "not evaluable", "fail"])
    (row,) = summary.false_passes(results.frame).to_dict("records")
    assert [row[name] for name in ("pass", "fail", "undecided", "not_evaluable", "n")] == [1, 2, 1, 1, 5]
    assert row["rate"] == 0.2
    assert (row["low"], row["high"]) == pytest.approx(proportion_confint(1, 5, 0.05, method="beta"))


@pytest.mark.parametrize(
    ("outcomes", "together"),
    [
        (("pass", "pass", "pass"), "pass"),
        (("pass", "undecided", "pass"), "undecided"),
        (("pass", "not evaluable", "undecided"), "not evaluable"),
        (("fail", "pass", "not evaluable"), "fail"),
    ],
)
def test_together_they_pass_only_where_each_does(results, outcomes, together):
    for name, outcome in zip("abc", outcomes, strict=True):
        results.criterion("pure", name, [outcome])
    passes = summary.false_passes(results.frame).set_index("criterion")
    assert passes.loc["all", "pass"] == int(together == "pass")
    assert passes.loc["all", together.replace(" ", "_")] == 1


def test_a_pass_of_each_in_another_seed_is_no_pass_together(results):
    results.criterion("pure", "a", ["pass", "fail"]).criterion("pure", "b", ["fail", "pass"])
    results.criterion("pure", "c", ["pass", "pass"])
    assert summary.false_passes(results.frame).set_index("criterion").loc["all", "pass"] == 0


def test_rejections_are_counted_where_the_null_is_true_and_nowhere_else(results):
    p = np.linspace(0.005, 0.995, 100)
    results.test("pure", "A19.2", p).test("pure", "A22.1", np.zeros(100)).test("confound_only", "A19.2", np.zeros(100))
    levels = summary.levels_of_tests(results.frame)
    assert levels[["test", "world"]].to_numpy().tolist() == [["A19.2", "pure"]]
    (row,) = levels.to_dict("records")
    assert (row["rejected"], row["n"], row["without_p"]) == (5, 100, 0)
    assert row["valid"]
    assert row["ks"] == pytest.approx(0.005)


def test_a_missing_p_is_counted_apart(results):
    results.test("pure", "A16.2", [0.5, np.nan, 0.02])
    (row,) = summary.levels_of_tests(results.frame).to_dict("records")
    assert (row["n"], row["without_p"], row["rejected"]) == (2, 1, 1)


def test_uniformity_is_corrected_over_all_rows(results):
    rng = np.random.default_rng(0)
    for test in ("A16.1", "A16.2", "A19.1"):
        results.test("pure", test, rng.random(200))
    results.test("pure", "A19.2", rng.random(200) ** 3)
    frame = results.frame
    levels = summary.levels_of_tests(frame).set_index("test")
    for test, exact in levels["p_uniform"].items():
        assert exact == pytest.approx(kstest(summary.p_values(frame)["pure", test], "uniform").pvalue)
    assert (levels["q_uniform"] >= levels["p_uniform"]).all()
    assert levels.loc["A19.2", "q_uniform"] < 0.05
    assert not levels.loc["A19.2", "valid"]
    assert (levels["q_uniform"].drop("A19.2") > 0.05).all()


def test_single_combinations_of_b_are_held_against_both_bounds(results):
    lows = {"joint/logistic/auroc": [0.001, 0.02], "joint/boosting/auprc": [-0.1, -0.1]}
    for name, values in lows.items():
        results.part("pure", f"b/{name}", ["fail", "fail"], values)
    (row,) = summary.gain_openings(results.frame).to_dict("records")
    assert (row["split"], row["above_0"], row["above_margin"]) == ("joint", 0.5, 0.25)
    assert (row["any"], row["seeds"]) == (1, 2)


def test_parts_are_shares_of_seeds(results):
    results.part("coexpression", "c/degree", ["pass", "pass", "fail", "not evaluable"], [4.0, 5.0, 1.0, np.nan])
    table = summary.part_rates(results.frame, "c")
    assert table.loc["coexpression", "c/degree"] == 0.5


def test_power_follows_the_strength_and_the_crossing_follows_power(results):
    passing = {0.5: 0, 1.0: 2, 1.5: 6, 2.0: 10}
    for strength, count in passing.items():
        results.criterion(f"planted {strength:g} off 0.02", "a", ["pass"] * count + ["fail"] * (10 - count))
    table = summary.power(results.frame)
    assert table.dropna(subset="rate").set_index("strength")["rate"].to_dict() == {
        0.5: 0.0,
        1.0: 0.2,
        1.5: 0.6,
        2.0: 1.0,
    }
    found = summary.crossings(table, 0.02)
    assert found["a"] == pytest.approx(np.sqrt(1.5 * 2.0))


@pytest.mark.parametrize(
    ("low", "high", "n", "verdict"),
    [
        (0.051, 0.2, 300, "too often"),
        (0.051, 0.9, 5, "too often"),
        (0.05, 0.2, 300, "holds"),
        (0.0, 0.05, 300, "holds"),
        (0.0, 0.049, 300, "too seldom"),
        (0.0, 0.3, 71, "too few seeds"),
    ],
)
def test_a_level_is_wrong_only_where_its_limits_leave_it_out(low, high, n, verdict):
    assert summary.level_verdict(low, high, n) == verdict


def test_the_fewest_seeds_are_those_that_could_show_a_level_too_low():
    assert rate(0, summary.FEWEST_SEEDS).high < summary.ALPHA <= rate(0, summary.FEWEST_SEEDS - 1).high
