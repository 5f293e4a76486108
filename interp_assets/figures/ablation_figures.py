"""Figures of what interventions on heads and layers do to the read-outs (analyses 29, 32, 34).

What belongs here: drawing `causal_ablation` and `intervention_auroc`. What does not: how far a state moved
(`interp_assets.figures.fidelity_figures`). Every change is condition minus clean: below zero, the read-out got worse.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.ablation_rows import (
    ATTENTION,
    LOGITS,
    READ_OUTS,
    Sweep,
    changes,
    estimate,
    in_order,
    look,
    of_read_out,
    sweep,
    with_acting,
)
from interp_assets.figures.records import FigureContext, Mark, NothingToDrawError
from interp_assets.figures.screen_figures import main_role, where
from interp_assets.figures.wording import (
    READ_OUT_LABELS,
    capital,
    count,
    is_missing,
    label,
    number,
    p_value,
    parts_changed,
    signed,
    span,
    stars,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
LEAST_SPAN = 0.02  # of an axis of AUROC: a narrower one would make noise look like an effect
CHANGE = "change in mean AUROC (condition minus clean)"
P_MARKS = "* p < .05, ** < .01, *** < .001 (signed-rank, not corrected)"
CANNOT = "cannot act on this read-out"


def causal_ablation(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Dose response of masks among the heads before the read-out, and every published mask (29, 32; figure 4)."""
    frame = changes(tables)
    masks = frame[frame["operation"] == "zero_heads"]
    published = in_order(masks[(masks["pool"] == "all") & (masks["read_out"] == ATTENTION)])
    sweeps = {name: found for name in (ATTENTION, LOGITS) if (found := sweep(masks, name)) is not None}
    if published["delta"].isna().all() and not sweeps:
        raise NothingToDrawError("causal_ablation has no finite change of a head mask")
    height = max(2.0 + 0.2 * len(published), 2.5 + 1.7 * len(sweeps))
    figure = style.new_figure(height + style.star_room(context))
    axes = _ablation_axes(figure, list(sweeps), bars=len(published) > 0)
    words = []
    for name, found in sweeps.items():
        words.append(_dose_panel(axes[name], found, name, key=name == next(iter(sweeps))))
    if not sweeps:
        words.append(_no_dose(axes[ATTENTION], tables["intervention_conditions"]))
    if len(published):
        _change_panel(axes["bars"], published, "Published masks")
        stars = _change_stars(axes["bars"], published, context)
        axes["bars"].set_xlabel(panels.named(axes["bars"].get_xlabel(), stars, 52))
        words.append(f"Change under each published mask: {_change_words(published)}.")
    style.frame(figure, "Does the read-out need the heads that look regulatory?", context, _place(frame))
    return figure, " ".join(words)


def _place(frame: pd.DataFrame) -> str:
    """Data set, and the layer whose attention is the published read-out."""
    layer = frame["read_out_layer"].dropna()
    return f"{where(frame)} · published read-out: attention of layer {span(layer)}"


def _ablation_axes(figure: Figure, sweeps: list[str], *, bars: bool) -> dict[str, Axes]:
    """Dose response left, one panel a read-out, and conditions right."""
    rows = [[name, "bars"] if bars else [name] for name in sweeps or [ATTENTION]]
    heights = [1.6, 1.0] if len(rows) == 2 else [1.0]
    return figure.subplot_mosaic(rows, width_ratios=[1.0, 0.92] if bars else [1.0], height_ratios=heights)


