"""Label classifiers and their permutation null, balanced and left-out edge scores, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from interp_assets.stats.edge_balance import (
    LeaveOneOut,
    artefact_sensitivity,
    balanced_members,
    balanced_scores,
    leave_one_out_sd,
    subset_correlations,
)
from interp_assets.stats.leakage import (
    PENALTY,
    DonorGap,
    LinearNull,
    balanced_accuracy,
    cramers_v,
    cross_validated,
    donor_gap,
    fold_interval,
    linear_null,
    macro_auc,
    permute_within,
    product_features,
    standardised,
    stratified_folds,
)


def world(cells=240, genes=12, donors=3, effect=0.0, seed=0):
    """Expression whose correlations, not means, differ between donors when ``effect`` is above 0."""
    rng = np.random.default_rng(seed)
    donor = np.arange(cells) % donors
    values = rng.normal(size=(cells, genes))
    shared = rng.normal(size=(cells, genes // 2))
    tied = (donor == 0)[:, None] * effect
    values[:, : genes // 2] += tied * shared
    values[:, genes // 2 :] += tied * shared
    source, target = np.arange(genes // 2), np.arange(genes // 2, genes)
    return standardised(values), source, target, donor


def test_a_product_feature_averages_to_the_correlation():
    z, source, target, _ = world()
    features, chosen = product_features(z, source, target, 4)
    assert features.shape == (240, 4)
    expected = [np.corrcoef(z[:, source[e]], z[:, target[e]])[0, 1] for e in chosen]
    assert np.allclose(features.mean(axis=0), expected)
    variance = (z[:, source] * z[:, target]).var(axis=0)
    assert chosen.tolist() == np.argsort(-variance)[:4].tolist()
    with pytest.raises(ValueError, match="no feature"):
        product_features(np.full((5, 2), np.nan), np.array([0]), np.array([1]), 3)


def test_folds_hold_every_label_evenly():
    label = np.repeat([0, 1, 2], [50, 23, 7])
    fold = stratified_folds(label, 5, np.random.default_rng(0))
    counts = np.array([[((fold == f) & (label == k)).sum() for k in range(3)] for f in range(5)])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(np.bincount(fold)) <= 1
    with pytest.raises(ValueError, match="fewer than the 5 folds"):
        stratified_folds(np.repeat([0, 1], [50, 4]), 5, np.random.default_rng(0))


def test_metrics_equal_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 3, 80)
    score = rng.dirichlet([1, 1, 1], 80).round(1)
    score /= score.sum(axis=1, keepdims=True)
    assert np.isclose(macro_auc(score, label), roc_auc_score(label, score, multi_class="ovr"))
    predicted = score.argmax(axis=1)
    assert np.isclose(balanced_accuracy(predicted, label), balanced_accuracy_score(label, predicted))
    assert np.isnan(macro_auc(score, np.zeros(80, dtype=int)))


@pytest.mark.parametrize(("labels", "within"), [(2, False), (3, True)])
def test_the_ridge_null_equals_fitting_every_permutation_again(labels, within):
    z, source, target, _ = world(cells=120, donors=labels, effect=1.0)
    label = np.arange(120) % labels
    features, _ = product_features(z, source, target, 6)
    rng = np.random.default_rng(3)
    fold = stratified_folds(label, 4, rng)
    blocks = rng.integers(0, 2, 120) if within else np.zeros(120, dtype=np.intp)
    found = linear_null(features, label, fold, blocks, np.random.default_rng(5), 3)
    joint = np.unique(np.stack([fold, blocks]), axis=1, return_inverse=True)[1].ravel()
    placed = permute_within(joint, np.random.default_rng(5), 3)
    for draw, order in enumerate([np.arange(120), *placed]):
        aucs = []
        for number in range(4):
            train, test = fold != number, fold == number
            centre, spread = features[train].mean(axis=0), features[train].std(axis=0)
            x, new = (features[train] - centre) / spread, (features[test] - centre) / spread
            member = (label[order][:, None] == np.arange(labels)).astype(float)
            score = Ridge(alpha=PENALTY * train.sum()).fit(x, member[train]).predict(new)
            aucs.append(np.mean([roc_auc_score(member[test, k], score[:, k]) for k in range(labels)]))
        assert np.isclose(np.mean(aucs), found.auc if draw == 0 else found.draws[draw - 1])
    assert found.p == (1 + (found.draws >= found.auc).sum()) / 4


def test_permutations_stay_within_blocks():
    blocks = np.array([0, 1, 0, 2, 1, 0, 2])
    for order in permute_within(blocks, np.random.default_rng(0), 20):
        assert sorted(order) == list(range(7))
        assert (blocks[order] == blocks).all()


def test_a_planted_donor_effect_is_found_and_permuted_donors_are_not():
    z, source, target, donor = world(effect=1.5)
    features, _ = product_features(z, source, target, 6)
    rng = np.random.default_rng(0)
    fold = stratified_folds(donor, 5, rng)
    nothing = np.zeros(240, dtype=np.intp)
    found = linear_null(features, donor, fold, nothing, rng, 99)
    assert found.p == 0.01
    assert found.auc > 0.6
    forest = cross_validated(features, donor, fold, "random_forest", trees=20, seed=0)
    assert forest.auc.mean() > 0.6
    chance = [linear_null(features, donor[rng.permutation(240)], fold, nothing, rng, 19).p for _ in range(40)]
    assert 0.3 < np.mean(chance) < 0.75
    assert np.mean(np.array(chance) <= 0.1) < 0.3


def test_the_interval_over_folds_is_the_t_interval():
    mean, _, high = fold_interval(np.array([0.6, 0.7, 0.65, 0.62, 0.68]))
    assert np.isclose(mean, 0.65)
    assert np.isclose(high - mean, 2.7764 * np.std([0.6, 0.7, 0.65, 0.62, 0.68], ddof=1) / np.sqrt(5), atol=1e-5)
    assert np.isnan(fold_interval(np.array([0.5]))[1])


def test_correlations_of_subsets_equal_numpy():
    z, source, target, donor = world()
    members = balanced_members(np.where(donor == 2, 2, 0), np.random.default_rng(0), 3)
    assert (members[:, donor == 2].sum(axis=1) == members[:, donor != 2].sum(axis=1)).all()
    found = subset_correlations(z, source, target, members)
    for row, mask in zip(found, members.astype(bool), strict=True):
        assert np.allclose(
            row, [np.corrcoef(z[mask, s], z[mask, t])[0, 1] for s, t in zip(source, target, strict=True)]
        )


def test_balanced_cells_have_no_sensitivity_and_an_effect_of_one_donor_has():
    z, source, target, donor = world()
    found = balanced_scores(z, source, target, donor, np.random.default_rng(0), 4)
    assert np.allclose(found.asi, 0.0)
    assert found.cells_a_draw == 240
    z, source, target, donor = world(effect=2.0)
    most = np.flatnonzero((donor == 0) | (np.arange(240) % 12 < 3))
    rare = balanced_scores(z[most], source, target, donor[most], np.random.default_rng(0), 20)
    assert (rare.balanced < rare.full).all()
    assert rare.asi.mean() > 3 * rare.asi_size_matched.mean()
    assert artefact_sensitivity(np.array([0.001]), np.array([-0.009]))[0] == pytest.approx(1.0)


def test_leaving_out_equals_a_loop_and_random_drops_are_its_null():
    z, source, target, donor = world(effect=1.0)
    rng = np.random.default_rng(0)
    groupings = donor[permute_within(np.zeros(240, dtype=np.intp), rng, 5)]
    found = leave_one_out_sd(z, source, target, groupings)
    for row, code in zip(found, groupings, strict=True):
        left = [
            [np.corrcoef(z[code != d, s], z[code != d, t])[0, 1] for s, t in zip(source, target, strict=True)]
            for d in range(3)
        ]
        assert np.allclose(row, np.std(left, axis=0, ddof=1))
    observed = leave_one_out_sd(z, source, target, donor[None])[0]
    null = leave_one_out_sd(z, source, target, donor[permute_within(np.zeros(240, dtype=np.intp), rng, 99)])
    compared = LeaveOneOut(observed, null)
    assert compared.median > compared.medians.max()
    assert np.median(compared.edge_p) == 0.01
    alike = LeaveOneOut(null[0], null[1:])
    assert 0.1 < alike.edge_p.mean() < 0.9


def test_a_missing_draw_counts_against_the_finding():
    compared = LeaveOneOut(np.array([0.5, np.nan]), np.array([[0.1, 0.1], [np.nan, 0.2]]))
    assert compared.edge_p[0] == pytest.approx(2 / 3)
    assert np.isnan(compared.edge_p[1])


def test_the_gap_is_large_where_states_look_different_in_every_donor():
    rng = np.random.default_rng(0)
    donor, state = np.repeat(np.arange(4), 60), np.tile(np.arange(2), 120)
    own = rng.normal(size=(4, 30)) * np.where(state == 1, 1.0, -1.0)[:, None, None]
    features = own[np.arange(240), donor] + rng.normal(size=(240, 30))
    fold = stratified_folds(state, 4, rng)
    placed = permute_within(state, rng, 39)
    found = donor_gap(features, state, donor, fold, placed)
    assert found.gap > 0.1
    assert found.p == 1 / 40
    alike = donor_gap(rng.normal(size=(240, 30)) + state[:, None], state, donor, fold, placed)
    assert abs(alike.gap) < 0.05
    assert alike.p > 0.02
    assert alike.random.shape == alike.grouped.shape == (4,)


def test_cramers_v_of_extremes():
    code = np.repeat([0, 1, 2], 20)
    assert cramers_v(code, code[::-1].copy()) == pytest.approx(1.0)
    assert cramers_v(np.tile([0, 1], 30), np.repeat([0, 1, 2], 20)) == pytest.approx(0.0)
    assert np.isnan(cramers_v(code, np.zeros(60, dtype=int)))


def test_a_classifier_without_an_auc_has_no_p():
    draws = np.array([0.4, 0.5, 0.6])
    assert np.isnan(LinearNull(float("nan"), draws).p)
    assert LinearNull(0.55, draws).p == 2 / 4
    assert np.isnan(DonorGap(np.array([np.nan]), np.array([0.5]), draws).p)
