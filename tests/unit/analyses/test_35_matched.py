"""Analysis 35: edges on pairs matched by propensity, with a balance that is reported whatever it is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.matched import propensity_matched_evaluation
from interp_assets.analyses.matched_set import matched_set
from qc_standards.records import Status

FEW = {"bootstrap": 39}
BALANCE = [
    "role", "dataset", "covariate", "smd_before", "smd_reused", "smd_distinct", "limit", "balanced", "n_positive",
    "n_negative_reused", "n_negative_distinct",
]  # fmt: skip
VALUE = {
    "role", "dataset", "edge", "metric", "gene_only", "gene_plus_edge", "delta", "ci_low", "ci_high", "p", "margin",
    "p_equivalent", "equivalent", "n_pairs", "n_positive", "n_perturbations", "balanced", "resamples_requested",
    "resamples_done",
}  # fmt: skip


@pytest.fixture(scope="module")
def planted(make_inputs):
    return propensity_matched_evaluation(make_inputs(35, settings=FEW))


@pytest.fixture(scope="module")
def confound(make_inputs):
    return propensity_matched_evaluation(make_inputs(35, "confound", settings=FEW))


def test_planted_edges_gain_on_matched_pairs_and_correlation_does_not(planted):
    auroc, auprc, raw = planted.results
    assert auroc.ci_low > 0.05
    assert auprc.ci_low > 0.05
    assert auroc.p == auprc.p == 2 / 40
    assert raw.effect > 0.95
    assert (auroc.effect_kind, auprc.effect_kind, raw.effect_kind) == ("delta_auroc", "delta_auprc", "auroc")
    value = planted.tables["matched_value"].set_index(["edge", "metric"])
    assert value.loc[("correlation", "auroc"), "ci_low"] < 0.005
    assert not value.loc[("attention", "auroc"), "equivalent"]
    assert set(value.reset_index()) >= VALUE


def test_rows_read_the_tables(planted):
    value = planted.tables["matched_value"].set_index(["edge", "metric"])
    auroc = planted.tables["matched_auroc"].set_index(["pairs", "score"])
    for result, metric in zip(planted.results[:2], ("auroc", "auprc"), strict=True):
        cell = value.loc[("attention", metric)]
        assert (result.effect, result.p, result.n) == (cell["delta"], cell["p"], cell["n_perturbations"])
        assert (result.null_mean, result.null_sd) == (cell["null_mean"], cell["null_sd"])
        assert json.loads(result.settings_used)["gene_features"] == ["mean", "variance", "one_minus_dropout"]
    raw = auroc.loc[("matched", "attention")]
    assert (planted.results[2].effect, planted.results[2].n) == (raw["mean_auroc"], raw["n_perturbations"])
    assert planted.results[2].p is None


def test_failed_balance_is_a_column_a_setting_and_the_reason(confound):
    table = confound.tables["matched_balance"]
    assert list(table) == BALANCE
    assert table["covariate"].tolist() == ["mean", "variance", "dropout", "tgt_n_affected"]
    assert (table["smd_reused"] < table["smd_distinct"]).all(), "with reuse, balance is easy"
    assert (table["smd_distinct"] < table["smd_before"]).all()
    by = table.set_index("covariate")
    assert not by.loc["tgt_n_affected", "balanced"]
    assert (table["balanced"] == (table["smd_distinct"] < table["limit"])).all()
    for result in confound.results:
        assert result.status is Status.RUN
        used = json.loads(result.settings_used)
        assert used["balanced"] is False
        assert used["smd"]["distinct"] == table["smd_distinct"].tolist()
        assert f"tgt_n_affected {by.loc['tgt_n_affected', 'smd_distinct']:.2f}" in result.reason
        assert "limit 0.1" in result.reason
    assert not confound.tables["matched_value"]["balanced"].any()


def test_a_balance_that_holds_leaves_no_reason(make_inputs):
    output = propensity_matched_evaluation(make_inputs(35, settings={**FEW, "matched_smd": 9.0}))
    assert output.tables["matched_balance"]["balanced"].all()
    assert {result.reason for result in output.results} == {""}


def test_the_matched_set_is_positives_and_distinct_negatives(make_inputs, confound):
    role = make_inputs(35, "confound").roles["primary_screen"]
    table = confound.tables["matched_balance"].iloc[0]
    positives = int((role.label == 1).sum())
    assert table["n_positive"] == positives
    assert table["n_negative_reused"] == 5 * positives
    assert table["n_negative_distinct"] < table["n_negative_reused"]
    value = confound.tables["matched_value"]
    assert (value["n_pairs"] == positives + table["n_negative_distinct"]).all()
    assert (value["n_positive"] == positives).all()


def test_confounded_scores_gain_less_once_matched(confound, make_inputs):
    from interp_assets.analyses.perturbation_first import perturbation_first_evaluation

    raw = confound.tables["matched_auroc"].set_index(["pairs", "score"]).loc[("matched", "attention"), "mean_auroc"]
    before = perturbation_first_evaluation(make_inputs(19, "confound")).results[1].effect
    assert raw < before - 0.05
    auroc = confound.results[0]
    assert auroc.ci_low < 0.005
    assert auroc.p > 0.05


def test_raw_auroc_equals_scikit_learn_on_the_matched_pairs(make_inputs):
    inputs = make_inputs(35, "confound", settings=FEW, missing=0.1)
    role = inputs.roles["primary_screen"]
    matched = matched_set(inputs, role)
    score = role.attention.layer_matrix(2).score.astype(float)
    np.fill_diagonal(score, np.nan)
    score = np.where(np.isnan(score), np.nanmin(score), score)
    expected = []
    for row, source in enumerate(role.source):
        mine = matched.pairs.source == source
        label, target = matched.pairs.positive[mine], matched.pairs.target[mine]
        if label.sum() >= 3 and (~label).sum() >= 3:
            expected.append(roc_auc_score(label, score[source, target]))
        np.testing.assert_array_equal(np.flatnonzero(matched.label[row] >= 0), np.sort(target))
    record = propensity_matched_evaluation(inputs).tables["matched_auroc"].iloc[0]
    assert (record["score"], record["pairs"], record["n_perturbations"]) == ("attention", "matched", len(expected))
    assert record["mean_auroc"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert record["sd_auroc"] == pytest.approx(np.std(expected, ddof=1), abs=1e-12)


def test_direct_targets_are_positives_of_the_reference(make_inputs):
    def half(role):
        reference = role.references["planted"]
        kept = np.isin(reference.source, role.source[:6])
        fewer = replace(
            reference,
            source=reference.source[kept],
            target=reference.target[kept],
            direction=reference.direction[kept],
            regulators=role.source[:6],
        )
        return replace(role, references={"planted": fewer})

    def missing(role):
        return replace(role, references={})

    table = propensity_matched_evaluation(make_inputs(35, settings=FEW, alter=half)).tables["matched_auroc"]
    direct = table.set_index(["pairs", "score"]).loc[("direct_targets", "attention")]
    assert direct["n_perturbations"] == 6
    assert direct["mean_auroc"] > 0.95
    none = propensity_matched_evaluation(make_inputs(35, settings=FEW, alter=missing)).tables["matched_auroc"]
    lost = none.set_index(["pairs", "score"]).loc[("direct_targets", "attention")]
    assert (lost["n_perturbations"], lost["resamples_done"]) == (0, 0)
    assert np.isnan(lost["mean_auroc"])


def test_sparse_lists_work_and_are_matched_among_listed_pairs(make_inputs):
    inputs = make_inputs(35, settings=FEW, genes=300, perturbations=90, listed=0.2, targets=40)
    output = propensity_matched_evaluation(inputs)
    matched = matched_set(inputs, inputs.roles["primary_screen"])
    assert (inputs.roles["primary_screen"].label[matched.label >= 0] >= 0).all()
    assert output.results[0].ci_low > 0.005


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"perturbations": 4}, "perturbations: 4 groups cannot fill 5 folds"),
        ({"listed": 0.0}, "none is positive"),
        ({"targets": 149}, "none is negative"),
    ],
)
def test_too_little_data_is_skipped_with_the_reason(make_inputs, knobs, reason):
    output = propensity_matched_evaluation(make_inputs(35, settings=FEW, **knobs))
    assert {r.status for r in output.results} == {Status.SKIPPED}
    assert reason in output.results[0].reason
    assert not output.tables


def test_too_few_negatives_for_the_matches_are_skipped(make_inputs):
    output = propensity_matched_evaluation(make_inputs(35, settings={**FEW, "matches_per_positive": 5000}))
    assert "negatives for 5000 matches" in output.results[0].reason


def test_absent_role_is_skipped(make_inputs):
    output = propensity_matched_evaluation(make_inputs(35, absent="no screen in this study"))
    assert {r.reason for r in output.results} == {"no screen in this study"}


def test_same_inputs_give_the_same_bytes(make_inputs, planted):
    again = propensity_matched_evaluation(make_inputs(35, settings=FEW))
    assert again.results == planted.results
    for name, table in planted.tables.items():
        assert again.tables[name].equals(table)


@pytest.mark.slow
def test_p_is_uniform_in_noise(make_inputs):
    settings = {"bootstrap": 19}
    p, raw = [], []
    for seed in range(60):
        inputs = make_inputs(35, "noise", seed=seed, genes=80, perturbations=25, layers=1, settings=settings)
        output = propensity_matched_evaluation(inputs)
        p.append(output.results[0].p)
        raw.append(output.results[2].effect)
    smeared = np.array(p) - 0.1 * np.random.default_rng(0).random(len(p))
    assert kstest(smeared, "uniform").pvalue > 0.01
    assert np.mean(raw) == pytest.approx(0.5, abs=0.01)