def _dose_panel(axis: Axes, found: Sweep, name: str, *, key: bool) -> str:
    """Mean AUROC against the number of masked heads; below each, how many random sets of that size lower as much."""
    axis.axhline(found.clean, color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)))
    sets = _random_sets(axis, found)
    looks: dict[str, Any] = {"color": style.BLUE, "marker": "o", "markersize": 5, "linewidth": 1.6}
    axis.vlines(found.sizes, *found.ends, color=style.BLUE, linewidth=1.4)
    top = axis.plot(found.sizes, found.mean, label="top-ranked heads", **looks)
    axis.set_xscale("log")
    ticks = [f"{size}\n{_short_p(p)}" for size, p in zip(found.sizes, found.p_random, strict=True)]
    axis.set_xticks(found.sizes, ticks, fontsize=7.5)
    axis.set_xticks([], minor=True)
    axis.set_xlim(found.sizes[0] / 1.35, found.sizes[-1] * 1.35)
    axis.grid(axis="x", visible=False)
    _roomy(axis.get_ylim, axis.set_ylim)
    axis.tick_params(axis="y", labelsize=7.5)
    axis.set_ylabel("mean AUROC", fontsize=8)
    title = f"{capital(READ_OUT_LABELS[name])} (dashed: clean, {number(found.clean)})"
    axis.set_title(title, fontsize=8.5, pad=16.0 * (1 + len(sets)) if key else 6.0)
    if key:
        looks = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "fontsize": 7.5, "borderaxespad": 0.2}
        axis.legend(handles=[*top, *sets], **looks)
        axis.set_xlabel(
            "heads masked among those before the read-out\np: share of random sets that lower as much", fontsize=7.5
        )
    return _dose_words(found, name)


def _short_p(p: float) -> str:
    return "no p" if is_missing(p) else f"p {p_value(p).removeprefix('0')}"


def _random_sets(axis: Axes, found: Sweep) -> list[Any]:
    """Each random set as a dot, their mean and their range; nothing where none was drawn."""
    known = [(size, values) for size, values in zip(found.sizes, found.random, strict=True) if len(values)]
    if not known:
        return []
    sizes = [size for size, _ in known]
    low, high = ([ends(values) for _, values in known] for ends in (np.min, np.max))
    axis.fill_between(sizes, low, high, color=style.MUTED, alpha=0.18, linewidth=0)
    axis.vlines(sizes, low, high, color=style.MUTED, alpha=0.45, linewidth=1.0)
    for size, values in known:
        places = size * np.exp(shapes.spread(values, 0.07))
        axis.scatter(places, values, s=8, color=style.MUTED, alpha=0.55, linewidths=0)
    means = [float(np.mean(values)) for _, values in known]
    return axis.plot(
        sizes, means, color=style.MUTED, marker="s", markersize=4.5, linewidth=1.2, linestyle=":",
        label="random sets: each, mean, range",
    )  # fmt: skip


def _dose_words(found: Sweep, name: str) -> str:
    parts = []
    for place, size in enumerate(found.sizes):
        values = found.random[place]
        against = "no random set"
        if len(values):
            against = f"{len(values)} random sets {number(values.min())} to {number(values.max())}, "
            against += f"mean {number(values.mean())}, p {p_value(found.p_random[place])}"
        parts.append(f"{parts_changed(size, 'top')} {number(found.mean[place])} ({against})")
    return (
        f"{capital(label(READ_OUT_LABELS, name))}, mean AUROC {number(found.clean)} in the clean model; with the "
        f"top-ranked heads before the read-out masked: {'; '.join(parts)}."
    )


def _no_dose(axis: Axes, conditions: pd.DataFrame) -> str:
    """Say why there is no dose response, in its place."""
    layer = main_role(conditions)["read_out_layer"].iloc[0]
    words = f"No dose response: no set of heads before layer {count(layer)}, where attention is read, was masked."
    axis.set_axis_off()
    axis.text(
        0.0, 0.6, textwrap.fill(words, 38), transform=axis.transAxes, fontsize=8.5, style="italic", color=style.ALARM
    )
    return words


