"""Effects and edges against tissues, screens, species and time, and what attention follows (4 to 7, 12, 14)."""

from __future__ import annotations

from interp_assets.figures import agreement_figures, mapping_figures, trajectory_figures, transfer_figures
from interp_assets.figures.panels import NO_MODEL
from interp_assets.figures.records import FigureSpec, Mark

_SCGPT = "scGPT 12-layer"
_CORRELATION = "correlation edges"
_LUNG = "human and mouse lung"
_IMMUNE = "Tabula Sapiens immune, lineages T, B, myeloid"


def _screen(number: int, dataset: str, **rho: float) -> tuple[Mark, ...]:
    """Published correlations of one screen, which stands at a place among the agreement screens of a study."""
    names = {"raw": "raw", "adjusted": "confounds regressed out"}
    return tuple(
        Mark(series=f"agreement_screens[{number}], {names[key]}", value=value, model=_SCGPT, dataset=dataset)
        for key, value in rho.items()
    )


ROWS: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="tissue_agreement",
        title="Component effects across tissues",
        caption="One dot a component of the model. A pair whose components agree between tissues lies on a rising "
        "line. The published correlations carry tissue labels that the public archive does not hold, none is marked.",
        analyses=(4,),
        tables=("cross_tissue_effects", "mediation_components"),
        extra_tables=("cross_tissue_summary",),
        draw=agreement_figures.tissue_agreement,
        published=("Figure S10",),
    ),
    FigureSpec(
        figure_id="deletion_agreement",
        title="In-silico deletions against screens",
        caption="Confounds are mean expression of both genes and, where cell types are known, the composition shift. "
        "Stars repeat the printed correlations; the public companion data of the paper give others.",
        analyses=(5,),
        tables=("agreement_pairs", "agreement_summary"),
        draw=agreement_figures.deletion_agreement,
        published=("Figure S11",),
        marks=(
            *_screen(1, "Dixit 13-day", raw=0.269, adjusted=0.199),
            *_screen(2, "Dixit 7-day", raw=0.112),
            *_screen(4, "Shifrut", raw=-0.325, adjusted=0.004),
        ),
    ),
    FigureSpec(
        figure_id="ortholog_conservation",
        title="Edges in another species",
        caption="The filter keeps pairs that are correlated in both species, which raises the agreement: the number "
        "over all pairs stands beside. Fragile: same sign, |rho| differs by over .3. Anti-conserved: opposite signs, "
        "one |rho| above .15. Shared cell types make edges agree as well; within cell types that is taken out.",
        analyses=(6,),
        tables=("ortholog_edges", "ortholog_categories", "ortholog_sign_bins"),
        extra_tables=("ortholog_summary",),
        draw=transfer_figures.ortholog_conservation,
        published=("Figure S14",),
        marks=(Mark(series="sign agreement", value=1.0, model=_CORRELATION, dataset=_LUNG),),
    ),
    FigureSpec(
        figure_id="regulator_conservation",
        title="Conservation by regulator",
        caption="Regulators with few edges scatter widely by chance: the grey bars hold 95% of permutations of the "
        "genes. Stars repeat printed values of single regulators; NKX2-1 is left out, printed in two ways.",
        analyses=(6,),
        tables=("ortholog_per_tf",),
        draw=transfer_figures.regulator_conservation,
        published=("Figure S15",),
        marks=tuple(
            Mark(series=name, value=value, model=_CORRELATION, dataset=_LUNG)
            for name, value in (
                ("XBP1", 0.90),
                ("EPAS1", 0.89),
                ("ERG", 0.88),
                ("CTNNB1", 0.01),
                ("STAT1", 0.06),
                ("HIF1A", 0.10),
                ("CEBPB", 0.13),
                ("MAX", -0.12),
            )
        ),
    ),
    FigureSpec(
        figure_id="pseudotime_direction",
        title="Direction along pseudotime",
        caption="Chance is what shuffled pseudotime gives, not 0. Any two genes that change along a lineage have lags: "
        "random pairs of like expression show how often.",
        analyses=(7,),
        tables=("pseudotime_null", "pseudotime_lags", "pseudotime_pairs"),
        draw=trajectory_figures.pseudotime_direction,
        published=("Figure S16",),
        marks=(
            Mark(series="all", value=0.214, model=NO_MODEL, dataset=_IMMUNE),
            Mark(series="trajectory[1]", value=0.167, model=NO_MODEL, dataset=_IMMUNE),
            Mark(series="trajectory[2]", value=0.133, model=NO_MODEL, dataset=_IMMUNE),
            Mark(series="trajectory[3]", value=0.353, model=NO_MODEL, dataset=_IMMUNE),
        ),
    ),
    FigureSpec(
        figure_id="pseudotime_nulls",
        title="Chance and failures along pseudotime",
        caption="A pair fails when both genes move at once, the target moves first, no peak is clear, or the sign is "
        "wrong. Stars are the printed counts as shares of the 56 published pairs.",
        analyses=(7,),
        tables=("pseudotime_draws", "pseudotime_null", "pseudotime_outcomes"),
        extra_tables=("pseudotime_pairs",),
        draw=trajectory_figures.pseudotime_nulls,
        published=("Figure S17",),
        marks=tuple(
            Mark(series=name, value=pairs / 56, model=NO_MODEL, dataset=_IMMUNE)
            for name, pairs in (
                ("consistent", 12),
                ("simultaneous", 26),
                ("target_leads", 14),
                ("weak", 3),
                ("wrong_sign", 1),
            )
        ),
    ),
    FigureSpec(
        figure_id="attention_mapping",
        title="What attention follows",
        caption="Correlations over gene pairs, one mark a data set. Hanging together with co-expression and with no "
        "reference is what a co-expression measure does. The printed .842 is not marked: it cannot belong to the same "
        "quantities as .31 to .42.",
        analyses=(12, 14),
        tables=("attention_mapping",),
        extra_tables=("model_mapping", "attention_across_tissues"),
        draw=mapping_figures.attention_mapping,
        published=("Figure S25",),
        marks=tuple(
            Mark(series=series, value=value, model=model, dataset=dataset)
            for series, values, model, dataset in (
                ("rho, co_expression", (0.31, 0.42), "scGPT and Geneformer", "DLPFC + immune"),
                ("rho, membership", (-0.02, 0.02), "scGPT and Geneformer", "DLPFC + immune"),
                ("r2, co_expression", (0.10, 0.18), "scGPT and Geneformer", "immune"),
            )
            for value in values
        ),
    ),
)
