import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from qc_standards.multiplicity import (
    FRAME_COLUMNS,
    EmittedTestsError,
    add_multiplicity,
    benjamini_hochberg,
    records_of,
    results_frame,
)
from qc_standards.records import Status, TestResult, skipped
from qc_standards.registry import FAMILY_SIZES, declared_tests, in_family

probabilities = st.floats(0.0, 1.0)


def row(test_id, p):
    if p is None:
        return skipped(test_id, "no input")
    return TestResult(test_id=test_id, status=Status.RUN, p=None if np.isnan(p) else p)


def frame_of(p_values):
    """Frame with one p per declared test; None is skipped, NaN is run without a p."""
    return results_frame(row(spec.test_id, p) for spec, p in zip(declared_tests(), p_values, strict=True))


def random_p(seed, size=153):
    return list(np.random.default_rng(seed).beta(0.3, 1.0, size))


@given(st.lists(probabilities, min_size=2, max_size=40), st.data())
def test_removing_evidence_lowers_no_q(p, data):
    gone = data.draw(st.lists(st.integers(0, len(p) - 1), min_size=1, unique=True))
    before = benjamini_hochberg(p, len(p))
    less = [np.nan if i in gone else value for i, value in enumerate(p)]
    after = benjamini_hochberg(less, len(p))
    assert (after >= before - 1e-12).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sets(st.integers(0, 152), min_size=1, max_size=80), st.booleans())
def test_removing_rows_opens_no_significance_in_any_family(seed, gone, skip):
    p = random_p(seed)
    before = frame_of(p)
    after = frame_of([(None if skip else np.nan) if i in gone else value for i, value in enumerate(p)])
    for family in "abc":
        opened = after[f"significant_{family}"] & ~before[f"significant_{family}"]
        assert not opened.any()
    assert not after.loc[sorted(gone), ["significant_a", "significant_b", "significant_c"]].to_numpy().any()


@pytest.mark.parametrize("family", ["A", "B", "C"])
def test_families_use_their_declared_members(family):
    p = random_p(7)
    frame = frame_of(p)
    member = np.array([in_family(spec, family) for spec in declared_tests()])
    assert member.sum() == FAMILY_SIZES[family]
    expected = multipletests(np.array(p)[member], method="fdr_bh")[1]
    np.testing.assert_allclose(frame[f"q_{family.lower()}"][member], expected, atol=1e-12)
    assert frame[f"q_{family.lower()}"][~member].isna().all()
    assert not frame[f"significant_{family.lower()}"][~member].any()


def test_a_lone_strong_p_pays_for_the_whole_family():
    p = [None] * 153
    place = next(i for i, spec in enumerate(declared_tests()) if spec.confirmatory)
    p[place] = 0.001
    frame = frame_of(p)
    assert frame["q_a"][place] == pytest.approx(0.095)
    assert not frame["significant_a"][place]
    assert frame["q_run_only"][place] == pytest.approx(0.001)


def test_frame_shape_order_and_dtypes():
    frame = frame_of(random_p(1))
    assert list(frame.columns) == list(FRAME_COLUMNS)
    assert list(frame["test_id"]) == [spec.test_id for spec in declared_tests()]
    assert str(frame["n"].dtype) == "Int64"
    assert frame["p"].dtype == np.float64
    assert frame["significant_a"].dtype == bool
    assert frame_of([None] * 153).dtypes.equals(frame.dtypes)


def test_emission_order_does_not_matter():
    rows = [row(spec.test_id, p) for spec, p in zip(declared_tests(), random_p(3), strict=True)]
    pd.testing.assert_frame_equal(results_frame(rows), results_frame(reversed(rows)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], r"missing: A01\.1"),
        (lambda rows: [*rows, skipped("A99.1", "x")], r"undeclared: A99\.1"),
        (lambda rows: [*rows, rows[0]], r"more than once: A01\.1"),
        (lambda rows: [], "missing"),
    ],
)
def test_emitted_must_be_declared(change, message):
    rows = [row(spec.test_id, 0.5) for spec in declared_tests()]
    with pytest.raises(EmittedTestsError, match=message):
        results_frame(change(rows))


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.inf])
def test_impossible_p_is_refused(bad):
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        benjamini_hochberg([0.1, bad], 3)


def test_more_values_than_declared_is_refused():
    with pytest.raises(ValueError, match="3 p-values in a family declared with 2"):
        benjamini_hochberg([0.1, 0.2, 0.3], 2)


def test_an_unrun_row_never_counts_even_with_a_p_in_the_table():
    frame = frame_of([1e-9] * 153)
    frame.loc[0, "status"] = "skipped"
    again = add_multiplicity(frame, declared_tests())
    assert again["q_b"][0] == 1.0
    assert not again["significant_b"][0]


def test_row_hash_and_records_survive_parquet(tmp_path):
    frame = frame_of([None, np.nan, *random_p(5, 151)])
    frame.to_parquet(tmp_path / "tests.parquet", index=False)
    back = pd.read_parquet(tmp_path / "tests.parquet")
    pd.testing.assert_frame_equal(frame, back)
    assert add_multiplicity(back, declared_tests())["row_hash"].equals(frame["row_hash"])
    assert records_of(back) == records_of(frame)


def test_row_hash_changes_with_a_value():
    frame = frame_of(random_p(5))
    changed = frame.copy()
    changed.loc[4, "p"] = changed.loc[4, "p"] / 2
    again = add_multiplicity(changed, declared_tests())["row_hash"]
    assert list(np.flatnonzero(again != frame["row_hash"])) == [4]
