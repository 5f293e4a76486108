"""What makes an asset run by itself: missing or changed partitions, asked again after everything they read.

What belongs here: conditions, the sensor that acts on them, and what it asks for. What does not: priorities, time
limits and tags of the runs (`run_settings`), or when a release is put into quarantine (`failures`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from interp_assets import quarantine
from interp_assets.automation.at_rest import Rest, scene
from interp_assets.automation.overtaken import Overtaken
from interp_assets.automation.run_settings import RunSettings, read_run_settings
from interp_assets.automation.run_tags import Cause, Dimension
from interp_assets.automation.upstream import UnsettledAbove
from interp_assets.layout import RELEASE
from interp_assets.settings import Folders

SENSOR = "evaluate_what_is_missing"
JUDGED = dg.AssetKey("qc_verdict")
# Where there are more judgements than this, the UI is told what was asked for, and not by which part of a condition:
# each part lists its partitions, and an answer above 100 MB never reaches the daemon (docs/scaling.md).
MOST_EXPLAINED = 100


@dataclass(frozen=True)
class InQuarantine(dg.AutomationCondition[dg.AssetKey]):
    """True for the partitions of releases that are in quarantine; the store is read at every tick."""

    @property
    def name(self) -> str:
        """Word that the UI shows."""
        return "in quarantine"

    def evaluate(self, context: Any) -> dg.AutomationResult[dg.AssetKey]:
        """Partitions of the asset at hand whose release is left alone."""
        held = quarantine.read(Folders.from_environment().store)
        if not held:
            return dg.AutomationResult(context, context.get_empty_subset())
        definition = context.partitions_def
        return _where(context, lambda key: release_in(definition, key) in held)


@dataclass(frozen=True)
class OnDatasets(dg.AutomationCondition[dg.AssetKey]):
    """True for the partitions of datasets that somebody reads; of a grid, most are nobody's."""

    datasets: frozenset[str]

    @property
    def name(self) -> str:
        """Word that the UI shows."""
        return "read by a study"

    def evaluate(self, context: Any) -> dg.AutomationResult[dg.AssetKey]:
        """Partitions of the asset at hand on those datasets."""
        split = context.partitions_def.get_partition_key_from_str
        return _where(context, lambda key: split(key).keys_by_dimension["dataset"] in self.datasets)


def _where(context: Any, holds: Callable[[str], bool]) -> dg.AutomationResult[dg.AssetKey]:
    """The partitions at hand for which something holds; none of an asset without partitions."""
    definition = context.partitions_def
    if definition is None or context.candidate_subset.is_empty:
        return dg.AutomationResult(context, context.get_empty_subset())
    found = {key for key in context.candidate_subset.expensively_compute_partition_keys() if holds(key)}
    view = context.asset_graph_view
    return dg.AutomationResult(context, view.get_subset_from_partition_keys(context.key, definition, found))


def release_in(definition: dg.PartitionsDefinition, key: str) -> str | None:
    """Release that a partition belongs to; None where its dimensions name none."""
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return definition.get_partition_key_from_str(key).keys_by_dimension.get("release")
    named = isinstance(definition, dg.DynamicPartitionsDefinition) and definition.name == RELEASE.name
    return str(key) if named else None


def incremental() -> dg.AutomationCondition[dg.AssetKey]:
    """Request a partition when it is missing, its code changed, or an input's content changed.

    ``missing`` instead of ``newly_missing``: a release that was registered before the daemon's first tick is
    evaluated too. A partition whose last run failed is left alone until something it reads changes, so a
    broken release does not run in a loop; one waits whose inputs are absent, or where anything above it, however far,
    is made again by another run (`UnsettledAbove`): no verdict mixes old and new. So does one that
    ended since the last tick: a tick reads the events of its beginning but the runs of its end, and would take
    what ended in between for neither running nor updated, and ask for it again. What was made from an input that
    changed before the run ended is asked for again (`Overtaken`).

    Nothing of a release in quarantine is requested. What changed meanwhile is remembered, and what failed is asked for
    once more when the release leaves quarantine.
    """
    return _requested(dg.AutomationCondition.execution_failed())


def incremental_on(datasets: frozenset[str]) -> dg.AutomationCondition[dg.AssetKey]:
    """`incremental` for an asset on the (release, dataset) grid that is read on these datasets alone."""
    return (OnDatasets(datasets) & incremental()).with_label("missing or changed, and read by a study")


def incremental_release() -> dg.AutomationCondition[dg.AssetKey]:
    """`incremental` for the files of a release: they are read again whenever it leaves quarantine."""
    return _requested(~dg.AutomationCondition.in_progress())


def _requested(retried: dg.AutomationCondition[dg.AssetKey]) -> dg.AutomationCondition[dg.AssetKey]:
    """What is missing or changed, and what is ``retried`` of a release that left quarantine."""
    condition = dg.AutomationCondition
    held: dg.AutomationCondition[dg.AssetKey] = InQuarantine()
    changed = condition.any_deps_match(condition.data_version_changed())
    wanted = (
        (condition.missing() & ~condition.execution_failed())
        | (changed | condition.code_version_changed()).since_last_handled()
        | (Overtaken() & ~condition.execution_failed())
        # joins the run of what it reads, and is forgotten where it has to wait: then the result decides
        | condition.any_deps_match(condition.will_be_requested())
        | (held.since(condition.newly_requested()) & retried)
    )
    idle = ~condition.in_progress()
    runs_or_just_ran = condition.in_progress().since(idle & ~idle.newly_true()) | condition.newly_requested()
    waits = condition.any_deps_missing() | UnsettledAbove() | runs_or_just_ran | held
    return (condition.in_latest_time_window() & wanted & ~waits).with_label("missing or changed")


