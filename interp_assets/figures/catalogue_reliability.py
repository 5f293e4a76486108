"""What hangs on donors and batches, and whether edge scores are honest probabilities (8, 9)."""

from __future__ import annotations

from interp_assets.figures import leakage_figures, reliability_figures
from interp_assets.figures.panels import NO_MODEL
from interp_assets.figures.records import FigureSpec, Mark

_CORRELATION = "correlation edges"
_SCREENS = "Dixit and Adamson"
# Logistic regression and random forest, in the order of the tissues. Assay in kidney is left out: the printed range of
# all tissues does not hold it.
_AUC = {
    "donor": {"immune": (0.847, 0.866), "lung": (0.937, 0.959)},
    "batch": {"immune": (0.861, 0.886), "lung": (0.946, 0.969)},
    "assay": {"immune": (0.963, 0.968), "lung": (0.971, 0.987)},
}

ROWS: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="label_leakage",
        title="Donor, batch and assay read off edges",
        caption="A label that a classifier reads from products of expression is in the edges. Cell types differ "
        "between donors: hollow marks are read within cell types. A tissue with a single donor says so.",
        analyses=(8,),
        tables=("donor_classifiers",),
        draw=leakage_figures.label_leakage,
        published=("Figure S18",),
        marks=tuple(
            Mark(series=f"{name}, auc", value=value, model=NO_MODEL, dataset=tissue)
            for name, tissues in _AUC.items()
            for tissue, values in tissues.items()
            for value in values
        ),
    ),
    FigureSpec(
        figure_id="artifact_sensitivity",
        title="Artifact Sensitivity Index",
        caption="How far an edge moves when every donor, batch or assay gets the same weight. Balancing also drops "
        "cells: the outline shows edges over as few random cells, and only what lies beyond it hangs on the label.",
        analyses=(8,),
        tables=("edge_balance",),
        draw=leakage_figures.artifact_sensitivity,
        published=("Figure S19",),
        marks=(
            Mark(series="share beyond", value=0.546, model=_CORRELATION, dataset="immune"),
            Mark(series="share beyond", value=0.101, model=_CORRELATION, dataset="lung"),
        ),
    ),
    FigureSpec(
        figure_id="reliability_diagrams",
        title="Reliability of edge scores",
        caption="Calibrators are fitted on other perturbations than those they are judged on. A flat isotonic line is "
        "honest and says little: it calls every pair by the base rate.",
        analyses=(9,),
        tables=("calibration_bins", "calibration"),
        draw=reliability_figures.reliability_diagrams,
        published=("Figure S20",),
        marks=(
            Mark(series="ensemble, raw", value=0.269, model="ensemble", dataset=_SCREENS),
            Mark(series="lasso, raw", value=0.469, model="LASSO", dataset=_SCREENS),
        ),
    ),
    FigureSpec(
        figure_id="conformal_sets",
        title="Conformal sets",
        caption="A set that holds both labels is always right and says nothing. Coverage over all pairs can hide that "
        "edges themselves are covered less: a threshold for each class repairs that.",
        analyses=(9,),
        tables=("conformal",),
        extra_tables=("conformal_by_class",),
        draw=reliability_figures.conformal_sets,
        published=("Figure S21",),
        marks=tuple(
            Mark(series=f"{scorer}, one label, {level:.2f}", value=value, model=NO_MODEL, dataset=_SCREENS)
            for scorer, level, value in (
                ("mutual_information", 0.95, 0.134),
                ("ensemble", 0.95, 0.146),
                ("pearson", 0.95, 0.06),
                ("mutual_information", 0.90, 0.26),
                ("mutual_information", 0.80, 0.57),
            )
        ),
    ),
)
