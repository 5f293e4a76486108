"""Figures of the evaluation itself: what could be scored, and how the criteria came out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from interp_assets.figures import shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.screen_figures import main_role, where
from interp_assets.figures.wording import STAGE_LABELS, count, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
FLOW_UNITS = ("perturbations", "genes", "pairs", "positives")
OUTCOME_STYLE = {
    "pass": (style.GREEN, "o"),
    "fail": (style.VERMILLION, "X"),
    "undecided": (style.ORANGE, "D"),
    "not evaluable": (style.MUTED, "s"),
}


def evaluable_flow(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Perturbations, genes, pairs and positives left after each filter of the primary screen."""
    frame = main_role(tables["evaluability"])
    order = [stage for stage in STAGE_LABELS if (frame["stage"] == stage).any()]
    if not order:
        raise NothingToDrawError(f"evaluability has none of the stages {', '.join(STAGE_LABELS)}")
    rows = frame.set_index("stage").loc[order]
    figure = style.new_figure(1.45 + 0.46 * len(order))
    axes = figure.subplots(1, len(FLOW_UNITS))
    labels = [label(STAGE_LABELS, stage) for stage in order]
    for position, (axis, unit) in enumerate(zip(axes, FLOW_UNITS, strict=True)):
        counts = [shapes.finite(value) for value in rows[unit]]
        shapes.stage_bars(axis, labels if position == 0 else [""] * len(labels), counts, style.BLUE)
        axis.set_title(unit)
    style.frame(figure, "What could be scored?", context, where(frame))
    first, last = rows.iloc[0], rows.iloc[-1]
    ends = [(unit, shapes.finite(first[unit]), shapes.finite(last[unit])) for unit in FLOW_UNITS]
    parts = [f"{count(start)} {unit} to {count(end)}" for unit, start, end in ends]
    return figure, f"From {labels[0].lower()} to {labels[-1].lower()}, {where(frame)}: {', '.join(parts)}."


def criteria_summary(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """The four criteria of the verdict with outcome and reason (paper section 7.2)."""
    frame = tables["criteria"]
    rows = list(frame.itertuples())
    reasons = [textwrap.wrap(str(row.reason), 78)[:3] or ["no reason given"] for row in rows]
    heights = [0.62 + 0.16 * (len(lines) - 1) for lines in reasons]
    figure = style.new_figure(0.85 + sum(heights))
    axis = figure.subplots()
    place = 0.0
    for row, lines, height in zip(rows, reasons, heights, strict=True):
        colour, marker = OUTCOME_STYLE.get(str(row.outcome), OUTCOME_STYLE["not evaluable"])
        middle = place + height / 2
        axis.scatter([0.02], [middle], s=190, color=colour, marker=marker, linewidths=0)
        axis.text(0.05, middle, str(row.outcome).upper(), va="center", fontsize=9, fontweight="bold")
        axis.text(0.22, place + 0.12, f"({row.id}) {row.title}", va="top", fontsize=9, fontweight="bold")
        axis.text(0.22, place + 0.31, "\n".join(lines), va="top", fontsize=8, color=style.INK)
        place += height
    axis.set_xlim(0, 1)
    axis.set_ylim(place, 0)
    axis.set_axis_off()
    style.frame(figure, "Four criteria, all required", context)
    words = [f"Criterion {row.id}, {row.title}: {row.outcome}" for row in rows]
    return figure, f"{'. '.join(words)}."
