"""Backfills of one study: which partitions they cover, and how they are handed to the running deployment.

What belongs here: the choice of assets and partitions, and the request in the run history that the daemon picks up.
What does not: running anything; a backfill waits where no daemon runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dagster as dg

from interp_assets import quarantine
from interp_assets.automation.conditions import release_in
from interp_assets.automation.run_settings import RunSettings
from interp_assets.automation.run_tags import RELEASE_TAG
from interp_assets.layout import CONTROLS, Layout, grid_key
from interp_assets.settings import SettingsError
from interp_assets.stages import AFTER_CONTROLS, JUDGED, stages

What = Literal["verdicts", "all"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Partitions by asset, the releases they belong to, and those left out with the reason."""

    study: str
    releases: tuple[str, ...]
    partitions: Mapping[dg.AssetKey, tuple[str, ...]]
    left_out: Mapping[str, str]

    @property
    def count(self) -> int:
        """How many partitions of assets there are."""
        return sum(len(keys) for keys in self.partitions.values())


def plan(layout: Layout, graph: Any, registered: Sequence[str], study: str, chosen: Sequence[str], what: What) -> Plan:
    """What a backfill of one study covers, upstream first.

    ``verdicts`` is everything after the batteries: standards, verdict, claims, figures and report. ``all`` is
    everything of a release in the study: its files, attention, interventions, readings and battery too; what all
    releases share (datasets and inputs of the study) is left as it is. Without ``chosen`` every registered release is
    taken, controls included, but those in quarantine.

    Raises
    ------
    SettingsError
        When the study or a release is unknown, or no release is left.
    """
    if study not in layout.studies:
        raise SettingsError(f"unknown study {study}; known: {', '.join(layout.studies)}")
    if unknown := sorted(set(chosen) - set(registered)):
        known = ", ".join(sorted(set(registered) - set(CONTROLS))) or "none"
        raise SettingsError(f"release {', '.join(unknown)} is not registered yet; registered: {known}")
    held = quarantine.read(layout.folders.store)
    wanted = list(dict.fromkeys(chosen or registered))
    left_out = {name: f"in quarantine: {held[name].reason}" for name in wanted if name in held}
    releases = tuple(name for name in wanted if name not in held)
    if not releases:
        raise SettingsError(f"no release to evaluate in {study}; `interp quarantine list` says which are left alone")
    partitions: dict[dg.AssetKey, dict[str, None]] = {}
    for key, partition in _covered(layout, graph, study, releases, what):
        partitions.setdefault(key, {})[partition] = None
    return Plan(study, releases, {key: tuple(names) for key, names in partitions.items()}, left_out)


def _covered(
    layout: Layout, graph: Any, study: str, releases: Sequence[str], what: What
) -> Iterator[tuple[dg.AssetKey, str]]:
    """Asset and partition of everything that belongs to one of the releases."""
    late = (*AFTER_CONTROLS, *JUDGED)
    tested = [name for name in releases if name not in CONTROLS]
    for stage in stages(layout, graph.materializable_asset_keys, study, tested):
        for key in stage.keys:
            definition = graph.get(key).partitions_def
            release = release_in(definition, stage.partition) if stage.partition else None
            if release in releases and (what == "all" or key.path[0] in late):
                yield key, str(stage.partition)


def submit(instance: dg.DagsterInstance, graph: Any, planned: Plan, settings: RunSettings) -> str:
    """Id of the backfill that was handed to the deployment; its daemon makes the runs, upstream first."""
    from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
    from dagster._core.definitions.events import AssetKeyPartitionKey
    from dagster._core.execution.backfill import PartitionBackfill
    from dagster._core.utils import make_new_backfill_id

    covered = {AssetKeyPartitionKey(key, name) for key, names in planned.partitions.items() for name in names}
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=make_new_backfill_id(),
        backfill_timestamp=time.time(),
        tags=_tags(planned, settings),
        dynamic_partitions_store=instance,
        asset_graph_subset=AssetGraphSubset.from_asset_partition_set(covered, graph),
        title=f"study {planned.study}",
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return str(backfill.backfill_id)


def _tags(planned: Plan, settings: RunSettings) -> dict[str, str]:
    """Tags of all runs of a backfill; the release is named where there is one only."""
    key = grid_key(release=planned.releases[0], study=planned.study)
    tags = settings.tags(key, "backfill", plain="release")
    if len(planned.releases) > 1:
        del tags[RELEASE_TAG]
    return tags


def daemon_runs(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon that carries out backfills has told of itself lately."""
    status = instance.get_daemon_statuses(["BACKFILL"])["BACKFILL"]
    return bool(status.healthy)
