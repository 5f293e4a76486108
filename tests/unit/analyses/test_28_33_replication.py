"""Analyses 28 and 33: the difference is measured again, and a screen of few says what it cannot show."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, wilcoxon
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.baselines import gene_level_baselines
from interp_assets.analyses.incremental_value import conditional_incremental_value
from interp_assets.analyses.paired_contexts import told_power
from interp_assets.analyses.replication import second_screen_replication, small_screen_replication
from interp_assets.analyses.residualisation import cross_fitted_residualisation
from interp_assets.stats.replication import context_evidence
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis
from qc_standards.standards import required_columns, shipped_standards

NUMBERS = {"second_screen": 28, "small_screens[1]": 33}
RUN = {"second_screen": second_screen_replication, "small_screens[1]": small_screen_replication}


@pytest.fixture
def ask(make_inputs):
    """Function: inputs of the analysis of a role, filled with a synthetic screen of some knobs."""

    def factory(name, **knobs):
        number = NUMBERS[name]
        inputs = make_inputs(number, **knobs)
        roles = {} if not inputs.roles else {name: replace(inputs.roles["primary_screen"], role=name)}
        return replace(inputs, roles=roles, tests=tests_of_analysis(number))

    return factory


def run(ask, name, **knobs):
    return RUN[name](ask(name, **knobs))


def aurocs(role, score):
    return np.array([roc_auc_score(y[y >= 0], score[s][y >= 0]) for y, s in zip(role.label, role.source, strict=True)])


@pytest.mark.parametrize("layers", [18, 8, 4])
def test_published_layers_become_depths(ask, layers):
    output = run(ask, "small_screens[1]", perturbations=7, layers=layers)
    expected = {18: [6, 13, 15, 17], 8: [2, 5, 6, 7], 4: [1, 2, 3, 3]}[layers]
    assert [result.layer for result in output.results] == expected
    assert (output.results[3].reason == "same as A33.3") == (layers == 4)


def test_a_planted_advantage_is_found_again_at_its_size(ask):
    output = run(ask, "second_screen", seed=1)
    for result in output.results:
        assert result.status is Status.RUN
        assert result.effect > 0.3
        assert result.ci_low < result.effect < result.ci_high
        assert result.p < 1e-5
        assert "reads greater" in result.direction
    assert set(output.tables["replication_28"]["reading"]) == {"greater"}
    assert output.tables["replication_28_parts"]["made"].all()


def test_numbers_equal_scipy_and_scikit_learn(ask):
    inputs = ask("second_screen", kind="confound", seed=5, perturbations=18)
    role = inputs.roles["second_screen"]
    output = second_screen_replication(inputs)
    correlation = aurocs(role, role.correlation.score)
    for result, record in zip(output.results, output.tables["replication_28"].to_dict("records"), strict=True):
        gap = aurocs(role, role.attention.layer_matrix(result.layer).score) - correlation
        assert result.effect == pytest.approx(gap.mean(), abs=1e-12)
        assert result.p == pytest.approx(wilcoxon(gap, method="exact").pvalue, rel=1e-9)
        assert record["sd_difference"] == pytest.approx(gap.std(ddof=1), abs=1e-12)
        assert record["cohen_d"] == pytest.approx(gap.mean() / gap.std(ddof=1), abs=1e-9)
        assert record["mean_correlation"] == pytest.approx(correlation.mean(), abs=1e-12)


def test_further_parts_are_the_analyses_they_repeat(ask, make_inputs):
    knobs = {"kind": "confound", "seed": 6, "perturbations": 20, "genes": 100}
    tables = run(ask, "second_screen", **knobs).tables
    expected = {
        "baselines": gene_level_baselines(make_inputs(21, **knobs)).tables["baseline_differences"],
        "residual": cross_fitted_residualisation(make_inputs(25, **knobs)).tables["residual_summary"],
    }
    expected["residual"] = expected["residual"].query("learner == 'ols'").reset_index(drop=True)
    for name, table in expected.items():
        got = tables[f"replication_28_{name}"]
        assert set(got["role"]) == {"second_screen"}
        pd.testing.assert_frame_equal(got.drop(columns="role"), table.drop(columns="role"))
    gain = conditional_incremental_value(make_inputs(26, **knobs)).results[0]
    read = tables["replication_28_incremental"].query("edge == 'attention' and metric == 'auroc'").iloc[0]
    assert (read["delta"], read["ci_low"], read["ci_high"]) == (gain.effect, gain.ci_low, gain.ci_high)


def test_q_of_the_baselines_is_benjamini_hochberg_of_the_three(ask):
    table = run(ask, "second_screen", kind="confound", seed=2).tables["replication_28_baselines"]
    for _, part in table[table["baseline"].isin(["variance", "mean", "one_minus_dropout"])].groupby("edge"):
        assert part["q_edge_greater"].to_numpy() == pytest.approx(false_discovery_control(part["p_edge_greater"]))


def test_seven_perturbations_print_what_they_can_reach(ask):
    output = run(ask, "small_screens[1]", kind="noise", perturbations=7, seed=3)
    for result in output.results[:3]:
        used = json.loads(result.settings_used)
        assert used["smallest_attainable_p"] == 0.015625
        assert used["signed_rank"] == "exact"
        assert result.p >= 0.015625
        assert used["detectable_difference"] > 0.05
        assert used["power_at_margin"] < 0.3
        assert "smallest attainable p 0.0156" in result.direction
    assert not output.tables["replication_33"]["equivalent"].any()


def test_five_run_and_stay_undecided_four_are_skipped(ask):
    five = run(ask, "small_screens[1]", perturbations=5)
    assert five.results[0].status is Status.RUN
    assert five.results[0].p == 0.0625
    assert set(five.tables["replication_33"]["reading"]) == {"undecided"}
    assert (five.tables["replication_33"]["power_at_margin"] == 0).all()
    assert "no difference can be found at level 0.05" in five.results[0].direction
    assert "detectable" not in five.results[0].direction
    four = run(ask, "small_screens[1]", perturbations=4)
    assert {result.status for result in four.results} == {Status.SKIPPED}
    assert "evaluated: 4, which reach a two-sided p of 0.125 at best; at least 5" in four.results[0].reason
    assert not four.tables


def test_noise_is_found_no_more_often_than_the_level(ask):
    found, read = 0, []
    for seed in range(40):
        knobs = {"genes": 80, "perturbations": 8, "layers": 1, "settings": {"context_bootstrap": 200}}
        output = run(ask, "small_screens[1]", kind="noise", seed=seed, **knobs)
        found += output.results[0].p <= 0.05
        read += output.tables["replication_33"]["reading"].tolist()
        assert [result.reason for result in output.results[1:]] == ["same as A33.1"] * 3
    assert found <= 7
    assert "equal" not in read
    assert read.count("undecided") >= 32


def test_the_same_score_twice_is_no_context_of_the_table(ask):
    def copied(role):
        edges = replace(role.correlation, name="attention")
        return replace(role, attention=replace(role.attention, layer_matrix=lambda _: edges))

    output = run(ask, "small_screens[1]", alter=copied, perturbations=9)
    assert (output.results[0].effect, output.results[0].p) == (0.0, 1.0)
    assert output.tables["replication_33"].empty


def test_nearly_the_same_score_is_equal_by_its_test(ask):
    def jittered(role):
        noise = np.random.default_rng(5).normal(0, 0.01, role.correlation.score.shape).astype(np.float32)
        edges = replace(role.correlation, name="attention", score=role.correlation.score + noise)
        return replace(role, attention=replace(role.attention, layer_matrix=lambda _: edges))

    table = run(ask, "second_screen", alter=jittered).tables["replication_28"]
    assert set(table["reading"]) == {"equal"}
    assert (table["p_equivalent"] < 0.05).all()


def test_the_table_is_what_the_standard_reads(ask):
    wanted = required_columns(shipped_standards()["QCS-31"])
    table = run(ask, "second_screen").tables["replication_28"]
    assert len(wanted) == 13
    assert set(wanted) <= set(table.columns)
    assert not table.duplicated(["comparison", "context"]).any()
    assert table.notna().all().all()
    assert (table["ci_low"] <= table["mean_difference"]).all()
    assert (table["mean_difference"] <= table["ci_high"]).all()


def test_without_a_screen_or_a_reference_the_reason_stands(ask):
    empty = run(ask, "second_screen", absent="licence")
    assert all(result.status is Status.SKIPPED for result in empty.results)
    assert not empty.tables
    parts = run(ask, "second_screen", alter=lambda r: replace(r, references={})).tables["replication_28_parts"]
    told = parts.set_index("part")
    assert told["made"].to_dict() == {"baselines": True, "residual": False, "incremental": True}
    assert "not available" in told.loc["residual", "reason"]
    silent = run(ask, "second_screen", alter=lambda r: replace(r, label=np.minimum(r.label, 0).astype(np.int8)))
    assert all("evaluated: 0; at least 5" in result.reason for result in silent.results)
    assert not silent.tables["replication_28_parts"].set_index("part").loc[["baselines", "incremental"], "made"].any()


def test_other_cells_are_refused(ask):
    def other(role):
        return replace(role, correlation=replace(role.correlation, cells_hash="d" * 64))

    with pytest.raises(ValueError, match="same sampled control cells"):
        run(ask, "small_screens[1]", alter=other)


def test_a_reading_that_the_ranks_do_not_confirm_says_so():
    skewed = context_evidence([0.001] * 11 + [-0.3, -0.31, -0.32], 0.02, np.random.default_rng(0), 2000)
    parted = replace(skewed, reading="smaller")
    assert skewed.test.p > 0.05
    assert "does not confirm" in told_power(parted)
    assert "does not confirm" not in told_power(replace(skewed, reading="undecided"))


def test_a_p_that_the_interval_does_not_confirm_says_so():
    tailed = context_evidence([0.02] * 11 + [0.03, -0.4], 0.02, np.random.default_rng(0), 2000)
    assert tailed.test.p <= 0.05
    assert tailed.interval.low < 0 < tailed.interval.high
    assert tailed.reading == "undecided"
    assert "reads undecided by the interval of the mean, though the signed-rank p is at most 0.05;" in told_power(
        tailed
    )
    assert "though" not in told_power(replace(tailed, reading="greater"))
