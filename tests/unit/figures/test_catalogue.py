"""The figure catalogue: every figure from tables, none without, same bytes on a rerun."""

import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context

from interp_assets.analyses import catalogue as analyses
from interp_assets.figures import style
from interp_assets.figures.catalogue import CATALOGUE, draw, figure
from interp_assets.figures.entries import entries
from interp_assets.figures.records import Drawing, FigureSkipped

IDS = [spec.figure_id for spec in CATALOGUE]


def _picture(spec, tables, context):
    with rc_context(style.RC):
        return spec.draw(tables, context)


def test_ids_are_unique():
    assert len(set(IDS)) == len(IDS)
    assert len({style.id_prefix(name) for name in IDS}) == len(IDS)


def test_every_analysis_behind_a_published_figure_is_drawn():
    wanted = {number for entry in entries() if entry.kind != "table" for number in entry.analyses}
    drawn = {number for spec in CATALOGUE if spec.published for number in spec.analyses}
    assert wanted - drawn == set()
    assert wanted == {row.number for row in analyses.CATALOGUE}


def test_unknown_figure_names_the_known_ones():
    with pytest.raises(ValueError, match=r"no figure 'violin'.*degree_null"):
        figure("violin")


@pytest.mark.parametrize("name", IDS)
def test_drawing_is_stable_small_and_described(name, shown, redrawn):
    first, second = shown(name), redrawn(name)
    drawing = first.drawing
    assert isinstance(drawing, Drawing)
    assert drawing.svg == second.drawing.svg
    # Regression: edges of panels lie where pixels end, and a last digit moved them: another PNG from another process.
    assert [axis.get_position(original=True).bounds for axis in first.picture.axes] == [
        axis.get_position(original=True).bounds for axis in second.picture.axes
    ]
    assert drawing.png.startswith(b"\x89PNG")
    assert len(drawing.png) < style.PNG_LIMIT
    assert drawing.alt == second.drawing.alt
    assert drawing.alt.startswith("The claim is closed (refuted (semi-synthetic)). ")
    assert re.search(r"\d", drawing.alt) or name == "criteria_summary"


@pytest.mark.parametrize("name", ["criteria_summary", "detectability_phases", "layer_profile"])
def test_png_bytes_are_stable(name, shown, redrawn):
    assert redrawn(name, png=True).drawing.png == shown(name).drawing.png


@pytest.mark.parametrize("name", IDS)
def test_svg_stands_alone(name, shown):
    text = shown(name).drawing.svg.decode()
    root = ElementTree.fromstring(text)
    assert root.attrib["role"] == "img"
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert all(each.startswith(f"{style.id_prefix(name)}-") for each in ids)
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert used
    assert {a or b for a, b in used} <= set(ids)
    assert not re.search(r"<metadata|<!--|<!DOCTYPE|<\?xml|\d{4}-\d{2}-\d{2}", text)


@pytest.mark.parametrize("name", IDS)
def test_no_word_leaves_the_picture(name, shown, beyond_the_edge):
    assert beyond_the_edge(shown(name).picture) == []


@pytest.mark.parametrize("spec", CATALOGUE, ids=IDS)
def test_face_says_closed_origin_release_and_study(spec, shown, face, tables, context):
    closed = shown(spec.figure_id).words
    assert "CLAIM CLOSED · refuted (semi-synthetic)" in closed
    assert "semi-synthetic outcomes on real cells" in closed
    assert "geneformer-small-2k (small model) · study demo" in closed
    opened = replace(context, closed=False, verdict_state="supported", data_origin="real", release="big-model")
    words = face(spec, tables, opened)
    assert "CLOSED" not in words
    assert "real outcomes on real cells" in words
    assert "small model" not in words


@pytest.mark.parametrize("spec", CATALOGUE, ids=IDS)
def test_missing_or_empty_table_is_skipped_with_its_name(spec, tables, context):
    for name in spec.tables:
        absent = {key: frame for key, frame in tables.items() if key != name}
        result = draw(spec, absent, context)
        assert isinstance(result, FigureSkipped)
        assert name in result.reason
        empty = draw(spec, {**tables, name: tables[name].iloc[:0]}, context)
        assert isinstance(empty, FigureSkipped)
        assert f"{name} has no rows" in empty.reason


@pytest.mark.parametrize("spec", [s for s in CATALOGUE if s.extra_tables], ids=lambda s: s.figure_id)
def test_extra_tables_are_optional(spec, sketch, tables, context):
    needed = {name: tables[name] for name in spec.tables}
    assert isinstance(sketch(spec, needed, context), Drawing)


def test_nothing_finite_is_skipped_not_drawn_empty(tables, context):
    frame = tables["perturbation_auroc"].assign(auroc=np.nan)
    result = draw(figure("perturbation_auroc"), {"perturbation_auroc": frame}, context)
    assert isinstance(result, FigureSkipped)
    assert "no finite AUROC" in result.reason


def test_hostile_names_stay_text(tables, context):
    evil = "<script>alert('$x$')</script>"
    renamed = {name: frame.assign(dataset=evil) if "dataset" in frame else frame for name, frame in tables.items()}
    criteria = tables["criteria"].assign(reason=evil)
    for name in ("criteria_summary", "layer_profile", "evaluable_flow"):
        drawing = draw(figure(name), {**renamed, "criteria": criteria}, replace(context, release=evil))
        assert isinstance(drawing, Drawing)
        assert b"<script" not in drawing.svg
    assert b"&lt;script&gt;" in drawing.svg


