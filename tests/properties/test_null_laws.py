"""Laws of nulls and resamples: what rewiring and shuffling keep, and what a bootstrap of whole groups is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from interp_assets.stats import nulls, strata
from interp_assets.stats.clustered_recovery import outranked
from interp_assets.stats.mantel import gene_permutations
from interp_assets.stats.relabelled import relabelled_targets
from interp_assets.stats.resampling import (
    bootstrap_mean,
    group_weights,
    grouped_auroc_bootstrap,
    grouped_average_precision_bootstrap,
    percentile_interval,
)
from tests.properties.laws import law

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def networks(draw):
    """Any network: few or many regulators, regulators that are targets, dense and sparse rows."""
    genes = draw(st.integers(3, 25))
    regulators = draw(st.integers(2, min(genes, 8)))
    rng = np.random.default_rng(draw(SEEDS))
    own = rng.permutation(genes)[:regulators]
    member = rng.random((regulators, genes)) < draw(st.sampled_from([0.05, 0.3, 0.6, 0.95]))
    member[np.arange(regulators), own] = False
    for row in np.flatnonzero(~member.any(axis=1)):
        member[row, (own[row] + 1) % genes] = True
    return nulls.network(member, own)


@law("curveball keeps in-degrees and out-degrees, makes no self pair and no pair twice", 200)
@given(networks(), SEEDS)
def test_rewiring_keeps_every_margin(net, seed):
    before = net.member()
    if nulls.tradeable_regulators(net).size < 2:
        with pytest.raises(ValueError, match="cannot be rewired"):
            nulls.curveball(net, np.random.default_rng(seed))
        return
    rewired = nulls.curveball(net, np.random.default_rng(seed))
    after = rewired.member()
    np.testing.assert_array_equal(net.member(), before, err_msg="the network itself was changed")
    np.testing.assert_array_equal(after.sum(axis=1), before.sum(axis=1))
    np.testing.assert_array_equal(after.sum(axis=0), before.sum(axis=0))
    assert after.sum() == rewired.target.size, "a pair stands twice"
    assert not after[np.arange(rewired.regulator.size), rewired.regulator].any()


@law("a score of the target alone cannot move under curveball", 60)
@given(networks(), SEEDS)
def test_a_score_of_the_target_has_no_degree_preserving_null(net, seed):
    rng = np.random.default_rng(seed)
    by_target = np.tile(rng.permutation(net.genes).astype(float), (net.regulator.size, 1))
    if net.target.size == by_target.size - net.regulator.size:
        return
    tested = nulls.curveball_null(nulls.rank_pairs(by_target, net.regulator), net, rng, 12)
    if tested.draws.size:
        np.testing.assert_allclose(tested.draws, tested.observed, atol=1e-12)
    assert tested.reason
    assert np.isnan(tested.p)
    assert np.isnan(tested.z)


@law("permutation p is (k + 1) / (n + 1) and never 0", 100)
@given(networks(), SEEDS, st.integers(2, 30))
def test_a_permutation_p_is_never_zero(net, seed, shuffles):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=(net.regulator.size, net.genes)) + 5.0 * net.member()
    if net.target.size == score.size - net.regulator.size:
        return
    tested = nulls.label_shuffle_null(nulls.rank_pairs(score, net.regulator), net, rng, shuffles)
    assert tested.draws.size == shuffles
    assert ((tested.draws >= 0) & (tested.draws <= 1)).all()
    if not tested.reason:
        assert tested.p == ((tested.draws >= tested.observed).sum() + 1) / (shuffles + 1)
    parts = nulls.decompose(tested)
    assert parts.chance + parts.degree + parts.residual == pytest.approx(tested.observed, abs=1e-12)


@law("shuffled labels keep their counts, drawn ones their range", 100)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), SEEDS)
def test_shuffles_keep_counts(label, seed):
    rng = np.random.default_rng(seed)
    label = np.array(label)
    for draw in strata.shuffled_strata(label, rng, 5):
        np.testing.assert_array_equal(np.sort(draw), np.sort(label))
    drawn = strata.random_strata(label.size, 4, rng, 5)
    assert drawn.shape == (5, label.size)
    assert set(np.unique(drawn)) <= set(range(4))


@law("relabelled targets stay one to one and never reach their own regulator", 100)
@given(networks(), SEEDS)
def test_relabelling_keeps_out_degrees(net, seed):
    member = net.member()
    if member.sum() == member.size - net.regulator.size:
        return
    labels = gene_permutations(net.genes, 6, np.random.default_rng(seed))
    copies = relabelled_targets(member, net.regulator, labels)
    for moved in copies.moved(slice(0, 6)):
        assert (moved != copies.own).all()
        pairs = set(zip(copies.row.tolist(), moved.tolist(), strict=True))
        assert len(pairs) == copies.positives


@st.composite
def grouped_pairs(draw):
    """Scores with ties, labels of both kinds, and the groups of pairs."""
    groups = draw(st.integers(1, 6))
    n = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(SEEDS))
    score = rng.integers(0, 6, n).astype(float) if draw(st.booleans()) else rng.normal(size=n)
    label = np.r_[1, 0, rng.integers(0, 2, n - 2)]
    return score, label, rng.integers(0, groups, n), groups


@law("a bootstrap with unit weights is the estimate", 150)
@given(grouped_pairs())
def test_unit_weights_are_the_estimate(pairs):
    score, label, group, groups = pairs
    once = np.ones((1, groups))
    assert grouped_auroc_bootstrap(score, label, group, once).item() == pytest.approx(
        roc_auc_score(label, score), abs=1e-12
    )
    assert grouped_average_precision_bootstrap(score, label, group, once).item() == pytest.approx(
        average_precision_score(label, score), abs=1e-12
    )


@law("a weight k is the same as rows repeated k times", 150)
@given(grouped_pairs(), SEEDS)
def test_weights_are_repeated_rows(pairs, seed):
    score, label, group, groups = pairs
    weights = group_weights(groups, 6, np.random.default_rng(seed))
    assert (weights.sum(axis=1) == groups).all()
    auroc = grouped_auroc_bootstrap(score, label, group, weights)
    precision = grouped_average_precision_bootstrap(score, label, group, weights)
    for place, weight in enumerate(weights):
        rows = np.repeat(np.arange(score.size), weight[group])
        if np.unique(label[rows]).size < 2:
            assert np.isnan(auroc[place])
            assert np.isnan(precision[place])
            continue
        assert auroc[place] == pytest.approx(roc_auc_score(label[rows], score[rows]), abs=1e-12)
        assert precision[place] == pytest.approx(average_precision_score(label[rows], score[rows]), abs=1e-12)


@law("resamples of regulators are the same by counts and by ranking again", 60)
@given(networks(), SEEDS)
def test_counted_resamples_equal_ranked_ones(net, seed):
    rng = np.random.default_rng(seed)
    member = net.member()
    score = rng.integers(0, 5, member.shape).astype(float)
    candidate = np.ones(member.shape, bool)
    candidate[np.arange(net.regulator.size), net.regulator] = False
    if member[candidate].all():
        return
    weights = group_weights(net.regulator.size, 6, rng)
    group = np.nonzero(candidate)[0]
    again = grouped_auroc_bootstrap(score[candidate], member[candidate].astype(int), group, weights)
    np.testing.assert_allclose(outranked(score, member, candidate).draws(weights), again, atol=1e-12)


@law("an interval holds its draws in order, and units that are all alike have one of no width", 100)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30), st.floats(0.05, 0.99), SEEDS)
def test_intervals_lie_within_their_draws(values, level, seed):
    found = percentile_interval([*values, float("nan")], requested=len(values) + 1, level=level)
    assert min(values) <= found.low <= found.high <= max(values)
    assert (found.resamples_requested, found.resamples_done) == (len(values) + 1, len(values))
    rng = np.random.default_rng(seed)
    alike = bootstrap_mean(np.full(len(values), values[0]), rng, 20, level=level)
    assert alike.low == pytest.approx(values[0], rel=1e-12)
    assert alike.high == pytest.approx(values[0], rel=1e-12)
