"""Figures of edges carried to another species: over all pairs, and regulator by regulator (analysis 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interp_assets.figures import curves, panels, shapes, style
from interp_assets.figures.records import FigureContext, Mark, NothingToDrawError
from interp_assets.figures.wording import count, is_missing, label, listing, number, p_value, share, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
CATEGORY_LABELS = {
    "conserved": "conserved",
    "fragile": "fragile",
    "anti_conserved": "anti-conserved",
    "opposite_weak": "opposite, weak",
}
CELLS_LABELS = {"all": "all cells", "within_cell_type": "within cell types"}
CLASS_LOOKS = ((style.BLUE, "o"), (style.ORANGE, "D"), (style.GREEN, "^"), (style.PURPLE, "s"))
REGULATORS_AT_MOST = 32
Z_95 = 1.96


def ortholog_conservation(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Edge score in one species against the other, categories of pairs, sign agreement (analysis 6; figure S14)."""
    edges = _cells(tables["ortholog_edges"], "all")
    edges = edges[np.isfinite(edges[["rho", "rho_partner"]].to_numpy(dtype=float)).all(axis=1)]
    if edges.empty:
        raise NothingToDrawError("ortholog_edges has no pair with a finite rho in both species")
    figure = style.new_figure(4.7)
    grid = figure.add_gridspec(2, 2, width_ratios=[1.15, 1.0], height_ratios=[0.8, 1.2])
    left, upper, lower = (figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1]))
    _edge_panel(left, edges, tables.get("ortholog_summary"))
    words = [_category_panel(upper, tables["ortholog_categories"])]
    words.append(_sign_panel(lower, tables["ortholog_sign_bins"], context))
    first = edges.iloc[0]
    place = f"{short(first['dataset'], 30)} and {short(first['partner'], 36)}"
    style.frame(figure, "Do edges carry over to another species?", context, place)
    whole = _whole(tables.get("ortholog_summary"))
    return figure, " ".join([f"Edges of {place}: {count(len(edges))} filtered pairs{whole}.", *words])


def _cells(frame: pd.DataFrame, cells: str) -> pd.DataFrame:
    """Rows over all cells, or those within cell types."""
    return frame[frame["cells"] == cells]


def _whole(summary: pd.DataFrame | None) -> str:
    """Rank correlation of filtered and of all pairs, in words."""
    parts = []
    known = [] if summary is None else panels.records(_cells(summary, "all"))
    for pairs in ("filtered", "all"):
        row = next((one for one in known if one["class_by"] == "none" and one["pairs"] == pairs), {})
        if not is_missing(row.get("spearman")):
            parts.append(f"{number(row['spearman'])} over {count(row['n_pairs'])} {pairs} pairs")
    return f", rank correlation {listing(parts)}" if parts else ""


def _edge_panel(axis: Axes, edges: pd.DataFrame, summary: pd.DataFrame | None) -> None:
    panels.cross(axis)
    across, up = (edges[name].to_numpy(dtype=float) for name in ("rho", "rho_partner"))
    most = panels.cloud(axis, across, up)
    whole = _whole(summary).removeprefix(", rank correlation ").replace(" and ", "\n")
    axis.set_title(f"rank correlation\n{whole}" if whole else "rank correlation not computed", fontsize=8.5)
    dark = f"darkest square: {count(most)} pairs" if most else "one dot a pair"
    floor = number(edges["floor"].iloc[0], 2) if "floor" in edges else ""
    axis.set_xlabel(
        f"Spearman rho in {short(edges['dataset'].iloc[0], 26)}\n"
        f"{count(len(edges))} pairs with |rho| of {floor} or more in both\n{dark}",
        fontsize=8,
    )
    axis.set_ylabel(f"Spearman rho in {short(edges['partner'].iloc[0], 22)}", fontsize=8)


