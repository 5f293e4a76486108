"""Extended tests: declared apart from the 153, corrected in local families, refused when damaged."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from qc_standards.extended import (
    EXTENDED_COLUMNS,
    EXTENDED_FILE,
    EXTENDED_FOLDER,
    check_extended,
    extended_frame,
    extended_tests,
    extended_tests_of,
    family_sizes,
    read_extended,
)
from qc_standards.multiplicity import EmittedTestsError
from qc_standards.records import Status, TestResult, skipped
from qc_standards.registry import RegistryError, declared_ids
from qc_standards.results import ResultsError, read_results


def results(seed: int = 0) -> list[TestResult]:
    """A result for every declared extended test; every third one skipped."""
    random = np.random.default_rng(seed)
    made = []
    for place, spec in enumerate(extended_tests()):
        if place % 3 == 2:
            made.append(skipped(spec.test_id, "no data"))
        else:
            made.append(TestResult(test_id=spec.test_id, status=Status.RUN, p=float(random.uniform() ** 3), effect=0.1))
    return made


def test_the_registry_is_apart_from_the_153_and_no_row_of_it_is_confirmatory():
    specs = extended_tests()
    assert not {spec.test_id for spec in specs} & set(declared_ids())
    assert not any(spec.confirmatory or spec.family_c_primary for spec in specs)
    assert {spec.analysis_no for spec in specs} == {int(path.stem[1:]) for path in EXTENDED_FOLDER.glob("E*.csv")}


def test_the_published_families_have_their_published_sizes():
    sizes = family_sizes(extended_tests_of(1))
    assert sizes["depth correlations (6 databases, local BH)"] == 6
    assert sizes["top-1000 edge enrichment (5 layers x 3 databases x 2 tails = 30, BH)"] == 30
    assert family_sizes(extended_tests_of(3)) == {"per-TF characterisation (local BH over 11)": 11}
    published = [spec for number in (1, 2, 3) for spec in extended_tests_of(number) if spec.source == "published"]
    assert len(published) == 43 + 3 + 7


def test_q_of_each_family_is_benjamini_hochberg_over_its_declared_size():
    frame = extended_frame(results())
    for _, rows in frame.groupby("local_family"):
        filled = rows["p"].fillna(1.0).to_numpy()
        expected = multipletests(filled, method="fdr_bh")[1]
        assert np.allclose(rows["q_local"].to_numpy(dtype=float), expected)
        assert (rows["significant_local"].to_numpy() <= rows["p"].notna().to_numpy()).all()
    assert frame["significant_local"].any()
    assert not frame["significant_local"].all()


def test_emitted_must_be_declared():
    with pytest.raises(EmittedTestsError, match=r"missing: E1.1"):
        extended_frame(results()[1:])
    with pytest.raises(EmittedTestsError, match=r"undeclared: E1.999"):
        extended_frame([*results(), skipped("E1.999", "never declared")])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda frame: frame.assign(p=frame["p"] / 2), "row hash differs"),
        (lambda frame: frame.assign(q_local=0.0), "q_local is not what the p-values give"),
        (lambda frame: frame.assign(significant_local=True), "significant_local is not"),
        (lambda frame: frame.assign(local_family="all"), "local_family is not"),
        (lambda frame: frame.iloc[1:], "missing: E1.1"),
        (lambda frame: frame.drop(columns="q_local"), "columns differ"),
    ],
)
def test_a_damaged_frame_is_refused(damage, said):
    frame = extended_frame(results())
    check_extended(frame)
    with pytest.raises(ValueError, match=said):
        check_extended(damage(frame))


def test_a_frame_survives_parquet_and_a_folder_with_a_damaged_one_is_invalid(planted, tmp_path):
    folder = planted.write(tmp_path / "results")
    frame = extended_frame(results())
    frame.to_parquet(folder / EXTENDED_FILE, index=False)
    read = read_results(folder)
    assert read.extended is not None
    assert tuple(read.extended.columns) == EXTENDED_COLUMNS
    pd.testing.assert_frame_equal(read.extended, frame)
    frame.assign(q_local=0.001).to_parquet(folder / EXTENDED_FILE, index=False)
    with pytest.raises(ResultsError, match=r"extended\.parquet: q_local is not"):
        read_results(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_id": "E2.1"}, "an id starts with E1"),
        ({"source": "rumour"}, "source is published or own"),
        ({"local_family": ""}, "local_family is never empty"),
        ({"test_id": "E1.7"}, "ids must run from E1.1"),
        ({"depth": "3"}, "outside 0..1"),
    ],
)
def test_a_registry_file_that_contradicts_itself_is_refused(change, said, tmp_path):
    with (EXTENDED_FOLDER / "E1.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows[0] |= change
    with (tmp_path / "E1.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(RegistryError, match=said):
        read_extended(tmp_path)


def test_an_analysis_without_declared_tests_is_named():
    with pytest.raises(RegistryError, match="E99"):
        extended_tests_of(99)
