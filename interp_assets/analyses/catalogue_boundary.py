"""Where attention-derived networks hold and where they break (analyses 1-14 and 24).

Scaling, mediation, theory, agreement with screens, species, pseudotime, donors, calibration, cell states, models.
"""

from __future__ import annotations

from interp_assets.analyses.analysis_row import AnalysisRow


def _tissues(*numbers: int) -> tuple[str, ...]:
    return tuple(f"tissues[{n}]" for n in numbers)


ROWS: tuple[AnalysisRow, ...] = (
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
        number=24,
        title="CSSI null stress, K scan and SCENIC-style comparison",
        section="CSSI method",
        roles=("layer_selection",),
        tests=4,
        figure_ids=("Figure 1", "Figure S22", "Figure S23"),
    ),
)
