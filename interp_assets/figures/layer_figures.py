"""Figure of the layer choice: where it was made, and what it meets (analysis 23)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.screen_figures import main_role, where
from interp_assets.figures.wording import count, holds, is_missing, number, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]


def layer_choice(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Profile the layer was chosen on, and the profile of the evaluation at the frozen layer (23; figure S30)."""
    chosen_on = tables["layer_selection_profile"]
    chosen_on = chosen_on[np.isfinite(chosen_on["auroc"].to_numpy(dtype=float))].sort_values("layer")
    picked = chosen_on[[holds(value) for value in chosen_on["chosen"]]]
    if picked.empty:
        raise NothingToDrawError("layer_selection_profile marks no layer with an AUROC as chosen")
    evaluated = _evaluated(tables.get("layer_profile"))
    figure = style.new_figure(3.6)
    axes = figure.subplots(1, 1 if evaluated is None else 2, squeeze=False)[0]
    sentences = [_selection_panel(axes[0], chosen_on, picked.iloc[0])]
    if evaluated is not None:
        sentences.append(_evaluation_panel(axes[1], evaluated, float(picked["depth"].iloc[0])))
    else:
        sentences.append("The evaluation has no layer profile.")
    doubt, words = _record_words(tables.get("layer_choice"))
    place = f"evaluated on {where(evaluated)}" if evaluated is not None else "no profile of the evaluation"
    if doubt:
        axes[0].set_title(doubt, color=style.ALARM)
    style.frame(figure, "Was the layer fixed before the outcomes were seen?", context, place)
    return figure, " ".join([*sentences, *words])


def _evaluated(frame: pd.DataFrame | None) -> pd.DataFrame | None:
    if frame is None or frame.empty:
        return None
    rows = main_role(frame)
    rows = rows[(rows["subset"] == "all") & np.isfinite(rows["mean_auroc"].to_numpy(dtype=float))].sort_values("layer")
    return None if rows.empty else rows


def _selection_panel(axis: Axes, frame: pd.DataFrame, picked: pd.Series) -> str:
    layers, mean = frame["layer"].to_numpy(), frame["auroc"].to_numpy(dtype=float)
    low, high = (frame[end].to_numpy(dtype=float) for end in ("ci_low", "ci_high"))
    shapes.profile(axis, layers, mean, low, high, "AUROC, 95% interval over regulators")
    _mark_layer(axis, int(picked["layer"]), float(picked["auroc"]), "chosen here")
    reference, dataset = short(picked["reference"], 24), short(picked["dataset"], 22)
    axis.set_title(f"Chosen on {dataset}")
    axis.set_ylabel(f"AUROC of {reference}")
    axis.set_xlabel(
        f"layer (of {len(layers)}, from 0)\n{count(picked['n_positive'])} pairs of {count(picked['n_regulators'])} "
        "regulators"
    )
    _headroom(axis)
    return (
        f"On {dataset}, layer {int(picked['layer'])} of {len(layers)} recovers {reference} best: AUROC "
        f"{number(picked['auroc'])} ({number(picked['ci_low'])} to {number(picked['ci_high'])})."
    )


def _evaluation_panel(axis: Axes, frame: pd.DataFrame, depth: float) -> str:
    layers, mean = frame["layer"].to_numpy(), frame["mean_auroc"].to_numpy(dtype=float)
    half = 1.96 * frame["sd_auroc"].to_numpy(dtype=float) / np.sqrt(frame["n_perturbations"].to_numpy(dtype=float))
    shapes.profile(axis, layers, mean, mean - half, mean + half, "mean AUROC, 95% interval")
    frozen = int(np.argmin(np.abs(frame["depth"].to_numpy(dtype=float) - depth)))
    best = int(np.argmax(mean))
    _mark_layer(axis, int(layers[frozen]), float(mean[frozen]), "frozen layer")
    axis.set_title(f"Read on {short(frame['dataset'].iloc[0], 24)}")
    axis.set_ylabel("mean AUROC over perturbations")
    axis.set_xlabel(f"layer (of {len(layers)}, from 0)\n{count(frame['n_perturbations'].max())} perturbations")
    _headroom(axis)
    found = f"On {where(frame)}, the frozen layer {layers[frozen]} has a mean AUROC of {number(mean[frozen])}; "
    if best == frozen:
        return f"{found}no layer is higher."
    return f"{found}the highest, layer {layers[best]}, has {number(mean[best])}."


def _mark_layer(axis: Axes, layer: int, value: float, words: str) -> None:
    axis.axvline(layer, color=style.MUTED, linewidth=1, linestyle=":")
    axis.plot(
        [layer], [value], "D", color=style.VERMILLION, markersize=8, markeredgecolor=style.PAPER,
        label=f"{words}: layer {layer}, {number(value)}",
    )  # fmt: skip


def _headroom(axis: Axes) -> None:
    """Room for the legend above the curve."""
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.34 * (high - low))
    axis.legend(loc="upper left", fontsize=7.5)
    axis.set_xlim(axis.get_xlim()[0] - 0.3, axis.get_xlim()[1] + 0.3)


def _record_words(frame: pd.DataFrame | None) -> tuple[str, list[str]]:
    """Doubt that belongs on the face, and further sentences for the alt text, from the frozen record."""
    if frame is None or frame.empty:
        return "", []
    record: dict[str, Any] = frame.iloc[0].to_dict()
    words, doubt = [], ""
    if holds(record.get("same_cells")):
        doubt = "CHOSEN ON THE EVALUATED CELLS"
        words.append("The layer was chosen on the evaluated cells.")
    by_f1 = record.get("layer_by_f1")
    if not is_missing(by_f1):
        same = int(by_f1) == int(record.get("layer", by_f1))
        words.append(f"F1 would choose {'the same layer' if same else f'layer {int(by_f1)}'}.")
    return doubt, words
