"""Scores against perturbation outcomes: the primary screen, layers, other contexts (19 to 23, 28, 30, 33, 37)."""

from __future__ import annotations

from interp_assets.figures import layer_figures, screen_figures
from interp_assets.figures.records import FigureSpec

ROWS: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="perturbation_auroc",
        title="Per-perturbation AUROC of every score",
        caption="Each mark is one perturbation (many are drawn as their density); the bar is the mean. "
        "Gene-level statistics look at the target gene alone. DE rate elsewhere: how often the gene answers to "
        "other perturbations.",
        analyses=(19,),
        tables=("perturbation_auroc",),
        draw=screen_figures.perturbation_auroc,
        published=("Figure 2", "Figure S13"),
    ),
    FigureSpec(
        figure_id="paired_differences",
        title="Edges against statistics of single genes",
        caption="Mean paired difference over perturbations with a 95% perturbation bootstrap interval. "
        "Criterion a asks for attention to be right of zero against all three target statistics.",
        analyses=(21, 22),
        tables=("baseline_differences",),
        extra_tables=("attention_vs_correlation",),
        draw=screen_figures.paired_differences,
        published=("Figure 3",),
    ),
    FigureSpec(
        figure_id="layer_profile",
        title="Attention by layer",
        caption="Mean AUROC over perturbations with a 95% normal interval. The tests use one layer set "
        "beforehand; the best layer of this picture may not be chosen afterwards.",
        analyses=(19,),
        tables=("layer_profile",),
        extra_tables=("perturbation_auroc", "lineage"),
        draw=screen_figures.layer_profile,
        published=("Figure 2", "Figure S30"),
    ),
    FigureSpec(
        figure_id="layer_choice",
        title="Layer choice",
        caption="Left: the data set on which the layer was chosen, by recovery of a reference network. Right: "
        "where the frozen layer stands on the evaluated screen, whose outcomes took no part.",
        analyses=(23,),
        tables=("layer_selection_profile",),
        extra_tables=("layer_choice", "layer_profile"),
        draw=layer_figures.layer_choice,
        published=("Figure S30",),
    ),
)
