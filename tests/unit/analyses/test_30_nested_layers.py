"""Analysis 30: the best layer is found inside the folds, noise is not, and the choice is paid for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.nested_layers import nested_layer_selection
from interp_assets.analyses.perturbation_first import perturbation_first_evaluation
from interp_assets.stats.nested_choice import nested_choice
from qc_standards.records import Status
from qc_standards.registry import tests_of_analysis


@pytest.fixture
def ask(make_inputs):
    def factory(**knobs):
        return replace(make_inputs(30, **knobs), tests=tests_of_analysis(30))

    return factory


def lists_twice(role):
    """Every perturbation listed twice, as by two guides of one gene."""
    twice = np.repeat(np.arange(role.source.size), 2)
    return replace(
        role, perturbations=role.perturbations[twice], source=role.source[twice], label=role.label[twice], de_rate=None
    )


def test_the_planted_layer_is_chosen_and_its_size_found(ask):
    output = nested_layer_selection(ask())
    first, second = output.results
    table, profile = output.tables["nested_layer_choice"], output.tables["nested_layer_profile"]
    assert table["layer"].tolist() == [3] * 5
    assert first.effect > 0.4
    assert first.ci_low < first.effect < first.ci_high
    assert first.p < 1e-4
    assert second.p is None
    assert second.effect > 1
    assert second.effect_kind == "cohen_d"
    assert profile["folds_chosen"].tolist() == [0, 0, 0, 5]
    assert profile["mean_auroc"].is_monotonic_increasing
    assert profile.loc[profile["fixed_beforehand"], "layer"].tolist() == [2]


def test_the_table_is_what_the_standard_reads(ask):
    table = nested_layer_selection(ask()).tables["nested_layer_choice"]
    assert table["fold"].tolist() == [1, 2, 3, 4, 5]
    assert (table["shared_perturbations"] == 0).all()
    assert (table["n_train"] + table["n_test"] == 30).all()
    assert (table["n_test"] >= 4).all()
    assert (table["n_train"] > table["n_test"]).all()
    assert set(table["chosen_by"]) == {"inner_folds"}
    assert (table["layers"] > table["layer"]).all()
    assert table[["edge", "correlation"]].stack().between(0, 1).all()


def test_numbers_equal_scikit_learn_and_scipy(ask, make_inputs):
    inputs = ask(kind="confound", seed=3, layers=3)
    role = inputs.roles["primary_screen"]
    output = nested_layer_selection(inputs)
    scores = [role.attention.layer_matrix(layer).score for layer in range(3)] + [role.correlation.score]
    aurocs = np.array(
        [
            [roc_auc_score(y[y >= 0], score[s][y >= 0]) for y, s in zip(role.label, role.source, strict=True)]
            for score in scores
        ]
    )
    rng = np.random.default_rng([3, 30, 0])
    choice = nested_choice(aurocs[:3], role.source.astype(np.int64), outer=5, inner=5, rng=rng)
    gap = choice.held_out - aurocs[3]
    first, second = output.results
    assert output.tables["nested_layer_choice"]["layer"].tolist() == choice.chosen.tolist()
    assert first.effect == pytest.approx(gap.mean(), abs=1e-12)
    assert first.p == pytest.approx(min(1.0, 3 * wilcoxon(gap, alternative="greater").pvalue), rel=1e-9)
    assert second.effect == pytest.approx(gap.mean() / gap.std(ddof=1), rel=1e-9)
    profile = perturbation_first_evaluation(make_inputs(19, kind="confound", seed=3, layers=3)).tables["layer_profile"]
    assert output.tables["nested_layer_profile"]["mean_auroc"].to_numpy() == pytest.approx(
        profile["mean_auroc"].to_numpy(), abs=1e-12
    )


def test_noise_is_found_no_more_often_than_the_level(ask):
    found, effects = 0, []
    for seed in range(30):
        knobs = {"genes": 80, "perturbations": 24, "layers": 6, "seed": seed}
        result = nested_layer_selection(ask(kind="noise", settings={"bootstrap": 5}, **knobs)).results[0]
        found += result.p <= 0.05
        effects.append(result.effect)
    assert found <= 3
    assert abs(np.mean(effects)) < 0.02


def test_p_is_corrected_and_the_row_says_what_it_assumes(ask):
    result = nested_layer_selection(ask(kind="noise")).results[0]
    used = json.loads(result.settings_used)
    assert result.p == pytest.approx(min(1.0, 4 * used["p_uncorrected"]))
    assert used["smallest_attainable_p"] == 4 * 2.0**-30
    assert "folds share training data" in result.direction
    assert (result.resamples_requested, result.resamples_done) == (200, 200)
    assert len(used["chosen_layers"]) == 5
    assert "analysis_depth" not in used  # the row's layer is chosen, not fixed beforehand


def test_two_guides_of_a_gene_stay_in_one_fold(ask):
    table = nested_layer_selection(ask(alter=lists_twice)).tables["nested_layer_choice"]
    assert (table["shared_perturbations"] == 0).all()
    assert (table["n_train"] + table["n_test"] == 60).all()


def test_what_cannot_be_chosen_is_skipped(ask):
    for knobs, why in (
        ({"layers": 1}, "no layer to choose"),
        ({"perturbations": 19}, "19 perturbed genes can be evaluated; 20 are needed"),
        ({"absent": "licence"}, "licence"),
        ({"alter": lambda r: replace(r, label=np.minimum(r.label, 0).astype(np.int8))}, "0 perturbed genes"),
    ):
        output = nested_layer_selection(ask(**knobs))
        assert {result.status for result in output.results} == {Status.SKIPPED}
        assert all(why in result.reason for result in output.results)
        assert not output.tables


def test_missing_pairs_and_a_second_run_change_nothing_by_chance(ask):
    inputs = ask(missing=0.3, seed=2)
    one, other = nested_layer_selection(inputs), nested_layer_selection(inputs)
    assert one.results == other.results
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name])
    assert json.loads(one.results[0].settings_used)["missing_share"] == pytest.approx(0.3, abs=0.02)
