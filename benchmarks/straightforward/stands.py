"""Which of our functions have a straightforward twin in the evaluation, and how closely the two must agree."""

from __future__ import annotations

from typing import Any

from benchmarks.straightforward import cssi, differential, incremental, models, nulls, ranking, readings
from benchmarks.straightforward.clock import Stand

STATS = "interp_assets.stats"
# Fused and eager attention round differently; sums of float32 weights, distances and logits of a whole vocabulary.
MODEL = 2e-3

# Sums in another order tie or part two scores of a few hundred now and then: one pair of an AUROC goes the other way.
ONE_PAIR = 2e-3
# The library moves a cluster that lost all its points, ours stays empty.
EMPTIED = 0.05


def learner_of(features: Any, outcome: Any, plan: Any, learner: Any, *more: Any, **named: Any) -> str:
    """Learner of a cross-fit."""
    return "least squares" if learner is None else type(learner).__name__.lower()


def stands() -> tuple[Stand, ...]:
    """Every function that is replaced, by topic."""
    return (
        *(
            Stand(fast=f"interp_assets.{fast}", twin=twin, topic=topic, tolerance=MODEL)
            for fast, twin, topic in (
                ("models.attention.run:ExtractionRun.run", models.extraction_run, "extraction"),
                ("readings.cell_attention:_read_cells", models.read_cells, "extraction"),
                ("readings.layer_attention:layer_sums", readings.layer_sums, "extraction"),
                ("readings.restricted_attention:read_rows", readings.read_rows, "extraction"),
                ("readings.value_weighted:_read_layers", readings.value_layers, "extraction"),
                ("interventions.run:head_rows", models.all_head_rows, "interventions"),
                ("interventions.run:Runner.run", models.conditions_run, "interventions"),
                ("readings.coalitions:read_coalitions", readings.read_coalitions, "interventions"),
                ("readings.deletions:_at_places", readings.at_places, "interventions"),
            )
        ),
        *(
            Stand(fast=f"interp_assets.cells.differential:{twin.__name__}", twin=twin, topic="differential expression")
            for twin in (differential.differential_expression, differential.rank_sum_expression)
        ),
        *(
            Stand(fast=f"{STATS}.ranking:{fast}", twin=twin, topic="ranking")
            for fast, twin in (
                ("RankedRows.auroc", ranking.ranked_auroc),
                ("RankedRows.average_precision", ranking.ranked_average_precision),
                ("auroc", ranking.auroc),
                ("average_precision", ranking.average_precision),
            )
        ),
        *(
            Stand(fast=f"{STATS}.resampling:{twin.__name__}", twin=twin, topic="bootstraps")
            for twin in (ranking.grouped_auroc_bootstrap, ranking.grouped_average_precision_bootstrap)
        ),
        Stand(
            fast=f"{STATS}.incremental:paired_gains",
            twin=incremental.paired_gains,
            topic="bootstraps",
            work=incremental.draws_of_pairs,
        ),
        *(
            Stand(fast=f"{STATS}.nulls:{twin.__name__}", twin=twin, topic="nulls")
            for twin in (nulls.curveball_null, nulls.label_shuffle_null)
        ),
        *(
            Stand(
                fast=f"{STATS}.{module}:{twin.__name__}",
                twin=twin,
                topic="cross-fits",
                work=incremental.rows_fitted,
                kind=learner_of,
                tolerance=1e-4,
            )
            for module, twin in (
                ("incremental", incremental.remembered_scores),
                ("crossfit", incremental.out_of_fold_scores),
                ("crossfit", incremental.out_of_fold_means),
            )
        ),
        *(
            Stand(fast=f"interp_assets.{fast}", twin=twin, topic="CSSI", tolerance=tolerance)
            for fast, twin, tolerance in (
                ("analyses.cssi_designs:recovered", cssi.recovered, ONE_PAIR),
                ("analyses.cssi_attention:JudgedAttention.recovered", cssi.judged_recovered, ONE_PAIR),
                ("stats.kmeans:kmeans_labels", cssi.kmeans_labels, EMPTIED),
            )
        ),
    )
