"""What was evaluated and how the verdict came out: criteria, screens, evaluable set, calibration of the tests."""

from __future__ import annotations

from interp_assets.figures import calibration_figures, comparison_figures, evaluation_figures
from interp_assets.figures.records import FigureSpec

ROWS: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="criteria_summary",
        title="Four criteria, all required",
        caption="Outcome and reason of each criterion of the headline claim.",
        analyses=(),
        tables=("criteria",),
        draw=evaluation_figures.criteria_summary,
    ),
    FigureSpec(
        figure_id="screens_compared",
        title="Every screen of the study",
        caption="Scores on the perturbations and genes that all of them share. A screen whose perturbed genes "
        "are not scored shows gene-level statistics alone.",
        analyses=(),
        tables=("screen_scores",),
        draw=comparison_figures.screens_compared,
    ),
    FigureSpec(
        figure_id="screens_reach",
        title="What each kind of score can be held against",
        caption="Gene-level statistics need the target gene measured, pairwise scores also the perturbed "
        "gene, attention both in its vocabulary. Beside: published vocabularies.",
        analyses=(),
        tables=("screen_evaluability",),
        draw=comparison_figures.screens_reach,
    ),
    FigureSpec(
        figure_id="evaluable_flow",
        title="What could be scored",
        caption="What each filter leaves of what was listed: measured, known to the model, and with enough positives "
        "and negatives. Hatched and with a minus is what a filter took.",
        analyses=(),
        tables=("evaluability",),
        draw=evaluation_figures.evaluable_flow,
    ),
    FigureSpec(
        figure_id="own_gene_change",
        title="Perturbed genes themselves",
        caption="Interference lowers the transcript, activation raises it, a knock-out need not change it. A "
        "whole screen against expectation was probably labelled wrongly.",
        analyses=(),
        tables=("modality_audit",),
        draw=comparison_figures.own_gene_change,
    ),
    FigureSpec(
        figure_id="null_calibration",
        title="P-values under no perturbation",
        caption="A calibrated test stays in the grey band of independent p-values and puts 5% of them below .05. "
        "One above the band is cautious, one below it finds too much.",
        analyses=(),
        tables=("null_calibration",),
        extra_tables=("null_calibration_summary",),
        draw=calibration_figures.null_calibration,
    ),
)
