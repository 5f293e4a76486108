"""The few shapes every figure is made of. Arrays and labels in, marks on given axes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interp_assets.figures.style import ALARM, BLUE, GRID, INK, MUTED, PAPER, SKY
from interp_assets.figures.wording import number, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTS_AT_MOST = 160
QUANTILES_AT_MOST = 400
LANE_GAP = 0.6  # between two lanes, in heights of one mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Values of one category: one dot each, or an outline of their density when there are many."""

    label: str
    values: NDArray[np.float64]
    colour: str = BLUE
    marker: str = "o"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One estimate with its interval; an estimate that could not be computed is None and shown in words."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    colour: str = BLUE
    marker: str = "o"
    dots: tuple[float, ...] = ()
    note: str = ""
    hollow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Several estimates of one subject below one another, under one label."""

    label: str
    marks: tuple[Estimate, ...]


def spread(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Sideways offsets in [-width, width] that keep near-equal values apart; no randomness, so no seed.

    A base-2 van der Corput sequence over the sorted values: neighbours in value land far apart.
    """
    order = np.argsort(values, kind="stable")
    sequence = np.empty(len(values))
    for position, index in enumerate(order):
        fraction, denominator, rest = 0.0, 1.0, position + 1
        while rest:
            denominator *= 2
            rest, bit = divmod(rest, 2)
            fraction += bit / denominator
        sequence[index] = fraction
    return (2 * sequence - 1) * width


