"""Figure of what attention follows: expression, a reference, attention elsewhere (analyses 12, 14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp_assets.figures import panels, shapes, style
from interp_assets.figures.records import FigureContext, Mark, NothingToDrawError
from interp_assets.figures.wording import count, label, listing, number, share, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
Lanes = dict[str, shapes.Lane]
MEMBERSHIP = "membership"
TOGETHER = "all_three"
QUANTITY_LABELS = {
    "product_of_means": "product of\nboth means",
    "minimum_of_means": "smaller of\nboth means",
    "co_expression": "co-expression\n(|Spearman|)",
    MEMBERSHIP: "listed in",
    TOGETHER: "all three\nin one fit",
}
ELSEWHERE_LABELS = {"attention": "attention in\nanother tissue", "co_expression": "co-expression in\nanother tissue"}
EDGE_LABELS = {"attention": "attention of one layer", "attention_layer_mean": "attention, mean over layers"}
EDGE_LOOKS = {"attention": (style.BLUE, "o"), "attention_layer_mean": (style.SKY, "s")}
MARK_HEIGHT = 0.13


def attention_mapping(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Attention against expression of its genes, co-expression and the reference (analyses 12, 14; figure S25).

    Left the rank correlation over gene pairs, right the share of variance that a linear fit predicts for unseen target
    genes. One mark a data set; no table holds single pairs, so that correlations are drawn instead of points.
    """
    mapped = tables["attention_mapping"]
    sides = {
        "rho": _correlations(mapped, tables.get("model_mapping")),
        "r2": _explained(mapped, tables.get("attention_across_tissues")),
    }
    if not any(mark.value is not None for side in sides.values() for lane in side.values() for mark in lane.marks):
        raise NothingToDrawError("attention_mapping has no finite correlation or R2")
    lines = max(sum(max(len(lane.marks), 2) + shapes.LANE_GAP for lane in side.values()) for side in sides.values())
    figure = style.new_figure(2.1 + MARK_HEIGHT * lines)
    inner = panels.inside(figure)
    axes = inner.subplots(1, 2)
    stars: list[Mark] = []
    for axis, (kind, lanes) in zip(axes, sides.items(), strict=True):
        shapes.lanes(axis, list(lanes.values()), size=4.5, least=2)
        axis.axvline(0, color=style.MUTED, linewidth=0.9)
        places = {f"{kind}, {name}": float(at) for name, at in zip(lanes, axis.get_yticks(), strict=True)}
        stars += panels.published(axis, context, places)
    axes[0].set_xlabel("Spearman correlation with attention,\n95% interval over genes", fontsize=8)
    axes[1].set_xlabel(panels.named("share of variance (R2), unseen target genes", stars, 44), fontsize=8)
    looks = [
        shapes.Estimate(label=EDGE_LABELS[edge], value=0.0, colour=colour, marker=marker)
        for edge, (colour, marker) in EDGE_LOOKS.items()
    ]
    panels.legend_above(inner, looks, 3, stars=bool(stars))
    datasets = [short(name, 26) for name in dict.fromkeys(mapped["dataset"])]
    style.frame(figure, "What does attention between two genes follow?", context, listing(datasets))
    return figure, _words(sides, mapped)


def _correlations(mapped: pd.DataFrame, models: pd.DataFrame | None) -> Lanes:
    """Rank correlations by quantity. The mean over layers stands in both tables; analysis 12 gives it an interval."""
    rows = mapped[mapped["quantity"] != TOGETHER]
    if models is not None and len(models):
        keys = ["dataset", "quantity", "edge"]
        rows = pd.concat([models, rows], ignore_index=True).drop_duplicates(keys)
    rows = rows.sort_values(["dataset", "edge"], kind="stable")
    return {
        quantity: shapes.Lane(label=_lane_name(quantity, found), marks=_marks(found, "spearman", "ci"))
        for quantity in QUANTITY_LABELS
        if len(found := rows[rows["quantity"] == quantity])
    }


def _lane_name(quantity: str, rows: pd.DataFrame) -> str:
    if quantity != MEMBERSHIP:
        return QUANTITY_LABELS[quantity]
    names = list(dict.fromkeys(rows["reference"].astype(str)))
    return f"{QUANTITY_LABELS[quantity]}\n{short(names[0], 18)}{' and other' if len(names) > 1 else ''}"


def _explained(mapped: pd.DataFrame, across: pd.DataFrame | None) -> Lanes:
    """R2 of attention at the analysis layer, by quantity and from another tissue."""
    own = mapped[mapped["edge"] == "attention"]
    lanes = {
        quantity: shapes.Lane(label=name, marks=_marks(found, "r2_cross_fitted", "r2_ci"))
        for quantity, name in QUANTITY_LABELS.items()
        if len(found := own[own["quantity"] == quantity])
    }
    if across is None or across.empty:
        return lanes
    for predictor, name in ELSEWHERE_LABELS.items():
        found = across[across["predictor"] == predictor]
        if len(found):
            lanes[f"{predictor} elsewhere"] = shapes.Lane(label=name, marks=_marks(found, "r2_cross_fitted", "r2_ci"))
    return lanes


def _marks(frame: pd.DataFrame, value: str, interval: str) -> tuple[shapes.Estimate, ...]:
    return tuple(_mark(row, value, interval) for row in panels.records(frame))


def _mark(row: Mapping[str, Any], value: str, interval: str) -> shapes.Estimate:
    edge = str(row.get("edge", "attention"))
    colour, marker = EDGE_LOOKS.get(edge, (style.ORANGE, "D"))
    return shapes.Estimate(
        label=f"{short(row.get('dataset'), 40)}, {label(EDGE_LABELS, edge)}",
        value=shapes.finite(row.get(value)),
        low=shapes.finite(row.get(f"{interval}_low")),
        high=shapes.finite(row.get(f"{interval}_high")),
        colour=colour,
        marker=marker,
    )


def _words(sides: Mapping[str, Lanes], mapped: pd.DataFrame) -> str:
    names = listing([short(name, 40) for name in dict.fromkeys(mapped["dataset"])])
    sentences = [
        f"Attention of up to {count(mapped['n_pairs'].max())} gene pairs in {names}; at most "
        f"{share(mapped['missing_share'].max(), 1)} of the pairs lie in no cell."
    ]
    for kind, words in (("rho", "Rank correlation"), ("r2", "R2")):
        for lane in sides[kind].values():
            name = lane.label.replace("\n", " ")
            values = [mark.value for mark in lane.marks if mark.value is not None]
            span = f"{number(min(values))} to {number(max(values))}" if values else "not computed"
            sentences.append(f"{words}, {name}: {span} ({len(values)} of {len(lane.marks)} computed).")
    return " ".join(sentences)
