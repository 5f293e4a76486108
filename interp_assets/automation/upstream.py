"""What is being made again above an asset, however far above, by another run than its own.

What belongs here: that one question, asked of a tick. What does not: what is wanted, and what else waits
(`conditions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

Found = dict[dg.AssetKey, Any]
# What was found, by the view of the tick: each tick has one of its own. What was found holds on to its view, so that
# weak keys would keep every one of them for ever.
_OF_TICK: dict[Any, Found] = {}


@dataclass(frozen=True)
class UnsettledAbove(dg.AutomationCondition[dg.AssetKey]):
    """True for partitions that would be made from what is about to change.

    Dagster's ``any_deps_in_progress`` looks one step up and at what runs already. Without more, a tick that asks for a
    release's attention in one run asks for its verdict in another, from new files and old attention; whichever ends
    first, a judgement that mixes both is kept and told. So partitions wait for every run, asked for in this tick or
    going on, of anything above them. What is asked for in this tick and shares their run does not count: a run keeps
    the order of its steps.
    """

    @property
    def name(self) -> str:
        """Word that the UI shows."""
        return "unsettled above"

    async def evaluate(self, context: Any) -> dg.AutomationResult[dg.AssetKey]:  # type: ignore[override]
        """Partitions of the asset at hand that have to wait."""
        view = context.asset_graph_view
        if context.candidate_subset.is_empty:
            return dg.AutomationResult(context, context.get_empty_subset())
        if view not in _OF_TICK:
            _OF_TICK.clear()
        found = _OF_TICK.setdefault(view, {})
        above = await _unsettled(view, context.request_subsets_by_key, context.key, found)
        return dg.AutomationResult(context, above.compute_intersection(context.candidate_subset))


async def _unsettled(view: Any, asked: Mapping[Any, Any], key: dg.AssetKey, found: Found) -> Any:
    """Partitions of ``key`` below something that moves; what lies above ``key`` has been decided in this tick."""
    from dagster._core.definitions.assets.graph.asset_graph import executable_in_same_run

    if key in found:
        return found[key]
    graph = view.asset_graph
    waiting = view.get_empty_subset(key=key)
    for parent in sorted(graph.get(key).parent_keys):
        moving = await _unsettled(view, asked, parent, found)
        everything = view.get_full_subset(key=parent)
        for runs in (view.compute_run_in_progress_subset, view.compute_backfill_in_progress_subset):
            moving = moving.compute_union(await runs(key=parent, from_subset=everything))
        if parent in asked and not executable_in_same_run(graph, key, parent):
            moving = moving.compute_union(asked[parent])
        if not moving.is_empty:
            waiting = waiting.compute_union(moving.compute_mapped_subset(key, direction="down"))
    found[key] = waiting
    return waiting
