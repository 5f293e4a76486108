"""Analysis 11: rows say what the generator gives, and find nothing where nothing was put in."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr, wilcoxon

from interp_assets.analyses import synthetic_truth as module
from interp_assets.analyses.inputs import AnalysisInputs
from interp_assets.analyses.synthetic_truth import synthetic_truth
from interp_assets.stats import synthetic_circuits
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

SETTINGS = {"bootstrap": 60, "detectability_draws": 299, "simulated_circuits": 60, "synthetic_seeds": 4}


def inputs(seed=0, release="any", **settings):
    return AnalysisInputs(
        study="synthetic",
        release=release,
        tests=tests_of_analysis(11),
        roles={},
        settings=SETTINGS | settings,
        seed=seed,
    )


@pytest.fixture(scope="module")
def output():
    return synthetic_truth(inputs())


def test_rows_are_simulated_and_complete(output):
    assert [row.test_id for row in output.results] == ["A11.1", "A11.2", "A11.3"]
    for row in output.results:
        assert row.status is Status.RUN
        assert (row.data_origin, row.dataset, row.layer, row.reason) == ("simulated", "simulation", None, "")
        assert 0 < row.p <= 1
        assert row.ci_low < row.effect < row.ci_high
        assert row.null_name
        assert row.direction


def test_recovery_row_is_the_correlation_of_its_series(output):
    points = output.tables["synthetic_recovery"]
    own = points[(points["series"] == "growing_states") & (points["score"] == "regression")]
    row = output.results[0]
    assert row.effect == pytest.approx(pearsonr(own["heterogeneity"], own["recovery"]).statistic)
    assert row.n == own["seed"].nunique() == 4
    assert own.groupby("states")["cells"].unique().explode().tolist() == [200, 500, 1000, 2000]


def test_series_with_one_thing_fixed_tell_cells_and_states_apart(output):
    trend = output.tables["synthetic_recovery_trend"].set_index(["series", "score"])
    for score in ("regression", "coexpression"):
        assert trend.loc[("fixed_cells", score), "r_heterogeneity"] < -0.5
        assert trend.loc[("fixed_cells", score), "p_less"] <= 0.05
        assert trend.loc[("one_state", score), "r_log_cells"] > 0.8
        assert np.isnan(trend.loc[("fixed_cells", score), "r_log_cells"])
        assert np.isnan(trend.loc[("one_state", score), "r_heterogeneity"])
    points = output.tables["synthetic_recovery"]
    fixed = points[points["series"] == "all_states"].groupby("cells")["heterogeneity"].mean()
    assert fixed.max() - fixed.min() < 0.03
    used = json.loads(output.results[0].settings_used)
    assert used["other_r"]["fixed_cells:regression"] == trend.loc[("fixed_cells", "regression"), "r_heterogeneity"]


def test_scores_without_signal_have_no_trend(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(module, "attention_like", lambda weights, expression, bias: rng.normal(size=weights.shape))
    rows = [synthetic_truth(inputs(seed, simulated_circuits=1, synthetic_seeds=3)).results[0] for seed in range(4)]
    assert max(row.p for row in rows) > 0.2
    assert min(row.p for row in rows) > 0.005
    assert abs(np.mean([row.effect for row in rows])) < 0.4


def test_circuit_row_is_a_paired_test_over_circuits(output):
    circuits = output.tables["synthetic_circuits"]
    assert len(circuits) == 60 * 3 * 2
    rho = circuits[circuits["truth"] == "contribution"].pivot(index="circuit", columns="estimator", values="rho")
    difference = rho["shapley"] - rho["single_restored"]
    row = output.results[1]
    assert row.effect == pytest.approx(difference.mean())
    assert row.p == pytest.approx(wilcoxon(difference, alternative="greater").pvalue)
    assert row.n == 60
    summary = output.tables["synthetic_circuits_summary"].set_index(["truth", "estimator"])
    assert summary.loc[("contribution", "shapley"), "mean_rho"] == pytest.approx(rho["shapley"].mean())
    assert summary.loc[("contribution", "shapley"), "read_outs"] == 256
    assert summary.loc[("contribution", "single_restored"), "read_outs"] == 9


def test_additive_circuits_give_shapley_no_advantage(monkeypatch):
    def linear(count, rng):
        return synthetic_circuits.draw_circuits(count, rng, gate="linear")

    monkeypatch.setattr(module, "draw_circuits", linear)
    row = synthetic_truth(inputs(synthetic_seeds=1)).results[1]
    assert (row.effect, row.p) == (0.0, 1.0)


def test_circuits_without_paths_are_left_out_and_said_so(monkeypatch):
    def empty(count, rng):
        drawn = synthetic_circuits.draw_circuits(count, rng)
        return replace(drawn, paths=np.zeros_like(drawn.paths))

    monkeypatch.setattr(module, "draw_circuits", empty)
    row = synthetic_truth(inputs(synthetic_seeds=1)).results[1]
    assert row.status is Status.SKIPPED
    assert "raise simulated_circuits" in row.reason
    assert json.loads(row.settings_used)["left_out"] == 60


def test_detection_in_cells_departs_from_the_theory_without_bias(output):
    agreed = output.tables["synthetic_detection_agreement"].set_index("predictor")
    assert agreed.loc["expected_auroc_with_bias", "rmse"] < agreed.loc["expected_auroc", "rmse"]
    grid = output.tables["synthetic_detection"]
    row = output.results[2]
    assert row.effect == pytest.approx(pearsonr(grid["logistic"], grid["auroc"]).statistic)
    assert json.loads(row.settings_used)["predictor"] == "logistic"


def test_one_seed_has_no_interval_and_says_so():
    row = synthetic_truth(inputs(synthetic_seeds=1)).results[0]
    assert (row.ci_low, row.ci_high) == (None, None)
    assert "raise synthetic_seeds" in row.reason
    assert row.effect is not None


def test_numbers_follow_the_seed_and_no_release(output):
    other = synthetic_truth(inputs(release="another"))
    assert [replace(row, release="any") for row in other.results] == list(output.results)
    for name, table in output.tables.items():
        assert table.equals(other.tables[name]), name
    assert synthetic_truth(inputs(1)).results[0].effect != output.results[0].effect


@pytest.mark.parametrize("name", ["synthetic_seeds", "simulated_circuits"])
def test_nothing_to_simulate_is_refused(name):
    with pytest.raises(ValueError, match="one or more"):
        synthetic_truth(inputs(**{name: 0}))
