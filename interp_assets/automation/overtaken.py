"""What was made from an input that has changed since it was read.

What belongs here: that one question, asked of what was made since the last tick. What does not: inputs that change
while nothing runs, which Dagster's own conditions see, and what else is wanted or waits (`conditions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg


@dataclass(frozen=True)
class Overtaken(dg.AutomationCondition[dg.AssetKey]):
    """True for partitions whose last result was made from another content of a direct input than there is now.

    Dagster's ``data_version_changed`` counts as handled once the partition is made again. A run that read an input
    before it changed and ended after it would settle the change unread. So what was made since the last tick is held
    against the versions of inputs that its step noted when it began, and is asked about until it agrees with them.
    What was reported without a step notes no inputs, and is not judged.
    """

    @property
    def name(self) -> str:
        """Word that the UI shows."""
        return "input changed under its run"

    async def evaluate(self, context: Any) -> dg.AutomationResult[dg.AssetKey]:  # type: ignore[override]
        """Partitions of the asset at hand that read what is no longer there."""
        view, last = context.asset_graph_view, context.previous_temporal_context
        nothing = context.get_empty_subset()
        if last is None or context.candidate_subset.is_empty:
            return dg.AutomationResult(context, nothing)
        made = await view.compute_updated_since_temporal_context_subset(key=context.key, temporal_context=last)
        asked = made.compute_union(context.previous_true_subset or nothing)
        asked = asked.compute_intersection(context.candidate_subset)
        if asked.is_empty:
            return dg.AutomationResult(context, nothing)
        overtaken = {place for place in asked.expensively_compute_asset_partitions() if _overtaken(view, place)}
        return dg.AutomationResult(
            context, view.get_asset_subset_from_asset_partitions(key=context.key, asset_partitions=overtaken)
        )


def _overtaken(view: Any, place: Any) -> bool:
    """Whether a step noted inputs of this partition whose content is another one now, by Dagster's own comparison."""
    from dagster._core.definitions.data_version import (
        CachingStaleStatusResolver,
        StaleCauseCategory,
        extract_data_provenance_from_entry,
    )

    queryer = view.get_inner_queryer_for_back_compat()
    record = queryer.get_latest_materialization_or_observation_record(place)
    if record is None or extract_data_provenance_from_entry(record.event_log_entry) is None:
        return False
    resolver = CachingStaleStatusResolver(view.instance, view.asset_graph, view, queryer)
    causes = resolver.get_stale_causes(place.asset_key, place.partition_key)
    return any(cause.category is StaleCauseCategory.DATA for cause in causes)
