"""Whether anything has ended or come since conditions were last looked at, so that they need no look now.

What belongs here: the few questions to the run history whose answers, while they stay the same, leave nothing to ask
for. What does not: the conditions themselves, or the sensor that looks at them (`conditions`).

A look at every condition costs seconds of a processor whether or not anything happened, and the daemon looks four times
a minute. Leaving looks out is the same as looking less often: the cursor stays where it was, and the next look reads
every event since. While a run goes on its own events are no reason to look; its end is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import dagster as dg

from interp_assets import quarantine
from interp_assets.layout import RELEASE
from interp_assets.settings import Folders

# Looks without a request that have to see the same before one is left out. One is not enough: what a run left behind is
# held back for one look (`conditions.incremental`) and asked for in the next.
SETTLED = 2
# Seconds after which conditions are looked at whatever has happened.
LONGEST = 600.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What may lead to a request: releases, those left alone, runs and backfills that go on, the last event of others.

    ``told`` is the number of the last materialisation or observation that no run going on has made: one that was
    reported by hand, by another program, or by a run that has ended.
    """

    releases: tuple[str, ...]
    aside: frozenset[str]
    running: frozenset[str]
    backfills: frozenset[str]
    told: tuple[int, ...]


@dataclass(slots=True)
class Rest:
    """What the last looks saw, and whether the next may be left out; kept by the process that looks."""

    _cursor: str | None = None
    _scene: Scene | None = None
    _alike: int = 0
    _until: float = 0.0

    def lasts(self, cursor: str | None, scene: Scene) -> bool:
        """Whether nothing has happened since the looks that ended with this cursor and asked for nothing."""
        known = cursor is not None and cursor == self._cursor and scene == self._scene
        return known and self._alike >= SETTLED and time.monotonic() < self._until

    def looked(self, before: str | None, after: str | None, scene: Scene, *, asked: bool) -> None:
        """Remember a look: the cursors before and after it, what there was when it began, whether it asked for runs."""
        again = before == self._cursor and scene == self._scene
        self._alike = 0 if asked else self._alike + 1 if again else 1
        self._cursor, self._scene, self._until = after, scene, time.monotonic() + LONGEST


def scene(instance: dg.DagsterInstance) -> Scene:
    """What there is now."""
    from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus
    from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

    running = frozenset(instance.get_run_ids(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES))))
    active = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]
    backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=active))
    return Scene(
        releases=tuple(sorted(instance.get_dynamic_partitions(RELEASE.name or ""))),
        aside=frozenset(quarantine.read(Folders.from_environment().store)),
        running=running,
        backfills=frozenset(backfill.backfill_id for backfill in backfills),
        told=tuple(_last(instance, kind, running) for kind in ("ASSET_MATERIALIZATION", "ASSET_OBSERVATION")),
    )


def _last(instance: dg.DagsterInstance, kind: str, running: frozenset[str]) -> int:
    """Number of the newest event of a kind; 0 where a run that goes on made it, or there is none."""
    wanted: Any = dg.EventRecordsFilter(dg.DagsterEventType(kind))
    records = instance.event_log_storage.get_event_records(wanted, limit=1)
    return 0 if not records or records[0].run_id in running else int(records[0].storage_id)
