"""Analysis 26 on synthetic worlds with a known answer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from interp_assets.analyses.incremental_value import conditional_incremental_value
from qc_standards.records import Status

FEW = {"power_simulations": 3, "bootstrap": 60}
POWER = [
    "edge", "true_gain", "simulations", "detected", "power", "gene_only", "gene_only_ci_low", "gene_only_ci_high",
    "delta", "ci_low", "ci_high", "n_pairs", "n_positive",
]  # fmt: skip


@pytest.fixture
def planted(make_inputs):
    return conditional_incremental_value(make_inputs(26, settings=FEW))


def test_planted_gain_is_found_and_correlation_has_none(planted):
    attention, correlation = planted.results
    assert attention.ci_low > 0.005
    assert correlation.ci_low < 0.005
    assert (attention.n, attention.unit, attention.effect_kind) == (30, "perturbation", "delta_auroc")
    assert attention.resamples_requested == attention.resamples_done == 60
    used = json.loads(attention.settings_used)
    assert (used["split"], used["learner"], used["edge"]) == ("perturbation", "logistic", "attention")
    assert used["gene_features"] == ["mean", "variance", "one_minus_dropout"]
    assert attention.effect == pytest.approx(attention.statistic - used["gene_only"], abs=1e-14)


def test_power_table_has_the_agreed_columns(planted):
    table = planted.tables["incremental_power"]
    assert list(table)[: len(POWER)] == POWER
    assert table["edge"].tolist() == ["attention", "correlation"]
    assert (table["simulations"] == 3).all()
    assert (table["power"] == table["detected"] / 3).all()
    assert table["power"].nunique() == 1  # a property of the screen, not of the edge


@pytest.mark.parametrize("kind", ["noise", "confound"])
def test_worlds_without_edge_signal_gain_nothing(make_inputs, kind):
    result = conditional_incremental_value(make_inputs(26, kind, settings=FEW)).results[0]
    assert result.ci_low < 0.005
    assert abs(result.effect) < 0.03


def test_no_gain_is_said_by_an_equivalence_test_and_not_by_an_interval_over_zero(make_inputs, planted):
    table = planted.tables["incremental_power"].set_index("edge")
    assert not table.loc["attention", "equivalent"]
    assert table.loc["attention", "p_equivalent"] > 0.9
    small = json.loads(conditional_incremental_value(make_inputs(26, "noise", settings=FEW)).results[0].settings_used)
    assert small["equivalent"] is False, "thirty perturbations cannot show equality within .005"
    settings = {**FEW, "gain_margin": 0.02, "bootstrap": 200}
    large = conditional_incremental_value(
        make_inputs(26, "confound", settings=settings, genes=200, perturbations=120, layers=1)
    )
    used = json.loads(large.results[0].settings_used)
    assert used["equivalent"] is True
    assert used["p_equivalent"] < 0.05
    assert used["gain_margin"] == 0.02


def test_missing_scores_get_an_indicator_and_are_reported(make_inputs):
    output = conditional_incremental_value(make_inputs(26, settings=FEW, missing=0.3))
    used = json.loads(output.results[0].settings_used)
    assert used["missing_share"] == pytest.approx(0.3, abs=0.03)
    assert output.results[0].ci_low > 0.005
    assert np.isfinite(output.results[0].effect)


def test_outcome_only_lists_work(make_inputs):
    output = conditional_incremental_value(
        make_inputs(26, settings=FEW, genes=400, perturbations=120, listed=0.15, targets=40)
    )
    assert output.results[0].ci_low > 0.005
    assert output.tables["incremental_power"]["n_pairs"].iloc[0] < 0.2 * 400 * 120


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"perturbations": 4}, "perturbations: 4 groups cannot fill 5 folds"),
        ({"targets": 150 - 1, "genes": 150}, "none is negative"),
        ({"listed": 0.0}, "none is positive"),
    ],
    ids=["few perturbations", "one class", "nothing listed"],
)
def test_too_little_data_is_skipped_with_the_reason(make_inputs, knobs, reason):
    output = conditional_incremental_value(make_inputs(26, settings=FEW, **knobs))
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert reason in output.results[0].reason


def test_one_positive_perturbation_leaves_a_training_fold_without_positives(make_inputs):
    def silence(role):
        role.label[1:][role.label[1:] == 1] = 0
        return role

    output = conditional_incremental_value(make_inputs(26, settings=FEW, alter=silence))
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert "has no positive pair" in output.results[0].reason
    assert output.tables["incremental_power"].empty


def test_absent_role_is_skipped(make_inputs):
    output = conditional_incremental_value(make_inputs(26, absent="no screen in this study"))
    assert {r.reason for r in output.results} == {"no screen in this study"}
