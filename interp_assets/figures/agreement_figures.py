"""Figures of effects inside the model: the same in another tissue, and the same as in a screen (analyses 4, 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import curves, panels, shapes, style
from interp_assets.figures.mediation_figures import GRANULARITIES
from interp_assets.figures.records import FigureContext, Mark, NothingToDrawError
from interp_assets.figures.wording import (
    count,
    is_missing,
    label,
    number,
    p_value,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
NAMED_PAIRS = 3  # regulator-target pairs told apart in one panel; further ones are grey
PAIR_LOOKS = ((style.BLUE, "o"), (style.VERMILLION, "s"), (style.GREEN, "^"))
SCREENS_DRAWN = 4
READ_OUT = "logit_change"


def tissue_agreement(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Component effects of the same regulator-target pair in two tissues (analysis 4; figure S10).

    The effects are those of analysis 2 (table `mediation_components`), the correlations those of analysis 4.
    """
    compared = tables["cross_tissue_effects"]
    compared = compared[np.isfinite(compared["rho"].to_numpy(dtype=float))]
    if compared.empty:
        raise NothingToDrawError("cross_tissue_effects has no finite rho")
    sides = list(dict.fromkeys(zip(compared["tissue_a"], compared["tissue_b"], strict=True)))[:3]
    kinds = list(dict.fromkeys(compared["granularity"]))[:2]
    figure = style.new_figure(1.35 + 2.3 * len(kinds))
    axes = figure.subplots(len(kinds), len(sides), squeeze=False)
    components = tables["mediation_components"]
    for line, kind in zip(axes, kinds, strict=True):
        for axis, side in zip(line, sides, strict=True):
            rows = compared[(compared["granularity"] == kind) & (compared["tissue_a"] == side[0])]
            _tissue_panel(axis, rows[rows["tissue_b"] == side[1]], components, kind)
    title = "Do the same components carry a pair in another tissue?"
    place = "regulator's effect on the logit, by component · rank correlation, * q at most .05"
    style.frame(figure, title, context, place)
    return figure, _tissue_words(compared, tables.get("cross_tissue_summary"))


def _tissue_panel(axis: Axes, rows: pd.DataFrame, components: pd.DataFrame, kind: str) -> None:
    if rows.empty:
        curves.in_words(axis, "no pair compared")
        return
    panels.cross(axis)
    for place, row in enumerate(rows.itertuples()):
        colour, marker = PAIR_LOOKS[place] if place < NAMED_PAIRS else (style.MUTED, ".")
        both = _both_tissues(components, row)
        name = f"{short(row.regulator, 9)} to {short(row.target, 9)}: {number(row.rho, 2)}{_star(row.q)}"
        if not len(both):
            name = f"{name} (effects not stored)"
        axis.scatter(
            both["first"], both["second"], s=13, color=colour, marker=marker, alpha=0.7, linewidths=0,
            label=name if place < NAMED_PAIRS else None,
        )  # fmt: skip
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.5 * (high - low))
    axis.legend(loc="upper left", fontsize=6.8, handletextpad=0.1, borderaxespad=0.1, labelspacing=0.25)
    more = f"\n{len(rows) - NAMED_PAIRS} more pairs grey" if len(rows) > NAMED_PAIRS else ""
    axis.set_xlabel(f"in {short(rows['dataset_a'].iloc[0], 24)}{more}", fontsize=8)
    axis.set_ylabel(f"in {short(rows['dataset_b'].iloc[0], 24)}", fontsize=8)
    axis.set_title(f"{short(label(GRANULARITIES, kind), 22)}, {rows['components'].max()} parts", fontsize=8)
    axis.tick_params(labelsize=7.5)
    axis.locator_params(nbins=4)


def _star(q: Any) -> str:
    return "*" if not is_missing(q) and float(q) <= 0.05 else ""


def _both_tissues(components: pd.DataFrame, row: Any) -> pd.DataFrame:
    """Mean effect of each component in either tissue, of one comparison."""
    same = components[
        (components["regulator"] == row.regulator)
        & (components["target"] == row.target)
        & (components["granularity"] == row.granularity)
    ]
    first, second = (
        same[same["role"] == role].drop_duplicates("component").set_index("component")["mean"]
        for role in (row.tissue_a, row.tissue_b)
    )
    return pd.DataFrame({"first": first, "second": second}).dropna()


