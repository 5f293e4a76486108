"""Out-of-fold R2 equals scikit-learn's, resamples whole target genes, and is not fooled by gene identity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from interp_assets.stats.crossfit import Boosting, TooLittleDataError
from interp_assets.stats.explained import (
    FOLDS_BY,
    ScoredPairs,
    covariate_folds,
    explained_variance,
    grouped_r2_bootstrap,
    r2,
)
from interp_assets.stats.fit_memory import FitMemory
from interp_assets.stats.resampling import group_weights

FAST = Boosting(iterations=40, learning_rate=0.2, leaves=15)
LEARNERS = {"ols": None, "boosting": FAST}


def scored_pairs(kind="linear", sources=20, genes=120, seed=0):
    """Pairs whose score is linear in the covariates, bent in them, a code of the target gene, or noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(genes, 3))
    source, target = (a.ravel() for a in np.indices((sources, genes)))
    source, target = source[source != target], target[source != target]
    noise = rng.normal(size=source.size)
    score = {
        "linear": features[target, 0] - features[source, 1] + noise,
        "bent": 2.0 * np.abs(features[target, 0]) + 0.5 * noise,
        "identity": rng.normal(size=genes)[target] + 0.3 * noise,
        "noise": noise,
    }[kind]
    return ScoredPairs(
        score=score,
        covariates=np.column_stack([features[target], features[source]]),
        source=source,
        target=target,
    )


def explained(pairs, learner="ols", folds_by="target_gene", **changes):
    keywords = {"folds": 5, "fold_seed": [3], "resamples": 80, "draw_seed": [7], "memory": FitMemory()} | changes
    return explained_variance(pairs, LEARNERS[learner], folds_by=folds_by, **keywords)


@pytest.mark.parametrize("folds_by", FOLDS_BY)
@pytest.mark.parametrize("learner", LEARNERS)
def test_equals_cross_val_predict_and_r2_score_on_the_same_folds(learner, folds_by):
    pairs = scored_pairs("bent")
    plan = covariate_folds(pairs, folds_by, folds=5, seed=[3])
    fold_of = np.empty(pairs.score.size, dtype=int)
    for number, fold in enumerate(plan.folds):
        fold_of[fold.test] = number
    model = LinearRegression()
    if learner == "boosting":
        model = HistGradientBoostingRegressor(
            max_iter=40, learning_rate=0.2, max_leaf_nodes=15, early_stopping=False, random_state=0
        )
    predicted = cross_val_predict(model, pairs.covariates, pairs.score, cv=PredefinedSplit(fold_of))
    assert explained(pairs, learner, folds_by).r2 == pytest.approx(r2_score(pairs.score, predicted), abs=1e-10)


def test_finds_what_was_planted():
    linear = explained(scored_pairs("linear", genes=300))
    # Two of the three equal parts of the variance are covariates.
    assert linear.r2 == pytest.approx(2 / 3, abs=0.08)
    assert linear.interval.low < linear.r2 < linear.interval.high
    bent = scored_pairs("bent", genes=300)
    assert explained(bent).r2 < 0.1
    assert explained(bent, "boosting").r2 > 0.8


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("folds_by", FOLDS_BY)
def test_noise_explains_nothing_and_may_be_negative(learner, folds_by):
    found = [explained(scored_pairs("noise", seed=seed), learner, folds_by).r2 for seed in range(6)]
    assert max(found) < 0.02
    assert np.mean(found) < 0.0, "out-of-fold predictions of noise are worse than the mean"
    assert min(found) > -0.3


def test_folds_by_pair_let_boosting_recognise_the_gene():
    pairs = scored_pairs("identity")
    by_pair, by_gene = (explained(pairs, "boosting", folds_by).r2 for folds_by in FOLDS_BY)
    assert by_pair > 0.4
    assert by_gene < 0.05
    assert by_pair - by_gene > 0.4
    # Least squares has too few parameters to remember genes.
    assert abs(explained(pairs, "ols", "pair").r2 - explained(pairs, "ols").r2) < 0.1


