"""Figures of donor, batch and assay in edges: read by classifiers, and edges that hang on them (analysis 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.records import FigureContext, Mark, NothingToDrawError
from interp_assets.figures.wording import count, is_missing, listing, number, share, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
LABEL_LOOKS = {"donor": (style.BLUE, "o"), "batch": (style.ORANGE, "D"), "assay": (style.GREEN, "s")}
LABELS = tuple(LABEL_LOOKS)
CLASSIFIER_LOOKS = {
    "logistic": ("logistic regression", style.BLUE, "o"),
    "random_forest": ("random forest", style.ORANGE, "D"),
}
MEASURES = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}
BLACKLIST = 0.5
ASI_DRAWN = 1.5  # larger indices are counted in the last bar
TISSUES_DRAWN = 4


def label_leakage(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """AUC and balanced accuracy of labels read from edge features, by tissue (analysis 8; figure S18)."""
    frame = tables["donor_classifiers"]
    frame = frame[frame["label"].isin(LABELS)]
    lanes = [
        (name, tissue, frame[(frame["label"] == name) & (frame["tissue"] == tissue)])
        for name in LABELS
        for tissue in dict.fromkeys(frame["tissue"])
        if ((frame["label"] == name) & (frame["tissue"] == tissue)).any()
    ]
    if not lanes:
        raise NothingToDrawError(f"donor_classifiers has no row of the labels {listing([*LABELS])}")
    marked = [name for name in LABELS if any(context.published(f"{name}, {measure}") for measure in MEASURES)]
    rows = sum(max(1, len(_marks(found, "auc"))) + shapes.LANE_GAP for _, _, found in lanes)
    figure = style.new_figure(1.85 + 0.115 * rows + 0.24 * len(marked))
    inner = panels.inside(figure)
    axes = inner.subplots(1, 2, sharey=True)
    stars: list[Mark] = []
    for axis, measure in zip(axes, MEASURES, strict=True):
        stars += _measure_panel(axis, lanes, measure, context, marked)
    entries = [
        shapes.Estimate(label=f"{name}{cells}", value=0.0, colour=colour, marker=marker, hollow=hollow)
        for name, colour, marker in CLASSIFIER_LOOKS.values()
        for cells, hollow in (("", False), (", within cell types", True))
    ]
    panels.legend_above(inner, entries, 3, stars=bool(stars))
    axes[0].set_xlabel("AUC, mean and SD of folds · dashed: chance", fontsize=8)
    axes[1].set_xlabel(panels.named("balanced accuracy · dashed: chance", stars, 54), fontsize=8)
    names = listing([short(name, 26) for name in dict.fromkeys(frame["tissue"])])
    style.frame(figure, "Can donor, batch or assay be read off edges?", context, names)
    return figure, " ".join(_lane_words(*lane) for lane in lanes)


def _measure_panel(
    axis: Axes, lanes: list[tuple[str, str, pd.DataFrame]], measure: str, context: FigureContext, marked: list[str]
) -> list[Mark]:
    rows: list[shapes.Lane] = []
    of_label: list[str] = []
    for at, (name, tissue, found) in enumerate(lanes):
        rows.append(shapes.Lane(label=f"{name} · {short(tissue, 21)}{_levels(found)}", marks=_lane(found, measure)))
        of_label.append("")
        last = at == len(lanes) - 1 or lanes[at + 1][0] != name
        if last and name in marked:
            rows.append(shapes.Lane(label=f"{name} · as published", marks=()))
            of_label.append(name)
    shapes.lanes(axis, rows, size=4.0, fontsize=7.5)
    heights = axis.get_yticks()
    places = {f"{name}, {measure}": float(at) for name, at in zip(of_label, heights, strict=True) if name}
    stars = panels.published(axis, context, places)
    if measure == "auc":
        axis.axvline(0.5, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    else:
        _chance(axis, lanes, heights[[not name for name in of_label]])
    low = axis.get_xlim()[0]
    axis.set_xlim(max(min(low, 0.4), -0.02), 1.03)
    return stars


def _lane(found: pd.DataFrame, measure: str) -> tuple[shapes.Estimate, ...]:
    """Marks of one tissue; the reason why there is none stands in the first panel only."""
    marks = _marks(found, measure)
    return () if measure != "auc" and marks[0].value is None else marks


def _levels(found: pd.DataFrame) -> str:
    levels = found["n_labels"].max()
    return f" ({count(levels)})" if not is_missing(levels) and levels > 1 else ""


def _chance(axis: Axes, lanes: list[tuple[str, str, pd.DataFrame]], heights: Any) -> None:
    """Chance of each lane, which depends on how many labels there are."""
    for (_, _, found), place in zip(lanes, heights, strict=True):
        rows = found[(found["cells"] == "all") & np.isfinite(found["balanced_accuracy"].to_numpy(dtype=float))]
        if len(rows):
            chance = float(rows["chance_accuracy"].iloc[0])
            axis.plot([chance, chance], [place - 2, place + 2], color=style.MUTED, linewidth=1, linestyle=(0, (3, 2)))


def _marks(found: pd.DataFrame, measure: str) -> tuple[shapes.Estimate, ...]:
    """One estimate a classifier and set of cells; where none could be computed, the reason once."""
    marks = []
    for row in panels.records(found):
        value, spread = shapes.finite(row[measure]), shapes.finite(row[f"{measure}_sd"])
        other = (short(row["classifier"], 20), style.PURPLE, "s")
        name, colour, marker = CLASSIFIER_LOOKS.get(str(row["classifier"]), other)
        within = row["cells"] != "all"
        if value is None:
            continue
        marks.append(
            shapes.Estimate(
                label=f"{name}{' within cell types' if within else ''}",
                value=value,
                low=None if spread is None else value - spread,
                high=None if spread is None else value + spread,
                colour=colour,
                marker=marker,
                hollow=within,
            )
        )
    return tuple(marks) or (shapes.Estimate(label="not read", value=None, note=_why(found, 46)),)


def _why(found: pd.DataFrame, width: int) -> str:
    reasons = [str(reason) for reason in found["reason"] if not is_missing(reason) and str(reason)]
    tissue = str(found["tissue"].iloc[0]) if len(found) else ""
    return short(reasons[0].replace(tissue, "this tissue"), width) if reasons else "not computed"


def _lane_words(name: str, tissue: str, found: pd.DataFrame) -> str:
    parts = [f"{mark.label} {number(mark.value)}" for mark in _marks(found, "auc") if mark.value is not None]
    if not parts:
        return f"{name}, {short(tissue, 40)}: no number ({_why(found, 90)})."
    return f"{name}, {short(tissue, 40)}: AUC {', '.join(parts)}."


def artifact_sensitivity(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Artifact Sensitivity Index of edges by tissue and balanced label, with the .5 line (analysis 8; figure S19)."""
    frame = tables["edge_balance"]
    frame = frame[np.isfinite(frame["asi"].to_numpy(dtype=float))]
    tissues = list(dict.fromkeys(frame["tissue"]))[:TISSUES_DRAWN]
    if not tissues:
        raise NothingToDrawError("edge_balance has no edge with a finite asi")
    names = [name for name in LABELS if (frame["balanced_by"] == name).any()]
    lanes = len(tissues) + bool(context.published("share beyond"))
    figure = style.new_figure(2.2 + 1.25 * len(tissues) + 0.26 * lanes)
    top, bottom = panels.halves(figure, 1.25 * len(tissues) + 0.3, 0.95 + 0.26 * lanes)
    axes = top.subplots(len(tissues), len(names), squeeze=False, sharex=True)
    words = []
    for line, tissue in zip(axes, tissues, strict=True):
        for axis, name in zip(line, names, strict=True):
            found = frame[(frame["tissue"] == tissue) & (frame["balanced_by"] == name)]
            words.append(_index_panel(axis, found, name, tissue))
    top.supylabel("edges", fontsize=8)
    top.supxlabel(
        f"Artifact Sensitivity Index · dashed: {BLACKLIST} · outline: as many random cells · last bar: all beyond",
        fontsize=8,
    )
    _scan_panel(bottom.subplots(), frame, tissues, names, context)
    place = listing([short(name, 28) for name in tissues])
    style.frame(figure, "How many edges depend on donor, batch or assay?", context, place)
    return figure, " ".join(words)


