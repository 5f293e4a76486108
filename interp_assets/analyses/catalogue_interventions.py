"""Analyses that change a running model (29, 32, 34, 36)."""

from __future__ import annotations

from interp_assets.analyses.analysis_row import AnalysisRow

INTERVENED = ("labels", "references", "interventions")
ABLATION = (
    "analysis_depth",
    "bootstrap",
    "intervention_tokens",
    "random_head_sets",
    "min_positives",
    "min_negatives",
)

ROWS: tuple[AnalysisRow, ...] = (
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
)
