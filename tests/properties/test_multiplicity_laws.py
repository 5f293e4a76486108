"""Laws of the Benjamini-Hochberg adjustment: no loss of evidence makes another result significant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from qc_standards.multiplicity import benjamini_hochberg, results_frame
from qc_standards.records import Status, TestResult, skipped
from qc_standards.registry import FAMILY_SIZES, declared_tests, in_family
from tests.properties.laws import law

P = st.one_of(st.sampled_from([0.0, 1.0, 0.05, 1e-300, 0.01]), st.floats(0, 1))
FAMILY = st.lists(P, min_size=1, max_size=60)
SPECS = declared_tests()


def family_results(p, status=None):
    """The declared tests with these p; a row whose ``status`` is not run has none."""
    rows = []
    for place, (spec, value) in enumerate(zip(SPECS, p, strict=True)):
        if status is not None and status[place] != "run":
            rows.append(skipped(spec.test_id, "withdrawn"))
        else:
            rows.append(TestResult(test_id=spec.test_id, status=Status.RUN, p=float(value), effect=0.1, n=10))
    return results_frame(rows)


@law("BH: p <= q <= 1", 200)
@given(FAMILY, st.integers(0, 100))
def test_q_lies_between_p_and_one(p, absent):
    q = benjamini_hochberg(p, len(p) + absent)
    assert (q >= np.array(p) - 1e-15).all()
    assert (q <= 1).all()


@law("BH: q rises with p, and ties share a q", 200)
@given(FAMILY)
def test_q_rises_with_p(p):
    q = benjamini_hochberg(p, len(p))
    order = np.argsort(p, kind="stable")
    assert (np.diff(q[order]) >= 0).all()
    assert all(q[i] == q[j] for i in range(len(p)) for j in range(i) if p[i] == p[j])


@law("BH: a worse p lowers no q", 200)
@given(FAMILY, st.data())
def test_a_worse_p_lowers_no_q(p, data):
    place = data.draw(st.integers(0, len(p) - 1))
    worse = [*p]
    worse[place] = data.draw(st.floats(p[place], 1))
    assert (benjamini_hochberg(worse, len(p)) >= benjamini_hochberg(p, len(p)) - 1e-15).all()


@law("BH: the order of rows does not matter", 150)
@given(FAMILY, st.integers(0, 2**32 - 1))
def test_the_order_changes_no_q(p, seed):
    mixed = np.random.default_rng(seed).permutation(len(p))
    q = benjamini_hochberg(p, len(p))
    np.testing.assert_array_equal(benjamini_hochberg(np.array(p)[mixed], len(p)), q[mixed])


@law("BH equals statsmodels, absent members of the family at p = 1", 200)
@given(FAMILY, st.integers(0, 40), st.booleans())
def test_q_is_that_of_statsmodels(p, absent, told):
    expected = multipletests([*p, *[1.0] * absent], method="fdr_bh")[1][: len(p)]
    given = [*p, *[np.nan] * absent] if told else p
    np.testing.assert_allclose(benjamini_hochberg(given, len(p) + absent)[: len(p)], expected, rtol=1e-12, atol=1e-300)


@law("BH: a family larger than its declaration, or a p outside 0 to 1, is refused", 50)
@given(FAMILY, st.integers(1, 5), st.floats(1.0001, 9))
def test_an_impossible_family_is_refused(p, more, outside):
    with pytest.raises(ValueError, match="declared with"):
        benjamini_hochberg([*p, *[0.5] * more], len(p))
    for value in (outside, -outside):
        with pytest.raises(ValueError, match="outside"):
            benjamini_hochberg([*p, value], len(p) + 1)


@law("results: families keep their declared size whatever was skipped", 8)
@given(st.integers(0, 2**32 - 1), st.sets(st.integers(0, len(SPECS) - 1), max_size=120))
def test_skipped_rows_shrink_no_family(seed, gone):
    p = np.random.default_rng(seed).random(len(SPECS)) ** 3
    frame = family_results(p, ["skipped" if place in gone else "run" for place in range(len(SPECS))])
    kept = np.array([place not in gone for place in range(len(SPECS))])
    for family, size in FAMILY_SIZES.items():
        member = np.array([in_family(spec, family) for spec in SPECS])
        assert member.sum() == size
        expected = multipletests(np.where(kept, p, 1.0)[member], method="fdr_bh")[1]
        np.testing.assert_allclose(frame[f"q_{family.lower()}"][member], expected, rtol=1e-12)
        assert not frame[f"significant_{family.lower()}"][~kept].any()