def _change_panel(axis: Axes, rows: pd.DataFrame, title: str, *, labels: bool = True, notes: bool = False) -> None:
    """Change under each condition with its interval; hollow, in words too with ``notes``, where it cannot act."""
    estimates = [estimate(row) for row in rows.itertuples()]
    shapes.forest(axis, estimates, labels=labels)
    axis.axvline(0, color=style.MUTED, linewidth=1.0, zorder=1)
    _roomy(axis.get_xlim, axis.set_xlim)
    low, high = axis.get_xlim()
    right = high > -low  # of zero there is more room right than left
    for place, row in zip(range(len(rows))[::-1], rows.itertuples(), strict=True):
        if row.acts:
            marks = {"transform": axis.get_yaxis_transform(), "va": "center", "fontsize": 8, "color": style.INK}
            axis.text(1.01, place - 0.12, stars(row.p), **marks)
        elif notes:
            words = {"va": "center", "fontsize": 6.5, "style": "italic", "color": style.MUTED}
            shift = 0.07 * (high - low) * (1 if right else -1)
            axis.text(shift, place, textwrap.fill(CANNOT, 14), ha="left" if right else "right", **words)
    axis.tick_params(axis="y", labelsize=7.5, length=0)
    axis.tick_params(axis="x", labelsize=7.5)
    axis.set_title(title, fontsize=8.5)
    if not notes:
        marks = P_MARKS.replace(" (", "\n(")
        axis.set_xlabel(f"{CHANGE}\n95% interval · hollow: {CANNOT}\n{marks}", fontsize=7)


def _change_stars(axis: Axes, rows: pd.DataFrame, context: FigureContext) -> list[Mark]:
    """Published changes at the height of their condition."""
    return panels.published(axis, context, {name: float(at) for at, name in enumerate(rows["condition"][::-1])})


def _change_words(rows: pd.DataFrame) -> str:
    return "; ".join(_one_change(row) for row in rows.itertuples())


def _one_change(row: Any) -> str:
    if not row.acts:
        return f"{row.condition} cannot act"
    if shapes.finite(row.delta) is None:
        return f"{row.condition} not computed"
    return f"{row.condition} {signed(row.delta)} ({number(row.ci_low)} to {number(row.ci_high)}, p {p_value(row.p)})"


def _roomy(limits: Any, set_limits: Any) -> None:
    """Widen an axis to `LEAST_SPAN` around its middle."""
    low, high = limits()
    half = max(high - low, LEAST_SPAN) / 2
    set_limits((low + high) / 2 - half, (low + high) / 2 + half)


def six_conditions(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """AUROC by perturbation under the masks of analysis 29, and their paired changes (figure S33)."""
    conditions = main_role(tables["intervention_conditions"]).drop_duplicates("condition")
    masks = (conditions["operation"] == "zero_heads") & (conditions["pool"] == "all") & (conditions["dose"] == 5)
    chosen = in_order(conditions[masks & conditions["family"].isin(("top", "random", "entropy_matched"))])
    frame = main_role(tables["intervention_auroc"])
    frame = frame[(frame["read_out"] == ATTENTION) & np.isfinite(frame["auroc"].to_numpy(dtype=float))]
    facts: dict[str, Any] = {"clean": None, **{row.condition: row for row in chosen.itertuples()}}
    values = {name: frame.loc[frame["condition"] == name, "auroc"].to_numpy(dtype=float) for name in facts}
    values = {name: found for name, found in values.items() if len(found)}
    chosen = chosen[chosen["condition"].isin(list(values))]
    if not values:
        raise NothingToDrawError("intervention_auroc has no finite AUROC of the published read-out under these masks")
    change = changes(tables) if "causal_ablation" in tables else pd.DataFrame()
    figure = style.new_figure(1.7 + 0.42 * len(values) + style.star_room(context))
    widths = [1.5, 1.0] if len(change) else [1.0]
    axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    means = _spread_panel(axes[0], values, facts)
    stars = panels.published(axes[0], context, {name: float(at) for at, name in enumerate([*values][::-1])})
    said = "AUROC of one perturbation\nblack: mean (right, in numbers), 95% interval"
    axes[0].set_xlabel(panels.named(said, stars, 52), fontsize=7.5)
    words = [f"{shapes.interval_words(mean)}, n = {len(values[mean.label])}" for mean in means]
    said = f"Mean AUROC of the published read-out by condition, {where(frame)}: {'; '.join(words)}."
    if len(change):
        said += _paired_panel(axes[1], of_read_out(change, ATTENTION, chosen), len(values))
    style.frame(figure, "Does masking a few heads change what attention finds?", context, where(frame))
    return figure, said


def _spread_panel(axis: Axes, values: Mapping[str, Any], facts: Mapping[str, Any]) -> list[shapes.Estimate]:
    """One dot a perturbation, and the mean of each condition with its normal interval."""
    places = list(range(len(values)))[::-1]
    means = []
    for place, (name, found) in zip(places, values.items(), strict=True):
        colour, marker = (style.INK, "o") if facts[name] is None else look(facts[name].family)
        shapes.swarm(axis, place, shapes.Group(label=name, values=found, colour=colour, marker=marker), 0.26)
        half = 1.96 * float(found.std(ddof=1)) / len(found) ** 0.5 if len(found) > 1 else None
        mean = float(found.mean())
        ends = {} if half is None else {"low": mean - half, "high": mean + half}
        means.append(shapes.Estimate(label=name, value=mean, colour=style.INK, marker="|", **ends))
        shapes.mark(axis, place, means[-1], size=12)
        axis.text(1.01, place, number(mean), transform=axis.get_yaxis_transform(), va="center", fontsize=8)
    names = [name if facts[name] is None else with_acting(facts[name]) for name in values]
    axis.set_yticks(places, [f"{name}\nn = {len(values[key]):,}" for name, key in zip(names, values, strict=True)])
    axis.tick_params(axis="both", labelsize=7.5)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.6, len(values) - 0.4)
    axis.grid(axis="y", visible=False)
    axis.set_title("One mark a perturbation", fontsize=8.5)
    return means


