"""Figures of choices that an analysis could have made otherwise: 27 conditions, layers by fold (analyses 20, 30)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.screen_figures import main_role, where
from interp_assets.figures.wording import capital, count, edge_name, holds, interval, number, signed, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
GRID_SCORES = ("attention", "correlation")
NOT_COMPUTED = "–"


def sensitivity_grid(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Mean AUROC of both scores in 27 conditions, a field each (analysis 20; figure S12)."""
    frame = main_role(tables["sensitivity_grid"])
    scores = [name for name in GRID_SCORES if (frame["score"] == name).any()]
    shown = frame[frame["score"].isin(scores)]
    values = shown["mean_auroc"].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        raise NothingToDrawError("sensitivity_grid has no finite mean AUROC of attention or correlation")
    folds = sorted(shown["log_fold"].unique())
    figure = style.new_figure(1.8 + 1.4 * len(scores))
    grid = figure.subplots(len(scores), len(folds), squeeze=False)
    limits = (float(values.min()), float(values.max()))
    for row, score in zip(grid, scores, strict=True):
        for axis, fold in zip(row, folds, strict=True):
            part = shown[(shown["score"] == score) & (shown["log_fold"] == fold)]
            _fields(axis, part, limits)
            axis.set_title(f"{edge_name(score)}, |log fold| > {fold:g}", fontsize=8.5)
        row[0].set_ylabel("control cells\nbehind edges", fontsize=7.5)
    marks = context.published("range")
    told = "genes tested\ncolour: mean AUROC over perturbations · bold frame: setting of the primary analysis"
    if marks:
        ends = " to ".join(number(mark.value) for mark in marks)
        told += f"\npublished range (edges, {marks[0].dataset}): {ends}"
    grid[-1][len(folds) // 2].set_xlabel(told, fontsize=7.5)
    style.frame(
        figure, "Does the result hang on one choice of parameters?", context, f"{where(frame)} · {_sizes(shown)}"
    )
    return figure, " ".join([f"{capital(where(frame))}.", *(_grid_words(shown, score) for score in scores)])


def _fields(axis: Axes, part: pd.DataFrame, limits: tuple[float, float]) -> None:
    """Fields of one threshold, cells up and genes across, each with its number."""
    cells, genes = sorted(part["edge_cells"].unique()), sorted(part["genes_tested"].unique())
    low, high = limits
    for row in part.itertuples():
        across, up = genes.index(row.genes_tested), cells.index(row.edge_cells)
        value = shapes.finite(row.mean_auroc)
        level = 0.0 if value is None else (value - low) / max(high - low, 1e-9)
        colour = style.PAPER if value is None else _shade(level)
        base = holds(row.is_base)
        looks: dict[str, Any] = {"edgecolor": style.INK if base else style.PAPER, "linewidth": 2.2 if base else 0.8}
        axis.add_patch(_field(across, up, colour, 3.0 if base else 2.0, looks))
        ink = style.INK if value is None or level < 0.45 else style.PAPER
        fixed = {style.INK: "#1c2129", style.PAPER: "#ffffff"}  # on a colour that is the same in light and dark
        axis.text(
            across, up, NOT_COMPUTED if value is None else number(value), ha="center", va="center", fontsize=7.5,
            color=ink if value is None else fixed[ink], zorder=4,
        )  # fmt: skip
    axis.set_xlim(-0.55, len(genes) - 0.45)
    axis.set_ylim(-0.55, len(cells) - 0.45)
    axis.set_xticks(range(len(genes)), [count(value) for value in genes], fontsize=7.5)
    axis.set_yticks(range(len(cells)), [count(value) for value in cells], fontsize=7.5)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)


def _field(across: int, up: int, colour: Any, order: float, looks: Mapping[str, Any]) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((across - 0.5, up - 0.5), 1, 1, facecolor=colour, zorder=order, **looks)


def _shade(level: float) -> tuple[float, float, float]:
    """Blue from light (0) to dark (1): lightness alone tells values apart, also in print."""
    light, dark = np.array([0.90, 0.95, 0.99]), np.array([0.0, 0.26, 0.45])
    return tuple(float(part) for part in light + (dark - light) * min(max(level, 0.0), 1.0))  # type: ignore[return-value]


def _sizes(rows: pd.DataFrame) -> str:
    return f"n = {span(rows['n'])} perturbations a condition"


def _grid_words(frame: pd.DataFrame, score: str) -> str:
    rows = frame[frame["score"] == score]
    known = rows[np.isfinite(rows["mean_auroc"].to_numpy(dtype=float))]
    if known.empty:
        return f"{edge_name(score)}: no condition computed."
    wins = sum(holds(value) for value in known["gene_level_wins"])
    missing = len(rows) - len(known)
    return (
        f"{edge_name(score)}: mean AUROC {number(known['mean_auroc'].min())} to {number(known['mean_auroc'].max())} in "
        f"{len(known)} conditions{f' ({missing} not computed)' if missing else ''}; a statistic of single genes is "
        f"ahead in {wins} of {len(known)}."
    )


