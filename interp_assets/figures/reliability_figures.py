"""Figures of edge scores read as probabilities: reliability, and sets that promise coverage (analysis 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interp_assets.figures import curves, panels, shapes, style
from interp_assets.figures.records import FigureContext, Mark, NothingToDrawError
from interp_assets.figures.wording import count, listing, number, share, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Tables = Mapping[str, pd.DataFrame]
SCORER_LABELS = {
    "pearson": "Pearson",
    "spearman": "Spearman",
    "mutual_information": "mutual information",
    "partial_correlation": "partial correlation",
    "lasso": "LASSO",
    "ensemble": "ensemble",
}
CALIBRATOR_LOOKS = {
    "raw": ("raw", style.VERMILLION, "s"),
    "platt": ("Platt", style.ORANGE, "^"),
    "isotonic": ("isotonic", style.BLUE, "o"),
}
SET_LOOKS = {
    "share_single": ("one label", style.SKY),
    "share_double": ("both labels", style.GRID),
    "share_empty": ("no label", style.ORANGE),
}
PANELS_ACROSS = 3
RARE = 0.01  # share of the pairs below which a bin says nothing


def reliability_diagrams(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Observed share of edges against predicted, raw and calibrated, and the error (analysis 9; figure S20)."""
    bins = tables["calibration_bins"]
    # Bins of like size: those of equal width hold a handful of pairs where edges are rare, which draws spikes.
    bins = bins[(bins["binning"] == "equal_size") & (bins["context"] == bins["fitted_on"])]
    finite = np.isfinite(bins[["mean_probability", "share_edges"]].to_numpy(dtype=float)).all(axis=1)
    bins = bins[finite]
    if bins.empty:
        raise NothingToDrawError("calibration_bins has no bin of a calibrator that was fitted where it is judged")
    place = bins["context"].iloc[0]
    bins = bins[bins["context"] == place]
    pairs = bins.groupby(["scorer", "calibrator"], sort=False)["n_pairs"].transform("sum")
    held_out, rare = int(pairs.max()), bins["n_pairs"] < RARE * pairs
    bins = bins[~rare]
    errors = tables["calibration"]
    errors = errors[(errors["context"] == place) & (errors["fitted_on"] == place)]
    scorers = _ordered(bins["scorer"], SCORER_LABELS)
    lines = -(-len(scorers) // PANELS_ACROSS)
    figure = style.new_figure(2.2 + 1.75 * lines + 0.2 * len(scorers))
    top, bottom = panels.halves(figure, 1.75 * lines + 0.35, 0.95 + 0.2 * len(scorers))
    axes = top.subplots(lines, min(PANELS_ACROSS, len(scorers)), squeeze=False)
    for axis, scorer in zip(axes.ravel(), scorers, strict=False):
        _reliability_panel(axis, bins[bins["scorer"] == scorer], scorer)
    for axis in axes.ravel()[len(scorers) :]:
        axis.set_axis_off()
    left_out = f" · not drawn: bins below {RARE:.0%} of the pairs ({count(rare.sum())})" if rare.any() else ""
    top.supxlabel(
        "predicted probability, bins of like many pairs · dashed: observed equals predicted\n"
        f"axes end with the scores{left_out}",
        fontsize=8,
    )
    top.supylabel("observed share of edges", fontsize=8)
    words = _error_panel(bottom.subplots(), errors, scorers, context)
    named = f"{short(place, 56)}, {count(held_out)} held-out pairs"
    style.frame(figure, "Can edge scores be read as probabilities?", context, named)
    return figure, f"Reliability on {named}. {' '.join(words)}"


def _ordered(names: pd.Series, known: Mapping[str, str]) -> list[str]:
    present = list(dict.fromkeys(names))
    return [name for name in known if name in present] + [name for name in present if name not in known]


def _reliability_panel(axis: Axes, rows: pd.DataFrame, scorer: str) -> None:
    known = []
    for calibrator in _ordered(rows["calibrator"], dict.fromkeys(CALIBRATOR_LOOKS, "")):
        name, colour, marker = CALIBRATOR_LOOKS.get(calibrator, (short(calibrator, 14), style.PURPLE, "D"))
        found = rows[rows["calibrator"] == calibrator].sort_values("mean_probability")
        across, up = (found[column].to_numpy(dtype=float) for column in ("mean_probability", "share_edges"))
        known.append(curves.Curve(label=name, x=across, y=up, colour=colour, marker=marker))
    panels.on_diagonal(axis, known)
    axis.set_title(curves.label_of(SCORER_LABELS, scorer), fontsize=8.5)


def _error_panel(axis: Axes, errors: pd.DataFrame, scorers: list[str], context: FigureContext) -> list[str]:
    """Calibration error of every score, raw and calibrated, on one line each."""
    places = {scorer: float(len(scorers) - 1 - at) for at, scorer in enumerate(scorers)}
    words = []
    for scorer, place in places.items():
        parts = []
        rows = errors[errors["scorer"] == scorer]
        for at, (calibrator, (name, colour, marker)) in enumerate(CALIBRATOR_LOOKS.items()):
            found = panels.records(rows[rows["calibrator"] == calibrator])
            row = found[0] if found else {}
            mark = shapes.Estimate(
                label=name,
                value=shapes.finite(row.get("ece")),
                low=shapes.finite(row.get("ci_low")),
                high=shapes.finite(row.get("ci_high")),
                colour=colour,
                marker=marker,
            )
            if mark.value is not None:
                shapes.mark(axis, place + 0.22 * (1 - at), mark, 4.5)
            parts.append(f"{name} {number(mark.value)}")
        words.append(f"{curves.label_of(SCORER_LABELS, scorer)}: error {', '.join(parts)}.")
    stars = panels.published(axis, context, {f"{scorer}, raw": place + 0.22 for scorer, place in places.items()})
    constant = errors["ece_constant"].dropna() if len(errors) else pd.Series(dtype=float)
    if len(constant):
        axis.axvline(float(constant.iloc[0]), color=style.INK, linewidth=1, linestyle=(0, (1, 2)))
    axis.set_yticks(list(places.values()), [curves.label_of(SCORER_LABELS, scorer) for scorer in scorers])
    axis.set_ylim(-0.6, len(scorers) - 0.4)
    axis.grid(axis="y", visible=False)
    axis.set_xlim(left=0)
    entries = [
        shapes.Estimate(label=name, value=0.0, colour=colour, marker=marker)
        for name, colour, marker in CALIBRATOR_LOOKS.values()
    ]
    shapes.key(axis, entries, 4)
    axis.set_xlabel(
        panels.named("expected calibration error, 95% interval · dotted: every pair called by the base rate", stars),
        fontsize=8,
    )
    return words


def conformal_sets(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Shares of sets with no, one and both labels, and coverage, by promised level (analysis 9; figure S21)."""
    frame = tables["conformal"]
    place = frame["context"].iloc[0]
    sides = {"one threshold for all pairs": frame}
    by_class = tables.get("conformal_by_class")
    if by_class is not None and len(by_class):
        sides["a threshold for each class"] = by_class
    sides = {name: side[side["context"] == place] for name, side in sides.items()}
    sides = {name: side for name, side in sides.items() if np.isfinite(side["coverage"].to_numpy(dtype=float)).any()}
    if not sides:
        raise NothingToDrawError("conformal has no finite coverage")
    first = next(iter(sides.values()))
    scorers = _ordered(first["scorer"], SCORER_LABELS)
    levels = sorted(first["nominal"].unique(), reverse=True)
    figure = style.new_figure(max(1.95 + (0.17 * len(levels) + 0.1) * len(scorers), 3.4))
    inner = panels.inside(figure)
    axes = inner.subplots(1, len(sides), squeeze=False, sharey=True)[0]
    words = []
    for axis, (name, side) in zip(axes, sides.items(), strict=True):
        words.append(_sets_panel(axis, side, scorers, levels, named=axis is axes[0]))
        axis.set_title(name, fontsize=8.5)
        axis.set_xlabel("share of held-out pairs", fontsize=8)
    stars = _published_sets(axes[0], context, scorers, levels)
    axes[0].set_xlabel(panels.named("share of held-out pairs", stars, 50), fontsize=8)
    _sets_key(inner, stars=bool(stars))
    named = f"{short(place, 50)}, {count(first['n_test'].max())} held-out pairs"
    style.frame(figure, "Do sets of labels keep their promise, and say anything?", context, named)
    parts = [f"{name}: {said}" for name, said in zip(sides, words, strict=True)]
    return figure, f"Conformal sets on {named}. {' '.join(parts)}"


def _rows(scorers: list[str], levels: list[float]) -> dict[tuple[str, float], float]:
    """Height of each bar: scores from top to bottom, promised levels within."""
    step = len(levels) + 0.6
    return {
        (scorer, level): -(at * step + line) for at, scorer in enumerate(scorers) for line, level in enumerate(levels)
    }


def _sets_panel(axis: Axes, side: pd.DataFrame, scorers: list[str], levels: list[float], *, named: bool) -> str:
    places = _rows(scorers, levels)
    found = {(row["scorer"], row["nominal"]): row for row in panels.records(side)}
    said: dict[str, list[str]] = {}
    for key, place in places.items():
        row = found.get(key, {})
        parts = tuple((float(row.get(name, np.nan)), colour) for name, (_, colour) in SET_LOOKS.items())
        panels.stacked(axis, [panels.Shares(label=str(key), parts=parts)], [place])
        axis.plot([key[1], key[1]], [place - 0.42, place + 0.42], color=style.ALARM, linewidth=1.4)
        covered, edges = shapes.finite(row.get("coverage")), shapes.finite(row.get("coverage_edges"))
        if edges is not None:
            axis.plot([edges], [place], "D", color=style.INK, markerfacecolor=style.PAPER, markersize=3.6)
        if covered is not None:
            axis.plot([covered], [place], "o", color=style.INK, markersize=4)
            single = f"covers {share(covered, 1)} of {key[1]:.0%}, one label {share(row.get('share_single'), 1)}"
            said.setdefault(key[0], []).append(single)
    axis.set_yticks(list(places.values()), [f"{level:.0%}" for _, level in places], fontsize=6.8)
    for scorer in scorers if named else ():
        middle = float(np.mean([places[scorer, level] for level in levels]))
        axis.text(
            -0.13, middle, curves.label_of(SCORER_LABELS, scorer, 22).replace(" ", "\n"), fontsize=8, ha="right",
            va="center", transform=axis.get_yaxis_transform(),
        )  # fmt: skip
    axis.set_ylim(min(places.values()) - 0.7, 0.7)
    axis.set_xlim(-0.02, 1.02)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return " ".join(f"{curves.label_of(SCORER_LABELS, name)}: {listing(parts)}." for name, parts in said.items())


def _published_sets(axis: Axes, context: FigureContext, scorers: list[str], levels: list[float]) -> list[Mark]:
    """Published shares of sets with one label; their bars start at 0, so that the ends can be compared."""
    places = {f"{scorer}, one label, {level:.2f}": place for (scorer, level), place in _rows(scorers, levels).items()}
    return panels.published(axis, context, places)


def _sets_key(part: SubFigure, *, stars: bool) -> None:
    entries = [
        *(shapes.Estimate(label=name, value=0.0, colour=colour, marker="s") for name, colour in SET_LOOKS.values()),
        shapes.Estimate(label="coverage", value=0.0, colour=style.INK),
        shapes.Estimate(label="coverage of edges alone", value=0.0, colour=style.INK, marker="D", hollow=True),
        shapes.Estimate(label="promised", value=0.0, colour=style.ALARM, marker="|"),
    ]
    panels.legend_above(part, entries, 7, stars=stars)
