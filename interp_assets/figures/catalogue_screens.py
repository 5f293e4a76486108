"""Scores against perturbation outcomes: the primary screen, layers, other contexts (19 to 23, 28, 30, 33, 37)."""

from __future__ import annotations

from interp_assets.figures import context_figures, grid_figures, layer_figures, network_figures, screen_figures
from interp_assets.figures.context_figures import LAYERS, elsewhere, replication_by_layer
from interp_assets.figures.printed_marks import printed, turned
from interp_assets.figures.records import FigureSpec, Mark

_L6, _L13, _L15, _L18 = 6 / LAYERS, 13 / LAYERS, 15 / LAYERS, 1.0  # "L18" of 18 layers is the last one


def _at_depths(role: str, first: int, depths: tuple[float, ...]) -> tuple[Mark, ...]:
    """Published differences of one context, whose ids follow each other in the order of ``depths``."""
    return tuple(printed(role, f"SIG{first + place}", depth) for place, depth in enumerate(depths))


_SECOND = _at_depths("second_screen", 120, (_L6, _L13, _L18))
_T_CELLS = _at_depths("small_screens[1]", 123, (_L6, _L13, _L15, _L18))
_OTHER_LINE = _at_depths("other_line_screen", 127, (_L6, _L13, _L15, _L18))
_NEURONS = _at_depths("small_screens[2]", 131, (_L15,))

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
        published=("Figure 2 A", "Figure S13"),
        marks=(
            printed("attention", "SIG001"),
            printed("correlation", "SIG002"),
            printed("variance", "SIG003"),
            printed("mean", "SIG004"),
            printed("mean", "SIG005"),
            printed("one_minus_dropout", "SIG006"),
            printed("one_minus_dropout", "SIG007"),
            printed("tf_out_degree", "SIG008"),
        ),
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
        published=("Figure 3 A", "Figure 2 A"),
        marks=tuple(
            turned(printed(f"correlation minus {baseline}", f"SIG{10 + place:03d}"))
            for place, baseline in enumerate(("variance", "mean", "one_minus_dropout", "tf_out_degree"))
        ),
    ),
    FigureSpec(
        figure_id="layer_profile",
        title="Attention by layer",
        caption="Mean AUROC over perturbations with a 95% normal interval. The tests use one layer set "
        "beforehand; the best layer of this picture may not be chosen afterwards.",
        analyses=(19, 23),
        tables=("layer_profile",),
        extra_tables=("perturbation_auroc", "lineage"),
        draw=screen_figures.layer_profile,
        published=("Figure 2 B", "Figure S30"),
        marks=(printed("attention", "SIG001", _L13), printed("attention", "SIG066", _L15)),
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
    FigureSpec(
        figure_id="nested_layers",
        title="Choice of a layer by nested folds",
        caption="Inner folds choose a layer, the outer fold it never saw judges it. Folds share a model and genes, so "
        "that their spread is no interval.",
        analyses=(30,),
        tables=("nested_layer_choice",),
        extra_tables=("nested_layer_profile",),
        draw=grid_figures.nested_layers,
        published=("Figure S31", "Figure S30", "Figure 2 B"),
        marks=(printed("pooled", "SIG064"),),
    ),
    FigureSpec(
        figure_id="sensitivity_grid",
        title="Twenty-seven conditions",
        caption="Every threshold, number of cells and number of genes of the grid. Cells of one threshold share their "
        "perturbations where the outcomes do; the frame is the setting of the primary analysis.",
        analyses=(20,),
        tables=("sensitivity_grid",),
        draw=grid_figures.sensitivity_grid,
        published=("Figure S12",),
        marks=(printed("range", "SIG058"), printed("range", "SIG059")),
    ),
    FigureSpec(
        figure_id="context_forest",
        title="Attention against correlation across contexts",
        caption="Right of zero attention is ahead. Few perturbations give wide intervals: undecided is neither equal "
        "nor different.",
        analyses=(28, 33, 37),
        tables=("replication_37",),
        extra_tables=("replication_28", "replication_33", "screen_scores"),
        draw=context_figures.context_forest,
        published=("Figure 5",),
        marks=(*_SECOND, *_T_CELLS, *_OTHER_LINE, *_NEURONS),
    ),
    FigureSpec(
        figure_id="second_screen_layers",
        title="Second screen by layer",
        caption="Both scores on the same perturbations and genes of another screen, at the published depths.",
        analyses=(28,),
        tables=("replication_28",),
        draw=replication_by_layer("replication_28", "Does the picture hold in a second screen?"),
        published=("Figure S35",),
        marks=_SECOND,
    ),
    FigureSpec(
        figure_id="small_screen_layers",
        title="Small screen by layer",
        caption="Both scores on the same perturbations and genes of a screen of few perturbations, at the published "
        "depths. With seven perturbations an exact test reaches .0156 at best.",
        analyses=(33,),
        tables=("replication_33",),
        draw=replication_by_layer("replication_33", "What does a screen of few perturbations say?"),
        published=("Figure S36",),
        marks=_T_CELLS,
    ),
    FigureSpec(
        figure_id="other_line_baselines",
        title="Other cell line: edges against statistics of single genes",
        caption="The comparison of the primary screen on the other cell line. Right of zero the edge wins.",
        analyses=(37,),
        tables=("replication_37_baselines",),
        draw=elsewhere(screen_figures.paired_differences, {"baseline_differences": "replication_37_baselines"}),
        published=("Figure 6 A",),
    ),
    FigureSpec(
        figure_id="other_line_incremental",
        title="Other cell line: incremental value",
        caption="Gain over gene-level features on the other cell line, held-out perturbations and logistic regression.",
        analyses=(37,),
        tables=("replication_37_incremental",),
        draw=elsewhere(network_figures.incremental_value, {"incremental_value": "replication_37_incremental"}),
        published=("Figure 6 B",),
        marks=(printed("attention, auroc, perturbation, logistic", "SIG135"),),
    ),
    FigureSpec(
        figure_id="other_line_residual",
        title="Other cell line: recovery after residualisation",
        caption="Recovery of the reference on the other cell line before and after gene statistics are removed by OLS. "
        "The paper prints two values for each residual.",
        analyses=(37,),
        tables=("replication_37_residual",),
        draw=elsewhere(network_figures.residual_retention, {"residual_summary": "replication_37_residual"}),
        published=("Figure 6 D",),
        marks=tuple(
            printed(f"{edge}, ols, residual", f"SIG{first + place}")
            for edge, first in (("attention", 151), ("correlation", 153))
            for place in range(2)
        ),
    ),
    FigureSpec(
        figure_id="restricted_protocol",
        title="Only the most variable genes",
        caption="The whole universe forces perturbed genes in. Compare the second row with the third: they hold the "
        "same perturbations; the first row holds others.",
        analyses=(37,),
        tables=("hvg_protocol",),
        draw=context_figures.restricted_protocol,
        published=("Figure S38 C",),
        marks=(
            printed("wide, all", "SIG147"),
            printed("wide, same perturbations", "SIG140"),
            printed("restricted", "SIG141"),
            printed("correlation, wide, same perturbations", "SIG142"),
            printed("correlation, restricted", "SIG143"),
            printed("attention, wide, same perturbations", "SIG144"),
            printed("attention, restricted", "SIG145"),
        ),
    ),
)
