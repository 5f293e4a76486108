"""Simulated detection: noise of the stated kind, a real Huber estimate, rates that a plain loop gives as well."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.metrics import roc_auc_score

from interp_assets.stats import detection_simulation as s
from interp_assets.stats.detectability import EffectClass, cells_needed, expected_auroc


@pytest.mark.parametrize("family", s.FAMILIES)
def test_noise_has_mean_zero_and_the_stated_spread(family):
    noise = s.draw_noise(family, 40, 20_000, np.random.default_rng(0))
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(s.NOISE_SD[family], rel=0.03)
    correlation = np.corrcoef(noise)[np.triu_indices(40, 1)].mean()
    assert correlation == pytest.approx(0.3 if family == "correlated" else 0.0, abs=0.01)


def test_heavy_families_have_heavy_tails_and_cells_differ_in_spread():
    rng = np.random.default_rng(1)
    kurtosis = {family: stats.kurtosis(s.draw_noise(family, 20, 5000, rng).ravel()) for family in s.FAMILIES}
    assert abs(kurtosis["gaussian"]) < 0.1
    assert kurtosis["contaminated"] > 4
    assert kurtosis["student_t4"] > 2
    spread = s.draw_noise("heteroskedastic", 400, 300, rng).std(axis=0)
    assert spread.max() / spread.min() > 3


@pytest.mark.parametrize("family", s.FAMILIES)
def test_huber_solves_its_equation_as_a_root_finder_does(family):
    x = s.draw_noise(family, 12, 61, np.random.default_rng(2)) + 0.7
    found, _ = s.huber_location(x)
    for row, estimate in zip(x, found, strict=True):
        scale = stats.median_abs_deviation(row, scale="normal")
        root = optimize.brentq(
            lambda t, row=row, scale=scale: np.clip((row - t) / scale, -s.HUBER_K, s.HUBER_K).sum(),
            row.min(),
            row.max(),
        )
        assert estimate == pytest.approx(root, abs=1e-8)


def test_huber_is_equivariant_and_ignores_how_far_an_outlier_lies():
    x = s.draw_noise("gaussian", 5, 200, np.random.default_rng(3))
    estimate, error = s.huber_location(x)
    moved, same = s.huber_location(x + 3.0)
    np.testing.assert_allclose(moved, estimate + 3.0, atol=1e-8)
    np.testing.assert_allclose(same, error, atol=1e-8)
    near, far = x.copy(), x.copy()
    near[:, 0], far[:, 0] = 50.0, 5e6
    np.testing.assert_allclose(s.huber_location(near)[0], s.huber_location(far)[0], atol=1e-6)
    assert s.mean_location(far)[0].min() > 1000


@pytest.mark.parametrize("estimator", s.ESTIMATORS)
@pytest.mark.parametrize("family", ["gaussian", "contaminated", "student_t4"])
def test_standard_errors_are_the_spread_of_the_estimates(family, estimator):
    estimate, error = s.LOCATIONS[estimator](s.draw_noise(family, 3000, 200, np.random.default_rng(4)))
    assert np.sqrt((error**2).mean()) == pytest.approx(estimate.std(), rel=0.06)


def test_huber_beats_the_mean_under_contamination_and_costs_little_without():
    for family, low, high in (("contaminated", 0.3, 0.6), ("gaussian", 0.98, 1.12)):
        x = s.draw_noise(family, 3000, 150, np.random.default_rng(5))
        ratio = s.huber_location(x)[0].var() / s.mean_location(x)[0].var()
        assert low < ratio < high


def naive_rates(noise, effect, n, true):
    """One t test an edge and Benjamini-Hochberg by its definition."""
    x = noise[:, :n] + effect * true[:, None]
    p = stats.ttest_1samp(x, 0.0, axis=1).pvalue
    order = np.argsort(p)
    passing = np.flatnonzero(p[order] <= 0.05 * np.arange(1, p.size + 1) / p.size)
    called = np.zeros(p.size, dtype=bool)
    if passing.size:
        called[order[: passing[-1] + 1]] = True
    return (called & true).sum() / true.sum(), (called & ~true).sum() / max(1, called.sum())


def test_rates_equal_a_plain_loop_over_seeds():
    seeds = [[1, k] for k in range(4)]
    effects, cells = (0.2, 0.5), (30, 120)
    mean, _ = s.detection_rates("contaminated", effects, cells, seeds, edges=60)
    true = np.arange(60) < 12
    noises = [s.draw_noise("contaminated", 60, 120, np.random.default_rng(seed)) for seed in seeds]
    for i, effect in enumerate(effects):
        for j, n in enumerate(cells):
            tpr, fdr = np.mean([naive_rates(noise, effect, n, true) for noise in noises], axis=0)
            assert mean.true_positive_rate[i, j] == pytest.approx(tpr)
            assert mean.false_discovery_rate[i, j] == pytest.approx(fdr)


def test_boundary_lies_at_the_closed_form_and_contamination_moves_it():
    cells = tuple(round(50 * 2 ** (k / 4)) for k in range(15))
    seeds = [[2, k] for k in range(6)]
    clean, _ = s.detection_rates("gaussian", (0.4, 1e-9), cells, seeds, edges=100, true_share=0.01)
    needed = float(cells_needed(EffectClass(effect=0.4), 100))
    assert needed / 1.6 < clean.boundary(0) < needed * 1.6
    assert clean.boundary(1) is None, "nothing there, nothing found"
    mean, huber = s.detection_rates("contaminated", (0.4,), cells, seeds)
    assert huber.boundary(0) < mean.boundary(0)
    assert huber.area > mean.area


def test_false_discoveries_stay_near_the_level_where_edges_are_independent():
    rates = s.detection_rates("gaussian", (0.5,), (400,), [[3, k] for k in range(40)])
    for one in rates:
        assert one.false_discovery_rate.max() < 0.07, one.estimator


def test_signal_auroc_equals_scikit_learn_with_ties():
    rng = np.random.default_rng(6)
    score = rng.integers(0, 5, size=(3, 2, 30))
    signal = np.arange(30) < 8
    found = s.signal_auroc(score, signal)
    assert found[1, 1] == pytest.approx(roc_auc_score(signal, score[1, 1]))


def test_gaussian_detection_equals_drawn_observations_and_the_closed_form():
    rng = np.random.default_rng(7)
    snr, n = (0.05, 0.15, 0.4), (50, 200)
    found = s.gaussian_detection(snr, n, rng, repeats=400).mean(axis=0)
    np.testing.assert_allclose(found, expected_auroc(np.array(snr)[:, None], n), atol=0.015)
    signal = np.arange(50) < 10
    raw = []
    for _ in range(200):
        x = rng.normal(size=(50, 50)) + 0.15 * signal
        raw.append(s.signal_auroc(np.abs(stats.ttest_1samp(x, 0.0).statistic), signal))
    assert found[1, 0] == pytest.approx(np.mean(raw), abs=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: s.draw_noise("cauchy", 2, 5, np.random.default_rng(0)), "student_t4"),
        (lambda: s.huber_location([[1.0, 1.0, 1.0, 2.0]]), "no scale"),
        (lambda: s.huber_location([[1.0, np.nan, 2.0]]), "missing"),
        (lambda: s.mean_location([[1.0]]), "two cells"),
        (lambda: s.detection_rates("gaussian", (0.1,), (10,), []), "seed"),
        (lambda: s.signal_auroc([1.0, 2.0], np.array([True, True])), "with and without"),
        (lambda: s.gaussian_detection((0.1,), (1,), np.random.default_rng(0), repeats=1), "two observations"),
    ],
)
def test_what_cannot_be_estimated_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_a_true_edge_there_is_no_rate():
    with pytest.raises(ValueError, match="is none"):
        s.detection_rates("gaussian", (0.1,), (50,), [[0]], edges=10, true_share=0.01)