def _category_panel(axis: Axes, frame: pd.DataFrame) -> str:
    rows = frame[(frame["class_by"] == "none") & (frame["pairs"] == "filtered")]
    found = {cells: {row["category"]: row for row in panels.records(_cells(rows, cells))} for cells in CELLS_LABELS}
    names = [name for name in CATEGORY_LABELS if name in found["all"]]
    axis.set_title("Categories of filtered pairs", fontsize=9)
    if not names:
        curves.in_words(axis, "no categories of filtered pairs over all cells")
        return "No categories."
    shares = [float(found["all"][name]["share"]) for name in names]
    counts = [int(found["all"][name]["n_pairs"]) for name in names]
    within = found["within_cell_type"]
    beside = {at: float(within[name]["share"]) for at, name in enumerate(names) if name in within}
    panels.bars_with_control(axis, [CATEGORY_LABELS[name] for name in names], shares, counts, beside)
    axis.tick_params(axis="y", labelsize=7.5)
    axis.set_xticks([])
    axis.spines["bottom"].set_visible(False)
    if beside:
        axis.set_xlabel("bars: all cells · diamonds: within cell types", fontsize=7.5)
    told = [f"{label(CATEGORY_LABELS, name)} {share(part)}" for name, part in zip(names, shares, strict=True)]
    return f"Categories: {listing(told)}."