def test_no_target_gene_and_no_pair_is_on_both_sides():
    pairs = scored_pairs()
    for fold in covariate_folds(pairs, "target_gene", folds=5, seed=[0]).folds:
        assert not np.intersect1d(pairs.target[fold.train], pairs.target[fold.test]).size
    plan = covariate_folds(pairs, "pair", folds=5, seed=[0])
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in plan.folds])), np.arange(pairs.score.size))
    assert all(not np.intersect1d(fold.train, fold.test).size for fold in plan.folds)
    with pytest.raises(ValueError, match="use one of pair, target_gene"):
        covariate_folds(pairs, "regulator", folds=5, seed=[0])


def resampled_r2(score, predicted, groups, weights):
    rows = np.repeat(np.arange(score.size), weights[groups])
    return r2_score(score[rows], predicted[rows])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.floats(-1e4, 1e4))
def test_bootstrap_equals_repeating_pairs(seed, groups, shift):
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(0, groups, 40))
    score = rng.normal(size=40) + group + shift
    predicted = score + rng.normal(size=40)
    weights = group_weights(groups, 12, rng)
    draws = grouped_r2_bootstrap(score, predicted, group, weights)
    for draw, weight in zip(draws, weights, strict=True):
        if weight[group].sum() > 1:
            assert draw == pytest.approx(resampled_r2(score, predicted, group, weight), rel=1e-7, abs=1e-7)
    assert r2(score, predicted) == pytest.approx(r2_score(score, predicted), abs=1e-9)


def test_a_score_without_variance_has_no_r2():
    constant = np.full(6, 0.1)
    assert np.isnan(r2(constant, constant + 1.0))
    score = np.array([1.0, 1.0, 5.0, 5.0, 2.0, 9.0])
    draws = grouped_r2_bootstrap(
        score, score + 0.5, np.array([0, 0, 1, 1, 2, 2]), np.array([[3, 0, 0], [0, 3, 0], [1, 1, 1]])
    )
    assert np.isnan(draws[:2]).all(), "a resample of equal scores has no variance"
    assert np.isfinite(draws[2])
    pairs = scored_pairs()
    found = explained(replace(pairs, score=np.full(pairs.score.size, 0.3)))
    assert np.isnan(found.r2)
    assert (found.interval.resamples_requested, found.interval.resamples_done) == (80, 0)


def test_interval_is_that_of_refitted_resamples_of_target_genes():
    pairs = scored_pairs("linear")
    plan = covariate_folds(pairs, "target_gene", folds=5, seed=[3])
    expected = np.empty(pairs.score.size)
    for fold in plan.folds:
        model = LinearRegression().fit(pairs.covariates[fold.train], pairs.score[fold.train])
        expected[fold.test] = model.predict(pairs.covariates[fold.test])
    weights = group_weights(120, 80, np.random.default_rng([7]))
    draws = [resampled_r2(pairs.score, expected, pairs.target, weight) for weight in weights]
    found = explained(pairs).interval
    np.testing.assert_allclose([found.low, found.high], np.quantile(draws, [0.025, 0.975]), atol=1e-10)


def test_missing_numbers_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match="every pair must be tested"):
        r2(np.array([1.0, 2.0]), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="one prediction and group a score"):
        r2(np.array([1.0, 2.0]), np.array([1.0]))


def test_too_few_target_genes_or_pairs_say_so():
    few = scored_pairs(genes=4, sources=4)
    with pytest.raises(TooLittleDataError, match="4 groups cannot fill 5 folds"):
        explained(few)
    with pytest.raises(TooLittleDataError, match="boosting needs 40"):
        explained(scored_pairs(genes=6, sources=4), "boosting")


def test_memory_computes_a_score_once_and_tells_settings_apart():
    memory, pairs = FitMemory(), scored_pairs()
    first = explained(pairs, memory=memory)
    assert explained(pairs, memory=memory) is first
    explained(pairs, folds_by="pair", memory=memory)
    explained(pairs, fold_seed=[4], memory=memory)
    assert memory.computed == 3
