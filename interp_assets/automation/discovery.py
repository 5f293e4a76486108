"""New releases become partitions, changed ones are read again, sources are looked at; conditions do the rest.

What belongs here: a sensor that never waits for a download, and the job that does. What does not: what a source holds
and what of it is new (`interp_assets.discovery`).

The sensor lists the releases folder at each tick. Of one hub a tick it asks the newest commit, one short request at the
pace the source declares; when that commit is not the one settled last, it launches `fetch_release`, which goes through
the commits and downloads in a process of its own, however long that takes. A sensor would be ended after a minute.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import dagster as dg

from interp_assets.automation.run_tags import CAUSE_TAG, run_tags
from interp_assets.layout import CONTROLS, RELEASE, Layout
from qc_standards.json_text import plain_json

if TYPE_CHECKING:
    from interp_assets.discovery.sources import HubSource, Source

SOURCE_TAG = "interp/source"
# Folders of a source that one tick names, so that its answer stays small.
MOST_TOLD = 3
FETCH_JOB = "fetch_release"
READ_JOB = "read_changed_release"
# A download that stands still holds no run slot for ever; the next look keeps the files that arrived whole.
FETCH_SECONDS = 12 * 3600
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def unregistered(found: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names to register so that ``found`` releases can be judged: the controls first, then what is new."""
    return [name for name in (*CONTROLS, *sorted(found)) if name not in set(known)]


@dataclass(frozen=True, slots=True)
class SensorCursor:
    """What the sensor remembers between ticks: when each source was asked, which id stood behind each name.

    ``asked`` maps source keys to epoch seconds; ``releases`` maps names to the id seen last and how often it changed.
    """

    asked: Mapping[str, float] = field(default_factory=dict)
    releases: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> "SensorCursor":
        """Cursor from its JSON; an empty one where there is none or it cannot be read."""
        try:
            content = plain_json(text or "{}")
            asked = {str(key): float(when) for key, when in content.get("asked", {}).items()}
            if not all(math.isfinite(when) for when in asked.values()):
                return cls()  # no time comes after NaN, so that the source would never be asked again
            releases = {str(name): (str(own), int(times)) for name, (own, times) in content.get("releases", {}).items()}
        except (ArithmeticError, ValueError, TypeError, AttributeError):
            return cls()
        return cls(asked, releases)

    def text(self) -> str:
        """The cursor as JSON with sorted keys."""
        return json.dumps({"asked": dict(self.asked), "releases": dict(self.releases)}, sort_keys=True)


def due(sources: "Sequence[Source]", asked: Mapping[str, float], now: float) -> "list[Source]":
    """Sources whose pace has passed since they were asked, the longest waiting first.

    A time that lies ahead is that of a clock which was wrong; such a source is due too.
    """
    late = [source for source in sources if not 0 <= now - asked.get(source.key, 0.0) < source.every]
    return sorted(late, key=lambda source: asked.get(source.key, 0.0))


def fetch_request(source: "Source", what: str, now: float) -> dg.RunRequest:
    """Run that looks at a source; ``what`` is the content it is launched for.

    The key holds the content and the slot of the source's pace: a tick that is repeated launches nothing twice, and
    what failed is launched again one pace later.
    """
    return dg.RunRequest(
        run_key=f"{source.key}:{what}:{int(now // source.every)}",
        job_name=FETCH_JOB,
        run_config={"ops": {"look_at_source": {"config": {"source": source.key}}}},
        tags={SOURCE_TAG: source.key, CAUSE_TAG: "new-release", "dagster/max_runtime": str(FETCH_SECONDS)},
    )


