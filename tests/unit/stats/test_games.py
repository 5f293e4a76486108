"""Games of components: bounds hold on games with known interactions, Shapley values equal the definition."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from interp_assets.stats import games


def random_game(components, rng, *, interactions=1.0):
    """Values of all coalitions from drawn dividends; ``interactions`` scales those of order two and above."""
    members = games.coalition_members(components)
    size = members.sum(axis=1)
    dividends = rng.normal(size=2**components) * np.where(size >= 2, interactions, 1.0)
    inside = (members[:, None, :] | ~members[None, :, :]).all(axis=2)  # inside[S, T]: T is a part of S
    return inside @ dividends, dividends


def shapley_by_permutations(values, components):
    """The definition: mean marginal contribution over all K! orders."""
    found = np.zeros(components)
    orders = list(permutations(range(components)))
    for order in orders:
        mask = 0
        for i in order:
            found[i] += values[mask | 1 << i] - values[mask]
            mask |= 1 << i
    return found / len(orders)


@pytest.mark.parametrize("components", [1, 2, 3, 5, 6])
def test_exact_shapley_equals_all_permutations_and_is_efficient(components):
    values, _ = random_game(components, np.random.default_rng(components))
    found = games.exact_shapley(values)
    np.testing.assert_allclose(found, shapley_by_permutations(values, components), atol=1e-12)
    assert abs(games.efficiency_gap(found, values)) < 1e-12


def test_exact_shapley_works_on_batches_and_up_to_ten():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 2, 2**4))
    np.testing.assert_allclose(games.exact_shapley(values)[2, 1], games.exact_shapley(values[2, 1]))
    large = rng.normal(size=2**10)
    assert abs(games.efficiency_gap(games.exact_shapley(large), large)) < 1e-10
    with pytest.raises(ValueError, match="sample permutations"):
        games.exact_shapley(np.zeros(2**11))


def test_dividends_are_recovered_and_explain_the_bias_of_single_effects():
    values, dividends = random_game(5, np.random.default_rng(1))
    np.testing.assert_allclose(games.harsanyi_dividends(values), dividends, atol=1e-12)
    members = games.coalition_members(5)
    size = members.sum(axis=1)
    bias = [-(dividends[m & (size >= 2)] / size[m & (size >= 2)]).sum() for m in members.T]
    np.testing.assert_allclose(games.single_effects(values) - games.exact_shapley(values), bias, atol=1e-12)
    residual = values[-1] - values[0] - games.single_effects(values).sum()
    np.testing.assert_allclose(interactions_of_two_or_more(values), residual, atol=1e-12)
    assert games.aggregate_interaction(values) >= abs(residual)


def test_measured_interactions_equal_the_dividends_and_leave_out_what_was_not_measured():
    values, dividends = random_game(4, np.random.default_rng(2))
    masks = [m for m in range(1, 16) if m.bit_count() <= 3 and m != 0b1100]
    effects = {frozenset(i for i in range(4) if m >> i & 1): values[m] - values[0] for m in masks}
    found = games.measured_interactions(effects)
    assert set(found) == {frozenset(s) for s in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (0, 1, 2), (0, 1, 3))}
    for s, interaction in found.items():
        assert interaction == pytest.approx(dividends[sum(1 << i for i in s)])


def interactions_of_two_or_more(values):
    dividends = games.harsanyi_dividends(values)
    return sum(float(each) for mask, each in enumerate(dividends) if mask.bit_count() > 1)


def sampled(value, components, rng, permutations, antithetic):
    """Shapley values from components that join one after the other, order by order."""
    orders = [rng.permutation(components) for _ in range(permutations // 2 if antithetic else permutations)]
    if antithetic:
        orders = [order for one in orders for order in (one, one[::-1])]
    marginals = np.empty((permutations, components))
    for number, order in enumerate(orders):
        inside = np.zeros(components, dtype=bool)
        for component in order:
            before = value(inside)
            inside[component] = True
            marginals[number, component] = value(inside) - before
    total = value(np.ones(components, dtype=bool)) - value(np.zeros(components, dtype=bool))
    return games.shapley_from_marginals(marginals, total=total, antithetic=antithetic)


@pytest.mark.parametrize("antithetic", [True, False])
def test_sampled_shapley_covers_the_exact_one_at_its_standard_error(antithetic):
    rng = np.random.default_rng(3)
    values, _ = random_game(6, rng)
    exact = games.exact_shapley(values)
    bits = 1 << np.arange(6)
    z = []
    for _ in range(60):
        found = sampled(lambda m: values[m @ bits], 6, rng, 200, antithetic)
        assert abs(found.efficiency_gap) < 1e-10
        assert found.independent == (100 if antithetic else 200)
        z.extend((found.shapley - exact) / found.se)
    assert 0.9 < np.std(z) < 1.1
    assert abs(np.mean(z)) < 0.25


def test_antithetic_orders_are_exact_where_only_pairs_interact():
    rng = np.random.default_rng(4)
    pairs = np.triu(rng.normal(size=(15, 15)))
    found = sampled(lambda m: float(m @ pairs @ m), 15, rng, 4, antithetic=True)
    both = pairs + pairs.T
    np.testing.assert_allclose(found.shapley, both.sum(axis=0) / 2, atol=1e-10)
    assert found.se.max() < 1e-10


def test_lower_bound_is_exceeded_by_the_true_interaction_in_at_least_95_percent_of_draws():
    rng = np.random.default_rng(5)
    held, positive = [], []
    for draw in range(400):
        values, _ = random_game(5, rng, interactions=[0.0, 0.3, 1.0][draw % 3])
        cells = 30
        single = games.single_effects(values)[:, None] + rng.normal(size=(5, cells))
        total = values[-1] - values[0] + rng.normal(size=cells)
        found = games.non_additivity(
            total.mean(), single.mean(axis=1), component_sd=single.std(axis=1, ddof=1), component_n=cells,
            total_sd=total.std(ddof=1), total_n=cells,
        )  # fmt: skip
        held.append(found.lower_bound <= games.aggregate_interaction(values) + 1e-12)
        if draw % 3 == 0:
            positive.append(found.lower_bound > 0)
    assert np.mean(held) >= 0.95
    assert np.mean(positive) < 0.1, "an additive game is called additive"


def test_non_additivity_by_hand():
    found = games.non_additivity(2.0, [0.5, 0.3], component_sd=[0.4, 0.2], component_n=[4, 16], total_sd=0.6, total_n=9)
    se = np.sqrt(0.16 / 4 + 0.04 / 16 + 0.36 / 9)
    assert found.residual == pytest.approx(1.2)
    assert found.se == pytest.approx(se)
    assert found.lower_bound == pytest.approx(1.2 - 1.96 * se)
    assert found.relative == pytest.approx(found.lower_bound / 2)
    assert found.se_known
    one = games.non_additivity(0.0, [0.5], component_sd=0.0, component_n=1, total_sd=0.0, total_n=1)
    assert not one.se_known
    assert np.isnan(one.relative)


def test_certificate_equals_a_loop_over_pairs():
    rng = np.random.default_rng(6)
    m, se, bound = rng.normal(size=8), rng.uniform(0.0, 0.03, 8), 0.3
    size = np.abs(m)
    shares = {
        "uniform": np.full(8, 1 / 8),
        "proportional": size / size.sum(),
        "concentrated": np.ones(8),
    }
    top = int(size.argmax())
    for budget, share in shares.items():
        for found in games.ranking_certificate(m, se, bound, budget=budget):
            b = found.budget_factor * bound * share + 1.96 * se
            pair = {(i, j): abs(size[i] - size[j]) > b[i] + b[j] for i in range(8) for j in range(i)}
            assert (found.certified, found.pairs) == (sum(pair.values()), 28)
            assert found.top_certified == all(kept for ij, kept in pair.items() if top in ij)


def test_certified_share_falls_with_the_budget_and_ties_are_never_certified():
    found = games.ranking_certificate([3.0, -2.0, 1.0, 0.1], [0.0] * 4, 0.5)
    shares = [one.certified_share for one in found]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1.0
    assert found[0].top_certified
    tied = games.ranking_certificate([1.0, -1.0], [0.0, 0.0], 0.0)
    assert {one.certified for one in tied} == {0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: games.exact_shapley([1.0, 2.0, 3.0]), "2\\*\\*K"),
        (lambda: games.exact_shapley([1.0, np.nan]), "missing"),
        (lambda: games.ranking_certificate([1.0], [0.1], 0.0), "two or more"),
        (lambda: games.ranking_certificate([1.0, 2.0], [0.1, 0.1], 0.0, budget="even"), "uniform"),
        (lambda: games.ranking_certificate([1.0, 2.0], [0.1, 0.1], -1.0), "not negative"),
        (lambda: games.non_additivity(1.0, [], component_sd=1.0, component_n=1, total_sd=1.0, total_n=1), "single"),
        (lambda: games.non_additivity(1.0, [1.0], component_sd=1.0, component_n=0, total_sd=1.0, total_n=1), "no obs"),
        (lambda: games.shapley_from_marginals([[1.0, 2.0]]), "independent"),
        (lambda: games.shapley_from_marginals([[1.0], [np.nan]]), "missing"),
        (lambda: games.shapley_from_marginals(np.ones((3, 2)), antithetic=True), "independent"),
        (lambda: games.coalition_members(0), "1 to 20"),
    ],
)  # fmt: skip
def test_what_is_no_game_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
