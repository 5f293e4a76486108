"""Exchanged labels against scipy's permutation test; chance sd against counting and simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from interp_assets.stats.class_contrast import chance_sd, class_contrast


def contrast(values, member, permutations=4000, seed=0):
    return class_contrast(values, member, np.random.default_rng(seed), permutations, 500)


def two_groups(shift, seed=3, size=(9, 9)):
    values = np.random.default_rng(seed).normal(0.6, 0.18, sum(size))
    member = np.arange(sum(size)) < size[0]
    return values + shift * member, member


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.22])
def test_p_is_close_to_the_exact_one(shift):
    values, member = two_groups(shift, size=(4, 6))
    found = contrast(values, member)
    exact = stats.permutation_test(
        (values[member], values[~member]), lambda a, b: a.mean() - b.mean(), n_resamples=np.inf
    ).null_distribution
    p = np.mean(np.abs(exact) >= abs(found.difference) - 1e-12)
    assert exact.size == 210
    assert found.p == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 4000) + 1e-3)
    assert found.null_sd == pytest.approx(exact.std(), rel=0.1)
    assert found.difference == pytest.approx(values[member].mean() - values[~member].mean())


def test_a_shift_fires_and_none_does_not():
    assert contrast(*two_groups(0.8)).p < 0.002
    assert contrast(*two_groups(0.0)).p > 0.05
    quiet = [contrast(*two_groups(0.0, seed=seed), permutations=99).p for seed in range(200)]
    assert np.mean(np.array(quiet) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_a_class_of_one_has_a_p_but_no_interval():
    values, member = two_groups(0.3, size=(1, 7))
    found = contrast(values, member)
    assert np.isnan(found.interval.low)
    assert found.interval.resamples_requested == 0
    assert np.isnan(found.sd)
    assert found.smallest_p == 1 / 8
    assert 0 < found.p <= 1
    low, high = (getattr(contrast(*two_groups(0.3)).interval, side) for side in ("low", "high"))
    assert low < 0.3 < high


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="0 units in the class"):
        contrast([0.1, 0.2], [False, False])
    with pytest.raises(ValueError, match="finite value"):
        contrast([0.1, np.nan], [True, False])


@pytest.mark.parametrize("scores", [[0.1, 0.4, 0.2, 0.9, 0.3], [1, 1, 2, 2, 2], [1, 1, 1, 1, 1]])
@pytest.mark.parametrize("targets", [1, 2, 3])
def test_chance_sd_equals_the_spread_over_all_choices_of_targets(scores, targets):
    every = []
    for chosen in combinations(range(5), targets):
        label = np.zeros(5)
        label[list(chosen)] = 1
        every.append(roc_auc_score(label, scores))
    assert len(every) > 4
    assert chance_sd(scores, targets) == pytest.approx(np.std(every), abs=1e-12)


def test_chance_sd_of_one_target_is_that_of_a_uniform_number():
    assert chance_sd(np.arange(2000.0), 1) == pytest.approx(np.sqrt(1 / 12), rel=1e-3)
    with pytest.raises(ValueError, match="both kinds"):
        chance_sd([1.0, 2.0], 2)
