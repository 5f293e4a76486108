"""The 37 analyses of the framework, one row each. Assets, checks and figures are made from these rows.

What belongs here: what an analysis is called, what it needs and which function runs it. What does not: any
computation. Importing this module imports no numpy; `AnalysisRow.run` resolves its function when asked.
"""

from __future__ import annotations

from interp_assets.analyses.analysis_row import AnalysisRow

SCREEN_INPUTS = ("labels", "attention", "correlation")
EVALUABLE = ("min_positives", "min_negatives")
INTERVENED = ("labels", "references", "interventions")
ABLATION = ("analysis_depth", "bootstrap", "intervention_tokens", "random_head_sets", *EVALUABLE)
INCREMENTAL = ("analysis_depth", "bootstrap", "folds", "boosting", "recall_at", "gain_margin")


def row(number: int) -> AnalysisRow:
    """Catalogue row of an analysis.

    Raises
    ------
    ValueError
        If there is no analysis of that number.
    """
    for entry in CATALOGUE:
        if entry.number == number:
            return entry
    raise ValueError(f"there is no analysis {number}; they run from 1 to {len(CATALOGUE)}")


def built() -> tuple[AnalysisRow, ...]:
    """Rows of the analyses that have a function, in order."""
    return tuple(entry for entry in CATALOGUE if entry.function is not None)


def _tissues(*numbers: int) -> tuple[str, ...]:
    return tuple(f"tissues[{n}]" for n in numbers)