def _index_panel(axis: Axes, rows: pd.DataFrame, name: str, tissue: str) -> str:
    axis.set_title(f"{short(tissue, 26)}\n{name}-balanced", fontsize=7.8)
    axis.tick_params(labelsize=7)
    axis.locator_params(nbins=3)
    if rows.empty:
        axis.text(
            0.5, 0.5, f"not balanced:\nno second {name}", ha="center", va="center", transform=axis.transAxes,
            fontsize=8, style="italic", color=style.ALARM,
        )  # fmt: skip
        axis.set_yticks([])
        return f"{short(tissue, 40)}: not balanced by {name}."
    values, control = (rows[column].to_numpy(dtype=float) for column in ("asi", "asi_size_matched"))
    above, matched = panels.threshold_histogram(axis, values, control, BLACKLIST, ASI_DRAWN)
    flipped = float(rows["sign_flipped"].astype(float).mean())
    axis.text(
        0.97, 0.94, f"{share(above, 1)} beyond\nrandom {share(matched, 1)}\nn = {count(len(rows))}",
        transform=axis.transAxes, ha="right", va="top", fontsize=7,
    )  # fmt: skip
    return (
        f"{short(tissue, 40)}, {name}-balanced: {share(above, 1)} of {count(len(rows))} edges beyond {BLACKLIST} "
        f"(random cells {share(matched, 1)}), {share(flipped, 1)} change sign."
    )


def _scan_panel(axis: Axes, frame: pd.DataFrame, tissues: list[str], names: list[str], context: FigureContext) -> None:
    """Share beyond the threshold of every tissue and label, beside the published ones."""
    rows = []
    for tissue in tissues:
        marks = []
        for name in names:
            rows_of = frame[(frame["tissue"] == tissue) & (frame["balanced_by"] == name)]
            if len(rows_of):
                above = float((rows_of["asi"].to_numpy(dtype=float) > BLACKLIST).mean())
                marks.append(_label_mark(name, above))
        rows.append(shapes.Lane(label=short(tissue, 28), marks=tuple(marks)))
    published = bool(context.published("share beyond"))
    rows += [shapes.Lane(label="as published", marks=())] if published else []
    shapes.lanes(axis, rows, size=4.5, least=2)
    stars = panels.published(axis, context, {"share beyond": float(axis.get_yticks()[-1])}) if published else []
    shapes.key(axis, [_label_mark(name, 0.0) for name in names], 4)
    axis.set_xlim(-0.02, max(axis.get_xlim()[1], 0.1))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel(panels.named(f"share of edges beyond {BLACKLIST}", stars), fontsize=8)


def _label_mark(name: str, value: float) -> shapes.Estimate:
    colour, marker = LABEL_LOOKS[name]
    return shapes.Estimate(label=f"{name}-balanced", value=value, colour=colour, marker=marker)
