"""Analysis 3: the closed forms come out, the simulation agrees, and equal effects give no advantage."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr

from interp_assets.analyses import detectability
from interp_assets.analyses.detectability import detectability_theory
from interp_assets.analyses.inputs import AnalysisInputs
from interp_assets.stats.detectability import EffectClass
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis

SETTINGS = {"bootstrap": 60, "detectability_draws": 299, "simulation_seeds": 1}


def inputs(seed=0, release="any", **settings):
    return AnalysisInputs(
        study="synthetic",
        release=release,
        tests=tests_of_analysis(3),
        roles={},
        settings=SETTINGS | settings,
        seed=seed,
    )


@pytest.fixture(scope="module")
def output():
    return detectability_theory(inputs())


def test_rows_are_simulated_and_complete(output):
    assert [row.test_id for row in output.results] == ["A03.1", "A03.2"]
    for row in output.results:
        assert row.status is Status.RUN
        assert (row.data_origin, row.dataset, row.layer, row.reason) == ("simulated", "simulation", None, "")
        assert row.resamples_requested == row.resamples_done == 299
        assert row.p >= 1 / 300
        assert row.ci_low < row.effect < row.ci_high
        assert row.direction


def test_numbers_of_cells_are_those_of_the_closed_form(output):
    cells = output.tables["detectability_cells"].set_index(["effect_class", "tested_edges"])
    attention = cells.loc["attention_like", "cells_needed"].round().tolist()
    intervention = cells.loc["intervention_like", "cells_needed"].round().tolist()
    assert (attention, intervention) == ([3499, 3995, 4567], [1555, 1776, 2030])
    assert cells.loc["intervention_like", "ratio_to_attention_like"].nunique() == 1
    assert output.results[1].statistic == pytest.approx((0.08 / 0.12) ** 2)


def test_phase_grid_changes_sides_where_effects_and_noise_grow_alike(output):
    grid = output.tables["detectability_grid"]
    assert len(grid) == 625
    diagonal = grid[np.isclose(grid["effect_ratio"], grid["noise_ratio"])]
    assert set(diagonal["regime"]) == {"near equal"}
    assert set(grid.loc[grid["effect_ratio"] > 1.3 * grid["noise_ratio"], "regime"]) == {"intervention better"}
    assert set(grid.loc[grid["noise_ratio"] > 1.3 * grid["effect_ratio"], "regime"]) == {"attention better"}


def test_only_a_heavier_tail_of_one_class_removes_the_advantage(output):
    tails = output.tables["detectability_tails"].set_index(["tail_attention", "tail_intervention"])
    assert tails.loc[(1.0, 1.0), "ratio"] == pytest.approx(tails.loc[(1.2, 1.2), "ratio"])
    assert tails.loc[(1.2, 1.8), "ratio"] == pytest.approx(1.0)
    assert not tails.loc[(1.2, 1.8), "fewer_cells"]
    assert not tails.index.duplicated().any()


def test_prediction_row_reads_the_grid_and_the_closed_form_predicts_better(output):
    grid, agreed = (output.tables[name] for name in ("detection_theory", "detection_agreement"))
    row = output.results[0]
    assert row.effect == pytest.approx(pearsonr(grid["logistic"], grid["auroc"]).statistic)
    assert row.n == len(grid) == 55
    rmse = agreed.set_index("predictor")["rmse"]
    assert rmse["expected_auroc"] < 0.01 < rmse["logistic"]
    used = json.loads(row.settings_used)
    assert used["r_by_predictor"]["expected_auroc"] > 0.99
    assert used["saturated_cells"] == (grid["auroc"] >= 0.999).sum()


def test_boundaries_come_from_the_rates_and_say_where_there_is_none(output):
    rates = output.tables["detectability_rates"]
    boundary = output.tables["detectability_boundary"]
    assert len(boundary) == 5 * 2 * 6
    for line in boundary.itertuples():
        own = rates[(rates["family"] == line.family) & (rates["estimator"] == line.estimator)]
        own = own[(own["effect"] == line.effect) & own["detectable"]]
        if own.empty:
            assert np.isnan(line.true_positive_rate)
            assert boundary["boundary_cells"].isna()[line.Index]
        else:
            assert line.boundary_cells == own["cells"].min()
    clean = boundary[(boundary["family"] == "gaussian") & (boundary["estimator"] == "mean")].dropna()
    assert clean["boundary_cells"].is_monotonic_decreasing
    area = output.tables["detectability_area"].set_index("family")
    assert area.loc["contaminated", "relative_change"] > 0.15
    assert area.loc["contaminated", "mean_area"] < area.loc["gaussian", "mean_area"]


def test_projection_histograms_hold_every_draw(output):
    histogram = output.tables["detectability_projection"]
    assert histogram.groupby("scheme")["draws"].sum().tolist() == [299] * 3
    summary = output.tables["detectability_projection_summary"].set_index("scheme")
    assert output.results[1].p == summary.loc["groups", "p"]
    assert output.results[1].effect == pytest.approx(summary.loc["groups", "pilot_ratio"])


def test_equal_effects_give_no_advantage(monkeypatch):
    equal = EffectClass(effect=0.08)
    monkeypatch.setattr(detectability, "INTERVENTION", equal)
    monkeypatch.setattr(detectability, "CELLS", (50,))
    rows = [detectability_theory(inputs(seed)).results[1] for seed in range(6)]
    assert {row.statistic for row in rows} == {1.0}
    assert max(row.p for row in rows) > 0.3
    assert sum(row.p <= 0.05 for row in rows) <= 2


def test_numbers_follow_the_seed_and_no_release(output):
    other = detectability_theory(inputs(release="another"))
    assert [replace(row, release="any") for row in other.results] == list(output.results)
    for name, table in output.tables.items():
        assert table.equals(other.tables[name]), name
    assert detectability_theory(inputs(1)).results[1].effect != output.results[1].effect


def test_no_simulation_is_refused():
    with pytest.raises(ValueError, match="simulation_seeds = 0"):
        detectability_theory(inputs(simulation_seeds=0))
