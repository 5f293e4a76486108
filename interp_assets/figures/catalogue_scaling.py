"""How recovery depends on the number of cells and on what is mixed in them (1, 13)."""

from __future__ import annotations

from dataclasses import replace

from interp_assets.figures import composition_figures, scaling_figures
from interp_assets.figures.printed_marks import printed
from interp_assets.figures.records import FigureSpec, Mark

TIERS = ("small", "medium", "large")
KIDNEY = "Tabula Sapiens kidney"


def _tiers(series: str, first_id: int) -> tuple[Mark, ...]:
    """Registered values of three sizes of scGPT at 200 and 1,000 cells, which have consecutive ids."""
    return tuple(
        replace(printed(series, f"SIG{first_id + 2 * place + step}", x), model=f"scGPT {tier}")
        for place, tier in enumerate(TIERS)
        for step, x in enumerate((200.0, 1000.0))
    )


def _stated(series: str, numbers: tuple[tuple[float, ...], ...]) -> tuple[Mark, ...]:
    """Values of the three sizes by number of cells that the text states (section 5, analysis 1)."""
    return tuple(
        Mark(series=series, value=value, model=f"scGPT {tier}", dataset=KIDNEY, x=x)
        for tier, values in zip(TIERS, numbers, strict=True)
        for x, value in zip((200.0, 1000.0, 3000.0), values, strict=False)
    )


# Levels depend on the pairs and on the share kept, so that they do not compare with ours.
F1_TRRUST = _tiers("f1", 218)
F1_DOROTHEA = _stated("f1", ((1.5e-3, 6.3e-4, 3.0e-4), (1.65e-3, 6.2e-4, 2.6e-4), (1.1e-3, 2.2e-4, 7e-5)))
REPEATED = (*_tiers("jaccard", 224), *_stated("spearman", ((0.211, -0.065), (0.183, -0.110), (0.083, -0.130))))
AUROC = (printed("auroc", "SIG215", 200), printed("auroc", "SIG216", 1000), printed("auroc", "SIG217", 3000))
RHO = (printed("fixed_shares", "SIG231"), printed("fixed_cells", "SIG232"), printed("random_draw", "SIG230"))

ROWS: tuple[FigureSpec, ...] = (
    FigureSpec(
        figure_id="scaling_first_reference",
        title="Scaling with cells, primary reference",
        caption="A fixed share of the candidate pairs is kept at every number of cells. A run without a hit has F1 0, "
        "drawn below the logarithmic axis. Published values stand apart: other cells, pairs and network (TRRUST).",
        analyses=(1,),
        tables=("scaling_summary",),
        extra_tables=("scaling_runs",),
        draw=scaling_figures.scaling_first,
        published=("Figure S1",),
        marks=F1_TRRUST,
    ),
    FigureSpec(
        figure_id="scaling_second_reference",
        title="Scaling with cells, second reference",
        caption="The same runs against the second reference of the study. Published values stand apart: other cells, "
        "pairs and network (DoRothEA, printed as approximate).",
        analyses=(1,),
        tables=("scaling_summary",),
        extra_tables=("scaling_runs",),
        draw=scaling_figures.scaling_second,
        published=("Figure S2",),
        marks=F1_DOROTHEA,
    ),
    FigureSpec(
        figure_id="scaling_repeatability",
        title="Agreement between draws of cells",
        caption="Large draws of one data set share cells, which raises their overlap; draws without a cell in common "
        "are told apart where the data set is large enough for them.",
        analyses=(1,),
        tables=("scaling_seed_pairs",),
        draw=scaling_figures.scaling_repeatability,
        published=("Figure S3",),
        marks=REPEATED,
    ),
    FigureSpec(
        figure_id="scaling_metrics",
        title="Metrics of the same runs",
        caption="AUROC ranks all candidate pairs, hits count the kept ones: the two may move in opposite directions, "
        "so that neither is shown alone. The published counts of hits contradict each other and are not marked.",
        analyses=(1,),
        tables=("scaling_summary",),
        extra_tables=("scaling_runs",),
        draw=scaling_figures.scaling_metrics,
        published=("Figure S4",),
        marks=AUROC,
    ),
    FigureSpec(
        figure_id="controlled_composition",
        title="Controlled composition",
        caption="Number of cells and number of cell types varied one at a time, and together in random draws. Larger "
        "random draws meet more types. The published correlations are given for attention in one place and for "
        "correlation in another, so that a star stands between the two.",
        analyses=(13,),
        tables=("composition_runs", "composition_trends"),
        draw=composition_figures.composition,
        published=("Figure S5",),
        marks=RHO,
    ),
)
