"""The two figures of the calibration page: quantiles of p under true nulls, and power.

What belongs here: drawing. What does not: any count (`summary`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from interp_assets.calibration import summary
from interp_assets.calibration.catalogue import SHIPPED_STRENGTH, strength_label, worlds
from interp_assets.calibration.design import USUAL_OFF_NETWORK
from interp_assets.calibration.findings import percent, range_of
from interp_assets.figures import shapes, style
from interp_assets.figures.records import FigureContext

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS: Final = 4
CONTEXT: Final = FigureContext(
    study="calibration", release="made scores", data_origin="semi_synthetic", verdict_state="", closed=False
)
NOISE_COLOURS: Final[Mapping[str, str]] = MappingProxyType(
    {"pure": style.BLUE, "confound-only": style.ORANGE, "co-expression-only": style.GREEN}
)
CRITERION_LOOKS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"a": (style.BLUE, "o"), "b": (style.VERMILLION, "s"), "c": (style.GREEN, "^")}
)


def drawn(name: str, results: pd.DataFrame) -> tuple[bytes, str]:
    """One figure of `FIGURES` in the look of every figure of the platform: SVG and title."""
    from matplotlib import rc_context

    with rc_context(style.RC):
        svg, title = FIGURES[name](results)
    return re.sub(rb' d="[^"]*"', _to_hundredths, svg), title


def _to_hundredths(path: re.Match[bytes]) -> bytes:
    """Path with its coordinates cut to hundredths of a point; thousands of quantiles carry six digits otherwise."""
    return re.sub(rb"(\d\.\d{2})\d+", rb"\1", path[0])


def quantiles(results: pd.DataFrame) -> tuple[bytes, str]:
    """Sorted p of every test in the worlds in which its null is true, against uniform quantiles; SVG and words."""
    levels = summary.levels_of_tests(results)
    tests = list(dict.fromkeys(levels["test"]))
    lines = -(-(len(tests) + 1) // COLUMNS)  # one panel more, for the legend
    figure = style.new_figure(1.0 + 2.0 * lines)
    axes = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axis in axes[len(tests) :]:
        axis.set_axis_off()
    recorded = summary.p_values(results)
    for axis, test in zip(axes, tests, strict=False):
        _quantile_panel(axis, recorded, levels[levels["test"] == test])
    _legend(axes[len(tests)])
    title = "Are p-values uniform where the null is true?"
    place = "sorted p of one seed each · grey band: 95% of uniform p · dashed: outcomes permuted"
    style.frame(figure, title, CONTEXT, place)
    words = [
        f"{row['test']} in {row['title']}: {percent(row['rate'])} below .05, distance {row['ks']:.3f}"
        for row in levels.to_dict("records")
    ]
    alt = f"Quantiles of p under true nulls, semi-synthetic data. {'; '.join(words)}."
    return style.to_svg(figure, "calibration-p", title, alt), title


def _quantile_panel(axis: Axes, recorded: Mapping[tuple[str, str], Any], levels: pd.DataFrame) -> None:
    every = worlds()
    words = []
    for place, row in enumerate(levels.to_dict("records")):
        world = every[row["world"]]
        p = recorded[world.name, row["test"]]
        permuted = world.name.endswith("/permuted")
        first = place == 0
        colour = NOISE_COLOURS[world.noise]
        shapes.uniform_quantiles(axis, p[np.isfinite(p)], colour, band=first, dashed=permuted)
        if first and permuted:
            axis.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.9)
        words.append(
            (percent(row["rate"]), colour, summary.level_verdict(row["low"], row["high"], row["n"]) == "too often")
        )
    axis.set_title(str(levels["test"].iloc[0]), fontsize=8.5)
    for place, (text, colour, often) in enumerate(words):
        weight = "bold" if often else "normal"
        shown = f"{text} !" if often else text
        axis.text(
            0.04, 0.96 - 0.1 * place, shown, transform=axis.transAxes, va="top", fontsize=7, color=colour,
            fontweight=weight,
        )  # fmt: skip


def _legend(axis: Axes) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, label=noise) for noise, colour in NOISE_COLOURS.items()]
    handles.append(Line2D([], [], color=style.MUTED, linestyle=(0, (4, 2)), label="outcomes permuted"))
    handles.append(Line2D([], [], linestyle="", label="numbers: share below .05\n! above its limits"))
    axis.legend(handles=handles, loc="center left", fontsize=7.5).set_in_layout(False)


def power_curves(results: pd.DataFrame) -> tuple[bytes, str]:
    """Pass rate of each criterion by planted strength, and by share of effects off the network; SVG and title."""
    table = summary.power(results)
    figure = style.new_figure(3.6)
    left, right = figure.subplots(1, 2, sharey=True)
    _curves(left, _along(table, "strength"), "strength", strength_label)
    _curves(right, _along(table, "off_network"), "off_network", lambda share: f"{share:.0%}")
    left.set_xlabel("planted strength (edge / noise)")
    left.set_ylabel("share of seeds that pass")
    right.set_xlabel(f"effects off the network, at strength {strength_label(SHIPPED_STRENGTH)}")
    right.legend(loc="center left", fontsize=7.5)
    title = "How strong must a planted network be to pass?"
    style.frame(figure, title, CONTEXT, "bars: exact 95% limits over seeds · dashed: power .8")
    words = [
        f"criterion {row['criterion']} at strength {strength_label(row['strength'])} and {row['off_network']:.0%} off "
        f"the network {percent(row['rate'])} {range_of(row['low'], row['high'])}"
        for row in table.to_dict("records")
        if row["criterion"] in CRITERION_LOOKS
    ]
    return style.to_svg(figure, "calibration-power", title, f"Power, semi-synthetic data: {'; '.join(words)}."), title


def _along(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Rows of the curve along one axis, the other one at its usual value."""
    if axis == "strength":
        return table[table["off_network"] == USUAL_OFF_NETWORK]
    return table[table["strength"] == SHIPPED_STRENGTH]


def _curves(axis: Axes, rows: pd.DataFrame, along: str, label: Callable[[float], str]) -> None:
    """Curves at equally spaced places, those of different criteria side by side so that their limits show."""
    places = sorted(rows[along].unique())
    axis.axhline(0.8, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 2)))
    for shift, (criterion, (colour, marker)) in zip((-0.12, 0.0, 0.12), CRITERION_LOOKS.items(), strict=True):
        part = rows[rows["criterion"] == criterion].sort_values(along)
        share: Any = part["rate"].to_numpy(dtype=float)
        error = np.array([share - part["low"].to_numpy(dtype=float), part["high"].to_numpy(dtype=float) - share])
        at = [places.index(value) + shift for value in part[along]]
        axis.errorbar(
            at, share, yerr=np.maximum(error, 0.0), color=colour, marker=marker, markersize=4, linewidth=1.3,
            elinewidth=0.9, label=f"criterion {criterion}",
        )  # fmt: skip
    axis.set_xticks(range(len(places)), [label(value) for value in places], fontsize=7.5)
    axis.set_ylim(-0.03, 1.03)


Picture = Callable[[pd.DataFrame], tuple[bytes, str]]
FIGURES: Final[Mapping[str, Picture]] = MappingProxyType(
    {"calibration-p": quantiles, "calibration-power": power_curves}
)
