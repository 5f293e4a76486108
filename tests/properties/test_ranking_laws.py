"""Laws of ranking: what AUROC, average precision and rank correlation may never depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score

from interp_assets.stats import cssi, ranking
from interp_assets.stats.clustered_recovery import outranked
from interp_assets.stats.nulls import network, rank_pairs
from interp_assets.stats.rank_association import rank_correlation
from interp_assets.stats.recovery import spearman
from tests.properties.laws import law

# Whole numbers tie often; the others hardly ever, over all sizes a score may have.
SCORES = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(-1e300, 1e300, allow_nan=False, allow_subnormal=False),
)
PAIR = st.tuples(SCORES, st.sampled_from([-1, 0, 1]))
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def rows(draw, most=40):
    """Scores and labels of one row that holds both kinds."""
    pairs = draw(st.lists(PAIR, max_size=most))
    pairs += [(draw(SCORES), 1), (draw(SCORES), 0)]
    score, label = (np.array(side) for side in zip(*pairs, strict=True))
    return score, label.astype(np.int8)


@law("AUROC(s) + AUROC(-s) = 1", 200)
@given(rows())
def test_a_score_and_its_negation_share_one(row):
    score, label = row
    both = ranking.auroc(score, label) + ranking.auroc(-score, label)
    assert both.item() == pytest.approx(1.0, abs=1e-15)


@law("AUROC is that of Mann and Whitney, ties one half (scipy)", 200)
@given(rows())
def test_auroc_is_the_mann_whitney_statistic(row):
    score, label = row
    positive, negative = score[label == 1], score[label == 0]
    expected = stats.mannwhitneyu(positive, negative).statistic / (positive.size * negative.size)
    assert ranking.auroc(score, label).item() == pytest.approx(expected, abs=1e-12)


@law("AUROC counts each tied pair as one half", 100)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=8), st.lists(st.integers(0, 2), min_size=1, max_size=8))
def test_a_tied_pair_counts_one_half(positive, negative):
    score, label = positive + negative, [1] * len(positive) + [0] * len(negative)
    halves = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    assert ranking.auroc(score, label).item() == halves / (len(positive) * len(negative))


@law("AUROC of a constant score is one half", 50)
@given(rows(), SCORES)
def test_a_constant_score_is_chance(row, value):
    label = row[1]
    assert ranking.auroc(np.full(label.size, value), label).item() == 0.5


@law("AUROC and average precision see only the order of scores", 150)
@given(rows(), SEEDS)
def test_a_strictly_rising_transform_changes_nothing(row, seed):
    score, label = row
    distinct, place = np.unique(score, return_inverse=True)
    rising = np.cumsum(np.random.default_rng(seed).random(distinct.size) + 1e-3)[place]
    for metric in (ranking.auroc, ranking.average_precision, ranking.r_precision):
        assert metric(score, label).item() == metric(rising, label).item()


@law("AUROC and average precision do not depend on the order of rows or candidates", 150)
@given(rows(), SEEDS)
def test_the_order_of_candidates_changes_nothing(row, seed):
    score, label = row
    mixed = np.random.default_rng(seed).permutation(score.size)
    for metric in (ranking.auroc, ranking.average_precision, ranking.r_precision):
        assert metric(score[mixed], label[mixed]).item() == pytest.approx(metric(score, label).item(), abs=1e-14)
        stacked = metric(np.vstack([score, -score]), np.vstack([label, label]))
        turned = metric(np.vstack([-score, score]), np.vstack([label, label]))
        np.testing.assert_array_equal(stacked, turned[::-1])


@law("average precision equals scikit-learn's, ties entering together", 100)
@given(rows())
def test_average_precision_is_that_of_scikit_learn(row):
    score, label = row
    kept = label >= 0
    expected = average_precision_score(label[kept], score[kept])
    assert ranking.average_precision(score, label).item() == pytest.approx(expected, abs=1e-12)


@law("a row without both kinds has no AUROC", 50)
@given(st.lists(SCORES, min_size=1, max_size=10), st.sampled_from([0, 1, -1]))
def test_a_row_of_one_kind_has_no_number(score, label):
    assert np.isnan(ranking.auroc(score, np.full(len(score), label))).all()


@law("the four ways to compute a pooled AUROC agree", 100)
@given(st.integers(2, 6), st.integers(3, 12), st.booleans(), SEEDS)
def test_every_pooled_auroc_is_the_same_number(regulators, genes, ties, seed):
    rng = np.random.default_rng(seed)
    regulators = min(regulators, genes)
    score = rng.integers(0, 4, (regulators, genes)).astype(float) if ties else rng.normal(size=(regulators, genes))
    own = rng.permutation(genes)[:regulators]
    candidate = np.ones(score.shape, bool)
    candidate[np.arange(regulators), own] = False
    member = candidate & (rng.random(score.shape) < 0.4)
    for row in range(regulators):  # at least one target a regulator, and one pair that is none
        member[row, rng.choice(np.flatnonzero(candidate[row]))] = True
    member[0, np.flatnonzero(candidate[0])[0]] = False
    if not member.any(axis=1).all():
        member[0, np.flatnonzero(candidate[0])[-1]] = True
    if member[candidate].all():
        return
    expected = ranking.auroc(score[candidate], member[candidate].astype(np.int8)).item()
    assert outranked(score, member, candidate).auroc == pytest.approx(expected, abs=1e-12)
    assert cssi.recovery(score[candidate], member[candidate])[0].item() == pytest.approx(expected, abs=1e-12)
    assert rank_pairs(score, own).observed(network(member, own)) == pytest.approx(expected, abs=1e-12)


@law("missing scores never rank above an observed one", 100)
@given(st.lists(st.one_of(SCORES, st.just(float("nan"))), min_size=6, max_size=6))
def test_a_missing_score_ties_with_the_weakest(values):
    table = np.reshape(values, (2, 3))
    if np.isnan(table).all():
        with pytest.raises(ValueError, match="nothing can be ranked"):
            ranking.fill_missing(table)
        return
    filled, share = ranking.fill_missing(table)
    missing = np.isnan(table)
    assert share == missing.mean()
    assert (filled[missing] == np.nanmin(table)).all()
    np.testing.assert_array_equal(filled[~missing], table[~missing])


@law("Spearman correlation equals scipy's, ties included", 200)
@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=40))
def test_spearman_is_that_of_scipy(pairs):
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    found = spearman(left, right)
    assert rank_correlation(left, right).item() == pytest.approx(found, abs=1e-12, nan_ok=True)
    if np.unique(left).size == 1 or np.unique(right).size == 1:
        assert np.isnan(found), "a constant side correlates with nothing"
        return
    assert found == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-10)


@law("Spearman correlation is symmetric and turns its sign with one side", 100)
@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=30))
def test_spearman_is_symmetric(pairs):
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    found = spearman(left, right)
    assert spearman(right, left) == pytest.approx(found, abs=1e-12, nan_ok=True)
    assert spearman(left, -right) == pytest.approx(-found, abs=1e-12, nan_ok=True)
    if np.isfinite(found):
        assert spearman(left, left) == pytest.approx(1.0, abs=1e-12)
