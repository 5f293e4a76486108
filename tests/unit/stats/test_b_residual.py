"""Retention is computed out of fold, over regulators, and equals its textbook twin."""

from __future__ import annotations

import numpy as np
import pytest

from interp_assets.stats.crossfit import Boosting, TooLittleDataError, plan_folds
from interp_assets.stats.fit_memory import FitMemory
from interp_assets.stats.resampling import group_weights
from interp_assets.stats.residual import ReferenceScores, cross_fitted_residuals, kept_share, retention

FAST = Boosting(iterations=30, learning_rate=0.15, leaves=7)


def reference_scores(kind="network", regulators=25, genes=150, seed=0):
    """Pairs whose members share a property of the target; the score is the network, the property, or noise."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=genes)
    bump = np.abs(z) < 0.5
    rate = 0.02 + 0.3 * bump if kind == "bump" else np.minimum(0.6, 0.05 * np.exp(1.2 * z))
    member = rng.random((regulators, genes)) < rate
    noise = rng.normal(size=member.shape)
    score = {
        "network": member + 0.3 * noise,
        "hub": np.tile(z, (regulators, 1)) + 0.2 * noise,
        "bump": np.tile(bump, (regulators, 1)) + 0.3 * noise,
        "noise": noise,
    }[kind]
    regulator, target = (a.ravel() for a in np.indices(member.shape))
    keep = regulator != target
    features = np.column_stack([z, np.exp(z), rng.normal(size=genes)])
    return ReferenceScores(
        score=score.ravel()[keep],
        covariates=np.column_stack([features[target], features[regulator]])[keep],
        member=member.ravel()[keep],
        regulator=regulator[keep],
        target=target[keep],
    )


def retained(pairs, learner=None, seeds=(0, 1), **changes):
    keywords = {"folds": 5, "seeds": seeds, "resamples": 60, "draw_seed": [7], "memory": FitMemory()} | changes
    return retention(pairs, learner, **keywords)


@pytest.mark.parametrize("learner", [None, FAST], ids=["ols", "boosting"])
def test_network_score_keeps_and_hub_score_loses(learner):
    network, hub = (retained(reference_scores(kind), learner) for kind in ("network", "hub"))
    assert network.kept > 0.9
    assert network.kept_interval.low > 0.8
    assert hub.auroc_raw > 0.7
    assert hub.raw.low > 0.5
    assert not hub.nothing_to_retain
    assert abs(hub.kept) < 0.2
    assert hub.kept_interval.high < 0.8


def test_noise_has_nothing_to_retain():
    found = retained(reference_scores("noise"))
    assert "nothing to retain: raw AUROC" in found.nothing_to_retain
    weak = reference_scores("network", regulators=3)
    rng = np.random.default_rng(3)
    raw = rng.normal(size=weak.score.size) + 0.3 * (weak.member & (weak.regulator == 0))
    weak = ReferenceScores(
        score=raw, covariates=weak.covariates, member=weak.member, regulator=weak.regulator, target=weak.target
    )
    assert retained(weak).nothing_to_retain


def test_boosting_removes_what_least_squares_leaves():
    # A property of the target alone, but not linear in its covariates: OLS is the lenient learner.
    pairs = reference_scores("bump")
    assert retained(pairs, None).kept > 0.3
    assert retained(pairs, FAST).kept < 0.2


def test_residuals_equal_statsmodels_fold_by_fold():
    import statsmodels.api as sm

    pairs = reference_scores("network", 10, 60)
    found = cross_fitted_residuals(pairs, None, folds=5, seed=3)
    plan = plan_folds("target_gene", pairs.regulator, pairs.target, folds=5, seed=[3])
    expected = np.empty_like(found)
    for fold in plan.folds:
        fit = sm.OLS(pairs.score[fold.train], sm.add_constant(pairs.covariates[fold.train])).fit()
        expected[fold.test] = pairs.score[fold.test] - fit.predict(sm.add_constant(pairs.covariates[fold.test]))
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_intervals_equal_naive_resampling_of_regulators():
    from sklearn.metrics import roc_auc_score

    pairs = reference_scores("network", 12, 60)
    found = retained(pairs, seeds=(0, 1), resamples=30)
    left = [cross_fitted_residuals(pairs, None, folds=5, seed=s) for s in (0, 1)]
    raws, keeps = [], []
    for w in group_weights(12, 30, np.random.default_rng([7])):
        rows = np.concatenate([np.flatnonzero(pairs.regulator == r) for r in np.repeat(np.arange(12), w)])
        y = pairs.member[rows]
        raws.append(roc_auc_score(y, pairs.score[rows]))
        keeps.append((np.mean([roc_auc_score(y, r[rows]) for r in left]) - 0.5) / (raws[-1] - 0.5))
    np.testing.assert_allclose([found.raw.low, found.raw.high], np.quantile(raws, [0.025, 0.975]), atol=1e-12)
    interval = [found.kept_interval.low, found.kept_interval.high]
    np.testing.assert_allclose(interval, np.quantile(keeps, [0.025, 0.975]), atol=1e-12)
    by_hand = [roc_auc_score(pairs.member, r) for r in left]
    assert found.auroc_residual == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert found.sd_over_seeds == pytest.approx(np.std(by_hand, ddof=1), abs=1e-12)


def test_kept_share_is_not_rounded_or_clipped():
    np.testing.assert_allclose(kept_share(np.array([0.54, 0.8, 0.3]), np.array([0.66, 0.7, 0.6])), [0.25, 1.5, -2])
    assert np.isnan(kept_share(0.6, 0.5))


def test_one_seed_has_no_spread():
    assert np.isnan(retained(reference_scores(), seeds=(0,)).sd_over_seeds)


def test_same_content_is_residualised_once():
    memory, pairs = FitMemory(), reference_scores("network", 8, 60)
    first = retained(pairs, memory=memory)
    assert retained(pairs, memory=memory) is first
    assert memory.computed == 1
    retained(pairs, memory=memory, seeds=(0, 2))
    assert memory.computed == 2


def test_fewer_targets_than_folds_is_refused():
    with pytest.raises(TooLittleDataError, match="target genes: 4 groups cannot fill 5 folds"):
        retained(reference_scores("network", 4, 4))
