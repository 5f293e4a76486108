"""Laws of residuals: a score explains itself fully, and what is left knows nothing of what was taken out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from interp_assets.stats.crossfit import SPLITS, TooLittleDataError, plan_folds
from interp_assets.stats.rank_association import rank_correlation
from interp_assets.stats.rank_residual import VARIANTS, residual_rows
from interp_assets.stats.residual import ReferenceScores, cross_fitted_residuals, kept_share
from tests.properties.laws import REFUSED, law

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed, shape, ties):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, shape).astype(float) if ties else rng.normal(size=shape)


@law("the residual of a score on itself is 0", 100)
@given(st.integers(1, 30), st.integers(0, 2), st.booleans(), SEEDS)
def test_a_score_explains_itself(genes, others, ties, seed):
    score = drawn(seed, (1, 2, genes), ties)
    beside = drawn(seed + 1, (others, 2, genes), ties)
    for given_scores in (score, np.concatenate([beside, score])):
        for left in residual_rows(score, given_scores, np.ones((2, genes), bool)).values():
            np.testing.assert_array_equal(left, 0.0)


@law("residuals of ranks are orthogonal to the ranks of what was taken out", 100)
@given(st.integers(2, 30), st.integers(1, 3), st.booleans(), SEEDS)
def test_residuals_are_orthogonal_to_what_explains_them(genes, others, ties, seed):
    score, given_scores = drawn(seed, (2, 1, genes), ties), drawn(seed + 1, (others, 1, genes), ties)
    able = np.ones((1, genes), bool)
    left = residual_rows(score, given_scores, able)
    scale = genes**3
    for row in left["ranks"][:, 0]:
        assert abs(row.sum()) <= 1e-9 * scale
        for other in given_scores[:, 0]:
            assert abs(row @ rankdata(other)) <= 1e-9 * scale
    for variant in VARIANTS:
        assert np.abs(left[variant].sum(axis=-1)).max() <= 1e-9 * scale


@law("residuals see only the order of scores, and nothing but the candidates of a row", 80)
@given(st.integers(3, 20), st.booleans(), SEEDS)
def test_residuals_do_not_see_what_is_no_candidate(genes, ties, seed):
    score, other = drawn(seed, (1, 2, genes), ties), drawn(seed + 1, (1, 2, genes), ties)
    able = np.random.default_rng(seed).random((2, genes)) < 0.7
    before = residual_rows(score, other, able)
    outside = np.where(able, 2.0 * score - 1.0, np.nan)
    after = residual_rows(outside, np.where(able, other**3, np.inf), able)
    for variant in VARIANTS:
        np.testing.assert_allclose(after[variant], before[variant], atol=1e-9)
        assert (before[variant][0][~able] == 0).all()


@law("a score that is a line of its covariates leaves no residual, cross-fitted", 25)
@given(SEEDS, st.integers(2, 5), st.integers(0, 2))
def test_a_linear_score_leaves_nothing(seed, folds, columns):
    rng = np.random.default_rng(seed)
    regulator, target = (grid.ravel() for grid in np.indices((6, 20)))
    covariates = rng.normal(size=(target.size, columns + 1))
    score = covariates @ rng.normal(size=columns + 1) + 2.0
    pairs = ReferenceScores(
        score=score, covariates=covariates, member=rng.random(score.size) < 0.3, regulator=regulator, target=target
    )
    left = cross_fitted_residuals(pairs, None, folds=folds, seed=seed % 1000)
    np.testing.assert_allclose(left, 0.0, atol=1e-9 * (1 + np.abs(score).max()))


@law("no fold shares a group between training and test, and no pair is tested twice", 150)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60), st.integers(2, 4), SEEDS)
def test_folds_never_leak(pairs, folds, seed):
    perturbation, target = (np.array(side, dtype=np.intp) for side in zip(*pairs, strict=True))
    made = 0
    for split in SPLITS:
        try:
            plan = plan_folds(split, perturbation, target, folds=folds, seed=[seed])
        except TooLittleDataError:
            continue
        made += 1
        times = np.zeros(perturbation.size, dtype=int)
        for fold in plan.folds:
            times[fold.test] += 1
            sides = {"perturbation": [perturbation], "target_gene": [target], "joint": [perturbation, target]}[split]
            for side in sides:
                assert not set(side[fold.train]) & set(side[fold.test])
        assert times.max() == 1
        assert split == "joint" or times.min() == 1
    return None if made else REFUSED


@law("the kept share of an unchanged score is 1", 50)
@given(st.floats(0, 1))
def test_an_unchanged_score_keeps_everything(auroc):
    kept = kept_share(auroc, auroc).item()
    assert np.isnan(kept) if auroc == 0.5 else kept == 1.0


@law("a partial rank correlation with a covariate that is one of the sides has no value", 60)
@given(st.integers(4, 30), st.booleans(), SEEDS)
def test_nothing_is_left_to_correlate_with_a_side_taken_out(pairs, ties, seed):
    left, right = drawn(seed, pairs, ties), drawn(seed + 1, pairs, ties)
    assert np.isnan(rank_correlation(left, right, left[None]))
