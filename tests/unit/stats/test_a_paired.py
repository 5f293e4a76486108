"""Paired tests against scipy, statsmodels and enumeration of sign patterns."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from interp_assets.stats.paired import cohens_d, equivalence_test, signed_rank, smallest_attainable_p

ALTERNATIVES = ("two-sided", "greater", "less")


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("n", [1, 2, 5, 7, 20, 50])
def test_exact_p_equals_scipy_without_ties(n, alternative):
    values = np.random.default_rng(n).normal(0.3, 1.0, n)
    ours = signed_rank(values, alternative)
    theirs = stats.wilcoxon(values, alternative=alternative, method="exact")
    assert ours.method == "exact"
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-10)
    assert ours.statistic == stats.rankdata(np.abs(values))[values > 0].sum()


def rank_sum_tail(values: np.ndarray) -> float:
    """P(rank sum of positives >= observed) over every sign pattern, zeros dropped."""
    kept = values[values != 0]
    ranks = stats.rankdata(np.abs(kept))
    sums = np.array([ranks[np.array(signs)].sum() for signs in product((False, True), repeat=kept.size)])
    return float(np.mean(sums >= ranks[kept > 0].sum()))


@pytest.mark.parametrize("seed", range(5))
def test_exact_p_counts_sign_patterns(seed):
    values = np.random.default_rng(seed).integers(-3, 5, 9).astype(float)
    test = signed_rank(values, "greater")
    assert test.p == pytest.approx(rank_sum_tail(values), abs=1e-12)
    assert test.n_zero == (values == 0).sum()
    assert test.method == "exact"
    free = values + np.linspace(0.01, 0.09, 9)
    assert signed_rank(free, "greater").p == pytest.approx(rank_sum_tail(free), abs=1e-12)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("n", [3, 7, 11, 14, 40, 50, 51])
def test_any_p_equals_scipy_with_ties_and_zeros(n, alternative):
    values = np.random.default_rng([n, 1]).integers(-4, 7, n).astype(float)
    expected = stats.wilcoxon(values, alternative=alternative).pvalue
    assert signed_rank(values, alternative).p == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("decimals", [1, 6])
def test_approximate_p_is_the_normal_tail_with_ties_in_the_variance(decimals):
    values = np.round(np.random.default_rng(3).normal(0.1, 1.0, 180), decimals)
    kept = values[values != 0]
    ranks = stats.rankdata(np.abs(kept))
    z = (ranks[kept > 0].sum() - ranks.sum() / 2) / np.sqrt((ranks**2).sum() / 4)
    test = signed_rank(values, "greater")
    assert test.method == "approximate"
    assert test.p == pytest.approx(stats.norm.sf(z), rel=1e-10)
    assert signed_rank(values, "less").p == pytest.approx(stats.norm.cdf(z), rel=1e-10)
    assert signed_rank(values).p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-10)


def test_equal_scores_give_no_evidence_either_way():
    test = signed_rank(np.zeros(30), "greater")
    assert (test.p, test.n, test.n_zero, test.method) == (1.0, 30, 30, "no differences")


@pytest.mark.parametrize(("n", "alternative", "p"), [(5, "greater", 0.03125), (7, "greater", 0.0078125)])
def test_smallest_p_is_reached_when_all_signs_agree(n, alternative, p):
    assert smallest_attainable_p(n, alternative) == p
    assert signed_rank(np.arange(1, n + 1), alternative).p == p
    assert signed_rank(np.arange(1, n + 1)).smallest_p == signed_rank(np.arange(1, n + 1)).p == 2 * p


def test_one_sided_test_holds_its_level_under_symmetry():
    rng = np.random.default_rng(8)
    rejected = np.mean([signed_rank(rng.normal(size=25), "greater").p <= 0.05 for _ in range(600)])
    assert rejected <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 600)


@pytest.mark.parametrize("shift", [-0.03, 0.0, 0.004, 0.019, 0.05])
def test_equivalence_equals_statsmodels(shift):
    rng = np.random.default_rng(4)
    first = rng.normal(0.7, 0.1, 60)
    second = first - shift + rng.normal(0, 0.03, 60)
    ours = equivalence_test(first - second, 0.02)
    theirs = ttost_paired(first, second, -0.02, 0.02)[0]
    assert ours.p == pytest.approx(theirs, rel=1e-10)
    assert ours.equivalent == (theirs < 0.05)


def test_a_large_p_of_difference_is_not_equivalence():
    noisy = np.random.default_rng(1).normal(0.0, 0.3, 12)
    assert signed_rank(noisy).p > 0.1
    assert not equivalence_test(noisy, 0.02).equivalent


def test_equivalence_without_spread_or_units():
    assert equivalence_test(np.zeros(5), 0.02).equivalent
    assert not equivalence_test(np.full(5, 0.02), 0.02).equivalent
    alone = equivalence_test([0.0], 0.02)
    assert np.isnan(alone.p)
    assert not alone.equivalent


def test_effect_size_has_the_sign_of_condition_minus_baseline():
    values = np.random.default_rng(2).normal(0.5, 1.0, 40)
    assert cohens_d(values) == pytest.approx(values.mean() / np.std(values, ddof=1))
    assert cohens_d(-values) == -cohens_d(values)
    assert cohens_d(values) > 0
    assert np.isnan(cohens_d(np.full(4, 0.1)))
    assert np.isnan(cohens_d([0.3]))


@pytest.mark.parametrize("function", [signed_rank, cohens_d, lambda v: equivalence_test(v, 0.02)])
@pytest.mark.parametrize("values", [[], [0.1, np.nan], [[0.1, 0.2]]])
def test_missing_differences_are_refused(function, values):
    with pytest.raises(ValueError, match="difference"):
        function(values)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="alternative"):
        signed_rank([1.0], "bigger")
    with pytest.raises(ValueError, match="margin"):
        equivalence_test([0.1, 0.2], 0.0)
