"""Figures of several screens side by side: scores, reach, and what perturbations did to their own gene."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.wording import (
    AGREES_LABELS,
    LEVEL_LABELS,
    MODALITY_LABELS,
    SCORE_LABELS,
    capital,
    count,
    holds,
    is_missing,
    label,
    listing,
    number,
    share,
    short,
    span,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
FEWEST_SCREENS = 2
# Scores in the order they are drawn in, by what they look at.
SCORE_LEVELS = {
    **dict.fromkeys(("variance", "mean", "one_minus_dropout", "tf_out_degree", "de_rate"), "gene_level"),
    **dict.fromkeys(("correlation", "rank_distance", "co_detection"), "pairwise"),
    "attention": "attention",
}
VOCABULARIES_AT_MOST = 3
FEWEST_LINES = 6  # a screen of few scores still needs the height of its label
MARK_HEIGHT = 0.118  # inches of one score in one screen
AGREES_STYLE = {
    "yes": (style.BLUE, "o", 0.27),
    "undecided": (style.MUTED, "s", 0.0),
    "no": (style.VERMILLION, "X", -0.27),
}
GENES_ALONE = "no perturbed gene scored: gene-level only"


def screens_compared(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Mean per-perturbation AUROC of every score on every screen, on what all scores share."""
    frame = tables["screen_scores"]
    frame = frame[(frame["subset"] == "all") & np.isfinite(frame["mean_auroc"].to_numpy(dtype=float))]
    frame = frame.drop_duplicates(["dataset", "basis", "score"])
    screens = {name: _comparable(rows) for name, rows in frame.groupby("dataset", sort=False)}
    screens = {name: rows for name, rows in screens.items() if len(rows)}
    if len(screens) < FEWEST_SCREENS:
        held = f"{len(screens)} screen has" if len(screens) == 1 else "no screen has"
        raise NothingToDrawError(f"{held} scored perturbations; a comparison needs at least {FEWEST_SCREENS}")
    rows = [shapes.Lane(label=_screen_label(part), marks=_score_marks(part)) for part in screens.values()]
    lines = sum(max(len(row.marks), FEWEST_LINES) + shapes.LANE_GAP for row in rows)
    figure = style.new_figure(1.95 + MARK_HEIGHT * lines)
    axis = figure.subplots()
    shapes.lanes(axis, rows, size=4.2, fontsize=7.5, least=FEWEST_LINES)
    axis.axvline(0.5, color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)))
    present = {score for part in screens.values() for score in part["score"]}
    shapes.key(
        axis,
        [_score_key(score) for score in [*SCORE_LEVELS, *sorted(present - set(SCORE_LEVELS))] if score in present],
        columns=3,
    )
    axis.set_xlabel(
        "mean AUROC over perturbations, 95% interval (dashed: chance, .5)\n"
        "green: looks at the target gene alone · orange: at the pair · blue: attention"
    )
    style.frame(figure, "Does any screen tell another story?", context, f"{len(screens)} screens, all candidate genes")
    return (
        figure,
        f"Mean per-perturbation AUROC on {len(screens)} screens. {' '.join(map(_screen_words, screens.values()))}",
    )


