"""Analysis 25 on synthetic worlds with a known answer."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from interp_assets.analyses.residualisation import cross_fitted_residualisation
from qc_standards.records import Status

SEEDS = {"residual_seeds": 3, "residual_boosting_seeds": 2, "bootstrap": 50}
SUMMARY = [
    "role", "dataset", "edge", "reference", "learner", "auroc_raw", "raw_ci_low", "raw_ci_high", "auroc_residual",
    "sd_over_seeds", "kept", "kept_ci_low", "kept_ci_high", "resamples_requested", "resamples_done",
]  # fmt: skip
EACH = [
    "role", "dataset", "edge", "reference", "learner", "seed", "auroc_raw", "auroc_residual", "kept", "n_pairs",
    "n_positive",
]  # fmt: skip


@pytest.fixture
def planted(make_inputs):
    return cross_fitted_residualisation(make_inputs(25, settings=SEEDS))


def test_tables_have_the_agreed_columns(planted):
    summary, each = planted.tables["residual_summary"], planted.tables["residual_retention"]
    assert list(summary)[: len(SUMMARY)] == SUMMARY
    assert list(each) == EACH
    assert list(summary[["edge", "learner"]].itertuples(index=False, name=None)) == [
        ("attention", "ols"), ("attention", "boosting"), ("correlation", "ols"), ("correlation", "boosting"),
    ]  # fmt: skip
    assert each.groupby(["edge", "learner"]).size().to_dict() == {
        ("attention", "ols"): 3,
        ("attention", "boosting"): 2,
        ("correlation", "ols"): 3,
        ("correlation", "boosting"): 2,
    }
    assert (summary["resamples_done"] == 50).all()


def test_summary_is_the_mean_over_seeds_and_unrounded(planted):
    each = planted.tables["residual_retention"]
    for _, row in planted.tables["residual_summary"].iterrows():
        mine = each[(each["edge"] == row["edge"]) & (each["learner"] == row["learner"])]
        assert row["auroc_residual"] == pytest.approx(mine["auroc_residual"].mean(), abs=1e-14)
        assert row["sd_over_seeds"] == pytest.approx(mine["auroc_residual"].std(), abs=1e-14)
        assert row["kept"] == pytest.approx((row["auroc_residual"] - 0.5) / (row["auroc_raw"] - 0.5), abs=1e-12)


def test_planted_network_is_retained(planted):
    summary = planted.tables["residual_summary"].set_index(["edge", "learner"])
    for learner in ("ols", "boosting"):
        assert summary.loc[("attention", learner), "kept"] > 0.9
        assert summary.loc[("attention", learner), "nothing_to_retain"] == ""


def test_rows_carry_effect_interval_unit_and_settings(planted):
    by_id = {r.test_id: r for r in planted.results}
    summary = planted.tables["residual_summary"].set_index(["edge", "learner"])
    expected = {"A25.1": ("attention", "ols"), "A25.2": ("correlation", "ols"), "A25.3": ("attention", "boosting")}
    for test_id, key in expected.items():
        result, line = by_id[test_id], summary.loc[key]
        assert result.status is Status.RUN
        assert result.effect == line["auroc_residual"]
        assert (result.ci_low, result.ci_high) == (line["residual_ci_low"], line["residual_ci_high"])
        assert result.statistic == line["sd_over_seeds" if test_id == "A25.3" else "kept"]
        assert (result.n, result.unit) == (30, "regulator")
        assert result.resamples_requested == result.resamples_done == 50
        used = json.loads(result.settings_used)
        assert (used["edge"], used["learner"], used["reference"]) == (*key, "planted")
        assert ("boosting" in used) == (key[1] == "boosting")
    assert len({r.settings_hash for r in planted.results}) == 3


def test_hub_recovery_is_not_retained(make_inputs):
    output = cross_fitted_residualisation(make_inputs(25, "confound", settings=SEEDS))
    summary = output.tables["residual_summary"].set_index(["edge", "learner"])
    assert summary.loc[("attention", "ols"), "auroc_raw"] > 0.6
    for learner in ("ols", "boosting"):
        assert summary.loc[("attention", learner), "kept_ci_high"] < 0.8


def test_noise_says_there_is_nothing_to_retain(make_inputs):
    output = cross_fitted_residualisation(make_inputs(25, "noise", settings=SEEDS))
    assert "nothing to retain" in output.results[0].reason
    assert output.results[0].effect is not None


def test_raw_auroc_equals_scikit_learn(make_inputs, planted):
    from sklearn.metrics import roc_auc_score

    role = make_inputs(25).roles["primary_screen"]
    score = role.attention.layer_matrix(2).score.astype(np.float64)
    reference = role.references["planted"]
    member = np.zeros(score.shape, bool)
    member[reference.source, reference.target] = True
    rows = np.unique(reference.source)
    pair = rows[:, None] != np.arange(score.shape[0])
    expected = roc_auc_score(member[rows][pair], score[rows][pair])
    found = planted.tables["residual_summary"].iloc[0]["auroc_raw"]
    assert found == pytest.approx(expected, abs=1e-12)


def test_one_boosting_seed_leaves_the_spread_out_and_says_so(make_inputs):
    result = cross_fitted_residualisation(make_inputs(25, settings=SEEDS | {"residual_boosting_seeds": 1})).results[2]
    assert result.statistic is None
    assert result.reason == "one fold seed has no spread"
    assert result.effect is not None


def test_same_inputs_give_the_same_bytes(make_inputs, planted):
    again = cross_fitted_residualisation(make_inputs(25, settings=SEEDS))
    assert again.results == planted.results
    for name, table in planted.tables.items():
        assert table.equals(again.tables[name])


def test_absent_role_and_absent_reference_are_skipped(make_inputs):
    output = cross_fitted_residualisation(make_inputs(25, absent="no screen in this study"))
    assert {r.reason for r in output.results} == {"no screen in this study"}
    unfilled = cross_fitted_residualisation(
        make_inputs(25, alter=lambda role: replace(role, primary_reference="corum"))
    )
    assert {r.status for r in unfilled.results} == {Status.SKIPPED}
    assert "corum" in unfilled.results[0].reason


def test_tiny_universe_is_skipped_with_the_reason(make_inputs):
    output = cross_fitted_residualisation(make_inputs(25, settings=SEEDS, genes=8, perturbations=3, targets=2))
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert "boosting needs 40" in output.results[0].reason
    assert not output.tables


def test_scores_from_other_cells_are_refused(make_inputs):
    inputs = make_inputs(
        25, alter=lambda role: replace(role, correlation=replace(role.correlation, cells_hash="d" * 64))
    )
    with pytest.raises(ValueError, match="recompute both on the same sampled control cells"):
        cross_fitted_residualisation(inputs)
