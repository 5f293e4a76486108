"""Figures of other contexts, of the grid and of nested folds: words and marks equal the tables, gaps are said."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context

from interp_assets.figures import grid_figures, style
from interp_assets.figures.catalogue import draw, figure
from interp_assets.figures.printed_marks import changed, printed, turned
from interp_assets.figures.records import Drawing, FigureSkipped
from qc_standards.published import signatures

NEW = (
    "context_forest",
    "second_screen_layers",
    "small_screen_layers",
    "restricted_protocol",
    "sensitivity_grid",
    "nested_layers",
)
REPLICATIONS = ("replication_37", "replication_28", "replication_33")
ALSO = ("other_line_baselines", "other_line_incremental", "other_line_residual")


@pytest.fixture
def drawn(words_on):
    """Figure, its words and its alt text, composed and not exported."""

    def composed(name, tables, context):
        spec = figure(name)
        with rc_context(style.RC):
            picture, alt = spec.draw(tables, replace(context, marks=spec.marks))
        return picture, words_on(picture), alt

    return composed


def _stars(axis):
    found = [line for line in axis.lines if line.get_marker() == "*" and len(line.get_xdata())]
    return [(x, y) for line in found for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


@pytest.mark.parametrize("name", NEW)
def test_one_row_is_enough(name, sketch, tables, context):
    spec = figure(name)
    result = sketch(spec, {key: tables[key].iloc[:1] for key in spec.tables}, context)
    if name == "context_forest":
        assert result.reason == "one context was computed (example-rpe1, other cell line); a comparison needs 2"
    else:
        assert isinstance(result, Drawing)


@pytest.mark.parametrize("name", [*NEW, *ALSO])
def test_no_finite_number_is_a_reason_or_is_said(name, sketch, tables, context):
    spec = figure(name)
    numbers = {
        key: tables[key].assign(**dict.fromkeys(tables[key].select_dtypes("floating").columns, np.nan))
        for key in spec.tables
    }
    result = sketch(spec, numbers, context)
    told = result.reason if isinstance(result, FigureSkipped) else result.alt
    assert any(words in told for words in ("no finite", "no fold", "not computed", "–", "intervals of attention"))


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("evil", ['<script>alert("$x$")</script> ß ≤ ½\n', "x" * 3000], ids=["markup", "long"])
def test_hostile_names_stay_text(name, evil, vector, beyond_the_edge, tables, context):
    spec = figure(name)
    used = {key: tables[key].assign(dataset=evil) for key in (*spec.tables, *spec.extra_tables)}
    if name == "restricted_protocol":
        used["hvg_protocol"] = used["hvg_protocol"].assign(condition=evil, reason=evil)
    found = vector(spec, used, context)
    assert b"<script" not in found.drawing.svg
    assert len(found.drawing.alt) < 40_000
    assert beyond_the_edge(found.picture) == []


def test_every_context_has_its_differences_and_readings(drawn, tables, context):
    picture, words, alt = drawn("context_forest", tables, context)
    rows = pd.concat([tables[name] for name in REPLICATIONS])
    for row in rows.itertuples():
        assert f"layer {row.layer} {row.mean_difference:+.3f} ({row.ci_low:.3f} to {row.ci_high:.3f})" in alt
    assert words.count("\nattention ahead") == (rows["reading"] == "greater").sum()
    assert words.count("undecided") == (rows["reading"] == "undecided").sum()
    assert "Second screen\nexample-k562-activation\nCRISPRa · semi-synthetic · n = 41" in words
    marks = {line.get_xdata()[0] for line in picture.axes[0].lines if len(line.get_xdata()) == 1}
    assert set(rows["mean_difference"]) <= marks
    assert "5 contexts" in words


def test_contexts_stand_in_order_whatever_the_tables_hold(drawn, tables, context):
    alt = drawn("context_forest", tables, context)[2]
    roles = ("primary screen", "second screen", "other cell line", "first small screen", "second small screen")
    places = [alt.index(role) for role in roles]
    assert places == sorted(places)
    alone = drawn("context_forest", {"replication_37": tables["replication_37"].query("layer == 6")}, context)
    assert "first small screen" not in alone[2]
    assert "3 contexts" in alone[1]


def test_published_differences_stand_at_the_line_of_their_depth(drawn, tables, context):
    axis = drawn("context_forest", tables, context)[0].axes[0]
    values = {mark.value: mark for mark in figure("context_forest").marks}
    stars = dict(_stars(axis))
    assert set(stars) == set(values)
    heights = {
        round(line.get_xdata()[0], 6): line.get_ydata()[0]
        for line in axis.lines
        if len(line.get_xdata()) == 1 and line.get_marker() != "*"
    }
    second = tables["replication_28"].set_index("layer")["mean_difference"]
    assert stars[-0.098] == heights[round(second[2], 6)]  # layer 6 of 0..17 is layer 2 of 0..7
    assert stars[-0.106] == heights[round(second[5], 6)]
    shallow = {name: tables[name].query("layer == 7") for name in REPLICATIONS}
    kept = _stars(drawn("context_forest", shallow, context)[0].axes[0])
    assert {value for value, _ in kept} == {-0.105, 0.03, 0.086}


def test_a_weak_test_is_said_on_the_face(drawn, tables, context):
    assert "no test can fall below p 0.0156" in drawn("small_screen_layers", tables, context)[1]
    assert "no test" not in drawn("second_screen_layers", tables, context)[1]


def test_both_scores_of_a_layer_stand_on_one_line(drawn, tables, context):
    picture, _, alt = drawn("second_screen_layers", tables, context)
    left = picture.axes[0]
    frame = tables["replication_28"].sort_values("layer")
    for marker, column in (("o", "mean_attention"), ("s", "mean_correlation")):
        marks = [line for line in left.lines if line.get_marker() == marker and len(line.get_xdata()) == 1]
        by_height = {line.get_ydata()[0]: line.get_xdata()[0] for line in marks}
        assert [by_height[place] for place in (2, 1, 0)] == list(frame[column])
    assert "layer 2: attention 0.612, correlation 0.650, difference -0.038" in alt


def test_condition_that_was_not_read_says_why(drawn, tables, context):
    _, words, alt = drawn("restricted_protocol", tables, context)
    assert words.count("not computed") == 2
    assert "not computed (example-rpe1: attention was not read again)" in alt
    assert "change on these perturbations +0.060" in alt
    assert "Restricted\n500 genes, n = 64" in words


def test_grid_has_a_field_a_condition(drawn, tables, context):
    frame = tables["sensitivity_grid"].copy()
    gap = (frame["score"] == "correlation") & (frame["edge_cells"] == 190) & (frame["genes_tested"] == 500)
    frame.loc[gap, "mean_auroc"] = np.nan
    picture, words, alt = drawn("sensitivity_grid", {"sensitivity_grid": frame}, context)
    assert [len(axis.patches) for axis in picture.axes] == [9] * 6
    shown = frame[frame["score"].isin(("attention", "correlation"))]["mean_auroc"]
    for value in shown.dropna():
        assert f"{value:.3f}" in words
    assert "in 24 conditions (3 not computed)" in alt
    assert (
        "Attention: mean AUROC 0.546 to 0.641 in 27 conditions; a statistic of single genes is ahead in 27 of 27" in alt
    )
    assert "published range (edges, Replogle K562 CRISPRi): 0.619 to 0.756" in words
    framed = [patch for axis in picture.axes for patch in axis.patches if patch.get_linewidth() > 2]
    assert len(framed) == 2


def test_darker_is_higher():
    lightness = [sum(grid_figures._shade(level)) for level in (0.0, 0.3, 0.6, 1.0)]
    assert lightness == sorted(lightness, reverse=True)


def test_folds_show_their_layer_and_the_mean_by_size(drawn, tables, context):
    picture, words, alt = drawn("nested_layers", tables, context)
    folds = tables["nested_layer_choice"]
    pooled = (folds["difference"] * folds["n_test"]).sum() / folds["n_test"].sum()
    assert f"held-out difference {pooled:+.3f} on average over 97 perturbations" in alt
    assert "layer 3 in 1 of 5, layer 6 in 4 of 5" in alt
    assert "fold 5: layer 3 (n = 19)" in words
    assert _stars(picture.axes[0]) == [(0.04, 0.0)]
    alone = drawn("nested_layers", {"nested_layer_choice": folds}, context)[0]
    assert len(alone.axes) == 1


def test_other_line_is_drawn_from_its_own_tables(drawn, tables, context):
    for name in ALSO:
        assert "example-rpe1, other cell line" in drawn(name, tables, context)[1]
    changed = tables["replication_37_baselines"].assign(mean_difference=0.4, ci_low=0.39, ci_high=0.41)
    alt = drawn("other_line_baselines", {**tables, "replication_37_baselines": changed}, context)[2]
    assert "variance (n = 180): -0.400" in alt


@pytest.mark.parametrize("name", [*NEW, *ALSO])
def test_other_tables_do_not_enter(name, drawn, tables, context):
    spec = figure(name)
    own = {key: tables[key] for key in (*spec.tables, *spec.extra_tables)}
    assert drawn(name, own, context)[1:] == drawn(name, tables, context)[1:]


def test_marks_are_the_numbers_of_the_registry():
    known = {each.id: each for each in signatures()}
    mark = printed("attention", "SIG001", 0.5)
    assert (mark.value, mark.x) == (float(known["SIG001"].value), 0.5)
    assert (mark.model, mark.dataset) == (known["SIG001"].model, known["SIG001"].dataset)
    assert turned(mark).value == -mark.value
    assert changed("top-10", "SIG073", "SIG067").value == pytest.approx(0.7040 - 0.7035)
    with pytest.raises(ValueError, match=r"SIG060 .* is printed as '0.47-0.64'"):
        printed("attention", "SIG060")
    with pytest.raises(ValueError, match="no published number 'SIG999'"):
        printed("attention", "SIG999")


def test_absent_table_names_it(tables, context):
    result = draw(figure("restricted_protocol"), {}, context)
    assert result.reason == "table hvg_protocol was not computed in this evaluation"


def test_absent_tables_are_named_in_one_sentence(tables, context):
    result = draw(figure("causal_ablation"), {}, context)
    assert result.reason == "tables causal_ablation, intervention_conditions were not computed in this evaluation"
