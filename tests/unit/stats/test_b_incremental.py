"""Gains are paired, resample perturbations, and equal their naive twins."""

from __future__ import annotations

import numpy as np
import pytest

from interp_assets.stats.crossfit import Boosting, Logistic, TooLittleDataError, plan_folds
from interp_assets.stats.fit_memory import FitMemory
from interp_assets.stats.incremental import candidate_pairs, incremental_gains, paired_gains
from interp_assets.stats.power import simulated_power
from interp_assets.stats.resampling import group_weights

FAST = Boosting(iterations=15, learning_rate=0.15, leaves=7)


def screen(perturbations=30, genes=120, signal=0.0, confound=1.2, listed=1.0, seed=0):
    """Gene features, edge matrix and labels; the edge carries `signal` beyond the gene features."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=genes)
    hidden = rng.normal(size=(perturbations, genes))
    log_odds = -2.5 + confound * z + signal * hidden
    label = (rng.random(log_odds.shape) < 1 / (1 + np.exp(-log_odds))).astype(np.int8)
    label[rng.random(label.shape) >= listed] = -1
    source = np.arange(perturbations)
    label[source, source] = -1
    features = np.column_stack([z, z**2 + rng.normal(size=genes), rng.normal(size=genes)])
    edge = hidden if signal else 0.8 * z + rng.normal(size=label.shape)
    return features, edge, label, source


def gains_of(features, edge, label, source, split="perturbation", learner=None, seed=0, memory=None):
    pairs = candidate_pairs(label, source)
    plan = plan_folds(split, pairs.perturbation, pairs.target, folds=5, seed=[seed])
    row = np.searchsorted(source, pairs.source)
    found = incremental_gains(
        features,
        edge[row, pairs.target][:, None],
        pairs,
        plan,
        learner or Logistic(),
        recall_at=[5, 10],
        resamples=200,
        seed=[seed, 9],
        memory=memory or FitMemory(),
    )
    return {gain.metric: gain for gain in found}


def naive(pairs, base, full, drawn):
    """AUROC, AUPRC and R-precision gains of one resample by repeating whole perturbations."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    rows = np.concatenate([np.flatnonzero(pairs.perturbation == u) for u in drawn])
    y = pairs.positive[rows]
    found = [metric(y, full[rows]) - metric(y, base[rows]) for metric in (roc_auc_score, average_precision_score)]
    parts = []
    for u in drawn:
        mine = pairs.perturbation == u
        k = int(pairs.positive[mine].sum())
        if k:
            tops = [pairs.positive[mine][np.argsort(-s[mine])[:k]].mean() for s in (full, base)]
            parts.append(tops[0] - tops[1])
    return [*found, np.mean(parts)]