def gathering() -> dg.AutomationCondition[dg.AssetKey]:
    """Request an asset over all releases and studies when one of them is new: one that fails holds nothing up.

    New code of an asset that was made before counts too. A judgement that comes while the asset is made is remembered
    for the next time, since it may have come too late to be read.
    """
    condition = dg.AutomationCondition
    new = condition.any_deps_match(condition.newly_updated()) | (
        condition.code_version_changed() & ~condition.missing()
    )
    return (new.since(condition.newly_requested() & ~new) & ~condition.in_progress()).with_label("one of many is new")


class EvaluateWhatIsMissing(dg.AutomationConditionSensorDefinition):
    """Dagster's sensor of conditions whose run requests say which release they are for, why, and how urgent they are.

    It is evaluated in the code server, since the daemon by itself cannot know what is in quarantine. A tick asks for
    runs, never for a backfill, so that every run has the priority of its own release. Where nothing has ended or come
    since the last ticks, conditions are not looked at (`at_rest`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rest = Rest()

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        """One tick: what the conditions ask for, each request with its tags."""
        there = scene(context.instance)
        if self._rest.lasts(context.cursor, there):
            return _nothing(context.cursor)
        found = super().evaluate_tick(context)
        self._rest.looked(context.cursor, found.cursor, there, asked=bool(found.run_requests))
        return self._tagged(context, found)

    @staticmethod
    def _tagged(context: dg.SensorEvaluationContext, found: Any) -> Any:
        """The outcome of a look, its requests with their tags."""
        from dagster._record import replace as replace_record

        if not found.run_requests and not found.automation_condition_evaluations:
            return found
        repository = context.repository_def
        if repository is None:
            raise ValueError(f"{SENSOR} needs the definitions that it belongs to")
        judged = repository.asset_graph.get(JUDGED).partitions_def
        told = found.automation_condition_evaluations
        if len(judged.get_partition_keys(dynamic_partitions_store=context.instance)) > MOST_EXPLAINED:
            told = [replace(evaluation, child_evaluations=[]) for evaluation in told]
        tags = RequestTags(context.instance, repository.asset_graph, read_run_settings(Folders.from_environment()))
        asked = [replace_record(request, tags={**request.tags, **tags.of(request)}) for request in found.run_requests]
        return replace_record(found, run_requests=asked, automation_condition_evaluations=told)


def _nothing(cursor: str | None) -> Any:
    """Outcome of a tick that looked at nothing; the cursor stays."""
    from dagster._core.definitions.sensor_definition import SensorExecutionData

    told = "nothing has ended or come since the last look"
    return SensorExecutionData(run_requests=[], skip_message=told, cursor=cursor)


class RequestTags:
    """Tags of run requests; what was judged before is looked up once."""

    def __init__(self, instance: dg.DagsterInstance, graph: Any, settings: RunSettings) -> None:
        self._graph, self._settings = graph, settings
        self._judged = {str(key) for key in instance.get_materialized_partitions(JUDGED)}
        self._judged_anywhere = {key.partition("|")[0] for key in self._judged}

    def of(self, request: dg.RunRequest, cause: Cause | None = None) -> Mapping[str, str]:
        """Tags of one request; without a ``cause`` it is a new release, or something that changed."""
        partition = request.partition_key or request.tags.get("dagster/partition")
        definition = self._graph.get(request.asset_selection[0]).partitions_def if request.asset_selection else None
        if partition is None or definition is None:
            return self._settings.tags(None, cause or "changed", plain="release")
        if isinstance(definition, dg.MultiPartitionsDefinition):
            partition = definition.get_partition_key_from_str(partition)
        release = release_in(definition, partition)
        plain: Dimension = "release" if release else "study" if str(partition) in self._studies else "dataset"
        return self._settings.tags(partition, cause or self._cause(partition, release), plain=plain)

    @property
    def _studies(self) -> set[str]:
        grid = self._graph.get(JUDGED).partitions_def
        return set(grid.get_partitions_def_for_dimension("study").get_partition_keys())

    def _cause(self, partition: str, release: str | None) -> Cause:
        """Whether a release was judged before: in this study, or anywhere where the partition names none."""
        if release is None:
            return "changed"
        if isinstance(partition, dg.MultiPartitionKey) and "study" in partition.keys_by_dimension:
            return "changed" if str(partition) in self._judged else "new-release"
        return "changed" if release in self._judged_anywhere else "new-release"


def condition_sensor() -> dg.AutomationConditionSensorDefinition:
    """Sensor that acts on the assets' conditions; running from the start."""
    return EvaluateWhatIsMissing(
        SENSOR,
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
        emit_backfills=False,
        use_user_code_server=True,
    )
