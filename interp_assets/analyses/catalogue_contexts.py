"""Analyses that repeat the comparison elsewhere: other parameters, other layers, other screens (20, 28, 30, 33, 37)."""

from __future__ import annotations

from interp_assets.analyses.analysis_row import AnalysisRow
from interp_assets.analyses.catalogue_confounds import EVALUABLE, INCREMENTAL, SCREEN_INPUTS

ROWS: tuple[AnalysisRow, ...] = (
    AnalysisRow(
        number=20,
        title="27-condition sensitivity grid",
        section="perturbation validation",
        tests=2,
        figure_ids=("Figure S12",),
        needs=("labels", "attention", "correlation", "gene_features"),
        settings=("analysis_depth", "bootstrap", "min_positives", "min_negatives"),
        readings=("sensitivity_grid",),
        function="interp_assets.analyses.sensitivity_grid:sensitivity_grid",
    ),
    AnalysisRow(
        number=28,
        title="Adamson K562 replication",
        section="cross context",
        roles=("second_screen",),
        tests=3,
        figure_ids=("Figure 5", "Figure S35"),
        needs=(*SCREEN_INPUTS, "gene_features", "references"),
        settings=(*INCREMENTAL, "equivalence_margin", "residual_seeds", *EVALUABLE),
        function="interp_assets.analyses.replication:second_screen_replication",
    ),
    AnalysisRow(
        number=30,
        title="18-layer strict nested cross-validation",
        section="confound decomposition",
        tests=2,
        figure_ids=("Figure 2", "Figure S30", "Figure S31"),
        needs=SCREEN_INPUTS,
        settings=("analysis_depth", "bootstrap", "folds", *EVALUABLE),
        function="interp_assets.analyses.nested_layers:nested_layer_selection",
    ),
    AnalysisRow(
        number=33,
        title="Shifrut primary T-cell replication",
        section="cross context",
        roles=("small_screens[1]",),
        tests=4,
        figure_ids=("Figure 5", "Figure S36"),
        needs=SCREEN_INPUTS,
        settings=("analysis_depth", "context_bootstrap", "equivalence_margin", *EVALUABLE),
        function="interp_assets.analyses.replication:small_screen_replication",
    ),
    AnalysisRow(
        number=37,
        title="Cross-context battery: RPE1, iPSC neurons, HVG protocol",
        section="cross context",
        roles=("other_line_screen", "small_screens[2]", "primary_screen"),
        tests=12,
        figure_ids=("Figure 5", "Figure 6", "Figure S38"),
        needs=(*SCREEN_INPUTS, "gene_features", "references"),
        settings=(
            *INCREMENTAL,
            "context_bootstrap",
            "equivalence_margin",
            "residual_seeds",
            "restricted_share",
            *EVALUABLE,
        ),
        readings=("restricted_attention",),
        function="interp_assets.analyses.cross_context:cross_context_battery",
    ),
)
