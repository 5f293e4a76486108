"""The tail of t by its expansion equals the incomplete beta function in many digits."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy.special import stdtr

from interp_assets.stats.student_t import FEWEST_DEGREES, LARGEST_LOG, two_sided_p


@pytest.mark.parametrize("freedom", [FEWEST_DEGREES, 51.3, 77.0, 300.0, 1e4, 1e6])
def test_the_tail_equals_the_incomplete_beta_function_to_twelve_digits(freedom):
    farthest = math.sqrt(freedom * math.expm1(min(LARGEST_LOG, 1300 / freedom)))
    t = farthest * np.array([0.0, 1e-9, 0.01, 0.2, 0.5, 0.9, 0.999999])
    with mpmath.workdps(40):
        exact = [mpmath.betainc(freedom / 2, 0.5, 0, freedom / (freedom + mpmath.mpf(x) ** 2), True) for x in t]
        expected = np.array([float(value) for value in exact])
    np.testing.assert_allclose(two_sided_p(t, np.full(t.size, freedom)), expected, rtol=1e-12)
    np.testing.assert_array_equal(two_sided_p(-t, np.full(t.size, freedom)), two_sided_p(t, np.full(t.size, freedom)))


def test_few_degrees_and_far_tails_are_asked_from_scipy():
    t, freedom = np.array([[2.0, 40.0], [900.0, np.inf]]), np.array([[3.5, 60.0], [2e5, 60.0]])
    np.testing.assert_array_equal(two_sided_p(t, freedom), 2 * stdtr(freedom, -np.abs(t)))


def test_no_statistic_has_no_p():
    assert np.isnan(two_sided_p(np.array([np.nan, 1.0]), np.array([60.0, np.nan]))).all()
