"""The few shapes every figure is made of. Arrays and labels in, marks on given axes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interp_assets.figures.style import ALARM, BLUE, INK, MUTED, PAPER, SKY
from interp_assets.figures.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTS_AT_MOST = 160


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


def strip(axes: Axes, groups: Sequence[Group], reference: float | None = None) -> None:
    """Horizontal strips, one a group from top to bottom: values, their mean, and mean and n in words."""
    rows = list(range(len(groups)))[::-1]
    for row, group in zip(rows, groups, strict=True):
        values = group.values
        if len(values) <= DOTS_AT_MOST:
            axes.scatter(
                values,
                row + spread(values, 0.3),
                s=9,
                color=group.colour,
                alpha=0.55,
                linewidths=0,
                marker=group.marker,
            )
        else:
            grid, density = density_outline(values)
            axes.fill_between(
                grid, row - 0.36 * density, row + 0.36 * density, color=group.colour, alpha=0.45, linewidth=0
            )
        mean = float(values.mean())
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
        if row.value is None:
            axes.text(
                0.02, place, row.note or "not computed", transform=axes.get_yaxis_transform(), va="center",
                fontsize=8, style="italic", color=ALARM,
            )  # fmt: skip
            continue
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=row.colour, linewidth=1.8, solid_capstyle="butt")
        axes.plot([row.value], [place], marker=row.marker, color=row.colour, markersize=5.5, linestyle="none")
    axes.set_yticks(places, [row.label if labels else "" for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.08)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))


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
    """Bars of what is left after each filter, from top to bottom, with count and share of the first."""
    places = list(range(len(labels)))[::-1]
    known = [value for value in counts if value is not None]
    first = known[0] if known else None
    for place, value in zip(places, counts, strict=True):
        if value is None:
            axes.text(0.0, place, " not counted", va="center", fontsize=8, style="italic", color=ALARM)
            continue
        axes.barh(place, value, height=0.6, color=colour, alpha=0.85)
        share = "" if not first or value == first else f" ({_share(value / first)})"
        axes.text(value, place, f" {int(value):,}{share}", va="center", fontsize=8)
    axes.set_yticks(places, list(labels))
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlim(0, max(known, default=1.0) * 1.55 or 1.0)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _share(part: float) -> str:
    """Share in whole percent; one that is not quite whole is never rounded up to it."""
    return ">99%" if 0.995 <= part < 1 else f"{part:.0%}"


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
