"""Residuals within rows: equal to statsmodels, nothing left of a copy, and curvature that ranks alone leave behind."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import norm, rankdata, spearmanr

from interp_assets.stats.rank_residual import VARIANTS
from interp_assets.stats.rank_residual import residual_rows as residuals_of
from interp_assets.stats.ranking import auroc


def residual_rows(score, given, able, variant):
    """One score alone; a second one beside it must not change it."""
    beside = np.random.default_rng(9).normal(size=score.shape)
    both, alone = residuals_of([score, beside], given, able), residuals_of([score], given, able)
    np.testing.assert_allclose(both[variant][0], alone[variant][0], atol=1e-9)
    return alone[variant][0]


def draw(seed=0, rows=6, genes=40):
    rng = np.random.default_rng(seed)
    given = np.round(rng.normal(size=(3, rows, genes)), 1)
    able = rng.random((rows, genes)) < 0.8
    return 0.7 * given[0] + rng.normal(size=(rows, genes)), given, able


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_row_is_the_least_squares_residual_of_statsmodels(variant):
    score, given, able = draw()
    found = residual_rows(score, given, able, variant)
    for row in range(score.shape[0]):
        at = able[row]
        y, x = rankdata(score[row, at]), np.stack([rankdata(each[row, at]) for each in given], axis=1)
        if variant != "ranks":
            y, x = norm.ppf((y - 0.5) / at.sum()), norm.ppf((x - 0.5) / at.sum())
            x = np.hstack([x, x**2, x**3])
        np.testing.assert_allclose(found[row, at], sm.OLS(y, sm.add_constant(x)).fit().resid, atol=1e-8)
    assert not found[~able].any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_any_rising_function_of_another_score_leaves_exactly_nothing(variant):
    _, given, able = draw(1)
    assert not residual_rows(np.exp(3 * given[1]), given, able, variant).any()


def test_with_nothing_to_take_out_the_ranks_come_back():
    score, given, able = draw(5)
    found = residuals_of([score], given[:0], able)["ranks"][0]
    for row in range(score.shape[0]):
        ranks = rankdata(score[row, able[row]])
        np.testing.assert_allclose(found[row, able[row]], ranks - ranks.mean())


def test_other_genes_do_not_matter():
    score, given, able = draw(2)
    changed = np.where(able, score, 99.0)
    np.testing.assert_array_equal(
        residual_rows(score, given, able, "ranks"), residual_rows(changed, given, able, "ranks")
    )


def test_a_noisy_copy_of_a_trivial_score_finds_nothing_by_curves_and_something_by_lines():
    rng = np.random.default_rng(3)
    trivial = rng.normal(size=(1, 100, 400))
    label = (rng.random(trivial.shape[1:]) < 1 / (1 + np.exp(4 - 1.8 * trivial[0]))).astype(np.int8)
    score = 0.8 * trivial[0] + rng.normal(size=label.shape)
    every = np.ones(label.shape, bool)
    line, curve = (auroc(residual_rows(score, trivial, every, v), label) for v in VARIANTS)
    assert auroc(score, label).mean() > 0.7
    assert abs(curve.mean() - 0.5) < 3 * curve.std() / 10
    assert line.mean() - 0.5 > 5 * line.std() / 10


def test_signal_that_the_others_do_not_hold_stays():
    score, given, able = draw(4, rows=3, genes=300)
    own = score - 0.7 * given[0]
    left = residual_rows(score, given, able, "normal scores, cubic")
    for row in range(3):
        assert spearmanr(left[row, able[row]], own[row, able[row]]).statistic > 0.95


def test_missing_scores_and_wrong_shapes_are_refused():
    score, given, able = draw()
    with pytest.raises(ValueError, match="fill_missing"):
        residual_rows(np.where(able, np.nan, score), given, ~able | able, "ranks")
    with pytest.raises(ValueError, match="do not match"):
        residual_rows(score[:2], given, able, "ranks")