def _tissue_words(compared: pd.DataFrame, summary: pd.DataFrame | None) -> str:
    passed = int((compared["q"] <= 0.05).sum())
    lowest, highest = compared["rho"].min(), compared["rho"].max()
    words = [
        f"Component effects of the same regulator-target pair in two tissues: {len(compared)} comparisons, rank "
        f"correlation {number(lowest, 2)} to {number(highest, 2)}, {passed} with q at most .05."
    ]
    words += [
        f"{short(row.tissue_a, 30)} and {short(row.tissue_b, 30)}: mean {number(row.mean_rho)} "
        f"({number(row.ci_low)} to {number(row.ci_high)}), p {p_value(row.p)}; "
        f"different pairs {number(row.mismatched_mean_rho)}."
        for row in (summary.itertuples() if summary is not None else ())
    ]
    return " ".join(words)


def deletion_agreement(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Model effect of a deleted gene against the measured effect, and their correlation (analysis 5; figure S11)."""
    pairs = tables["agreement_pairs"]
    summary = tables["agreement_summary"]
    summary = summary[summary["read_out"] == READ_OUT]
    roles = list(dict.fromkeys(summary["role"]))[:SCREENS_DRAWN]
    if not roles:
        raise NothingToDrawError(f"agreement_summary has no row of the read-out {READ_OUT}")
    figure = style.new_figure(3.6 + 0.4 * len(roles))
    top, bottom = panels.halves(figure, 2.2, 0.9 + 0.4 * len(roles))
    axes = top.subplots(1, len(roles), squeeze=False)[0]
    for axis, role in zip(axes, roles, strict=True):
        _screen_panel(axis, pairs[pairs["role"] == role])
    axes[0].set_ylabel("measured log fold change", fontsize=8)
    top.supxlabel("change of the target's logit in the model, source deleted", fontsize=8)
    lanes = [_screen_lane(summary[summary["role"] == role]) for role in roles]
    axis = bottom.subplots()
    stars = _rho_panel(axis, lanes, roles, context)
    axis.set_xlabel(panels.named("Spearman correlation over pairs, 95% interval", stars), fontsize=8)
    title = "Do in-silico deletions move targets as the screens do?"
    style.frame(figure, title, context, "one dot a source-target pair")
    words = [
        f"{', '.join(row.label.splitlines())}: {'; '.join(shapes.interval_words(mark) for mark in row.marks)}."
        for row in lanes
    ]
    return figure, f"Model effect of deleting a gene against the measured effect. {' '.join(words)}"


def _screen_panel(axis: Axes, rows: pd.DataFrame) -> None:
    values = rows[[READ_OUT, "measured_effect"]].to_numpy(dtype=float)
    values = values[np.isfinite(values).all(axis=1)]
    name = short(rows["dataset"].iloc[0], 20) if len(rows) else "no pairs"
    axis.set_title(f"{name}\n{count(len(values))} pairs", fontsize=7.4)
    axis.tick_params(labelsize=7.5)
    if not len(values):
        curves.in_words(axis, "no logit change was read", 14)
        return
    panels.cross(axis)
    panels.cloud(axis, values[:, 0], values[:, 1])
    axis.locator_params(nbins=4)


def _screen_lane(rows: pd.DataFrame) -> shapes.Lane:
    marks = tuple(_rho(row, adjusted=bool(row["adjusted"])) for row in panels.records(rows))
    first = rows.iloc[0]
    size = "" if is_missing(first.get("sources")) else f"\n{count(first['sources'])} sources"
    return shapes.Lane(label=f"{short(first['dataset'], 24)}{size}", marks=marks)


def _rho(row: Mapping[str, Any], *, adjusted: bool) -> shapes.Estimate:
    value = shapes.finite(row.get("rho"))
    reason = row.get("reason")
    return shapes.Estimate(
        label="confounds regressed out" if adjusted else "raw",
        value=value,
        low=shapes.finite(row.get("ci_low")),
        high=shapes.finite(row.get("ci_high")),
        colour=style.ORANGE if adjusted else style.BLUE,
        marker="D" if adjusted else "o",
        note="" if value is not None or is_missing(reason) else short(reason, 84),
    )


def _rho_panel(axis: Axes, lanes: list[shapes.Lane], roles: list[str], context: FigureContext) -> list[Mark]:
    """Correlations of every screen, published ones beside; returns those."""
    shapes.lanes(axis, lanes, least=2)
    heights = dict(zip(roles, axis.get_yticks(), strict=True))
    places = {
        f"{role}, {mark.label}": height + (len(lane.marks) - 1) / 2 - line
        for lane, (role, height) in zip(lanes, heights.items(), strict=True)
        for line, mark in enumerate(lane.marks)
    }
    axis.axvline(0, color=style.MUTED, linewidth=0.9)
    stars = panels.published(axis, context, places)
    entries = [
        shapes.Estimate(label="raw", value=0.0, colour=style.BLUE),
        shapes.Estimate(label="confounds regressed out", value=0.0, colour=style.ORANGE, marker="D"),
    ]
    shapes.key(axis, entries, 3)
    return stars