def test_bootstrap_equals_naive_resampling_of_perturbations():
    _, _, label, source = screen(12, 40)
    pairs = candidate_pairs(label, source)
    rng = np.random.default_rng(1)
    base, full = rng.normal(size=(2, pairs.size)) + pairs.positive
    found = paired_gains(base, full, pairs, recall_at=[10], resamples=25, seed=[4], memory=FitMemory())
    weights = group_weights(12, 25, np.random.default_rng([4]))
    draws = np.array([naive(pairs, base, full, np.repeat(np.arange(12), w)) for w in weights])
    once = naive(pairs, base, full, np.arange(12))
    for number, gain in enumerate(found[:3]):
        assert gain.delta == pytest.approx(once[number], abs=1e-12)
        low, high = np.quantile(draws[:, number], [0.025, 0.975])
        assert (gain.ci_low, gain.ci_high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
        assert gain.resamples_requested == gain.resamples_done == 25
    assert [gain.metric for gain in found] == ["auroc", "auprc", "r_precision", "recall_10"]


def test_interval_resamples_perturbations_not_pairs():
    # All signal in 3 of 30 perturbations: an interval over pairs would be several times narrower.
    _, _, label, source = screen(30, 200)
    pairs = candidate_pairs(label, source)
    rng = np.random.default_rng(0)
    base = rng.normal(size=pairs.size)
    full = base + 6.0 * (pairs.positive & (pairs.perturbation < 3))
    gain = paired_gains(base, full, pairs, recall_at=(), resamples=400, seed=[0], memory=FitMemory())[0]
    rows = rng.integers(0, pairs.size, (60, pairs.size))
    from sklearn.metrics import roc_auc_score

    by_pair = [roc_auc_score(pairs.positive[r], full[r]) - roc_auc_score(pairs.positive[r], base[r]) for r in rows]
    low, high = np.quantile(by_pair, [0.025, 0.975])
    assert gain.ci_high - gain.ci_low > 1.5 * (high - low)


@pytest.mark.parametrize("learner", [Logistic(), FAST], ids=["logistic", "boosting"])
@pytest.mark.parametrize("split", ["perturbation", "target_gene", "joint"])
def test_planted_gain_is_found_in_every_cell(split, learner):
    gains = gains_of(*screen(40, 200, signal=2.0), split=split, learner=learner)
    for metric in ("auroc", "auprc", "r_precision"):
        assert gains[metric].ci_low > 0.005
        assert gains[metric].delta == gains[metric].gene_plus_edge - gains[metric].gene_only


def test_confound_only_score_gains_nothing():
    for seed in range(3):
        gain = gains_of(*screen(seed=seed), seed=seed)["auroc"]
        assert gain.gene_only > 0.7
        assert gain.ci_low < 0.005
        assert abs(gain.delta) < 0.01


def test_noise_gives_an_interval_around_zero():
    covered = 0
    for seed in range(5):
        features, _, label, source = screen(seed=seed, confound=0.0)
        edge = np.random.default_rng([seed, 5]).normal(size=label.shape)
        gain = gains_of(features, edge, label, source, seed=seed)["auroc"]
        covered += gain.ci_low <= 0.01 and gain.ci_high >= -0.01
    assert covered >= 4


def test_all_equal_edge_changes_nothing_under_logistic():
    features, edge, label, source = screen()
    for gain in gains_of(features, np.full(edge.shape, 0.3), label, source).values():
        assert gain.delta == pytest.approx(0.0, abs=1e-12)
        assert gain.ci_low == pytest.approx(0.0, abs=1e-12)


def test_ties_share_their_places():
    label = np.array([[-1, 1, 0, 0, 1], [1, -1, 0, 0, 0]], np.int8)
    pairs = candidate_pairs(label, np.array([0, 1]))
    tied, order = np.zeros(pairs.size), np.array([3.0, 2.0, 1.0, 0.0, 3.0, 2.0, 1.0, 0.0])
    found = paired_gains(tied, order, pairs, recall_at=[1], resamples=5, seed=[0], memory=FitMemory())
    by_name = {gain.metric: gain for gain in found}
    assert by_name["auroc"].gene_only == 0.5
    assert by_name["auprc"].gene_only == 3 / 8
    assert by_name["r_precision"].gene_only == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert by_name["recall_1"].gene_only == pytest.approx((1 / 4 + 1 / 4) / 2)
    assert by_name["recall_1"].gene_plus_edge == pytest.approx((1 / 2 + 1) / 2)


def test_two_rows_of_one_perturbed_gene_stay_together():
    _, _, label, source = screen(20, 60)
    twice_label, twice_source = np.vstack([label, label[:1]]), np.append(source, source[0])
    pairs = candidate_pairs(twice_label, twice_source)
    assert pairs.perturbations == 20
    plan = plan_folds("perturbation", pairs.perturbation, pairs.target, folds=5, seed=[0])
    holding = [np.isin(np.flatnonzero(pairs.source == source[0]), fold.test) for fold in plan.folds]
    assert sorted((h.all(), h.any()) for h in holding) == [(False, False)] * 4 + [(True, True)]


def test_perturbation_without_positives_counts_for_auroc_only():
    _, _, label, source = screen(12, 40)
    label[3, label[3] == 1] = 0
    pairs = candidate_pairs(label, source)
    score = np.random.default_rng(0).normal(size=pairs.size)
    found = paired_gains(score, score + 1, pairs, recall_at=(), resamples=20, seed=[0], memory=FitMemory())
    assert {gain.metric: gain.n_perturbations for gain in found} == {"auroc": 12, "auprc": 12, "r_precision": 11}


def test_untested_pairs_are_left_out_and_must_agree():
    _, _, label, source = screen(12, 40)
    pairs = candidate_pairs(label, source)
    score = np.random.default_rng(0).normal(size=pairs.size)
    score[::2] = np.nan
    keywords = {"recall_at": (), "resamples": 10, "seed": [0], "memory": FitMemory()}
    assert paired_gains(score, score, pairs, **keywords)[0].n_pairs == pairs.size // 2
    with pytest.raises(ValueError, match="cover different pairs"):
        paired_gains(score, np.nan_to_num(score), pairs, **keywords)


def test_own_gene_among_candidates_is_refused():
    _, _, label, source = screen(12, 40)
    label[2, source[2]] = 0
    with pytest.raises(ValueError, match="among its own candidates"):
        candidate_pairs(label, source)


@pytest.mark.parametrize(("value", "lacking"), [(0, "positive"), (1, "negative"), (-1, "positive")])
def test_labels_without_both_classes_are_too_little(value, lacking):
    label = np.full((3, 9), value, np.int8)
    label[np.arange(3), np.arange(3)] = -1
    with pytest.raises(TooLittleDataError, match=f"none is {lacking}"):
        candidate_pairs(label, np.arange(3))


def test_gene_only_is_fitted_once_for_many_releases():
    features, edge, label, source = screen()
    memory = FitMemory()
    first = gains_of(features, edge, label, source, memory=memory)
    assert memory.computed == 3  # gene-only, gene + edge, gene-only metrics
    second = gains_of(features, edge + 1.0, label, source, memory=memory)
    assert memory.computed == 4
    assert second["auroc"].gene_only == first["auroc"].gene_only
    again = gains_of(features, edge, label, source, memory=FitMemory())
    assert again == first


def test_sparse_outcome_lists_work():
    gains = gains_of(*screen(200, 400, signal=2.0, listed=0.08), learner=Logistic())
    assert gains["auroc"].n_pairs < 200 * 400 * 0.1
    assert gains["auroc"].ci_low > 0.05


def test_power_is_high_for_a_large_gain_and_low_for_none():
    features, _, label, source = screen(60, 200)
    pairs = candidate_pairs(label, source)
    plan = plan_folds("perturbation", pairs.perturbation, pairs.target, folds=5, seed=[0])
    keywords = {"simulations": 4, "resamples": 100, "seed": [0], "memory": FitMemory()}
    large = simulated_power(features, pairs, plan, Logistic(), true_gain=0.05, **keywords)
    assert large.power == 1.0
    assert large.achieved_gain == pytest.approx(0.05, rel=0.1)
    none = simulated_power(features, pairs, plan, Logistic(), true_gain=1e-6, **keywords)
    assert none.power <= 0.25
    with pytest.raises(TooLittleDataError, match="leaves no room"):
        simulated_power(features, pairs, plan, Logistic(), true_gain=0.5, **keywords)
