"""Pictures of scaling, theory and strata from odd tables: no number, one row, no extra table."""

import re

import numpy as np
import pytest

from interp_assets.figures import catalogue_cssi, catalogue_scaling, catalogue_theory
from interp_assets.figures.records import Drawing, FigureSkipped

ROWS = (*catalogue_scaling.ROWS, *catalogue_theory.ROWS, *catalogue_cssi.ROWS)


def _without_numbers(frame):
    return frame.assign(**dict.fromkeys(frame.select_dtypes("floating").columns, np.nan))


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.figure_id)
def test_no_finite_number_is_a_reason(spec, sketch, tables, context):
    bare = {key: _without_numbers(tables[key]) for key in (*spec.tables, *spec.extra_tables)}
    result = sketch(spec, bare, context)
    assert isinstance(result, FigureSkipped)
    assert re.search(r"no finite|no run-pair|needs two effect ratios", result.reason)
    assert any(key in result.reason for key in spec.tables)


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.figure_id)
def test_one_row_is_drawn_or_refused_in_words(spec, tables, context, sketch):
    one = {key: tables[key].iloc[:1] for key in spec.tables}
    if "cssi_k_scan" in one:  # the first row is that of pooled cells
        one["cssi_k_scan"] = tables["cssi_k_scan"].iloc[1:2]
    result = sketch(spec, one, context)
    refused = {
        "scaling_second_reference": "holds one reference network",
        "scaling_metrics": "no finite AUROC and no finite hits",
        "detectability_phases": "two effect ratios",
    }
    if spec.figure_id in refused:
        assert refused[spec.figure_id] in result.reason
    else:
        assert isinstance(result, Drawing)


@pytest.mark.parametrize("spec", [row for row in ROWS if row.extra_tables], ids=lambda spec: spec.figure_id)
def test_extra_tables_without_numbers_are_said_not_drawn(spec, face, tables, context):
    bare = {key: tables[key] for key in spec.tables} | {key: _without_numbers(tables[key]) for key in spec.extra_tables}
    words = face(spec, bare, context).replace("\n", " ")
    if spec.figure_id in ("detectability_phases", "synthetic_truth", "cssi_dilution"):
        assert "not computed" in words or "not scanned" in words
    assert "nan" not in words.lower()


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.figure_id)
def test_marks_are_of_the_paper_and_named(spec):
    assert spec.published
    for mark in spec.marks:
        assert mark.series
        assert mark.model
        assert mark.dataset
        assert np.isfinite(mark.value)