def nested_layers(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Layer that inner folds chose in each outer fold, its held-out difference, and every layer's (30; figure S31)."""
    folds = main_role(tables["nested_layer_choice"]).sort_values("fold")
    folds = folds[np.isfinite(folds["difference"].to_numpy(dtype=float))]
    if folds.empty:
        raise NothingToDrawError("nested_layer_choice has no fold with a held-out difference")
    profile = tables.get("nested_layer_profile")
    figure = style.new_figure(3.4)
    axes = figure.subplots(
        1, 1 if profile is None else 2, squeeze=False, width_ratios=[1.0, 1.2][: 1 + (profile is not None)]
    )[0]
    pooled = float(np.average(folds["difference"], weights=folds["n_test"]))
    stars = _fold_panel(axes[0], folds, pooled, context)
    axes[0].set_xlabel(panels.named("held-out AUROC difference,\nattention minus correlation", stars, 44), fontsize=7.5)
    said = (
        f"On {where(folds)}, inner folds chose {_chosen(folds)}; held-out difference {signed(pooled)} on average over "
    )
    said += f"{count(folds['n_test'].sum())} perturbations ({_fold_words(folds)})."
    if profile is not None:
        said += f" {_profile_panel(axes[1], main_role(profile).sort_values('layer'), folds)}"
    style.frame(figure, "Is any layer better without looking at the outcome?", context, where(folds))
    return figure, said


def _fold_panel(axis: Axes, folds: pd.DataFrame, pooled: float, context: FigureContext) -> Any:
    places = list(range(1, len(folds) + 1))[::-1]
    looks: dict[str, Any] = {"color": style.BLUE, "markersize": 6, "linestyle": "none"}
    axis.plot(folds["difference"], places, "o", label="one outer fold", **looks)
    axis.plot([pooled], [0], "D", color=style.INK, markersize=7, linestyle="none", label="all folds, by size")
    axis.axvline(0, color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)))
    stars = panels.published(axis, context, {"pooled": 0.0})
    names = [f"fold {row.fold}: layer {row.layer} (n = {count(row.n_test)})" for row in folds.itertuples()]
    axis.set_yticks([*places, 0], [*names, f"mean (n = {count(folds['n_test'].sum())})"])
    axis.tick_params(axis="both", labelsize=7.5)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.6, len(folds) + 0.6)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)
    axis.set_title("Layer chosen by inner folds", fontsize=8.5)
    return stars


def _profile_panel(axis: Axes, profile: pd.DataFrame, folds: pd.DataFrame) -> str:
    profile = profile[np.isfinite(profile["mean_difference"].to_numpy(dtype=float))]
    if profile.empty:
        axis.set_axis_off()
        return "No layer has a difference over all perturbations."
    layers = profile["layer"].to_numpy()
    mean, low, high = (profile[name].to_numpy(dtype=float) for name in ("mean_difference", "ci_low", "ci_high"))
    axis.fill_between(layers, low, high, color=style.BLUE, alpha=0.18, linewidth=0)
    axis.plot(layers, mean, color=style.BLUE, marker="o", markersize=4.5)
    axis.axhline(0, color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)))
    axis.set_xticks(layers[:: 1 + len(layers) // 14])
    chosen = profile[profile["layer"].isin(folds["layer"])]
    axis.plot(
        chosen["layer"], chosen["mean_difference"], "D", color=style.VERMILLION, markersize=7, linestyle="none",
        label="chosen in a fold",
    )  # fmt: skip
    fixed = profile[[holds(value) for value in profile["fixed_beforehand"]]]
    for layer in fixed["layer"].to_numpy(dtype=float):
        axis.axvline(layer, color=style.MUTED, linewidth=1, linestyle=":", label="layer used by the tests")
    low_end, high_end = axis.get_ylim()
    axis.set_ylim(low_end, high_end + 0.28 * (high_end - low_end))
    axis.legend(loc="upper left", fontsize=7.5)
    axis.set_title("Every layer: attention minus correlation", fontsize=8.5)
    axis.tick_params(labelsize=7.5)
    said = f"layer (of {len(layers)}, from 0) · {span(profile['n_perturbations'])} perturbations\nband: 95% interval"
    axis.set_xlabel(said, fontsize=7.5)
    axis.set_ylabel("AUROC difference", fontsize=7.5)
    best = profile.iloc[int(np.argmax(mean))]
    return (
        f"Over all perturbations layer {int(best['layer'])} is highest, {signed(best['mean_difference'])} "
        f"({interval(best['ci_low'], best['ci_high'])})."
    )


def _chosen(folds: pd.DataFrame) -> str:
    counts = folds["layer"].value_counts().sort_index()
    return ", ".join(f"layer {layer} in {times} of {len(folds)}" for layer, times in counts.items())


def _fold_words(folds: pd.DataFrame) -> str:
    return "; ".join(f"fold {row.fold} {signed(row.difference)}" for row in folds.itertuples())
