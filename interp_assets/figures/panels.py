"""Shapes that several pictures of single analyses share: clouds of points, shares in a bar, curves on a diagonal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.figures import shapes
from interp_assets.figures.curves import Curve, curve
from interp_assets.figures.records import FigureContext, Mark
from interp_assets.figures.shapes import Estimate
from interp_assets.figures.style import ALARM, BLUE, INK, MUTED, SKY
from interp_assets.figures.wording import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Float = NDArray[np.float64]
POINTS_AT_MOST = 400  # more are counted in squares, so that a picture of a million pairs stays small
SQUARES = 44
NO_MODEL = "no model"  # model of a mark that was printed for cells alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """One bar of parts that add up to 1, from left to right: share and colour of each."""

    label: str
    parts: tuple[tuple[float, str], ...]


def halves(figure: Figure, upper: float, lower: float) -> tuple[SubFigure, SubFigure]:
    """Upper and lower part of a figure with heights in this ratio; each has axis labels and panels of its own."""
    parts: Any = figure.subfigures(2, 1, height_ratios=[upper, lower])
    return parts[0], parts[1]


def inside(figure: Figure) -> SubFigure:
    """Whole figure as one part, so that a legend above all panels keeps clear of the title."""
    part: Any = figure.subfigures()
    return cast("SubFigure", part)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as mappings by column."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def cloud(axes: Axes, across: Float, up: Float, *, colour: str = BLUE, marker: str = "o") -> int:
    """Points at (``across``, ``up``): a dot each, or counts in squares where there are many.

    Returns
    -------
    int
        Points in the fullest square, 0 where every point is drawn.
    """
    if across.size <= POINTS_AT_MOST:
        axes.scatter(across, up, s=11, color=colour, alpha=0.6, linewidths=0, marker=marker)
        return 0
    return squares(axes, across, up, colour)


def squares(axes: Axes, across: Float, up: Float, colour: str = BLUE) -> int:
    """Numbers of points in squares, darker where there are more (logarithmic), as an image of few bytes.

    Returns
    -------
    int
        Points in the fullest square.
    """
    from matplotlib.colors import to_rgb

    edges = [_edges(values) for values in (across, up)]
    counts = np.histogram2d(across, up, bins=edges)[0].T
    most = int(counts.max())
    filled = np.log1p(counts) / np.log1p(max(most, 1))
    image = np.empty((*counts.shape, 4))
    image[..., :3] = to_rgb(colour)
    image[..., 3] = np.where(counts > 0, 0.2 + 0.8 * filled, 0.0)
    extent = (edges[0][0], edges[0][-1], edges[1][0], edges[1][-1])
    axes.imshow(image, extent=extent, origin="lower", interpolation="none", aspect="auto", zorder=1)
    return most


def _edges(values: Float) -> Float:
    low, high = float(values.min()), float(values.max())
    return np.linspace(low, high if high > low else low + 1.0, SQUARES + 1)


def cross(axes: Axes) -> None:
    """Lines of no effect through zero on both axes."""
    for line in (axes.axhline, axes.axvline):
        line(0, color=MUTED, linewidth=0.8)


def on_diagonal(axes: Axes, known: Sequence[Curve]) -> None:
    """Observed shares against predicted ones from 0 to the largest of them, with the line on which both are equal."""
    for one in known:
        curve(axes, one, 3.4)
    largest = max((float(np.nanmax([one.x, one.y])) for one in known if one.known), default=1.0)
    end = min(1.0, 1.08 * largest) or 1.0
    axes.plot([0, end], [0, end], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(-0.04 * end, 1.04 * end)
    axes.set_ylim(-0.04 * end, 1.04 * end)
    axes.locator_params(nbins=3)
    axes.tick_params(labelsize=7.5)


def stacked(axes: Axes, bars: Sequence[Shares], places: Sequence[float], *, height: float = 0.72) -> None:
    """Horizontal bars of shares at the given places; a share that was not computed is said in words."""
    for place, bar in zip(places, bars, strict=True):
        if not np.isfinite([part for part, _ in bar.parts]).all():
            axes.text(0.02, place, "not computed", va="center", fontsize=7, style="italic", color=ALARM)
            continue
        left = 0.0
        for part, colour in bar.parts:
            axes.barh(place, part, left=left, height=height, color=colour, linewidth=0)
            left += part
    axes.set_xlim(0, 1.0)
    axes.grid(axis="y", visible=False)


def threshold_histogram(
    axes: Axes, values: Float, control: Float, threshold: float, limit: float
) -> tuple[float, float]:
    """Histogram with a threshold, the same for a control as an outline; returns both shares above the threshold.

    Values above ``limit`` are counted in the last bar, so that a few extreme ones do not empty the picture.
    """
    bins = np.linspace(0, limit, 31).tolist()
    last = (bins[-2] + bins[-1]) / 2
    axes.hist(np.where(values < limit, values, last), bins=bins, histtype="stepfilled", color=SKY, linewidth=0)
    known = control[np.isfinite(control)]
    if known.size:
        capped = np.where(known < limit, known, last)
        weight = np.full(known.size, values.size / known.size)
        axes.hist(capped, bins=bins, weights=weight, histtype="step", color=INK, linewidth=0.9)
    axes.axvline(threshold, color=ALARM, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.set_xlim(0, limit)
    above = float((known > threshold).mean()) if known.size else float("nan")
    return float((values > threshold).mean()), above


def bars_with_control(
    axes: Axes, labels: Sequence[str], values: Sequence[float], counts: Sequence[int], control: Mapping[int, float]
) -> None:
    """Horizontal bars of shares with their counts in words, and the share of a control as a hollow diamond."""
    places = list(range(len(labels)))[::-1]
    for number, (place, value, count) in enumerate(zip(places, values, counts, strict=True)):
        if not np.isfinite(value):
            axes.text(0.01, place, "not computed", va="center", fontsize=8, style="italic", color=ALARM)
            continue
        axes.barh(place, value, height=0.6, color=SKY, linewidth=0)
        beside = control.get(number, float("nan"))
        if np.isfinite(beside):
            axes.plot([beside], [place], "D", color=INK, markerfacecolor="none", markersize=4.5)
        words = f"{count:,} ({share(value)})"
        axes.text(1.01, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    known = [value for value in (*values, *control.values()) if np.isfinite(value)]
    axes.set_xlim(0, max(known, default=1.0) * 1.06 or 1.0)
    axes.set_yticks(places, list(labels))
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.grid(axis="y", visible=False)


def published(axes: Axes, context: FigureContext, places: Mapping[str, float], *, across: bool = True) -> list[Mark]:
    """Published values of the series in ``places``, each at its height there (or, not ``across``, above its place).

    Returns
    -------
    list of Mark
        The values that were drawn.
    """
    found = [(mark, place) for series, place in places.items() for mark in context.published(series)]
    points = [(mark.value, place) if across else (place, mark.value) for mark, place in found]
    shapes.published_marks(axes, points, label="published")
    return [mark for mark, _ in found]


def named(axis_label: str, stars: Sequence[Mark], width: int = 84) -> str:
    """Label of an axis, and below it what the stars in the picture were printed for, on lines of ``width``."""
    if not stars:
        return axis_label
    datasets: dict[str, dict[str, None]] = {}
    for mark in stars:
        datasets.setdefault(mark.model, {})[mark.dataset] = None
    parts = [f"{'' if model == NO_MODEL else f'{model}: '}{', '.join(names)}" for model, names in datasets.items()]
    return "\n".join([axis_label, *textwrap.wrap(f"stars: published ({'; '.join(parts)})", width)])


def legend_above(part: SubFigure, entries: Sequence[Estimate], columns: int, *, stars: bool = False) -> None:
    """Legend above all panels of a part of a figure, which a legend of one panel would push aside."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], linestyle="", marker=entry.marker, color=entry.colour, markersize=5.5, label=entry.label,
            markerfacecolor="none" if entry.hollow else entry.colour,
        )
        for entry in entries
    ]  # fmt: skip
    if stars:
        looks: dict[str, Any] = {"color": MUTED, "markerfacecolor": "none", "markersize": 8, "markeredgewidth": 0.8}
        handles.append(Line2D([], [], linestyle="", marker="*", label="published", **looks))
    part.legend(
        handles=handles, loc="outside upper left", ncols=columns, fontsize=8, handletextpad=0.3, columnspacing=1.4,
        borderaxespad=0.2,
    )  # fmt: skip
