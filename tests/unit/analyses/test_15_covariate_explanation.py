"""Analysis 15: R2 out of fold by target gene, equal to scikit-learn, with the leaking grouping beside it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from interp_assets.analyses.covariates import covariate_explanation, covariate_pairs, variant_scores
from interp_assets.stats.crossfit import group_folds
from qc_standards.records import Status

COLUMNS = [
    "role", "dataset", "edge", "variant", "learner", "folds_by", "r2", "ci_low", "ci_high", "n_pairs", "n_targets",
    "resamples_requested", "resamples_done",
]  # fmt: skip
KEY = ["edge", "variant", "learner", "folds_by"]
ROWS = {
    "A15.1": ("attention", "absolute", "ols", "target_gene"),
    "A15.2": ("correlation", "absolute", "ols", "target_gene"),
    "A15.3": ("attention", "absolute", "boosting", "target_gene"),
    "A15.4": ("correlation", "absolute", "boosting", "target_gene"),
}


def table(output):
    return output.tables["covariate_r2"].set_index(KEY).sort_index()


def with_attention(score):
    """Role whose attention is ``score(role)``, genes x genes."""

    def alter(role):
        edges = replace(role.correlation, name="attention", score=score(role).astype(np.float32))
        return replace(role, attention=replace(role.attention, layer_matrix=lambda _: edges))

    return alter


@pytest.fixture
def confound(make_inputs):
    return covariate_explanation(make_inputs(15, "confound"))


def test_table_holds_both_groupings_and_the_signed_variant_of_correlation_only(confound):
    found = confound.tables["covariate_r2"]
    assert list(found)[: len(COLUMNS)] == COLUMNS
    scores = [("attention", "absolute"), ("correlation", "absolute"), ("correlation", "signed")]
    assert list(found[KEY].itertuples(index=False, name=None)) == [
        (*score, learner, by) for score in scores for learner in ("ols", "boosting") for by in ("pair", "target_gene")
    ]
    assert (found["n_pairs"] == 30 * 149).all()
    assert (found["n_targets"] == 150).all()
    assert (found["resamples_done"] == 200).all()


def test_rows_are_the_target_gene_numbers_with_interval_and_settings(confound):
    found = table(confound)
    for result in confound.results:
        key = ROWS[result.test_id]
        line = found.loc[key]
        assert result.status is Status.RUN
        assert (result.effect, result.ci_low, result.ci_high) == (line["r2"], line["ci_low"], line["ci_high"])
        assert result.ci_low < result.effect < result.ci_high
        assert (result.effect_kind, result.n, result.unit, result.p) == ("r2", 4470, "gene pair", None)
        used = json.loads(result.settings_used)
        assert (used["edge"], used["variant"], used["learner"], used["folds_by"]) == key
        assert (used["missing_rule"], used["covariate_pairs"], used["pairs"]) == ("lowest", 0, 4470)
        assert ("boosting" in used) == (key[2] == "boosting")
    assert len({r.settings_hash for r in confound.results}) == 4


def test_planted_share_of_variance_is_found(make_inputs):
    def half(role):
        variance = role.features["variance"].to_numpy()
        signal = np.tile((variance - variance.mean()) / variance.std(), (150, 1))
        return signal + np.random.default_rng(1).normal(size=signal.shape)

    found = table(covariate_explanation(make_inputs(15, "noise", alter=with_attention(half))))
    for learner in ("ols", "boosting"):
        line = found.loc[("attention", "absolute", learner, "target_gene")]
        assert line["r2"] == pytest.approx(0.5, abs=0.12)
        assert line["ci_low"] > 0.2


def test_hub_attention_is_explained_and_a_network_is_not(make_inputs, confound):
    assert table(confound).loc[ROWS["A15.3"], "r2"] > 0.25
    network = table(covariate_explanation(make_inputs(15)))
    assert network.loc[ROWS["A15.1"], "r2"] < 0.02
    assert network.loc[ROWS["A15.3"], "r2"] < 0.02


def test_noise_explains_nothing_over_seeds(make_inputs):
    found = []
    for seed in range(8):
        inputs = make_inputs(15, "noise", seed=seed, genes=80, perturbations=20, layers=1, settings={"bootstrap": 20})
        found += [r.effect for r in covariate_explanation(inputs).results if r.test_id in ("A15.1", "A15.3")]
    assert max(found) < 0.03
    assert np.mean(found) < 0.0
    assert min(found) < 0.0, "a negative R2 is printed as it is"


def test_pure_gene_identity_is_inflated_by_pair_folds_under_boosting(make_inputs):
    def identity(role):
        code = np.random.default_rng(5).normal(size=role.genes.size)
        return np.tile(code, (role.genes.size, 1)) + np.random.default_rng(6).normal(0, 0.2, (150, 150))

    settings = {"boosting": {"iterations": 60, "learning_rate": 0.15, "leaves": 15}}
    output = covariate_explanation(make_inputs(15, "noise", alter=with_attention(identity), settings=settings))
    found = table(output).loc[("attention", "absolute", "boosting"), "r2"]
    assert found["pair"] > 0.4
    assert found["target_gene"] < 0.05
    assert next(r for r in output.results if r.test_id == "A15.3").effect == found["target_gene"]


def test_rows_equal_scikit_learn_on_the_same_folds(make_inputs):
    inputs = make_inputs(15, "confound", seed=4)
    role = inputs.roles["primary_screen"]
    features = np.column_stack([role.features["mean"], role.features["variance"], 1 - role.features["dropout"]])
    score = role.attention.layer_matrix(2).score.astype(float)
    source, target = np.array([(s, t) for s in role.source for t in range(150) if s != t]).T
    design = np.column_stack([features[target], features[source]])
    folds = PredefinedSplit(group_folds(target, 5, np.random.default_rng([4, 15, 0, 1])))
    boosting = HistGradientBoostingRegressor(
        max_iter=20, learning_rate=0.15, max_leaf_nodes=7, early_stopping=False, random_state=4
    )
    found = table(covariate_explanation(inputs))
    for test_id, model in {"A15.1": LinearRegression(), "A15.3": boosting}.items():
        predicted = cross_val_predict(model, design, score[source, target], cv=folds)
        expected = r2_score(score[source, target], predicted)
        assert found.loc[ROWS[test_id], "r2"] == pytest.approx(expected, abs=1e-9)


def test_pairs_are_perturbed_genes_against_every_other_gene_whatever_the_labels(make_inputs):
    def twice(role):
        again = np.append(role.source, role.source[0]).astype(np.int32)
        return replace(role, source=again, label=np.full((31, 150), -1, dtype=np.int8))

    inputs = make_inputs(15, alter=twice)
    source, target = covariate_pairs(inputs, inputs.roles["primary_screen"])
    assert source.size == 30 * 149
    assert (source != target).all()
    assert np.unique(source * 150 + target).size == source.size


def test_sampled_pairs_are_recorded_and_shared_by_all_scores(make_inputs):
    def twin(role):
        attention = replace(role.attention.layer_matrix(2), name="correlation")
        return replace(role, correlation=attention, signed_correlation=replace(attention, name="correlation_signed"))

    inputs = make_inputs(15, "confound", settings={"covariate_pairs": 1000}, alter=twin)
    source, target = covariate_pairs(inputs, inputs.roles["primary_screen"])
    assert source.size == np.unique(source * 150 + target).size == 1000
    output = covariate_explanation(inputs)
    found = table(output)
    assert (found["n_pairs"] == 1000).all()
    for learner in ("ols", "boosting"):
        for by in ("pair", "target_gene"):
            twins = [found.loc[(e, v, learner, by), "r2"] for e, v in found.index.droplevel([2, 3]).unique()]
            assert len(twins) == 3
            assert len(set(twins)) == 1
    assert {r.n for r in output.results} == {1000}
    assert all(json.loads(r.settings_used)["covariate_pairs"] == 1000 for r in output.results)
    unchanged = make_inputs(15, settings={"covariate_pairs": 4470})
    assert covariate_pairs(unchanged, unchanged.roles["primary_screen"])[0].size == 4470


def test_missing_scores_are_filled_and_the_share_is_reported(make_inputs):
    def holes(role):
        gone = np.random.default_rng(3).random((150, 150)) < 0.2
        signed = np.where(gone, np.nan, role.signed_correlation.score)
        return replace(
            role,
            correlation=replace(role.correlation, score=np.abs(signed)),
            signed_correlation=replace(role.signed_correlation, score=signed),
        )

    inputs = make_inputs(15, missing=0.1, alter=holes)
    role = inputs.roles["primary_screen"]
    attention, absolute, signed = variant_scores(role, 2)
    pair = ~np.eye(150, dtype=bool)
    gone = np.isnan(role.signed_correlation.score) & pair
    assert signed.missing_share == absolute.missing_share == pytest.approx(gone.sum() / pair.sum())
    np.testing.assert_array_equal(np.abs(signed.score)[pair], absolute.score[pair])
    np.testing.assert_array_equal(signed.score[gone], absolute.score[gone])
    assert (signed.score[pair] < 0).mean() == pytest.approx(0.4, abs=0.1)
    by_id = {r.test_id: json.loads(r.settings_used) for r in covariate_explanation(inputs).results}
    assert by_id["A15.1"]["missing_share"] == attention.missing_share == pytest.approx(0.1, abs=0.02)
    assert by_id["A15.2"]["missing_share"] == absolute.missing_share


def test_without_signed_correlation_there_is_no_signed_line(make_inputs):
    output = covariate_explanation(make_inputs(15, alter=lambda role: replace(role, signed_correlation=None)))
    assert set(output.tables["covariate_r2"]["variant"]) == {"absolute"}
    assert {r.status for r in output.results} == {Status.RUN}


def test_constant_attention_has_no_number_and_says_why(make_inputs):
    output = covariate_explanation(make_inputs(15, alter=with_attention(lambda _: np.full((150, 150), 0.25))))
    by_id = {r.test_id: r for r in output.results}
    assert by_id["A15.1"].effect is None
    assert "no variance to explain" in by_id["A15.1"].reason
    assert by_id["A15.2"].effect is not None


def test_rows_without_enough_pairs_are_skipped_one_by_one(make_inputs):
    output = covariate_explanation(make_inputs(15, genes=8, perturbations=3, targets=2))
    by_id = {r.test_id: r for r in output.results}
    assert by_id["A15.1"].status is Status.RUN
    assert by_id["A15.3"].status is Status.SKIPPED
    assert "boosting needs 40" in by_id["A15.3"].reason
    nothing = covariate_explanation(make_inputs(15, genes=4, perturbations=2, targets=1))
    assert {r.status for r in nothing.results} == {Status.SKIPPED}
    assert not nothing.tables
    assert {r.reason for r in covariate_explanation(make_inputs(15, absent="no screen")).results} == {"no screen"}


@pytest.mark.parametrize("name", ["correlation", "signed_correlation"])
def test_scores_from_other_cells_are_refused(make_inputs, name):
    def other(role):
        return replace(role, **{name: replace(getattr(role, name), cells_hash="d" * 64)})

    with pytest.raises(ValueError, match="recompute both on the same sampled control cells"):
        covariate_explanation(make_inputs(15, alter=other))


def test_same_inputs_give_the_same_bytes(make_inputs, confound):
    again = covariate_explanation(make_inputs(15, "confound"))
    assert again.results == confound.results
    assert again.tables["covariate_r2"].equals(confound.tables["covariate_r2"])
