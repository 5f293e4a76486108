"""Closed forms of detectability: the printed numbers, simulated power, and integrals that they must equal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from interp_assets.stats import detectability as d

ATTENTION, INTERVENTION = d.EffectClass(effect=0.08), d.EffectClass(effect=0.12)


def test_cells_needed_gives_the_recomputed_numbers():
    tested = [500, 2000, 10_000]
    assert d.cells_needed(ATTENTION, tested).round().tolist() == [3499, 3995, 4567]
    assert d.cells_needed(INTERVENTION, tested).round().tolist() == [1555, 1776, 2030]
    by_hand = ((stats.norm.ppf(1 - 0.05 / 1000) + stats.norm.ppf(0.8)) / 0.08) ** 2
    assert d.cells_needed(ATTENTION, 500) == pytest.approx(by_hand)


@pytest.mark.parametrize("of", [ATTENTION, d.EffectClass(effect=-0.3, noise=2.0, tail=1.5)])
def test_cells_needed_give_the_stated_power(of):
    rng = np.random.default_rng(0)
    n = float(d.cells_needed(of, 500))
    z = of.effect * np.sqrt(n) / (of.noise * of.tail) + rng.normal(size=40_000)
    assert (np.abs(z) > stats.norm.ppf(1 - 0.05 / 1000)).mean() == pytest.approx(0.8, abs=0.01)


def test_the_ratio_is_free_of_the_number_of_edges_and_of_a_common_tail():
    ratio = d.cells_ratio(INTERVENTION, ATTENTION)
    assert ratio == pytest.approx((0.08 / 0.12) ** 2)
    for tested in (1, 500, 10_000):
        assert d.cells_needed(INTERVENTION, tested) / d.cells_needed(ATTENTION, tested) == pytest.approx(ratio)
    for tail in (0.5, 3.0):
        both = [d.EffectClass(effect=effect, tail=tail) for effect in (0.12, 0.08)]
        assert d.cells_ratio(*both) == pytest.approx(ratio)
    heavy = d.EffectClass(effect=0.12, tail=1.8)
    against = d.EffectClass(effect=0.08, tail=1.2)
    assert d.cells_ratio(heavy, against) == pytest.approx(1.0)
    assert d.break_even_tail(INTERVENTION, against) == pytest.approx(1.8)


def test_phase_grid_is_the_ratio_of_numbers_of_cells():
    found = d.phase_log2_ratio([0.4, 1.5, 3.2], [0.4, 1.0], tail_ratio=1.2)
    for i, effect in enumerate((0.4, 1.5, 3.2)):
        for j, noise in enumerate((0.4, 1.0)):
            first = d.EffectClass(effect=0.08 * effect, noise=noise, tail=1.2)
            assert found[i, j] == pytest.approx(np.log2(d.cells_ratio(first, ATTENTION)))


@pytest.mark.parametrize("distance", [0.0, 0.3, 1.0, 2.5])
def test_expected_auroc_equals_the_integral_over_both_normals(distance):
    def beaten(z):
        size = abs(z)
        return (stats.norm.cdf(size) - stats.norm.cdf(-size)) * stats.norm.pdf(z - distance)

    area = integrate.quad(beaten, -12, 12, limit=200)[0]
    assert d.expected_auroc(distance / 10.0, 100) == pytest.approx(area, abs=1e-7)


def test_expected_auroc_with_bias_equals_simulation_and_stops_growing():
    rng = np.random.default_rng(1)
    n, snr, bias = 400, 0.1, 0.1
    null, signal = (
        np.sqrt(n) * (shift + bias * rng.normal(size=200_000)) + rng.normal(size=200_000) for shift in (0.0, snr)
    )
    simulated = (np.abs(signal) > np.abs(null)).mean()
    assert d.expected_auroc(snr, n, bias_sd=bias) == pytest.approx(simulated, abs=0.005)
    assert d.expected_auroc(snr, 10**9, bias_sd=bias) == pytest.approx(d.expected_auroc(snr / bias, 1), abs=1e-6)


def test_logistic_prediction_is_below_one_half_where_an_auroc_cannot_be():
    found = d.logistic_prediction([[0.1], [1.0]], [100, 2000], 50)
    assert found[1, 0] == pytest.approx(1 / (1 + np.exp(-5 * (1.0 - np.sqrt(np.log(50) / 100)))))
    assert found[0, 0] < 0.5 < d.expected_auroc(0.1, 100)


def test_agreement_equals_scipy():
    rng = np.random.default_rng(2)
    x = rng.normal(size=40)
    y = 0.5 * x + rng.normal(size=40)
    found = d.agreement(x, y, rng, 4000)
    assert found.r == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((x - y) ** 2)))
    assert found.p == pytest.approx(stats.pearsonr(x, y, alternative="greater").pvalue, abs=0.005)
    assert found.null_sd == pytest.approx(1 / np.sqrt(39), rel=0.05)


def test_agreement_of_noise_has_its_level_and_never_a_p_of_zero():
    rng = np.random.default_rng(3)
    p = [d.agreement(rng.normal(size=20), rng.normal(size=20), rng, 99).p for _ in range(300)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09
    assert min(d.agreement(np.arange(9.0), np.arange(9.0), rng, 50).p, 1.0) >= 1 / 51
    flat = d.agreement(np.ones(5), np.arange(5.0), rng, 10)
    assert np.isnan([flat.r, flat.p, flat.null_mean]).all()
    assert flat.permutations == 0


def test_correlation_draws_equal_a_loop_over_resamples():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 15))
    found = d.correlation_draws(x, y, np.random.default_rng(5), 40)
    weights = d.group_weights(15, 40, np.random.default_rng(5))
    loop = [np.corrcoef(np.repeat(x, w), np.repeat(y, w))[0, 1] for w in weights]
    np.testing.assert_allclose(found, loop)


def test_projection_covers_the_true_ratio_only_where_groups_are_resampled():
    covered = dict.fromkeys(d.SCHEMES, 0)
    for seed in range(80):
        pilot = d.simulated_pilot(ATTENTION, INTERVENTION, np.random.default_rng([seed, 1]))
        for scheme in d.SCHEMES:
            draws = d.projected_ratios(pilot, scheme, np.random.default_rng([seed, 2]), 200)
            low, high = np.quantile(draws, (0.025, 0.975))
            covered[scheme] += low < 4 / 9 < high
    assert covered["groups"] >= 68
    assert covered["edges_paired"] < covered["groups"]


def test_projection_draws_equal_a_loop_and_equal_classes_give_a_ratio_of_one():
    pilot = d.simulated_pilot(ATTENTION, ATTENTION, np.random.default_rng(0), edges=2000, groups=500, spread=0.1)
    assert pilot.ratio == pytest.approx(1.0, abs=0.1)
    found = d.projected_ratios(pilot, "edges_paired", np.random.default_rng(6), 5)
    weights = d.group_weights(2000, 5, np.random.default_rng(6))
    loop = [(np.repeat(pilot.attention, w).mean() / np.repeat(pilot.intervention, w).mean()) ** 2 for w in weights]
    np.testing.assert_allclose(found, loop)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: d.EffectClass(effect=0.0), "effect of 0"),
        (lambda: d.EffectClass(effect=0.1, noise=0.0), "noise"),
        (lambda: d.cells_needed(ATTENTION, 0), "tested edges"),
        (lambda: d.cells_needed(ATTENTION, 5, power=1.0), "between 0 and 1"),
        (lambda: d.phase_log2_ratio([0.0], [1.0]), "positive"),
        (lambda: d.agreement([1.0, 2.0], [1.0, 2.0], np.random.default_rng(0), 9), "three or more"),
        (lambda: d.agreement([1.0, 2.0, np.nan], [1.0, 2.0, 3.0], np.random.default_rng(0), 9), "three or more"),
        (
            lambda: d.projected_ratios(
                d.simulated_pilot(ATTENTION, ATTENTION, np.random.default_rng(0), groups=1),
                "groups",
                np.random.default_rng(0),
                9,
            ),
            "1 unit",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
