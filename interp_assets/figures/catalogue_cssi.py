"""Scoring within cell states, and whether meaningless strata gain as much (10, 24)."""

from __future__ import annotations

from interp_assets.figures import cssi_figures
from interp_assets.figures.printed_marks import printed
from interp_assets.figures.records import FigureSpec, Mark

# Table S5 by cells and states of the simulation; each configuration has pooled F1, best-stratum F1 and their ratio.
SETUPS = ("200/2", "400/4", "600/6", "1000/8", "1000/10", "1500/12")
DILUTION = tuple(
    printed(f"{series} {setup}", f"SIG{155 + 3 * place + step}")
    for place, setup in enumerate(SETUPS)
    for step, series in enumerate(("pooled_f1", "max_f1"))
)
# The text attaches 1.85 to tissue; it is row 600/6 of the simulation.
RATIO = printed("ratio", "SIG163", 6)
NULL_RANGES = tuple(
    Mark(series=kind, value=value, model="correlation edges", dataset="simulation")
    for kind, ends in (
        ("oracle", (0.95, 1.0)),
        ("shuffled", (0.4, 0.6)),
        ("random", (0.4, 0.6)),
        ("gene_permuted", (0.4, 0.6)),
    )
    for value in ends
)
CALLS = tuple(
    printed(series, name, x) for series, name in (("false_share", "SIG211"), ("power", "SIG212")) for x in (5, 15)
)

ROWS: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="cssi_dilution",
        title="Dilution by cell states, and strata against it",
        caption="Known states are what a simulation knows; a user has estimated ones, which may lose to pooled cells. "
        "Null strata show what taking the best of K noisy scores gains by itself.",
        analyses=(10, 24),
        tables=("cssi_summary", "cssi_k_scan"),
        extra_tables=("cssi_dilution", "cssi_attention_scan"),
        draw=cssi_figures.cssi_dilution,
        published=("Figure 1",),
        marks=(*DILUTION, RATIO),
    ),
    FigureSpec(
        figure_id="cssi_null_stress",
        title="Strata without meaning",
        caption="Null strata take the same choice of number of strata and rule as real ones, so that the choice itself "
        "can be seen. Known states that stay above all null draws gain more than a choice does.",
        analyses=(24,),
        tables=("cssi_null_draws", "cssi_null"),
        draw=cssi_figures.cssi_null_stress,
        published=("Figure S22", "Figure 1 D"),
        marks=NULL_RANGES,
    ),
    FigureSpec(
        figure_id="cssi_k_scan",
        title="Number of strata, rule of combination, false edges",
        caption="Known states are merged or cut to the number of strata asked for. Numbers of strata that leave too "
        "few cells a stratum are refused and named.",
        analyses=(24,),
        tables=("cssi_k_scan",),
        draw=cssi_figures.cssi_k_scan,
        published=("Figure S23",),
        marks=(RATIO, *CALLS),
    ),
)
