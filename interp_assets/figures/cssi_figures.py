"""Figures of scoring within cell states: what strata recover, what null strata gain (analyses 10 and 24).

Cells are simulated everywhere except on real attention; the pictures say which is which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp_assets.figures import curves, shapes, style
from interp_assets.figures.curves import Curve
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.wording import count, number, short, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
STRATA = {
    "oracle": ("known states", style.GREEN, "o"),
    "estimated": ("estimated strata", style.BLUE, "s"),
    "shuffled": ("labels shuffled", style.ORANGE, "^"),
    "random": ("random labels", style.PURPLE, "v"),
    "gene_permuted": ("genes permuted", style.MUTED, "D"),
}
NULLS = ("shuffled", "random", "gene_permuted")
AGGREGATORS = {
    "max": ("best stratum", style.BLUE, "o"),
    "mean": ("mean of strata", style.ORANGE, "s"),
    "scenic": ("SCENIC-style", style.PURPLE, "^"),
}
RATIO = "F1 over pooled F1"


def cssi_dilution(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Dilution, the remedy by number of states and of strata, and real attention (10, 24; figure 1)."""
    scan = tables["cssi_k_scan"]
    if not _ratio_curves(scan):
        raise NothingToDrawError("cssi_k_scan has no finite ratio of F1 to pooled cells for any number of strata")
    figure = style.new_figure(6.6)
    top, bottom = figure.subplots(2, 2)
    sentences = [
        _dilution_panel(top[0], tables.get("cssi_dilution")),
        _ratio_panel(top[1], scan, context),
        _states_panel(bottom[0], tables["cssi_summary"], context),
        _attention_panel(bottom[1], tables.get("cssi_attention_scan")),
    ]
    real = "cssi_attention_scan" in tables and not tables["cssi_attention_scan"].empty
    place = "simulated cells, except the panel on real attention" if real else "simulated cells"
    shown = context if real else curves.simulated(context)
    style.frame(figure, "Does scoring within cell states undo dilution?", shown, place)
    return figure, " ".join(sentences)


def _dilution_panel(axis: Axes, frame: pd.DataFrame | None) -> str:
    if frame is None or not np.isfinite(curves.column(frame["simulated"])).any():
        curves.in_words(axis, "dilution of a pooled correlation: not computed")
        return "Dilution of a pooled correlation was not computed."
    told = []
    looks = ((style.BLUE, "o", "same means in all states"), (style.VERMILLION, "s", "means shifted by"))
    for (shift, rows), (colour, marker, words) in zip(frame.groupby("shift", sort=True), looks, strict=False):
        rows = rows.sort_values("share")
        x, expected, seen = (curves.column(rows[name]) for name in ("share", "expected", "simulated"))
        name = words if float(str(shift)) == 0 else f"{words} {float(str(shift)):g}"
        axis.plot(x, expected, color=colour, linewidth=1.2)
        axis.plot(x, seen, marker, color=colour, markersize=5, label=name)
        told.append(f"{name}, {number(seen[0], 2)} where {number(x[0], 2)} of the cells have the edge")
    axis.set_ylim(0, 1)
    axis.set_xlim(0, 1.05)
    axis.legend(fontsize=7.5, loc="upper left", borderaxespad=0.2)
    axis.set_title("Pooling dilutes an edge")
    axis.set_xlabel("share of cells that have the edge\nline: formula, marks: simulated cells")
    axis.set_ylabel("pooled correlation")
    return f"An edge of correlation {number(np.nanmax(seen), 1)} in some cells, pooled: {'; '.join(told)}."


