"""Figures of reference recovery regulator by regulator, and by kind of entry (analyses 17, 18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.screen_figures import main_role, where
from interp_assets.figures.wording import (
    ENTRY_LABELS,
    capital,
    count,
    edge_name,
    holds,
    label,
    listing,
    number,
    short,
    span,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
SHOWN_AT_MOST = 30
EXACT = "exact rank"
ENTRY_MARKERS = {"all": "o", "direction_known": "D", "size_matched": "s"}


def circularity(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Recovery of all entries, of those with known direction, of random parts as large (analysis 17; S29)."""
    frame = main_role(tables["circularity"])
    rows = [_entry_row(row) for row in frame.itertuples()]
    if all(row.value is None for row in rows):
        raise NothingToDrawError("circularity has no finite AUROC")
    single = _single_regulators(tables.get("circularity_per_regulator"))
    sizes = [len(rows), *([len(single)] if single else [])]
    figure = style.new_figure(1.45 + 0.36 * sum(sizes) + 0.75 * len(sizes))
    axes = figure.subplots(len(sizes), 1, squeeze=False, height_ratios=[size + 0.6 for size in sizes])[:, 0]
    shapes.forest(axes[0], rows, threshold=0.5)
    axes[0].set_title("All regulators pooled")
    places = {f"{row.edge}, {row.subset}": float(at) for at, row in enumerate(frame[::-1].itertuples())}
    stars = panels.published(axes[0], context, places)
    said = "AUROC (dashed: chance, .5) · 95% interval over regulators\nhollow: mean and middle 95% of random parts"
    axes[0].set_xlabel(panels.named(said, stars, 72))
    if single:
        shapes.strip(axes[1], single, reference=0.5)
        axes[1].set_title("One regulator at a time")
        axes[1].set_xlabel("AUROC of one regulator (bar: mean, dashed: chance, .5)")
    for axis in axes:
        axis.tick_params(axis="y", labelsize=8)
        axis.xaxis.label.set_size(8)
    reference = short(frame["reference"].iloc[0], 40)
    title = "Does recovery lean on entries of unknown direction?"
    style.frame(figure, title, context, f"{where(frame)} · reference {reference}")
    means = [f"{group.label} {number(group.values.mean())} (n = {len(group.values)})" for group in single]
    alone = f" Mean over regulators: {listing(means)}." if means else ""
    words = "; ".join(shapes.interval_words(row).replace("\n", ", ") for row in rows)
    return figure, f"AUROC of the pairs of {reference}, {where(frame)}. {words}.{alone}"


def _entry_row(row: Any) -> shapes.Estimate:
    name = f"{edge_name(row.edge)} · {label(ENTRY_LABELS, row.subset)}"
    return shapes.Estimate(
        label=f"{name}\n{count(row.n_positive)} pairs, {count(row.n_regulators)} regulators",
        value=shapes.finite(row.auroc),
        low=shapes.finite(row.ci_low),
        high=shapes.finite(row.ci_high),
        colour=style.SCORE_COLOURS.get(row.edge, style.MUTED),
        marker=ENTRY_MARKERS.get(row.subset, "^"),
        hollow=row.subset == "size_matched",
    )


def _single_regulators(frame: pd.DataFrame | None) -> list[shapes.Group]:
    if frame is None or frame.empty:
        return []
    rows = main_role(frame)
    rows = rows[np.isfinite(rows["auroc"].to_numpy(dtype=float))]
    return [
        shapes.Group(
            label=f"{edge_name(edge)} · {label(ENTRY_LABELS, subset)}",
            values=match["auroc"].to_numpy(dtype=float),
            colour=style.SCORE_COLOURS.get(str(edge), style.MUTED),
            marker=ENTRY_MARKERS.get(str(subset), "^"),
        )
        for (edge, subset), match in rows.groupby(["edge", "subset"], sort=False)
    ]