CATALOGUE: tuple[AnalysisRow, ...] = (
    AnalysisRow(
        number=1,
        title="Scaling behaviour of attention-derived GRN recovery",
        section="scaling failure",
        roles=_tissues(2),
        tests=6,
        figure_ids=("Figure 1", "Figure S1", "Figure S2", "Figure S3", "Figure S4"),
    ),
    AnalysisRow(
        number=2,
        title="Mediation bias and non-additivity of single-component patching",
        section="mediation bias",
        roles=_tissues(1, 2, 3),
        tests=2,
        figure_ids=("Figure S6", "Figure S7"),
    ),
    AnalysisRow(
        number=3,
        title="Detectability theory and phase diagrams",
        section="detectability",
        roles=(),
        tests=2,
        figure_ids=("Figure S8", "Figure S9"),
    ),
    AnalysisRow(
        number=4,
        title="Cross-tissue consistency of TF-target effects",
        section="mediation bias",
        roles=_tissues(1, 2, 3),
        tests=5,
        figure_ids=("Figure S10",),
    ),
    AnalysisRow(
        number=5,
        title="Condition-specific perturbation validation of scGPT mediation",
        section="perturbation validation",
        roles=tuple(f"agreement_screens[{n}]" for n in (1, 2, 3, 4)),
        tests=6,
        figure_ids=("Figure S11",),
    ),
    AnalysisRow(
        number=6,
        title="Cross-species ortholog transfer (human to mouse lung)",
        section="ortholog transfer",
        roles=("species_pair",),
        tests=4,
        figure_ids=("Figure S14", "Figure S15"),
    ),
    AnalysisRow(
        number=7,
        title="Pseudotime directionality audit",
        section="pseudotime",
        roles=tuple(f"trajectory[{n}]" for n in (1, 2, 3)),
        tests=6,
        figure_ids=("Figure S16", "Figure S17"),
    ),
    AnalysisRow(
        number=8,
        title="Batch and donor leakage audit",
        section="batch leakage",
        roles=tuple(f"donor_audit[{n}]" for n in (1, 2, 3)),
        tests=6,
        figure_ids=("Figure S18", "Figure S19"),
    ),
    AnalysisRow(
        number=9,
        title="Uncertainty calibration of edge scores",
        section="calibration",
        roles=tuple(f"agreement_screens[{n}]" for n in (1, 3, 4)),
        tests=5,
        figure_ids=("Figure S20", "Figure S21"),
    ),
    AnalysisRow(
        number=10,
        title="CSSI: synthetic, structured and real-attention validation",
        section="CSSI method",
        roles=("layer_selection",),
        tests=6,
        figure_ids=("Figure 1",),
    ),
    AnalysisRow(
        number=11,
        title="Synthetic ground-truth validation",
        section="synthetic validation",
        roles=(),
        tests=3,
        figure_ids=("Figure S24",),
    ),
    AnalysisRow(
        number=12,
        title="Multi-model GRN recovery",
        section="multi-model",
        roles=("layer_selection", *_tissues(1)),
        tests=6,
        figure_ids=("Figure S25",),
    ),
    AnalysisRow(
        number=13,
        title="Controlled composition and heterogeneity",
        section="scaling failure",
        roles=_tissues(2),
        tests=4,
        figure_ids=("Figure S5",),
    ),
    AnalysisRow(
        number=14,
        title="Attention-correlation mapping",
        section="confound decomposition",
        roles=_tissues(1, 2, 3),
        tests=3,
        figure_ids=("Figure S25",),
    ),
    AnalysisRow(
        number=15,
        title="Covariate explanation of edge scores",
        section="confound decomposition",
        tests=4,
        figure_ids=("Figure S26",),
        needs=("attention", "correlation", "gene_features"),
        settings=("analysis_depth", "bootstrap", "folds", "boosting", "covariate_pairs"),
        function="interp_assets.analyses.covariates:covariate_explanation",
    ),
    AnalysisRow(
        number=16,
        title="Degree-preserving null model",
        section="confound decomposition",
        tests=3,
        figure_ids=("Figure S27", "Figure S28"),
        needs=("attention", "correlation", "references"),
        settings=("analysis_depth", "label_shuffles", "curveball_networks", "curveball_trades"),
        function="interp_assets.analyses.degree_null:degree_preserving_null",
        for_controls=True,
    ),
    AnalysisRow(
        number=17,
        title="TRRUST circularity sensitivity",
        section="confound decomposition",
        tests=2,
        figure_ids=("Figure S29",),
        needs=("attention", "correlation", "references"),
        settings=("analysis_depth", "bootstrap", "size_matched_draws"),
        function="interp_assets.analyses.circularity:trrust_circularity",
    ),
    AnalysisRow(
        number=18,
        title="Per-TF bootstrap",
        section="confound decomposition",
        tests=1,
        figure_ids=("Figure S28",),
        needs=("attention", "correlation", "references"),
        settings=("analysis_depth", "regulator_bootstrap"),
        function="interp_assets.analyses.per_regulator:per_regulator_bootstrap",
    ),
    AnalysisRow(
        number=19,
        title="Perturbation-first evaluation (baseline and primary configurations)",
        section="perturbation validation",
        tests=2,
        figure_ids=("Figure 2", "Figure S13"),
        needs=(*SCREEN_INPUTS, "gene_features", "trivial"),
        settings=("analysis_depth", "bootstrap", *EVALUABLE),
        function="interp_assets.analyses.perturbation_first:perturbation_first_evaluation",
        for_controls=True,
    ),
    AnalysisRow(
        number=20,
        title="27-condition sensitivity grid",
        section="perturbation validation",
        tests=2,
        figure_ids=("Figure S12",),
    ),
    AnalysisRow(
        number=21,
        title="Trivial gene-level baselines",
        section="confound decomposition",
        tests=7,
        figure_ids=("Figure 3",),
        needs=(*SCREEN_INPUTS, "gene_features"),
        settings=("analysis_depth", "bootstrap", *EVALUABLE),
        function="interp_assets.analyses.baselines:gene_level_baselines",
        for_controls=True,
    ),
    AnalysisRow(
        number=22,
        title="Attention vs correlation on K562 CRISPRi",
        section="confound decomposition",
        tests=1,
        figure_ids=("Figure 2",),
        needs=SCREEN_INPUTS,
        settings=("analysis_depth", "bootstrap", "equivalence_margin", *EVALUABLE),
        function="interp_assets.analyses.baselines:attention_against_correlation",
        for_controls=True,
    ),
    AnalysisRow(
        number=23,
        title="Layer pre-specification and depth profile",
        section="confound decomposition",
        roles=("layer_selection", "primary_screen"),
        tests=1,
        figure_ids=("Figure 2", "Figure S30"),
        needs=("labels", "attention", "correlation", "references"),
        settings=("analysis_depth", "bootstrap", *EVALUABLE),
        function="interp_assets.analyses.layer_choice:layer_prespecification",
    ),
    AnalysisRow(
        number=24,
        title="CSSI null stress, K scan and SCENIC-style comparison",
        section="CSSI method",
        roles=("layer_selection",),
        tests=4,
        figure_ids=("Figure 1", "Figure S22", "Figure S23"),
    ),
    AnalysisRow(
        number=25,
        title="Cross-fitted residualisation",
        section="confound decomposition",
        tests=3,
        figure_ids=("Figure S32",),
        needs=("attention", "correlation", "gene_features", "references"),
        settings=(
            "analysis_depth",
            "bootstrap",
            "folds",
            "boosting",
            "residual_seeds",
            "residual_boosting_seeds",
        ),
        function="interp_assets.analyses.residualisation:cross_fitted_residualisation",
        for_controls=True,
    ),
    AnalysisRow(
        number=26,
        title="Conditional incremental value",
        section="confound decomposition",
        tests=2,
        figure_ids=("Figure 3",),
        needs=(*SCREEN_INPUTS, "gene_features"),
        settings=(*INCREMENTAL, "power_gain", "power_simulations"),
        function="interp_assets.analyses.incremental_value:conditional_incremental_value",
        for_controls=True,
    ),
    AnalysisRow(
        number=27,
        title="TF vs non-TF stratification",
        section="confound decomposition",
        tests=1,
        figure_ids=("Figure 3",),
        needs=(*SCREEN_INPUTS, "gene_features"),
        settings=INCREMENTAL,
        function="interp_assets.analyses.tf_strata:tf_stratification",
    ),
    AnalysisRow(
        number=28,
        title="Adamson K562 replication",
        section="cross context",
        roles=("second_screen",),
        tests=3,
        figure_ids=("Figure 5", "Figure S35"),
    ),
    AnalysisRow(
        number=29,
        title="Original six-condition head ablation",
        section="causal ablation",
        tests=5,
        figure_ids=("Figure 4", "Figure S33"),
        needs=INTERVENED,
        settings=ABLATION,
        function="interp_assets.analyses.ablation:original_head_ablation",
        for_controls=True,
    ),
    AnalysisRow(
        number=30,
        title="18-layer strict nested cross-validation",
        section="confound decomposition",
        tests=2,
        figure_ids=("Figure 2", "Figure S30", "Figure S31"),
    ),
    AnalysisRow(
        number=31,
        title="Hard generalisation splits and metric-robust extension",
        section="confound decomposition",
        tests=3,
        figure_ids=("Figure S39",),
        needs=(*SCREEN_INPUTS, "gene_features"),
        settings=INCREMENTAL,
        function="interp_assets.analyses.incremental_value:hard_generalisation_splits",
        for_controls=True,
    ),
    AnalysisRow(
        number=32,
        title="Expanded 13-condition head ablation",
        section="causal ablation",
        tests=12,
        figure_ids=("Figure 4",),
        needs=INTERVENED,
        settings=ABLATION,
        function="interp_assets.analyses.ablation:expanded_head_ablation",
        for_controls=True,
    ),
    AnalysisRow(
        number=33,
        title="Shifrut primary T-cell replication",
        section="cross context",
        roles=("small_screens[1]",),
        tests=4,
        figure_ids=("Figure 5", "Figure S36"),
    ),
    AnalysisRow(
        number=34,
        title="Orthogonal interventions",
        section="causal ablation",
        tests=6,
        figure_ids=("Figure S34",),
        needs=INTERVENED,
        settings=ABLATION,
        function="interp_assets.analyses.ablation:orthogonal_interventions",
        for_controls=True,
    ),
    AnalysisRow(
        number=35,
        title="Propensity-matched evaluation",
        section="confound decomposition",
        tests=3,
        figure_ids=("Figure 6", "Figure S38"),
        needs=(*SCREEN_INPUTS, "gene_features", "references"),
        settings=(
            "analysis_depth",
            "bootstrap",
            "folds",
            "gain_margin",
            "matches_per_positive",
            "matched_smd",
            *EVALUABLE,
        ),
        function="interp_assets.analyses.matched:propensity_matched_evaluation",
    ),
    AnalysisRow(
        number=36,
        title="Intervention fidelity diagnostics",
        section="causal ablation",
        tests=6,
        figure_ids=("Figure S37",),
        needs=INTERVENED,
        settings=ABLATION,
        function="interp_assets.analyses.fidelity:intervention_fidelity",
        for_controls=True,
    ),
    AnalysisRow(
        number=37,
        title="Cross-context battery: RPE1, iPSC neurons, HVG protocol",
        section="cross context",
        roles=("other_line_screen", "small_screens[2]", "primary_screen"),
        tests=12,
        figure_ids=("Figure 5", "Figure 6", "Figure S38"),
    ),
)
