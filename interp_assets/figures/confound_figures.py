"""Figures of what single genes explain: covariates, strata, matched pairs (analyses 15, 27, 35)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.screen_figures import main_role, where
from interp_assets.figures.wording import (
    COVARIATE_LABELS,
    LEARNER_LABELS,
    METRIC_LABELS,
    STRATUM_LABELS,
    capital,
    count,
    edge_name,
    holds,
    is_missing,
    label,
    listing,
    number,
    short,
    signed,
    span,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
FOLD_LABELS = {"target_gene": "folds by target gene", "pair": "folds by pair (leaks which gene it is)"}
BALANCE_STAGES = {
    "smd_before": ("before matching", "s", style.MUTED),
    "smd_distinct": ("after matching, distinct pairs", "o", style.BLUE),
}
PAIR_KINDS = {"matched": "matched pairs", "direct_targets": "direct targets"}


def covariate_explanation(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """R2 of every edge score on gene-level covariates, both fold groupings (analysis 15; figure S26)."""
    frame = main_role(tables["covariate_r2"])
    groups = list(frame.groupby(["edge", "variant", "learner"], sort=False))
    rows = [(_explained_name(frame, *names), _explained_marks(match)) for names, match in groups]
    if all(estimate.value is None for _, marks in rows for estimate in marks):
        raise NothingToDrawError("covariate_r2 has no finite R2")
    figure = style.new_figure(2.0 + 0.42 * len(rows) + style.star_room(context))
    axis = figure.subplots()
    heights = shapes.lanes(axis, [shapes.Lane(label=name, marks=marks) for name, marks in rows])
    axis.axvline(0, color=style.MUTED, linewidth=0.8)
    shapes.key(axis, [_fold_mark(key, None) for key in FOLD_LABELS], columns=2)
    places = {", ".join(names): sum(at) / len(at) for (names, _), at in zip(groups, heights, strict=True)}
    stars = panels.published(axis, context, places)
    said = "out-of-fold R2 on mean, variance and dropout of source and target\n95% interval over "
    said += f"{span(frame['n_targets'])} target genes, {span(frame['n_pairs'])} pairs"
    axis.set_xlabel(panels.named(said, stars))
    style.frame(figure, "How much of an edge score is single-gene statistics?", context, where(frame))
    words = [f"{name}: {listing([shapes.interval_words(one) for one in marks])}" for name, marks in rows]
    return figure, f"Out-of-fold R2 on gene-level covariates, {where(frame)}. {'. '.join(words)}."


def _explained_name(frame: pd.DataFrame, edge: str, variant: str, learner: str) -> str:
    signed_too = frame.loc[frame["edge"] == edge, "variant"].nunique() > 1
    kind = f" ({variant})" if signed_too else ""
    return f"{edge_name(edge)}{kind} · {label(LEARNER_LABELS, learner)}"


def _explained_marks(match: pd.DataFrame) -> tuple[shapes.Estimate, ...]:
    rows = match.drop_duplicates("folds_by").set_index("folds_by")
    return tuple(_fold_mark(key, rows.loc[key]) for key in FOLD_LABELS if key in rows.index)


def _fold_mark(key: str, row: pd.Series | None) -> shapes.Estimate:
    facts: Mapping[str, Any] = {} if row is None else row.to_dict()
    edge = str(facts.get("edge", ""))
    leaks = key == "pair"
    return shapes.Estimate(
        label=FOLD_LABELS[key],
        value=shapes.finite(facts.get("r2")),
        low=shapes.finite(facts.get("ci_low")),
        high=shapes.finite(facts.get("ci_high")),
        colour=style.SCORE_COLOURS.get(edge, style.MUTED),
        marker="s" if leaks else "o",
        note="no R2: the score is the same everywhere",
        hollow=leaks,
    )


def gain(row: Any, name: str, note: str = "not computed") -> shapes.Estimate:
    """Gain of an edge over gene-level features, with its interval, as a row of a forest."""
    value = shapes.finite(row.delta)
    return shapes.Estimate(
        label=name,
        value=value,
        low=shapes.finite(row.ci_low),
        high=shapes.finite(row.ci_high),
        colour=style.SCORE_COLOURS.get(row.edge, style.MUTED),
        marker=style.SCORE_MARKERS.get(row.edge, "^"),
        note="" if value is not None else note,
    )


def margin_band(axis: Axes, frame: pd.DataFrame) -> float | None:
    """Shade the gains that count as none; returns the margin, None where the table states none."""
    margins = frame["margin"].dropna()
    axis.axvline(0, color=style.MUTED, linewidth=0.8)
    if margins.empty:
        return None
    margin = float(margins.iloc[0])
    axis.axvspan(-margin, margin, color=style.SKY, alpha=0.22, linewidth=0)
    return margin


def _equivalence(row: Any) -> str:
    return "equivalent to none" if holds(row.equivalent) else "equivalence to none not shown"


def tf_strata(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Gain over gene-level features for perturbed TFs and for other genes (analysis 27; figure 3C)."""
    frame = main_role(tables["tf_strata"])
    rows = list(frame.itertuples())
    names = [
        f"{capital(label(STRATUM_LABELS, row.stratum))} · {edge_name(row.edge)}\n"
        f"{count(row.n_perturbations)} perturbations, {count(row.n_pairs)} pairs"
        for row in rows
    ]
    notes = ["" if is_missing(row.reason) else str(row.reason) for row in rows]
    gains = [
        gain(row, name, textwrap.fill(short(f"no number: {note or 'no reason given'}", 210), 74))
        for row, name, note in zip(rows, names, notes, strict=True)
    ]
    figure = style.new_figure(1.75 + 0.52 * len(rows))
    axis = figure.subplots()
    shapes.forest(axis, gains)
    if all(row.value is None for row in gains):
        axis.set_xlim(-1, 1)
        axis.set_xticks([])
    margin = margin_band(axis, frame)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlabel(
        "gain in AUROC over gene features alone · 95% interval over perturbations\n"
        f"shaded: gains within the equivalence margin of {number(margin)}"
    )
    catalogue = short(frame["catalogue"].iloc[0], 40)
    style.frame(figure, "Do perturbed transcription factors gain more?", context, f"{where(frame)} · {catalogue}")
    words = [_stratum_words(row, note) for row, note in zip(rows, notes, strict=True)]
    return figure, f"Gain over gene-level features by stratum of {catalogue}, {where(frame)}. {'. '.join(words)}."


