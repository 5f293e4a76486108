"""Laws of tests on paired units: exchanging the two sides only exchanges the two tails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from interp_assets.stats import paired
from interp_assets.stats.equivalence import bootstrap_equivalence, two_sided_p
from interp_assets.stats.one_sample import one_sample_t
from interp_assets.stats.recovery import sign_test, stouffer
from interp_assets.stats.uniformity import kolmogorov_distance
from tests.properties.laws import law

# Rounded numbers tie in size and hit 0; the others hardly ever.
DIFFERENCES = st.lists(
    st.one_of(st.integers(-4, 4).map(float), st.floats(-1e3, 1e3, allow_subnormal=False)), min_size=1, max_size=30
)
SEEDS = st.integers(0, 2**32 - 1)


@law("signed-rank test: turning every sign exchanges greater and less and leaves two-sided", 200)
@given(DIFFERENCES)
def test_signed_rank_is_symmetric_in_sign(differences):
    turned = [-value for value in differences]
    for one, other in (("greater", "less"), ("less", "greater"), ("two-sided", "two-sided")):
        first, second = paired.signed_rank(differences, one), paired.signed_rank(turned, other)
        assert first.p == pytest.approx(second.p, rel=1e-9, abs=1e-12)
        kept = first.n - first.n_zero
        assert first.statistic + second.statistic == pytest.approx(kept * (kept + 1) / 2)
        if first.method == "exact":
            assert first.p >= first.smallest_p - 1e-12
        assert 0.0 <= first.p <= 1.0


@law("signed-rank test: the order of units and a positive factor change nothing", 100)
@given(DIFFERENCES, SEEDS)
def test_signed_rank_sees_ranks_only(differences, seed):
    values = np.array(differences)
    mixed = np.random.default_rng(seed).permutation(values)
    assert paired.signed_rank(mixed).p == pytest.approx(paired.signed_rank(values).p, rel=1e-9)
    assert paired.signed_rank(2.0 * values).p == paired.signed_rank(values).p


@law("signed-rank test equals scipy's where scipy enumerates", 60)
@given(st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=9), st.sampled_from(["greater", "less"]))
def test_signed_rank_is_that_of_scipy(differences, alternative):
    if not any(differences):
        return
    expected = stats.wilcoxon(differences, alternative=alternative, method="auto").pvalue
    assert paired.signed_rank(differences, alternative).p == pytest.approx(expected, rel=1e-9)


@law("sign test: turning every sign exchanges its two sides; ties never help", 100)
@given(DIFFERENCES)
def test_the_sign_test_is_symmetric(differences):
    one = sign_test(differences, "greater")
    other = sign_test([-value for value in differences], "less")
    assert (one.p, one.p_without_ties, one.tied) == (other.p, other.p_without_ties, other.tied)
    assert one.p >= one.p_without_ties - 1e-12


@law("equivalence: symmetric in sign, and a narrower margin never makes equal", 100)
@given(DIFFERENCES, st.floats(1e-3, 1e3), st.floats(0.1, 0.99))
def test_equivalence_is_symmetric_and_monotone(differences, margin, narrower):
    one, other = (paired.equivalence_test(np.array(differences) * sign, margin) for sign in (1, -1))
    assert one.p == pytest.approx(other.p, rel=1e-9, abs=1e-15, nan_ok=True)
    tight = paired.equivalence_test(differences, margin * narrower)
    assert np.isnan(tight.p) or tight.p >= one.p - 1e-12
    assert one.equivalent or not tight.equivalent
    wide, close = (bootstrap_equivalence(differences, width) for width in (margin, margin * narrower))
    assert close.p >= wide.p
    assert wide.p >= 1 / (len(differences) + 1)


@law("p from draws: symmetric in sign, never 0, and at most 1", 100)
@given(DIFFERENCES)
def test_p_of_draws_is_symmetric(draws):
    p = two_sided_p(draws)
    assert p == two_sided_p([-value for value in draws])
    assert 1 / (len(draws) + 1) <= p <= 1.0


@law("Cohen's d turns its sign with the sides and does not see the unit of measure", 100)
@given(DIFFERENCES)
def test_effect_size_turns_with_the_sides(differences):
    values = np.array(differences)
    d = paired.cohens_d(values)
    assert paired.cohens_d(-values) == pytest.approx(-d, nan_ok=True)
    assert paired.cohens_d(4.0 * values) == pytest.approx(d, rel=1e-9, nan_ok=True)


@law("one-sample t equals scipy's, unit weights are the test itself", 80)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20), SEEDS)
def test_one_sample_t_is_that_of_scipy(values, seed):
    weights = np.vstack([np.ones(len(values)), np.random.default_rng(seed).integers(0, 4, len(values))])
    found, alone = one_sample_t([values], 0.25, weights), one_sample_t([values], 0.25)
    assert found.p[0, 0] == pytest.approx(alone.p[0, 0], nan_ok=True)
    for place, weight in enumerate(weights):
        repeated = np.repeat(values, weight.astype(int))
        if np.isfinite(found.p[place, 0]) and np.ptp(repeated) > 1e-3:
            expected = stats.ttest_1samp(repeated, 0.25, alternative="greater")
            assert found.t[place, 0] == pytest.approx(expected.statistic, rel=1e-6, abs=1e-6)
            assert found.p[place, 0] == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-9)


@law("Stouffer: the order of p does not matter, and a smaller p gives no larger one", 80)
@given(st.lists(st.floats(1e-6, 1 - 1e-6), min_size=1, max_size=12), st.data())
def test_combined_p_is_monotone(p, data):
    z, joint = stouffer(p)
    assert stouffer(p[::-1])[1] == pytest.approx(joint)
    place = data.draw(st.integers(0, len(p) - 1))
    smaller = [*p]
    smaller[place] = p[place] / 2
    assert stouffer(smaller)[0] >= z
    assert stouffer(smaller)[1] <= joint + 1e-15


@law("distance to uniform equals scipy's Kolmogorov statistic", 80)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_distance_to_uniform_is_that_of_scipy(p):
    assert kolmogorov_distance(p) == pytest.approx(stats.kstest(p, "uniform").statistic, abs=1e-12)
