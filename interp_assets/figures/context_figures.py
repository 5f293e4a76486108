"""Figures of attention against correlation in other contexts (analyses 28, 33, 37).

What belongs here: drawing the tables ``replication_28``, ``replication_33``, ``replication_37`` and ``hvg_protocol``.
What does not: gene-level baselines, gains and residuals of another screen, which the pictures of the primary screen
draw from its tables (`elsewhere`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.records import Draw, FigureContext, Mark, NothingToDrawError
from interp_assets.figures.screen_figures import where
from interp_assets.figures.wording import (
    MODALITY_LABELS,
    ROLE_LABELS,
    capital,
    count,
    interval,
    label,
    number,
    short,
    signed,
    span,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
REPLICATIONS = ("replication_37", "replication_28", "replication_33")
FEWEST_CONTEXTS = 2
ROLE_ORDER = ("primary_screen", "second_screen", "other_line_screen", "small_screens[1]", "small_screens[2]")
# Light to dark with depth; the shape says the same.
DEPTH_LOOKS = (("o", style.SKY), ("s", style.ORANGE), ("D", style.GREEN), ("^", style.PURPLE), ("v", style.INK))
READINGS = {
    "greater": "attention ahead",
    "smaller": "correlation ahead",
    "equal": "equal within the margin",
    "undecided": "undecided",
}
DIFFERENCE = "attention minus correlation\nmean, 95% interval"
NARROW = 44  # letters below one of two panels
LEAST_P = 0.001  # a smallest attainable p above it belongs on the face
LAYERS = 17  # a published layer k of 0..17 lies at the depth k / 17


def elsewhere(draw: Draw, renamed: Mapping[str, str]) -> Draw:
    """The same picture of another screen: ``renamed`` says which table stands for which of the picture's own."""

    def drawn(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
        return draw({name: tables[other] for name, other in renamed.items() if other in tables}, context)

    return drawn


def context_forest(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Attention minus correlation in every context of the study, a line a layer (28, 33, 37; paper figure 5)."""
    frame = _contexts(tables)
    groups = {role: rows.sort_values("depth") for role, rows in frame.groupby("role", sort=False)}
    if len(groups) < FEWEST_CONTEXTS:
        raise NothingToDrawError(f"one context was computed ({where(frame)}); a comparison needs {FEWEST_CONTEXTS}")
    depths = frame["depth"].to_numpy(dtype=float)
    layers = {float(depth): int(layer) for depth, layer in zip(depths, frame["layer"], strict=True)}
    looks = {depth: DEPTH_LOOKS[place % len(DEPTH_LOOKS)] for place, depth in enumerate(sorted(layers))}
    scores = tables.get("screen_scores")
    rows = [
        shapes.Lane(
            label=_context_label(part, scores),
            marks=tuple(
                _difference(row, *looks[depth])
                for row, depth in zip(part.itertuples(), part["depth"].to_numpy(dtype=float), strict=True)
            ),
        )
        for part in groups.values()
    ]
    least = 4
    lines = sum(max(len(row.marks), least) + shapes.LANE_GAP for row in rows)
    figure = style.new_figure(2.1 + 0.165 * lines)
    axis = figure.subplots()
    places = shapes.lanes(axis, rows, size=5.0, fontsize=7.5, least=least)
    axis.axvline(0, color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)))
    stars = _stars(axis, context, list(groups.values()), places)
    _readings(axis, list(groups.values()), places)
    entries = [
        shapes.Estimate(label=f"layer {layers[depth]}", value=None, marker=marker, colour=colour)
        for depth, (marker, colour) in looks.items()
    ]
    if stars:
        entries.append(shapes.Estimate(label="published", value=None, marker="*", colour=style.MUTED, hollow=True))
    shapes.key(axis, entries, columns=min(5, len(entries)))
    axis.set_xlabel(
        panels.named("mean AUROC difference over perturbations, attention minus correlation, 95% interval", stars, 96),
        fontsize=7.5,
    )
    style.frame(figure, "Is attention ahead of correlation in any context?", context, _contexts_place(groups))
    return figure, f"Attention minus correlation by context. {' '.join(map(_context_words, groups.values()))}"


def _contexts(tables: Tables) -> pd.DataFrame:
    """Rows of all replications, one a role and layer, roles in their order."""
    parts = [tables[name] for name in REPLICATIONS if name in tables]
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True)
    frame = frame[np.isfinite(frame["mean_difference"].to_numpy(dtype=float))]
    frame = frame.drop_duplicates(["role", "dataset", "layer"])
    if frame.empty:
        raise NothingToDrawError(f"{', '.join(REPLICATIONS)} have no finite difference")
    order = {role: place for place, role in enumerate(ROLE_ORDER)}
    ordered: pd.DataFrame = frame.sort_values(
        "role", key=lambda names: names.map(order).fillna(len(order)), kind="stable"
    )
    return ordered


def _difference(row: Any, marker: str, colour: str) -> shapes.Estimate:
    return shapes.Estimate(
        label=f"layer {row.layer}",
        value=shapes.finite(row.mean_difference),
        low=shapes.finite(row.ci_low),
        high=shapes.finite(row.ci_high),
        marker=marker,
        colour=colour,
    )


def _context_label(rows: pd.DataFrame, scores: pd.DataFrame | None) -> str:
    first = rows.iloc[0]
    kind = []
    if scores is not None and len(scores):
        about = scores[scores["dataset"] == first["dataset"]]
        kind += [label(MODALITY_LABELS, str(about["modality"].iloc[0]).lower())] if len(about) else []
    if str(first["data_origin"]) != "real":
        kind.append(str(first["data_origin"]).replace("_", "-"))
    kind.append(f"n = {span(rows['n_perturbations'])}")
    role = capital(label(ROLE_LABELS, first["role"]))
    return f"{role}\n{short(first['dataset'], 27)}\n{short(' · '.join(kind), 40)}"


def _stars(axis: Axes, context: FigureContext, groups: list[pd.DataFrame], places: list[list[float]]) -> list[Mark]:
    """Published differences on the line of the layer that the published one resolves to; without a line, none."""
    found, points = [], []
    for part, heights in zip(groups, places, strict=True):
        depths, layers = (part[name].to_numpy(dtype=float) for name in ("depth", "layer"))
        last = float(np.max(layers[depths > 0] / depths[depths > 0], initial=0.0))  # index of the last layer
        for mark in context.published(str(part["role"].iloc[0])):
            lines = [] if mark.x is None else np.flatnonzero(layers == np.round(mark.x * last))
            if len(lines):
                found.append(mark)
                points.append((mark.value, heights[lines[0]]))
    shapes.published_marks(axis, points, label="_published")
    return found


def _readings(axis: Axes, groups: list[pd.DataFrame], places: list[list[float]]) -> None:
    """What each interval reads as, right of the axes."""
    looks: dict[str, Any] = {
        "transform": axis.get_yaxis_transform(),
        "va": "center",
        "fontsize": 7,
        "color": style.MUTED,
    }
    for part, heights in zip(groups, places, strict=True):
        for row, place in zip(part.itertuples(), heights, strict=True):
            axis.text(1.01, place, label(READINGS, row.reading), **looks)


def _contexts_place(groups: Mapping[Any, pd.DataFrame]) -> str:
    margin = next(iter(groups.values()))["margin"].iloc[0]
    held = "1 context" if len(groups) == 1 else f"{len(groups)} contexts"
    return f"{held} · equal means inside ±{number(margin, 2)} by an equivalence test"


def _context_words(rows: pd.DataFrame) -> str:
    parts = [
        f"layer {row.layer} {signed(row.mean_difference)} ({interval(row.ci_low, row.ci_high)}), "
        f"{label(READINGS, row.reading)}"
        for row in rows.itertuples()
    ]
    return f"{capital(where(rows))}, {span(rows['n_perturbations'])} perturbations: {'; '.join(parts)}."


def replication_by_layer(table: str, question: str) -> Draw:
    """Picture of one replication: AUROC of both scores by layer, and their paired difference (figures S35, S36)."""

    def drawn(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
        frame = tables[table]
        frame = frame[np.isfinite(frame["mean_difference"].to_numpy(dtype=float))].sort_values("layer")
        if frame.empty:
            raise NothingToDrawError(f"{table} has no finite difference")
        figure = style.new_figure(2.15 + 0.42 * len(frame))
        left, right = figure.subplots(1, 2, width_ratios=[1.15, 1.0])
        names = [f"layer {row.layer}\nn = {count(row.n_perturbations)}" for row in frame.itertuples()]
        pair_of_scores(left, frame, names)
        stars = _difference_panel(right, frame, context)
        right.set_xlabel(panels.named(DIFFERENCE, stars, NARROW), fontsize=7.5)
        best = float(frame["smallest_p"].max())
        weak = f" · no test can fall below p {number(best, 4)}" if best >= LEAST_P else ""
        style.frame(figure, question, context, f"{where(frame)}{weak}")
        return figure, f"AUROC of attention and correlation by layer. {_pair_words(frame)}"

    return drawn


def pair_of_scores(axis: Axes, frame: pd.DataFrame, names: list[str]) -> None:
    """Mean AUROC of attention and of correlation on one line a row, joined; the frame's rows from top to bottom."""
    places = list(range(len(frame)))[::-1]
    for place, row in zip(places, frame.itertuples(), strict=True):
        both = (shapes.finite(row.mean_attention), shapes.finite(row.mean_correlation))
        ends = [value for value in both if value is not None]
        if len(ends) < len(both):
            shapes.mark(axis, place, shapes.Estimate(label="", value=None))
            continue
        axis.plot(ends, [place, place], color=style.GRID, linewidth=2.2, zorder=1)
        for name, value in zip(("attention", "correlation"), ends, strict=True):
            looks: dict[str, Any] = {"color": style.SCORE_COLOURS[name], "markersize": 6, "linestyle": "none"}
            told = capital(name) if place == places[0] else "_"
            axis.plot([value], [place], style.SCORE_MARKERS[name], label=told, **looks)
    axis.axvline(0.5, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axis.set_yticks(places, names)
    _quiet(axis, len(frame))
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.08)
    axis.set_xlabel("mean AUROC over perturbations\ndashed: chance, .5", fontsize=7.5)
    axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, fontsize=7.5, borderaxespad=0.2)


def _quiet(axis: Axes, lines: int) -> None:
    """Small ticks, few of them, and the height of so many lines."""
    axis.tick_params(axis="both", labelsize=7.5)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=5)
    axis.set_ylim(-0.6, lines - 0.4)


