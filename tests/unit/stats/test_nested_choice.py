"""Nested choice: equal to a naive loop, blind to the held-out fold, and without optimism on noise."""

from __future__ import annotations

import numpy as np
import pytest

from interp_assets.stats.crossfit import TooLittleDataError
from interp_assets.stats.nested_choice import deal_folds, nested_bootstrap, nested_choice


def naive(values, groups, outer, inner, seed):
    """The same deals, every mean in a plain loop."""
    rng = np.random.default_rng(seed)
    fold = deal_folds(groups, outer, rng)
    chosen, held_out = [], np.full(groups.size, np.nan)
    for number in range(outer):
        train = [i for i in range(groups.size) if fold[i] != number]
        within = deal_folds(groups[train], inner, rng)
        best, best_score = -1, -np.inf
        for layer in range(values.shape[0]):
            means = []
            for part in range(inner):
                members = [values[layer, i] for i, where in zip(train, within, strict=True) if where == part]
                means.append(sum(members) / len(members))
            score = sum(means) / inner
            if score > best_score + 1e-15:
                best, best_score = layer, score
        chosen.append(best)
        for i in range(groups.size):
            if fold[i] == number:
                held_out[i] = values[best, i]
    return fold, chosen, held_out


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_naive_loop(seed):
    rng = np.random.default_rng(seed)
    values, groups = rng.random((6, 43)), rng.integers(0, 37, 43)
    got = nested_choice(values, groups, outer=5, inner=4, rng=np.random.default_rng(seed))
    fold, chosen, held_out = naive(values, groups, 5, 4, seed)
    assert got.fold.tolist() == fold.tolist()
    assert got.chosen.tolist() == chosen
    assert np.array_equal(got.held_out, held_out)


def test_groups_never_part_and_every_unit_is_judged_once():
    groups = np.repeat(np.arange(20), 2)
    got = nested_choice(
        np.random.default_rng(0).random((3, 40)), groups, outer=5, inner=5, rng=np.random.default_rng(1)
    )
    for code in range(20):
        assert np.unique(got.fold[groups == code]).size == 1
    assert np.isfinite(got.held_out).all()
    assert np.bincount(got.fold).tolist() == [8] * 5


def test_the_held_out_fold_does_not_choose():
    values = np.random.default_rng(2).random((4, 30))
    first = nested_choice(values, np.arange(30), outer=5, inner=5, rng=np.random.default_rng(3))
    changed = values.copy()
    changed[:, first.fold == 2] = np.random.default_rng(9).random((4, int((first.fold == 2).sum()))) + 5
    second = nested_choice(changed, np.arange(30), outer=5, inner=5, rng=np.random.default_rng(3))
    assert second.chosen[2] == first.chosen[2]
    assert np.array_equal(second.inner[2], first.inner[2])


def test_a_baseline_moves_no_choice():
    rng = np.random.default_rng(5)
    values, baseline = rng.random((8, 60)), rng.random(60)
    one = nested_choice(values, np.arange(60), outer=5, inner=5, rng=np.random.default_rng(0))
    other = nested_choice(values - baseline, np.arange(60), outer=5, inner=5, rng=np.random.default_rng(0))
    assert one.chosen.tolist() == other.chosen.tolist()


def test_ties_go_to_the_earlier_layer():
    got = nested_choice(np.tile(0.5, (4, 20)), np.arange(20), outer=5, inner=2, rng=np.random.default_rng(0))
    assert got.chosen.tolist() == [0] * 5


def test_the_best_layer_is_found_at_its_size():
    rng = np.random.default_rng(7)
    baseline = rng.normal(0.5, 0.1, 200)
    values = baseline + rng.normal(0, 0.1, (6, 200))
    values[4] += 0.08
    got = nested_choice(values, np.arange(200), outer=5, inner=5, rng=rng)
    draws = nested_bootstrap(values, baseline, np.arange(200), outer=5, inner=5, rng=rng, resamples=100)
    assert got.chosen.tolist() == [4] * 5
    assert (got.held_out - baseline).mean() == pytest.approx(0.08, abs=0.03)
    low, high = np.percentile(draws.mean, [2.5, 97.5])
    assert low < 0.08 < high
    assert draws.times_chosen[4] == draws.times_chosen.sum() == 500
    assert np.nanmean(draws.effect_size) == pytest.approx(0.8, abs=0.25)


def test_noise_gives_no_optimism_where_picking_the_best_does():
    nested, picked = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values = rng.normal(0, 0.1, (12, 40))
        nested.append(nested_choice(values, np.arange(40), outer=5, inner=5, rng=rng).held_out.mean())
        picked.append(values.mean(axis=1).max())
    assert abs(np.mean(nested)) < 3 * 0.1 / np.sqrt(40 * 60)
    assert np.mean(picked) > 0.02


def test_the_bootstrap_covers_nothing_on_noise_and_takes_whole_groups():
    rng = np.random.default_rng(1)
    values, baseline = rng.normal(0.5, 0.1, (5, 80)), rng.normal(0.5, 0.1, 80)
    draws = nested_bootstrap(values, baseline, np.arange(80) // 2, outer=5, inner=5, rng=rng, resamples=100)
    low, high = np.percentile(draws.mean, [2.5, 97.5])
    assert low < 0 < high
    assert np.allclose(draws.score - draws.baseline, draws.mean)


def test_weights_count_like_copies():
    values = np.random.default_rng(3).random((3, 12))
    weight = np.array([2, 0, 1, 1, 3, 1, 1, 0, 1, 1, 1, 1])
    got = nested_choice(values, np.arange(12), outer=3, inner=2, rng=np.random.default_rng(2), weight=weight)
    copies = np.repeat(np.arange(12), weight)
    twin = nested_choice(values[:, copies], copies, outer=3, inner=2, rng=np.random.default_rng(2))
    assert twin.inner == pytest.approx(got.inner)
    assert np.array_equal(twin.held_out, got.held_out[copies])
    assert np.isnan(got.held_out[[1, 7]]).all()


def test_too_few_groups_are_refused():
    with pytest.raises(TooLittleDataError, match="4 perturbed genes"):
        nested_choice(np.zeros((2, 8)), np.arange(8) // 2, outer=5, inner=2, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least two"):
        deal_folds(np.arange(8), 1, np.random.default_rng(0))
    few = nested_bootstrap(
        np.zeros((2, 5)), np.zeros(5), np.arange(5), outer=5, inner=4, rng=np.random.default_rng(0), resamples=5
    )
    assert np.isnan(few.mean).all()
