"""Figures of component effects: whether they add up, and whether their ranking withstands that (analysis 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import curves, shapes, style
from interp_assets.figures.curves import Curve
from interp_assets.figures.records import FigureContext, Mark, NothingToDrawError
from interp_assets.figures.wording import count, holds, number, short, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
SHOWN_AT_MOST = 24
Z_95 = 1.96
RELATIVE_AT_MOST = 1.5
GRANULARITIES = {"mlp": "feed-forward layers", "heads": "groups of heads"}
BUDGETS = {
    "uniform": ("uniform budget", style.BLUE, "o"),
    "proportional": ("proportional to the effect", style.ORANGE, "D"),
    "concentrated": ("all on one component", style.PURPLE, "s"),
}
PART_LOOKS = {"heads": (style.BLUE, "o"), "mlp": (style.GREEN, "^")}


def non_additivity(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Total effect, residual and lower bound of every run-pair, and the bound as a share (analysis 2; figure S6)."""
    frame = tables["mediation_run_pairs"]
    frame = frame[np.isfinite(curves.column(frame["total"])) & np.isfinite(curves.column(frame["residual"]))]
    if frame.empty:
        raise NothingToDrawError("mediation_run_pairs has no run-pair with a finite total effect and residual")
    shown = frame.head(SHOWN_AT_MOST)
    figure = style.new_figure(2.1 + 0.24 * len(shown))
    left, right = figure.subplots(1, 2, width_ratios=[1.8, 1.0])
    _effects_panel(left, shown)
    _shares_panel(right, shown, context.published("median"), _summary_row(tables.get("mediation_summary")))
    style.frame(figure, "Do effects of single components add up?", context, _place(frame, len(shown)))
    return figure, _bound_words(frame, tables.get("mediation_summary"))


def _place(frame: pd.DataFrame, shown: int) -> str:
    rest = f", the first {shown} shown" if shown < len(frame) else ""
    tissues = frame["dataset"].nunique()
    where = f"{count(tissues)} data set{'' if tissues == 1 else 's'}"
    return f"{count(len(frame))} run-pairs{rest} · {where} · cells of each run-pair: {span(frame['cells'])}"


def _names(row: Mapping[Any, Any]) -> str:
    part = {"mlp": "layers"}.get(row["granularity"], short(row["granularity"], 8))
    tissue = short(str(row["dataset"]).removesuffix("_human"), 18)
    return f"{short(row['regulator'], 9)} to {short(row['target'], 9)} · {tissue} · {part}"


def _effects_panel(axis: Axes, frame: pd.DataFrame) -> None:
    """|TE| hollow, |R| filled with 1.96 standard errors, and the bound as a bar from 0."""
    places = np.arange(len(frame))[::-1]
    for place, row in zip(places, frame.to_dict("records"), strict=True):
        residual, half = abs(float(row["residual"])), Z_95 * float(row["se"])
        bound = shapes.finite(row["lower_bound"])
        if bound is not None:
            axis.barh(place, bound, height=0.62, color=style.SKY, alpha=0.75)
        known = holds(row["se_known"]) and np.isfinite(half)
        if known:
            axis.plot([max(residual - half, 0.0), residual + half], [place] * 2, color=style.BLUE, linewidth=1.4)
        axis.plot([residual], [place], "o", color=style.BLUE, markersize=4.5)
        axis.plot([abs(float(row["total"]))], [place], "s", color=style.INK, markerfacecolor=style.PAPER, markersize=5)
    _bound_key(axis)
    axis.set_yticks(places, [_names(row) for row in frame.to_dict("records")])
    axis.tick_params(axis="y", labelsize=7.5, length=0)
    axis.set_ylim(-0.7, len(frame) - 0.3)
    axis.set_xlim(left=0)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("size of the effect on the predicted target\nline: 1.96 standard errors of the residual")


def _bound_key(axis: Axes) -> None:
    axis.barh([np.nan], [np.nan], color=style.SKY, alpha=0.75, label="bound A_lb")
    axis.plot([], [], "o", color=style.BLUE, markersize=4.5, label="residual |R|")
    axis.plot([], [], "s", color=style.INK, markerfacecolor=style.PAPER, markersize=5, label="total |TE|")
    axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, fontsize=8, borderaxespad=0.2, columnspacing=1)