def _stratum_words(row: Any, note: str) -> str:
    name = f"{label(STRATUM_LABELS, row.stratum)}, {edge_name(row.edge).lower()}"
    sizes = f"{count(row.n_perturbations)} perturbations"
    if shapes.finite(row.delta) is None:
        return f"{name}: no number ({note or 'no reason given'}; {sizes})"
    return (
        f"{name}: AUROC {number(row.gene_only)} gene only, {number(row.gene_plus_edge)} with edge, gain "
        f"{signed(row.delta, 4)} ({number(row.ci_low, 4)} to {number(row.ci_high, 4)}; {sizes}), {_equivalence(row)}"
    )


def propensity_matching(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Covariate balance, and what edges add among matched pairs (analysis 35; figures 6C, S38A and B)."""
    balance, value = main_role(tables["matched_balance"]), main_role(tables["matched_value"])
    auroc = main_role(tables.get("matched_auroc", pd.DataFrame()))
    aurocs = [_matched_auroc(row) for row in auroc.itertuples()]
    sizes = [2 * len(balance) * 0.8, len(value), *([len(aurocs)] if aurocs else [])]
    figure = style.new_figure(1.5 + 0.24 * sum(sizes) + 0.85 * len(sizes))
    axes = figure.subplots(len(sizes), 1, height_ratios=[size + 1.0 for size in sizes])
    balanced, sentence = _balance_panel(axes[0], balance)
    gains, margin = _gain_panel(axes[1], value)
    if aurocs:
        shapes.forest(axes[2], aurocs, threshold=0.5)
        axes[2].set_title("Edges alone, among matched candidates")
        places = {f"{row.score}, {row.pairs}": float(at) for at, row in enumerate(auroc[::-1].itertuples())}
        stars = panels.published(axes[2], context, places)
        axes[2].set_xlabel(panels.named("mean AUROC over perturbations, 95% interval (dashed: chance, .5)", stars, 72))
    for axis in axes:
        axis.tick_params(axis="y", labelsize=8)
    style.frame(figure, "What is left among genes alike in single-gene statistics?", context, where(balance))
    words = [
        f"{shapes.interval_words(one)}, {_equivalence(row)}" for one, row in zip(gains, value.itertuples(), strict=True)
    ]
    alone = f" AUROC of edges alone: {listing([shapes.interval_words(one) for one in aurocs])}." if aurocs else ""
    state = "balanced" if balanced else "not balanced"
    return figure, (
        f"Matched pairs of {where(balance)} are {state}. Standardised mean differences: {sentence}. "
        f"Gain with an equivalence margin of {number(margin)}: {'; '.join(words)}.{alone}"
    )


def _balance_panel(axis: Axes, frame: pd.DataFrame) -> tuple[bool, str]:
    rows = {label(COVARIATE_LABELS, row.covariate): row for row in frame.itertuples()}
    stages = {name: tuple(_difference(row, stage) for stage in BALANCE_STAGES) for name, row in rows.items()}
    shapes.lanes(axis, [shapes.Lane(label=name, marks=marks) for name, marks in stages.items()])
    if all(mark.value is None for marks in stages.values() for mark in marks):
        axis.set_xlim(0, 1)
    axis.set_xlim(left=min(0.0, axis.get_xlim()[0]))
    limit = shapes.finite(frame["limit"].iloc[0])
    if limit is not None:
        axis.axvline(limit, color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)))
    shapes.key(axis, [_difference(None, stage) for stage in BALANCE_STAGES], columns=2)
    axis.set_xlabel(f"standardised mean difference, positives against negatives (dashed: limit {number(limit, 2)})")
    off = [name for name, row in rows.items() if not holds(row.balanced)]
    named = short(off[0], 44) if len(off) == 1 else f"{len(off)} of {len(rows)} covariates"
    verdict = f"NOT BALANCED: {named}" if off else "BALANCED"
    axis.set_title(verdict, color=style.ALARM if off else style.INK, fontsize=8.5, pad=22)
    words = [f"{name} {number(row.smd_before)} before, {number(row.smd_distinct)} after" for name, row in rows.items()]
    return not off, "; ".join(words)


def _difference(row: Any, stage: str) -> shapes.Estimate:
    name, marker, colour = BALANCE_STAGES[stage]
    return shapes.Estimate(
        label=name,
        value=None if row is None else shapes.finite(getattr(row, stage)),
        colour=colour,
        marker=marker,
        note=f"{name}: not a finite number",
        hollow=stage == "smd_before",
    )


def _gain_panel(axis: Axes, frame: pd.DataFrame) -> tuple[list[shapes.Estimate], float | None]:
    gains = [gain(row, f"{edge_name(row.edge)} · {label(METRIC_LABELS, row.metric)}") for row in frame.itertuples()]
    shapes.forest(axis, gains)
    margin = margin_band(axis, frame)
    sizes = f"{span(frame['n_perturbations'])} perturbations" if "n_perturbations" in frame else "perturbations"
    axis.set_title("What an edge adds to gene features, matched pairs")
    axis.set_xlabel(f"gain, 95% interval over {sizes} (shaded: equivalence margin, {number(margin)})")
    return gains, margin


def _matched_auroc(row: Any) -> shapes.Estimate:
    value = shapes.finite(row.mean_auroc)
    return shapes.Estimate(
        label=f"{edge_name(row.score)} · {label(PAIR_KINDS, row.pairs)} (n = {count(row.n_perturbations)})",
        value=value,
        low=shapes.finite(row.ci_low),
        high=shapes.finite(row.ci_high),
        colour=style.SCORE_COLOURS.get(row.score, style.MUTED),
        marker=style.SCORE_MARKERS.get(row.score, "^"),
        note="" if value is not None else "no perturbation has enough matched candidates",
    )