def fetch_job(layout: Layout) -> dg.JobDefinition:
    """Job that looks at one source and fetches what is new; its log says what was found, skipped and why."""

    @dg.op(
        config_schema={"source": dg.Field(str, description="Key of a source; `interp releases watch` lists them.")},
        description="Looks at one source, fetches new releases and verifies them into the releases folder.",
        out=dg.Out(dg.Nothing),
    )
    def look_at_source(context: dg.OpExecutionContext) -> None:
        from huggingface_hub.utils import disable_progress_bars

        from interp_assets.discovery.sources import named_source, read_sources
        from interp_assets.discovery.watch import look_at

        disable_progress_bars()
        source = named_source(read_sources(layout.folders), context.op_config["source"])
        look = look_at(source, layout.folders.releases, say=context.log.info)
        for entry in look.found:
            place = f"{entry.finding.listed.place} {entry.finding.listed.commit[:12]}".strip()
            say = context.log.warning if entry.word in ("failed", "refused") else context.log.info
            say(f"{entry.word}: {place} {entry.name}: {entry.reason}")
        failed = [entry.reason for entry in look.having("failed")] + ([look.skipped] if look.skipped else [])
        if failed:
            told = f"{source.told}: {'; '.join(failed)}; it is tried again"
            raise dg.Failure(told, allow_retries=False)

    @dg.job(
        name=FETCH_JOB, description="Fetches new releases of one declared source.", executor_def=dg.in_process_executor
    )
    def fetch_release() -> None:
        look_at_source()

    return fetch_release


def read_job() -> Any:
    """Job that reads a release again whose files changed under its name; conditions follow its new content."""
    return dg.define_asset_job(READ_JOB, selection=dg.AssetSelection.assets("release"))


