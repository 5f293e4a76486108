"""Figures of reference recovery and incremental value (analyses 16, 25, 26, 31)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.screen_figures import main_role, where
from interp_assets.figures.wording import (
    LEARNER_LABELS,
    METRIC_LABELS,
    NULL_LABELS,
    SPLIT_LABELS,
    count,
    edge_name,
    is_missing,
    label,
    number,
    short,
    span,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
_PANEL_LETTERS = 30  # of a line in one of three panels; a longer one would leave the axes no room
GAIN = 0.005
RETAINED = 0.8
POWER = 0.8
EDGES = ("attention", "correlation")
JUDGED_METRICS = ("auroc", "auprc", "r_precision")


def _columns(frame: pd.DataFrame, column: str, order: tuple[str, ...]) -> list[str]:
    present = set(frame[column])
    return [key for key in order if key in present] + sorted(present - set(order))


def incremental_value(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Gain of an edge score over gene-level features, by split, learner and metric (analysis 31; figure S39)."""
    frame = main_role(tables["incremental_value"])
    metrics = [key for key in JUDGED_METRICS if (frame["metric"] == key).any()]
    if not metrics:
        raise NothingToDrawError(f"incremental_value has none of the metrics {', '.join(JUDGED_METRICS)}")
    gains = {metric: _gains(frame[frame["metric"] == metric]) for metric in metrics}
    rows = max(len(panel) for panel in gains.values())
    figure = style.new_figure(1.75 + 0.26 * rows + style.star_room(context))
    axes = figure.subplots(1, len(gains), squeeze=False)
    stars = []
    for position, (axis, (metric, panel)) in enumerate(zip(axes[0], gains.items(), strict=True)):
        shapes.forest(axis, panel, threshold=GAIN, labels=position == 0)
        axis.axvline(0, color=style.MUTED, linewidth=0.8)
        stars += panels.published(axis, context, _gain_places(frame[frame["metric"] == metric], metric))
        axis.set_title(label(METRIC_LABELS, metric))
        axis.tick_params(labelsize=8)
        axis.locator_params(axis="x", nbins=3)
    said = "gain over gene features alone · "
    said += f"95% interval, {span(frame['n_perturbations'])} perturbations\n"
    said += f"dashed: the lower end must lie right of {GAIN}"
    axes[0][len(gains) // 2].set_xlabel(panels.named(said, stars, 70), fontsize=8)
    style.frame(figure, "Does an edge add to what single genes already tell?", context, where(frame))
    return figure, _gain_words(gains, where(frame))


def _gain_keys(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Edge, split and learner of every line of a panel, from top to bottom."""
    return [
        (edge, split, learner)
        for edge in _columns(frame, "edge", EDGES)
        for split in _columns(frame, "split", tuple(SPLIT_LABELS))
        for learner in _columns(frame, "learner", ("logistic", "boosting"))
    ]


def _gain_places(frame: pd.DataFrame, metric: str) -> dict[str, float]:
    """Height of every line of a panel by the name of its published series."""
    keys = _gain_keys(frame)[::-1]
    return {f"{edge}, {metric}, {split}, {learner}": float(at) for at, (edge, split, learner) in enumerate(keys)}


def _gains(frame: pd.DataFrame) -> list[shapes.Estimate]:
    rows = []
    for edge, split, learner in _gain_keys(frame):
        match = frame[(frame["edge"] == edge) & (frame["split"] == split) & (frame["learner"] == learner)]
        rows.append(_gain_row(edge, split, learner, match))
    return rows


def _gain_row(edge: str, split: str, learner: str, match: pd.DataFrame) -> shapes.Estimate:
    name = f"{edge_name(edge)} · {label(SPLIT_LABELS, split)} · {label(LEARNER_LABELS, learner)}"
    row: Mapping[str, Any] = match.iloc[0].to_dict() if len(match) else {}
    return shapes.Estimate(
        label=name,
        value=shapes.finite(row.get("delta")),
        low=shapes.finite(row.get("ci_low")),
        high=shapes.finite(row.get("ci_high")),
        colour=style.SCORE_COLOURS.get(edge, style.ORANGE),
        marker="o" if learner == "logistic" else "D",
    )


def _gain_words(gains: Mapping[str, list[shapes.Estimate]], place: str) -> str:
    sentences = []
    for metric, panel in gains.items():
        attention = [row for row in panel if row.label.startswith(edge_name("attention"))]
        above = sum(row.low is not None and row.low > GAIN for row in attention)
        lows = [row.low for row in attention if row.low is not None]
        worst = f", lowest lower end {number(min(lows))}" if lows else ""
        sentences.append(
            f"{label(METRIC_LABELS, metric)}: {above} of {len(attention)} intervals of attention "
            f"lie above {GAIN}{worst}"
        )
    return f"Gain of adding an edge score to gene-level features, {place}. {'. '.join(sentences)}."


def residual_retention(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Raw and residual reference recovery, and the share kept, with the .8 line (analysis 25; figure S32)."""
    frame = main_role(tables["residual_summary"])
    runs = tables.get("residual_retention")
    rows = list(frame.itertuples())
    if not rows:
        raise NothingToDrawError("residual_summary has no row")
    figure = style.new_figure(1.95 + 0.4 * len(rows) + style.star_room(context))
    left, right = figure.subplots(1, 2)
    names = [f"{edge_name(row.edge)} · {label(LEARNER_LABELS, row.learner)} · {row.reference}" for row in rows]
    _dumbbell(left, rows, names)
    stars = panels.published(left, context, _residual_places(rows))
    left.set_xlabel(panels.named("AUROC (filled raw, hollow residual)\ndashed: chance, .5", stars, 40))
    kept = [_kept_row(row, name, runs) for row, name in zip(rows, names, strict=True)]
    shapes.forest(right, kept, threshold=RETAINED, labels=False)
    right.axvline(0, color=style.MUTED, linewidth=0.8)
    _clip_to_readable(right, kept)
    right.set_title("Share kept")
    right.set_xlabel(f"share of the above-chance part kept\n95% interval · dashed: {RETAINED} · grey: seeds")
    place = where(frame) + _pairs_behind(runs)
    style.frame(figure, "What is left after gene-level covariates are removed?", context, place)
    words = [
        f"{name}: AUROC {number(row.auroc_raw)} raw, {number(row.auroc_residual)} residual, kept {number(row.kept)}"
        for row, name in zip(rows, names, strict=True)
    ]
    return figure, f"Reference recovery before and after residualisation, {where(frame)}. {'. '.join(words)}."


def _dumbbell(axis: Axes, rows: list[Any], names: list[str]) -> None:
    places = list(range(len(rows)))[::-1]
    for place, row in zip(places, rows, strict=True):
        colour = style.SCORE_COLOURS.get(row.edge, style.ORANGE)
        raw, residual = shapes.finite(row.auroc_raw), shapes.finite(row.auroc_residual)
        if raw is not None and residual is not None:
            axis.plot([residual, raw], [place, place], color=colour, linewidth=1.4, alpha=0.6)
        if raw is not None:
            axis.plot([raw], [place], marker="o", color=colour, markersize=7.5, linestyle="none")
        if residual is not None:
            axis.plot([residual], [place], "o", markerfacecolor=style.PAPER, color=colour, markersize=5)
    axis.axvline(0.5, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axis.set_yticks(places, names)
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.grid(axis="y", visible=False)
    axis.set_title("Recovery of the reference")


def _pairs_behind(runs: pd.DataFrame | None) -> str:
    """How many pairs and positives a run held, where the table of single runs says so."""
    if runs is None or runs.empty or not {"n_pairs", "n_positive"} <= set(runs):
        return ""
    same = main_role(runs)
    return f" · {span(same['n_pairs'])} pairs, {span(same['n_positive'])} of them listed"


def _residual_places(rows: list[Any]) -> dict[str, float]:
    """Height of every line by its published series: those of an edge and learner stand at its first reference."""
    places: dict[str, float] = {}
    for place, row in zip(range(len(rows))[::-1], rows, strict=True):
        for state in ("raw", "residual"):
            places.setdefault(f"{row.edge}, {row.learner}, {state}", float(place))
    return places


def _kept_row(row: Any, name: str, runs: pd.DataFrame | None) -> shapes.Estimate:
    dots: tuple[float, ...] = ()
    if runs is not None and len(runs):
        same = main_role(runs)
        same = same[
            (same["edge"] == row.edge) & (same["reference"] == row.reference) & (same["learner"] == row.learner)
        ]
        dots = tuple(float(value) for value in same["kept"] if np.isfinite(value))
    value = shapes.finite(row.kept)
    return shapes.Estimate(
        label=name,
        value=value,
        low=shapes.finite(row.kept_ci_low),
        high=shapes.finite(row.kept_ci_high),
        colour=style.SCORE_COLOURS.get(row.edge, style.ORANGE),
        marker="o" if row.learner == "ols" else "D",
        dots=dots,
        note="nothing to retain" if value is None else "",
    )


def _clip_to_readable(axis: Axes, rows: list[shapes.Estimate], low: float = -1.0, high: float = 2.0) -> None:
    """Keep the axis readable where a share of almost nothing explodes; what lies outside is written out."""
    axis.set_xlim(max(axis.get_xlim()[0], low), min(max(axis.get_xlim()[1], 1.1), high))
    for place, row in zip(range(len(rows))[::-1], rows, strict=True):
        if row.value is not None and not low <= row.value <= high:
            side = 0.98 if row.value > high else 0.02
            axis.text(
                side, place + 0.3, f"off scale: {row.value:.1f}", transform=axis.get_yaxis_transform(),
                ha="right" if side > 0.5 else "left", fontsize=7.5, color=style.ALARM,
            )  # fmt: skip


def degree_null(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Null distributions with the observed value, and the decomposition (analysis 16; figure S27)."""
    frame = main_role(tables["degree_null"])
    draws = tables["degree_null_draws"]
    frame = frame[frame["edge"] == "attention"]
    references = list(dict.fromkeys(frame["reference"]))[:3]
    if not references:
        raise NothingToDrawError("degree_null has no row of the edge attention")
    figure = style.new_figure(1.3 + 2.1 * len(references))
    axes = figure.subplots(len(references), 3, squeeze=False)
    words = []
    for line, reference in zip(axes, references, strict=True):
        rows = frame[frame["reference"] == reference]
        for axis, null in zip(line[:2], NULL_LABELS, strict=True):
            words.append(_null_panel(axis, rows[rows["null"] == null], draws, reference, null))
        words.append(_decomposition(line[2], rows, reference))
    style.frame(figure, "Is recovery more than hubs? Attention against two nulls", context, where(frame))
    return figure, " ".join(words)


def _null_panel(axis: Axes, rows: pd.DataFrame, draws: pd.DataFrame, reference: str, null: str) -> str:
    title = label(NULL_LABELS, null)
    axis.set_title(title)
    axis.set_xlabel(short(f"AUROC, {reference}", _PANEL_LETTERS))
    same = draws[(draws["edge"] == "attention") & (draws["reference"] == reference) & (draws["null"] == null)]
    values = same["auroc"].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if rows.empty or not len(values):
        axis.text(0.03, 0.5, "no draws of this null", transform=axis.transAxes, style="italic", color=style.ALARM)
        axis.set_yticks([])
        return f"{title}, {reference}: no draws."
    row = rows.iloc[0]
    observed = shapes.finite(row["observed"])
    reason = row.get("reason", "")
    if shapes.finite(row["z"]) is None:
        verdict = "\n".join(["z not evaluable", *textwrap.wrap("" if is_missing(reason) else reason, _PANEL_LETTERS)])
    else:
        verdict = f"z = {row['z']:.1f}, p = {number(row['p'])}"
    shapes.null_histogram(axis, values, observed, f"{verdict}\nobserved {number(observed)} (line)")
    axis.set_ylabel(f"networks (n = {len(values):,})")
    told = f"observed AUROC {number(observed)}, null mean {number(row['null_mean'])}, {' '.join(verdict.split())}"
    return f"{title}, {reference}: {told}."


def _decomposition(axis: Axes, rows: pd.DataFrame, reference: str) -> str:
    axis.set_title("Decomposition")
    rows = rows[rows["null"] == "curveball"]
    parts = (
        [] if rows.empty else [shapes.finite(rows.iloc[0][f"{name}_part"]) for name in ("chance", "degree", "residual")]
    )
    if not parts or any(part is None for part in parts):
        axis.text(0.03, 0.5, "not evaluable", transform=axis.transAxes, style="italic", color=style.ALARM)
        axis.set_yticks([])
        return f"Decomposition, {reference}: not evaluable."
    chance, degree, residual = (part or 0.0 for part in parts)
    steps = [
        ("chance", 0.0, chance, style.GRID),
        ("degree", chance, chance + degree, style.ORANGE),
        ("rest", chance + degree, chance + degree + residual, style.BLUE),
    ]
    shapes.waterfall(axis, steps)
    ends = [chance, chance + degree, chance + degree + residual]
    axis.set_xlim(min(0.45, min(ends) - 0.05), max(*ends, 0.55) + 0.12)
    axis.set_xlabel(f"AUROC, {reference}")
    parts_in_words = f"chance {chance:.3f}, degree {degree:+.3f} and rest {residual:+.3f}"
    return f"Decomposition, {reference}: {parts_in_words}."


def incremental_power(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Power to see a planted gain, and the gain that was seen (analysis 26; figure 3B)."""
    frame = tables["incremental_power"]
    rows = list(frame.itertuples())
    figure = style.new_figure(1.7 + 0.36 * len(rows) + style.star_room(context))
    left, right = figure.subplots(1, 2)
    gains = [
        shapes.Estimate(
            label=f"{edge_name(row.edge)} (n = {count(row.n_pairs)} pairs)",
            value=shapes.finite(row.delta),
            low=shapes.finite(row.ci_low),
            high=shapes.finite(row.ci_high),
            colour=style.SCORE_COLOURS.get(row.edge, style.ORANGE),
        )
        for row in rows
    ]
    shapes.forest(left, gains, threshold=0.0)
    left.set_title("Gain seen")
    stars = panels.published(left, context, {row.edge: float(at) for at, row in enumerate(rows[::-1])})
    said = "gene features + edge, minus gene features\nAUROC, logistic, 95% interval"
    left.set_xlabel(panels.named(said, stars, 48))
    powers = [
        shapes.Estimate(
            label=row.edge,
            value=shapes.finite(row.power),
            colour=style.SCORE_COLOURS.get(row.edge, style.ORANGE),
            marker="s",
        )
        for row in rows
    ]
    shapes.forest(right, powers, threshold=POWER, labels=False)
    right.set_xlim(-0.05, 1.05)
    true_gain = shapes.finite(rows[0].true_gain)
    right.set_title(f"Power for a gain of {number(true_gain)}")
    right.set_xlabel(f"share of {count(rows[0].simulations)} simulations that saw it\ndashed: required {POWER}")
    style.frame(figure, "Would a small gain have been seen?", context)
    words = [
        f"{shapes.interval_words(gain)}, power {number(row.power, 2)}" for gain, row in zip(gains, rows, strict=True)
    ]
    return (
        figure,
        f"Gain over gene-level features, and power for a gain of {number(true_gain)}. {'. '.join(words)}.",
    )
