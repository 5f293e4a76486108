"""Shapes of numbers along a numeric axis: curves with bands, logarithmic axes, phase diagrams, panels in words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_assets.figures.records import FigureContext, Mark
from interp_assets.figures.shapes import published_marks
from interp_assets.figures.style import ALARM, BLUE, INK, MUTED, PAPER, SKY, VERMILLION
from interp_assets.figures.wording import MISSING, is_missing, label, number, origin_label, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float = NDArray[np.float64]
ZERO_BELOW = 2.5  # a zero stands on a logarithmic axis this factor below the smallest number above 0
TICKS_AT_MOST = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Numbers ``y`` at ``x`` under one name; ``low`` and ``high`` are the band, NaN where there is none."""

    label: str
    x: Float
    y: Float
    low: Float | None = None
    high: Float | None = None
    colour: str = BLUE
    marker: str = "o"
    dashed: bool = False
    hollow: bool = False

    @property
    def known(self) -> bool:
        """Whether any number is finite."""
        return bool(np.isfinite(self.y).any())


def column(values: Any) -> Float:
    """Column of a table as floats, missing ones NaN."""
    return np.asarray([np.nan if is_missing(value) else float(value) for value in values], dtype=np.float64)


def curve(axes: Axes, one: Curve, size: float = 5.0) -> None:
    """Line through the finite numbers of a curve, with its band; a number without neighbours is a mark alone."""
    order = np.argsort(one.x, kind="stable")
    x, y = one.x[order], one.y[order]
    if one.low is not None and one.high is not None:
        axes.fill_between(x, one.low[order], one.high[order], color=one.colour, alpha=0.15, linewidth=0)
    axes.plot(
        x, y, marker=one.marker, color=one.colour, markersize=size, linewidth=1.5, label=one.label,
        markerfacecolor=PAPER if one.hollow else one.colour, linestyle=(0, (4, 2)) if one.dashed else "-",
    )  # fmt: skip


