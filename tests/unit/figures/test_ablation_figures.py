"""Figures of the interventions: words equal the tables, structural zeros are told apart, odd tables survive."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.collections import PathCollection
from matplotlib.text import Text

from interp_assets.figures import style
from interp_assets.figures.catalogue import draw, figure
from interp_assets.figures.records import Drawing, FigureSkipped

NEW = ("causal_ablation", "six_conditions", "orthogonal_interventions", "intervention_fidelity")
TABLES = ("causal_ablation", "intervention_conditions", "intervention_auroc", "intervention_fidelity")


@pytest.fixture
def ablation(tables):
    """The tables of the interventions, copied, so that a test may change them."""
    return {name: tables[name].copy() for name in TABLES}


def _drawn(name, tables, context):
    """Figure, its words and its alt text, laid out as for export."""
    with rc_context(style.RC):
        picture, alt = figure(name).draw(tables, context)
        style.settle(picture)
    words = "\n".join(item.get_text() for item in picture.findobj(Text) if item.get_visible())
    return picture, words, alt


def _overlapping(picture):
    """Pairs of shown words of all axes that lie on one another: labels, ticks in view, titles and notes."""
    shown = []
    for axes in picture.axes:
        ticks = []
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            near = 1e-9 * (high - low)
            ticks += [tick.label1 for tick in axis.get_major_ticks() if low - near <= tick.get_loc() <= high + near]
        labels = [axes.xaxis.label, axes.yaxis.label, axes._left_title]
        words = [item for item in (*ticks, *labels, *axes.texts) if item.get_text() and item.get_visible()]
        shown += words if axes.axison else axes.texts
    boxes = [(item.get_text(), item.get_window_extent()) for item in shown]
    return [
        (one, other)
        for at, (one, first) in enumerate(boxes)
        for other, second in boxes[at + 1 :]
        if min(first.x1, second.x1) - max(first.x0, second.x0) > 1
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 1
    ]


def _panel(picture, title):
    (axis,) = [axes for axes in picture.axes if axes.get_title(loc="left").startswith(title)]
    return axis


def _marks(axis):
    """Colour of the filling of each single mark, by its label on the vertical axis."""
    places = dict(zip(axis.get_yticks(), (item.get_text() for item in axis.get_yticklabels()), strict=True))
    single = [line for line in axis.lines if len(line.get_xdata()) == 1 and line.get_ydata()[0] in places]
    return {places[line.get_ydata()[0]]: line for line in single}


def _kept(tables, keep):
    """Tables with the conditions that ``keep`` says yes to, given their rows."""
    names = set(tables["intervention_conditions"].loc[keep, "condition"]) | {"clean"}
    return {name: frame[frame["condition"].isin(names)] for name, frame in tables.items()}


def _small_effects(tables):
    """A trained release on which nothing matters: every change within .002."""
    frame = tables["causal_ablation"]
    acting = frame["delta"] != 0
    delta = np.where(acting, np.random.default_rng(4).uniform(-0.002, 0.002, len(frame)), 0.0)
    half = np.where(acting, 0.001, 0.0)
    small = frame.assign(clean_auroc=0.663, mean_auroc=0.663 + delta, delta=delta, ci_low=delta - half)
    return {**tables, "causal_ablation": small.assign(ci_high=delta + half, p=0.4)}


def _case(name, tables):
    conditions = tables["intervention_conditions"]
    upstream = conditions["pool"] == "upstream"
    if name == "one dose":
        return _kept(tables, ~upstream | (conditions["dose"] == 5))
    if name == "no upstream":
        return _kept(tables, ~upstream)
    if name == "no logits":
        no_logits = {
            "causal_ablation": tables["causal_ablation"].query("read_out == 'attention'"),
            "intervention_fidelity": tables["intervention_fidelity"].query("state == 'hidden'"),
        }
        return {**tables, **no_logits}
    return _small_effects(tables) if name == "small" else tables


@pytest.mark.parametrize("case", ["full", "one dose", "no upstream", "no logits", "small"])
@pytest.mark.parametrize("name", NEW)
def test_nothing_overlaps_or_leaves_the_picture(name, case, beyond_the_edge, ablation, context):
    picture, _, _ = _drawn(name, _case(case, ablation), context)
    assert beyond_the_edge(picture) == []
    assert _overlapping(picture) == []


@pytest.mark.parametrize("name", NEW)
def test_one_row_is_enough(name, sketch, ablation, context):
    spec = figure(name)
    one = _kept(ablation, ablation["intervention_conditions"]["condition"] == ("mlp-8" if "ortho" in name else "top-5"))
    assert isinstance(sketch(spec, {key: one[key].iloc[:1] for key in spec.tables}, context), Drawing)


@pytest.mark.parametrize("name", NEW)
def test_no_finite_number_is_a_reason(name, ablation, context):
    empty = {
        key: frame.assign(**dict.fromkeys(frame.select_dtypes("floating").columns, np.nan))
        for key, frame in ablation.items()
    }
    result = draw(figure(name), empty, context)
    assert isinstance(result, FigureSkipped)
    assert "no finite" in result.reason


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("evil", ['<script>alert("$x$")</script> ß ≤ ½\n', "x" * 3000], ids=["markup", "long"])
def test_hostile_dataset_stays_text(name, evil, vector, ablation, context):
    renamed = {key: frame.assign(dataset=evil) for key, frame in ablation.items()}
    drawing = vector(figure(name), renamed, context).drawing
    assert isinstance(drawing, Drawing)
    assert b"<script" not in drawing.svg
    assert len(drawing.alt) < 20_000


@pytest.mark.parametrize("name", NEW)
def test_other_roles_do_not_enter(name, shown, vector, ablation, context):
    both = {
        key: pd.concat([frame.assign(role="second_screen", dataset="other"), frame]) for key, frame in ablation.items()
    }
    drawing = vector(figure(name), both, context).drawing
    assert (drawing.svg, drawing.alt) == (shown(name).drawing.svg, shown(name).drawing.alt)


def test_dose_response_shows_means_and_every_random_set(ablation, context):
    picture, _, alt = _drawn("causal_ablation", ablation, context)
    rows = ablation["causal_ablation"]
    rows = rows[(rows["pool"] == "upstream") & (rows["operation"] == "zero_heads") & (rows["read_out"] == "attention")]
    top = rows[rows["family"] == "top"].sort_values("size")
    axis = _panel(picture, "Published read-out")
    (line,) = [line for line in axis.lines if line.get_label() == "top-ranked heads"]
    assert list(line.get_xdata()) == [1, 2, 4, 10]
    assert list(line.get_ydata()) == list(top["mean_auroc"])
    (clean,) = [line for line in axis.lines if len(line.get_ydata()) == 2]
    assert list(clean.get_ydata()) == [top["clean_auroc"].iloc[0]] * 2
    dots = [item.get_offsets() for item in axis.collections if isinstance(item, PathCollection)]
    assert [len(offsets) for offsets in dots] == [20] * 4
    sets = [rows.loc[(rows["family"] == "random") & (rows["size"] == size), "mean_auroc"] for size in (1, 2, 4, 10)]
    for offsets, values in zip(dots, sets, strict=True):
        assert np.allclose(np.sort(offsets[:, 1]), np.sort(values))
    (mean,) = [line for line in axis.lines if str(line.get_label()).startswith("random sets")]
    assert np.allclose(mean.get_ydata(), [values.mean() for values in sets])
    last = top.iloc[-1]
    assert f"10 heads {last['mean_auroc']:.3f} (20 random sets {sets[3].min():.3f} to {sets[3].max():.3f}" in alt
    assert "p 0.048" in alt
    assert "1 head " in alt


def test_ticks_carry_the_share_of_random_sets(ablation, context):
    frame = ablation["causal_ablation"]
    frame.loc[(frame["condition"] == "upstream-top-10"), "p_random"] = 0.333
    frame.loc[(frame["condition"] == "upstream-top-20"), "p_random"] = np.nan
    axis = _panel(_drawn("causal_ablation", ablation, context)[0], "Published read-out")
    first = f"{frame.loc[frame['condition'] == 'upstream-top-5', 'p_random'].iloc[0]:.3f}".removeprefix("0")
    shown = [item.get_text() for item in axis.get_xticklabels()]
    assert shown == [f"1\np {first}", "2\np .333", "4\nno p", "10\np .048"]


def test_no_upstream_heads_are_said(ablation, context):
    _, words, alt = _drawn("causal_ablation", _case("no upstream", ablation), context)
    said = "No dose response: no set of heads before layer 5, where attention is read, was masked."
    assert said in alt
    assert said in words.replace("\n", " ")
    alone = ablation["causal_ablation"].query("pool == 'upstream'")
    picture, _, alt = _drawn("causal_ablation", {**ablation, "causal_ablation": alone}, context)
    assert "published mask" not in alt
    assert len(picture.axes) == 2


def test_logits_panel_only_where_there_are_logits(ablation, context):
    assert "Output logits" in _drawn("causal_ablation", ablation, context)[1]
    picture, words, alt = _drawn("causal_ablation", _case("no logits", ablation), context)
    assert "Output logits" not in words + alt
    assert len(picture.axes) == 2


def test_published_masks_are_condition_minus_clean(ablation, context):
    picture, words, alt = _drawn("causal_ablation", ablation, context)
    rows = ablation["causal_ablation"].query("pool == 'all' and operation == 'zero_heads' and read_out == 'attention'")
    marks = _marks(_panel(picture, "Published masks"))
    assert len(marks) == len(rows) == 16
    for label, mark in marks.items():
        row = rows.set_index("condition").loc[label.split(" (")[0]]
        assert list(mark.get_xdata()) == [row["mean_auroc"] - row["clean_auroc"]]
    assert "condition minus clean" in words
    assert "top-50 -0.325 (-0.331 to -0.319, p 1.0e-06)" in alt


def test_hollow_means_no_part_before_the_read_out(ablation, context):
    picture, _, alt = _drawn("causal_ablation", ablation, context)
    marks = _marks(_panel(picture, "Published masks"))
    hollow = {label.split(" (")[0] for label, mark in marks.items() if mark.get_markerfacecolor() == style.PAPER}
    conditions = ablation["intervention_conditions"]
    published = conditions[(conditions["pool"] == "all") & (conditions["operation"] == "zero_heads")]
    assert hollow == set(published.loc[published["upstream_parts"] == 0, "condition"])
    assert {"bottom-5", "random-5/2", "layer-14"} <= hollow
    assert "layer-14 cannot act" in alt
    partly = published[(published["upstream_parts"] > 0) & (published["upstream_parts"] < published["size"])]
    assert len(partly)
    for row in partly.itertuples():
        assert f"{row.condition} ({row.upstream_parts} of {row.size} heads act)" in marks


@pytest.mark.parametrize(("p", "marks"), [(0.2, ""), (0.03, "*"), (0.004, "**"), (1e-9, "***"), (np.nan, "")])
def test_significance_marks_stand_beside_conditions_that_can_act(p, marks, ablation, context):
    frame = ablation["causal_ablation"].assign(p=p)
    axis = _panel(_drawn("causal_ablation", {**ablation, "causal_ablation": frame}, context)[0], "Published masks")
    rows = frame.query("pool == 'all' and operation == 'zero_heads' and read_out == 'attention'")
    acting = ablation["intervention_conditions"].set_index("condition")["upstream_parts"].loc[rows["condition"]] > 0
    assert [item.get_text() for item in axis.texts] == [marks] * int(acting.sum())


def test_a_narrow_axis_is_widened(ablation, context):
    picture, _, _ = _drawn("causal_ablation", _small_effects(ablation), context)
    for title, limits in (("Published masks", "get_xlim"), ("Published read-out", "get_ylim")):
        low, high = getattr(_panel(picture, title), limits)()
        assert high - low == pytest.approx(0.02)
    wide = _panel(_drawn("causal_ablation", ablation, context)[0], "Published masks").get_xlim()
    assert wide[1] - wide[0] > 0.3


def test_six_conditions_are_those_of_analysis_29(ablation, context):
    picture, words, alt = _drawn("six_conditions", ablation, context)
    names = [item.get_text().split("\n")[0].split(" (")[0] for item in picture.axes[0].get_yticklabels()]
    assert names == ["clean", "top-5", "entropy-matched-5", "random-5/1", "random-5/2", "random-5/3"]
    frame = ablation["intervention_auroc"]
    for name in names:
        values = frame.loc[(frame["condition"] == name) & (frame["read_out"] == "attention"), "auroc"]
        half = 1.96 * values.std() / len(values) ** 0.5
        mean = values.mean()
        assert f"{name}: {mean:.3f} ({mean - half:.3f} to {mean + half:.3f}), n = 40" in alt
        assert f"{mean:.3f}" in words
    assert len(_marks_of_change(picture)) == 5
    assert "random-5/2 cannot act" in alt


def _marks_of_change(picture):
    return [line for line in picture.axes[1].lines if len(line.get_xdata()) == 1]


def test_paired_change_stands_beside_its_own_condition(ablation, context):
    frame = ablation["causal_ablation"]
    frame = frame[frame["condition"] != "entropy-matched-5"]
    picture, words, alt = _drawn("six_conditions", {**ablation, "causal_ablation": frame}, context)
    places = {
        item.get_text().split(" (")[0]: place
        for place, item in zip(picture.axes[0].get_yticks(), picture.axes[0].get_yticklabels(), strict=True)
    }
    deltas = frame[frame["read_out"] == "attention"].set_index("condition")["delta"]
    drawn = {float(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in _marks_of_change(picture)}
    assert drawn == {places[name]: deltas[name] for name in ("top-5", "random-5/1", "random-5/2", "random-5/3")}
    assert "entropy-matched-5 not computed" in alt
    assert "not computed" in words


def test_spread_without_changes_is_drawn_alone(ablation, context):
    tables = {name: ablation[name] for name in ("intervention_auroc", "intervention_conditions")}
    picture, _, alt = _drawn("six_conditions", tables, context)
    assert len(picture.axes) == 1
    assert "Change" not in alt


def test_missing_auroc_leaves_its_perturbation_out(ablation, context):
    frame = ablation["intervention_auroc"]
    frame.loc[frame["perturbation"] == "GENE000", "auroc"] = np.nan
    assert "n = 39" in _drawn("six_conditions", ablation, context)[2]


def test_orthogonal_interventions_by_read_out(ablation, context):
    picture, words, alt = _drawn("orthogonal_interventions", ablation, context)
    assert [axes.get_title(loc="left").split("\n")[0] for axes in picture.axes] == [
        "Published read-out", "Last-layer attention", "Output logits",
    ]  # fmt: skip
    labels = [item.get_text().split(" (")[0] for item in picture.axes[0].get_yticklabels()]
    assert labels[:6] == ["uniform-top-5", "uniform-top-10", "uniform-random-10/1", "mlp-15", "mlp-13-15", "mlp-8"]
    published, last, logits = re.split(r"Last-layer attention:|Output logits:", alt)
    assert published.count("cannot act") == 2
    assert "mlp-15 cannot act" in published
    assert "mlp-8 -0.365" in published
    assert "cannot act" not in last + logits
    assert words.replace("\n", " ").count("cannot act on this read-out") == 2


def test_rows_of_every_panel_stand_at_the_same_condition(ablation, context):
    frame = ablation["causal_ablation"]
    gone = (frame["condition"] == "mlp-15") & (frame["read_out"] == "logits")
    picture, _, alt = _drawn("orthogonal_interventions", {**ablation, "causal_ablation": frame[~gone]}, context)
    first, _, third = picture.axes
    places = {
        item.get_text().split(" (")[0]: at for at, item in zip(first.get_yticks(), first.get_yticklabels(), strict=True)
    }
    drawn = {
        float(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in third.lines if len(line.get_xdata()) == 1
    }
    deltas = frame[(frame["read_out"] == "logits") & ~gone].set_index("condition")["delta"]
    assert drawn == {at: deltas[name] for name, at in places.items() if name != "mlp-15"}
    assert "mlp-15 not computed" in alt.split("Output logits:")[1]


def test_fidelity_lines_start_at_the_first_changed_layer(ablation, context):
    picture, words, alt = _drawn("intervention_fidelity", ablation, context)
    axis = _panel(picture, "Uniform attention")
    frame = ablation["intervention_fidelity"].query("state == 'hidden'")
    conditions = ablation["intervention_conditions"].query("operation != 'zero_heads'")
    lines = [line for line in axis.lines if len(line.get_xdata()) > 0 and line.get_marker() != "None"]
    assert len(lines) == len(conditions) == 8
    expected = {
        (int(row.first_layer), *frame.loc[frame["condition"] == row.condition, "distance"].round(9))
        for row in conditions.itertuples()
    }
    assert {(int(line.get_xdata()[0]), *np.round(line.get_ydata(), 9)) for line in lines} == expected
    limits = [line for line in axis.lines if list(line.get_ydata()) == [0.02, 0.02]]
    assert len(limits) == 1
    assert axis.get_yscale() == "log"
    assert any(list(line.get_xdata()) == [4.5, 4.5] for line in axis.lines)
    assert "mathdefault" not in words
    assert "mlp-8 (1 layer) hidden state 0.054, logits 0.003" in alt
    assert "20 random sets (10 heads) hidden state" in alt


def test_logits_stand_beside_or_are_said_to_be_absent(ablation, context):
    picture, words, _ = _drawn("intervention_fidelity", ablation, context)
    mark = _marks(picture.axes[1])["mlp-8 (1 layer)"]
    frame = ablation["intervention_fidelity"]
    distance = frame.loc[(frame["condition"] == "mlp-8") & (frame["state"] == "logits"), "distance"].iloc[0]
    assert list(mark.get_xdata()) == [distance]
    assert "no output logits" not in words
    picture, words, alt = _drawn("intervention_fidelity", _case("no logits", ablation), context)
    assert "this model has no output logits" in words
    assert list(_marks(picture.axes[1])["mlp-8 (1 layer)"].get_xdata()) == [0.054]
    assert "logits not read" in alt


def test_no_change_at_all_stands_at_the_edge(ablation, context):
    frame = ablation["intervention_fidelity"]
    frame.loc[frame["condition"] == "mlp-8", ["distance", "ci_low", "ci_high"]] = 0.0
    picture, _, alt = _drawn("intervention_fidelity", ablation, context)
    lows = [min(line.get_ydata()) for line in _panel(picture, "Uniform attention").lines]
    assert min(lows[:8]) == 1e-6
    assert "mlp-8 (1 layer) hidden state 0.000" in alt


def test_fidelity_of_undeclared_conditions_is_not_drawn(ablation, context):
    conditions = ablation["intervention_conditions"].query("condition != 'mlp-8'")
    _, words, alt = _drawn("intervention_fidelity", {**ablation, "intervention_conditions": conditions}, context)
    assert "mlp-8" not in words + alt
    other = ablation["intervention_fidelity"].assign(condition="unknown")
    result = draw(figure("intervention_fidelity"), {**ablation, "intervention_fidelity": other}, context)
    assert "no finite distance of a declared condition" in result.reason
