"""Rank correlations of profiles against scipy, exact permutation and a plain bootstrap."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import spearmanr

from interp_assets.stats.profile_agreement import (
    permutation_p,
    permuted_rank_correlations,
    rank_correlations,
    resampled_rank_correlations,
)


@pytest.fixture
def profiles() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(4, 9))
    values[1, :4] = 0.5  # ties
    return values


PAIRS = [(0, 2), (1, 3), (0, 3)]
SOURCE = [0, 0, 1, 1]


def test_correlations_equal_scipy_with_ties(profiles):
    expected = [spearmanr(profiles[a], profiles[b]).statistic for a, b in PAIRS]
    np.testing.assert_allclose(rank_correlations(profiles, PAIRS), expected, atol=1e-12)


def test_a_constant_profile_has_no_correlation(profiles):
    profiles[0] = 3.0
    found = rank_correlations(profiles, PAIRS)
    assert np.isnan(found).tolist() == [True, False, True]


def test_permutation_p_is_the_exact_one_up_to_its_draws():
    values = np.array([[1.0, 2, 3, 4, 5, 6], [2.0, 1, 4, 3, 6, 5]])
    rho = rank_correlations(values, [(0, 1)])
    every = [spearmanr(values[0], values[1][list(order)]).statistic for order in permutations(range(6))]
    exact = np.mean(np.abs(every) >= rho[0] - 1e-9)
    null = permuted_rank_correlations(values, [(0, 1)], [0, 1], np.random.default_rng(1), 20_000)
    assert permutation_p(rho, null)[0] == pytest.approx(exact, abs=0.005)
    assert null.mean() == pytest.approx(0.0, abs=0.02)


def test_nothing_observed_or_drawn_has_no_p():
    null = np.array([[0.1, 0.1, 0.1], [0.9, np.nan, 0.9]])
    assert permutation_p([0.5, 0.5, np.nan], null) == pytest.approx([2 / 3, np.nan, np.nan], nan_ok=True)


def test_profiles_of_one_source_are_permuted_together():
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 8))
    twice = np.stack([first, first, second, second])
    null = permuted_rank_correlations(twice, [(0, 2), (1, 3)], SOURCE, rng, 50)
    assert (null[:, 0] == null[:, 1]).all()
    assert np.ptp(null[:, 0]) > 0.5


def test_resamples_rank_the_drawn_components_anew(profiles):
    draws = resampled_rank_correlations(profiles, PAIRS, np.random.default_rng(3), 40)
    taken = np.random.default_rng(3).integers(0, 9, (40, 9))
    for number, components in enumerate(taken):
        expected = [spearmanr(profiles[a, components], profiles[b, components]).statistic for a, b in PAIRS]
        np.testing.assert_allclose(draws[number], expected, atol=1e-12)


def test_a_resample_without_spread_is_drawn_again():
    profiles = np.array([[1.0, 2.0, 5.0], [3.0, 1.0, 2.0]])
    draws = resampled_rank_correlations(profiles, [(0, 1)], np.random.default_rng(0), 4000).ravel()
    assert np.isfinite(draws).all()
    # Every draw of three components that holds two or more, each as likely as the others.
    every = [list(drawn) for drawn in product(range(3), repeat=3) if len(set(drawn)) > 1]
    exact = [spearmanr(profiles[0, drawn], profiles[1, drawn]).statistic for drawn in every]
    assert len(every) == 24
    np.testing.assert_allclose(draws.mean(), np.mean(exact), atol=0.03)
    for value in np.unique(np.round(exact, 9)):
        share = np.isclose(draws, value, atol=1e-6).mean()
        np.testing.assert_allclose(share, np.isclose(exact, value, atol=1e-6).mean(), atol=0.03)


def test_a_profile_that_never_varies_has_no_correlation_in_any_draw():
    draws = resampled_rank_correlations([[1.0, 1.0], [2.0, 1.0]], [(0, 1)], np.random.default_rng(0), 20)
    assert np.isnan(draws).all()


def test_wrong_shapes_are_refused(profiles):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="two components or more"):
        rank_correlations(profiles[:, :1], PAIRS)
    with pytest.raises(ValueError, match="all finite"):
        rank_correlations(np.where(profiles > 1, np.nan, profiles), PAIRS)
    with pytest.raises(ValueError, match="pairs of profiles"):
        rank_correlations(profiles, [])
    with pytest.raises(ValueError, match="have different ones"):
        permuted_rank_correlations(profiles, [(0, 1)], SOURCE, rng, 5)
    for call in (
        lambda: permuted_rank_correlations(profiles, PAIRS, SOURCE, rng, 0),
        lambda: resampled_rank_correlations(profiles, PAIRS, rng, 0),
    ):
        with pytest.raises(ValueError, match="at least one"):
            call()
