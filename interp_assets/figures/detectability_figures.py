"""Figures of detectability theory: phase diagram, cells needed, projection and simulated boundaries (analysis 3).

Everything shown is closed form or simulated; every picture says so in its corner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import curves, shapes, style
from interp_assets.figures.curves import Curve
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.wording import count, number, share, short, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
NEAR_EQUAL = 1.25  # factor within which the table calls both kinds near equal
REGIMES = ("intervention better", "near equal", "attention better")
CLASSES = {
    "attention_like": ("attention-like", style.BLUE, "o"),
    "intervention_like": ("intervention-like", style.VERMILLION, "s"),
}
FAMILIES = {
    "gaussian": ("Gaussian", style.BLUE, "o"),
    "contaminated": ("contaminated", style.VERMILLION, "s"),
    "correlated": ("correlated", style.GREEN, "^"),
    "heteroskedastic": ("heteroskedastic", style.ORANGE, "D"),
    "student_t4": ("Student t, 4 df", style.PURPLE, "v"),
}
SCHEMES = {
    "edges_apart": ("edges apart", style.SKY, True),
    "edges_paired": ("edges in pairs", style.ORANGE, True),
    "groups": ("groups of edges (judged)", style.BLUE, False),
}


def detectability_phases(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Which kind of effect needs fewer cells, cells needed, and the role of tails (analysis 3; figure S8)."""
    grid = tables["detectability_grid"]
    wide = grid.pivot_table(index="effect_ratio", columns="noise_ratio", values="log2_ratio")
    if min(wide.shape) < 2 or not np.isfinite(wide.to_numpy()).all():
        raise NothingToDrawError(
            "detectability_grid: a phase diagram needs two effect ratios and two noise ratios or more, with no finite "
            "ratio missing"
        )
    figure = style.new_figure(5.0)
    places: list[Any] = [["phases", "cells"], ["phases", "tails"], ["bar", "tails"]]
    layout = figure.subplot_mosaic(places, width_ratios=[1.2, 1.0], height_ratios=[1.0, 0.65, 0.07])
    _phase_panel(figure, layout["phases"], layout["bar"], wide)
    cells = _cells_panel(layout["cells"], tables["detectability_cells"], context)
    tails = _tails_panel(layout["tails"], tables.get("detectability_tails"), context)
    style.frame(
        figure, "When do attention-like effects need fewer cells?", curves.simulated(context),
        "closed form; no data set and no model enters",
    )  # fmt: skip
    parts = [f"{share(float((grid['regime'] == name).mean()))} {name}" for name in REGIMES]
    return figure, f"Of the grid of effect and noise ratios: {', '.join(parts)}. {cells} {tails}"


def _phase_panel(figure: Figure, axis: Axes, below: Axes, wide: pd.DataFrame) -> None:
    across, up = wide.index.to_numpy(dtype=float), wide.columns.to_numpy(dtype=float)
    filled = curves.phases(axis, across, up, wide.to_numpy(dtype=float), NEAR_EQUAL)
    ticks = [value for value in (0.4, 0.8, 1.6, 3.2) if across[0] <= value <= across[-1]] or [across[0], across[-1]]
    curves.log_ticks(axis, ticks)
    curves.log_ticks(axis, [value for value in ticks if up[0] <= value <= up[-1]] or [up[0], up[-1]], "y")
    axis.set_xlabel("effect ratio, intervention over attention")
    axis.set_ylabel("noise ratio, intervention over attention")
    looks: dict[str, Any] = {"transform": axis.transAxes, "fontsize": 9, "fontweight": "bold", "color": "#ffffff"}
    axis.text(0.04, 0.95, "attention\nneeds fewer cells", va="top", **looks)
    axis.text(0.96, 0.05, "intervention\nneeds fewer cells", ha="right", **looks)
    axis.set_title("Regimes")
    bar = figure.colorbar(filled, cax=below, orientation="horizontal")
    bar.set_label(f"log2 of cells, intervention over attention\nsolid: equal · dotted: within a factor of {NEAR_EQUAL}")
    bar.ax.tick_params(labelsize=8)
    bar.set_ticks([tick for tick in (-6, -4, -2, 0, 2, 4, 6) if filled.levels[0] <= tick <= filled.levels[-1]])