def _states_panel(axis: Axes, summary: pd.DataFrame, context: FigureContext) -> str:
    """F1 of pooled and of stratified scores by number of states, one configuration of cells and states a place."""
    rows = summary[(summary["design"] == "synthetic") & (summary["aggregator"] == "max")]
    known = rows[rows["strata"] == "oracle"]
    setups = list(dict.fromkeys(zip(known["cells"], known["states"], strict=True)))
    if not setups or not np.isfinite(curves.column(known["f1"])).any():
        curves.in_words(axis, "simulated designs: not computed")
        return "The simulated designs were not computed."
    places = np.arange(len(setups), dtype=np.float64)
    found = [
        Curve(label="pooled cells", x=places, y=_at(known, setups, "f1_pooled"), colour=style.INK, marker="D"),
        *(
            Curve(
                label=name,
                x=places,
                y=_at(rows[rows["strata"] == key], setups, "f1"),
                colour=colour,
                marker=marker,
                dashed=key != "oracle",
            )
            for key, (name, colour, marker) in STRATA.items()
            if key in ("oracle", "estimated")
        ),
    ]
    for one in found:
        curves.curve(axis, one)
    marks = [
        (place, mark.value)
        for place, (cells, states) in zip(places, setups, strict=True)
        for name in ("pooled_f1", "max_f1")
        for mark in context.published(f"{name} {cells}/{states}")
    ]
    shapes.published_marks(axis, marks, "published")
    axis.set_xticks(places, [f"{count(states)}\n{count(cells)}" for cells, states in setups])
    axis.tick_params(axis="x", labelsize=8)
    axis.set_ylim(0, 1.05)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    curves.legend(axis, 0.3, ncols=2)
    axis.set_title("Best stratum, by number of states")
    axis.set_xlabel(f"number of states, and cells below\n{span(known['datasets'])} simulated data sets each")
    axis.set_ylabel("F1 at the number of true edges")
    ends = [f"{one.label} {number(one.y[0], 2)} to {number(one.y[-1], 2)}" for one in found]
    return f"From {count(setups[0][1])} to {count(setups[-1][1])} states, mean F1: {', '.join(ends)}."


def _at(rows: pd.DataFrame, setups: list[tuple[int, int]], name: str) -> curves.Float:
    by = {(row["cells"], row["states"]): row[name] for row in rows.to_dict("records")}
    return curves.column([by.get(setup, np.nan) for setup in setups])


def _ratio_curves(scan: pd.DataFrame, aggregator: str = "max") -> list[Curve]:
    found = []
    for key, (name, colour, marker) in STRATA.items():
        rows = scan[(scan["strata"] == key) & (scan["aggregator"] == aggregator)].sort_values("k")
        x, y = (curves.column(rows[column]) for column in ("k", "f1_ratio"))
        found.append(Curve(label=name, x=x, y=y, colour=colour, marker=marker, dashed=key in NULLS))
    return [one for one in found if one.known]


def _ratio_panel(axis: Axes, scan: pd.DataFrame, context: FigureContext, title: str = "By number of strata") -> str:
    found = _ratio_curves(scan)
    if not found:
        curves.in_words(axis, "scan over numbers of strata: not computed")
        return "The scan over numbers of strata was not computed."
    for one in found:
        curves.curve(axis, one, 4.0)
    axis.axhline(1.0, color=style.INK, linewidth=1, linestyle=(0, (4, 2)))
    curves.stars_at(axis, context.published("ratio"))
    _whole_ticks(axis, found)
    axis.set_ylim(bottom=0)
    curves.legend(axis, 0.5, ncols=2)
    axis.set_title(title)
    cells, states = count(scan["cells"].max()), count(scan["states"].max())
    axis.set_xlabel(f"number of strata K\n{cells} simulated cells of {states} states, {_datasets(scan)}")
    axis.set_ylabel(f"{RATIO} (dashed: 1)")
    best = [f"{one.label} {number(np.nanmax(one.y), 2)} at {count(one.x[int(np.nanargmax(one.y))])}" for one in found]
    return f"Largest ratio of F1 to pooled F1 over numbers of strata: {', '.join(best)}.{_refused(scan)}"


def _datasets(frame: pd.DataFrame) -> str:
    number_of = count(frame["datasets"].max())
    return f"{number_of} data set{'' if number_of == '1' else 's'}"


def _refused(scan: pd.DataFrame) -> str:
    """Numbers of strata that were not run, in words."""
    refused = sorted(
        {int(k) for k, why in zip(scan["k"], scan["refused"], strict=True) if isinstance(why, str) and why}
    )
    return f" Not run, too few cells a stratum: {span(refused)} strata." if refused else ""


