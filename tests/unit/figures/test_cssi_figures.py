"""Figures of strata: ratios, null draws and calls against the tables; simulated and real cells told apart."""

import numpy as np

from interp_assets.figures.catalogue import figure


def _line(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def _panel(shown, title):
    return next(axes for axes in shown.picture.axes if axes.get_title(loc="left") == title)


def test_ratio_of_every_kind_of_strata_is_drawn(shown, tables):
    axes = _panel(shown("cssi_dilution"), "By number of strata")
    scan = tables["cssi_k_scan"].query("aggregator == 'max'")
    for kind, label in (
        ("oracle", "known states"),
        ("shuffled", "labels shuffled"),
        ("gene_permuted", "genes permuted"),
    ):
        rows = scan[scan["strata"] == kind].sort_values("k")
        assert np.allclose(_line(axes, label).get_ydata(), rows["f1_ratio"])
    best = scan[scan["strata"] == "oracle"].set_index("k")["f1_ratio"]
    assert f"known states {best.max():.2f} at {best.idxmax()}" in shown("cssi_dilution").drawing.alt
    assert "Not run, too few cells a stratum: 31 strata." in shown("cssi_dilution").drawing.alt


def test_published_f1_stands_above_its_configuration(shown):
    axes = _panel(shown("cssi_dilution"), "Best stratum, by number of states")
    (stars,) = [line for line in axes.lines if line.get_marker() == "*"]
    at_six = [y for x, y in zip(stars.get_xdata(), stars.get_ydata(), strict=True) if x == 2]
    assert at_six == [0.486, 0.900]  # row 600/6, third place; 1000/10 and 1500/12 are not among the computed ones
    assert len(stars.get_xdata()) == 8


def test_real_attention_changes_what_the_corner_says(shown, face, tables, context):
    assert "simulated cells, except the panel on real attention" in shown("cssi_dilution").words
    assert "simulated data in this picture" not in shown("cssi_dilution").words
    alone = {key: tables[key] for key in ("cssi_summary", "cssi_k_scan")}
    words = face(figure("cssi_dilution"), alone, context).replace("\n", " ")
    assert "simulated data in this picture; evaluation: semi-synthetic outcomes on real cells" in words
    assert "real attention: not scanned in this evaluation" in words
    assert "dilution of a pooled correlation: not computed" in words


def test_dilution_line_is_the_formula_and_marks_the_cells(shown, tables):
    axes = _panel(shown("cssi_dilution"), "Pooling dilutes an edge")
    rows = tables["cssi_dilution"].query("shift == 0").sort_values("share")
    assert np.allclose(axes.lines[0].get_ydata(), rows["expected"])
    assert np.allclose(_line(axes, "same means in all states").get_ydata(), rows["simulated"])


def test_null_draws_carry_the_pooled_auroc(shown, tables):
    draws = tables["cssi_null_draws"].query("strata == 'random'")["gain"]
    alt = shown("cssi_null_stress").drawing.alt
    assert f"random labels {0.864 + draws.mean():.3f} (n = 20)" in alt
    assert "known states 0.981 (n = 1)" in alt
    assert "best of 21 choices" in alt
    assert "With 6 strata and no choice" in alt


def test_stars_of_null_ranges_have_both_ends(shown):
    (stars,) = [line for line in shown("cssi_null_stress").picture.axes[0].lines if line.get_marker() == "*"]
    assert sorted(stars.get_xdata()) == [0.4, 0.4, 0.4, 0.6, 0.6, 0.6, 0.95, 1.0]


def test_kinds_without_draws_are_left_out(face, tables, context):
    draws = tables["cssi_null_draws"].query("strata != 'gene_permuted'")
    words = face(figure("cssi_null_stress"), {**tables, "cssi_null_draws": draws}, context)
    assert "genes permuted" not in words
    assert "random labels  (n = 20)" in words


def test_calls_are_those_of_real_strata(shown, tables):
    scan = tables["cssi_k_scan"].query("aggregator == 'max' and strata == 'estimated'").sort_values("k")
    drawn = _line(_panel(shown("cssi_k_scan"), "Power: share of true edges called"), "estimated strata")
    assert np.allclose(drawn.get_ydata(), scan["power"])
    assert "pooled cells 0.29" in shown("cssi_k_scan").drawing.alt


def test_calls_without_numbers_are_said(face, tables, context):
    scan = tables["cssi_k_scan"].assign(false_share=np.nan)
    words = face(figure("cssi_k_scan"), {"cssi_k_scan": scan}, context)
    assert "False share of called edges: not computed" in words.replace("\n", " ")
