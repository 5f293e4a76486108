"""Six expression scores against scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Lasso
from sklearn.metrics import mutual_info_score

from interp_assets.stats.expression_scorers import (
    SCORERS,
    expression_bins,
    expression_scores,
    lasso_coefficients,
    lasso_penalty,
    mean_rank,
    mutual_information,
    partial_correlation,
)

SOURCE = np.array([2, 0, 5])


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    cells = np.log1p(rng.poisson(1.0, (200, 12))).astype(float)
    cells[:, 7] = np.maximum(0.0, cells[:, 2] + rng.normal(0, 0.3, 200))
    cells[:, 9] = 0.0
    return cells


def test_every_score_is_a_share_and_finds_the_tied_gene(values):
    scores = expression_scores(values, SOURCE)
    assert tuple(scores) == SCORERS
    for score in scores.values():
        assert score.shape == (3, 12)
        assert np.isfinite(score).all()
        assert score.min() >= 0.0
        assert score.max() <= 1.0
        others = np.setdiff1d(np.arange(12), [2])
        assert others[score[0, others].argmax()] == 7
    assert (scores["pearson"][:, 9] == 0.0).all()


def test_correlations_equal_numpy_and_scipy(values):
    scores = expression_scores(values, SOURCE)
    for row, source in enumerate(SOURCE):
        for target in (1, 7, 11):
            assert scores["pearson"][row, target] == pytest.approx(
                abs(np.corrcoef(values[:, source], values[:, target])[0, 1])
            )
            assert scores["spearman"][row, target] == pytest.approx(
                abs(spearmanr(values[:, source], values[:, target])[0])
            )


def test_mutual_information_equals_scikit_learn_on_the_bins(values):
    code = expression_bins(values)
    found = mutual_information(values, SOURCE)
    for row, source in enumerate(SOURCE):
        expected = [mutual_info_score(code[:, source], code[:, target]) for target in range(12)]
        assert np.allclose(found[row], expected, atol=1e-5)
    assert (code[values == 0.0] == 0).all()
    assert set(np.unique(code[:, 7])) == {0, 1, 2, 3, 4}


def test_partial_correlation_is_that_of_the_shrunken_matrix(values):
    z = values - values.mean(axis=0)
    z = z / np.where(z.std(axis=0) > 0, z.std(axis=0), 1.0)
    precision = np.linalg.inv(LedoitWolf(assume_centered=True).fit(z).covariance_)
    scale = np.sqrt(np.diag(precision))
    expected = -precision / np.outer(scale, scale)
    found = partial_correlation(z)
    assert np.allclose(found - np.diag(np.diag(found)), expected - np.diag(np.diag(expected)))
    assert found[2, 9] == 0.0


def test_lasso_equals_scikit_learn(values):
    z = values - values.mean(axis=0)
    z = z / np.where(z.std(axis=0) > 0, z.std(axis=0), np.inf)
    source = np.array([2, 0, 5, 1, 3, 4])
    found = lasso_coefficients(z.T @ z / 200, source, 200)
    penalty = lasso_penalty(6, 200)
    for target in (7, 8, 3, 9):
        held = source != target
        fitted = Lasso(alpha=penalty, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(
            z[:, source[held]], z[:, target]
        )
        assert np.allclose(found[held, target], fitted.coef_, atol=1e-5)
        assert (found[~held, target] == 0.0).all()
    assert found[0, 7] > 0.5


def test_the_ensemble_is_the_mean_share_of_lower_pairs(values):
    scores = expression_scores(values, SOURCE)
    pair = np.ones((3, 12), dtype=bool)
    pair[np.arange(3), SOURCE] = False
    shares = [(rankdata(scores[name][pair]) - 0.5) / 33 for name in SCORERS[:-1]]
    assert np.allclose(scores["ensemble"][pair], np.mean(shares, axis=0))
    assert (mean_rank([scores["lasso"]], SOURCE)[~pair] == 0.0).all()


def test_scores_of_nothing_are_refused(values):
    with pytest.raises(ValueError, match="at least 3 cells"):
        expression_scores(values[:2], SOURCE)
    with pytest.raises(ValueError, match="finite"):
        expression_scores(np.where(values > 1, np.nan, values), SOURCE)