def _paired_panel(axis: Axes, rows: pd.DataFrame, lines: int) -> str:
    """Paired change of each condition beside its spread, in the lowest of ``lines``; the clean model has none."""
    _change_panel(axis, rows, "Paired change", labels=False)
    axis.set_xlabel(f"change, 95% interval (condition minus clean)\nhollow: {CANNOT}", fontsize=7)
    axis.set_yticks([])
    axis.set_ylim(-0.6, lines - 0.4)
    return f" Change: {_change_words(rows)}." if len(rows) else ""


def orthogonal_interventions(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Change under uniform attention and silenced feed-forward layers, a panel a read-out (34; figure S34)."""
    frame = changes(tables)
    frame = frame[frame["operation"].isin(("uniform_attention", "zero_mlp"))]
    conditions = in_order(frame.drop_duplicates("condition"))
    sides = {name: of_read_out(frame, name, conditions) for name in READ_OUTS if (frame["read_out"] == name).any()}
    if frame["delta"].isna().all():
        raise NothingToDrawError("causal_ablation has no finite change under uniform attention or a feed-forward layer")
    figure = style.new_figure(1.9 + 0.36 * len(conditions) + style.star_room(context))
    axes = figure.subplots(1, len(sides), squeeze=False)[0]
    words, stars = [], list[Mark]()
    for place, (axis, (name, rows)) in enumerate(zip(axes, sides.items(), strict=True)):
        clean = rows["clean_auroc"].dropna()
        title = f"{capital(label(READ_OUT_LABELS, name))}\nclean {number(clean.iloc[0] if len(clean) else None)}"
        _change_panel(axis, rows, title, labels=place == 0, notes=True)
        stars += _change_stars(axis, rows, context) if name == ATTENTION else []
        words.append(f"{capital(label(READ_OUT_LABELS, name))}: {_change_words(rows)}.")
    said = f"{CHANGE}, 95% interval\n{P_MARKS}"
    axes[len(axes) // 2].set_xlabel(panels.named(said, stars, 70), fontsize=7.5)
    style.frame(figure, "Do other ways to remove computation change the read-outs?", context, _place(frame))
    return figure, f"Change in mean AUROC, condition minus clean, {where(frame)}. {' '.join(words)}"