def _comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows on common ground; where no perturbed gene is scored, the gene-level rows on their own ground."""
    common = rows[rows["basis"] == "common"]
    chosen = common if len(common) else rows[(rows["basis"] == "own") & (rows["level"] == "gene_level")]
    order = {score: place for place, score in enumerate(SCORE_LEVELS)}
    return chosen.sort_values("score", key=lambda names: names.map(order).fillna(len(order)), kind="stable")


def _genes_alone(rows: pd.DataFrame) -> bool:
    return bool((rows["basis"] == "own").all())


def _screen_label(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    kind = [label(MODALITY_LABELS, str(first["modality"]).lower())]
    if str(first["data_origin"]) != "real":
        kind.append(str(first["data_origin"]).replace("_", "-"))
    mismatch = first.get("context_mismatch", "")
    if holds(mismatch):
        kind.append("scores of other cells")
    sizes = f"{span(rows['n_perturbations'])} perturbations\n{span(rows['n_pairs'])} pairs"
    lines = [short(first["dataset"], 27), short(" · ".join(kind), 40), sizes]
    return "\n".join([*lines, GENES_ALONE] if _genes_alone(rows) else lines)


def _score_marks(rows: pd.DataFrame) -> tuple[shapes.Estimate, ...]:
    return tuple(
        shapes.Estimate(
            label=label(SCORE_LABELS, row.score),
            value=shapes.finite(row.mean_auroc),
            low=shapes.finite(row.ci_low),
            high=shapes.finite(row.ci_high),
            colour=style.LEVEL_COLOURS.get(row.level, style.MUTED),
            marker=style.LEVEL_MARKERS.get(row.score, "*"),
        )
        for row in rows.itertuples()
    )


def _score_key(score: str) -> shapes.Estimate:
    return shapes.Estimate(
        label=label(SCORE_LABELS, score),
        value=None,
        colour=style.LEVEL_COLOURS.get(SCORE_LEVELS.get(score, ""), style.MUTED),
        marker=style.LEVEL_MARKERS.get(score, "*"),
    )


def _screen_words(rows: pd.DataFrame) -> str:
    """Attention, and the best score of each other level, of one screen."""
    parts = []
    for level in ("attention", "pairwise", "gene_level"):
        same = rows[rows["level"] == level]
        if len(same):
            best = same.loc[same["mean_auroc"].idxmax()]
            name = "attention" if level == "attention" else f"best {LEVEL_LABELS[level]} ({_plain(best['score'])})"
            parts.append(f"{name} {number(best['mean_auroc'])}")
    size = f"{span(rows['n_perturbations'])} perturbations"
    alone = "; no perturbed gene is scored" if _genes_alone(rows) else ""
    return f"{short(rows['dataset'].iloc[0], 40)} ({size}{alone}): {listing(parts)}."


def _plain(score: str) -> str:
    return label(SCORE_LABELS, score).split(" (")[0]


def screens_reach(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Share of listed pairs that each kind of score reaches, a row a screen, a column a kind of score."""
    every = tables["screen_evaluability"].drop_duplicates(["dataset", "score"])
    frame = every[every["pairs_listed"] > 0]
    if frame.empty:
        raise NothingToDrawError("screen_evaluability has no screen with a listed pair")
    listed = frame.drop_duplicates("dataset").set_index("dataset")
    kinds = [kind for kind in LEVEL_LABELS if (frame["score"] == kind).any()]
    vocabularies = [name for name in dict.fromkeys(frame["score"]) if name not in LEVEL_LABELS]
    columns = [*kinds, *vocabularies[:VOCABULARIES_AT_MOST]]
    figure = style.new_figure(2.05 + 0.5 * len(listed))
    axes = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    for axis, score in zip(axes, columns, strict=True):
        _reach_bars(axis, frame[frame["score"] == score].set_index("dataset").reindex(listed.index), score)
    names = [
        f"{short(name, 26)}\n{count(row['perturbations_listed'])} perturbations\n{count(row['pairs_listed'])} pairs"
        for name, row in listed.iterrows()
    ]
    axes[0].set_yticks(range(len(names))[::-1], names)
    axes[0].tick_params(axis="y", labelsize=7.5)
    axes[0].set_ylim(-0.6, len(names) - 0.4)
    axes[len(axes) // 2].set_xlabel(
        "share of listed pairs in reach (light), and in a scorable perturbation (dark, n of them)\n"
        "scorable: enough positive and negative candidates",
        fontsize=8,
    )
    hidden = len(vocabularies) - VOCABULARIES_AT_MOST
    without = every["dataset"].nunique() - len(listed)
    place = _screens(len(listed)) + (f" · {hidden} further vocabularies not drawn" if hidden > 0 else "")
    place += f" · {without} without a listed pair" if without else ""
    style.frame(figure, "How far does each kind of score reach?", context, place)
    words = [_reach_words(str(name), frame[frame["dataset"] == name]) for name in listed.index]
    return figure, f"Share of listed pairs in reach by kind of score. {' '.join(words)}"


