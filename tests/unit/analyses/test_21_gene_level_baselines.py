"""Analysis 21: gene statistics win where responders are confounded, and lose where edges carry the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, wilcoxon

from interp_assets.analyses.baselines import COMPARISONS, gene_level_baselines
from interp_assets.analyses.perturbation_first import perturbation_first_evaluation
from qc_standards.records import Status


def by_comparison(output):
    table = output.tables["baseline_differences"].query("subset == 'all'")
    return table.set_index(["baseline", "edge"])


def test_planted_edges_beat_every_gene_statistic(make_inputs):
    output = gene_level_baselines(make_inputs(21))
    table = by_comparison(output)
    for baseline in ("variance", "mean", "one_minus_dropout"):
        assert table.loc[(baseline, "attention"), "q_edge_greater"] < 1e-6
        assert table.loc[(baseline, "attention"), "ci_high"] < -0.3
    effects = {result.test_id: result.effect for result in output.results}
    assert all(effects[test_id] < -0.3 for test_id in ("A21.5", "A21.6", "A21.7"))


def test_confounded_responders_are_ranked_by_variance_and_not_by_edges(make_inputs):
    output = gene_level_baselines(make_inputs(21, kind="confound"))
    results = {result.test_id: result for result in output.results}
    assert results["A21.5"].ci_low > 0.05
    assert results["A21.5"].p < 1e-4
    table = by_comparison(output)
    assert table.loc[("variance", "attention"), "p_edge_greater"] > 0.99
    degree = table.loc[("tf_out_degree", "correlation"), "mean_baseline"]
    assert degree == pytest.approx(0.5, abs=0.06), "out-degree is the negative control"


def test_rows_equal_scipy_on_the_table_of_analysis_19(make_inputs):
    knobs = {"kind": "confound", "seed": 2, "missing": 0.05, "informative": 0.5}
    output = gene_level_baselines(make_inputs(21, **knobs))
    aurocs = perturbation_first_evaluation(make_inputs(19, **knobs)).tables["perturbation_auroc"]
    table = output.tables["baseline_differences"]
    assert len(table) == 2 * 2 * 5
    for record in table.to_dict("records"):
        wide = aurocs[aurocs["subset"] == record["subset"]].pivot(index="perturbation", columns="score", values="auroc")
        baseline, edge = wide[record["baseline"]], wide[record["edge"]]
        assert record["mean_difference"] == pytest.approx((baseline - edge).mean(), abs=1e-12)
        assert record["p_two_sided"] == pytest.approx(wilcoxon(baseline - edge).pvalue, rel=1e-9)
        greater = wilcoxon(edge - baseline, alternative="greater").pvalue
        assert record["p_edge_greater"] == pytest.approx(greater, rel=1e-9)
    for _, part in table.groupby(["subset", "edge"]):
        outside = part["baseline"].isin(["tf_out_degree", "de_rate"])
        family = part[~outside]
        np.testing.assert_allclose(family["q_edge_greater"], false_discovery_control(family["p_edge_greater"]))
        assert outside.sum() == 2
        assert part.loc[outside, "q_edge_greater"].isna().all()


def test_each_row_reports_its_own_comparison(make_inputs):
    output = gene_level_baselines(make_inputs(21))
    table = by_comparison(output)
    assert {result.test_id for result in output.results} == set(COMPARISONS)
    for result in output.results:
        baseline, edge = COMPARISONS[result.test_id]
        assert result.effect == table.loc[(baseline, edge), "mean_difference"]
        assert result.direction == f"{baseline} - {edge}"
        assert f'"baseline":"{baseline}"' in result.settings_used
        assert (result.n, result.unit, result.layer) == (30, "perturbation", 2)
        assert result.ci_low <= result.effect <= result.ci_high
    assert len({result.settings_hash for result in output.results}) == 7


def test_noise_lets_attention_beat_the_three_no_more_often_than_the_level(make_inputs):
    opened = 0
    for seed in range(40):
        inputs = make_inputs(
            21, kind="noise", seed=seed, genes=80, perturbations=20, layers=1, settings={"bootstrap": 2}
        )
        table = by_comparison(gene_level_baselines(inputs))
        worst = table.loc[[(b, "attention") for b in ("variance", "mean", "one_minus_dropout")], "q_edge_greater"]
        opened += worst.max() < 0.05
    # At most .05 x 40 = 2 expected; four binomial deviations above is seven.
    assert opened <= 7


def test_identical_scores_are_level_and_never_better(make_inputs):
    def copy(role):
        same = replace(role.correlation, name="attention")
        return replace(role, attention=replace(role.attention, layer_matrix=lambda _: same))

    table = by_comparison(gene_level_baselines(make_inputs(21, alter=copy)))
    for baseline in ("variance", "mean", "one_minus_dropout", "tf_out_degree"):
        left, right = table.loc[(baseline, "attention")], table.loc[(baseline, "correlation")]
        assert left["mean_difference"] == right["mean_difference"]


def test_an_absent_screen_and_an_empty_one_are_skipped(make_inputs):
    absent = gene_level_baselines(make_inputs(21, absent="no file"))
    assert {r.reason for r in absent.results} == {"no file"}

    def mute(role):
        return replace(role, label=np.minimum(role.label, 0).astype(np.int8))

    empty = gene_level_baselines(make_inputs(21, alter=mute))
    assert {r.status for r in empty.results} == {Status.SKIPPED}
    assert (empty.tables["baseline_differences"]["resamples_done"] == 0).all()
    assert empty.tables["baseline_differences"]["mean_difference"].isna().all()


def test_the_response_rate_is_one_more_baseline_and_moves_no_other(make_inputs):
    table = gene_level_baselines(make_inputs(21, kind="confound")).tables["baseline_differences"]
    output = gene_level_baselines(
        make_inputs(21, kind="confound", alter=lambda role: replace(role, de_rate=None)),
    )
    rest = table[table["baseline"] != "de_rate"].reset_index(drop=True)
    pd.testing.assert_frame_equal(output.tables["baseline_differences"], rest)
    rate = table[table["baseline"] == "de_rate"]
    assert rate["edge"].tolist() == ["attention", "correlation"]
    assert rate[["ci_low", "ci_high", "p_two_sided", "p_edge_greater"]].notna().all(axis=None)


def test_partial_lists_are_compared_on_expression_matched_negatives_too(make_inputs):
    knobs = {"kind": "confound", "genes": 400, "listed": 0.3, "perturbations": 40}
    table = gene_level_baselines(make_inputs(21, **knobs)).tables["baseline_differences"]
    by = table.set_index(["subset", "edge", "baseline"])["mean_baseline"]
    assert by["all", "attention", "mean"] > 0.6
    assert by["expression_matched", "attention", "mean"] == pytest.approx(0.5, abs=0.03)