def _difference_panel(axis: Axes, frame: pd.DataFrame, context: FigureContext) -> list[Mark]:
    rows = [_difference(row, "o", style.BLUE) for row in frame.itertuples()]
    shapes.forest(axis, rows, threshold=0.0, labels=False)
    _quiet(axis, len(frame))
    places = [list(map(float, range(len(frame))))[::-1]]
    _readings(axis, [frame], places)
    return _stars(axis, context, [frame], places)


def _pair_words(frame: pd.DataFrame) -> str:
    parts = [
        f"layer {row.layer}: attention {number(row.mean_attention)}, correlation {number(row.mean_correlation)}, "
        f"difference {signed(row.mean_difference)} ({interval(row.ci_low, row.ci_high)}), "
        f"{label(READINGS, row.reading)}"
        for row in frame.itertuples()
    ]
    return f"{capital(where(frame))}, {span(frame['n_perturbations'])} perturbations: {'; '.join(parts)}."


def restricted_protocol(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Both scores when the model reads the most variable genes alone, on the same perturbations (37; figure S38 C)."""
    frame = tables["hvg_protocol"]
    known = np.isfinite(frame["mean_difference"].to_numpy(dtype=float))
    if not known.any():
        raise NothingToDrawError("hvg_protocol has no finite difference")
    figure = style.new_figure(2.3 + 0.46 * len(frame))
    left, right = figure.subplots(1, 2, width_ratios=[1.1, 1.0])
    names = [_condition_label(row) for row in frame.itertuples()]
    pair_of_scores(left, frame, names)
    rows = [_difference(row, "o", style.BLUE) for row in frame.itertuples()]
    shapes.forest(right, rows, threshold=0.0, labels=False)
    _quiet(right, len(frame))
    heights = {str(row.condition): float(place) for place, row in enumerate(frame[::-1].itertuples())}
    stars = panels.published(right, context, heights)
    _score_stars(left, context, heights)
    right.set_xlabel(panels.named(DIFFERENCE, stars, NARROW), fontsize=7.5)
    layer = f"layer {span(frame['layer'])}"
    style.frame(figure, "Does the choice of genes make the difference?", context, f"{where(frame)} · {layer}")
    return figure, f"{capital(where(frame))}, {layer}. {' '.join(map(_condition_words, frame.itertuples()))}"


def _score_stars(axis: Axes, context: FigureContext, heights: Mapping[str, float]) -> None:
    """Published AUROCs of both scores at the height of their condition, each with the first letters of its score."""
    looks: dict[str, Any] = {
        "textcoords": "offset points",
        "xytext": (0, 4),
        "ha": "center",
        "fontsize": 6,
        "color": style.MUTED,
    }
    for edge, letters in (("attention", "att."), ("correlation", "corr.")):
        for name, place in heights.items():
            for mark in panels.published(axis, context, {f"{edge}, {name}": place}):
                axis.annotate(letters, (mark.value, place), **looks)


def _condition_label(row: Any) -> str:
    name = capital(short(row.condition, 34))
    return f"{name}\n{count(row.n_genes)} genes, n = {count(row.n_perturbations)}" if row.n_perturbations else name


def _condition_words(row: Any) -> str:
    told = f"{capital(str(row.condition))} ({count(row.n_genes)} genes, {count(row.n_perturbations)} perturbations): "
    if shapes.finite(row.mean_difference) is None:
        return f"{told}not computed ({row.reason or 'no reason given'})."
    told += f"attention {number(row.mean_attention)}, correlation {number(row.mean_correlation)}, "
    told += f"difference {signed(row.mean_difference)} ({interval(row.ci_low, row.ci_high)})"
    if shapes.finite(row.change) is not None:
        told += f", change on these perturbations {signed(row.change)}"
    return f"{told}."