def _reach_bars(axis: Axes, rows: pd.DataFrame, score: str) -> None:
    colour = style.LEVEL_COLOURS.get(score, style.PURPLE)
    for place, row in zip(range(len(rows))[::-1], rows.itertuples(), strict=True):
        if is_missing(row.pairs):
            axis.text(0.0, place, "not counted", va="center", fontsize=7.5, style="italic", color=style.ALARM)
            continue
        reached, scorable = row.pairs / row.pairs_listed, row.scorable_pairs / row.pairs_listed
        axis.barh(place - 0.13, reached, height=0.3, color=colour, alpha=0.35)
        axis.barh(place - 0.13, scorable, height=0.3, color=colour)
        axis.text(0.02, place + 0.08, f"{share(reached)} · n = {count(row.scorable_perturbations)}", fontsize=7.5)
    name = LEVEL_LABELS.get(score) or short(score.removesuffix("_vocabulary").replace("_", " "), 30)
    axis.set_title(textwrap.fill(capital(name), 12), fontsize=8.5)
    axis.set_xlim(0, 1.25)
    axis.set_xticks([0, 0.5, 1], ["0", "50", "100%"])
    axis.tick_params(axis="x", labelsize=7.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)


def _screens(size: int) -> str:
    return "1 screen" if size == 1 else f"{size} screens"


def _reach_words(dataset: str, rows: pd.DataFrame) -> str:
    parts = [
        f"{LEVEL_LABELS.get(row.score, row.score)} {share(row.pairs / row.pairs_listed)} "
        f"({count(row.scorable_perturbations)} scorable perturbations)"
        for row in rows.itertuples()
        if not is_missing(row.pairs)
    ]
    return f"{short(dataset, 40)}, {count(rows['pairs_listed'].iloc[0])} pairs listed: {listing(parts)}."


def own_gene_change(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Log fold change of each perturbed gene itself, by screen, told apart by agreement with the modality."""
    frame = tables["modality_audit"]
    frame = frame[np.isfinite(frame["lfc"].to_numpy(dtype=float))]
    frame = frame.assign(agrees=[_agreement(value) for value in frame["agrees"]])
    if frame.empty:
        raise NothingToDrawError("modality_audit has no perturbation whose own gene was measured")
    screens = {str(name): rows for name, rows in frame.groupby("dataset", sort=False)}
    figure = style.new_figure(1.75 + 0.62 * len(screens))
    axis = figure.subplots()
    places = list(range(len(screens)))[::-1]
    for place, rows in zip(places, screens.values(), strict=True):
        _own_swarms(axis, place, rows)
    axis.axvline(0, color=style.INK, linewidth=1.0)
    axis.set_yticks(places, [_own_label(name, rows) for name, rows in screens.items()])
    axis.tick_params(axis="y", labelsize=7.5, length=0)
    axis.set_ylim(-0.6, len(screens) - 0.4)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.06)
    entries = [
        shapes.Estimate(label=AGREES_LABELS[key], value=None, colour=colour, marker=marker)
        for key, (colour, marker, _) in AGREES_STYLE.items()
    ]
    shapes.key(axis, entries, columns=3)
    axis.set_xlabel(
        "change of the perturbed gene itself (difference of mean log1p expression)\n"
        "one mark a perturbation; many are drawn as their density"
    )
    style.frame(figure, "Did perturbations move their own gene as promised?", context, _screens(len(screens)))
    words = [_own_words(name, rows) for name, rows in screens.items()]
    return figure, f"Change of each perturbed gene itself. {' '.join(words)}"


def _agreement(value: Any) -> str:
    """Agreement as "yes", "no" or "undecided"; anything else leaves a row undecided."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    return str(value) if str(value) in AGREES_STYLE else "undecided"


def _own_swarms(axis: Axes, place: int, rows: pd.DataFrame) -> None:
    for key, (colour, marker, offset) in AGREES_STYLE.items():
        values = rows.loc[rows["agrees"] == key, "lfc"].to_numpy(dtype=float)
        if len(values):
            group = shapes.Group(label=key, values=values, colour=colour, marker=marker)
            shapes.swarm(axis, place + offset, group, 0.1)


def _expected(rows: pd.DataFrame) -> str:
    modality = label(MODALITY_LABELS, rows["modality"].iloc[0])
    return f"{modality}: {label({}, rows['expected'].iloc[0])} expected"


def _own_label(name: str, rows: pd.DataFrame) -> str:
    against = int((rows["agrees"] == "no").sum())
    return f"{short(name, 27)}\n{_expected(rows)}\nn = {len(rows):,}, {against:,} against"


def _own_words(name: str, rows: pd.DataFrame) -> str:
    counts = [f"{int((rows['agrees'] == key).sum()):,} {AGREES_LABELS[key]}" for key in AGREES_STYLE]
    return f"{short(name, 40)} ({_expected(rows)}, {len(rows):,} perturbations): {listing(counts)}."