def log_ticks(axes: Axes, values: ArrayLike, which: Literal["x", "y"] = "x", *, tilt: bool = False) -> None:
    """Logarithmic axis that names the numbers in use, such as 200, 1,000 and 3,000 cells; too close ones are left."""
    from matplotlib.ticker import NullLocator

    used = np.unique(np.asarray(values, dtype=np.float64))
    used = used[np.isfinite(used) & (used > 0)]
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_minor_locator(NullLocator())
    if used.size == 0:
        return
    least = np.log(used[-1] / used[0]) / TICKS_AT_MOST
    kept = [used[0]]
    for value in used[1:]:
        if np.log(value / kept[-1]) >= least:
            kept.append(value)
    axis.set_ticks(kept, [f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" for value in kept])
    if used.size == 1:
        (axes.set_xlim if which == "x" else axes.set_ylim)(used[0] / 2, used[0] * 2)
    if tilt:
        axes.tick_params(axis=which, labelrotation=40)


def log_with_zero(axes: Axes, values: ArrayLike) -> float:
    """Logarithmic vertical axis over the given numbers on which 0 has a place of its own; returns that place.

    A run without a hit has F1 0, which a logarithmic axis cannot show and a picture may not drop.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    given = np.asarray(values, dtype=np.float64).ravel()
    above = given[np.isfinite(given) & (given > 0)]
    smallest, largest = (float(above.min()), float(above.max())) if above.size else (1.0, 1.0)
    shelf, decades = smallest / ZERO_BELOW, float(np.log10(largest / smallest))
    axes.set_yscale("log")
    named = (1.0,) if decades > 2 else ((1.0, 3.0) if decades > 0.8 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
    axes.yaxis.set_major_locator(LogLocator(subs=named))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_scientific(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    low = smallest
    if (given == 0).any():
        low = shelf
        axes.axhline(shelf, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
        looks: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": 8, "color": MUTED}
        axes.text(0.5, shelf, "F1 = 0", ha="center", va="bottom", **looks)
    axes.set_ylim(low / 1.25, largest * 1.25)
    return shelf


def short_scientific(value: float) -> str:
    """Number on an axis of small numbers: as it is from .001 on, below as a digit and a power of ten.

    >>> short_scientific(0.015), short_scientific(0.00007)
    ('0.015', '7e-5')
    """
    text = f"{value:.2g}" if value >= 0.001 else f"{value:.1e}"
    return text.replace(".0e", "e").replace("e-0", "e-")


def legend(axes: Axes, room: float, **looks: Any) -> None:
    """Legend at the top left with ``room`` above the data, in heights of the panel; none where nothing has a name."""
    if not axes.get_legend_handles_labels()[0]:
        return
    if axes.get_yscale() == "log":
        low, high = np.log(axes.get_ylim())
        axes.set_ylim(top=float(np.exp(high + room * (high - low))))
    else:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + room * (high - low))
    usual: dict[str, Any] = {"fontsize": 7.5, "loc": "upper left", "columnspacing": 0.9, "handletextpad": 0.5}
    axes.legend(borderaxespad=0.2, handlelength=2.4, **(usual | looks))


def lifted(values: ArrayLike, shelf: float) -> Float:
    """Numbers for an axis of `log_with_zero`: 0 at its place, everything else as it is."""
    given = np.asarray(values, dtype=np.float64)
    return np.where(given == 0, shelf, given)


def phases(axes: Axes, across: Float, up: Float, log2: Float, near: float) -> Any:
    """Phase diagram of log2 ratios (across x up) on logarithmic axes, with the line of equality and its surroundings.

    ``near`` is the factor within which both sides count as equal. Returns the filled contours, for a colour bar.
    """
    from matplotlib.colors import LinearSegmentedColormap

    widest = float(np.nanmax(np.abs(log2))) or 1.0
    levels = np.linspace(-widest, widest, 13)
    # The muted grey in the middle reads on light and on dark paper.
    colours = LinearSegmentedColormap.from_list("regimes", [VERMILLION, "#f3e3d6", BLUE])
    filled = axes.contourf(across, up, log2.T, levels=levels, cmap=colours, alpha=0.85)
    axes.contour(across, up, log2.T, levels=[-np.log2(near), np.log2(near)], colors=INK, linewidths=0.8, linestyles=":")
    axes.contour(across, up, log2.T, levels=[0.0], colors=INK, linewidths=1.4)
    axes.grid(visible=False)
    return filled


def histogram_steps(axes: Axes, edges: Float, shares: Float, colour: str, label: str, *, dashed: bool = False) -> None:
    """Outline of a histogram that was counted beforehand: ``shares`` between consecutive ``edges``."""
    axes.stairs(shares, edges, color=colour, linewidth=1.5, label=label, linestyle=(0, (4, 2)) if dashed else "-")


def agreement_scatter(axes: Axes, predicted: Float, observed: Float, colour: str = SKY, marker: str = "o") -> None:
    """Observed against predicted with the line of identity."""
    known = np.concatenate([predicted, observed])
    known = known[np.isfinite(known)]
    if known.size:
        ends = [float(known.min()), float(known.max())]
        axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(predicted, observed, marker, color=colour, markersize=4, alpha=0.8, markeredgewidth=0)


def in_words(axes: Axes, words: str, width: int = 34) -> None:
    """Panel without numbers: why there are none, in the alarm colour, instead of empty axes."""
    axes.set_axis_off()
    text = "\n".join(textwrap.wrap(words, width)) or "not computed"
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=8.5, style="italic", color=ALARM
    )


def stars_at(axes: Axes, marks: Sequence[Mark], label: str = "published value", shelf: float | None = None) -> None:
    """Published values at their own place along the horizontal axis; 0 at ``shelf`` on a logarithmic one."""
    places = [(one.x, one.value) for one in marks if one.x is not None]
    lift = [(x, shelf if shelf is not None and value == 0 else value) for x, value in places]
    published_marks(axes, lift, label)


def significant(value: Any, digits: int = 3) -> str:
    """Number with so many significant digits, for values whose size is not known beforehand; a dash when missing.

    >>> significant(0.0000942), significant(0.05), significant(float("nan"))
    ('9.42e-05', '0.05', '–')
    """
    return MISSING if is_missing(value) or not np.isfinite(float(value)) else f"{float(value):.{digits}g}"


def along(one: Curve, unit: str, digits: int | None = 3) -> str:
    """Curve in words: each finite number with its place; ``digits`` None shows three significant ones."""
    parts = [
        f"{significant(y) if digits is None else number(y, digits)} at {x:,.6g} {unit}".rstrip()
        for x, y in sorted(zip(one.x.tolist(), one.y.tolist(), strict=True))
        if np.isfinite(y)
    ]
    return f"{one.label}: {', '.join(parts) or 'not computed'}"


def label_of(labels: Mapping[str, str], key: Any, width: int = 28) -> str:
    """Display name of a table value on one short line."""
    return short(label(dict(labels), key), width)


def simulated(context: FigureContext) -> FigureContext:
    """Context of a picture of simulated numbers: its corner says so and what the evaluation itself rests on."""
    rest = origin_label(context.data_origin)
    return replace(context, data_origin=f"simulated data in this picture; evaluation: {rest}")