def density_outline(values: NDArray[np.float64], points: int = 60) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grid and Gaussian kernel density (Scott bandwidth), scaled to a largest value of 1."""
    low, high = float(values.min()), float(values.max())
    bandwidth = max(float(values.std(ddof=1)) * len(values) ** -0.2, 1e-6)
    grid = np.linspace(low, high, points)
    kernel = np.exp(-0.5 * ((grid[:, None] - values[None, :]) / bandwidth) ** 2).sum(axis=1)
    return grid, kernel / kernel.max()


def swarm(axes: Axes, place: float, group: Group, width: float) -> None:
    """Values of one group around the height ``place``: a dot each, or their density when there are many."""
    values = group.values
    if len(values) <= DOTS_AT_MOST:
        heights = place + spread(values, width)
        looks: dict[str, Any] = {"s": 9, "color": group.colour, "alpha": 0.55, "linewidths": 0, "marker": group.marker}
        axes.scatter(values, heights, **looks)
    else:
        grid, density = density_outline(values)
        half = 1.2 * width * density
        axes.fill_between(grid, place - half, place + half, color=group.colour, alpha=0.45, linewidth=0)


def strip(axes: Axes, groups: Sequence[Group], reference: float | None = None) -> None:
    """Horizontal strips, one a group from top to bottom: values, their mean, and mean and n in words."""
    rows = list(range(len(groups)))[::-1]
    for row, group in zip(rows, groups, strict=True):
        swarm(axes, row, group, 0.3)
        mean = float(group.values.mean())
        axes.plot([mean, mean], [row - 0.4, row + 0.4], color=INK, linewidth=2.2, solid_capstyle="butt")
        axes.text(1.01, row, f"{mean:.3f}", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.text(1.01, len(groups) - 0.42, "mean", transform=axes.get_yaxis_transform(), fontsize=8, color=MUTED)
    axes.set_yticks(rows, [f"{group.label}  (n = {len(group.values):,})" for group in groups])
    axes.set_ylim(-0.6, len(groups) - 0.4)
    axes.grid(axis="y", visible=False)
    if reference is not None:
        axes.axvline(reference, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))


def forest(axes: Axes, rows: Sequence[Estimate], *, threshold: float | None = None, labels: bool = True) -> None:
    """Estimates with intervals from top to bottom, an optional threshold line, faint dots for single runs."""
    places = list(range(len(rows)))[::-1]
    for place, row in zip(places, rows, strict=True):
        if row.dots:
            axes.scatter(row.dots, np.full(len(row.dots), place - 0.22), s=7, color=MUTED, alpha=0.6, linewidths=0)
        mark(axes, place, row)
    axes.set_yticks(places, [row.label if labels else "" for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.08)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))


def mark(axes: Axes, place: float, row: Estimate, size: float = 5.5) -> None:
    """One estimate with its interval at the height ``place``, or the words for why there is none."""
    if row.value is None:
        axes.text(
            0.02, place, row.note or "not computed", transform=axes.get_yaxis_transform(), va="center",
            fontsize=8 if size > 5 else 7, style="italic", color=ALARM,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
        return
    if row.low is not None and row.high is not None:
        width = 1.8 if size > 5 else 1.3
        axes.plot([row.low, row.high], [place, place], color=row.colour, linewidth=width, solid_capstyle="butt")
    face = PAPER if row.hollow else row.colour
    axes.plot([row.value], [place], row.marker, color=row.colour, markerfacecolor=face, markersize=size)


def lanes(
    axes: Axes, rows: Sequence[Lane], *, size: float = 5.0, fontsize: float = 8.0, least: int = 1
) -> list[list[float]]:
    """Rows of several estimates from top to bottom; each takes the height of ``least`` or more marks, plus a gap.

    Returns
    -------
    list of list of float
        Height at which each mark of each row was drawn.
    """
    ticks, edge = [], 0.0
    places: list[list[float]] = []
    for row in rows:
        height = float(max(len(row.marks), least))
        lines = range(1, len(row.marks) + 1)
        places.append([-(edge + height / 2 + line - (len(row.marks) + 1) / 2) for line in lines])
        for place, estimate in zip(places[-1], row.marks, strict=True):
            mark(axes, place, estimate, size)
        ticks.append(-(edge + height / 2))
        edge += height + LANE_GAP
        if row is not rows[-1]:
            axes.axhline(-(edge - LANE_GAP / 2), color=GRID, linewidth=0.7)
    axes.set_yticks(ticks, [row.label for row in rows])
    axes.tick_params(axis="y", labelsize=fontsize, length=0)
    axes.set_ylim(-(edge - LANE_GAP / 2), LANE_GAP / 2)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.06)
    return places


def key(axes: Axes, entries: Sequence[Estimate], columns: int) -> None:
    """Legend above the axes: one entry an estimate, by its label, colour, shape and filling."""
    for entry in entries:
        face = PAPER if entry.hollow else entry.colour
        axes.plot([], [], entry.marker, color=entry.colour, markerfacecolor=face, markersize=5.5, label=entry.label)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, fontsize=8, borderaxespad=0.2, handletextpad=0.3
    )


def profile(
    axes: Axes,
    layers: NDArray[np.int64],
    mean: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    label: str,
) -> None:
    """Line over layers with its interval as a band, and chance; every layer has a tick while they fit."""
    axes.fill_between(layers, low, high, color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(layers, mean, color=BLUE, marker="o", markersize=5, label=label)
    axes.axhline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xticks(layers[:: 1 + len(layers) // 14])


def published_marks(axes: Axes, marks: Sequence[tuple[float, float]], label: str = "published value") -> None:
    """Values that the paper printed, as faint hollow stars at (x, y), with one entry in the legend.

    They are drawn under what was computed, in the muted colour, so that nobody takes one for a result of this
    evaluation.
    """
    if not marks:
        return
    across, up = zip(*marks, strict=True)
    axes.plot(
        across, up, "*", color=MUTED, markerfacecolor="none", markersize=8, markeredgewidth=0.8, alpha=0.75, zorder=1.5,
        linestyle="", label=label,
    )  # fmt: skip


def uniform_quantiles(
    axes: Axes, values: NDArray[np.float64], colour: str, *, band: bool = True, dashed: bool = False
) -> None:
    """Sorted values against uniform quantiles, with the pointwise 95% band of independent order statistics."""
    from scipy.stats import beta

    size = len(values)
    rank = np.unique(np.linspace(1, size, min(size, QUANTILES_AT_MOST)).round().astype(int))
    expected = rank / (size + 1)
    if band:
        low, high = (beta.ppf(level, rank, size + 1 - rank) for level in (0.025, 0.975))
        axes.fill_between(expected, low, high, color=MUTED, alpha=0.22, linewidth=0)
    if not dashed:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9)
    looks: dict[str, Any] = {"linestyle": (0, (4, 2))} if dashed else {}
    marker = "o" if size <= DOTS_AT_MOST and not dashed else ""
    axes.plot(expected, np.sort(values)[rank - 1], color=colour, marker=marker, markersize=2.2, linewidth=1.4, **looks)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])


def null_histogram(axes: Axes, draws: NDArray[np.float64], observed: float | None, words: str) -> None:
    """Histogram of null draws with the observed value as a line and a short statement in the corner."""
    axes.hist(draws, bins=min(30, max(8, len(draws) // 8)), color=SKY, edgecolor=PAPER, linewidth=0.4)
    if observed is not None:
        axes.axvline(observed, color=BLUE, linewidth=2)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.45)
    axes.text(0.02, 0.97, words, transform=axes.transAxes, va="top", fontsize=8)
    axes.margins(x=0.06)


def waterfall(axes: Axes, steps: Sequence[tuple[str, float, float, str]]) -> None:
    """Horizontal steps (label, start, end, colour) from top to bottom, each with its signed size in words."""
    places = list(range(len(steps)))[::-1]
    for place, (_, start, end, colour) in zip(places, steps, strict=True):
        axes.barh(place, end - start, left=start, height=0.55, color=colour)
        axes.text(max(start, end), place, f" {end - start:+.3f}", va="center", ha="left", fontsize=8, clip_on=False)
    axes.set_yticks(places, [step[0] for step in steps])
    axes.set_ylim(-0.6, len(steps) - 0.4)
    axes.grid(axis="y", visible=False)


def stage_bars(axes: Axes, labels: Sequence[str], counts: Sequence[float | None], colour: str) -> None:
    """What each filter leaves, from top to bottom: count and share of the first above a bar, what it took hatched."""
    known = [value for value in counts if value is not None]
    most, first, before = max(known, default=1.0) or 1.0, (known[0] if known else None), None
    places, size = range(len(labels) - 1, -1, -1), 8 if most < 1e6 else 6.5
    for place, value in zip(places, counts, strict=True):
        if value is None:
            axes.text(0.0, place, " not counted", va="center", fontsize=8, style="italic", color=ALARM)
            continue
        axes.barh(place, value, height=0.36, color=colour, alpha=0.85)
        part = "" if not first or value == first else f"  {share(value / first)}"
        axes.text(0, place + 0.22, f"{int(value):,}{part}", va="bottom", fontsize=size)
        lost = 0 if before is None else before - value
        if lost > 0:
            axes.barh(place, lost, left=value, height=0.36, color="none", edgecolor=MUTED, hatch="////", linewidth=0.6)
            axes.text(most, place + 0.22, f"-{int(lost):,}", va="bottom", ha="right", fontsize=size - 0.5, color=MUTED)
        before = value
    axes.set_yticks(list(places), list(labels))
    axes.set_ylim(-0.45, len(labels) - 0.25)
    axes.set_xlim(0, most * 1.02)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def finite(value: Any) -> float | None:
    """Value as a float, or None where the table holds no finite number."""
    if value is None:
        return None
    real = float(value)
    return real if math.isfinite(real) else None


def interval_words(row: Estimate) -> str:
    """Estimate and interval in words, for alt texts."""
    if row.value is None:
        return f"{row.label}: {row.note or 'not computed'}"
    if row.low is None or row.high is None:
        return f"{row.label}: {number(row.value)}"
    return f"{row.label}: {number(row.value)} ({number(row.low)} to {number(row.high)})"
