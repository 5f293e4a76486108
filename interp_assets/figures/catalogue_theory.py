"""What theory and simulation say: additivity of components, detectability, synthetic ground truth (2, 3, 11)."""

from __future__ import annotations

from interp_assets.figures import detectability_figures, mediation_figures, synthetic_figures
from interp_assets.figures.printed_marks import printed
from interp_assets.figures.records import FigureSpec, Mark


def _stated(series: str, values: dict[float, float]) -> tuple[Mark, ...]:
    """Certified shares by budget factor that the text states (section 5, analysis 2)."""
    return tuple(
        Mark(series=series, value=value, model="scGPT 12-layer", dataset="tracing archive", x=x)
        for x, value in values.items()
    )


CERTIFIED = (
    *(printed("uniform", f"SIG{240 + place}", x) for place, x in enumerate((1.0, 1.5, 2.0, 3.0))),
    *_stated("uniform", {4.0: 0.0032, 6.0: 0.0032, 8.0: 0.0032}),
    printed("proportional", "SIG244", 1.0),
    *_stated("concentrated", {1.0: 0.0032}),
    *_stated("heads", {1.0: 0.0752}),
    *_stated("mlp", {1.0: 0.0587}),
    *_stated("top", {1.0: 0.0625, 1.5: 0.0}),
)
# Attention-like and intervention-like effects by turns, for 500, 2,000 and 10,000 edges.
CELLS = tuple(
    printed("cells", f"SIG{248 + 2 * place + kind}", x)
    for place, x in enumerate((500.0, 2000.0, 10_000.0))
    for kind in (0, 1)
)

ROWS: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="non_additivity",
        title="Residual non-additivity",
        caption="A run-pair is one regulator and target in one tissue and kind of component. The bound is what of the "
        "residual 1.96 standard errors do not cover; traced in one cell there is no standard error and any residual "
        "counts, so that such run-pairs are hollow and left out of the median.",
        analyses=(2,),
        tables=("mediation_run_pairs",),
        extra_tables=("mediation_summary",),
        draw=mediation_figures.non_additivity,
        published=("Figure S6",),
        marks=(printed("median", "SIG239"),),
    ),
    FigureSpec(
        figure_id="ranking_certificate",
        title="Certified ranking of components",
        caption="The order of two components is certified when interactions of lambda times the bound could not turn "
        "it. Means over all run-pairs, those of one cell included, as published.",
        analyses=(2,),
        tables=("mediation_certificate",),
        draw=mediation_figures.ranking_certificate,
        published=("Figure S7",),
        marks=CERTIFIED,
    ),
    FigureSpec(
        figure_id="detectability_phases",
        title="Detectability phase diagram",
        caption="Effect sizes and noise are assumed, not measured. A tail factor that both kinds share cancels; only a "
        "heavier tail of intervention-like effects removes their advantage (ratio 1 at 1.8 against 1.2).",
        analyses=(3,),
        tables=("detectability_grid", "detectability_cells"),
        extra_tables=("detectability_tails",),
        draw=detectability_figures.detectability_phases,
        published=("Figure S8",),
        marks=(*CELLS, printed("tails", "SIG254", 1.8)),
    ),
    FigureSpec(
        figure_id="detectability_projection",
        title="Detectability projected and simulated",
        caption="The pilot is simulated, because no effects of archived tracing runs are there. Groups of edges are "
        "resampled together in the judged scheme; edges one by one give intervals that are too narrow.",
        analyses=(3,),
        tables=("detectability_projection", "detectability_boundary"),
        extra_tables=("detectability_projection_summary", "detectability_area"),
        draw=detectability_figures.detectability_projection,
        published=("Figure S9",),
        marks=(printed("contaminated", "SIG256"),),
    ),
    FigureSpec(
        figure_id="synthetic_truth",
        title="Synthetic ground truth",
        caption="No noise grows with the number of cells here, so that a loss of recovery comes from the states. The "
        "published values are not marked: the published generator does not reproduce them.",
        analyses=(3, 11),
        tables=("synthetic_recovery_summary",),
        extra_tables=(
            "synthetic_recovery",
            "synthetic_recovery_trend",
            "synthetic_circuits",
            "synthetic_detection",
            "synthetic_detection_agreement",
            "detection_theory",
            "detection_agreement",
        ),
        draw=synthetic_figures.synthetic_truth,
        published=("Figure S24",),
    ),
)
