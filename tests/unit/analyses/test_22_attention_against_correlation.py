"""Analysis 22: a difference is found, equality needs its own test, and the cells must be the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel, wilcoxon
from statsmodels.stats.weightstats import ttost_paired

from interp_assets.analyses.baselines import attention_against_correlation
from interp_assets.analyses.perturbation_first import perturbation_first_evaluation
from qc_standards.records import Status


def first(output):
    return output.tables["attention_vs_correlation"].iloc[0]


def jittered_correlation(spread):
    def alter(role):
        rng = np.random.default_rng(5)
        score = role.correlation.score + rng.normal(0, spread, role.correlation.score.shape).astype(np.float32)
        edges = replace(role.correlation, name="attention", score=score)
        return replace(role, attention=replace(role.attention, layer_matrix=lambda _: edges))

    return alter


def test_a_planted_difference_is_found(make_inputs):
    output = attention_against_correlation(make_inputs(22))
    result, table = output.results[0], first(output)
    assert result.effect > 0.4
    assert result.p < 1e-5
    assert table["smallest_attainable_p"] == 2.0**-29
    assert table["cohen_d"] > 1
    assert not table["equivalent"]
    assert result.direction == "attention - correlation"
    assert result.layer == 2
    assert '"equivalence_margin":0.02' in result.settings_used


def test_all_numbers_equal_scipy_and_statsmodels(make_inputs):
    knobs = {"kind": "confound", "seed": 7, "informative": 0.5}
    output = attention_against_correlation(make_inputs(22, **knobs))
    aurocs = perturbation_first_evaluation(make_inputs(19, **knobs)).tables["perturbation_auroc"]
    assert len(output.tables["attention_vs_correlation"]) == 2
    for record in output.tables["attention_vs_correlation"].to_dict("records"):
        wide = aurocs[aurocs["subset"] == record["subset"]].pivot(index="perturbation", columns="score", values="auroc")
        a, c = wide["attention"], wide["correlation"]
        assert record["mean_attention"] == pytest.approx(a.mean(), abs=1e-12)
        assert record["sd_correlation"] == pytest.approx(c.std(), abs=1e-12)
        assert record["p"] == pytest.approx(wilcoxon(a - c).pvalue, rel=1e-9)
        assert record["p_tost"] == pytest.approx(ttost_paired(a, c, -0.02, 0.02)[0], rel=1e-9)
        assert record["cohen_d"] == pytest.approx(ttest_rel(a, c).statistic / np.sqrt(len(a)), rel=1e-9)


def test_nearly_the_same_score_is_equivalent_and_a_noisy_null_is_not(make_inputs):
    near = first(attention_against_correlation(make_inputs(22, alter=jittered_correlation(0.02))))
    assert near["equivalent"]
    assert near["p_tost"] < 0.001
    noise = make_inputs(22, kind="noise", perturbations=12, seed=1)
    far = first(attention_against_correlation(noise))
    assert far["p"] > 0.05
    assert not far["equivalent"]


def test_the_very_same_score_has_no_difference_at_all(make_inputs):
    output = attention_against_correlation(make_inputs(22, alter=jittered_correlation(0.0)))
    result, table = output.results[0], first(output)
    assert (result.effect, result.p) == (0.0, 1.0)
    assert table["equivalent"]
    assert np.isnan(table["cohen_d"])


def test_noise_is_found_no_more_often_than_the_level(make_inputs):
    found = 0
    for seed in range(40):
        inputs = make_inputs(
            22, kind="noise", seed=seed, genes=80, perturbations=20, layers=1, settings={"bootstrap": 2}
        )
        found += attention_against_correlation(inputs).results[0].p <= 0.05
    # Two expected of 40 at .05; four binomial deviations above is seven.
    assert found <= 7


def test_other_cells_are_refused(make_inputs):
    def other_cells(role):
        return replace(role, correlation=replace(role.correlation, cells_hash="d" * 64))

    with pytest.raises(ValueError, match="same sampled control cells"):
        attention_against_correlation(make_inputs(22, alter=other_cells))


def test_few_perturbations_print_the_smallest_p_they_can_reach(make_inputs):
    table = first(attention_against_correlation(make_inputs(22, perturbations=5)))
    assert table["n"] == 5
    assert table["smallest_attainable_p"] == table["p"] == 0.0625


def test_without_a_screen_the_row_is_skipped(make_inputs):
    result = attention_against_correlation(make_inputs(22, absent="licence")).results[0]
    assert (result.status, result.reason) == (Status.SKIPPED, "licence")
    mute = make_inputs(22, alter=lambda r: replace(r, label=np.minimum(r.label, 0).astype(np.int8)))
    output = attention_against_correlation(mute)
    assert output.results[0].status is Status.SKIPPED
    assert first(output)["n"] == 0
    assert not first(output)["equivalent"]