def _sign_panel(axis: Axes, frame: pd.DataFrame, context: FigureContext) -> str:
    bins = list(dict.fromkeys(zip(frame["rho_low"], frame["rho_high"], strict=True)))
    words = []
    for cells, colour, hollow in (("all", style.BLUE, False), ("within_cell_type", style.ORANGE, True)):
        rows = _cells(frame, cells).drop_duplicates("rho_low").set_index("rho_low")
        known = [rows["sign_agreement"].get(low, np.nan) for low, _ in bins]
        one = curves.Curve(
            label=CELLS_LABELS[cells],
            x=np.arange(len(bins), dtype=float),
            y=curves.column(known),
            colour=colour,
            hollow=hollow,
            marker="s" if hollow else "o",
        )
        if one.known:
            curves.curve(axis, one, 4.5)
            words.append(f"{one.label}: {', '.join(share(value) for value in one.y)}")
    axis.axhline(0.5, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    places = {"sign agreement": float(len(bins) - 1)}
    stars = panels.published(axis, context, places, across=False)
    sizes = _cells(frame, "all").drop_duplicates("rho_low").set_index("rho_low")["n_pairs"]
    axis.set_xticks(
        range(len(bins)),
        [f"{low:.2g}\nto {high:.2g}\n{_size(sizes.get(low))}" for low, high in bins],
        fontsize=7,
    )
    axis.set_title("Same sign, by the weaker |rho|", fontsize=9)
    axis.set_ylabel("share of pairs", fontsize=8)
    axis.set_xlabel(panels.named("weaker |rho|, number of pairs", stars, 48), fontsize=7.5)
    if words:
        axis.legend(loc="lower right", fontsize=7.5)
    return f"Same sign from the weakest to the strongest bin, {'; '.join(words) or 'not computed'}."


def _size(value: float | None) -> str:
    if value is None or is_missing(value):
        return ""
    return f"{value / 1000:.0f}k" if value >= 10_000 else count(value)


def regulator_conservation(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Correlation between species of each regulator's edges, and against their number (analysis 6; figure S15)."""
    frame = _cells(tables["ortholog_per_tf"], "all")
    known = frame[np.isfinite(frame["spearman"].to_numpy(dtype=float))].sort_values("spearman", ascending=False)
    if known.empty:
        raise NothingToDrawError("ortholog_per_tf has no regulator with a finite spearman over all cells")
    shown = _shown(known)
    figure = style.new_figure(2.0 + 0.15 * len(shown))
    left, right = figure.subplots(1, 2)
    looks = {name: CLASS_LOOKS[at % len(CLASS_LOOKS)] for at, name in enumerate(_classes(known))}
    stars = _regulator_bars(left, shown, looks, context)
    left.set_xlabel(panels.named("Spearman rho between species\ngrey: 95% of permuted genes", stars, 50), fontsize=8)
    for name, (colour, marker) in looks.items():
        rows = known[known["target_class"].astype(str) == name]
        right.scatter(
            rows["n_pairs"], rows["spearman"], s=16, color=colour, marker=marker, alpha=0.75, linewidths=0,
            label=f"{short(name, 14)} (n = {len(rows)})",
        )  # fmt: skip
    right.axhline(0, color=style.MUTED, linewidth=0.9)
    _edge_ticks(right, known["n_pairs"].to_numpy(dtype=float))
    right.set_xlabel("filtered edges of the regulator", fontsize=8)
    right.set_ylabel("Spearman rho between species", fontsize=8)
    right.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=7.5, ncols=2, borderaxespad=0.2, handletextpad=0.2)
    lost = len(frame) - len(known)
    first = known.iloc[0]
    place = f"{short(first['dataset'], 30)} and {short(first['partner'], 36)} · {count(len(known))} regulators"
    style.frame(figure, "Which regulators keep their edges in another species?", context, place)
    return figure, _regulator_words(known, lost)


def _edge_ticks(axis: Axes, edges: NDArray[np.float64]) -> None:
    """Logarithmic axis where regulators differ tenfold in their edges."""
    low, high = max(float(edges.min()), 1.0), float(edges.max())
    if high > 10 * low:
        round_numbers = np.outer(10.0 ** np.arange(7), [1, 3]).ravel()
        curves.log_ticks(axis, round_numbers[(round_numbers >= low) & (round_numbers <= high)])


def _classes(frame: pd.DataFrame) -> list[str]:
    """Classes by number of targets, fewest first."""
    names = list(dict.fromkeys(frame.sort_values("targets_in_reference")["target_class"].astype(str)))
    return names[: len(CLASS_LOOKS)]


def _shown(known: pd.DataFrame) -> pd.DataFrame:
    """All regulators, or the highest and the lowest where there are many."""
    if len(known) <= REGULATORS_AT_MOST:
        return known
    half = REGULATORS_AT_MOST // 2
    return pd.concat([known.head(half), known.tail(half)])


def _regulator_bars(
    axis: Axes, shown: pd.DataFrame, looks: Mapping[str, tuple[str, str]], context: FigureContext
) -> list[Mark]:
    places: dict[str, float] = {}
    for at, row in enumerate(panels.records(shown)):
        place = float(len(shown) - 1 - at)
        places[str(row["tf"])] = place
        colour, marker = looks.get(str(row["target_class"]), (style.MUTED, "o"))
        middle, spread = shapes.finite(row.get("null_mean")), shapes.finite(row.get("null_sd"))
        if middle is not None and spread is not None:
            axis.barh(place, 2 * Z_95 * spread, left=middle - Z_95 * spread, height=0.8, color=style.GRID, linewidth=0)
        axis.plot([0, row["spearman"]], [place, place], color=colour, linewidth=1.2)
        axis.plot([row["spearman"]], [place], marker, color=colour, markersize=4)
    stars = panels.published(axis, context, places)
    axis.axvline(0, color=style.MUTED, linewidth=0.9)
    names = [f"{short(row.tf, 12)} ({row.n_pairs:,})" for row in shown.itertuples()]
    axis.set_yticks(list(range(len(shown)))[::-1], names, fontsize=6.8)
    axis.set_ylim(-0.8, len(shown) - 0.2)
    axis.grid(axis="y", visible=False)
    if len(shown) == REGULATORS_AT_MOST:
        axis.axhline(REGULATORS_AT_MOST / 2 - 0.5, color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
        axis.set_title(f"{REGULATORS_AT_MOST // 2} highest and {REGULATORS_AT_MOST // 2} lowest (edges)", fontsize=8.5)
    else:
        axis.set_title("All regulators (edges)", fontsize=8.5)
    return stars


def _regulator_words(known: pd.DataFrame, lost: int) -> str:
    high, low = known.iloc[0], known.iloc[-1]
    small = known["p"] <= 0.05
    words = (
        f"Rank correlation between species of the edges of {count(len(known))} regulators: highest "
        f"{short(high['tf'], 20)} {number(high['spearman'])} (p {p_value(high['p'])}), lowest {short(low['tf'], 20)} "
        f"{number(low['spearman'])}, median {number(known['spearman'].median())}; {int(small.sum())} with p at most "
        ".05 against permuted genes."
    )
    if not lost:
        return words
    who = "1 regulator has" if lost == 1 else f"{count(lost)} regulators have"
    return f"{words} {who} too few filtered pairs for a number."
