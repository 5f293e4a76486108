"""One regulator at a time: the bootstrap equals the slow one, the exact p equals counting and scipy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from interp_assets.stats.per_unit import exact_rank_p, row_recovery, stratified_auroc_bootstrap

FEW = st.lists(st.integers(0, 6), min_size=1, max_size=4)


def rows(rng, targets, others=60, shift=0.0, count=1):
    """Scores and labels of ``count`` rows with the same numbers of targets and others."""
    labels = np.tile(np.r_[np.ones(targets, np.int8), np.zeros(others, np.int8)], (count, 1))
    return rng.normal(size=labels.shape) + shift * labels, labels


@settings(max_examples=60, deadline=None)
@given(FEW, FEW, st.integers(0, 2**32 - 1))
def test_bootstrap_equals_ranking_the_drawn_sample_anew(target, other, seed):
    target, other = np.array(target, float), np.array(other, float)
    draws = stratified_auroc_bootstrap(target, other, np.random.default_rng(seed), 5)
    # The same counts, drawn here cell by cell and written out as samples.
    rng = np.random.default_rng(seed)
    distinct, copies = np.unique(target, return_counts=True)
    drawn = rng.multinomial(target.size, copies / target.size, size=5)
    place = {value: [v for v in other if v == value] for value in np.unique(other)}
    cells: dict[int, list[float]] = {}
    for value, same in place.items():
        at = sum(value > d for d in distinct) + sum(value >= d for d in distinct)
        cells.setdefault(int(at), []).extend(same)
    sizes = np.array([len(cells[at]) for at in sorted(cells)])
    counts = rng.multinomial(other.size, sizes / other.size, size=5)
    for draw, positives, negatives in zip(draws, drawn, counts, strict=True):
        sample = np.r_[np.repeat(distinct, positives), np.repeat([cells[at][0] for at in sorted(cells)], negatives)]
        labels = np.r_[np.ones(target.size), np.zeros(other.size)]
        assert draw == pytest.approx(roc_auc_score(labels, sample), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_has_the_distribution_of_drawing_candidates(ties):
    rng = np.random.default_rng(0)
    target, other = rng.normal(0.6, 1, 8), rng.normal(0, 1, 50)
    if ties:
        target, other = np.round(target), np.round(other)
    fast = stratified_auroc_bootstrap(target, other, rng, 6000)
    labels = np.r_[np.ones(8), np.zeros(50)]
    slow = [roc_auc_score(labels, np.r_[rng.choice(target, 8), rng.choice(other, 50)]) for _ in range(1200)]
    assert fast.mean() == pytest.approx(np.mean(slow), abs=0.01)
    assert fast.std() == pytest.approx(np.std(slow), rel=0.08)
    np.testing.assert_allclose(np.quantile(fast, [0.05, 0.95]), np.quantile(slow, [0.05, 0.95]), atol=0.02)


@settings(max_examples=60, deadline=None)
@given(FEW, FEW)
def test_exact_p_equals_counting_every_choice(target, other):
    ranks = stats.rankdata(target + other)
    observed = ranks[: len(target)].sum()
    sums = [ranks[list(choice)].sum() for choice in combinations(range(ranks.size), len(target))]
    assert exact_rank_p(target, other) == pytest.approx(np.mean(np.array(sums) >= observed), abs=1e-12)


@pytest.mark.parametrize("targets", [1, 2, 5, 9])
def test_exact_p_equals_mann_whitney_without_ties(targets):
    rng = np.random.default_rng(targets)
    target, other = rng.normal(0.5, 1, targets), rng.normal(0, 1, 40)
    expected = stats.mannwhitneyu(target, other, alternative="greater", method="exact").pvalue
    assert exact_rank_p(target, other) == pytest.approx(expected, rel=1e-9)


def test_single_target_p_is_its_place_with_ties_in_full():
    assert exact_rank_p([9.0], np.arange(9.0)) == 1 / 10
    assert exact_rank_p([0.0], np.arange(1.0, 10.0)) == 1.0
    assert exact_rank_p([5.0], [5.0, 5.0, 1.0]) == 0.75, "ties never help"


def test_single_target_rows_use_the_exact_p_and_no_resamples():
    scores, labels = rows(np.random.default_rng(0), 1, shift=9.0)
    found = row_recovery(scores, labels, np.random.default_rng(1), 50)[0]
    assert (found.method, found.auroc, found.p_exact) == ("exact rank", 1.0, 1 / 61)
    assert (found.interval.resamples_requested, found.interval.resamples_done) == (0, 0)
    assert np.isnan(found.interval.low)
    assert found.above_chance


def test_rows_are_scored_within_their_own_candidates():
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 6, (5, 40)).astype(float)
    labels = rng.choice(np.array([-1, 0, 1], np.int8), (5, 40), p=[0.2, 0.6, 0.2])
    labels[3][labels[3] == 1] = 0
    labels[4][labels[4] == 0] = -1
    found = row_recovery(scores, labels, rng, 50)
    for score, label, one in zip(scores[:3], labels[:3], found[:3], strict=True):
        keep = label >= 0
        assert one.auroc == pytest.approx(roc_auc_score(label[keep], score[keep]), abs=1e-12)
        assert (one.n_targets, one.n_candidates) == ((label == 1).sum(), keep.sum())
        assert one.interval.low <= one.auroc <= one.interval.high
        assert one.interval.resamples_done == 50
    for one in found[3:]:
        assert one.method == "no contrast"
        assert np.isnan(one.auroc)
        assert not one.above_chance


def test_planted_targets_are_above_chance_and_exact_p_stops_at_nine():
    for targets in (1, 2, 9, 10, 30):
        scores, labels = rows(np.random.default_rng(targets), targets, shift=4.0)
        found = row_recovery(scores, labels, np.random.default_rng(1), 100)[0]
        assert found.above_chance
        assert np.isnan(found.p_exact) == (targets > 9)


@pytest.mark.parametrize(
    ("targets", "lowest", "highest"), [(1, 0.02, 0.055), (2, 0.12, 0.3), (15, 0.01, 0.08), (40, 0.005, 0.06)]
)
def test_share_of_noise_called_above_chance(targets, lowest, highest):
    """About 3% with many targets, a fifth or more with two: that is why counts are reported by number of targets."""
    scores, labels = rows(np.random.default_rng(targets), targets, count=600)
    found = row_recovery(scores, labels, np.random.default_rng(1), 200)
    assert lowest <= np.mean([one.above_chance for one in found]) <= highest


def test_exact_p_of_two_targets_holds_its_level_where_the_interval_does_not():
    scores, labels = rows(np.random.default_rng(2), 2, count=600)
    found = row_recovery(scores, labels, np.random.default_rng(1), 200)
    assert np.mean([one.p_exact < 0.05 for one in found]) <= 0.08


def test_empty_classes_and_no_resamples_are_refused():
    with pytest.raises(ValueError, match="needs both classes"):
        stratified_auroc_bootstrap([], [1.0], np.random.default_rng(0), 5)
    with pytest.raises(ValueError, match="at least one"):
        row_recovery([[1.0, 2.0]], [[1, 0]], np.random.default_rng(0), 0)
