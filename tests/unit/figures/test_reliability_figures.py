"""Figures of leakage and calibration against the tables they are drawn from."""

import re

import numpy as np
import pytest

from interp_assets.figures import catalogue_reliability, style
from interp_assets.figures.catalogue import figure
from interp_assets.figures.records import Drawing, FigureSkipped

ROWS = catalogue_reliability.ROWS


def _marks(axes, colour, marker, face=None):
    """Points of single marks of one look."""
    found = [line for line in axes.lines if line.get_color() == colour and line.get_marker() == marker]
    found = [line for line in found if face is None or line.get_markerfacecolor() == face]
    return [point for line in found for point in line.get_xydata().tolist()]


def _stars(axes):
    return [x for line in axes.lines if line.get_marker() == "*" for x in line.get_xdata()]


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.figure_id)
def test_no_finite_number_is_a_reason_or_is_said(spec, sketch, tables, context):
    bare = {key: tables[key] for key in (*spec.tables, *spec.extra_tables)}
    bare = {k: f.assign(**dict.fromkeys(f.select_dtypes("floating"), np.nan)) for k, f in bare.items()}
    result = sketch(spec, bare, context)
    if isinstance(result, FigureSkipped):
        assert re.search(r"no finite|with a finite|no bin", result.reason)
    else:
        assert spec.figure_id == "label_leakage"
        assert result.alt.count("no number") == 9


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.figure_id)
def test_one_row_is_enough(spec, sketch, tables, context):
    one = {key: tables[key].iloc[:1] for key in spec.tables}
    if "calibration_bins" in one:
        one["calibration_bins"] = tables["calibration_bins"].query("binning == 'equal_size'").iloc[:1]
    assert isinstance(sketch(spec, one, context), Drawing)


@pytest.mark.parametrize("name", [spec.figure_id for spec in ROWS])
def test_pictures_stay_small(name, shown):
    assert len(shown(name).drawing.svg) < 150_000


def test_classifiers_stand_by_label_and_tissue(shown, tables):
    seen = shown("label_leakage")
    auc, accuracy = seen.picture.axes
    frame = tables["donor_classifiers"].query("classifier == 'logistic' and cells == 'all'").dropna(subset="auc")
    for axes, measure in ((auc, "auc"), (accuracy, "balanced_accuracy")):
        drawn = [x for x, _ in _marks(axes, style.BLUE, "o", style.BLUE)]
        assert sorted(drawn) == pytest.approx(sorted(frame[measure]))
    assert len(_stars(auc)) == 12
    assert _stars(accuracy) == []
    assert "donor · as published" in seen.words
    assert "stars: published (immune, lung)" in seen.words


def test_tissue_with_one_donor_says_so(shown):
    seen = shown("label_leakage")
    assert seen.words.count("the cells of this tissue come from one") == 2  # donor and batch, in one panel
    assert "donor, example-kidney: no number (the cells of this tissue come from one donor)." in seen.drawing.alt


def test_chance_depends_on_the_number_of_labels(shown):
    accuracy = shown("label_leakage").picture.axes[1]
    dashed = {round(float(line.get_xdata()[0]), 3) for line in accuracy.lines if line.is_dashed()}
    assert dashed == {0.2, 0.125, 0.5}


def test_shares_beyond_are_those_of_the_edges(shown, tables):
    seen = shown("artifact_sensitivity")
    edges = tables["edge_balance"]
    share = edges.query("tissue == 'example-lung' and balanced_by == 'batch'")["asi"].gt(0.5).mean()
    assert (
        f"example-lung, batch-balanced: {share:.1%} of 600 edges beyond 0.5 (random cells 5.0%), 10.0% change"
        in seen.drawing.alt
    )
    assert "example-immune: not balanced by assay." in seen.drawing.alt
    assert "not balanced:\nno second assay" in seen.words
    scan = seen.picture.axes[-1]
    assert sorted(x for x, _ in _marks(scan, style.BLUE, "o")) == pytest.approx([0.1, 0.5])
    assert _stars(scan) == [0.546, 0.101]


def test_reliability_is_shown_where_it_was_fitted(shown, tables):
    seen = shown("reliability_diagrams")
    rows = tables["calibration_bins"].query("context == fitted_on and binning == 'equal_size'")
    own = rows[rows["context"] == rows["context"].iloc[0]].query("scorer == 'pearson' and calibrator == 'raw'")
    first = seen.picture.axes[0]
    assert first.get_title(loc="left") == "Pearson"
    (line,) = [line for line in first.lines if line.get_color() == style.VERMILLION]
    assert np.allclose(line.get_xydata(), own[["mean_probability", "share_edges"]])
    assert len(first.lines) == 4  # three calibrators and the diagonal
    assert "example-c" not in seen.words
    assert sorted(_stars(seen.picture.axes[-1])) == [0.269, 0.469]
    assert "LASSO: error raw 0.340, Platt 0.110, isotonic 0.100." in seen.drawing.alt


def test_bins_of_a_handful_of_pairs_are_counted_not_drawn(face, tables, context):
    frame = tables["calibration_bins"].copy()
    own = frame["context"] == frame["context"].iloc[0]
    last = own & (frame["scorer"] == "lasso") & (frame["bin"] == 5) & (frame["binning"] == "equal_size")
    frame.loc[last, "n_pairs"] = 4
    words = face(figure("reliability_diagrams"), {**tables, "calibration_bins": frame}, context)
    assert "not drawn: bins below 1% of the pairs (3)" in words
    assert "not drawn" not in face(figure("reliability_diagrams"), tables, context)


def test_conformal_shares_add_up_and_promise_is_marked(shown, tables):
    seen = shown("conformal_sets")
    left, right = seen.picture.axes
    assert len(left.patches) == len(right.patches) == 6 * 3 * 3
    ends = [patch.get_x() + patch.get_width() for patch in left.patches][2::3]
    assert np.allclose(ends, 1.0)
    own = tables["conformal"].query("scorer == 'pearson' and context == 'example-a + example-b'")
    assert [patch.get_width() for patch in left.patches[:9:3]] == pytest.approx(own["share_single"].tolist())
    assert sorted(_stars(left)) == [0.06, 0.134, 0.146, 0.26, 0.57]
    assert _stars(right) == []
    assert [x for x, _ in _marks(left, style.INK, "o")][:3] == pytest.approx([0.96, 0.91, 0.81])
    assert "mutual information: covers 96.0% of 95%, one label 20.0%" in seen.drawing.alt


def test_missing_class_thresholds_leave_one_panel(face, tables, context):
    words = face(figure("conformal_sets"), {"conformal": tables["conformal"]}, context)
    assert "a threshold for each class" not in words


def test_missing_set_is_said_not_drawn_as_nothing(face, tables, context):
    frame = tables["conformal"].copy()
    frame.loc[frame["scorer"] == "lasso", ["share_single", "share_double", "share_empty"]] = np.nan
    assert face(figure("conformal_sets"), {"conformal": frame}, context).count("not computed") == 3


def test_kidney_assay_is_not_marked():
    marks = figure("label_leakage").marks
    assert {mark.dataset for mark in marks} == {"immune", "lung"}
    assert {mark.series for mark in marks} == {"donor, auc", "batch, auc", "assay, auc"}
