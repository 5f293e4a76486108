"""Figures of recovery by number of cells: F1, repeatability between draws, AUROC beside hits (analysis 1).

One release is one tier. The paper's three tiers appear as published marks alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import curves, shapes, style
from interp_assets.figures.curves import Curve
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.wording import capital, count, listing, number, short, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
MAIN = "attention_layer_mean"
EDGES = {
    MAIN: ("Attention, mean of layers", style.BLUE, "o"),
    "attention": ("Attention, analysis layer", style.SKY, "^"),
    "correlation": ("Correlation", style.VERMILLION, "s"),
}
CELLS = "number of cells (log scale)"


def scaling_first(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """F1 of the kept edges against the primary reference by number of cells (analysis 1; figure S1)."""
    return _scaling(tables, context, 0)


def scaling_second(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """The same against the second reference (analysis 1; figure S2)."""
    return _scaling(tables, context, 1)


def _scaling(tables: Tables, context: FigureContext, place: int) -> tuple[Figure, str]:
    name, summary = _reference(tables["scaling_summary"], place)
    found = _curves(summary, "f1")
    if not any(one.known for one in found):
        raise NothingToDrawError(f"scaling_summary has no finite F1 against {short(name, 40)}")
    marks = context.published("f1")
    figure = style.new_figure(3.9)
    widths = [2.3, 1.0] if marks else [1.0]
    axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    runs = _runs(tables.get("scaling_runs"), name)
    _recovery_panel(axes[0], found, runs)
    seeds = span(summary["seeds"])
    axes[0].set_title(f"Computed: {short(name, 34)}")
    same = _same_in_all_seeds(runs)
    told = f"{CELLS}\nband: 95% bootstrap interval over {seeds} seeds · thin: single seeds"
    axes[0].set_xlabel(f"{told}\n{same}" if same else told)
    axes[0].set_ylabel("F1 of kept edges (log scale)")
    if marks:
        _published_panel(axes[1], context)
    style.frame(figure, "Do more cells recover more of a known network?", context, _kept_words(runs, name))
    words = ". ".join([*(curves.along(one, "cells", None) for one in found), *([capital(same)] if same else [])])
    return figure, f"Mean F1 of the kept edges against {short(name, 60)} over {seeds} seeds. {words}."


def _reference(summary: pd.DataFrame, place: int) -> tuple[str, pd.DataFrame]:
    names = list(dict.fromkeys(summary["reference"]))
    if place >= len(names):
        raise NothingToDrawError(
            f"scaling_summary holds one reference network, {short(names[0], 40)}; name a second one among the "
            "references of the study"
        )
    return str(names[place]), summary[summary["reference"] == names[place]]


def _curves(summary: pd.DataFrame, metric: str, edges: Sequence[str] = tuple(EDGES)) -> list[Curve]:
    """A curve with its interval for each kind of edge that the table holds."""
    found = []
    for edge in edges:
        rows = summary[(summary["edge"] == edge) & (summary["metric"] == metric)].sort_values("cells")
        if rows.empty:
            continue
        label, colour, marker = EDGES[edge]
        x, y, low, high = (curves.column(rows[name]) for name in ("cells", "mean", "ci_low", "ci_high"))
        found.append(
            Curve(label=label, x=x, y=y, low=low, high=high, colour=colour, marker=marker, dashed=edge != MAIN)
        )
    return found


def _runs(runs: pd.DataFrame | None, reference: str) -> pd.DataFrame | None:
    if runs is None or runs.empty:
        return None
    chosen = runs[(runs["edge"] == MAIN) & (runs["reference"] == reference)]
    return None if chosen.empty else chosen


def _same_in_all_seeds(runs: pd.DataFrame | None) -> str:
    """Words for numbers of cells at which no seed differs: draws of all cells there are have no spread."""
    if runs is None or runs["seed"].nunique() < 2:
        return ""
    level = runs.groupby("cells")["f1"].nunique()
    places = [count(cells) for cells, values in level.items() if values == 1]
    return f"all seeds are equal at {listing(places)} cells" if places else ""


def _recovery_panel(axis: Axes, found: Sequence[Curve], runs: pd.DataFrame | None) -> None:
    single = np.empty(0) if runs is None else curves.column(runs["f1"])
    bands = [end for one in found for end in (one.low, one.high) if end is not None]
    shelf = curves.log_with_zero(axis, np.concatenate([*[one.y for one in found], *bands, single]))
    if runs is not None:
        for _, seed in runs.sort_values("cells").groupby("seed", sort=True):
            heights = curves.lifted(curves.column(seed["f1"]), shelf)
            axis.plot(seed["cells"], heights, color=style.BLUE, linewidth=0.7, alpha=0.35)
    for one in found:
        low, high = (None if end is None else curves.lifted(end, shelf) for end in (one.low, one.high))
        y = curves.lifted(one.y, shelf)
        lifted = Curve(
            label=one.label, x=one.x, y=y, low=low, high=high, colour=one.colour, marker=one.marker, dashed=one.dashed
        )
        curves.curve(axis, lifted)
    curves.log_ticks(axis, np.concatenate([one.x for one in found]))
    curves.legend(axis, 0.4)


def _published_panel(axis: Axes, context: FigureContext) -> None:
    """Values of the paper on axes of their own: its pairs and cells differ, so that the levels do not compare."""
    marks = context.published("f1")
    shelf = curves.log_with_zero(axis, [mark.value for mark in marks])
    for model, dashes in zip(dict.fromkeys(mark.model for mark in marks), ("-", "--", ":"), strict=False):
        own = [(mark.x, mark.value) for mark in marks if mark.model == model and mark.x is not None]
        x, y = (np.array(numbers, dtype=np.float64) for numbers in zip(*sorted(own), strict=True))
        axis.plot(x, curves.lifted(y, shelf), dashes, color=style.MUTED, linewidth=0.9, label=model)
    curves.stars_at(axis, marks, "_published", shelf)
    curves.legend(axis, 0.4)
    curves.log_ticks(axis, [mark.x for mark in marks if mark.x is not None])
    axis.set_title("Published values", color=style.MUTED)
    axis.set_xlabel(f"number of cells\n{short(marks[0].dataset, 26)};\nother pairs and network")


def _kept_words(runs: pd.DataFrame | None, reference: str) -> str:
    if runs is None:
        return f"reference {short(reference, 60)}"
    kept, pairs, listed = (count(runs[name].iloc[0]) for name in ("kept", "pairs", "positives"))
    return f"{kept} of {pairs} candidate pairs kept · the reference lists {listed} of the candidates"


def scaling_repeatability(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Overlap and rank agreement of the edges of two draws by number of cells (analysis 1; figure S3)."""
    frame = tables["scaling_seed_pairs"]
    measures = {"jaccard": "Jaccard overlap of kept edges", "spearman": "Spearman correlation of scores"}
    if not any(np.isfinite(curves.column(frame[name])).any() for name in measures):
        raise NothingToDrawError("scaling_seed_pairs has no finite overlap of two draws")
    figure = style.new_figure(3.5)
    sentences = []
    for axis, (name, label) in zip(figure.subplots(1, 2), measures.items(), strict=True):
        sentences.append(_pairs_panel(axis, frame, name, label))
        curves.stars_at(axis, context.published(name))
        if name == "jaccard":
            chance = frame.groupby("cells", sort=True)["jaccard_by_chance"].first()
            axis.plot(chance.index, chance, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), label="by chance")
        else:
            axis.axhline(0, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), label="no agreement")
        marked = [mark.x for mark in context.published(name) if mark.x is not None]
        curves.log_ticks(axis, [*frame["cells"].astype(float), *marked])
        axis.set_title(label)
        pairs = span(frame.groupby(["cells", "disjoint"]).size())
        axis.set_xlabel(f"{CELLS}\na mark: two draws (n = {pairs}) · bar: mean")
        curves.legend(axis, 0.5)
    style.frame(figure, "Do two draws of cells agree on the edges?", context, _kept_pairs(frame))
    return figure, f"Agreement of the attention edges of two draws. {' '.join(sentences)}"


