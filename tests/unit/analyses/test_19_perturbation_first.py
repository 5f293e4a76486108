"""Analysis 19: planted targets are found, noise is not, and every AUROC is scikit-learn's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score

from interp_assets.analyses.perturbation_first import perturbation_first_evaluation
from interp_assets.analyses.scores import candidate_labels, subsets
from interp_assets.stats.de_rate import training_de_rate
from qc_standards.records import Status

PRIMARY = "primary_screen"
SCORES = {
    "attention",
    "correlation",
    "variance",
    "mean",
    "one_minus_dropout",
    "tf_out_degree",
    "rank_distance",
    "co_detection",
    "de_rate",
}


def plain_auroc(role, subset, name, layer):
    """Every AUROC by a loop over perturbations with scikit-learn, NaN filled by hand."""
    features = role.features
    gene = {
        "variance": features["variance"],
        "mean": features["mean"],
        "one_minus_dropout": 1 - features["dropout"],
        "tf_out_degree": features["out_degree"],
    }
    values = {}
    for at, (perturbation, own) in enumerate(zip(role.perturbations, role.source, strict=True)):
        if name in gene:
            scores = gene[name].to_numpy(float)
        elif name == "de_rate":
            scores = role.de_rate[at]
        else:
            matrix = {"attention": role.attention.layer_matrix(layer), "correlation": role.correlation, **role.trivial}
            table = matrix[name].score.astype(float)
            pairs = table[~np.eye(role.genes.size, dtype=bool)]
            scores = np.where(np.isnan(table[own]), np.nanmin(pairs), table[own])
        keep = (np.arange(role.genes.size) != own) & (role.label[at] >= 0)
        if subset == "informative":
            keep &= role.informative
        if subset == "expression_matched":
            keep &= candidate_labels(role, subset)[at] >= 0
        label = role.label[at][keep]
        if (label == 1).sum() >= 3 and (label == 0).sum() >= 3:
            values[perturbation] = roc_auc_score(label, scores[keep])
    return values


def test_every_auroc_equals_scikit_learn(make_inputs):
    inputs = make_inputs(19, missing=0.1, listed=0.3, informative=0.7, targets=10)
    role = inputs.roles[PRIMARY]
    table = perturbation_first_evaluation(inputs).tables["perturbation_auroc"]
    assert set(table["score"]) == SCORES
    assert set(table["subset"]) == {"all", "informative", "expression_matched"}
    for (subset, name), part in table.groupby(["subset", "score"]):
        expected = plain_auroc(role, subset, name, 2)
        assert list(part["perturbation"]) == list(expected)
        np.testing.assert_allclose(part["auroc"], list(expected.values()), rtol=0, atol=1e-9)


def test_planted_targets_are_found(make_inputs):
    output = perturbation_first_evaluation(make_inputs(19))
    result = output.results[1]
    assert result.effect > 0.95
    assert result.ci_low > 0.9
    assert result.p < 1e-5
    assert result.statistic == 30 * 31 / 2, "every perturbation is above .5"
    assert (result.n, result.unit, result.layer) == (30, "perturbation", 2)
    assert (result.resamples_requested, result.resamples_done) == (200, 200)


def test_p_and_mean_equal_scipy_on_the_table(make_inputs):
    output = perturbation_first_evaluation(make_inputs(19, kind="confound", seed=4))
    table = output.tables["perturbation_auroc"]
    values = table.query("score == 'attention' and subset == 'all'")["auroc"]
    assert output.results[1].effect == pytest.approx(values.mean())
    assert output.results[1].p == pytest.approx(wilcoxon(values - 0.5, alternative="greater").pvalue)


def test_noise_is_found_no_more_often_than_the_level(make_inputs):
    found = [
        perturbation_first_evaluation(
            make_inputs(19, kind="noise", seed=seed, genes=80, layers=1, perturbations=20, settings={"bootstrap": 2})
        )
        .results[1]
        .p
        for seed in range(40)
    ]
    # 40 draws at .05: two expected, four binomial deviations above is seven.
    assert np.mean(np.array(found) <= 0.05) <= 7 / 40


def test_the_perturbed_gene_is_never_a_candidate(make_inputs):
    inputs = make_inputs(19)
    role = inputs.roles[PRIMARY]
    label = role.label.copy()
    label[np.arange(label.shape[0]), role.source] = 1  # as a screen that calls its own knock-down

    def boosted(layer):
        edges = role.attention.layer_matrix(layer)
        score = edges.score.copy()
        np.fill_diagonal(score, 1e6)
        return replace(edges, score=score)

    attention = replace(role.attention, layer_matrix=boosted)
    inflated = make_inputs(19, alter=lambda _: replace(role, label=label, attention=attention))
    assert (candidate_labels(inputs.roles[PRIMARY])[np.arange(30), role.source] == -1).all()
    left = perturbation_first_evaluation(inputs).tables["perturbation_auroc"]
    right = perturbation_first_evaluation(inflated).tables["perturbation_auroc"]
    pd.testing.assert_frame_equal(left, right)


def test_the_baseline_configuration_is_skipped_and_not_replaced(make_inputs):
    result = perturbation_first_evaluation(make_inputs(19)).results[0]
    assert result.status is Status.SKIPPED
    assert "Mann-Whitney" in result.reason
    assert result.effect is None
    assert result.dataset == "synthetic-screen"


def test_perturbations_that_cannot_be_scored_are_listed_with_the_reason(make_inputs):
    def starve(role):
        label = role.label.copy()
        positive = np.flatnonzero(label[0] == 1)
        label[0, positive[2:]] = 0
        label[1, label[1] == 0] = -1
        earlier = pd.DataFrame({"perturbation": ["LOST"], "reason": ["not in the vocabulary"]})
        return replace(role, label=label, exclusions=earlier)

    inputs = make_inputs(19, alter=starve)
    role = inputs.roles[PRIMARY]
    output = perturbation_first_evaluation(inputs)
    listed = output.tables["perturbation_exclusions"].query("subset == 'all'").set_index("perturbation")
    assert list(listed.index) == ["LOST", *role.perturbations[:2]]
    assert listed.loc["LOST", "reason"] == "not in the vocabulary"
    assert listed.loc[role.perturbations[0], "n_positive"] == 2
    assert listed.loc[role.perturbations[1], "n_negative"] == 0
    assert "at least 3 and 3" in listed.loc[role.perturbations[1], "reason"]
    assert not set(listed.index) & set(output.tables["perturbation_auroc"]["perturbation"])
    assert output.results[1].n == 28


def test_layer_profile_covers_every_layer_and_agrees_with_the_test(make_inputs):
    output = perturbation_first_evaluation(make_inputs(19, layers=5, informative=0.6))
    profile = output.tables["layer_profile"]
    assert len(profile) == 10
    assert list(profile["depth"][:5]) == [0.0, 0.25, 0.5, 0.75, 1.0]
    here = profile.query("subset == 'all' and layer == 3").iloc[0]
    assert here["mean_auroc"] == pytest.approx(output.results[1].effect, abs=1e-12)
    assert here["mean_auroc"] > profile.query("subset == 'all' and layer == 0").iloc[0]["mean_auroc"]


def test_missing_scores_rank_last_and_their_share_is_on_the_row(make_inputs):
    inputs = make_inputs(19, missing=0.3)
    result = perturbation_first_evaluation(inputs).results[1]
    score = inputs.roles[PRIMARY].attention.layer_matrix(2).score
    pairs = score[~np.eye(150, dtype=bool)]
    assert f'"missing_share":{float(np.isnan(pairs).mean())}' in result.settings_used
    assert '"missing_rule":"lowest"' in result.settings_used
    assert result.effect < perturbation_first_evaluation(make_inputs(19)).results[1].effect


def test_scores_from_other_cells_or_genes_are_refused(make_inputs):
    def other_cells(role):
        return replace(role, correlation=replace(role.correlation, cells_hash="d" * 64))

    def other_trivial(role):
        changed = replace(role.trivial["co_detection"], cells_hash="e" * 64)
        return replace(role, trivial={**role.trivial, "co_detection": changed})

    def other_genes(role):
        return replace(role, correlation=replace(role.correlation, genes=role.genes[::-1]))

    def no_variance(role):
        return replace(role, features=role.features.assign(variance=np.nan))

    cases = [(other_cells, "correlation"), (other_trivial, "co_detection"), (other_genes, "genes of correlation")]
    for alter, message in [*cases, (no_variance, "gene feature variance")]:
        with pytest.raises(ValueError, match=message):
            perturbation_first_evaluation(make_inputs(19, alter=alter))


def test_a_screen_without_responders_is_skipped(make_inputs):
    def mute(role):
        return replace(role, label=np.minimum(role.label, 0).astype(np.int8))

    output = perturbation_first_evaluation(make_inputs(19, alter=mute))
    assert output.results[1].status is Status.SKIPPED
    assert "no perturbation" in output.results[1].reason
    assert output.tables["perturbation_auroc"].empty
    assert len(output.tables["perturbation_exclusions"]) == 30
    assert output.tables["layer_profile"]["mean_auroc"].isna().all()


def test_the_same_inputs_give_the_same_bytes(make_inputs):
    one, other = (perturbation_first_evaluation(make_inputs(19, seed=3)) for _ in range(2))
    assert one.results == other.results
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name])


def test_an_edge_table_with_one_layer_is_evaluated_like_a_model(make_inputs):
    result = perturbation_first_evaluation(make_inputs(19, layers=1)).results[1]
    assert result.layer == 0
    assert result.effect > 0.95


def test_the_baseline_configuration_is_scored_on_its_own_labels(make_inputs):
    inputs = make_inputs(19, targets=10)
    role = inputs.roles[PRIMARY]
    other = np.where(role.label < 0, -1, np.random.default_rng(3).integers(0, 2, role.label.shape)).astype(np.int8)
    with_labels = replace(inputs, roles={PRIMARY: replace(role, baseline_label=other)})
    output = perturbation_first_evaluation(with_labels)
    (result,) = [result for result in output.results if result.test_id == "A19.1"]
    expected = plain_auroc(replace(role, label=other), "all", "attention", result.layer)
    assert result.status is Status.RUN
    assert result.effect == pytest.approx(np.mean(list(expected.values())), abs=1e-12)
    assert result.n == len(expected)
    table = output.tables["perturbation_auroc_baseline"].set_index("perturbation")["auroc"]
    pd.testing.assert_series_equal(table.sort_index(), pd.Series(expected).sort_index(), check_names=False)
    unchanged = perturbation_first_evaluation(inputs).tables["perturbation_auroc"]
    pd.testing.assert_frame_equal(output.tables["perturbation_auroc"], unchanged)


def test_expression_matched_negatives_take_mean_expression_out_and_leave_edges_in(make_inputs):
    knobs = {"genes": 400, "perturbations": 60, "listed": 0.3}
    confounded = perturbation_first_evaluation(make_inputs(19, kind="confound", **knobs)).tables["perturbation_auroc"]
    mean = confounded.groupby(["subset", "score"])["auroc"].mean()
    assert mean["all", "mean"] > 0.6
    assert mean["expression_matched", "mean"] == pytest.approx(0.5, abs=0.02)
    assert mean["expression_matched", "attention"] < mean["all", "attention"]
    sizes = confounded.query("subset == 'expression_matched'")
    assert (sizes["n_positive"] == sizes["n_negative"]).all()
    planted = perturbation_first_evaluation(make_inputs(19, targets=80, **knobs))
    edges = planted.tables["perturbation_auroc"].groupby(["subset", "score"])["auroc"].mean()
    assert edges["expression_matched", "attention"] > 0.95
    assert edges["expression_matched", "mean"] == pytest.approx(0.5, abs=0.02)
    assert set(planted.tables["layer_profile"]["subset"]) == {"all", "expression_matched"}


def test_expression_matching_is_offered_for_partial_lists_without_cells_alone(make_inputs):
    whole = make_inputs(19).roles[PRIMARY]
    partial = make_inputs(19, listed=0.4).roles[PRIMARY]
    assert subsets(whole) == ("all",)
    assert subsets(partial) == ("all", "expression_matched")
    assert subsets(replace(partial, baseline_label=partial.label)) == ("all",)
    assert (candidate_labels(partial, "expression_matched") <= candidate_labels(partial)).all()


def test_the_response_rate_is_a_score_of_its_own_and_absent_without_one(make_inputs):
    without = make_inputs(19, alter=lambda role: replace(role, de_rate=None))
    assert "de_rate" not in set(perturbation_first_evaluation(without).tables["perturbation_auroc"]["score"])
    for broken in (np.full((30, 150), np.nan), np.zeros(150)):
        with pytest.raises(ValueError, match="response rates are missing"):
            perturbation_first_evaluation(make_inputs(19, alter=lambda role, rate=broken: replace(role, de_rate=rate)))


def test_the_response_rate_finds_confounded_responders_and_nothing_in_noise(make_inputs):
    def honest(role):
        return replace(role, de_rate=training_de_rate(role.label, None, 5, 0))

    def mean(kind, seed=0):
        table = perturbation_first_evaluation(make_inputs(19, kind, seed=seed, alter=honest)).tables
        return table["perturbation_auroc"].query("score == 'de_rate'")["auroc"].mean()

    assert mean("confound") > 0.65
    assert np.mean([mean("noise", seed) for seed in range(8)]) == pytest.approx(0.5, abs=0.015)