def _cells_panel(axis: Axes, frame: pd.DataFrame, context: FigureContext) -> str:
    told = []
    for key, (name, colour, marker) in CLASSES.items():
        rows = frame[frame["effect_class"] == key].sort_values("tested_edges")
        one = Curve(
            label=f"{name} (effect {number(rows['effect'].iloc[0], 2)})" if len(rows) else name,
            x=curves.column(rows["tested_edges"]),
            y=curves.column(rows["cells_needed"]),
            colour=colour,
            marker=marker,
        )
        if not one.known:
            told.append(f"{name}: not computed")
            continue
        curves.curve(axis, one)
        at = zip(one.x, one.y, strict=True)
        told.append(f"{name}: {', '.join(f'{count(round(y))} for {count(x)} edges' for x, y in at)}")
    curves.stars_at(axis, context.published("cells"))
    if frame.empty or not np.isfinite(curves.column(frame["cells_needed"])).any():
        curves.in_words(axis, "cells needed: not computed")
    else:
        curves.log_ticks(axis, frame["tested_edges"].astype(float))
        axis.set_ylim(bottom=0)
        curves.legend(axis, 0.95)
        axis.set_title("Cells needed")
        axis.set_xlabel("edges tested (log scale)")
        axis.set_ylabel("cells")
    return f"Cells needed, {'; '.join(told)}."


def _tails_panel(axis: Axes, frame: pd.DataFrame | None, context: FigureContext) -> str:
    """Ratio of cells by the tail factor of the intervention class, which alone can remove its advantage."""
    if frame is None or not np.isfinite(curves.column(frame["ratio"])).any():
        curves.in_words(axis, "role of tails: not computed")
        return "The role of tails was not computed."
    told = []
    looks = ((style.INK, "o", False), (style.MUTED, "D", True))
    for (tail, rows), (colour, marker, dashed) in zip(frame.groupby("tail_attention", sort=True), looks, strict=False):
        rows = rows[rows["ratio"] <= 4.5].sort_values("tail_intervention")
        one = Curve(
            label=f"attention tail {float(str(tail)):g}",
            x=curves.column(rows["tail_intervention"]),
            y=curves.column(rows["ratio"]),
            colour=colour,
            marker=marker,
            dashed=dashed,
        )
        curves.curve(axis, one, 3.5)
        if len(rows):
            even = number(rows["break_even_tail"].iloc[0], 2)
            told.append(f"at {even} for an attention tail of {float(str(tail)):g}")
    axis.axhline(1.0, color=style.VERMILLION, linewidth=1, linestyle=(0, (4, 3)))
    curves.stars_at(axis, context.published("tails"))
    axis.set_title("Role of heavy tails")
    axis.set_xlabel("tail factor of intervention-like effects\ndashed: as many cells for both")
    axis.set_ylabel("ratio of cells")
    curves.legend(axis, 0.3)
    return f"The advantage of intervention is gone {', '.join(told)}."


