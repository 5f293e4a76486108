"""Networks with relabelled targets: equal to ranking each of them, level under the null."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from interp_assets.stats.mantel import gene_permutations
from interp_assets.stats.recovery import stouffer
from interp_assets.stats.relabelled import (
    joint_stouffer,
    relabelled_p,
    relabelled_recovery,
    relabelled_targets,
    relabelled_trends,
)


def network(seed=0, regulators=5, genes=30, share=0.15, signal=0.0, levels=0):
    """Score R x G, membership, regulators and candidates of a small network."""
    rng = np.random.default_rng(seed)
    own = np.sort(rng.choice(genes, regulators, replace=False))
    candidate = own[:, None] != np.arange(genes)[None, :]
    member = (rng.random((regulators, genes)) < share) & candidate
    score = rng.normal(size=(regulators, genes)) + signal * member
    return (np.round(score * levels) / levels if levels else score), member, own, candidate


def test_relabelled_recovery_equals_ranking_every_relabelled_network():
    score, member, own, candidate = network(levels=3)
    relabelled = gene_permutations(30, 25, np.random.default_rng(0))
    found = relabelled_recovery(score, relabelled_targets(member, own, relabelled))
    assert found.auroc == pytest.approx(roc_auc_score(member[candidate], score[candidate]), abs=1e-12)
    for label, null in zip(relabelled, found.null, strict=True):
        moved = np.zeros_like(member)
        for row, gene in enumerate(own):
            image = label.copy()
            # The gene that would land on the regulator takes the place of the regulator's own label.
            image[np.flatnonzero(label == gene)[0]] = label[gene]
            moved[row, image[np.flatnonzero(member[row])]] = True
        assert moved.sum() == member.sum()
        assert not moved[~candidate].any()
        assert null == pytest.approx(roc_auc_score(moved[candidate], score[candidate]), abs=1e-12)


def p_of(seed, genes, permutations, signal):
    score, member, own, _ = network(seed, genes=genes, signal=signal)
    relabelled = gene_permutations(genes, permutations, np.random.default_rng(seed))
    return relabelled_recovery(score, relabelled_targets(member, own, relabelled)).p


def test_relabelled_p_finds_a_network_and_has_its_level():
    assert [p_of(seed, 60, 99, 1.5) for seed in range(5)] == [0.01] * 5
    p = [p_of(seed, 30, 39, 0.0) for seed in range(200)]
    assert np.mean(np.array(p) <= 0.05) < 0.1
    assert 0.4 < np.mean(p) < 0.6


def test_joint_stouffer_keeps_its_level_where_tests_are_copies_of_each_other():
    joint, textbook = [], []
    for seed in range(200):
        score, member, own, _ = network(seed)
        found = relabelled_recovery(
            score, relabelled_targets(member, own, gene_permutations(30, 99, np.random.default_rng(seed)))
        )
        joint.append(joint_stouffer([found] * 3)[1])
        textbook.append(stouffer([found.p] * 3)[1])
        assert joint[-1] == pytest.approx(found.p)
    assert np.mean(np.array(joint) <= 0.05) < 0.1
    assert np.mean(np.array(textbook) <= 0.05) > 0.12
    with pytest.raises(ValueError, match="same relabellings"):
        joint_stouffer([])


def test_self_targets_missing_scores_and_empty_networks_are_refused():
    score, member, own, _ = network()
    relabelled = gene_permutations(30, 2, np.random.default_rng(0))
    itself = member.copy()
    itself[0, own[0]] = True
    with pytest.raises(ValueError, match="own target"):
        relabelled_targets(itself, own, relabelled)
    with pytest.raises(ValueError, match="needs both kinds"):
        relabelled_targets(np.zeros_like(member), own, relabelled)
    with pytest.raises(ValueError, match="do not match"):
        relabelled_targets(member, own[:2], relabelled)
    with pytest.raises(ValueError, match="finite number"):
        relabelled_recovery(np.where(member, np.nan, score), relabelled_targets(member, own, relabelled))


def test_trends_of_copies_equal_scipy():
    rng = np.random.default_rng(1)
    x, values = rng.integers(0, 4, 12), rng.integers(0, 5, (12, 6)).astype(float)
    values[:, 5] = 1.0
    found = relabelled_trends(x, values)
    for column in range(5):
        assert found[column] == pytest.approx(stats.spearmanr(x, values[:, column]).statistic)
    assert np.isnan(found[5])


def test_p_counts_copies_in_the_wanted_direction():
    null = [0.1, -0.3, 0.2, np.nan]
    assert relabelled_p(0.2, null, "greater") == 2 / 4
    assert relabelled_p(0.2, null, "two-sided") == 3 / 4
    assert relabelled_p(-0.4, null, "less") == 1 / 4
    assert np.isnan(relabelled_p(0.2, [np.nan, np.nan], "greater"))
    assert np.isnan(relabelled_p(np.nan, null, "greater"))
