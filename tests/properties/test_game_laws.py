"""Laws of Shapley values and interactions of components."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_assets.stats import games
from tests.properties.laws import law

VALUES = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def game(draw, most=6):
    """Values of all coalitions of 1 to ``most`` components."""
    components = draw(st.integers(1, most))
    return np.array(draw(st.lists(VALUES, min_size=2**components, max_size=2**components)))


def relabelled(values, order):
    """The same game with component i called order[i]."""
    members = games.coalition_members(len(order))
    place = np.array([sum(1 << order[i] for i in np.flatnonzero(row)) for row in members])
    moved = np.empty_like(values)
    moved[place] = values
    return moved


def scale(values):
    return 1e-9 * (1.0 + np.abs(values).max())


@law("Shapley: values add up to v(all) - v(nobody)", 200)
@given(game())
def test_shapley_values_are_efficient(values):
    shapley = games.exact_shapley(values)
    assert shapley.sum() == pytest.approx(values[-1] - values[0], abs=scale(values))
    assert games.efficiency_gap(shapley, values) == pytest.approx(0.0, abs=scale(values))


@law("Shapley: the names of components do not matter, so equal ones get equal values", 150)
@given(game(), st.randoms(use_true_random=False))
def test_shapley_values_follow_their_components(values, random):
    components = values.size.bit_length() - 1
    order = list(range(components))
    random.shuffle(order)
    shapley = games.exact_shapley(values)
    np.testing.assert_allclose(games.exact_shapley(relabelled(values, order))[order], shapley, atol=scale(values))
    if components > 1:  # the game made symmetric in two components gives them one value
        swap = [1, 0, *range(2, components)]
        one, other, *_ = games.exact_shapley((values + relabelled(values, swap)) / 2.0)
        assert one == pytest.approx(other, abs=scale(values))


@law("Shapley: a component that adds nothing gets nothing, one that adds alone its own", 150)
@given(game(5), st.floats(-1e6, 1e6), st.data())
def test_a_null_player_gets_nothing(values, own, data):
    components = values.size.bit_length()
    player = data.draw(st.integers(0, components - 1))
    members = games.coalition_members(components)
    without = np.delete(members, player, axis=1)
    rest = (without * 2 ** np.arange(components - 1)).sum(axis=1)
    for added in (0.0, own):
        larger = values[rest] + added * members[:, player]
        assert games.exact_shapley(larger)[player] == pytest.approx(added, abs=scale(larger))
        dividends = games.harsanyi_dividends(larger)[members[:, player] & (members.sum(axis=1) > 1)]
        np.testing.assert_allclose(dividends, 0.0, atol=64 * scale(larger))


@law("Shapley: values of a sum of games are the sums of values", 100)
@given(game(4), st.integers(0, 2**32 - 1))
def test_shapley_values_are_linear(values, seed):
    other = np.random.default_rng(seed).normal(size=values.size) * (1.0 + np.abs(values).max())
    both = games.exact_shapley(values) + games.exact_shapley(other)
    np.testing.assert_allclose(games.exact_shapley(values + other), both, atol=scale(values) + scale(other))


@law("Shapley: the mean of marginal contributions over all orders", 60)
@given(game(4))
def test_shapley_values_are_means_over_orders(values):
    components = values.size.bit_length() - 1
    rows = []
    for order in permutations(range(components)):
        coalition, row = 0, np.empty(components)
        for player in order:
            row[player] = values[coalition | 1 << player] - values[coalition]
            coalition |= 1 << player
        rows.append(row)
    expected = games.exact_shapley(values)
    np.testing.assert_allclose(np.mean(rows, axis=0), expected, atol=scale(values))
    if len(rows) > 1:
        sampled = games.shapley_from_marginals(rows, total=float(values[-1] - values[0]))
        np.testing.assert_allclose(sampled.shapley, expected, atol=scale(values))
        assert sampled.efficiency_gap == pytest.approx(0.0, abs=scale(values))


@law("interactions add up to the game, and bound what single effects miss", 100)
@given(game(5))
def test_interactions_account_for_what_single_effects_miss(values):
    dividends = games.harsanyi_dividends(values)
    rounding = 64 * scale(values)
    assert dividends.sum() == pytest.approx(values[-1], abs=rounding)
    missed = values[-1] - values[0] - games.single_effects(values).sum()
    assert abs(missed) <= games.aggregate_interaction(values) + rounding
    bound = games.non_additivity(
        float(values[-1] - values[0]), games.single_effects(values), component_sd=1.0, component_n=4, total_sd=1.0,
        total_n=4,
    )  # fmt: skip
    assert bound.residual == pytest.approx(missed, abs=rounding)
    assert 0.0 <= bound.lower_bound <= abs(bound.residual) + rounding


@law("a larger budget of interactions certifies no more of a ranking", 100)
@given(st.lists(VALUES, min_size=2, max_size=6), st.floats(0, 10), st.sampled_from(games.BUDGETS))
def test_certificates_only_shrink_with_the_budget(effects, bound, budget):
    errors = np.full(len(effects), 0.01)
    found = games.ranking_certificate(effects, errors, bound, lambdas=(0.0, 0.5, 1.0, 4.0), budget=budget)
    certified = [certificate.certified for certificate in found]
    assert certified == sorted(certified, reverse=True)
    assert all(not later.top_certified or earlier.top_certified for earlier, later in pairwise(found))
