"""Small dot plots of the leaderboard: one deciding number, every release with its interval, reference lines across.

What belongs here: rows in, plain data for the template out (positions in view units). What does not: choosing what is
shown (`claims_board`). The template draws; names stay text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from interp_assets.figures.wording import origin_label
from interp_assets.report.claims_board import CEILING, MEAN_AUROC, TRIVIAL

WIDTH, LEFT, RIGHT, ROW, TOP, BELOW = 720, 210, 70, 24, 16, 52
AUROC_AXIS = "mean AUROC (0.5: chance, 1: perfect)"
MOST_DOTS = 40
# Title of the plot, and what its axis measures, with the side that speaks for the model.
CRITERIA = {
    "a": (
        "Criterion a: attention minus the strongest gene-level baseline",
        "difference of mean AUROC (above 0: attention is better)",
    ),
    "b": (
        "Criterion b: smallest gain over gene-level features",
        "gain in the metric of the deciding combination (above 0: it adds)",
    ),
    "c": ("Criterion c: share of the recovery that confounds leave", "share kept (1: all of it, 0: nothing)"),
}
LINES = {
    "positive_control": "positive control",
    "negative_control": "negative control",
    CEILING: "noise ceiling",
    TRIVIAL: "strongest trivial baseline",
}


@dataclass(frozen=True, slots=True)
class Dot:
    """One release: its words, place in view units, and the ends of its interval."""

    name: str
    y: float
    x: float
    low: float
    high: float
    told: str


@dataclass(frozen=True, slots=True)
class Line:
    """One reference line with the words of its legend; ``kind`` is its CSS class."""

    kind: str
    x: float
    told: str


@dataclass(frozen=True, slots=True)
class DotPlot:
    """All that the template needs of one plot; ``origin`` is where the outcomes behind its releases come from."""

    title: str
    axis: str
    origin: str
    width: int
    height: int
    left: int
    dots: tuple[Dot, ...]
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    left_out: int

    @property
    def told(self) -> str:
        """The plot in words, for those who do not see it."""
        marks = [*(dot.told for dot in self.dots), *(line.told for line in self.lines)]
        return f"{self.title}; {self.axis}. Releases on: {self.origin}. " + "; ".join(marks)


def dot_plots(rows: pd.DataFrame) -> list[DotPlot]:
    """Plots of one study from its rows of the claims board; a number that no release has gets none."""
    plots = [_plot("Mean AUROC over perturbations", AUROC_AXIS, rows[rows["effect"] == MEAN_AUROC])]
    for name, (title, axis) in CRITERIA.items():
        plots.append(_plot(title, axis, rows[(rows["criterion"] == name) & rows["value"].notna()]))
    return [plot for plot in plots if plot is not None]


def _plot(title: str, axis: str, rows: pd.DataFrame) -> DotPlot | None:
    rows = rows.drop_duplicates(["kind", "release", "released"])
    releases = rows[rows["kind"] == "release"]
    if releases.empty:
        return None
    drawn, references = releases.head(MOST_DOTS), rows[rows["kind"] != "release"]
    ends = [*drawn["value"], *drawn["low"].dropna(), *drawn["high"].dropna(), *references["value"]]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low or 1.0)
    scale = (low - margin, high + margin)
    dots = tuple(_dot(row, place, scale) for place, row in enumerate(drawn.to_dict("records")))
    lines = tuple(_line(row, scale) for row in references.to_dict("records"))
    ticks = tuple((_x(value, scale), f"{value:g}") for value in _ticks(*scale))
    height = TOP + ROW * len(dots) + BELOW
    origin = ", ".join(dict.fromkeys(origin_label(each) for each in drawn["data_origin"]))
    return DotPlot(title, axis, origin, WIDTH, height, LEFT, dots, lines, ticks, len(releases) - len(drawn))


def _x(value: float, scale: tuple[float, float]) -> float:
    return round(LEFT + (value - scale[0]) / (scale[1] - scale[0]) * (WIDTH - LEFT - RIGHT), 1)


def _dot(row: dict, place: int, scale: tuple[float, float]) -> Dot:
    value = float(row["value"])
    bounds = [float(row[name]) for name in ("low", "high")]
    told = f"{row['release']} {value:.3f}"
    if any(math.isnan(bound) for bound in bounds):
        bounds = [value, value]
    else:
        told += f" [{bounds[0]:.3f}, {bounds[1]:.3f}]"
    x, low, high = (_x(number, scale) for number in (value, *bounds))
    return Dot(str(row["release"]), TOP + ROW * (place + 0.5), x, low, high, told)


def _line(row: dict, scale: tuple[float, float]) -> Line:
    kind = str(row["kind"])
    value = float(row["value"])
    return Line(kind.replace("_", "-"), _x(value, scale), f"{LINES.get(kind, kind)} {row['release']} {value:.3f}")


def _ticks(low: float, high: float) -> Sequence[float]:
    """Four to nine round numbers between two ends.

    >>> _ticks(0.48, 0.97)
    [0.5, 0.6, 0.7, 0.8, 0.9]
    """
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step)
    return [round(place * step, 10) for place in range(first, math.floor(high / step) + 1)]
