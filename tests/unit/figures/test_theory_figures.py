"""Figures of component effects, detectability and the synthetic truth: marks and words against the tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context

from interp_assets.figures import style
from interp_assets.figures.catalogue import figure


def _drawn(name, tables, context):
    spec = figure(name)
    with rc_context(style.RC):
        return spec.draw(tables, replace(context, marks=spec.marks))


def _line(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def test_bound_is_the_bar_and_one_cell_has_no_interval(shown, tables):
    frame = tables["mediation_run_pairs"]
    left, right = shown("non_additivity").picture.axes
    widths = [bar.get_width() for bar in left.patches if np.isfinite(bar.get_width())]
    assert np.allclose(widths, frame["lower_bound"])
    intervals = [line for line in left.lines if len(line.get_xdata()) == 2]
    assert len(intervals) == int(frame["se_known"].sum()) == 10
    assert sum("one cell: no SE" in text.get_text() for text in right.texts) == 2
    many = frame[frame["cells"] > 1]
    alt = shown("non_additivity").drawing.alt
    assert f"Of 10 run-pairs traced in more than one cell, {int(many['positive'].sum())} have" in alt
    assert f"{many['relative'].median():.3f}" in alt


def test_many_run_pairs_are_cut_and_told(words_on, tables, context):
    many = pd.concat([tables["mediation_run_pairs"]] * 4)
    picture, _ = _drawn("non_additivity", {"mediation_run_pairs": many}, context)
    assert "48 run-pairs, the first 24 shown" in words_on(picture)
    assert len(picture.axes[0].get_yticks()) == 24


def test_total_effect_of_nothing_has_no_share(face, tables, context):
    frame = tables["mediation_run_pairs"].assign(relative=np.nan)
    assert face(figure("non_additivity"), {"mediation_run_pairs": frame}, context).count("total effect is 0") == 12
    far = tables["mediation_run_pairs"].assign(relative=7.25)
    assert "7.2" in face(figure("non_additivity"), {"mediation_run_pairs": far}, context)


def test_certificate_is_the_mean_over_run_pairs(shown, tables):
    frame = tables["mediation_certificate"]
    axes = shown("ranking_certificate").picture.axes
    expected = frame.query("budget == 'proportional'").groupby("budget_factor")["certified_share"].mean()
    drawn = _line(axes[0], "proportional to the effect")
    assert np.allclose(drawn.get_xdata(), expected.index)
    assert np.allclose(drawn.get_ydata(), expected)
    top = _line(axes[2], "certified against all")
    assert list(top.get_ydata()[:3]) == [0.5, 0.5, 0.0]
    (stars,) = (line for line in axes[0].lines if line.get_marker() == "*")
    assert max(stars.get_ydata()) == 0.0814


def test_phase_diagram_puts_equality_on_the_diagonal(tables, context):
    picture, alt = _drawn("detectability_phases", tables, context)
    contours = picture.axes[0].collections[-1]
    (path,) = [segment for segment in contours.allsegs[0] if len(segment)]
    assert np.allclose(path[:, 0], path[:, 1], rtol=1e-6)
    share = (tables["detectability_grid"]["regime"] == "attention better").mean()
    assert f"{share:.0%} attention better" in alt
    assert "1,653 for 500 edges" in alt  # 266 log(500)
    assert "at 1.80 for an attention tail of 1.2" in alt


@pytest.mark.parametrize("name", ["detectability_phases", "detectability_projection", "synthetic_truth"])
def test_simulation_is_said_on_the_face(name, shown):
    assert "simulated data in this picture; evaluation: semi-synthetic outcomes on real cells" in shown(name).words
    assert "no data set and no model enters" in shown(name).words


def test_boundary_beyond_the_grid_is_counted_not_drawn(shown, tables):
    frame = tables["detectability_boundary"]
    missing = int(frame["boundary_cells"].isna().sum())
    assert missing
    assert f"Boundaries: {60 - missing} of 60 settings are detected with at most 6,400 cells" in (
        shown("detectability_projection").drawing.alt
    )
    assert "the mean detects nothing" in shown("detectability_projection").words


def test_synthetic_truth_prints_its_own_fit(shown, tables):
    alt, words = shown("synthetic_truth").drawing.alt, shown("synthetic_truth").words
    summary = tables["synthetic_recovery_summary"].query("series == 'all_states' and score == 'regression'")
    ends = summary.sort_values("cells")["recovery"]
    assert f"all states, regression: {ends.iloc[0]:.2f} to {ends.iloc[-1]:.2f}" in alt
    circuits = tables["synthetic_circuits"].query("truth == 'contribution' and estimator == 'shapley'")
    assert f"the known contributions: Shapley {circuits['rho'].mean():.3f} (n = 40)" in alt
    assert "regression, r = -0.63 (p 0.002)" in words
    assert "logistic, r = 0.972" in words
    assert not figure("synthetic_truth").marks


def test_detection_is_drawn_at_its_prediction(shown, tables):
    frame = tables["synthetic_detection"]
    axes = next(
        one
        for one in shown("synthetic_truth").picture.axes
        if one.get_title(loc="left") == "Detection in network cells"
    )
    drawn = _line(axes, "logistic, r = 0.972")
    assert np.allclose(drawn.get_xdata(), frame["logistic"])
    assert np.allclose(drawn.get_ydata(), frame["auroc"])


def test_marks_are_those_of_their_place():
    cells = {(mark.x, mark.value) for mark in figure("detectability_phases").marks if mark.series == "cells"}
    assert cells == {(500, 3499), (500, 1555), (2000, 3995), (2000, 1776), (10_000, 4567), (10_000, 2030)}
    shares = {mark.x: mark.value for mark in figure("ranking_certificate").marks if mark.series == "uniform"}
    assert shares == {1: 0.0669, 1.5: 0.0332, 2: 0.0193, 3: 0.0032, 4: 0.0032, 6: 0.0032, 8: 0.0032}
    assert [mark.value for mark in figure("non_additivity").marks] == [0.725]