def release_sensor(layout: Layout) -> dg.SensorDefinition:
    """Sensor that registers complete, verified release folders as partitions and has sources looked at."""

    @dg.sensor(
        name="new_releases",
        jobs=[fetch_job(layout), read_job()],
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Registers release folders whose manifest is complete and matches their files; watches sources.",
    )
    def new_releases(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return _tick(context, layout, time.time())

    return new_releases


def _tick(context: dg.SensorEvaluationContext, layout: Layout, now: float) -> dg.SensorResult | dg.SkipReason:
    from interp_assets.models.files.releases import find_releases

    listing = find_releases(layout.folders.releases)
    for folder, reason in listing.refused.items():
        context.log.warning(f"release {folder.name} refused: {reason}")
    ids = {release.name: release.release_id for release in listing.complete}
    registered = context.instance.get_dynamic_partitions(RELEASE.name or "")
    cursor = SensorCursor.read(context.cursor)
    new = unregistered(list(ids), registered)
    seen, changed = _changed(ids, registered, cursor, layout)
    asked, runs, told = _sources(context, layout, cursor, {own: name for name, own in ids.items()}, now)
    context.update_cursor(SensorCursor(asked, seen).text())
    if not new and not changed and not runs:
        waiting = f", {len(listing.incoming)} still being copied" if listing.incoming else ""
        known = f"{len(ids)} release(s) known{waiting}, {len(listing.refused)} refused"
        return dg.SkipReason("; ".join((known, *told)))
    requests = [RELEASE.build_add_request(new)] if new else []
    return dg.SensorResult(run_requests=[*changed, *runs], dynamic_partitions_requests=requests)


def _changed(
    ids: Mapping[str, str], registered: Sequence[str], cursor: SensorCursor, layout: Layout
) -> tuple[dict[str, tuple[str, int]], list[dg.RunRequest]]:
    """What stands behind each name now, and runs that read again what stands there instead of something else.

    Of a name the cursor does not hold, as after `interp evaluate`, the stored card says what was judged.
    """
    from interp_assets.discovery.diff import changed_files

    seen = dict(cursor.releases)
    for name in set(ids) & set(registered) - set(seen):
        seen[name] = (_judged_id(layout, name) or ids[name], 0)
    runs = []
    for name in changed_files(ids, {name: own for name, (own, _) in seen.items()}):
        times = seen[name][1] + 1
        if name not in registered:
            continue
        # the partition's tag stands for its validation, which the list of registered names has answered already
        tags = {**run_tags(name, "changed"), "dagster/partition": name}
        key = f"{name}:{ids[name]}:{times}"
        runs.append(dg.RunRequest(run_key=key, job_name=READ_JOB, partition_key=name, tags=tags))
        seen[name] = (ids[name], times)
    return {**seen, **{name: (own, seen.get(name, ("", 0))[1]) for name, own in ids.items()}}, runs


def _judged_id(layout: Layout, name: str) -> str:
    """Id of the release that was read last under a name; empty where none was, no id at all where it cannot be told.

    A card that is damaged says nothing of what was judged, so that the release is read again.
    """
    from interp_assets.models.records import ReleaseCard
    from interp_assets.storage import META, load_record

    card = layout.folders.store / "releases" / name / "card"
    if not (card / META).is_file():
        return ""
    try:
        return load_record(card, ReleaseCard).release_id or "unknown"
    except (OSError, ValueError, TypeError, KeyError):
        return "unknown"


def _sources(
    context: dg.SensorEvaluationContext, layout: Layout, cursor: SensorCursor, known: Mapping[str, str], now: float
) -> tuple[dict[str, float], list[dg.RunRequest], list[str]]:
    """When sources were asked, runs that look at them, and why the others are left alone."""
    from interp_assets.discovery.sources import FolderSource, read_sources

    try:
        sources = read_sources(layout.folders)
    except ValueError as error:
        context.log.error(f"no source is watched: {error}")
        return dict(cursor.asked), [], [f"no source is watched: {error}"]
    asked = {source.key: cursor.asked.get(source.key, 0.0) for source in sources}
    folders = [source for source in sources if isinstance(source, FolderSource)]
    hubs = [source for source in due(sources, asked, now) if not isinstance(source, FolderSource)]
    runs, told = [], []
    for source in (*folders, *hubs[:1]):  # at most one request over a network in a tick
        asked[source.key] = now
        what, reason = _reason_to_look(context, layout, source, known)
        if what:
            runs.append(fetch_request(source, what, now))
        if reason:
            told.append(f"{source.key}: {reason}")
    return asked, runs, told


def _reason_to_look(
    context: dg.SensorEvaluationContext, layout: Layout, source: "Source", known: Mapping[str, str]
) -> tuple[str, str]:
    """Content that a look is launched for, and why none is; either is empty."""
    from interp_assets.discovery.sources import FolderSource

    try:
        what, nothing = (
            _in_folder(layout, source, known) if isinstance(source, FolderSource) else _on_hub(layout, source)
        )
    except (ValueError, OSError) as error:
        context.log.warning(f"{source.told} skipped: {error}")
        return "", f"skipped: {error}"
    if not what:
        return "", nothing
    running = dg.RunsFilter(job_name=FETCH_JOB, tags={SOURCE_TAG: source.key}, statuses=UNFINISHED)
    return ("", "being fetched") if context.instance.get_runs(running, limit=1) else (what, "")


def _in_folder(layout: Layout, source: Any, known: Mapping[str, str]) -> tuple[str, str]:
    from interp_assets.discovery.watch import awaits_fetch

    waiting, left = awaits_fetch(source, layout.folders.releases, known)
    if waiting:
        return sha256("".join(sorted(entry.fingerprint for entry in waiting)).encode()).hexdigest(), ""
    more = [f"{len(left) - MOST_TOLD} more"] if len(left) > MOST_TOLD else []
    return "", "; ".join(("nothing new", *(line[:200] for line in left[:MOST_TOLD]), *more))


def _on_hub(layout: Layout, source: "HubSource") -> tuple[str, str]:
    from interp_assets.discovery.hub_source import newest_commit
    from interp_assets.discovery.memory import remembered

    head = newest_commit(source)
    return ("", "nothing new") if head == remembered(layout.folders.releases, source.key).commit else (head, "")