def per_regulator(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """AUROC of each regulator over its own candidates, most targets first (analysis 18; figure S28)."""
    frame = main_role(tables["per_regulator"])
    reference = frame["reference"].iloc[0]
    same = frame[(frame["reference"] == reference) & np.isfinite(frame["auroc"].to_numpy(dtype=float))]
    attention = same[same["edge"] == "attention"].sort_values(
        ["n_targets", "auroc", "regulator"], ascending=[False, False, True]
    )
    if attention.empty:
        raise NothingToDrawError("per_regulator has no finite AUROC of attention")
    shown = attention.head(SHOWN_AT_MOST)
    yardstick = same[same["edge"] == "correlation"].drop_duplicates("regulator").set_index("regulator")["auroc"]
    figure = style.new_figure(2.35 + 0.19 * len(shown))
    axis = figure.subplots()
    _regulator_rows(axis, shown, yardstick)
    rest = attention.iloc[len(shown) :]
    axis.set_xlabel(
        f"AUROC over {span(shown['n_candidates'])} candidate genes (dashed: chance, .5) · 95% bootstrap interval\n"
        + (_rest_words(rest) if len(rest) else "every regulator with a contrast is shown")
    )
    title = f"Which regulators' targets does attention rank first? ({short(reference, 34)})"
    style.frame(figure, title, context, where(frame))
    top = [f"{short(row.regulator, 24)} {number(row.auroc)} ({count(row.n_targets)})" for row in shown[:5].itertuples()]
    others = [name for name in dict.fromkeys(frame["reference"]) if name != reference]
    further = [_counts(frame[(frame["reference"] == name) & (frame["edge"] == "attention")], name) for name in others]
    return figure, (
        f"AUROC by regulator, {where(frame)}. {_counts(attention, reference)} "
        f"Most targets: {listing(top)}, with the number of targets in brackets. {' '.join(further)}"
    ).rstrip()


def _regulator_rows(axis: Axes, shown: pd.DataFrame, yardstick: pd.Series) -> None:
    rows = [_regulator_row(row) for row in shown.itertuples()]
    shapes.forest(axis, rows, threshold=0.5)
    axis.tick_params(axis="y", labelsize=7.5)
    places = np.arange(len(shown))[::-1]
    beside = yardstick.reindex(shown["regulator"]).to_numpy(dtype=float)
    axis.plot(beside, places, "|", color=style.VERMILLION, markersize=7, markeredgewidth=1.6)
    looks = [
        ("interval above .5", style.BLUE, "o", False),
        ("interval reaches .5", style.BLUE, "o", True),
        ("single target, exact rank, no interval", style.PURPLE, "D", True),
        ("the same, p < .05", style.PURPLE, "D", False),
        ("correlation", style.VERMILLION, "|", False),
    ]
    single = bool((shown["method"] == EXACT).any())
    entries = [
        shapes.Estimate(label=text, value=None, colour=colour, marker=marker, hollow=hollow)
        for text, colour, marker, hollow in looks
        if single or marker != "D"
    ]
    shapes.key(axis, entries, columns=3)


def _regulator_row(row: Any) -> shapes.Estimate:
    exact = row.method == EXACT
    targets = "target" if row.n_targets == 1 else "targets"
    return shapes.Estimate(
        label=f"{short(row.regulator, 16)} ({count(row.n_targets)} {targets})",
        value=shapes.finite(row.auroc),
        low=None if exact else shapes.finite(row.ci_low),
        high=None if exact else shapes.finite(row.ci_high),
        colour=style.PURPLE if exact else style.BLUE,
        marker="D" if exact else "o",
        hollow=not holds(row.above_chance),
    )


def _above(frame: pd.DataFrame) -> str:
    return f"{sum(holds(value) for value in frame['above_chance']):,} of {len(frame):,}"


def _rest_words(rest: pd.DataFrame) -> str:
    targets = span(rest["n_targets"])
    noun = "target" if targets == "1" else "targets"
    mean = number(rest["auroc"].mean())
    return f"not shown: {len(rest):,} regulators with {targets} {noun}, mean AUROC {mean}, {_above(rest)} above chance"


def _counts(frame: pd.DataFrame, reference: str) -> str:
    finite = frame[np.isfinite(frame["auroc"].to_numpy(dtype=float))]
    several, single = finite[finite["method"] != EXACT], finite[finite["method"] == EXACT]
    words = [f"{_above(several)} regulators with two or more targets have an interval above .5"] if len(several) else []
    if len(single):
        words.append(f"{_above(single)} with a single target have an exact p below .05")
    if len(frame) > len(finite):
        words.append(f"{len(frame) - len(finite)} have no contrast")
    return capital(f"{short(reference, 40)}: {listing(words) or 'no regulator has an AUROC'}.")
