from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from interp_assets.stats.uniformity import (
    clustered_uniformity,
    dependent_uniformity,
    independent_uniformity,
    kolmogorov_distance,
)


def test_the_distance_is_that_of_scipy():
    p = np.random.default_rng(0).uniform(size=80) ** 1.3
    assert kolmogorov_distance(p) == pytest.approx(stats.kstest(p, "uniform").statistic, rel=1e-12)


def test_independent_p_values_are_rejected_one_time_in_twenty():
    rng = np.random.default_rng(1)
    found = [independent_uniformity(rng.uniform(size=100)) for _ in range(300)]
    assert 0.02 < np.mean([not one.uniform for one in found]) < 0.09
    inside = [one.share_low <= one.share_below <= one.share_high for one in found]
    assert np.mean(inside) > 0.92
    assert np.mean([one.mean for one in found]) == pytest.approx(0.5, abs=0.01)


def test_small_and_large_p_values_are_not_uniform():
    p = np.random.default_rng(2).uniform(size=200)
    assert independent_uniformity(p).uniform
    for wrong in (p**2, np.sqrt(p), 0.4 + p / 5):
        assert not independent_uniformity(wrong).uniform
    assert not independent_uniformity(p**2).valid
    safe = independent_uniformity(np.sqrt(p))
    assert safe.valid
    assert safe.excess < safe.ks_limit < safe.ks


def shared(rng: np.random.Generator, runs: int, size: int) -> np.ndarray:
    """P-values of which those of one run share half of their noise."""
    z = rng.normal(size=(runs, 1)) + rng.normal(size=(runs, size))
    return stats.norm.sf(z / np.sqrt(2))


def test_p_values_that_share_noise_need_the_limit_of_their_own_procedure():
    rng = np.random.default_rng(3)
    naive, own = [], []
    for _ in range(300):
        runs = shared(rng, 20, 50)
        naive.append(independent_uniformity(runs[0]).uniform)
        own.append(dependent_uniformity(runs[0], list(runs[1:])).uniform)
    assert np.mean(naive) < 0.6
    assert 0.91 < np.mean(own) < 0.99
    runs = shared(rng, 20, 50)
    assert not dependent_uniformity(runs[0] ** 20, list(runs[1:])).uniform


def test_the_limit_over_runs_allows_for_what_a_run_shares():
    rng = np.random.default_rng(4)
    runs = [shared(rng, 100, 25) for _ in range(100)]
    assert np.mean([independent_uniformity(p).uniform for p in runs]) < 0.5
    found = [clustered_uniformity(p, rng) for p in runs]
    assert 0.88 < np.mean([one.uniform for one in found]) < 0.99
    assert np.mean([one.share_low <= one.share_below <= one.share_high for one in found]) > 0.88
    assert not clustered_uniformity(runs[0] ** 1.8, rng).uniform


@pytest.mark.parametrize("bad", [[], [0.5, np.nan], [0.5, 1.2]])
def test_what_is_no_p_value_is_refused(bad):
    with pytest.raises(ValueError, match="p-value"):
        independent_uniformity(bad)


def test_a_limit_of_five_per_cent_needs_nineteen_runs():
    p = np.full((18, 4), 0.5)
    with pytest.raises(ValueError, match="18 reference runs; at least 19"):
        dependent_uniformity(p[0], list(p))
    with pytest.raises(ValueError, match="18 runs; at least 19"):
        clustered_uniformity(p, np.random.default_rng(0))
