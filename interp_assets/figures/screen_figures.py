"""Figures of the perturbation screens: who predicts which genes change (analyses 19, 21, 22)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.wording import (
    ROLE_LABELS,
    SCORE_LABELS,
    SUBSET_LABELS,
    capital,
    count,
    edge_name,
    label,
    listing,
    number,
    short,
    signed,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
FIRST_ROLE = "primary_screen"


def main_role(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the primary screen, or of the first role in the table when there is no primary screen."""
    if "role" not in frame.columns or frame.empty:
        return frame
    role = FIRST_ROLE if (frame["role"] == FIRST_ROLE).any() else frame["role"].iloc[0]
    return frame[frame["role"] == role]


def where(frame: pd.DataFrame) -> str:
    """Data set and role behind the rows shown, for axis titles and alt texts."""
    names = [short(frame["dataset"].iloc[0], 60)] if "dataset" in frame.columns else []
    roles = [label(ROLE_LABELS, frame["role"].iloc[0])] if "role" in frame.columns else []
    return ", ".join([*names, *roles]) or "data set not stated"


def perturbation_auroc(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Per-perturbation AUROC of every score, a panel a gene subset (analysis 19; paper figures 2, S13)."""
    frame = main_role(tables["perturbation_auroc"])
    frame = frame[np.isfinite(frame["auroc"])]
    subsets = [key for key in SUBSET_LABELS if (frame["subset"] == key).any()]
    if not subsets:
        raise NothingToDrawError(f"perturbation_auroc has no finite AUROC in the subsets {listing([*SUBSET_LABELS])}")
    strips = {key: _groups(frame[frame["subset"] == key]) for key in subsets}
    rows = sum(len(groups) for groups in strips.values())
    figure = style.new_figure(1.25 + 0.36 * rows + 0.45 * len(strips))
    axes = figure.subplots(len(strips), 1, squeeze=False, sharex=True, height_ratios=[len(g) for g in strips.values()])
    sentences, stars = [], []
    for axis, (subset, groups) in zip(axes[:, 0], strips.items(), strict=True):
        shapes.strip(axis, groups, reference=0.5)
        axis.set_title(capital(label(SUBSET_LABELS, subset)))
        if subset == "all":
            stars = panels.published(axis, context, _strip_places(frame[frame["subset"] == subset]))
        means = [f"{group.label} {number(group.values.mean())} (n = {len(group.values)})" for group in groups]
        sentences.append(f"{capital(label(SUBSET_LABELS, subset))}: {listing(means)}.")
    axes[-1, 0].set_xlabel(panels.named("AUROC of one perturbation (dashed line: chance, .5)", stars))
    style.frame(figure, "Which score ranks first the genes that a perturbation changes?", context, where(frame))
    return figure, f"Mean AUROC over perturbations of {where(frame)}. {' '.join(sentences)}"


def _ordered_scores(frame: pd.DataFrame) -> list[str]:
    present = set(frame["score"])
    return [key for key in SCORE_LABELS if key in present] + sorted(present - set(SCORE_LABELS))


def _strip_places(frame: pd.DataFrame) -> dict[str, float]:
    """Height of each score in a panel of strips."""
    return {score: float(place) for place, score in enumerate(reversed(_ordered_scores(frame)))}


def _groups(frame: pd.DataFrame) -> list[shapes.Group]:
    return [
        shapes.Group(
            label=label(SCORE_LABELS, key),
            values=frame.loc[frame["score"] == key, "auroc"].to_numpy(dtype=float),
            colour=style.SCORE_COLOURS.get(key, style.ORANGE),
            marker=style.SCORE_MARKERS.get(key, "^"),
        )
        for key in _ordered_scores(frame)
    ]


def paired_differences(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Mean paired AUROC difference, edge minus baseline, with interval (analyses 21, 22; paper figure 3A).

    The table holds baseline minus edge; the sign is turned here, so that right of zero the edge wins.
    """
    frame = main_role(tables["baseline_differences"])
    frame = frame[frame["subset"] == "all"]
    if frame.empty:
        raise NothingToDrawError("baseline_differences has no row of the subset all")
    edges = [edge for edge in ("attention", "correlation") if (frame["edge"] == edge).any()]
    sides = {edge: [_turned(row) for row in frame[frame["edge"] == edge].itertuples()] for edge in edges}
    versus = tables.get("attention_vs_correlation")
    if versus is not None and "attention" in sides:
        sides["attention"] += _versus(main_role(versus))
    figure = style.new_figure(1.95 + 0.34 * max(len(panel) for panel in sides.values()))
    axes = figure.subplots(1, len(sides), squeeze=False, sharex=True)
    for axis, (edge, panel) in zip(axes[0], sides.items(), strict=True):
        shapes.forest(axis, panel, threshold=0.0)
        baselines = frame.loc[frame["edge"] == edge, "baseline"]
        places = {f"{edge} minus {name}": float(len(panel) - 1 - at) for at, name in enumerate(baselines)}
        stars = panels.published(axis, context, places)
        axis.set_title(f"{edge_name(edge)} minus …")
        axis.set_xlabel(panels.named("mean AUROC difference (95% interval)\nright of 0: the edge wins", stars, 36))
        axis.tick_params(axis="y", labelsize=8)
        axis.xaxis.label.set_size(8)
    style.frame(figure, "Do edges beat statistics of single genes?", context, where(frame))
    words = [
        f"{label(SCORE_LABELS, edge)} minus {listing([shapes.interval_words(row) for row in panel])}."
        for edge, panel in sides.items()
    ]
    return figure, f"Mean paired AUROC differences with 95% intervals, {where(frame)}. {' '.join(words)}"


def _turned(row: Any) -> shapes.Estimate:
    values = {key: shapes.finite(getattr(row, key)) for key in ("mean_difference", "ci_low", "ci_high")}
    low, high = values["ci_high"], values["ci_low"]
    mean = values["mean_difference"]
    baseline = str(row.baseline)
    return shapes.Estimate(
        label=f"{label(SCORE_LABELS, baseline).removeprefix('Target ')} (n = {count(row.n)})",
        value=None if mean is None else -mean,
        low=None if low is None else -low,
        high=None if high is None else -high,
        colour=style.SCORE_COLOURS.get(baseline, style.ORANGE),
        marker=style.SCORE_MARKERS.get(baseline, "^"),
    )


def _versus(frame: pd.DataFrame) -> list[shapes.Estimate]:
    frame = frame[frame["subset"] == "all"]
    return [
        shapes.Estimate(
            label=f"Correlation (n = {count(row.n)})",
            value=shapes.finite(row.mean_difference),
            low=shapes.finite(row.ci_low),
            high=shapes.finite(row.ci_high),
            colour=style.VERMILLION,
            marker="s",
        )
        for row in frame.itertuples()
    ]


def layer_profile(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Mean AUROC of attention by layer, with its interval and the correlation line (analysis 19; S30)."""
    frame = main_role(tables["layer_profile"])
    frame = frame[(frame["subset"] == "all") & np.isfinite(frame["mean_auroc"])].sort_values("layer")
    if frame.empty:
        raise NothingToDrawError("layer_profile has no finite mean AUROC of the subset all")
    layers, mean = frame["layer"].to_numpy(), frame["mean_auroc"].to_numpy(dtype=float)
    half = 1.96 * frame["sd_auroc"].to_numpy(dtype=float) / np.sqrt(frame["n_perturbations"].to_numpy(dtype=float))
    figure = style.new_figure(3.4)
    axis = figure.subplots()
    shapes.profile(axis, layers, mean, mean - half, mean + half, "Attention, mean and 95% interval")
    correlation = _mean_of(tables.get("perturbation_auroc"), "correlation")
    if correlation is not None:
        axis.axhline(correlation, color=style.VERMILLION, linewidth=1.6, linestyle=(0, (6, 2)), label="Correlation")
    used = _analysis_layer(tables.get("lineage"))
    if used is not None:
        axis.axvline(
            used,
            color=style.MUTED,
            linewidth=1,
            linestyle=":",
            label="layer used by the tests (set beforehand)",
        )
    stars = [mark for mark in context.published("attention") if mark.x is not None]
    places = [(mark.x * (len(layers) - 1), mark.value) for mark in stars if mark.x is not None]
    shapes.published_marks(axis, places, "published")
    size = f"{int(frame['n_perturbations'].max())} perturbations"
    said = f"layer (of {len(layers)}, from 0) · {size} · dashed grey: chance, .5"
    axis.set_xlabel(panels.named(said, stars))
    axis.set_ylabel("mean AUROC")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.3 * (high - low))
    axis.legend(loc="upper left", fontsize=8, ncols=3)
    style.frame(figure, "How does attention change with depth?", context, where(frame))
    best = int(np.argmax(mean))
    alt = (
        f"Mean AUROC of attention over {len(layers)} layers, {where(frame)}: from {number(mean.min())} to "
        f"{number(mean.max())}, highest in layer {layers[best]}."
    )
    if used is not None:
        alt += f" The tests use layer {used}."
    if correlation is not None:
        alt += f" Correlation stands at {number(correlation)}; best layer minus correlation "
        alt += f"{signed(mean[best] - correlation)}."
    return figure, alt


def _mean_of(frame: pd.DataFrame | None, score: str) -> float | None:
    if frame is None or frame.empty:
        return None
    rows = main_role(frame)
    rows = rows[(rows["subset"] == "all") & (rows["score"] == score)]
    return shapes.finite(rows["auroc"].mean()) if len(rows) else None


def _analysis_layer(lineage: pd.DataFrame | None) -> int | None:
    if lineage is None or "layer" not in lineage.columns:
        return None
    rows = main_role(lineage)
    layer = rows.loc[rows["score"] == "attention", "layer"].dropna()
    return int(layer.iloc[0]) if len(layer) else None
