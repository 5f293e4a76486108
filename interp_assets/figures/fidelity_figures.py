"""Figure of how far interventions move the model away from the clean one (analysis 36)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.ablation_rows import MATERIAL, in_order, look, named
from interp_assets.figures.records import FigureContext, Mark, NothingToDrawError
from interp_assets.figures.screen_figures import main_role, where
from interp_assets.figures.wording import number, parts_changed, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
SMALLEST = 1e-6  # of a log axis; what is smaller stands at its edge
HIDDEN, LOGITS = "hidden", "logits"
FEW_TICKS = 300  # ratio of the ends of an axis below which its decades alone are too few ticks
PALEST = 0.5  # of a family's colour, for its first condition


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One condition, or all random sets of one size, with its name and look."""

    name: str
    conditions: tuple[str, ...]
    colour: str
    marker: str
    dashed: bool = False


def intervention_fidelity(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Cosine distance to the clean model by layer, and of the logits, of every condition (36; figure S37)."""
    frame = main_role(tables["intervention_fidelity"])
    frame = frame[np.isfinite(frame["distance"].to_numpy(dtype=float))]
    conditions = main_role(tables["intervention_conditions"]).drop_duplicates("condition")
    conditions = in_order(conditions[conditions["condition"].isin(frame["condition"])])
    groups = {title: rows for title, rows in _groups(conditions).items() if len(rows)}
    if not groups:
        raise NothingToDrawError("intervention_fidelity has no finite distance of a declared condition")
    lines = {title: _lines(rows) for title, rows in groups.items()}
    heights = [max(len(shown), 7) + 2.5 for shown in lines.values()]
    figure = style.new_figure(1.6 + 0.18 * sum(heights))
    axes = figure.subplots(len(groups), 2, squeeze=False, width_ratios=[1.0, 0.62], height_ratios=heights)
    states = {state: frame[frame["state"] == state] for state in (HIDDEN, LOGITS)}
    beside, name = _beside(states)
    words, stars = [], list[Mark]()
    for (title, shown), (left, right) in zip(lines.items(), axes, strict=True):
        _layer_panel(left, shown, states[HIDDEN])
        left.set_title(title, fontsize=8.5)
        _named_panel(right, shown, beside)
        if beside is states[LOGITS]:
            named = [line.conditions[0] if len(line.conditions) == 1 else line.name for line in shown]
            stars += panels.published(right, context, {name: float(at) for at, name in enumerate(named[::-1])})
        words.append(f"{title}: {_words(shown, states)}.")
    distances = [*beside["distance"], *(mark.value for mark in stars)]
    _share_axes(axes, states[HIDDEN], distances, float(conditions["read_out_layer"].iloc[0]))
    axes[-1, 0].set_xlabel(
        f"layer, from 0 (state after it, mean over {span(frame['cells'])} cells)\n"
        "left of the dotted line: reaches the published read-out",
        fontsize=7.5,
    )
    said = f"cosine distance, {name}\n95% interval; random sets: range"
    axes[-1, 1].set_xlabel(panels.named(said, stars, 36), fontsize=7.5)
    style.frame(figure, "Did the interventions change the model at all?", context, where(frame))
    return figure, (
        f"Mean cosine distance to the clean model, {where(frame)}; above {number(MATERIAL, 2)} is material. "
        f"{' '.join(words)}"
    )


def _groups(conditions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    heads = conditions["operation"] == "zero_heads"
    before = conditions["pool"] == "upstream"
    dashed = " (dashed: before the read-out)" if (before & ~heads).any() else ""
    return {
        f"Uniform attention{dashed}, feed-forward layers": conditions[~heads],
        "Masks among all heads": conditions[heads & ~before],
        "Masks among heads before the read-out": conditions[heads & before],
    }


def _lines(rows: pd.DataFrame) -> list[_Line]:
    """One line a condition, but all random sets of a size from the upstream pool as one; paler means smaller dose."""
    sets = (rows["pool"] == "upstream") & (rows["family"] == "random")
    found = [(named(row), (row.family, row.pool), (row.condition,)) for row in rows[~sets].itertuples()]
    for size, part in rows[sets].groupby("size", sort=True):
        name = f"{len(part)} random sets ({parts_changed(size, 'random')})"
        found.append((name, ("random", "upstream"), tuple(part["condition"])))
    total, seen = Counter(kind for _, kind, _ in found), Counter[tuple[str, str]]()
    mixed = rows["pool"].nunique() > 1
    lines = []
    for name, kind, conditions in found:
        colour, marker = look(kind[0])
        share = 1.0 if total[kind] == 1 else PALEST + (1 - PALEST) * seen[kind] / (total[kind] - 1)
        seen[kind] += 1
        dashed = mixed and kind[1] == "upstream"
        looks: dict[str, Any] = {"colour": _paler(colour, share), "marker": marker, "dashed": dashed}
        lines.append(_Line(name=name, conditions=conditions, **looks))
    return lines


def _paler(colour: str, share: float) -> str:
    """Colour with a share of itself and the rest white, as hexadecimal text.

    >>> _paler("#0072b2", 1.0), _paler("#0072b2", 0.5)
    ('#0072b2', '#80b8d8')
    """
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - share * (255 - part)):02x}" for part in parts)


def _layer_panel(axis: Axes, lines: list[_Line], frame: pd.DataFrame) -> None:
    by_name = dict(list(frame.sort_values("layer").groupby("condition", sort=False)))
    for line in lines:
        many = len(line.conditions) > 1
        looks: dict[str, Any] = {"linewidth": 0.6} if many else {"linewidth": 1.3, "marker": line.marker}
        looks["linestyle"] = "--" if line.dashed else "-"
        for condition in line.conditions:
            found = by_name.get(condition)
            if found is not None:
                values = np.maximum(found["distance"].to_numpy(dtype=float), SMALLEST)
                axis.plot(found["layer"], values, color=line.colour, markersize=4, zorder=2 if many else 3, **looks)
    axis.set_ylabel("cosine distance, hidden state", fontsize=7.5)
    axis.tick_params(labelsize=7.5)


def _beside(states: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    """Distances of the logits, or where there are none the largest of the hidden state, with their name."""
    if len(states[LOGITS]):
        return states[LOGITS], "output logits"
    furthest = states[HIDDEN].sort_values("distance", ascending=False, kind="stable").drop_duplicates("condition")
    return furthest, "hidden state, largest\n(this model has no output logits)"


def _named_panel(axis: Axes, lines: list[_Line], frame: pd.DataFrame) -> None:
    """One distance by condition; its labels name the lines of the panel on the left."""
    facts = {row.condition: row for row in frame.itertuples()}
    shapes.forest(
        axis, [_distance_mark(line, [facts[key] for key in line.conditions if key in facts]) for line in lines]
    )
    axis.tick_params(axis="y", labelsize=7, length=0)
    axis.tick_params(axis="x", labelsize=7.5)


def _distance_mark(line: _Line, found: list[Any]) -> shapes.Estimate:
    looks: dict[str, Any] = {"label": line.name, "colour": line.colour, "marker": line.marker}
    if not found:
        return shapes.Estimate(value=None, note="not read", **looks)
    values = [max(float(row.distance), SMALLEST) for row in found]
    ends = [shapes.finite(found[0].ci_low), shapes.finite(found[0].ci_high)]
    low, high = (min(values), max(values)) if len(line.conditions) > 1 else ends
    return shapes.Estimate(
        value=float(np.mean(values)),
        low=None if low is None else max(low, SMALLEST),
        high=None if high is None else max(high, SMALLEST),
        **looks,
    )


def _share_axes(axes: Any, hidden: pd.DataFrame, beside: list[float], read_out: float) -> None:
    """The same layers and distances in every panel, with the line of materiality and the read-out layer."""
    layers = np.unique(hidden["layer"].to_numpy(dtype=int))
    for left, right in axes:
        _log_axis(left.yaxis, [*hidden["distance"], MATERIAL])
        left.axhline(MATERIAL, color=style.INK, linewidth=1.0, linestyle=(0, (4, 2)))
        left.axvline(read_out - 0.5, color=style.MUTED, linewidth=1.1, linestyle=":")
        left.set_xticks(layers[:: 1 + len(layers) // 14])
        left.set_xlim(min(layers.min(initial=0), read_out) - 0.7, layers.max(initial=1) + 0.4)
        _log_axis(right.xaxis, beside)


def _log_axis(axis: Any, values: list[float]) -> None:
    """Log scale over all values, with ticks in plain numbers; a value below `SMALLEST` stands at its edge."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = (max(float(end), SMALLEST) for end in (min(values), max(values)))
    low, high = low / 1.7, high * 1.7
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if high / low < FEW_TICKS else (1.0,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _words(lines: list[_Line], states: Mapping[str, pd.DataFrame]) -> str:
    parts = []
    for line in lines:
        hidden, logits = (frame[frame["condition"].isin(line.conditions)] for frame in states.values())
        furthest = hidden.groupby("condition")["distance"].max()
        parts.append(f"{line.name} hidden state {_range(furthest)}, logits {_range(logits['distance'])}")
    return "; ".join(parts)


def _range(values: pd.Series) -> str:
    if values.empty:
        return "not read"
    low, high = number(values.min()), number(values.max())
    return low if low == high else f"{low} to {high}"
