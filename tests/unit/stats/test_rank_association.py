"""Plain and partial rank correlation against other implementations; the null of shuffled sources."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from interp_assets.stats.rank_association import (
    SourcePairs,
    asymptotic_p,
    bootstrap_rank_correlation,
    detectable_rho,
    rank_correlation,
    source_shuffle_test,
)


def test_without_covariates_it_is_spearman_with_ties():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (5, 40)), rng.integers(0, 9, (5, 40))
    wanted = [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    assert rank_correlation(x, y) == pytest.approx(wanted)


@pytest.mark.parametrize("count", [1, 3])
def test_with_covariates_it_is_the_inverse_of_the_rank_correlation_matrix(count):
    rng = np.random.default_rng(count)
    given = rng.normal(size=(count, 50))
    x, y = given.sum(axis=0) + rng.normal(size=50), given[0] + rng.normal(size=50)
    precision = np.linalg.inv(np.corrcoef(np.apply_along_axis(stats.rankdata, 1, np.vstack([x, y, given]))))
    wanted = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    assert rank_correlation(x, y, given)[0] == pytest.approx(wanted)
    doubled = np.vstack([given, given[:1]])  # a repeated covariate explains nothing more
    assert rank_correlation(x, y, doubled)[0] == pytest.approx(wanted)


def test_a_common_cause_is_taken_out():
    rng = np.random.default_rng(4)
    cause = rng.normal(size=2000)
    x, y = cause + 0.5 * rng.normal(size=2000), cause + 0.5 * rng.normal(size=2000)
    assert rank_correlation(x, y)[0] > 0.7
    assert abs(rank_correlation(x, y, cause[None])[0]) < 0.1


def test_constant_or_explained_sides_have_no_correlation():
    x = np.arange(12.0)
    assert np.isnan(rank_correlation(x, np.ones(12))[0])
    assert np.isnan(rank_correlation(x, x[::-1], x[None])[0])
    with pytest.raises(ValueError, match="finite"):
        rank_correlation(x, np.where(x == 3, np.nan, x))
    with pytest.raises(ValueError, match="same pairs"):
        rank_correlation(x, x[:-1])


def test_the_bootstrap_is_a_loop_over_resamples():
    rng = np.random.default_rng(5)
    x, y, given = rng.normal(size=30), rng.normal(size=30), rng.normal(size=(2, 30))
    found = bootstrap_rank_correlation(x, y, given, np.random.default_rng(9), 20)
    drawn = np.random.default_rng(9).integers(0, 30, (20, 30))
    wanted = [rank_correlation(x[at], y[at], given[:, at])[0] for at in drawn]
    assert found == pytest.approx(wanted)


def test_the_asymptotic_p_is_that_of_scipy():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=35), rng.normal(size=35)
    wanted = stats.spearmanr(x, y)
    assert asymptotic_p(wanted.statistic, 35) == pytest.approx(wanted.pvalue)
    assert asymptotic_p(0.3, 35, 3) == pytest.approx(2 * stats.t.sf(0.3 * np.sqrt(30 / (1 - 0.09)), 30))
    assert np.isnan(asymptotic_p(0.3, 4, 3))
    assert asymptotic_p(1.0, 10) == 0.0


def test_the_detectable_correlation_is_detected_as_often_as_said():
    rho, rng = detectable_rho(40), np.random.default_rng(7)
    x = rng.normal(size=(2000, 40))
    y = 2 * np.sin(np.pi * rho / 6) * x  # Pearson correlation behind a Spearman one
    y += np.sqrt(1 - (2 * np.sin(np.pi * rho / 6)) ** 2) * rng.normal(size=x.shape)
    found = rank_correlation(x, y)
    power = np.mean([asymptotic_p(value, 40) < 0.05 for value in found])
    assert power == pytest.approx(0.8, abs=0.05)
    assert np.isnan(detectable_rho(6, 3))


def linked(rng: np.random.Generator, signal: float, *, shared: float = 0.0) -> SourcePairs:
    """15 sources of three targets each; ``shared`` moves a target under every source, ``signal`` one pair alone."""
    effects = rng.normal(size=(15, 20))
    common = rng.normal(size=20)
    source = np.repeat(np.arange(15), 3)
    target = np.concatenate([rng.choice(20, 3, replace=False) for _ in range(15)])
    measured = signal * effects + shared * common + rng.normal(size=(15, 20))
    model = effects[source, target] + shared * common[target]
    return SourcePairs(
        effect=model,
        source=source,
        target=target,
        measured=measured,
        covariates=rng.normal(size=(2, 45)),
        source_covariates=rng.normal(size=(1, 15)),
    )


@pytest.mark.parametrize("adjusted", [False, True])
def test_agreement_of_pairs_is_found(adjusted):
    found = source_shuffle_test(linked(np.random.default_rng(8), 2.0), np.random.default_rng(0), 199, adjusted=adjusted)
    assert found.observed > 0.6
    assert found.p == 1 / 200
    assert (found.requested, found.done) == (199, 199)


def test_targets_that_move_under_every_source_are_no_agreement():
    shuffled, asymptotic = [], []
    for seed in range(60):
        pairs = linked(np.random.default_rng(seed), 0.0, shared=2.0)
        found = source_shuffle_test(pairs, np.random.default_rng(seed), 99, adjusted=False)
        shuffled.append(found.p)
        asymptotic.append(asymptotic_p(found.observed, 45))
        assert found.mean > 0.3
    assert np.mean(np.array(asymptotic) < 0.05) > 0.9
    assert np.mean(np.array(shuffled) < 0.05) < 0.15
    assert stats.kstest(shuffled, "uniform").pvalue > 0.01


def test_the_null_is_a_loop_over_permutations_of_sources():
    pairs = linked(np.random.default_rng(11), 0.5)
    found = source_shuffle_test(pairs, np.random.default_rng(3), 30, adjusted=True)
    rng, draws = np.random.default_rng(3), []
    for _ in range(30):
        order = rng.permutation(15)
        moved = np.array([pairs.measured[order[s], t] for s, t in zip(pairs.source, pairs.target, strict=True)])
        given = np.vstack([pairs.covariates, pairs.source_covariates[:, order[pairs.source]]])
        draws.append(rank_correlation(pairs.effect, moved, given)[0])
    assert found.mean == pytest.approx(np.mean(draws))
    assert found.sd == pytest.approx(np.std(draws, ddof=1))
    centre = np.mean([*draws, found.observed])
    wanted = (1 + sum(abs(d - centre) >= abs(found.observed - centre) for d in draws)) / 31
    assert found.p == pytest.approx(wanted)


def test_effects_that_nobody_measured_are_not_asked_for():
    rng = np.random.default_rng(12)
    pairs = linked(rng, 0.0)
    pairs.measured[3, :] = np.where(np.isin(np.arange(20), pairs.target[pairs.source == 3]), pairs.measured[3], np.nan)
    found = source_shuffle_test(pairs, np.random.default_rng(0), 20, adjusted=False)
    assert found.done == 20
    own = np.full_like(pairs.measured, np.nan)
    own[pairs.source, pairs.target] = pairs.measured[pairs.source, pairs.target]
    alone = SourcePairs(**{name: getattr(pairs, name) for name in pairs.__slots__} | {"measured": own})
    found = source_shuffle_test(alone, np.random.default_rng(0), 20, adjusted=False)
    assert found.orders == 0
    assert np.isnan(found.p)
    assert np.isfinite(found.observed)


def test_too_few_orders_of_sources_have_no_p():
    pairs = linked(np.random.default_rng(13), 2.0)
    few = np.flatnonzero(pairs.source < 3)  # six orders, five of them another than the true one
    names = {name: getattr(pairs, name) for name in pairs.__slots__}
    names |= {"effect": pairs.effect[few], "source": pairs.source[few], "target": pairs.target[few]}
    found = source_shuffle_test(
        SourcePairs(**names | {"covariates": pairs.covariates[:, few]}), np.random.default_rng(0), 99, adjusted=False
    )
    assert (found.done, found.orders) == (99, 5)
    assert np.isnan(found.p)
