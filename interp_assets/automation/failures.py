"""What happens after a run failed: tried again later, or its release is put into quarantine with the reason.

What belongs here: the sensor and what it reads from the run history. What does not: whose fault a failure is
(`failure_kinds`), the records (`interp_assets.quarantine`), what leaves a release in quarantine alone (`conditions`).

Two mechanisms share the retries. A run whose worker was lost is started again by Dagster itself (``run_retries`` in
dagster.yaml), at once and from where it failed. A step that failed because a disk was full or a database was away is
asked for again here, after a delay that doubles. What failed for its own reason is not tried again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from interp_assets import quarantine
from interp_assets.automation.conditions import RequestTags, release_in
from interp_assets.automation.failure_kinds import STEP_FAILURE, StepError, failure_kind
from interp_assets.automation.run_settings import ATTEMPT_TAG, RunSettings, read_run_settings
from interp_assets.automation.run_tags import CAUSE_TAG
from interp_assets.layout import CONTROLS, Layout
from interp_assets.quarantine import Kind, Quarantined
from qc_standards.json_text import plain_json

FAILED_RUNS_A_TICK = 100
OVERLAP_SECONDS = 60
REASON_TAG = "dagster/failure_reason"
WILL_RETRY_TAG = "dagster/will_retry"
PARTITION_TAG = "dagster/partition"


@dataclass
class Memory:
    """Cursor of the sensor: up to when failures were read, what waits for its next attempt, which files change."""

    read_until: float = 0.0
    seen: list[str] = field(default_factory=list)
    waiting: dict[str, float] = field(default_factory=dict)
    changing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, cursor: str | None) -> Memory:
        """Memory of a cursor; one that cannot be read starts anew, since every step can be repeated."""
        try:
            told: Any = plain_json(cursor) if cursor else {}
            found = cls(
                read_until=float(told.get("read_until", 0.0)),
                seen=[str(run) for run in told.get("seen", [])],
                waiting={str(name): float(due) for name, due in told.get("waiting", {}).items()},
                changing={str(name): str(files) for name, files in told.get("changing", {}).items()},
            )
        except (ArithmeticError, AttributeError, TypeError, ValueError):
            return cls()
        # no time comes after NaN, so that nothing would be read or tried again
        return found if all(map(math.isfinite, (found.read_until, *found.waiting.values()))) else cls()


@dataclass(frozen=True)
class Failure:
    """A failed run: what it was for, whose fault it was, and which of its assets are still to be made."""

    run_id: str
    partition: str | None
    release: str | None
    kind: Kind
    asset: str
    reason: str
    ended: float
    attempt: int
    command: bool
    left: tuple[dg.AssetKey, ...]


def failure_sensor(layout: Layout) -> dg.SensorDefinition:
    """Sensor that tries failed runs again or puts their release into quarantine; running from the start."""

    @dg.sensor(
        name="failed_runs",
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tries runs again whose disk or database failed; puts releases that fail by themselves aside.",
    )
    def failed_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        repository = context.repository_def
        if repository is None:
            raise ValueError("failed_runs needs the definitions that it belongs to")
        after = AfterFailures(layout, context.instance, repository.asset_graph, read_run_settings(layout.folders))
        memory = Memory.of(context.cursor)
        requests = list(after.tick(memory, time.time()))
        for line in after.told:
            context.log.warning(line)
        told = None if requests else "; ".join(after.told) or "no failed run waits"
        return dg.SensorResult(run_requests=requests, skip_reason=told, cursor=json.dumps(asdict(memory)))

    return failed_runs


class AfterFailures:
    """One tick: failures since the last one, attempts that are due, releases whose files were replaced."""

    def __init__(self, layout: Layout, instance: dg.DagsterInstance, graph: Any, settings: RunSettings) -> None:
        self._layout, self._instance, self._graph, self._settings = layout, instance, graph, settings
        self._store = layout.folders.store
        self.told: list[str] = []

    def tick(self, memory: Memory, now: float) -> Iterator[dg.RunRequest]:
        """Run requests that are due; quarantine records are written and lifted on the way."""
        for failure in self._new_failures(memory):
            self._judge(failure, memory, now)
        self._lift_changed(memory)
        due = [run_id for run_id, when in memory.waiting.items() if when <= now]
        for run_id in due:
            del memory.waiting[run_id]
            request = self._again(run_id)
            if request is not None:
                yield request

    def _new_failures(self, memory: Memory) -> Iterator[Failure]:
        since = datetime.fromtimestamp(max(memory.read_until - OVERLAP_SECONDS, 0.0), UTC)
        records = self._instance.get_run_records(
            filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since),
            order_by="update_timestamp",
            ascending=True,
            limit=FAILED_RUNS_A_TICK + len(memory.seen),
        )
        seen, kept = set(memory.seen), []
        for record in records:
            moment = record.update_timestamp.replace(tzinfo=UTC).timestamp()
            memory.read_until = max(memory.read_until, moment)
            kept.append((record.dagster_run.run_id, moment))
            if record.dagster_run.run_id in seen or record.dagster_run.tags.get(WILL_RETRY_TAG) == "true":
                continue
            yield self._failure(record)
        memory.seen = [run_id for run_id, moment in kept if moment >= memory.read_until - OVERLAP_SECONDS]

    def _failure(self, record: Any) -> Failure:
        run = record.dagster_run
        tags: Mapping[str, str] = run.tags
        left, asset, chain = self._left(run.run_id)
        partition = tags.get(PARTITION_TAG)
        definition = self._graph.get(left[0]).partitions_def if left and self._graph.has(left[0]) else None
        release = release_in(definition, partition) if definition is not None and partition else None
        reason = tags.get(REASON_TAG, "UNKNOWN")
        told = f"{chain[-1].name.rpartition('.')[2]}: {chain[-1].message}" if chain else self._ending(run.run_id)
        return Failure(
            run_id=run.run_id,
            partition=partition,
            release=None if release in CONTROLS else release,
            kind=failure_kind(reason, chain),
            asset=asset,
            reason=" ".join(told.split()),
            ended=record.end_time or time.time(),
            attempt=int(tags.get(ATTEMPT_TAG, "0")),
            command=tags.get(CAUSE_TAG) == "command",
            left=left,
        )

    def _left(self, run_id: str) -> tuple[tuple[dg.AssetKey, ...], str, list[StepError]]:
        """Assets that a run was to make and did not, the one that failed, and the errors of that step."""
        kinds = dg.DagsterEventType
        wanted = {kinds.ASSET_MATERIALIZATION_PLANNED, kinds.ASSET_MATERIALIZATION, kinds.STEP_FAILURE}
        planned: dict[dg.AssetKey, None] = {}
        failed, chain = "", []
        for entry in self._instance.all_logs(run_id, of_type=wanted):
            event = entry.dagster_event
            if event.event_type is kinds.STEP_FAILURE and not chain:
                failed, chain = event.step_key.replace("__", "/"), _chain(event.event_specific_data.error)
            elif event.event_type is kinds.ASSET_MATERIALIZATION_PLANNED:
                planned[event.asset_key] = None
            elif event.event_type is kinds.ASSET_MATERIALIZATION:
                planned.pop(event.asset_key, None)
        left = tuple(planned)
        return left, failed or (left[0].to_user_string() if left else ""), chain

    def _ending(self, run_id: str) -> str:
        """What the history says of the end of a run that no step ended."""
        ends = self._instance.all_logs(run_id, of_type={dg.DagsterEventType.RUN_FAILURE})
        return str(ends[-1].dagster_event.message or "") if ends else "the run ended without a word"

    def _judge(self, failure: Failure, memory: Memory, now: float) -> None:
        if not failure.left or self._made_since(failure):
            return
        where = f"{failure.asset} of {failure.partition or 'all releases'}"
        stepped = failure.kind == "infrastructure" and self._by_step(failure.run_id)
        if stepped and failure.attempt < self._settings.retries and not failure.command:
            wait = self._settings.delay * 2**failure.attempt
            memory.waiting[failure.run_id] = now + wait
            self.told.append(f"{where} is tried again in {wait} s: {failure.reason}")
        elif failure.release is None:
            self.told.append(f"{where} failed and is left until what it reads changes: {failure.reason}")
        elif failure.kind == "release" or not failure.command:
            quarantine.write(self._store, self._record(failure))
            self.told.append(f"release {failure.release} is in quarantine: {failure.reason}")

    def _by_step(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        return run is not None and run.tags.get(REASON_TAG) == STEP_FAILURE

    def _made_since(self, failure: Failure) -> bool:
        """Whether somebody has made the failed asset since, so that the failure is history."""
        key = dg.AssetKey(failure.asset.split("/"))
        partitions = [failure.partition] if failure.partition else None
        filters = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions, after_timestamp=failure.ended)
        return bool(self._instance.fetch_materializations(filters, limit=1).records)

    def _record(self, failure: Failure) -> Quarantined:
        folder = quarantine.folder_of(self._layout.folders.releases, str(failure.release))
        return Quarantined(
            release=str(failure.release),
            release_id=quarantine.stated_id(folder),
            stage=_stage(failure.asset, failure.partition),
            asset=failure.asset,
            partition=failure.partition or "",
            kind=failure.kind,
            reason=failure.reason,
            run_id=failure.run_id,
            since=datetime.fromtimestamp(failure.ended, UTC).isoformat(timespec="seconds"),
            files=quarantine.files_state(folder),
        )

    def _again(self, run_id: str) -> dg.RunRequest | None:
        """Request for what a run left undone; None where everything has been made since."""
        record = self._instance.get_run_record_by_id(run_id)
        if record is None:
            return None
        failure = self._failure(record)
        if not failure.left or self._made_since(failure):
            return None
        tags = {PARTITION_TAG: failure.partition} if failure.partition else {}
        request = dg.RunRequest(
            run_key=f"again:{run_id}", asset_selection=list(failure.left), partition_key=failure.partition, tags=tags
        )
        of_request = RequestTags(self._instance, self._graph, self._settings).of(request)
        return request.with_replaced_attrs(tags={**tags, **of_request, ATTEMPT_TAG: str(failure.attempt + 1)})

    def _lift_changed(self, memory: Memory) -> None:
        """Lift releases whose files are others than when they failed, and the same as a tick ago: the copy is over."""
        states: dict[str, str] = {}
        for name, record in quarantine.read(self._store).items():
            state = quarantine.files_state(quarantine.folder_of(self._layout.folders.releases, name))
            if not state or state == record.files or not record.run_id:
                continue
            if memory.changing.get(name) == state and quarantine.lift(self._store, name):
                self.told.append(f"release {name} leaves quarantine: its files changed")
            else:
                states[name] = state
        memory.changing = states


def _chain(error: Any) -> list[StepError]:
    found = []
    while error is not None:
        found.append(StepError(error.cls_name or "", error.message.strip().removeprefix(f"{error.cls_name}: ")))
        error = error.cause
    return found


def _stage(asset: str, partition: str | None) -> str:
    """What failed, in words, for a message to people.

    >>> _stage("random_weights/attention", "planted_tiny|small")
    'random weights: attention (planted_tiny|small)'
    """
    words = asset.replace("_", " ").replace("/", ": ")
    return f"{words} ({partition})" if partition else words
