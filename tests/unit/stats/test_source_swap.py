"""Gains of permuted perturbed genes: equal a naive loop, calibrate the p, and keep what a target alone says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from interp_assets.stats.crossfit import Logistic, plan_folds
from interp_assets.stats.equivalence import two_sided_p
from interp_assets.stats.fit_memory import FitMemory
from interp_assets.stats.incremental import candidate_pairs, incremental_gains
from interp_assets.stats.source_swap import swapped_gains


def world(seed, perturbations=24, genes=60, signal=0.0, gene_part=0.0):
    rng = np.random.default_rng(seed)
    z, hidden = rng.normal(size=genes), rng.normal(size=(perturbations, genes))
    label = (rng.random(hidden.shape) < 1 / (1 + np.exp(2.0 - z - signal * hidden))).astype(np.int8)
    source = np.arange(perturbations)
    label[source, source] = -1
    edge = np.zeros((genes, genes))
    edge[source] = hidden + gene_part * z
    pairs = candidate_pairs(label, source)
    plan = plan_folds("perturbation", pairs.perturbation, pairs.target, folds=4, seed=[seed])
    return (z + rng.normal(size=genes))[:, None], edge, pairs, plan


def gain_and_null(features, edge, pairs, plan, permutations, seed=0):
    def read(source):
        return edge[source, pairs.target][:, None]

    common = {"seed": [seed], "memory": FitMemory()}
    gains = incremental_gains(
        features, read(pairs.source), pairs, plan, Logistic(), recall_at=(), resamples=1, **common
    )
    null = swapped_gains(features, read, pairs, plan, Logistic(), permutations=permutations, **common)
    return {gain.metric: gain.delta for gain in gains}, null


def test_equals_a_loop_with_scikit_learn():
    features, edge, pairs, plan = world(1, signal=1.0)
    _, null = gain_and_null(features, edge, pairs, plan, 3, seed=5)
    genes = features[pairs.target]

    def out_of_fold(x):
        score = np.empty(pairs.size)
        for fold in plan.folds:
            model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", tol=1e-10))
            model.fit(x[fold.train], pairs.positive[fold.train])
            score[fold.test] = model.decision_function(x[fold.test])
        return score

    alone = out_of_fold(genes)
    sources = np.unique(pairs.source)
    for number in range(3):
        order = np.random.default_rng([5, number]).permutation(sources.size)
        other = dict(zip(sources, sources[order], strict=True))
        swapped = np.array([edge[other[s], t] for s, t in zip(pairs.source, pairs.target, strict=True)])
        both = out_of_fold(np.column_stack([genes, swapped]))
        for name, metric in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            expected = metric(pairs.positive, both) - metric(pairs.positive, alone)
            assert null[name][number] == pytest.approx(expected, abs=1e-4)


def test_a_planted_edge_beats_every_permutation():
    gain, null = gain_and_null(*world(2, signal=1.5), 39)
    for metric in ("auroc", "auprc"):
        assert gain[metric] > null[metric].max() + 0.02
        assert two_sided_p(null[metric] - gain[metric]) == 2 / 40


def test_what_a_score_says_of_the_target_alone_is_no_gain_of_the_edge():
    # The score knows the target better than the noisy gene feature does: the gain is large, and so is its null.
    gain, null = gain_and_null(*world(3, perturbations=40, gene_part=3.0), 39)
    assert gain["auroc"] > 0.03
    assert two_sided_p(null["auroc"] - gain["auroc"]) > 0.05


@pytest.mark.slow
def test_p_is_uniform_where_the_edge_is_unrelated():
    p = []
    for seed in range(80):
        gain, null = gain_and_null(*world(100 + seed, perturbations=16, genes=40), 19, seed)
        p.append(two_sided_p(null["auroc"] - gain["auroc"]))
    # p takes the values .1, .2, ... 1: smeared over its steps it is uniform.
    smeared = np.array(p) - 0.1 * np.random.default_rng(0).random(len(p))
    assert kstest(smeared, "uniform").pvalue > 0.01
    # 8 expected at .1; 19 is four binomial deviations above.
    assert sum(value <= 0.1 for value in p) <= 19
