"""Partial correlation in balanced samples and enrichment of the best pairs, against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import Table2x2

from interp_assets.stats.mantel import gene_permutations
from interp_assets.stats.pair_membership import relabelled_hits, sampled_partial_correlation, top_enrichment


def pairs(seed=0, size=4000, members=300, own=0.0, shared=0.0):
    """Score, other quantity and membership; ``own``: the score's signal beyond the quantity, ``shared``: through it."""
    rng = np.random.default_rng(seed)
    held = np.zeros(size, dtype=bool)
    held[rng.choice(size, members, replace=False)] = True
    given = rng.normal(size=size) + shared * held
    return given + own * held + rng.normal(0, 0.5, size), given, held


def sampled(data, seed=1, samples=40, most=5000):
    return sampled_partial_correlation(*data, np.random.default_rng(seed), samples, most)


def residual_of_ranks(x, z):
    ranks, other = stats.rankdata(x), stats.rankdata(z)
    return ranks - np.polyval(np.polyfit(other, ranks, 1), other)


def test_one_sample_of_everything_equals_the_correlation_of_residual_ranks():
    score, given, held = pairs(size=600, members=300, own=0.5, shared=0.5)
    found = sampled((score, given, held), samples=3)
    flag = held.astype(float)
    expected = stats.pearsonr(residual_of_ranks(score, given), residual_of_ranks(flag, given))
    assert found.partial == pytest.approx(expected.statistic)
    assert found.raw == pytest.approx(stats.spearmanr(score, flag).statistic)
    assert found.partial_sd == pytest.approx(0.0, abs=1e-12)
    assert (found.n, found.positives, found.done) == (600, 300, 3)
    t = found.partial * np.sqrt(597 / (1 - found.partial**2))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 597))


def test_signal_of_its_own_is_kept_and_borrowed_signal_is_not():
    own, borrowed, none = (sampled(pairs(**knobs)) for knobs in ({"own": 1.0}, {"shared": 1.0}, {}))
    assert own.kept > 0.9
    assert own.p < 1e-10
    assert borrowed.raw > 0.3
    assert abs(borrowed.partial) < 0.06
    assert borrowed.kept < 0.2
    assert none.p > 0.01
    assert none.significant_share < 0.6


def test_negatives_are_drawn_anew_and_n_stays_that_of_one_sample():
    few, many = sampled(pairs(own=0.4), samples=20), sampled(pairs(own=0.4), samples=200)
    assert few.n == many.n == 600
    assert few.partial_sd > 0
    assert few.partial == pytest.approx(many.partial, abs=4 * few.partial_sd / np.sqrt(20))
    capped = sampled(pairs(own=0.4), most=50)
    assert (capped.positives, capped.n) == (50, 100)
    assert capped.partial_sd > many.partial_sd
    assert sampled(pairs(size=400, members=300)).positives == 100


def test_constant_samples_are_counted_out_and_bad_input_is_refused():
    score, given, held = pairs(size=100, members=20)
    nothing = sampled((np.zeros(100), given, held), samples=4)
    assert (nothing.requested, nothing.done) == (4, 0)
    assert np.isnan([nothing.partial, nothing.raw, nothing.p, nothing.kept]).all()
    with pytest.raises(ValueError, match="0 members"):
        sampled((score, given, np.zeros(100, dtype=bool)))
    with pytest.raises(ValueError, match="missing or infinite"):
        sampled((np.full(100, np.nan), given, held))
    with pytest.raises(ValueError, match="same pairs"):
        sampled((score[:50], given, held))


def test_enrichment_equals_statsmodels_and_the_hypergeometric_tails():
    score, _, held = pairs(own=1.0)
    found = top_enrichment(score, held, 200)
    top = np.argsort(-score)[:200]
    hits = int(held[top].sum())
    table = Table2x2([[hits, 200 - hits], [300 - hits, 3500 + hits]])
    assert (found.held, found.held_all, found.pairs) == (hits, 300, 4000)
    assert found.odds_ratio == pytest.approx(table.oddsratio)
    assert (found.ci_low, found.ci_high) == pytest.approx(table.oddsratio_confint())
    assert found.greater == pytest.approx(stats.hypergeom.sf(hits - 1, 4000, 300, 200))
    assert found.less == pytest.approx(stats.hypergeom.cdf(hits, 4000, 300, 200))
    turned = top_enrichment(-score, held, 200)
    assert turned.less < 0.01 < turned.greater


def test_empty_cells_have_no_interval_and_ties_go_to_the_first_pairs():
    held = np.array([False] * 10 + [True] * 5)
    none = top_enrichment(np.r_[np.ones(10), np.zeros(5)], held, 3)
    assert (none.held, none.odds_ratio) == (0, 0.0)
    assert np.isnan([none.ci_low, none.ci_high]).all()
    assert np.isinf(top_enrichment(np.r_[np.zeros(10), np.ones(5)], held, 5).odds_ratio)
    with pytest.raises(ValueError, match="more than k = 15"):
        top_enrichment(np.zeros(15), held, 15)


def hub_world(seed, genes=60):
    """Two unrelated networks (G x G, symmetric) that a few hub genes of their own dominate."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(2):
        pull = rng.normal(0, 2, genes)
        odds = pull[:, None] + pull[None, :] + rng.normal(size=(genes, genes))
        odds = np.triu(odds, 1) + np.triu(odds, 1).T
        made.append(odds)
    return made[0], made[1] > np.quantile(made[1], 0.9)


@pytest.mark.parametrize("both", [True, False])
def test_relabelled_hits_equal_counting_in_a_relabelled_database(both):
    _, held = hub_world(0)
    first, second = np.array([0, 3, 5, 8]), np.array([1, 4, 9, 2])
    labels = gene_permutations(60, 50, np.random.default_rng(1))
    found = relabelled_hits(held, first, second, labels, both=both)
    null = []
    for new in labels:
        renamed = held[np.ix_(new if both else np.arange(60), new)]
        null.append(sum(renamed[i, j] for i, j in zip(first, second, strict=True)))
    observed = sum(held[i, j] for i, j in zip(first, second, strict=True))
    assert (found.observed, found.done) == (observed, 50)
    assert (found.mean, found.sd) == (pytest.approx(np.mean(null)), pytest.approx(np.std(null, ddof=1)))
    assert found.greater == (np.sum(np.array(null) >= observed) + 1) / 51
    assert found.less == (np.sum(np.array(null) <= observed) + 1) / 51


def test_unrelated_hubs_pass_fishers_test_and_not_the_relabelled_one():
    upper = np.triu_indices(60, 1)
    fisher, relabelled = [], []
    for seed in range(60):
        score, held = hub_world(seed)
        fisher.append(top_enrichment(score[upper], held[upper], 100).greater)
        best = np.argsort(-score[upper])[:100]
        labels = gene_permutations(60, 99, np.random.default_rng(seed))
        relabelled.append(relabelled_hits(held, upper[0][best], upper[1][best], labels, both=True).greater)
    assert np.mean(np.array(fisher) <= 0.05) > 0.15  # three times the level
    assert np.mean(np.array(relabelled) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)
    with pytest.raises(ValueError, match="at least one relabelling"):
        relabelled_hits(held, [], [], labels, both=True)
