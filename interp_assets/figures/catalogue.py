"""The figure catalogue: one row a figure, and the one function that draws any of them.

A figure reads computed tables only. A table that is not there gives a `FigureSkipped` with the reason, never
an empty picture. Importing this module pulls in no matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from interp_assets.figures import (
    ablation_figures,
    calibration_figures,
    comparison_figures,
    confound_figures,
    evaluation_figures,
    fidelity_figures,
    layer_figures,
    network_figures,
    regulator_figures,
    screen_figures,
)
from interp_assets.figures.records import (
    Drawing,
    FigureContext,
    FigureSkipped,
    FigureSpec,
    NothingToDrawError,
)

CATALOGUE: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="criteria_summary",
        title="Four criteria, all required",
        caption="Outcome and reason of each criterion of the headline claim.",
        analyses=(),
        tables=("criteria",),
        draw=evaluation_figures.criteria_summary,
    ),
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
    FigureSpec(
        figure_id="incremental_value",
        title="Incremental value over gene-level features",
        caption="Circles: logistic regression, diamonds: boosting. Criterion b asks for every interval of "
        "attention to lie right of the dashed line.",
        analyses=(31,),
        tables=("incremental_value",),
        draw=network_figures.incremental_value,
        published=("Figure S39", "Figure 3"),
    ),
    FigureSpec(
        figure_id="incremental_power",
        title="Power to see a small gain",
        caption="A gain that was not seen counts as evidence only where it would have been seen.",
        analyses=(26,),
        tables=("incremental_power",),
        draw=network_figures.incremental_power,
        published=("Figure 3",),
    ),
    FigureSpec(
        figure_id="tf_strata",
        title="Incremental value by kind of perturbed gene",
        caption="The comparison of analysis 26 within perturbed transcription factors and within other "
        "perturbed genes. A stratum without a number says why.",
        analyses=(27,),
        tables=("tf_strata",),
        draw=confound_figures.tf_strata,
        published=("Figure 3",),
    ),
    FigureSpec(
        figure_id="propensity_matching",
        title="Matched pairs",
        caption="Pairs that changed beside pairs that did not and whose genes are alike. Gains count only "
        "where every covariate lies below the dashed limit.",
        analyses=(35,),
        tables=("matched_balance", "matched_value"),
        extra_tables=("matched_auroc",),
        draw=confound_figures.propensity_matching,
        published=("Figure 6", "Figure S38"),
    ),
    FigureSpec(
        figure_id="covariate_explanation",
        title="Edge scores explained by single genes",
        caption="Folds by target gene give the numbers. Folds by pair let a learner recognise genes, which is "
        "why they look better; they are drawn hollow, for comparison.",
        analyses=(15,),
        tables=("covariate_r2",),
        draw=confound_figures.covariate_explanation,
        published=("Figure S26",),
    ),
    FigureSpec(
        figure_id="residual_retention",
        title="Reference recovery after residualisation",
        caption="Circles: OLS, diamonds: boosting. Criterion c asks for attention to keep at least .8 under "
        "both learners, from a raw recovery of at least .55.",
        analyses=(25,),
        tables=("residual_summary",),
        extra_tables=("residual_retention",),
        draw=network_figures.residual_retention,
        published=("Figure S32",),
    ),
    FigureSpec(
        figure_id="per_regulator",
        title="Recovery of single regulators",
        caption="Most targets first. Intervals of two or three targets are too narrow: the table per_regulator has "
        "their exact p. A single target has an exact rank and no interval.",
        analyses=(18,),
        tables=("per_regulator",),
        draw=regulator_figures.per_regulator,
        published=("Figure S28",),
    ),
    FigureSpec(
        figure_id="degree_null",
        title="Degree-preserving null",
        caption="Criterion c asks for z above 3 against networks with the same degrees, and at least .02 above "
        "their mean. Correlation often passes this null too, so that it supports nothing by itself.",
        analyses=(16,),
        tables=("degree_null", "degree_null_draws"),
        draw=network_figures.degree_null,
        published=("Figure S27",),
    ),
    FigureSpec(
        figure_id="circularity",
        title="Entries of unknown direction",
        caption="Entries of unknown direction are likelier to come from co-expression. Random parts of the "
        "same size show what the loss of entries alone would do.",
        analyses=(17,),
        tables=("circularity",),
        extra_tables=("circularity_per_regulator",),
        draw=regulator_figures.circularity,
        published=("Figure S29",),
    ),
    FigureSpec(
        figure_id="causal_ablation",
        title="Heads masked",
        caption="Condition minus clean throughout. Names count heads of 324, as published; brackets count those masked "
        "here. Criterion d reads the heads before the read-out layer, the only ones that can act on it, against random "
        "sets of the same size. Composite ranks were made with the outcomes.",
        analyses=(29, 32),
        tables=("causal_ablation", "intervention_conditions"),
        draw=ablation_figures.causal_ablation,
        published=("Figure 4",),
    ),
    FigureSpec(
        figure_id="six_conditions",
        title="Five heads masked",
        caption="AUROC of the published read-out by perturbation, and the paired change. Random sets and heads of like "
        "entropy show what masking as many other heads does.",
        analyses=(29,),
        tables=("intervention_auroc", "intervention_conditions"),
        extra_tables=("causal_ablation",),
        draw=ablation_figures.six_conditions,
        published=("Figure S33",),
    ),
    FigureSpec(
        figure_id="orthogonal_interventions",
        title="Uniform attention and silent feed-forward layers",
        caption="A read-out cannot change under what lies at or after its layer: such a zero is structural and no sign "
        "of redundancy. The output logits come after every head and layer.",
        analyses=(34,),
        tables=("causal_ablation", "intervention_conditions"),
        draw=ablation_figures.orthogonal_interventions,
        published=("Figure S34",),
    ),
    FigureSpec(
        figure_id="intervention_fidelity",
        title="How far interventions move the model",
        caption="Left: hidden state after each layer, from the first changed one on; right: output logits. Below the "
        "dashed line an intervention is too weak to say anything; right of the dotted line it comes too late for the "
        "published read-out.",
        analyses=(36,),
        tables=("intervention_fidelity", "intervention_conditions"),
        draw=fidelity_figures.intervention_fidelity,
        published=("Figure S37",),
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
        caption="What each filter leaves: listed, measured, known to the model, and with enough positives "
        "and negatives.",
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


def figure(figure_id: str) -> FigureSpec:
    """Catalogue row of a figure.

    Raises
    ------
    ValueError
        For an id the catalogue does not list.
    """
    for spec in CATALOGUE:
        if spec.figure_id == figure_id:
            return spec
    raise ValueError(f"no figure {figure_id!r}; the catalogue lists {', '.join(s.figure_id for s in CATALOGUE)}")


def draw(spec: FigureSpec, tables: Mapping[str, pd.DataFrame], context: FigureContext) -> Drawing | FigureSkipped:
    """Draw one figure from computed tables, or say why it cannot be drawn.

    Parameters
    ----------
    tables
        Frames by table name (``store/<study>/<release>/tables``); extra ones are ignored.
    """
    absent = [name for name in spec.tables if name not in tables]
    if absent:
        return _skipped(spec, f"table {', '.join(absent)} was not computed in this evaluation")
    empty = [name for name in spec.tables if tables[name].empty]
    if empty:
        return _skipped(spec, f"table {', '.join(empty)} has no rows in this evaluation")
    from matplotlib import rc_context

    from interp_assets.figures import style

    with rc_context(style.RC):
        try:
            picture, alt = spec.draw(tables, context)
        except NothingToDrawError as nothing:
            return _skipped(spec, str(nothing))
        if context.closed:
            alt = f"The claim is closed ({context.verdict_state}). {alt}"
        style.settle(picture)
        svg = style.to_svg(picture, spec.figure_id, spec.title, alt)
        png = style.to_png(picture, spec.figure_id)
    return Drawing(figure_id=spec.figure_id, title=spec.title, caption=spec.caption, svg=svg, png=png, alt=alt)


def _skipped(spec: FigureSpec, reason: str) -> FigureSkipped:
    return FigureSkipped(figure_id=spec.figure_id, title=spec.title, reason=reason)
