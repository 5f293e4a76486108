"""Synthetic circuits: values and known contributions by hand, and estimates that must rank components alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from interp_assets.stats.games import exact_shapley, single_effects
from interp_assets.stats.synthetic_circuits import Circuits, draw_circuits, rank_correlations


def test_values_equal_a_loop_over_coalitions():
    drawn = draw_circuits(3, np.random.default_rng(0))
    values = drawn.coalition_values()
    for mask in (0, 1, 37, 255):
        inside = [i for i in range(8) if mask >> i & 1]
        for circuit in range(3):
            total = 0.0
            for target in range(4):
                x = sum(drawn.paths[circuit, i, target] for i in inside)
                total += x**2 / (x**2 + drawn.half[circuit, target] ** 2)
            assert values[circuit, mask] == pytest.approx(total)
    np.testing.assert_allclose(drawn.removal_effects()[:, 3], values[:, 255] - values[:, 255 - 8])


def test_contributions_add_up_to_the_read_out_and_follow_the_paths():
    drawn = draw_circuits(50, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.contributions().sum(axis=1), drawn.coalition_values()[:, -1])
    by_hand = Circuits(paths=np.array([[[1.0], [3.0], [0.0]]]), half=np.array([[4.0]]), gate="hill")
    np.testing.assert_allclose(by_hand.contributions(), [[0.125, 0.375, 0.0]])
    np.testing.assert_allclose(by_hand.path_strengths(), [[1.0, 3.0, 0.0]])


def test_densities_and_weights_are_as_stated():
    drawn = draw_circuits(3000, np.random.default_rng(2))
    reached = 1 - 0.4**3
    assert (drawn.paths > 0).mean() == pytest.approx(reached * 0.4, abs=0.01)
    assert drawn.paths[drawn.paths > 0].min() >= 0.09
    assert drawn.paths.max() <= 3 * 1.5**2


def test_without_interactions_all_estimates_are_the_truth():
    drawn = draw_circuits(30, np.random.default_rng(3), gate="linear")
    values = drawn.coalition_values()
    for estimate in (exact_shapley(values), single_effects(values), drawn.removal_effects()):
        np.testing.assert_allclose(estimate, drawn.contributions(), atol=1e-12)
        np.testing.assert_allclose(rank_correlations(estimate, drawn.path_strengths()), 1.0)


def test_rank_correlations_equal_scipy_and_a_constant_side_has_none():
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 4, size=(2, 10, 8))
    expected = [spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(rank_correlations(x, y), expected)
    assert np.isnan(rank_correlations(np.ones((1, 8)), y[:1]))[0]


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="one or more"):
        draw_circuits(0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="hill or linear"):
        draw_circuits(1, np.random.default_rng(0), gate="and")