def _pairs_panel(axis: Axes, frame: pd.DataFrame, name: str, label: str) -> str:
    kinds = {
        False: ("cells in common by chance", style.BLUE, "o"),
        True: ("no cell in common", style.ORANGE, "D"),
    }
    parts = []
    for apart, (words, colour, marker) in kinds.items():
        rows = frame[frame["disjoint"].astype(bool) == apart]
        told: list[str] = []
        for cells, part in rows.groupby("cells", sort=True):
            values = curves.column(part[name])
            values = values[np.isfinite(values)]
            if not values.size:
                continue
            place = float(str(cells)) * (0.94 if apart else 1.06)
            offsets = np.exp(shapes.spread(values, 0.03)) if values.size > 1 else np.ones(1)
            looks: dict[str, Any] = {"s": 14, "color": colour, "marker": marker, "alpha": 0.6, "linewidths": 0}
            axis.scatter(place * offsets, values, label=None if told else words, **looks)
            note = _same_draw(part)
            if note:
                axis.annotate(
                    note, (place, values.mean()), (0, -9), textcoords="offset points", ha="right", va="top", fontsize=7,
                    color=style.ALARM,
                )  # fmt: skip
            axis.plot([place * 0.94, place * 1.06], [values.mean()] * 2, color=style.INK, linewidth=2)
            why = f", {note}" if note else ""
            told.append(f"{number(values.mean())} at {count(cells)} cells (n = {values.size}{why})")
        if told:
            parts.append(f"{words} {', '.join(told)}")
    return f"{label}, mean: {'; '.join(parts) or 'not computed'}."


