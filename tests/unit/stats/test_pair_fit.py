"""Least squares over gene pairs from sums: equal to fitting every pair, honest out of fold."""

from __future__ import annotations

import numpy as np
import pytest

from interp_assets.stats.crossfit import TooLittleDataError, group_folds, out_of_fold_means, plan_folds
from interp_assets.stats.explained import grouped_r2_bootstrap, r2
from interp_assets.stats.pair_fit import fit_pairs, pair_moments
from interp_assets.stats.resampling import group_weights

GENES = 30
PAIR = ~np.eye(GENES, dtype=bool)
SOURCE, TARGET = np.nonzero(PAIR)


def world(seed=0, signal=0.5):
    rng = np.random.default_rng(seed)
    given = {name: 100 + rng.normal(size=(GENES, GENES)) for name in ("a", "b")}
    noise = rng.normal(size=(GENES, GENES))
    return {**given, "y": signal * given["a"] + noise}


def fitted(tables, given, folds=5, weights=None):
    weights = np.ones((1, GENES), dtype=np.int64) if weights is None else weights
    return fit_pairs(pair_moments(tables), "y", given, folds=folds, rng=np.random.default_rng(3), weights=weights)


@pytest.mark.parametrize("given", [["a"], ["a", "b"]])
def test_equal_to_fitting_every_pair(given):
    tables = world()
    weights = group_weights(GENES, 20, np.random.default_rng(1))
    found = fitted(tables, given, weights=weights)
    x, y = np.column_stack([tables[name][PAIR] for name in given]), tables["y"][PAIR]
    design = np.column_stack([np.ones(y.size), x])
    assert found.in_sample == pytest.approx(r2(y, design @ np.linalg.lstsq(design, y, rcond=None)[0]), abs=1e-10)
    fold = group_folds(np.arange(GENES), 5, np.random.default_rng(3))
    expected = np.empty(y.size)
    for number in range(5):
        test = fold[TARGET] == number
        expected[test] = design[test] @ np.linalg.lstsq(design[~test], y[~test], rcond=None)[0]
    assert found.out_of_fold == pytest.approx(r2(y, expected), abs=1e-10)
    draws = grouped_r2_bootstrap(y, expected, TARGET, weights)
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_agrees_with_the_cross_fitting_of_the_project():
    tables = world()
    plan = plan_folds("target_gene", SOURCE, TARGET, folds=5, seed=[0])
    predicted = out_of_fold_means(tables["a"][PAIR][:, None], tables["y"][PAIR], plan, None)
    assert fitted(tables, ["a"]).out_of_fold == pytest.approx(r2(tables["y"][PAIR], predicted), abs=5e-3)


def test_planted_share_is_found_and_noise_explains_nothing():
    assert fitted(world(signal=1.0), ["a"]).out_of_fold == pytest.approx(0.5, abs=0.05)
    noise = [fitted(world(seed, signal=0.0), ["a", "b"]) for seed in range(20)]
    assert np.mean([one.out_of_fold for one in noise]) < 0.0
    assert all(one.in_sample >= 0.0 for one in noise)


def test_constant_and_doubled_covariates_change_nothing():
    tables = world()
    more = {"c": np.full((GENES, GENES), 7.0), "d": tables["a"] * 3 + 1, **tables}
    plain = fitted(tables, ["a"])
    for given in (["a", "c"], ["a", "d"]):
        assert fitted(more, given).out_of_fold == pytest.approx(plain.out_of_fold, abs=1e-9)


def test_what_cannot_be_fitted_is_refused():
    tables = world()
    with pytest.raises(ValueError, match="same for every pair"):
        fitted({**tables, "y": np.ones((GENES, GENES))}, ["a"])
    with pytest.raises(ValueError, match="missing or infinite"):
        pair_moments({"y": np.full((4, 4), np.nan)})
    with pytest.raises(ValueError, match="one shape"):
        pair_moments({"y": np.ones((4, 4)), "a": np.ones((5, 5))})
    with pytest.raises(TooLittleDataError):
        fitted(tables, ["a"], folds=31)