def detectability_projection(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Projected ratio of cells, boundaries of detection, and what a robust mean adds (analysis 3; figure S9)."""
    histogram = tables["detectability_projection"]
    if not np.isfinite(curves.column(histogram["share"])).any():
        raise NothingToDrawError("detectability_projection has no finite share of draws")
    figure = style.new_figure(5.4)
    layout = figure.subplot_mosaic([["ratio", "boundary"], ["area", "boundary"]], width_ratios=[1.0, 1.15])
    sentences = [_histogram_panel(layout["ratio"], histogram, tables.get("detectability_projection_summary"))]
    sentences.append(_area_panel(layout["area"], tables.get("detectability_area"), context))
    sentences.append(_boundary_panel(layout["boundary"], tables["detectability_boundary"]))
    style.frame(
        figure, "How many cells does detection take?", curves.simulated(context),
        "simulated pilot and simulated noise; no data set and no model enters",
    )  # fmt: skip
    return figure, " ".join(sentences)


def _histogram_panel(axis: Axes, frame: pd.DataFrame, summary: pd.DataFrame | None) -> str:
    told = []
    by = {} if summary is None else {str(row["scheme"]): row for row in summary.to_dict("records")}
    for key, (name, colour, dashed) in SCHEMES.items():
        rows = frame[frame["scheme"] == key].sort_values("ratio_low")
        if rows.empty:
            continue
        edges = np.append(curves.column(rows["ratio_low"]), float(rows["ratio_high"].iloc[-1]))
        curves.histogram_steps(axis, edges, curves.column(rows["share"]), colour, name, dashed=dashed)
        row = by.get(key)
        if row is not None:
            told.append(
                f"{name}: median {number(row['median'])} ({number(row['ci_low'])} to {number(row['ci_high'])}), "
                f"{share(row['share_below_one'])} below 1"
            )
    axis.axvline(1.0, color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)))
    curves.log_ticks(axis, [0.1, 0.2, 0.5, 1.0, 2.0])
    axis.set_title("Projected ratio of cells")
    axis.set_xlabel("intervention over attention (dashed: equal)")
    axis.set_ylabel("share of draws")
    curves.legend(axis, 0.7)
    return f"Projected ratio of cells: {'; '.join(told) or 'summary not computed'}."


def _area_panel(axis: Axes, frame: pd.DataFrame | None, context: FigureContext) -> str:
    if frame is None or frame.empty:
        curves.in_words(axis, "detectable area: not computed")
        return "The detectable area was not computed."
    rows = {str(row["family"]): row for row in frame.to_dict("records")}
    names = [key for key in FAMILIES if key in rows]
    found = [
        shapes.Estimate(
            label=FAMILIES[key][0],
            value=shapes.finite(rows[key]["relative_change"]),
            colour=FAMILIES[key][1],
            marker=FAMILIES[key][2],
            note="the mean detects nothing",
        )
        for key in names
    ]
    shapes.forest(axis, found)
    places = {key: len(names) - 1 - number for number, key in enumerate(names)}
    marks = [(mark.value, places[mark.series]) for key in names for mark in context.published(key)]
    shapes.published_marks(axis, marks)
    axis.axvline(0, color=style.MUTED, linewidth=0.8)
    axis.set_title("Gain by a robust mean")
    axis.set_xlabel(f"relative change of the detectable area\n{'star: published' if marks else ''}")
    return f"Change of the detectable area with a robust mean: {'. '.join(map(shapes.interval_words, found))}."


def _boundary_panel(axis: Axes, frame: pd.DataFrame) -> str:
    """Smallest number of cells that detects, by effect; where none of the grid does, the mark is left out and told."""
    missing = int(np.isnan(curves.column(frame["boundary_cells"])).sum())
    for key, (name, colour, marker) in FAMILIES.items():
        for estimator, hollow in (("mean", False), ("huber", True)):
            rows = frame[(frame["family"] == key) & (frame["estimator"] == estimator)].sort_values("effect")
            one = Curve(
                label=name if not hollow else "_robust",
                x=curves.column(rows["effect"]),
                y=curves.column(rows["boundary_cells"]),
                colour=colour,
                marker=marker,
                dashed=hollow,
                hollow=hollow,
            )
            if one.known:
                curves.curve(axis, one, 4.0)
    theory = frame[(frame["family"] == "gaussian") & (frame["estimator"] == "mean")].sort_values("effect")
    axis.plot(
        curves.column(theory["effect"]), curves.column(theory["theory_cells"]), color=style.MUTED, linewidth=1,
        linestyle=":", label="n* of the formula, Gaussian",
    )  # fmt: skip
    curves.log_ticks(axis, frame["effect"].astype(float))
    curves.log_ticks(axis, [50, 100, 200, 500, 1000, 2000, 5000, 10_000], "y")
    axis.set_title("Smallest number of cells that detects")
    axis.set_xlabel(
        "effect size (log scale)\nfilled: mean, hollow: robust mean (Huber)\n"
        f"detects: true positives .8 or more, false .1 or less\nsimulations a point: {span(frame['seeds'])}"
    )
    axis.set_ylabel("cells (log scale)")
    curves.legend(axis, 0.16, loc="upper right")
    known = len(frame) - missing
    most = count(frame["most_cells"].max()) if len(frame) else short("", 1)
    return f"Boundaries: {known} of {len(frame)} settings are detected with at most {most} cells."