def _same_draw(part: pd.DataFrame) -> str:
    """Note for draws that hold every cell of the data set: they are one draw, and agree for no other reason."""
    common = part["cells_in_common"] if "cells_in_common" in part.columns else pd.Series(dtype=float)
    return "all cells, one draw" if len(common) and float(common.min()) >= 1.0 else ""


def _kept_pairs(frame: pd.DataFrame) -> str:
    kept = span(frame["kept"]) if "kept" in frame.columns else ""
    return f"{kept} kept edges of each draw" if kept else ""


def scaling_metrics(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """AUROC of all candidate pairs beside hits of the kept ones, observed and by chance (analysis 1; figure S4)."""
    name, summary = _reference(tables["scaling_summary"], 0)
    auroc, hits = _curves(summary, "auroc"), _hits(summary)
    if not any(one.known for one in [*auroc, *hits]):
        raise NothingToDrawError(f"scaling_summary has no finite AUROC and no finite hits against {short(name, 40)}")
    figure = style.new_figure(3.7)
    left, right = figure.subplots(1, 2)
    marks = context.published("auroc")
    for one in auroc:
        curves.curve(left, one)
    curves.stars_at(left, marks)
    left.axhline(0.5, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    left.set_title("All candidate pairs")
    left.set_ylabel("AUROC (dashed: chance, .5)")
    for one in hits:
        curves.curve(right, one)
    right.set_ylim(bottom=0)
    right.set_title("Kept edges, attention")
    right.set_ylabel("listed pairs, mean of seeds")
    for axis, drawn, places in ((left, auroc, [mark.x for mark in marks]), (right, hits, [])):
        curves.log_ticks(axis, [*(x for one in drawn for x in one.x), *(x for x in places if x is not None)])
        axis.set_xlabel(f"{CELLS}\nband: 95% interval over {span(summary['seeds'])} seeds")
        curves.legend(axis, 0.42)
    words = _kept_words(_runs(tables.get("scaling_runs"), name), name)
    style.frame(figure, "Do all metrics tell the same story?", context, words)
    told = [f"AUROC, {curves.along(one, 'cells')}" for one in auroc]
    told += [curves.along(one, "cells", 2) for one in hits]
    return figure, f"Two metrics of the same runs against {short(name, 60)}. {'. '.join(told)}."


def _hits(summary: pd.DataFrame) -> list[Curve]:
    looks = {"hits": ("observed hits", style.BLUE, False), "expected": ("expected by chance", style.MUTED, True)}
    found = []
    for metric, (label, colour, dashed) in looks.items():
        for one in _curves(summary, metric, (MAIN,)):
            band = (one.low, one.high) if metric == "hits" else (None, None)
            found.append(Curve(label=label, x=one.x, y=one.y, low=band[0], high=band[1], colour=colour, dashed=dashed))
    return found