def _whole_ticks(axis: Axes, found: list[Curve], more: Sequence[float] = ()) -> None:
    places = sorted({int(value) for one in found for value in one.x} | {int(value) for value in more})
    axis.set_xticks(places[:: 1 + len(places) // 12])


def _of_rule(rows: pd.DataFrame, column: str, rule: str, *, beside: bool) -> Curve:
    """One rule of combination by number of strata; ``beside``: dashed and hollow, under the name of its solid line."""
    name, colour, marker = AGGREGATORS[rule]
    return Curve(
        label=f"_{name}" if beside else name,
        x=curves.column(rows["k"]),
        y=curves.column(rows[column]),
        colour=colour,
        marker=marker,
        dashed=beside,
        hollow=beside,
    )


def _attention_panel(axis: Axes, scan: pd.DataFrame | None) -> str:
    """Gain of strata on real attention by number of strata, estimated against shuffled labels."""
    rows = None if scan is None else scan[np.isfinite(curves.column(scan["gain"]))]
    if rows is None or rows.empty:
        curves.in_words(axis, "real attention: not scanned in this evaluation")
        return "Real attention was not scanned in this evaluation."
    told = []
    for key in ("estimated", "shuffled"):
        for aggregator, (name, *_) in AGGREGATORS.items():
            own = rows[(rows["strata"] == key) & (rows["aggregator"] == aggregator)].sort_values("k")
            one = _of_rule(own, "gain", aggregator, beside=key == "shuffled")
            if one.known:
                curves.curve(axis, one, 4.0)
                told.append(f"{name}, {STRATA[key][0]}, {number(np.nanmax(one.y))}")
    axis.axhline(0, color=style.INK, linewidth=1, linestyle=(0, (4, 2)))
    axis.set_xticks(sorted({int(k) for k in rows["k"]}))
    curves.legend(axis, 0.3, ncols=2)
    first = rows.iloc[0]
    axis.set_title(f"Real attention, layer {count(first['layer'])}")
    axis.set_xlabel(
        f"number of strata K\nfilled: estimated strata · hollow: shuffled\n{count(first['cells'])} cells, "
        f"{short(first['reference'], 30)}"
    )
    axis.set_ylabel(f"AUROC minus pooled ({number(first['pooled'])})")
    return f"On real attention, largest gain in AUROC over pooled cells: {', '.join(told)}."


def cssi_null_stress(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """AUROC of known, estimated and meaningless strata with the same free choice (analysis 24; figure S22)."""
    draws, table = tables["cssi_null_draws"], tables["cssi_null"]
    pooled = shapes.finite(table["pooled"].iloc[0])
    gains = {key: _finite_gains(draws, key) for key in STRATA}
    if pooled is None or not any(len(values) for values in gains.values()):
        raise NothingToDrawError("cssi_null_draws has no finite gain over pooled cells, or cssi_null no pooled AUROC")
    figure = style.new_figure(3.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1.0])
    groups = [
        shapes.Group(label=name, values=pooled + gains[key], colour=colour, marker=marker)
        for key, (name, colour, marker) in STRATA.items()
        if len(gains[key])
    ]
    shapes.strip(left, groups, reference=pooled)
    places = {group.label: len(groups) - 1 - place for place, group in enumerate(groups)}
    marks = [(mark.value, places[STRATA[key][0]] - 0.3) for key in STRATA if STRATA[key][0] in places
             for mark in context.published(key)]  # fmt: skip
    shapes.published_marks(left, marks, "published range")
    choices = count(draws["choices"].max())
    left.set_title("Best of all choices")
    stars = "\nstars: both ends of the published range" if marks else ""
    left.set_xlabel(f"AUROC, best of {choices} numbers of strata and rules\ndashed: pooled cells; n: draws{stars}")
    told = _at_states(right, table, [key for key in STRATA if len(gains[key])])
    style.frame(
        figure, "Would strata without meaning gain as much?", curves.simulated(context),
        f"{count(table['n_cells'].max())} simulated cells, {_datasets(table)}",
    )  # fmt: skip
    words = [f"{group.label} {number(group.values.mean())} (n = {len(group.values)})" for group in groups]
    return figure, f"Pooled AUROC {number(pooled)}; best of {choices} choices, mean: {', '.join(words)}. {told}"


def _finite_gains(draws: pd.DataFrame, kind: str) -> curves.Float:
    values = curves.column(draws.loc[draws["strata"] == kind, "gain"])
    return values[np.isfinite(values)]


def _at_states(axis: Axes, table: pd.DataFrame, kinds: list[str]) -> str:
    """Gain with one number of strata and no choice among numbers: the largest the table holds up to 6 strata."""
    strata = max((int(k) for k in table["k"] if k <= 6), default=int(table["k"].min()))
    rows = table[(table["k"] == strata) & (table["aggregator"] == "max")].set_index("strata")
    found = [
        shapes.Estimate(
            label=name,
            value=shapes.finite(rows.loc[key, "gain"]) if key in rows.index else None,
            low=shapes.finite(rows.loc[key, "ci_low"]) if key in rows.index else None,
            high=shapes.finite(rows.loc[key, "ci_high"]) if key in rows.index else None,
            colour=colour,
            marker=marker,
        )
        for key, (name, colour, marker) in STRATA.items()
        if key in kinds
    ]
    shapes.forest(axis, found, labels=False)
    axis.axvline(0, color=style.INK, linewidth=1, linestyle=(0, (4, 2)))
    axis.set_title(f"{strata} strata, no choice")
    axis.set_xlabel("AUROC of the best stratum minus pooled\nline: 95% of null draws, or interval\nover data sets")
    return f"With {strata} strata and no choice, gain: {'. '.join(map(shapes.interval_words, found))}."


def cssi_k_scan(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """F1 ratio, rules of combination, realised false share and power by number of strata (analysis 24; S23)."""
    scan = tables["cssi_k_scan"]
    if not _ratio_curves(scan):
        raise NothingToDrawError("cssi_k_scan has no finite ratio of F1 to pooled cells for any number of strata")
    figure = style.new_figure(6.2)
    top, bottom = figure.subplots(2, 2)
    sentences = [
        _ratio_panel(top[0], scan, context, "Best stratum, real and null strata"),
        _rules_panel(top[1], scan),
        _calls_panel(bottom[0], scan, "false_share", "False share of called edges", context),
        _calls_panel(bottom[1], scan, "power", "Power: share of true edges called", context),
    ]
    style.frame(
        figure, "How many strata, combined how?", curves.simulated(context),
        f"{count(scan['cells'].max())} simulated cells of {count(scan['states'].max())} states, {_datasets(scan)}",
    )  # fmt: skip
    return figure, " ".join(sentences)


def _rules_panel(axis: Axes, scan: pd.DataFrame) -> str:
    told = []
    for key, (name, *_) in AGGREGATORS.items():
        for kind in ("oracle", "estimated"):
            rows = scan[(scan["strata"] == kind) & (scan["aggregator"] == key)].sort_values("k")
            one = _of_rule(rows, "f1_ratio", key, beside=kind == "estimated")
            if one.known:
                curves.curve(axis, one, 4.0)
                told.append(f"{name}, {STRATA[kind][0]}, {number(np.nanmax(one.y), 2)}")
    if not told:
        curves.in_words(axis, "rules of combination: not computed")
        return "The rules of combination were not compared."
    axis.axhline(1.0, color=style.INK, linewidth=1, linestyle=(0, (4, 2)))
    _whole_ticks(axis, _ratio_curves(scan))
    axis.set_ylim(bottom=0)
    curves.legend(axis, 0.3, ncols=2)
    axis.set_title("Rule of combination")
    axis.set_xlabel("number of strata K\nfilled: known states · hollow: estimated strata")
    axis.set_ylabel(f"{RATIO} (dashed: 1)")
    return f"Largest ratio by rule: {'; '.join(told)}."


def _calls_panel(axis: Axes, scan: pd.DataFrame, value: str, title: str, context: FigureContext) -> str:
    """Called edges by number of strata, best stratum, beside the calls from pooled cells."""
    cells = scan.loc[scan["strata"] == "pooled", value]
    pooled = None if cells.empty else shapes.finite(cells.iloc[0])
    told = []
    for kind in ("oracle", "estimated"):
        name, colour, marker = STRATA[kind]
        rows = scan[(scan["strata"] == kind) & (scan["aggregator"] == "max")].sort_values("k")
        x, y = (curves.column(rows[column]) for column in ("k", value))
        one = Curve(label=name, x=x, y=y, colour=colour, marker=marker)
        if one.known:
            curves.curve(axis, one, 4.0)
            told.append(f"{name} {number(np.nanmin(y), 2)} to {number(np.nanmax(y), 2)}")
    if not told:
        curves.in_words(axis, f"{title}: not computed")
        return f"{title}: not computed."
    if pooled is not None:
        axis.axhline(pooled, color=style.INK, linewidth=1, linestyle=(0, (4, 2)), label="pooled cells")
        told.append(f"pooled cells {number(pooled, 2)}")
    curves.stars_at(axis, context.published(value), "published bound")
    _whole_ticks(axis, _ratio_curves(scan), [mark.x for mark in context.published(value) if mark.x is not None])
    axis.set_ylim(-0.03, 1.05)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    curves.legend(axis, 0.35, ncols=2)
    axis.set_title(title)
    axis.set_xlabel("number of strata K\nedges called by Benjamini-Hochberg at .05")
    axis.set_ylabel(title.split(":")[0].split(" of")[0].lower())
    return f"{title}: {', '.join(told)}."
