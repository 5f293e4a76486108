"""Figures of confounds, layers and several screens: words equal the tables, gaps are said, odd tables survive."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.text import Text

from interp_assets.figures import shapes, style, wording
from interp_assets.figures.catalogue import draw, figure
from interp_assets.figures.records import Drawing, FigureSkipped, NothingToDrawError

NEW = (
    "covariate_explanation",
    "circularity",
    "per_regulator",
    "layer_choice",
    "tf_strata",
    "propensity_matching",
    "screens_compared",
    "screens_reach",
    "null_calibration",
    "own_gene_change",
)
NAMES = ("dataset", "reference", "regulator", "test", "catalogue", "perturbation", "note", "reason")


def _drawn(name, tables, context):
    """Figure, its words and its alt text, laid out as for export."""
    with rc_context(style.RC):
        picture, alt = figure(name).draw(tables, context)
        style.settle(picture)
    words = "\n".join(item.get_text() for item in picture.findobj(Text) if item.get_visible())
    return picture, words, alt


def _numbers_missing(frame):
    floats = frame.select_dtypes("floating").columns
    return frame.assign(**dict.fromkeys(floats, np.nan))


@pytest.mark.parametrize("name", NEW)
def test_one_row_is_enough(name, sketch, tables, context):
    spec = figure(name)
    one = {key: tables[key].iloc[:1] for key in spec.tables}
    if name == "layer_choice":
        one = {key: frame.assign(chosen=True) for key, frame in one.items()}
    if name == "screens_compared":
        assert "1 screen has scored perturbations" in draw(spec, one, context).reason
    else:
        assert isinstance(sketch(spec, one, context), Drawing)


@pytest.mark.parametrize("name", NEW)
def test_no_finite_number_is_a_reason_or_is_said(name, sketch, tables, context):
    spec = figure(name)
    result = sketch(spec, {key: _numbers_missing(tables[key]) for key in spec.tables}, context)
    if isinstance(result, FigureSkipped):
        assert re.search(r"no finite|no layer|no screen|no perturbation", result.reason)
    else:
        assert re.search(r"no number|not computed|–|in reach", result.alt)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize(
    "evil",
    ['<script>alert("$x$")</script> & "q" \'s\' ß-катенин π₁ ≤ ½ a\nb\tc', "x" * 3000],
    ids=["markup", "long"],
)
def test_hostile_names_stay_text(name, evil, vector, beyond_the_edge, tables, context):
    spec = figure(name)
    used = {}
    for key in (*spec.tables, *spec.extra_tables):
        frame = tables[key].copy()
        for column in set(NAMES) & set(frame):
            first = frame[column] == frame[column].iloc[0]
            frame[column] = frame[column].where(~first, evil)
        used[key] = frame
    found = vector(spec, used, context)
    drawing, picture = found.drawing, found.picture
    assert isinstance(drawing, Drawing)
    assert b"<script" not in drawing.svg
    assert len(drawing.alt) < 20_000
    if len(evil) < 1000:
        return
    width = picture.canvas.get_width_height()[0]
    assert beyond_the_edge(picture) == []
    assert all(axes.get_window_extent().width > 0.06 * width for axes in picture.axes)


def test_covariates_tell_fold_groupings_apart(tables, context):
    picture, words, alt = _drawn("covariate_explanation", tables, context)
    assert "Attention · OLS: folds by target gene: 0.210 (0.160 to 0.260)" in alt
    assert "folds by pair (leaks which gene it is): 0.300" in alt
    assert "95% interval over 1,014 target genes, 20,000 pairs" in words
    filled = {line.get_markerfacecolor() for line in picture.axes[0].lines if line.get_marker() == "o"}
    hollow = {line.get_markerfacecolor() for line in picture.axes[0].lines if line.get_marker() == "s"}
    assert hollow == {style.PAPER}
    assert style.PAPER not in filled
    assert "Attention (" not in words  # attention has one variant, which needs no name


def test_stratum_without_number_says_why(tables, context):
    _, words, alt = _drawn("tf_strata", tables, context)
    assert "3 perturbations cannot fill 5 folds" in words.replace("\n", " ")
    assert "TF, attention: no number (example-screen: 3 perturbations cannot fill 5 folds" in alt
    assert "gain -0.0004 (-0.0024 to 0.0016; 94 perturbations), equivalent to none" in alt
    assert "gain +0.0045 (0.0025 to 0.0065; 94 perturbations), equivalence to none not shown" in alt
    assert "equivalence margin of 0.005" in words


def test_missing_equivalence_is_not_equivalence(tables, context):
    frame = tables["tf_strata"].assign(equivalent=np.nan)
    assert "equivalent to none" not in _drawn("tf_strata", {"tf_strata": frame}, context)[2]


def test_imbalance_stands_on_the_face(beyond_the_edge, tables, context):
    _, words, alt = _drawn("propensity_matching", tables, context)
    assert "NOT BALANCED: Perturbations that change the target" in words
    assert "are not balanced" in alt
    assert "1.310 before, 0.174 after" in alt
    none = tables["matched_balance"].assign(balanced=False)
    picture, words, _ = _drawn("propensity_matching", {**tables, "matched_balance": none}, context)
    assert "NOT BALANCED: 4 of 4 covariates" in words
    assert beyond_the_edge(picture) == []
    even = tables["matched_balance"].assign(smd_distinct=0.02, balanced=True)
    _, words, alt = _drawn("propensity_matching", {**tables, "matched_balance": even}, context)
    assert "NOT BALANCED" not in words
    assert "are balanced" in alt


def test_infinite_difference_is_said(tables, context):
    frame = tables["matched_balance"].copy()
    frame.loc[0, "smd_distinct"] = np.inf
    _, words, alt = _drawn("propensity_matching", {**tables, "matched_balance": frame}, context)
    assert "after matching, distinct pairs: not a finite number" in words
    assert "0.920 before, ∞ after" in alt


def test_circularity_names_sizes(tables, context):
    _, words, alt = _drawn("circularity", tables, context)
    assert "Attention · direction known, 402 pairs, 51 regulators: 0.580 (0.540 to 0.620)" in alt
    per = tables["circularity_per_regulator"]
    mean = per[(per["edge"] == "attention") & (per["subset"] == "all")]["auroc"].mean()
    assert f"Attention · all entries {mean:.3f} (n = 63)" in alt
    assert "hollow: mean and middle 95% of random parts" in words


def test_regulators_beyond_the_shown_are_summarised(tables, context):
    frame = tables["per_regulator"]
    _, words, alt = _drawn("per_regulator", tables, context)
    same = frame[(frame["reference"] == "example-chip") & (frame["edge"] == "attention")]
    single = same[same["method"] == "exact rank"]
    above = int(same.loc[same["method"] == "bootstrap", "above_chance"].sum())
    mean = single["auroc"].mean()
    assert f"not shown: 14 regulators with 1 target, mean AUROC {mean:.3f}" in words
    assert f"{above} of 30 regulators with two or more targets have an interval above .5" in alt
    assert "of 14 with a single target have an exact p below .05" in alt
    assert "Example-curated: " in alt
    assert words.count("REG") == 30


def test_single_targets_have_no_interval(tables, context):
    frame = tables["per_regulator"]
    few = frame[frame["n_targets"] <= 2].assign(ci_low=0.2, ci_high=0.9)
    picture, words, _ = _drawn("per_regulator", {"per_regulator": few}, context)
    single = few[(few["edge"] == "attention") & (few["reference"] == "example-chip") & (few["n_targets"] == 1)]
    assert "single target, exact rank, no interval" in words
    diamonds = [line for line in picture.axes[0].lines if line.get_marker() == "D" and len(line.get_xdata())]
    bars = [line for line in picture.axes[0].lines if len(line.get_xdata()) == 2 and line.get_color() == style.PURPLE]
    assert len(diamonds) == len(single)
    assert not bars


def test_layer_choice_marks_both_profiles(tables, context):
    picture, words, alt = _drawn("layer_choice", tables, context)
    assert len(picture.axes) == 2
    assert "chosen here: layer 4, 0.580" in words
    assert "frozen layer: layer 4, 0.570" in words
    assert "the highest, layer 3, has 0.575" in alt
    assert "F1 would choose layer 6." in alt
    same = {**tables, "layer_choice": tables["layer_choice"].assign(same_cells=True)}
    _, words, alt = _drawn("layer_choice", same, context)
    assert "CHOSEN ON THE EVALUATED CELLS" in words
    assert "chosen on the evaluated cells" in alt


def test_screens_rank_on_common_ground(tables, context):
    frame = tables["screen_scores"].copy()
    own = frame["basis"] == "own"
    frame.loc[own & (frame["dataset"] != "example-thp1"), "mean_auroc"] = 0.111
    _, words, alt = _drawn("screens_compared", {"screen_scores": frame}, context)
    assert "0.111" not in alt
    assert "example-screen (97 perturbations): attention 0.560, best pairwise (Rank distance) 0.710" in alt
    assert "example-thp1 (24 perturbations; no perturbed gene is scored)" in alt
    assert "no perturbed gene scored: gene-level only" in words
    assert "CRISPRi · scores of other cells\n180 perturbations\n180,000 pairs" in words


def test_one_screen_is_no_comparison(tables, context):
    frame = tables["screen_scores"]
    one = frame[frame["dataset"] == "example-screen"]
    with pytest.raises(NothingToDrawError, match="1 screen has scored perturbations; a comparison needs at least 2"):
        figure("screens_compared").draw({"screen_scores": one}, context)


def test_reach_is_the_share_of_listed_pairs(tables, context):
    frame = tables["screen_evaluability"].copy()
    frame.loc[frame["dataset"] == "example-thp1", "pairs_listed"] = 0
    _, words, alt = _drawn("screens_reach", {"screen_evaluability": frame}, context)
    assert "example-screen, 116,400 pairs listed: gene-level 100% (87 scorable perturbations)" in alt
    assert "58% · n = 50" in words
    assert "3 screens · 1 without a listed pair" in words


def test_many_screens_and_vocabularies_stay_readable(tables, context):
    for name, column in (("screens_reach", "screen_evaluability"), ("screens_compared", "screen_scores")):
        frame = tables[column]
        many = pd.concat([frame.assign(dataset=frame["dataset"] + f"-{copy}") for copy in range(4)])
        if name == "screens_reach":
            more = [frame.assign(score=f"model_{i}_vocabulary") for i in range(4)]
            many = pd.concat([many, *more])
        drawing = draw(figure(name), {column: many}, context)
        assert isinstance(drawing, Drawing)
        assert len(drawing.png) < style.PNG_LIMIT
        assert len(drawing.svg) < 700_000


def test_calibration_says_share_and_verdict(tables, context):
    _, words, alt = _drawn("null_calibration", tables, context)
    assert "19.0% below .05\nNOT UNIFORM" in words
    assert "Bootstrap of the gain: 19.0% of 200 below .05, KS distance 0.210 (limit 0.096), not uniform" in alt
    alone = {"null_calibration": tables["null_calibration"]}
    _, words, alt = _drawn("null_calibration", alone, context)
    assert "uniformity not judged" in words
    gain = alone["null_calibration"].query("test == 'Bootstrap of the gain'")["p"]
    assert f"Bootstrap of the gain: {(gain < 0.05).mean():.1%} of 200 below .05" in alt


def test_tests_beyond_the_drawn_are_counted(tables, context):
    frame = tables["null_calibration"].query("replicate < 20")
    many = pd.concat([frame.assign(test=frame["test"] + f" {copy}") for copy in range(7)])
    _, words, alt = _drawn("null_calibration", {"null_calibration": many}, context)
    assert "16 further tests not drawn" in words
    assert alt.count("below .05") == 24
    assert "Of 4 further tests, 0 are not uniform." in alt


def test_guides_as_they_are_stand_in_the_same_panel(tables, context):
    frame = tables["null_calibration"].assign(analysis="22", labels="welch", genes="detected", assignment="shuffled")
    frame["scores"] = frame["test"]
    real = frame.query("replicate < 20").assign(assignment="observed", p=0.01)
    real["test"] += " (guides as they are)"
    rare = frame.assign(genes="all")
    rare["test"] += " (rare genes too)"
    picture, words, alt = _drawn("null_calibration", {"null_calibration": pd.concat([frame, real, rare])}, context)
    assert words.count("as they are: 100.0%") == 4
    assert "4 further tests not drawn" in words
    assert "with guides as they are 100.0% (uniformity not judged)" in alt
    dashed = [line for axes in picture.axes for line in axes.lines if line.is_dashed()]
    assert len(dashed) == 4


def test_test_without_distance_is_not_called_skewed(tables, context):
    summary = tables["null_calibration_summary"].assign(ks=np.nan, uniform=False)
    _, words, alt = _drawn("null_calibration", {**tables, "null_calibration_summary": summary}, context)
    assert "NOT UNIFORM" not in words
    assert alt.count("not evaluable") == 4


def test_uniform_band_equals_order_statistics():
    picture = style.new_figure(2.0)
    axes = picture.subplots()
    values = np.random.default_rng(5).uniform(size=40)
    shapes.uniform_quantiles(axes, values, style.BLUE)
    band = axes.collections[0].get_paths()[0].vertices
    draws = np.sort(np.random.default_rng(6).uniform(size=(20_000, 40)), axis=1)
    low, high = np.quantile(draws[:, 19], [0.025, 0.975])
    at = np.isclose(band[:, 0], 20 / 41)
    assert np.allclose(sorted(set(band[at, 1].round(9))), [low, high], atol=0.01)
    assert np.allclose(axes.lines[1].get_ydata(), np.sort(values))


def test_own_change_is_counted_by_agreement(tables, context):
    _, words, alt = _drawn("own_gene_change", tables, context)
    rows = tables["modality_audit"].query("dataset == 'example-screen'")
    counts = rows["agrees"].value_counts()
    assert f"{counts['yes']} as expected, {counts['undecided']} no clear change and {counts['no']} against" in alt
    assert "CRISPRa: up expected" in words
    as_bool = tables["modality_audit"].assign(agrees=lambda frame: frame["agrees"] == "yes")
    assert "0 no clear change" in _drawn("own_gene_change", {"modality_audit": as_bool}, context)[2]


def test_many_perturbations_of_one_screen_become_densities(tables, context):
    frame = tables["modality_audit"]
    rng = np.random.default_rng(3)
    many = pd.concat([frame.assign(lfc=frame["lfc"] + rng.normal(0, 0.1, len(frame))) for _ in range(20)])
    drawing = draw(figure("own_gene_change"), {"modality_audit": many}, context)
    assert len(drawing.svg) < 300_000
    assert "1,940 perturbations" in drawing.alt


def test_new_score_and_subset_enter_the_older_figures(tables, context):
    _, words, alt = _drawn("perturbation_auroc", tables, context)
    assert "Negatives of like mean expression only" in words
    assert "Target DE rate elsewhere" in alt
    _, _, alt = _drawn("paired_differences", tables, context)
    assert "DE rate elsewhere (n = 97): -0.345 (-0.365 to -0.325)" in alt
    assert set(wording.SCORE_LABELS) == set(style.SCORE_COLOURS) == set(style.LEVEL_MARKERS)


def test_levels_are_told_apart_by_shape_too():
    assert len(set(style.LEVEL_MARKERS.values())) == len(style.LEVEL_MARKERS)


@pytest.mark.parametrize(
    ("part", "text"), [(0.0, "0%"), (1.0, "100%"), (0.999, ">99%"), (0.004, "<1%"), (0.5, "50%"), (np.nan, "–")]
)
def test_share_is_never_rounded_to_nothing_or_all(part, text):
    assert wording.share(part) == text