def _shares_panel(axis: Axes, frame: pd.DataFrame, marks: tuple[Mark, ...], summary: Mapping[str, Any]) -> None:
    places = np.arange(len(frame))[::-1]
    for place, row in zip(places, frame.to_dict("records"), strict=True):
        value = shapes.finite(row["relative"])
        if value is None:
            shapes.mark(axis, float(place), shapes.Estimate(label="", value=None, note="total effect is 0"), 4.5)
            continue
        colour, marker = PART_LOOKS.get(row["granularity"], (style.BLUE, "o"))
        drawn = min(value, RELATIVE_AT_MOST)
        axis.plot([0, drawn], [place] * 2, color=colour, linewidth=1.2, alpha=0.6)
        face = colour if holds(row["se_known"]) else style.PAPER
        axis.plot([drawn], [place], marker, color=colour, markerfacecolor=face, markersize=4.5)
        notes = [f"{value:.1f}"] * (value > RELATIVE_AT_MOST) + ["one cell: no SE"] * (not holds(row["se_known"]))
        side = "right" if drawn > RELATIVE_AT_MOST / 2 else "left"
        axis.text(drawn, place + 0.12, f" {', '.join(notes)} ", ha=side, va="bottom", fontsize=7, color=style.ALARM)
    median = shapes.finite(summary.get("median_relative"))
    if median is not None:
        axis.axvline(min(median, RELATIVE_AT_MOST), color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)))
    shapes.published_marks(axis, [(mark.value, -0.55) for mark in marks], "published median")
    axis.set_yticks(places, [""] * len(frame))
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.9, len(frame) - 0.3)
    axis.set_xlim(-0.03, RELATIVE_AT_MOST * 1.14)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(f"A_lb / |TE|\ndashed: median\n{'star: published' if marks else ''}")


def _summary_row(summary: pd.DataFrame | None, subset: str = "more_than_one_cell") -> dict[str, Any]:
    if summary is None or summary.empty:
        return {}
    rows = summary[
        (summary["subset"] == subset) & (summary["granularity"] == "all") & (summary["standard_error"] == "independent")
    ]
    return {} if rows.empty else {str(name): value for name, value in rows.iloc[0].items()}


def _bound_words(frame: pd.DataFrame, summary: pd.DataFrame | None) -> str:
    names = {"more_than_one_cell": "traced in more than one cell", "one_cell": "traced in one cell"}
    told = []
    for subset, words in names.items():
        row = _summary_row(summary, subset)
        if row:
            told.append(
                f"Of {count(row['run_pairs'])} run-pairs {words}, {count(row['positive'])} have a lower bound above 0; "
                f"median A_lb / |TE| {number(row['median_relative'])}"
            )
    if not told:
        positive = int(sum(holds(value) for value in frame["positive"]))
        told = [f"Of {len(frame)} run-pairs, {positive} have a lower bound above 0"]
    return f"{'. '.join(told)}."


def ranking_certificate(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Share of component pairs whose order is certified, by budget factor (analysis 2; figure S7)."""
    frame = tables["mediation_certificate"]
    frame = frame[np.isfinite(curves.column(frame["certified_share"]))]
    if frame.empty:
        raise NothingToDrawError("mediation_certificate has no finite share of certified pairs")
    uniform = frame[frame["budget"] == "uniform"]
    panels: dict[str, list[Curve]] = {
        "Shape of the budget": [
            _mean_curve(frame[frame["budget"] == key], "certified_share", *look) for key, look in BUDGETS.items()
        ],
        "Kind of component": [
            _mean_curve(uniform[uniform["granularity"] == key], "certified_share", GRANULARITIES[key], *PART_LOOKS[key])
            for key in GRANULARITIES
        ],
        "Top component": [_mean_curve(uniform, "top_certified", "certified against all", style.BLUE, "o")],
    }
    figure = style.new_figure(3.9)
    series = (("uniform", "proportional", "concentrated"), ("heads", "mlp"), ("top",))
    for axis, (title, found), names in zip(figure.subplots(1, 3), panels.items(), series, strict=True):
        marks = tuple(mark for name in names for mark in context.published(name))
        _certificate_panel(axis, title, found, marks, len(frame))
    figure.axes[0].set_ylabel("certified share of pairs")
    figure.axes[1].set_ylabel("share, uniform budget")
    figure.axes[2].set_ylabel("share of run-pairs")
    pairs = frame[["role", "regulator", "target", "granularity"]].drop_duplicates()
    place = f"{count(len(pairs))} run-pairs of {span(frame['cells'])} cells"
    style.frame(figure, "Does the ranking of components withstand interactions?", context, place)
    words = [f"{title}: {'; '.join(curves.along(one, '') for one in found)}" for title, found in panels.items()]
    return figure, f"Certified share by budget factor lambda, {place}. {'. '.join(words)}."


def _mean_curve(rows: pd.DataFrame, value: str, name: str, colour: str, marker: str) -> Curve:
    """Mean over run-pairs by budget factor."""
    means = rows.assign(**{value: rows[value].astype(float)}).groupby("budget_factor", sort=True)[value].mean()
    x, y = means.index.to_numpy(dtype=float), means.to_numpy(dtype=float)
    return Curve(label=name, x=x, y=y, colour=colour, marker=marker)


def _certificate_panel(axis: Axes, title: str, found: list[Curve], marks: tuple[Mark, ...], rows: int) -> None:
    drawn = [one for one in found if one.known]
    if not drawn:
        curves.in_words(axis, f"{title}: not computed", 18)
        return
    for one in drawn:
        curves.curve(axis, one, 4.0)
    curves.stars_at(axis, marks)
    axis.set_title(title)
    axis.set_xlabel("budget factor lambda")
    curves.legend(axis, 0.5, loc="upper right")
    axis.set_xticks([1, 2, 4, 6, 8])
