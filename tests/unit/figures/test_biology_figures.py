"""Figures of tissues, screens, species, pseudotime and attention against the tables they are drawn from."""

import re

import numpy as np
import pandas as pd
import pytest

from interp_assets.figures import catalogue_biology, panels, style
from interp_assets.figures.catalogue import figure
from interp_assets.figures.records import Drawing, FigureSkipped

ROWS = catalogue_biology.ROWS


def _line(axes, colour, marker):
    return [line for line in axes.lines if line.get_color() == colour and line.get_marker() == marker]


def _stars(axes):
    """Published values drawn in a panel."""
    return [point for line in axes.lines if line.get_marker() == "*" for point in line.get_xydata().tolist()]


def _panel(shown, title):
    return next(axes for axes in shown.picture.axes if axes.get_title(loc="left").startswith(title))


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.figure_id)
def test_no_finite_number_is_a_reason_or_is_said(spec, sketch, tables, context):
    bare = {key: tables[key] for key in (*spec.tables, *spec.extra_tables)}
    bare = {k: f.assign(**dict.fromkeys(f.select_dtypes("floating"), np.nan)) for k, f in bare.items()}
    result = sketch(spec, bare, context)
    if isinstance(result, FigureSkipped):
        assert re.search(r"no finite|with a finite", result.reason)
        assert any(key in result.reason for key in spec.tables)
    else:
        assert spec.figure_id == "deletion_agreement"
        assert result.alt.count("not computed") == 8


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.figure_id)
def test_one_row_is_enough(spec, sketch, tables, context):
    one = {key: tables[key].iloc[:1] for key in spec.tables}
    if "pseudotime_draws" in one:
        one["pseudotime_draws"] = tables["pseudotime_draws"].query("statistic == 'mean_score'").iloc[:1]
    result = sketch(spec, one, context)
    assert isinstance(result, Drawing), result.reason


@pytest.mark.parametrize("name", [spec.figure_id for spec in ROWS])
def test_pictures_stay_small(name, shown):
    assert len(shown(name).drawing.svg) < 150_000


def test_component_effects_are_those_of_both_tissues(shown, tables):
    frame = tables["mediation_components"].query("regulator == 'TFA' and granularity == 'mlp'")
    drawn = shown("tissue_agreement").picture.axes
    (axes,) = [
        axes
        for axes in drawn
        if axes.get_title(loc="left") == "feed-forward layers, 12 parts"
        and (axes.get_xlabel(), axes.get_ylabel()) == ("in example-immune", "in example-kidney")
    ]
    points = next(dots.get_offsets() for dots in axes.collections if dots.get_label().startswith("TFA"))
    for at, role in enumerate(("tissues[1]", "tissues[2]")):
        assert np.allclose(points[:, at], frame[frame["role"] == role]["mean"])
    rho = pd.DataFrame(points).corr(method="spearman").iloc[0, 1]
    assert axes.get_legend().get_texts()[0].get_text() == f"TFA to T1: {rho:.2f}*"
    assert "12 comparisons" in shown("tissue_agreement").drawing.alt
    assert "2 with q at most .05" in shown("tissue_agreement").drawing.alt


def test_pairs_in_one_tissue_only_are_no_points(face, tables, context):
    lone = tables["mediation_components"].query("role == 'tissues[1]'")
    words = face(figure("tissue_agreement"), {**tables, "mediation_components": lone}, context)
    assert words.count("(effects not stored)") == 12


def test_deletions_show_raw_and_adjusted_beside_the_paper(shown):
    seen = shown("deletion_agreement")
    rho = seen.picture.axes[-1]
    assert (
        "example-screen-2, 12 sources: raw: 0.200 (-0.100 to 0.500); confounds regressed out: 0.220" in seen.drawing.alt
    )
    assert sorted(x for x, _ in _stars(rho)) == [-0.325, 0.004, 0.112, 0.199, 0.269]
    (star,) = [place for x, place in _stars(rho) if x == 0.199]  # beside the adjusted value of the first screen
    assert [y for line in _line(rho, style.ORANGE, "D") for x, y in line.get_xydata() if np.isclose(x, 0.12)] == [star]
    assert "stars: published (scGPT 12-layer: Dixit 13-day, Dixit 7-day, Shifrut)" in seen.words


def test_screen_without_prediction_says_why(face, tables, context):
    pairs = tables["agreement_pairs"].assign(logit_change=np.nan)
    summary = tables["agreement_summary"].assign(rho=np.nan, reason="the release has no token head")
    words = face(figure("deletion_agreement"), {"agreement_pairs": pairs, "agreement_summary": summary}, context)
    assert words.count("the release has no token head") == 8
    assert words.count("no logit\nchange was\nread") == 4


def test_every_pair_over_all_cells_is_counted_once(shown, tables):
    edges = tables["ortholog_edges"].query("cells == 'all'")
    seen = shown("ortholog_conservation")
    assert (
        f"{len(edges):,} filtered pairs, rank correlation 0.743 over {len(edges):,} filtered pairs" in seen.drawing.alt
    )
    assert f"{len(edges):,} pairs with |rho| of 0.05 or more in both" in seen.words
    counts = np.histogram2d(edges["rho"], edges["rho_partner"], bins=panels.SQUARES)[0]
    assert f"darkest square: {int(counts.max())} pairs" in seen.words
    (image,) = seen.picture.axes[0].images
    assert (image.get_array()[..., 3] > 0).sum() == (counts > 0).sum()
    assert "anti-conserved 10%" in seen.drawing.alt


