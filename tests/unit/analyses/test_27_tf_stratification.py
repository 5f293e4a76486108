"""Analysis 27: analysis 26 within TF and non-TF perturbations, and what it says of small strata."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from interp_assets.analyses.incremental_value import conditional_incremental_value
from interp_assets.analyses.tf_strata import perturbed_tf, tf_stratification
from interp_assets.stats.crossfit import plan_folds
from interp_assets.stats.incremental import candidate_pairs
from qc_standards.records import Status

FEW = {"power_simulations": 1, "bootstrap": 60}
COLUMNS = [
    "role", "dataset", "catalogue", "stratum", "edge", "n_perturbations", "n_pairs", "n_positive", "gene_only",
    "gene_plus_edge", "delta", "ci_low", "ci_high", "margin", "p_equivalent", "equivalent", "resamples_requested",
    "resamples_done", "reason",
]  # fmt: skip


def only(stratum):
    """Role with the perturbations of one stratum alone."""

    def alter(role):
        keep = perturbed_tf(role) == (stratum == "tf")
        return replace(
            role, label=role.label[keep], source=role.source[keep], perturbations=role.perturbations[keep], de_rate=None
        )

    return alter


@pytest.fixture
def planted(make_inputs):
    return tf_stratification(make_inputs(27, settings=FEW))


def test_planted_gain_is_found_in_both_strata_and_correlation_has_none(planted):
    table = planted.tables["tf_strata"]
    assert list(table) == COLUMNS
    attention, correlation = table[table["edge"] == "attention"], table[table["edge"] == "correlation"]
    assert attention["stratum"].tolist() == ["tf", "non_tf"]
    assert attention["n_perturbations"].tolist() == [15, 15]
    assert (attention["ci_low"] > 0.005).all()
    assert not attention["equivalent"].any()
    assert (correlation["ci_low"] < 0.005).all()
    assert (table["catalogue"] == "synthetic_catalogue").all()
    assert (table["reason"] == "").all()


def test_the_row_is_the_larger_gain_and_names_both_strata(planted):
    table = planted.tables["tf_strata"].set_index(["stratum", "edge"])
    (result,) = planted.results
    gains = {name: table.loc[(name, "attention"), "delta"] for name in ("tf", "non_tf")}
    larger = max(gains, key=gains.get)
    used = json.loads(result.settings_used)
    assert result.effect == gains[larger]
    assert (result.ci_low, result.n) == (table.loc[(larger, "attention"), "ci_low"], 15)
    assert used["gain"] == gains
    assert used["n_perturbations"] == {"tf": 15, "non_tf": 15}
    assert (used["catalogue"], used["stratum"]) == ("synthetic_catalogue", larger)
    assert larger in result.direction
    assert result.p is None


@pytest.mark.parametrize("stratum", ["tf", "non_tf"])
def test_a_stratum_is_analysis_26_of_its_perturbations_alone(make_inputs, planted, stratum):
    alone = conditional_incremental_value(make_inputs(26, settings=FEW, alter=only(stratum)))
    table = planted.tables["tf_strata"].set_index(["stratum", "edge"])
    for result, edge in zip(alone.results, ("attention", "correlation"), strict=True):
        cell = table.loc[(stratum, edge)]
        assert (result.effect, result.ci_low, result.ci_high) == (cell["delta"], cell["ci_low"], cell["ci_high"])


def test_a_stratum_equals_scikit_learn_on_its_pairs(make_inputs, planted):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    role = make_inputs(27, settings=FEW).roles["primary_screen"]
    chosen = role.features["is_tf"].to_numpy()[role.source]
    pairs = candidate_pairs(role.label[chosen], role.source[chosen])
    plan = plan_folds("perturbation", pairs.perturbation, pairs.target, folds=5, seed=[0, 26, 0])
    genes = np.column_stack([role.features["mean"], role.features["variance"], 1 - role.features["dropout"]])
    score = role.attention.layer_matrix(2).score.astype(float)[pairs.source, pairs.target]
    expected = []
    for x in (genes[pairs.target], np.column_stack([genes[pairs.target], score])):
        found = np.empty(pairs.size)
        for fold in plan.folds:
            model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", tol=1e-10))
            found[fold.test] = model.fit(x[fold.train], pairs.positive[fold.train]).decision_function(x[fold.test])
        expected.append(roc_auc_score(pairs.positive, found))
    cell = planted.tables["tf_strata"].set_index(["stratum", "edge"]).loc[("tf", "attention")]
    assert cell["gene_only"] == pytest.approx(expected[0], abs=1e-4)
    assert cell["gene_plus_edge"] == pytest.approx(expected[1], abs=1e-4)


def test_noise_gains_in_no_stratum_beyond_the_level(make_inputs):
    found = 0
    for seed in range(15):
        settings = {**FEW, "bootstrap": 200}
        table = tf_stratification(make_inputs(27, "noise", seed=seed, layers=1, settings=settings)).tables["tf_strata"]
        attention = table[table["edge"] == "attention"]
        found += int((attention["ci_low"] > 0.005).sum())
        assert attention["delta"].abs().max() < 0.12
    # 30 strata; below .025 each, so under one expected: five is far beyond four binomial deviations.
    assert found <= 4


def test_a_large_screen_without_signal_is_equivalent_within_the_margin(make_inputs):
    settings = {**FEW, "gain_margin": 0.03, "bootstrap": 200}
    output = tf_stratification(make_inputs(27, "confound", genes=200, perturbations=120, layers=1, settings=settings))
    assert output.tables["tf_strata"]["equivalent"].all()
    assert (output.tables["tf_strata"]["margin"] == 0.03).all()
    assert json.loads(output.results[0].settings_used)["equivalent"] == {"tf": True, "non_tf": True}


def few_tf(role):
    flags = np.zeros(role.genes.size, dtype=bool)
    flags[role.source[:3]] = True
    return replace(role, features=role.features.assign(is_tf=flags))


def no_tf(role):
    return replace(role, features=role.features.assign(is_tf=False))


@pytest.mark.parametrize(
    ("alter", "reason", "count"),
    [(few_tf, "3 groups cannot fill 5 folds", 3), (no_tf, "no perturbation is in it", 0)],
    ids=["three TF", "none"],
)
def test_a_small_stratum_keeps_its_counts_and_reason_and_no_number(make_inputs, alter, reason, count):
    output = tf_stratification(make_inputs(27, settings=FEW, alter=alter))
    table = output.tables["tf_strata"].set_index(["stratum", "edge"])
    small = table.loc[("tf", "attention")]
    assert reason in small["reason"]
    assert small["n_perturbations"] == count
    assert np.isnan(small["delta"])
    assert (small["resamples_requested"], small["resamples_done"]) == (60, 0)
    assert table.loc[("non_tf", "attention"), "ci_low"] > 0.005
    (result,) = output.results
    assert result.status is Status.SKIPPED
    assert "stratum tf has no gain" in result.reason
    assert reason in result.reason


def test_no_catalogue_and_no_screen_are_skipped_and_a_missing_flag_is_refused(make_inputs):
    def nameless(role):
        return replace(role, tf_catalogue="")

    def flagless(role):
        return replace(role, features=role.features.drop(columns="is_tf"))

    (result,) = tf_stratification(make_inputs(27, alter=nameless)).results
    assert result.status is Status.SKIPPED
    assert "names no catalogue of transcription factors" in result.reason
    assert tf_stratification(make_inputs(27, absent="no file")).results[0].reason == "no file"
    named = replace(make_inputs(27, alter=nameless), absent={"tf_catalogue": "catalogue a_list is not available"})
    assert tf_stratification(named).results[0].reason == "catalogue a_list is not available"
    with pytest.raises(ValueError, match="do not say which genes synthetic_catalogue lists"):
        tf_stratification(make_inputs(27, alter=flagless))
