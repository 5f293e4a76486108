"""Ranking metrics against scikit-learn, full enumeration of tied orders, and their own identities."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from interp_assets.stats import ranking


def rows(seed: int, *, ties: bool, shared: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=60 if shared else (12, 60))
    if ties:
        scores = np.round(scores, 0)
    labels = rng.choice([-1, 0, 1], size=(12, 60), p=[0.2, 0.6, 0.2]).astype(np.int8)
    return scores, labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(ranking.auroc, roc_auc_score), (ranking.average_precision, average_precision_score)],
    ids=["auroc", "average_precision"],
)
def test_equals_scikit_learn_on_the_candidates_of_each_row(ours, theirs, ties, shared):
    for seed in range(5):
        scores, labels = rows(seed, ties=ties, shared=shared)
        table = np.broadcast_to(scores, labels.shape)
        expected = [theirs(y[y >= 0], s[y >= 0]) for s, y in zip(table, labels, strict=True)]
        np.testing.assert_allclose(ours(scores, labels), expected, rtol=0, atol=1e-12)


def test_scores_that_are_no_candidates_change_nothing():
    scores, labels = rows(3, ties=False)
    moved = np.where(labels < 0, 1e6, scores)
    for metric in (ranking.auroc, ranking.average_precision, ranking.r_precision):
        np.testing.assert_array_equal(metric(scores, labels), metric(moved, labels))


def test_one_sort_serves_any_labels():
    scores, labels = rows(4, ties=True)
    ranked = ranking.rank_rows(scores)
    fewer = np.where(np.arange(60) % 2 == 0, labels, -1)
    np.testing.assert_array_equal(ranked.auroc(fewer), ranking.auroc(scores, fewer))


@pytest.mark.parametrize(
    "labels",
    [[[1, 1, 1]], [[0, 0, 0]], [[-1, -1, -1]], [[-1, 1, -1]]],
    ids=["no negative", "no positive", "no candidate", "one candidate"],
)
def test_a_row_without_both_labels_has_no_value(labels):
    scores = [3.0, 2.0, 1.0]
    values = [
        ranking.auroc(scores, labels),
        ranking.average_precision(scores, labels),
        ranking.precision_at(scores, labels, 2),
        ranking.recall_at(scores, labels, 2),
        ranking.r_precision(scores, labels),
    ]
    assert np.isnan(np.concatenate(values)).all()


def enumerated_hits(scores: list[float], labels: list[int], k: int) -> float:
    """Mean positives in the top k over all orders that the scores allow."""
    candidates = [i for i, y in enumerate(labels) if y >= 0]
    orders = {o for o in permutations(candidates) if all(scores[a] >= scores[b] for a, b in pairwise(o))}
    return float(np.mean([sum(labels[i] == 1 for i in order[:k]) for order in orders]))


@pytest.mark.parametrize("seed", range(6))
def test_top_k_is_the_mean_over_tied_orders(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, 6).astype(float).tolist()
    labels = [1, 0, 1, 0, 0, -1]
    rng.shuffle(labels)
    for k in (1, 2, 3, 5):
        hits = enumerated_hits(scores, labels, k)
        assert ranking.precision_at(scores, [labels], k)[0] == pytest.approx(hits / k, abs=1e-12)
        assert ranking.recall_at(scores, [labels], k)[0] == pytest.approx(hits / 2, abs=1e-12)
    assert ranking.r_precision(scores, [labels])[0] == pytest.approx(enumerated_hits(scores, labels, 2) / 2)


def test_k_beyond_the_candidates_takes_them_all():
    scores, labels = [3.0, 2.0, 1.0, 0.0], [[1, 0, 0, -1]]
    assert ranking.precision_at(scores, labels, 100)[0] == pytest.approx(1 / 3)
    assert ranking.recall_at(scores, labels, 100)[0] == 1.0


def test_missing_pairs_tie_with_the_weakest_observed_pair():
    score = np.array([[9.0, 0.5, np.nan], [0.2, -9.0, 0.7], [np.nan, 0.4, np.nan]])
    filled, share = ranking.fill_missing(score)
    assert share == 2 / 6
    assert filled[0, 2] == filled[2, 0] == 0.2
    assert (np.diag(filled) == 0.2).all(), "self pairs must not set the lowest score"
    assert filled[1, 2] == 0.7


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (np.full((3, 3), np.nan), "no pair has a score"),
        (np.array([[0.0, np.inf], [1.0, 0.0]]), "infinite"),
        (np.zeros(3), "matrix"),
    ],
)
def test_fill_missing_refuses_what_cannot_be_ranked(score, message):
    with pytest.raises(ValueError, match=message):
        ranking.fill_missing(score)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([1.0, np.nan], [[0, 1]], "missing or infinite"),
        ([1.0, 2.0], [[0, 2]], "1 .positive., 0 .negative. or -1"),
        ([1.0, 2.0], [[0, 1, 1]], "do not match"),
        ([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], [[0, 1], [1, 0]], "do not match"),
    ],
)
def test_bad_input_is_refused(scores, labels, message):
    for metric in (ranking.auroc, ranking.average_precision, ranking.r_precision):
        with pytest.raises(ValueError, match=message):
            metric(scores, labels)
    with pytest.raises(ValueError, match="at least one"):
        ranking.recall_at([1.0, 2.0], [[0, 1]], 0)
