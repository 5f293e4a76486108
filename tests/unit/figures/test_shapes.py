"""Shapes and words: offsets, densities and number formats against independent values."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from interp_assets.figures import shapes, wording


def test_spread_is_bounded_and_separates_equal_values():
    offsets = shapes.spread(np.full(31, 0.5), 0.3)
    assert np.abs(offsets).max() <= 0.3
    assert len(np.unique(offsets)) == 31


def test_density_outline_equals_scipy_up_to_scale():
    values = np.random.default_rng(1).normal(0.6, 0.1, 300)
    grid, density = shapes.density_outline(values)
    kde = gaussian_kde(values)(grid)
    assert np.allclose(density, kde / kde.max(), atol=1e-12)


def test_density_of_constant_values_is_finite():
    assert np.isfinite(shapes.density_outline(np.full(5, 0.5))[1]).all()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (0.0, "0.000"),
        (0.70451, "0.705"),
        (-0.0004, "-4.0e-04"),
        (12345, "12,345"),
        (2.5e7, "2.50e+07"),
        (float("inf"), "∞"),
        (True, "yes"),
    ],
)
def test_number_reads_as(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0499, "0.050"), (2e-15, "2.0e-15"), (1.0, "1.000")])
def test_p_reads_as(p, text):
    assert wording.p_value(p) == text


def test_interval_with_one_end_missing_is_missing():
    assert wording.interval(0.1, None) == "–"
    assert wording.interval(0.1, 0.2) == "0.100 to 0.200"


def test_unstated_origin_says_so():
    assert wording.origin_label(None) == "data origin not stated"
    assert wording.origin_label("semi_synthetic") == "semi-synthetic outcomes on real cells"


@pytest.mark.parametrize(
    ("release", "small"),
    [("geneformer-small-2k", True), ("geneformer-small-2k.shuffled", True), ("control-planted", False)],
)
def test_small_releases_are_called_small(release, small):
    assert ("small model" in wording.release_label(release)) is small
