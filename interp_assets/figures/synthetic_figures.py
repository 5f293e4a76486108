"""Figure of the synthetic ground truth: recovery, Shapley values and theory where the truth is known (11 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp_assets.figures import curves, shapes, style
from interp_assets.figures.curves import Curve
from interp_assets.figures.records import FigureContext, NothingToDrawError
from interp_assets.figures.wording import count, number, p_value, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = Mapping[str, pd.DataFrame]
SERIES = {
    "one_state": ("one state", style.GREEN, "^"),
    "growing_states": ("states grow with cells", style.BLUE, "o"),
    "all_states": ("all states", style.VERMILLION, "s"),
}
SCORES = {"regression": "regression", "coexpression": "co-expression"}
ESTIMATORS = {
    "shapley": ("Shapley", style.BLUE, "o"),
    "single_restored": ("restored", style.ORANGE, "s"),
    "single_removed": ("removed", style.PURPLE, "D"),
}
TRUTHS = {"contribution": "contributions", "path_strength": "path strengths"}
PREDICTORS = {
    "logistic": ("logistic", style.BLUE, "o"),
    "expected_auroc_with_bias": ("expected AUROC", style.ORANGE, "^"),
}
# The generator of analysis 11, and independent Gaussian noise (analysis 3).
DETECTION = {
    "network": ("Detection in network cells", "synthetic_detection", "synthetic_detection_agreement"),
    "gaussian": ("Detection, Gaussian noise", "detection_theory", "detection_agreement"),
}


def synthetic_truth(tables: Tables, context: FigureContext) -> tuple[Figure, str]:
    """Recovery by cells and heterogeneity, Shapley against single effects, theory against detection (11; S24)."""
    recovery = tables["synthetic_recovery_summary"]
    figure = style.new_figure(8.8)
    places: list[Any] = [["cells", "states"], ["contribution", "path_strength"], ["network", "gaussian"]]
    axes = figure.subplot_mosaic(places, height_ratios=[1.0, 0.6, 1.0])
    sentences = [
        _cells_panel(axes["cells"], recovery),
        _states_panel(axes["states"], tables.get("synthetic_recovery"), tables.get("synthetic_recovery_trend")),
        *(_circuits_panel(axes[truth], tables.get("synthetic_circuits"), truth) for truth in TRUTHS),
    ]
    for key, (title, grid, agreement) in DETECTION.items():
        sentences.append(_theory_panel(axes[key], title, tables.get(grid), tables.get(agreement)))
    if not any(axis.axison for axis in figure.axes):
        raise NothingToDrawError(
            "synthetic_recovery_summary has no finite recovery, and no other table of the synthetic truth a number"
        )
    style.frame(
        figure, "Does the framework behave as its theory says?", curves.simulated(context),
        "simulated networks, cells and circuits; no data set and no model enters",
    )  # fmt: skip
    return figure, " ".join(sentences)


def _cells_panel(axis: Axes, frame: pd.DataFrame) -> str:
    """Mean recovery by number of cells: filled for regression weights, hollow for co-expression."""
    told, drawn = [], []
    for key, (name, colour, marker) in SERIES.items():
        for score, words in SCORES.items():
            rows = frame[(frame["series"] == key) & (frame["score"] == score)].sort_values("cells")
            x, y, sd = (curves.column(rows[column]) for column in ("cells", "recovery", "recovery_sd"))
            main = score == "regression"
            one = Curve(
                label=name if main else f"_{name}", x=x, y=y, low=y - sd, high=y + sd, colour=colour, marker=marker,
                dashed=not main, hollow=not main,
            )  # fmt: skip
            if one.known:
                curves.curve(axis, one, 4.5)
                drawn.append(one)
                told.append(f"{name}, {words}: {number(y[0], 2)} to {number(y[-1], 2)}")
    if not drawn:
        curves.in_words(axis, "recovery by number of cells: not computed")
        return "Recovery by number of cells was not computed."
    curves.log_ticks(axis, np.concatenate([one.x for one in drawn]))
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    curves.legend(axis, 0.42)
    axis.set_title("Recovery by number of cells")
    axis.set_xlabel(
        f"number of cells (log scale) · band: SD, {span(frame['seeds'])} seeds\n"
        "filled: regression · hollow: co-expression weights"
    )
    axis.set_ylabel("correlation with the true weights")
    return f"Recovery from fewest to most cells: {'; '.join(told)}."


def _states_panel(axis: Axes, frame: pd.DataFrame | None, trend: pd.DataFrame | None) -> str:
    """Single networks at a fixed number of cells: recovery against the share of variance between states."""
    rows = None if frame is None else frame[frame["series"] == "fixed_cells"]
    if rows is None or not np.isfinite(curves.column(rows["recovery"])).any():
        curves.in_words(axis, "recovery by heterogeneity: not computed")
        return "Recovery by heterogeneity was not computed."
    told = []
    for score, (colour, marker) in zip(SCORES, ((style.BLUE, "o"), (style.VERMILLION, "s")), strict=True):
        own = rows[rows["score"] == score]
        name = f"{SCORES[score]}, {_fit(trend, score)}"
        x, y = (curves.column(own[column]) for column in ("heterogeneity", "recovery"))
        axis.plot(x, y, marker, color=colour, markersize=4, alpha=0.75, markeredgewidth=0, label=name)
        told.append(name)
    curves.legend(axis, 0.3)
    axis.set_title("Recovery by heterogeneity")
    axis.set_xlabel(
        f"share of expression variance between states\n{span(rows['cells'])} cells, {span(rows['states'])} states, "
        f"{count(rows['seed'].nunique())} seeds"
    )
    axis.set_ylabel("correlation with the true weights")
    return f"Correlation of recovery with heterogeneity at a fixed number of cells: {'; '.join(told)}."


def _fit(trend: pd.DataFrame | None, score: str) -> str:
    if trend is None:
        return "r not computed"
    rows = trend[(trend["series"] == "fixed_cells") & (trend["score"] == score)]
    found = None if rows.empty else shapes.finite(rows["r_heterogeneity"].iloc[0])
    return "r not computed" if found is None else f"r = {number(found, 2)} (p {p_value(rows['p_less'].iloc[0])})"


def _circuits_panel(axis: Axes, frame: pd.DataFrame | None, truth: str) -> str:
    """Rank correlation of each circuit with one truth: Shapley values, and one component restored or removed alone."""
    title = f"Circuits, {TRUTHS[truth]}"
    rows = None if frame is None else frame[np.isfinite(curves.column(frame["rho"])) & (frame["truth"] == truth)]
    groups = [
        shapes.Group(label=name, values=curves.column(own["rho"]), colour=colour, marker=marker)
        for key, (name, colour, marker) in ESTIMATORS.items()
        if rows is not None and len(own := rows[rows["estimator"] == key])
    ]
    if not groups:
        curves.in_words(axis, f"{title}: not computed")
        return f"{title}: not computed."
    shapes.strip(axis, groups)
    axis.set_title(title)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlabel("rank correlation of a circuit with the truth\none component restored or removed alone")
    words = [f"{group.label} {number(group.values.mean())} (n = {len(group.values)})" for group in groups]
    return f"Mean rank correlation with the known {TRUTHS[truth]}: {', '.join(words)}."


def _theory_panel(axis: Axes, title: str, frame: pd.DataFrame | None, agreement: pd.DataFrame | None) -> str:
    """Simulated against predicted detection, one mark a setting, with the agreement that the table holds."""
    if frame is None or not np.isfinite(curves.column(frame["auroc"])).any():
        curves.in_words(axis, f"{title}: not computed")
        return f"{title} was not computed."
    observed = curves.column(frame["auroc"])
    told = []
    for key, (name, colour, marker) in PREDICTORS.items():
        curves.agreement_scatter(axis, curves.column(frame[key]), observed, colour, marker)
        words = f"{name}, {_agreed(agreement, key)}"
        axis.lines[-1].set_label(words)
        told.append(words)
    curves.legend(axis, 0.3)
    axis.set_title(title)
    axis.set_xlabel(f"predicted (dashed: as simulated)\n{len(frame)} settings of noise and observations")
    axis.set_ylabel("simulated AUROC")
    return f"{title}, agreement of prediction and simulation: {'; '.join(told)}."


def _agreed(agreement: pd.DataFrame | None, key: str) -> str:
    if agreement is None:
        return "r not computed"
    rows = agreement[agreement["predictor"] == key]
    found = None if rows.empty else shapes.finite(rows["r"].iloc[0])
    return "r not computed" if found is None else f"r = {number(found, 3)}"
