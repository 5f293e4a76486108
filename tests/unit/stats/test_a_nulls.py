"""Nulls of reference recovery against scikit-learn, closed forms and the set-based procedure."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from interp_assets.stats import nulls

BENCHMARK = Path(__file__).resolve().parents[3] / "benchmarks" / "nulls.py"


def random_network(seed: int, rows: int = 20, genes: int = 80, degree: int = 8) -> nulls.Network:
    rng = np.random.default_rng(seed)
    own = np.sort(rng.choice(genes, rows, replace=False))
    member = np.zeros((rows, genes), dtype=bool)
    popular = rng.random(genes) ** 3
    for at, regulator in enumerate(own):
        odds = popular.copy()
        odds[regulator] = 0.0
        size = int(rng.integers(1, 2 * degree))
        member[at, rng.choice(genes, size, replace=False, p=odds / odds.sum())] = True
    return nulls.network(member, own)


def candidates(net: nulls.Network) -> np.ndarray:
    mask = np.ones((net.regulator.size, net.genes), dtype=bool)
    mask[np.arange(net.regulator.size), net.regulator] = False
    return mask


@pytest.mark.parametrize(
    "target",
    [[3, 4, 4, 6], [3, 4, 5, 5], [3, 0, 4, 5], [3, 5, 4, 4]],
    ids=["another in-degree", "a pair twice", "a self pair", "a pair twice, in-degrees kept"],
)
def test_a_broken_network_is_noticed(target):
    member = np.zeros((2, 7), dtype=bool)
    member[0, [3, 4]] = member[1, [4, 5]] = True
    net = nulls.network(member, [0, 1])
    fine = nulls.Network(start=net.start, target=np.array([4, 5, 3, 4]), regulator=net.regulator, genes=7)
    assert nulls.same_degrees(net, fine)
    broken = nulls.Network(start=net.start, target=np.array(target), regulator=net.regulator, genes=7)
    assert not nulls.same_degrees(net, broken)


def test_curveball_mixes_like_the_procedure_on_sets():
    net = random_network(3, rows=25, genes=90)
    plain = runpy.run_path(str(BENCHMARK))["curveball_of_sets"]
    sets = [set(net.target[a:b].tolist()) for a, b in zip(net.start, net.start[1:], strict=False)]
    rng = np.random.default_rng(0)
    fast, slow = np.zeros((25, 90)), np.zeros((25, 90))
    draws = 300
    for _ in range(draws):
        fast += nulls.curveball(net, rng).member()
        for at, targets in enumerate(plain(sets, net.regulator.tolist(), rng, 5 * 25)):
            slow[at, list(targets)] += 1
    # Occupancy of each pair differs only by sampling: both are means of `draws` yes-no draws.
    spread = np.sqrt(np.maximum(fast + slow, 1) / draws**2)
    excess = np.abs(fast - slow) / draws / spread
    assert (excess > 4.5).mean() < 0.002
    np.testing.assert_array_equal(fast.sum(axis=1), slow.sum(axis=1))
    np.testing.assert_array_equal(fast.sum(axis=0), slow.sum(axis=0))


def test_curveball_reaches_all_networks_of_a_tiny_case_evenly():
    """Two regulators with one exclusive target each plus a third: the networks can be listed by hand."""
    member = np.zeros((3, 8), dtype=bool)
    member[0, [3, 4]] = member[1, [4, 5]] = member[2, [6, 7]] = True
    net = nulls.network(member, [0, 1, 2])
    rng = np.random.default_rng(1)
    seen: dict[bytes, int] = {}
    draws = 6_000
    for _ in range(draws):
        key = nulls.curveball(net, rng, trades_per_regulator=10).member().tobytes()
        seen[key] = seen.get(key, 0) + 1
    # Gene 4 sits in two rows, genes 3, 5, 6, 7 in one: 3 choices of rows for gene 4 leave the three rows
    # 1, 1 and 2 free places, filled by the four single genes in 12 ways: 36 networks.
    assert len(seen) == 36
    expected = draws / 36
    chi_square = sum((count - expected) ** 2 / expected for count in seen.values())
    assert chi_square < 35 + 5 * np.sqrt(70)


def test_five_trades_mix_and_the_seed_decides_the_network():
    net = random_network(4, rows=40, genes=300, degree=15)
    once = nulls.curveball(net, np.random.default_rng(7))
    again = nulls.curveball(net, np.random.default_rng(7))
    other = nulls.curveball(net, np.random.default_rng(8))
    np.testing.assert_array_equal(once.target, again.target)
    assert not np.array_equal(once.target, other.target)
    assert nulls.jaccard_distance(net, once) > 0.6
    assert nulls.jaccard_distance(net, net) == 0.0
    with pytest.raises(ValueError, match="do not mix"):
        nulls.curveball(net, np.random.default_rng(0), trades_per_regulator=1)


def test_tradeable_regulators_by_hand():
    member = np.zeros((4, 9), dtype=bool)
    member[0, [4, 5]] = True
    member[1, [4, 5]] = True  # the same targets as row 0: nothing to trade with it
    member[2, [6]] = True
    member[3, [0]] = True  # targets regulator 0 only
    net = nulls.network(member, [0, 1, 2, 3])
    assert nulls.tradeable_regulators(net).tolist() == [0, 1, 2, 3]
    alone = nulls.network(member[:2], [0, 1])
    assert nulls.tradeable_regulators(alone).size == 0
    # Row 3's only target is regulator 0 itself: these two cannot trade.
    pair = nulls.network(member[[0, 3]], [0, 3])
    assert nulls.tradeable_regulators(pair).size == 0
    with pytest.raises(ValueError, match="cannot be rewired"):
        nulls.curveball(pair, np.random.default_rng(0))


def test_auroc_against_any_network_comes_from_the_same_ranks():
    net = random_network(5)
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=(20, 80)), 1)
    ranked = nulls.rank_pairs(scores, net.regulator)
    mask = candidates(net)
    rewired = nulls.curveball(net, rng)
    for each in (net, rewired):
        expected = roc_auc_score(each.member()[mask], scores[mask])
        assert ranked.observed(each) == pytest.approx(expected, abs=1e-12)
    test = nulls.curveball_null(ranked, net, np.random.default_rng(3), 5)
    first = nulls.curveball(net, np.random.default_rng(3))
    assert test.draws[0] == pytest.approx(roc_auc_score(first.member()[mask], scores[mask]), abs=1e-12)


def test_shuffled_labels_have_the_moments_of_the_rank_sum():
    net = random_network(6)
    scores = np.random.default_rng(1).normal(size=(20, 80))
    ranked = nulls.rank_pairs(scores, net.regulator)
    test = nulls.label_shuffle_null(ranked, net, np.random.default_rng(2), 4000)
    positives, negatives = net.target.size, ranked.pairs - net.target.size
    sd = np.sqrt((ranked.pairs + 1) / (12 * positives * negatives))
    assert test.mean == pytest.approx(0.5, abs=4 * sd / np.sqrt(4000))
    assert test.sd == pytest.approx(sd, rel=4 / np.sqrt(2 * 4000))
    assert test.z == (test.observed - test.draws.mean()) / test.draws.std(ddof=1)


def test_the_nulls_hold_their_level_on_scores_that_know_nothing():
    rejected = {"label_shuffle": 0, "curveball": 0}
    for seed in range(150):
        net = random_network(seed, rows=12, genes=40, degree=5)
        rng = np.random.default_rng([seed, 1])
        ranked = nulls.rank_pairs(rng.normal(size=(12, 40)), net.regulator)
        rejected["label_shuffle"] += nulls.label_shuffle_null(ranked, net, rng, 39).p <= 0.05
        rejected["curveball"] += nulls.curveball_null(ranked, net, rng, 39).p <= 0.05
    bound = 150 * 0.05 + 4 * np.sqrt(150 * 0.05 * 0.95)
    assert max(rejected.values()) <= bound


def test_a_score_of_the_target_alone_cannot_be_judged_by_the_degree_null():
    net = random_network(7, rows=30, genes=200)
    scores = np.tile(np.random.default_rng(0).normal(size=200), (30, 1))
    test = nulls.curveball_null(nulls.rank_pairs(scores, net.regulator), net, np.random.default_rng(1), 20)
    # Out-degrees and in-degrees are kept and self pairs are no candidates, so the rank sum cannot change.
    assert test.sd < 1e-4
    assert np.isnan(test.z)
    assert np.isnan(test.p)
    assert "cannot move" in test.reason


def test_hub_structure_alone_passes_label_shuffles_but_not_the_degree_null():
    net = random_network(8, rows=30, genes=150, degree=12)
    rng = np.random.default_rng(1)
    scores = np.log1p(net.in_degree)[None, :] + rng.normal(0, 0.7, (30, 150))
    ranked = nulls.rank_pairs(scores, net.regulator)
    assert nulls.label_shuffle_null(ranked, net, rng, 200).z > 5
    rewired = nulls.curveball_null(ranked, net, rng, 100)
    assert abs(rewired.z) < 3
    parts = nulls.decompose(rewired)
    assert parts.chance + parts.degree + parts.residual == pytest.approx(rewired.observed, abs=1e-12)
    assert parts.degree > 0.1


def test_a_network_that_cannot_move_is_not_evaluable():
    member = np.zeros((2, 6), dtype=bool)
    member[0, [2, 3]] = member[1, [2, 3]] = True
    net = nulls.network(member, [0, 1])
    ranked = nulls.rank_pairs(np.random.default_rng(0).normal(size=(2, 6)), [0, 1])
    test = nulls.curveball_null(ranked, net, np.random.default_rng(0), 10)
    assert test.tradeable_regulators == 0
    assert (test.draws.size, test.draws_requested) == (0, 10)
    assert np.isnan(test.z)
    assert "at least 2" in test.reason


def test_a_null_that_stays_near_the_original_is_not_evaluable():
    rng = np.random.default_rng(0)
    member = np.ones((6, 40), dtype=bool)
    member[np.arange(6), np.arange(6)] = False
    for row in range(6):
        member[row, 10 + row * 3 : 13 + row * 3] = False
    net = nulls.network(member, np.arange(6))
    ranked = nulls.rank_pairs(rng.normal(size=(6, 40)), np.arange(6))
    test = nulls.curveball_null(ranked, net, rng, 20)
    assert test.mean_jaccard < 0.5
    assert "Jaccard" in test.reason
    assert np.isnan(test.z)
    assert test.degrees_kept


def test_permutation_p_is_never_zero_and_counts_ties():
    draws = np.array([0.4, 0.5, 0.6, 0.7])
    assert nulls.null_test("x", 0.9, draws, requested=4).p == 1 / 5
    assert nulls.null_test("x", 0.7, draws, requested=4).p == 2 / 5
    assert nulls.null_test("x", 0.1, draws, requested=4).p == 1.0


@pytest.mark.parametrize(
    ("member", "regulators", "message"),
    [
        ([[True, False]], [0], "targets itself"),
        ([[False, False]], [0], "without targets"),
        ([[False, True], [False, True]], [0, 0], "distinct"),
    ],
)
def test_network_refuses_what_cannot_trade(member, regulators, message):
    with pytest.raises(ValueError, match=message):
        nulls.network(member, regulators)


def test_missing_scores_are_refused_but_self_pairs_may_lack_one():
    scores = np.arange(12, dtype=float).reshape(2, 6)
    scores[[0, 1], [0, 1]] = np.nan
    assert nulls.rank_pairs(scores, [0, 1]).pairs == 10
    scores[0, 5] = np.nan
    with pytest.raises(ValueError, match="fill_missing"):
        nulls.rank_pairs(scores, [0, 1])
    with pytest.raises(ValueError, match="both labels"):
        nulls.rank_pairs(np.zeros((1, 3)), [0]).auroc(1.0, 0)
