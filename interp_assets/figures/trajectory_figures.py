"""Figures of direction along pseudotime: how often regulators move first, and what chance gives (analysis 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import curves, panels, shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.wording import count, label, listing, number, p_value, share, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
EVERYTHING = "all"
NULL_LOOKS = {
    "shuffled": ("pseudotime shuffled", style.MUTED, "D"),
    "random_pairs": ("random pairs of like expression", style.ORANGE, "s"),
}
KEY_NAMES = {"shuffled": "shuffled", "random_pairs": "random pairs"}
OUTCOME_LABELS = {
    "consistent": "regulator first, expected sign",
    "simultaneous": "both at once",
    "target_leads": "target first",
    "weak": "no clear peak",
    "wrong_sign": "regulator first, wrong sign",
}
MIDDLE = (0.1, 0.9)  # part of the lag curves that is shaded
LINEAGES_DRAWN = 3
Z_95 = 1.96


def pseudotime_direction(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Share of consistent pairs by lineage, and the lag curves behind it (analysis 7; figure S16)."""
    rates = tables["pseudotime_null"]
    rates = rates[(rates["statistic"] == "consistency_rate") & np.isfinite(rates["observed"].to_numpy(dtype=float))]
    scopes = list(dict.fromkeys(rates["scope"]))
    if not scopes:
        raise NothingToDrawError("pseudotime_null has no finite consistency_rate")
    lags = tables["pseudotime_lags"]
    roles = list(dict.fromkeys(lags["role"]))[:LINEAGES_DRAWN]
    figure = style.new_figure(4.1 + 0.26 * len(scopes))
    top, bottom = panels.halves(figure, 1.05 + 0.26 * len(scopes), 2.1)
    words = _rate_panel(top.subplots(), rates, scopes, _names(lags), context)
    axes = bottom.subplots(1, max(len(roles), 1), squeeze=False, sharey=True)[0]
    pairs = tables["pseudotime_pairs"]
    for axis, role in zip(axes, roles, strict=False):
        words.append(_lag_panel(axis, lags[lags["role"] == role], pairs[pairs["role"] == role]))
    axes[0].set_ylabel("correlation x expected sign", fontsize=8)
    bottom.supxlabel(
        "lag in bins, right of 0 the regulator moves first · dark: mean of all pairs, grey: middle 80%\n"
        "blue: consistent pair with the highest peak",
        fontsize=8,
    )
    style.frame(figure, "Do regulators move before their targets?", _named(context, rates), _origins(lags))
    return figure, " ".join(words)


def _named(context: FigureContext, frame: pd.DataFrame) -> FigureContext:
    """Context that says so where every lineage is simulated."""
    return curves.simulated(context) if set(frame["data_origin"]) == {"simulated"} else context


def _names(frame: pd.DataFrame) -> dict[str, str]:
    """Short name of each lineage by its role."""
    first = frame.drop_duplicates("role")
    return dict(zip(first["role"], (short(name, 22) for name in first["dataset"]), strict=True))


def _origins(frame: pd.DataFrame) -> str:
    return listing([short(name, 26) for name in dict.fromkeys(frame["dataset"])][:LINEAGES_DRAWN])


def _rate_panel(
    axis: Axes, rates: pd.DataFrame, scopes: list[str], names: Mapping[str, str], context: FigureContext
) -> list[str]:
    places = {scope: float(len(scopes) - 1 - at) for at, scope in enumerate(scopes)}
    labels, words = [], []
    for scope, place in places.items():
        rows = rates[rates["scope"] == scope]
        for row in panels.records(rows):
            if row["null"] in NULL_LOOKS:
                _null_mark(axis, row, place)
        first = rows.iloc[0]
        value = float(first["observed"])
        axis.plot([value], [place], "o", color=style.BLUE, markersize=6)
        name = "all lineages" if scope == EVERYTHING else names.get(scope, short(scope, 22))
        labels.append(f"{name} (n = {count(first['n_pairs'])})")
        told = [f"{label(KEY_NAMES, row.null)} {share(row.null_mean)}" for row in rows.itertuples()]
        words.append(f"{labels[-1]}: {share(value)} consistent, by chance {listing(told)}.")
    stars = panels.published(axis, context, places)
    axis.set_yticks(list(places.values()), labels)
    axis.set_ylim(-0.6, len(scopes) - 0.4)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.05)
    entries = [shapes.Estimate(label="curated pairs", value=0.0)]
    entries += [
        shapes.Estimate(label=f"{KEY_NAMES[null]}, 95%", value=0.0, colour=colour, marker=marker, hollow=True)
        for null, (_, colour, marker) in NULL_LOOKS.items()
    ]
    shapes.key(axis, entries, 4)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel(
        panels.named("share of pairs whose regulator moves first with the expected sign", stars), fontsize=8
    )
    return words


def _null_mark(axis: Axes, row: Mapping[str, Any], place: float) -> None:
    _, colour, marker = NULL_LOOKS[row["null"]]
    lower = place - (0.14 if marker == "D" else 0.28)
    mean, spread = shapes.finite(row["null_mean"]), shapes.finite(row["null_sd"])
    if mean is None:
        return
    if spread is not None:
        axis.plot([max(mean - Z_95 * spread, 0.0), mean + Z_95 * spread], [lower, lower], color=colour, linewidth=1.4)
    axis.plot([mean], [lower], marker, color=colour, markerfacecolor=style.PAPER, markersize=4)


