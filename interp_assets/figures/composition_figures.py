"""Figure of controlled composition: number of cells and number of cell types varied apart (analysis 13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp_assets.figures import curves, shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.wording import count, short, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
EDGES = {
    "attention_layer_mean": ("Attention", style.BLUE, "o"),
    "correlation": ("Correlation", style.VERMILLION, "s"),
}
METRICS = {"auroc": "AUROC", "f1": "F1 of kept edges"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to draw cells: what varies along the horizontal axis, and the metric its published trend speaks of."""

    arm: str
    against: str
    metric: str
    title: str
    axis: str
    trend: str
    lane: str


ARMS = (
    Arm(
        arm="fixed_shares",
        against="cells",
        metric="auroc",
        title="Shares of cell types fixed",
        axis="number of cells (log scale)",
        trend="AUROC with cells, shares of types fixed",
        lane="AUROC with cells,\nshares fixed",
    ),
    Arm(
        arm="fixed_cells",
        against="observed_types",
        metric="auroc",
        title="Number of cells fixed",
        axis="number of cell types",
        trend="AUROC with types, number of cells fixed",
        lane="AUROC with types,\ncells fixed",
    ),
    Arm(
        arm="random_draw",
        against="observed_types",
        metric="f1",
        title="Random draws",
        axis="number of cell types met",
        trend="F1 with types, random draws",
        lane="F1 with types,\nrandom draws",
    ),
)


def composition(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Recovery by number of cells and by number of types, and the rank correlations (analysis 13; figure S5)."""
    runs = tables["composition_runs"]
    known = [arm for arm in ARMS if np.isfinite(curves.column(_of(runs, arm)[arm.metric])).any()]
    if not known:
        raise NothingToDrawError("composition_runs has no finite AUROC and no finite F1 in any way of drawing cells")
    figure = style.new_figure(5.9)
    axes = figure.subplots(2, 2).ravel()
    for axis, arm in zip(axes, ARMS, strict=False):
        _scatter(axis, _of(runs, arm), arm)
    rows = _trends(tables["composition_trends"])
    lanes = [shapes.Lane(label=arm.lane, marks=rows[arm.arm]) for arm in ARMS]
    shapes.lanes(axes[3], lanes, fontsize=7.5)
    places = dict(zip(rows, axes[3].get_yticks(), strict=True))
    shapes.published_marks(axes[3], [(mark.value, places[key]) for key in rows for mark in context.published(key)])
    axes[3].axvline(0, color=style.MUTED, linewidth=0.8)
    axes[3].set_xlim(-1.05, 1.05)
    axes[3].set_title("Rank correlation over runs")
    stars = "\nstars: published" if context.marks else ""
    axes[3].set_xlabel(f"Spearman rho, 95% interval over runs{stars}")
    reference = short(runs["reference"].iloc[0], 40)
    style.frame(figure, "More cells, or more kinds of cells?", context, f"recovery of {reference}")
    words = [f"{arm.trend}, {shapes.interval_words(row)}" for arm in ARMS for row in rows[arm.arm]]
    return figure, f"Rank correlation of recovery of {reference} with what varies over runs. {'. '.join(words)}."


def _of(runs: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    return runs[runs["arm"] == arm.arm]


def _scatter(axis: Axes, rows: pd.DataFrame, arm: Arm) -> None:
    known = [np.isfinite(curves.column(rows[name])) for name in (arm.metric, arm.against)]
    finite = rows[np.logical_and(*known)]
    if finite.empty:
        curves.in_words(axis, f"{arm.title}: no run with a finite {METRICS[arm.metric]}")
        return
    for step, (edge, (label, colour, marker)) in enumerate(EDGES.items()):
        own = finite[finite["edge"] == edge]
        x, y = (curves.column(own[name]) for name in (arm.against, arm.metric))
        shift = 0.16 * (step - 0.5) if arm.against != "cells" else 0.0
        axis.plot(x + shift, y, marker, color=colour, markersize=4, alpha=0.6, markeredgewidth=0, label=label)
        places = np.unique(x)
        middle = [float(np.median(y[x == place])) for place in places]
        axis.plot(places + shift, middle, color=colour, linewidth=1.3, label="_median")
    axis.set_title(arm.title)
    axis.set_ylabel(METRICS[arm.metric])
    if arm.against == "cells":
        curves.log_ticks(axis, finite["cells"].astype(float))
    else:
        axis.set_xticks(sorted({int(value) for value in finite[arm.against]})[:12])
    runs = finite["run"].nunique()
    curves.legend(axis, 0.22, ncols=2)
    axis.set_xlabel(f"{arm.axis}\n{count(runs)} runs of {span(finite['cells'])} cells · line: median")


def _trends(trends: pd.DataFrame) -> dict[str, tuple[shapes.Estimate, ...]]:
    """Rank correlations of each arm, one row a kind of edge; one without a number says so."""
    found = {}
    for arm in ARMS:
        own = trends[
            (trends["arm"] == arm.arm) & (trends["against"] == arm.against) & (trends["metric"] == arm.metric)
        ].set_index("edge")
        rows = []
        for edge, (label, colour, marker) in EDGES.items():
            row = own.loc[edge].to_dict() if edge in own.index else {}
            rows.append(
                shapes.Estimate(
                    label=label,
                    value=shapes.finite(row.get("rho")),
                    low=shapes.finite(row.get("ci_low")),
                    high=shapes.finite(row.get("ci_high")),
                    colour=colour,
                    marker=marker,
                    note="no trend: one side is the same in all runs" if row else "not computed",
                )
            )
        found[arm.arm] = tuple(rows)
    return found