def test_perturbation_auroc_words_equal_the_table(words_on, tables, context):
    frame = tables["perturbation_auroc"]
    picture, alt = _picture(figure("perturbation_auroc"), tables, context)
    expected = frame[(frame["subset"] == "all") & (frame["score"] == "attention")]["auroc"].mean()
    assert f"Attention {expected:.3f} (n = 97)" in alt
    assert f"{expected:.3f}" in words_on(picture)
    assert "Attention  (n = 97)" in words_on(picture)


def test_other_roles_do_not_enter_the_primary_picture(shown, vector, tables, context):
    frame = tables["layer_profile"]
    other = frame.assign(role="other_line_screen", mean_auroc=0.01)
    both = {**tables, "layer_profile": pd.concat([other, frame])}
    drawing = vector(figure("layer_profile"), both, context).drawing
    assert (drawing.svg, drawing.alt) == (shown("layer_profile").drawing.svg, shown("layer_profile").drawing.alt)


def test_many_perturbations_become_densities_and_stay_small(tables, context):
    frame = tables["perturbation_auroc"]
    rng = np.random.default_rng(3)
    many = pd.concat([frame.assign(auroc=rng.uniform(0.2, 0.9, len(frame))) for _ in range(12)])
    drawing = draw(figure("perturbation_auroc"), {"perturbation_auroc": many}, context)
    assert len(drawing.svg) < 400_000
    assert "(n = 1164)" in drawing.alt


def test_paired_difference_is_edge_minus_baseline(tables, context):
    _, alt = _picture(figure("paired_differences"), tables, context)
    assert "variance (n = 97): -0.324 (-0.344 to -0.304)" in alt
    assert "Correlation (n = 97): -0.095 (-0.120 to -0.070)" in alt


def test_missing_gain_is_named_not_zero(words_on, tables, context):
    frame = tables["incremental_value"].copy()
    gap = (frame["edge"] == "attention") & (frame["split"] == "joint") & (frame["learner"] == "boosting")
    frame.loc[gap, ["delta", "ci_low", "ci_high"]] = np.nan
    picture, alt = _picture(figure("incremental_value"), {"incremental_value": frame}, context)
    assert words_on(picture).count("not computed") == 3
    assert "0 of 6 intervals of attention" in alt
    dropped = _picture(figure("incremental_value"), {"incremental_value": frame[~gap]}, context)[0]
    assert words_on(dropped).count("not computed") == 3


def test_null_that_cannot_be_judged_says_why(words_on, tables, context):
    frame = tables["degree_null"].copy()
    rows = frame["null"] == "curveball"
    frame.loc[rows, ["z", "degree_part"]] = np.nan
    frame.loc[rows, "reason"] = "fewer than 2 tradeable regulators"
    picture, alt = _picture(figure("degree_null"), {**tables, "degree_null": frame}, context)
    assert "z not evaluable\nfewer than 2 tradeable\nregulators" in words_on(picture)
    assert "Decomposition, planted: not evaluable" in alt


def test_draws_that_are_all_equal_leave_room_for_the_reason(words_on, tables, context):
    """Regression: on one line the reason took all room, and the picture of a constant score was not laid out."""
    frame, draws = tables["degree_null"].assign(observed=0.5, null_mean=0.5, z=np.nan), tables["degree_null_draws"]
    frame["reason"] = "the null has standard deviation 0.0e+00, below 1e-04: it cannot move this score"
    equal = {"degree_null": frame, "degree_null_draws": draws.assign(auroc=0.5)}
    picture, alt = _picture(figure("degree_null"), equal, context)
    picture.get_layout_engine().execute(picture)  # warns where the axes have no room, which is an error here
    assert words_on(picture).count("z not evaluable\nthe null has standard\ndeviation 0.0e+00") == 2
    assert frame["reason"].iloc[0] in alt


def test_a_long_closed_mark_ends_inside_the_picture(beyond_the_edge, words_on, tables, context):
    """Regression: with the reason behind the state the mark ran off the right edge."""
    why = "not evaluable: no real perturbation outcomes in this study"
    told = replace(context, closed=True, verdict_state=why)
    picture, _ = _picture(figure("degree_null"), tables, told)
    with rc_context(style.RC):
        style.settle(picture)
    assert beyond_the_edge(picture) == []
    assert "this picture does not support the claim" in " ".join(words_on(picture).split())


def test_share_off_scale_is_written(words_on, tables, context):
    frame = tables["residual_summary"].copy()
    frame.loc[0, ["kept", "kept_ci_low", "kept_ci_high"]] = [-41.0, -60.0, 10.0]
    picture, alt = _picture(figure("residual_retention"), {"residual_summary": frame}, context)
    assert "off scale: -41.0" in words_on(picture)
    assert "kept -41.000" in alt


def test_drawing_uses_no_pyplot_and_import_no_matplotlib():
    code = (
        "import sys; from interp_assets.figures import catalogue; "
        "assert 'matplotlib' not in sys.modules; "
        "from interp_assets.figures import style; style.new_figure(2.0); "
        "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