def _lag_panel(axis: Axes, lags: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Lag curves of one lineage, turned so that the expected sign is up; the clearest pair is named."""
    wide = lags.assign(aligned=lags["correlation"] * lags["expected_sign"]).pivot_table(
        index=["tf", "target"], columns="lag", values="aligned", sort=False
    )
    name = short(lags["dataset"].iloc[0], 28)
    if wide.empty:
        curves.in_words(axis, "no lag curve is a finite number", 22)
        return f"{name}: no lag curve."
    steps = wide.columns.to_numpy(dtype=float)
    low, high = np.nanquantile(wide.to_numpy(dtype=float), MIDDLE, axis=0)
    axis.fill_between(steps, low, high, color=style.MUTED, alpha=0.25, linewidth=0)
    axis.axvline(0, color=style.MUTED, linewidth=0.9)
    axis.axhline(0, color=style.MUTED, linewidth=0.9)
    axis.plot(steps, wide.mean().to_numpy(), color=style.INK, linewidth=1.8)
    axis.locator_params(axis="x", integer=True, nbins=7)
    axis.tick_params(labelsize=7.5)
    best = _clearest(pairs)
    if best is None or (best["tf"], best["target"]) not in wide.index:
        axis.set_title(f"{name}\nno consistent pair", fontsize=7.8)
        return f"{name}: {count(len(wide))} curves, no consistent pair."
    curve = wide.loc[(best["tf"], best["target"])].to_numpy(dtype=float)
    axis.plot(steps, curve, color=style.BLUE, linewidth=1.4)
    lag = int(best["peak_lag"])
    axis.plot([lag], [curve[int(np.argmin(np.abs(steps - lag)))]], "o", color=style.BLUE, markersize=5)
    who = f"{short(best['tf'], 9)} to {short(best['target'], 9)}"
    axis.set_title(f"{name}\n{who}, lag {lag:+d}", fontsize=7.8)
    return f"{name}: {count(len(wide))} curves, clearest consistent pair {who} with its peak at lag {lag:+d}."


def _clearest(pairs: pd.DataFrame) -> Mapping[str, Any] | None:
    """Consistent pair with the highest peak along the computed pseudotime."""
    rows = pairs[(pairs["pseudotime"] == "computed") & (pairs["outcome"] == "consistent")]
    rows = rows[np.isfinite(rows["peak"].to_numpy(dtype=float))]
    return None if rows.empty else rows.loc[rows["peak"].abs().idxmax()].to_dict()


def pseudotime_nulls(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Mean score under both nulls with the observed one, and how pairs fail (analysis 7; figure S17)."""
    draws = tables["pseudotime_draws"]
    draws = draws[(draws["scope"] == EVERYTHING) & (draws["statistic"] == "mean_score")]
    draws = draws[np.isfinite(draws["value"].to_numpy(dtype=float))]
    nulls = [name for name in NULL_LOOKS if (draws["null"] == name).any()]
    if not nulls:
        raise NothingToDrawError("pseudotime_draws has no finite mean_score of all lineages")
    told = tables["pseudotime_null"]
    told = told[(told["scope"] == EVERYTHING) & (told["statistic"] == "mean_score")]
    figure = style.new_figure(4.9)
    top, bottom = panels.halves(figure, 1.0, 1.05)
    words = []
    axes = top.subplots(1, len(nulls), squeeze=False, sharex=True)[0]
    for axis, null in zip(axes, nulls, strict=True):
        words.append(_null_panel(axis, draws[draws["null"] == null], told[told["null"] == null], null))
    top.supxlabel("mean score over pairs (0: no direction) · line: observed", fontsize=8)
    axes[0].set_ylabel("draws", fontsize=8)
    words.append(_outcome_panel(bottom.subplots(), tables["pseudotime_outcomes"], context))
    pairs = tables.get("pseudotime_pairs")
    names = short(draws["dataset"].iloc[0], 80) if pairs is None or pairs.empty else _origins(pairs)
    style.frame(figure, "Is the direction more than chance, and how do pairs fail?", _named(context, draws), names)
    return figure, " ".join(words)


def _null_panel(axis: Axes, draws: pd.DataFrame, told: pd.DataFrame, null: str) -> str:
    observed = shapes.finite(told["observed"].iloc[0]) if len(told) else None
    p = told["p"].iloc[0] if len(told) else None
    said = f"observed {number(observed)}\np {p_value(p)}" if observed is not None else "observed not computed"
    shapes.null_histogram(axis, draws["value"].to_numpy(dtype=float), observed, said)
    name = NULL_LOOKS[null][0]
    axis.set_title(f"{name} (n = {count(len(draws))})", fontsize=8.5)
    return f"Mean score against {name}: {said}, null mean {number(draws['value'].mean())}.".replace("\n", ", ")


def _outcome_panel(axis: Axes, frame: pd.DataFrame, context: FigureContext) -> str:
    rows = {row["outcome"]: row for row in panels.records(frame[frame["scope"] == EVERYTHING])}
    names = [name for name in OUTCOME_LABELS if name in rows]
    if not names:
        curves.in_words(axis, "no outcomes over all lineages")
        return "No outcomes over all lineages."
    shares = [float(rows[name]["share"]) for name in names]
    counts = [int(rows[name]["n_pairs"]) for name in names]
    chance = {at: float(rows[name]["share_shuffled"]) for at, name in enumerate(names)}
    panels.bars_with_control(axis, [OUTCOME_LABELS[name] for name in names], shares, counts, chance)
    places = {name: float(len(names) - 1 - at) for at, name in enumerate(names)}
    stars = panels.published(axis, context, places)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel(
        panels.named(f"share of {count(sum(counts))} pairs · diamonds: shuffled pseudotime", stars), fontsize=8
    )
    parts = [
        f"{OUTCOME_LABELS[name]} {count(n)} ({share(part)}, shuffled {share(chance[at])})"
        for at, (name, n, part) in enumerate(zip(names, counts, shares, strict=True))
    ]
    return f"Outcomes of {count(sum(counts))} pairs: {listing(parts)}."
