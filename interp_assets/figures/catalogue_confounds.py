"""What single genes, degrees and matching explain (15 to 18, 25 to 27, 31, 35)."""

from __future__ import annotations

from interp_assets.figures import confound_figures, network_figures, regulator_figures
from interp_assets.figures.printed_marks import printed
from interp_assets.figures.records import FigureSpec

ROWS: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="incremental_value",
        title="Incremental value over gene-level features",
        caption="Circles: logistic regression, diamonds: boosting. Criterion b asks for every interval of "
        "attention to lie right of the dashed line.",
        analyses=(31,),
        tables=("incremental_value",),
        draw=network_figures.incremental_value,
        published=("Figure S39",),
        marks=(
            printed("attention, auroc, perturbation, logistic", "SIG017"),
            printed("correlation, auroc, perturbation, logistic", "SIG018"),
            printed("attention, auroc, target_gene, logistic", "SIG019"),
            printed("attention, auroc, joint, logistic", "SIG020"),
            printed("attention, auprc, joint, boosting", "SIG022"),
        ),
    ),
    FigureSpec(
        figure_id="incremental_power",
        title="Power to see a small gain",
        caption="A gain that was not seen counts as evidence only where it would have been seen.",
        analyses=(26,),
        tables=("incremental_power",),
        draw=network_figures.incremental_power,
        published=("Figure 3 B",),
        marks=(printed("attention", "SIG017"), printed("correlation", "SIG018")),
    ),
    FigureSpec(
        figure_id="tf_strata",
        title="Incremental value by kind of perturbed gene",
        caption="The comparison of analysis 26 within perturbed transcription factors and within other "
        "perturbed genes. A stratum without a number says why.",
        analyses=(27,),
        tables=("tf_strata",),
        draw=confound_figures.tf_strata,
        published=("Figure 3 C",),
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
        published=("Figure S38 A", "Figure S38 B"),
        marks=(
            printed("attention, matched", "SIG111"),
            printed("correlation, matched", "SIG112"),
            printed("attention, direct_targets", "SIG113"),
            printed("correlation, direct_targets", "SIG114"),
        ),
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
        marks=(
            printed("attention, absolute, ols", "SIG035"),
            printed("correlation, absolute, ols", "SIG036"),
            printed("attention, absolute, boosting", "SIG037"),
            printed("correlation, absolute, boosting", "SIG038"),
        ),
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
        marks=(
            printed("attention, ols, raw", "SIG027"),
            printed("attention, ols, residual", "SIG028"),
            printed("correlation, ols, raw", "SIG029"),
            printed("correlation, ols, residual", "SIG030"),
            printed("attention, boosting, residual", "SIG033"),
        ),
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
        marks=(printed("attention, all", "SIG048"), printed("attention, direction_known", "SIG049")),
    ),
)