def test_sign_agreement_follows_the_bins(shown, tables):
    axes = _panel(shown("ortholog_conservation"), "Same sign")
    rows = tables["ortholog_sign_bins"].query("cells == 'all'")
    (line,) = _line(axes, style.BLUE, "o")
    assert np.allclose(line.get_ydata(), rows["sign_agreement"])
    assert _stars(axes) == [[5.0, 1.0]]
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert (ticks[0], ticks[-1]) == ("0\nto 0.05\n40k", "0.4\nto 1\n6,666")


def test_within_cell_types_is_optional(face, tables, context):
    kept = {key: frame[frame["cells"] == "all"] if "cells" in frame else frame for key, frame in tables.items()}
    words = face(figure("ortholog_conservation"), kept, context)
    assert "within cell types" not in words


def test_regulators_are_sorted_and_the_middle_is_said(shown, tables):
    seen = shown("regulator_conservation")
    left, right = seen.picture.axes
    known = tables["ortholog_per_tf"].query("cells == 'all'").dropna(subset="spearman")
    order = known.sort_values("spearman", ascending=False)
    labels = [label.get_text() for label in left.get_yticklabels()]
    expected = pd.concat([order.head(16), order.tail(16)])
    assert labels == [f"{tf} ({n:,})" for tf, n in zip(expected["tf"], expected["n_pairs"], strict=True)]
    assert sum(len(dots.get_offsets()) for dots in right.collections) == 39
    assert _stars(left) == [[0.90, 31.0]]  # XBP1 alone is among the example regulators
    assert "1 regulator has too few filtered pairs" in seen.drawing.alt


def test_lineages_stand_beside_chance_and_paper(shown):
    seen = shown("pseudotime_direction")
    rates = seen.picture.axes[0]
    assert [x for x, _ in _stars(rates)] == [0.214, 0.167, 0.133, 0.353]
    assert [x for line in _line(rates, style.MUTED, "D") for x in line.get_xdata()] == [0.06] * 4
    assert "example-t-cells (n = 18): 15% consistent, by chance shuffled 6% and random pairs 16%" in seen.drawing.alt
    assert "simulated data in this picture" in seen.words


def test_lag_curves_are_turned_to_the_expected_sign(shown, tables):
    axes = _panel(shown("pseudotime_direction"), "example-t-cells")
    assert axes.get_title(loc="left") == "example-t-cells\nTF3 to Y3, lag +2"
    lags = tables["pseudotime_lags"].query("role == 'trajectory[1]'")
    aligned = (lags["correlation"] * lags["expected_sign"]).groupby(lags["lag"]).mean()
    (mean,) = [line for line in axes.lines if line.get_color() == style.INK]
    assert np.allclose(mean.get_ydata(), aligned)
    (clearest,) = [line for line in _line(axes, style.BLUE, "None") if len(line.get_xdata()) == 21]
    own = lags[lags["tf"] == "TF3"]
    assert np.allclose(clearest.get_ydata(), own["correlation"] * own["expected_sign"])
    none = _panel(shown("pseudotime_direction"), "example-myeloid")
    assert none.get_title(loc="left").endswith("no consistent pair")


def test_real_lineages_are_not_called_simulated(face, tables, context):
    real = {k: f.assign(data_origin="real") if "data_origin" in f else f for k, f in tables.items()}
    for name in ("pseudotime_direction", "pseudotime_nulls"):
        assert "simulated" not in face(figure(name), real, context)


def test_null_draws_and_outcomes(shown, tables):
    seen = shown("pseudotime_nulls")
    draws = tables["pseudotime_draws"].query("scope == 'all' and statistic == 'mean_score' and null == 'shuffled'")
    assert f"null mean {draws['value'].mean():.3f}" in seen.drawing.alt
    assert "pseudotime shuffled (n = 60)" in seen.words
    bars = seen.picture.axes[-1]
    assert [round(patch.get_width() * 56) for patch in bars.patches] == [12, 24, 15, 3, 2]
    assert [round(x * 56) for x, _ in _stars(bars)] == [12, 26, 14, 3, 1]
    assert "both at once 24 (43%, shuffled 20%)" in seen.drawing.alt


def test_attention_is_mapped_once_a_data_set(shown, tables):
    seen = shown("attention_mapping")
    left, right = seen.picture.axes
    tissues = tables["attention_mapping"].query("quantity == 'co_expression'")
    drawn = [
        x
        for colour, mark in ((style.BLUE, "o"), (style.SKY, "s"))
        for line in _line(left, colour, mark)
        for x in line.get_xdata()
    ]
    mean_of_first = tissues.query("edge == 'attention_layer_mean' and role == 'tissues[1]'")["spearman"].item()
    assert drawn.count(0.36) == 2
    assert mean_of_first not in [
        x for line in _line(left, style.SKY, "s") for x, y in line.get_xydata() if abs(x - 0.3) < 1e-9
    ]
    assert "co-expression (|Spearman|): 0.300 to 0.360 (7 of 7 computed)" in seen.drawing.alt
    assert sorted(x for x, _ in _stars(left)) == [-0.02, 0.02, 0.31, 0.42]
    assert sorted(x for x, _ in _stars(right)) == [0.10, 0.18]


def test_no_contradicted_value_is_marked():
    assert figure("tissue_agreement").marks == ()
    assert 0.842 not in [mark.value for mark in figure("attention_mapping").marks]
    assert "NKX2-1" not in [mark.series for mark in figure("regulator_conservation").marks]
