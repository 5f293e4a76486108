"""Figures of scaling and composition: words equal the tables, a run without a hit is drawn, marks stay apart."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import rc_context

from interp_assets.figures import curves, style
from interp_assets.figures.catalogue import figure
from interp_assets.figures.curves import Curve
from interp_assets.figures.records import NothingToDrawError

MAIN = "attention_layer_mean"


def _drawn(name, tables, context):
    spec = figure(name)
    with rc_context(style.RC):
        return spec.draw(tables, replace(context, marks=spec.marks))


def _stars(axes):
    return [line for line in axes.lines if line.get_marker() == "*"]


def test_scaling_tells_the_mean_over_seeds(shown, tables):
    runs = tables["scaling_runs"].query("edge == @MAIN and reference == 'example-curated'")
    alt = shown("scaling_first_reference").drawing.alt
    for cells, mean in runs.groupby("cells")["f1"].mean().items():
        assert f"{mean:.3g} at {cells} cells" in alt
    assert "over 9 seeds" in alt
    assert "example-chip" not in alt
    assert "against example-chip over 9 seeds" in shown("scaling_second_reference").drawing.alt


def test_run_without_a_hit_has_a_place_below_all_others(tables, context):
    picture, _ = _drawn("scaling_second_reference", tables, context)
    single = [line for line in picture.axes[0].lines if line.get_linewidth() == 0.7]
    assert len(single) == 9
    heights = np.concatenate([line.get_ydata() for line in single])
    assert heights.size == 27
    lowest, second = np.sort(heights)[:2]
    assert lowest < second / curves.ZERO_BELOW  # bands reach lower than single runs, and it stands below these
    assert lowest >= picture.axes[0].get_ylim()[0]
    assert "F1 = 0" in [text.get_text() for text in picture.axes[0].texts]


def test_seeds_without_spread_are_told(tables, context):
    runs = tables["scaling_runs"].copy()
    runs.loc[runs["cells"] == 600, "f1"] = 0.01
    _, alt = _drawn("scaling_first_reference", {**tables, "scaling_runs": runs}, context)
    assert alt.endswith("All seeds are equal at 600 cells.")


def test_published_values_stand_on_axes_of_their_own(tables, context):
    picture, _ = _drawn("scaling_first_reference", tables, context)
    ours, theirs = picture.axes
    assert not _stars(ours)
    (stars,) = _stars(theirs)
    assert sorted(stars.get_ydata())[1:] == [3.48e-5, 4.87e-5, 5.21e-5, 9.38e-5, 9.73e-5]
    assert theirs.get_title(loc="left") == "Published values"
    alone, _ = figure("scaling_first_reference").draw(tables, context)
    assert len(alone.axes) == 1


def test_one_reference_has_no_second_picture(tables, context):
    one = tables["scaling_summary"].query("reference == 'example-curated'")
    with pytest.raises(NothingToDrawError, match="one reference network, example-curated; name a second one"):
        figure("scaling_second_reference").draw({"scaling_summary": one}, context)


def test_repeatability_tells_shared_and_separate_draws_apart(shown, tables):
    pairs = tables["scaling_seed_pairs"]
    alt = shown("scaling_repeatability").drawing.alt
    for apart, words in ((False, "cells in common by chance"), (True, "no cell in common")):
        mean = pairs[(pairs["disjoint"] == apart) & (pairs["cells"] == 60)]["jaccard"].mean()
        assert f"{words} {mean:.3f} at 60 cells (n = 9)" in alt
    assert alt.count("at 600 cells") == 2  # half of the cells are too few for a second draw of 600


def test_draws_of_all_cells_are_called_one_draw(tables, context):
    frame = tables["scaling_seed_pairs"].copy()
    frame.loc[frame["cells"] == 600, ["cells_in_common", "jaccard"]] = 1.0
    _, alt = _drawn("scaling_repeatability", {"scaling_seed_pairs": frame}, context)
    assert "1.000 at 600 cells (n = 9, all cells, one draw)" in alt
    assert alt.count("one draw") == 2  # in both panels, at 600 cells alone


def test_both_metrics_stand_side_by_side(shown, tables):
    runs = tables["scaling_runs"].query("edge == @MAIN and reference == 'example-curated'").groupby("cells")
    alt = shown("scaling_metrics").drawing.alt
    assert f"{runs['auroc'].mean()[600]:.3f} at 600 cells" in alt
    assert f"observed hits: {runs['hits'].mean()[60]:.2f} at 60 cells" in alt
    assert "expected by chance: 40.60 at 60 cells" in alt


def test_composition_shows_the_declared_trends(shown):
    alt = shown("controlled_composition").drawing.alt
    assert "AUROC with cells, shares of types fixed, Attention: 0.310 (0.010 to 0.510)" in alt
    assert "F1 with types, random draws, Correlation: 0.320 (0.220 to 0.720)" in alt
    places = [line for line in shown("controlled_composition").picture.axes[3].lines if line.get_marker() == "*"]
    assert list(places[0].get_xdata()) == [-0.05, 0.63, -0.76]
    assert list(places[0].get_ydata()) == list(shown("controlled_composition").picture.axes[3].get_yticks())


def test_trend_without_number_and_arm_without_runs_are_said(face, tables, context):
    trends = tables["composition_trends"].copy()
    trends.loc[trends["arm"] == "fixed_shares", ["rho", "ci_low", "ci_high"]] = np.nan
    runs = tables["composition_runs"].query("arm != 'random_draw'")
    words = face(figure("controlled_composition"), {"composition_runs": runs, "composition_trends": trends}, context)
    assert words.count("no trend: one side is the same in all runs") == 2
    assert "Random draws: no run with a finite F1 of kept edges" in words.replace("\n", " ")


def test_log_axis_names_the_numbers_in_use():
    axes = style.new_figure(2.0).subplots()
    curves.log_ticks(axes, [3000, 200, 1000, 210, np.nan, 0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["200", "1,000", "3,000"]
    curves.log_ticks(axes, [500, 500])
    assert axes.get_xlim() == (250, 1000)


def test_words_of_a_curve_leave_out_what_is_missing():
    one = Curve(label="x", x=np.array([200.0, 60.0]), y=np.array([0.5, np.nan]))
    assert curves.along(one, "cells") == "x: 0.500 at 200 cells"
    assert curves.along(Curve(label="x", x=one.x, y=np.full(2, np.nan)), "cells") == "x: not computed"


def test_marks_of_three_sizes_are_those_of_their_cells():
    marks = {(mark.series, mark.model, mark.x): mark.value for mark in figure("scaling_repeatability").marks}
    assert marks["jaccard", "scGPT small", 200.0] == 0.572
    assert marks["jaccard", "scGPT large", 1000.0] == 0.285
    assert marks["spearman", "scGPT medium", 1000.0] == -0.110
    second = {(mark.model, mark.x): mark.value for mark in figure("scaling_second_reference").marks}
    assert len(second) == 9
    assert second["scGPT large", 3000.0] == 7e-5
    assert [mark.value for mark in figure("controlled_composition").marks] == [-0.05, 0.63, -0.76]
