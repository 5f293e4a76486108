"""Command-line evaluation: walk the asset graph in the order of its partitions and run what is not fresh.

The rule for "fresh" is Dagster's own: missing, code changed, or an input's content changed. The same store and run
history serve the web server, so what was run here shows there and the other way round.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef

from interp_assets.analyses.analysis_row import AnalysisRow
from interp_assets.assets.datasets import archive
from interp_assets.automation.conditions import release_in
from interp_assets.automation.launcher import end_lost_runs, this_process
from interp_assets.automation.run_tags import Dimension, run_tags
from interp_assets.battery import results_from_json
from interp_assets.cells.artefacts import raw_file
from interp_assets.cells.records import Unavailable
from interp_assets.exclusive import alone
from interp_assets.io_managers import STORED, io_managers, read_records
from interp_assets.layout import CONTROLS, RELEASE, Layout, grid_key
from interp_assets.run_history.embedded import kept_open
from interp_assets.settings import PROJECT, SettingsError
from interp_assets.stages import Stage, Wave, of_another, stages, waves
from interp_assets.storage import check_writable, write_bytes
from qc_standards.records import TestResult

# The run history keeps every event; the terminal shows stages, not Dagster's own log.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# Hashes of the project's own dagster.yaml as it was: a store that still has one gets the present one.
FORMER_CONFIGURATIONS = ("1c599b80fccdf7014110ab81c24315a4199618243e1272c7b362d4331c4d96b1",)


# What sqlite says, and the way out; a damaged history loses what was run, and nothing that is stored.
HISTORY_FAULTS = {
    "is full": "free space on that disk, then ask again: what is finished stays",
    "disk I/O error": "free space on that disk, or mend it, then ask again: what is finished stays",
    "readonly": "make that folder writable, or set INTERP_STORE to one that is",
    "malformed": "move that folder away and ask again: steps are run anew, extracted attention is kept",
    "not a database": "move that folder away and ask again: steps are run anew, extracted attention is kept",
}


class EvaluationError(RuntimeError):
    """A step failed, or the run history could not be read or written; the message names it and its error."""


@contextmanager
def history_faults(layout: Layout) -> Iterator[None]:
    """Name the run history, and the way out, where it cannot be read or written.

    Raises
    ------
    EvaluationError
        Instead of the error of the database.
    """
    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except DatabaseError as error:
        told = str(error.orig)
        way = next((way for said, way in HISTORY_FAULTS.items() if said in told), "mend that, then ask again")
        raise EvaluationError(f"run history {layout.folders.dagster_home}: {told}; {way}") from error


Steps = list[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class ChainRun:
    """What came of one chain of stages: the steps that were run, and why it ended early (empty: it did not)."""

    steps: Steps
    error: str = ""


@dataclass(slots=True)
class Progress:
    """Steps that were run, by (asset, partition), why releases failed, and hooks that show how far things are.

    ``before`` is told before each run; ``counting`` opens a bar over the assets of one run (`models.bars.counted`).
    """

    steps: Steps = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    before: Callable[[str], None] | None = None
    counting: Callable[[str, int], AbstractContextManager[Callable[[str], None]]] | None = None

    def tell(self, title: str) -> None:
        """Say what is about to run."""
        if self.before is not None:
            self.before(title)


def dagster_instance(layout: Layout) -> dg.DagsterInstance:
    """Instance whose run history lies in the store, or where the deployment's ``dagster.yaml`` puts it.

    Made on first use with the project's ``dagster.yaml``. Where ``INTERP_DAGSTER_YAML`` names a file, that one counts:
    it is copied again whenever it differs, so that a server changes its storage by changing one file. Secrets stay in
    the environment (``env:`` in the file).

    Raises
    ------
    SettingsError
        When ``INTERP_DAGSTER_YAML`` names no file.
    NotWrittenError
        When nothing can be written to the store.
    EvaluationError
        When the run history is damaged.
    """
    check_writable(layout.folders.store)
    home = layout.folders.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    named = os.environ.get("INTERP_DAGSTER_YAML")
    source = Path(named) if named else PROJECT / "dagster.yaml"
    if not source.is_file():
        raise SettingsError(f"INTERP_DAGSTER_YAML={named}: no such file; name a dagster.yaml or unset the variable")
    wanted = source.read_bytes()
    # Dagster makes the tables of a new history without asking whether another process makes them at the same time.
    with history_faults(layout), alone(configuration):
        found = configuration.read_bytes() if configuration.exists() else b""
        if not found or (named and found != wanted) or sha256(found).hexdigest() in FORMER_CONFIGURATIONS:
            write_bytes(configuration, wanted)
        overrides: Any = kept_open(str(home), yaml.safe_load(configuration.read_bytes()) or {})
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=overrides))


class Beside(Protocol):
    """Something that runs chains side by side (`interp_assets.parallel`)."""

    def warm(self) -> None:
        """Begin to get ready."""
        ...

    def __call__(self, wave: Wave) -> list[ChainRun]:
        """What came of every chain of a wave, in its order."""
        ...


class Evaluator:
    """Runs stages on one instance; every stage until nothing in it is stale."""

    def __init__(self, defs: dg.Definitions, layout: Layout, instance: dg.DagsterInstance) -> None:
        self.layout = layout
        self.instance = instance
        self._job = defs.resolve_implicit_global_asset_job_def()
        self._graph = defs.resolve_asset_graph()
        self._managers = io_managers(layout.folders.store)
        self._resolver: Any = None
        self.progress = Progress()

    def evaluate(self, study: str, releases: Sequence[str], beside: Beside | None = None) -> Progress:
        """Bring everything behind the verdicts of ``releases`` in ``study`` up to date.

        ``beside`` runs the chains of one wave side by side and returns their steps (`parallel`); without it they run
        here, one after the other, with the same result. A release that fails is left out from there on and named in
        ``failed`` of what comes back; the others are judged.

        Raises
        ------
        EvaluationError
            When a step fails that all releases share, every release failed, or the run history is at fault; what was
            finished stays and is not run again.
        """
        with history_faults(self.layout):
            return self._evaluated(study, releases, beside)

    def _evaluated(self, study: str, releases: Sequence[str], beside: Beside | None) -> Progress:
        self._register(releases)
        self._resolver = None
        for wave in waves(self.layout, self._graph.materializable_asset_keys, study, releases):
            going = [chain for chain in wave if chain and chain[0].release not in self.progress.failed]
            stale = [chain for chain in going if any(self._stale(stage) for stage in chain)]
            if beside is not None and stale:
                beside.warm()
            if beside is not None and len(stale) > 1:
                runs = beside(stale)
                self.progress.steps += [step for run in runs for step in run.steps]
                self._resolver = None
            else:
                runs = [self.run_chain(chain) for chain in stale]
            for chain, run in zip(stale, runs, strict=True):
                if run.error:
                    self._left_out(chain[0].release, run.error, releases)
        return self.progress

    def _left_out(self, release: str | None, error: str, releases: Sequence[str]) -> None:
        """Go on without a release that failed, if others are left."""
        if release is None or release not in releases:
            raise EvaluationError(error)
        self.progress.failed[release] = error
        if set(releases) <= set(self.progress.failed):
            told = (
                f"{name}: {reason}" if len(releases) > 1 else reason for name, reason in self.progress.failed.items()
            )
            raise EvaluationError("; ".join(told))

    def run_chain(self, chain: Sequence[Stage]) -> ChainRun:
        """Bring the stages of one chain up to date, in order; the first that fails ends it."""
        before = len(self.progress.steps)
        self._resolver = None  # other processes may have run something since the last chain
        try:
            with history_faults(self.layout):
                for stage in chain:
                    self._run(stage)
        except EvaluationError as error:
            return ChainRun(self.progress.steps[before:], str(error))
        return ChainRun(self.progress.steps[before:])

    def rerun(self, study: str, release: str, row: AnalysisRow) -> list[TestResult]:
        """Rows of one analysis, run again whatever is stored, after what it reads is up to date.

        Raises
        ------
        EvaluationError
            At the first step that fails.
        """
        self._register([release])
        target = dg.AssetKey(row.key)
        upstream = self._upstream(target)
        for stage in stages(self.layout, self._graph.materializable_asset_keys, study, [release]):
            keys = tuple(key for key in stage.keys if key in upstream)
            if keys and not of_another(stage.partition, release):
                self._run(replace(stage, keys=keys))
        self.progress.tell(f"analysis {row.label} of {release} in {study}")
        if row.release_free:
            self._materialise([dg.AssetKey(["of_study", row.key])], study)
        self._materialise([target], grid_key(release=release, study=study))
        file = report_folder(self.layout, study, release) / "results" / f"{row.key}.json"
        return results_from_json(file.read_bytes())

    def _register(self, releases: Sequence[str]) -> None:
        """Make partitions of the controls and of releases that have none yet, after what a killed command left."""
        end_lost_runs(self.instance)
        known = set(self.instance.get_dynamic_partitions(RELEASE.name or ""))
        new = [name for name in (*CONTROLS, *releases) if name not in known]
        if new:
            self.instance.add_dynamic_partitions(RELEASE.name or "", new)

    def _upstream(self, target: dg.AssetKey) -> set[dg.AssetKey]:
        """Everything that an asset is made from, itself left out."""
        found: set[dg.AssetKey] = set()
        waiting = [target]
        while waiting:
            parents = set(self._graph.get(waiting.pop()).parent_keys) - found
            found |= parents
            waiting += parents
        return found

    def _run(self, stage: Stage) -> None:
        told = False
        for _ in range(len(stage.keys) + 1):
            stale = self._stale(stage)
            if not stale:
                return
            if not told:
                self.progress.tell(stage.title)
                told = True
            for fault in filter(None, (self._fault(key, stage.partition) for key in stale)):
                self.progress.tell(f"{fault}; made again")
            self._materialise(self._settled(stale, stage), stage.partition, stage.title)
        names = ", ".join(key.to_user_string() for key in self._stale(stage))
        raise EvaluationError(f"{stage.title}: still not fresh after running: {names}")

    def _settled(self, stale: Sequence[dg.AssetKey], stage: Stage) -> list[dg.AssetKey]:
        """Stale assets that no fresh one of the stage separates from another stale one: the rest waits a round.

        Where ``A -> B -> C`` and only B counts as fresh, B may change once A was run. C run together with A would be
        made from the B of before; a claim would then refuse a verdict that its results no longer give.
        """
        upstream = {key: self._upstream(key) for key in stage.keys}
        moving = {key for key in stage.keys if key not in stale and upstream[key] & set(stale)}
        return [key for key in stale if not upstream[key] & moving]

    def _stale(self, stage: Stage) -> list[dg.AssetKey]:
        """Assets of the stage to run now: missing ones, those that Dagster calls stale, those whose files changed."""
        from dagster._core.definitions.data_version import StaleStatus

        status = {key: self._statuses().get_status(key, stage.partition) for key in stage.keys}
        return [
            key
            for key, found in status.items()
            if found is not StaleStatus.FRESH
            or self._fault(key, stage.partition)
            or self._came_since(key, stage.partition)
            or (stage.partition is None and self._made_since(key))
        ]

    def _statuses(self) -> Any:
        """Dagster's resolver of stale states; it reads the history once, so it is made anew after every run."""
        from dagster._core.definitions.data_version import CachingStaleStatusResolver
        from dagster._core.loader import LoadingContextForTest

        if self._resolver is None:
            context = LoadingContextForTest(self.instance)
            self._resolver = CachingStaleStatusResolver(self.instance, self._graph, context)
        return self._resolver

    def _fault(self, key: dg.AssetKey, partition: str | None) -> str:
        """Why what lies in the store is not what the last run of an asset left there; empty where it is, or none was.

        Files are hashed once a process. Bad sectors, a copy that broke off and a hand that edited a table are found
        before anything is made from them.
        """
        from dagster._core.definitions.events import AssetKeyPartitionKey

        record = self._statuses()._get_latest_data_version_record(key=AssetKeyPartitionKey(key, partition))
        made = record.asset_materialization if record is not None else None
        if made is None:
            return ""
        node, told = self._graph.get(key), made.metadata.get(STORED)
        manager = self._managers.get(node.io_manager_key or "")
        if manager is None:  # stored by none of the platform's managers, which know no hash of it
            return ""
        return manager.fault(key, node.metadata, partition, str(told.value) if told is not None else "")

    def _came_since(self, key: dg.AssetKey, name: str | None) -> bool:
        """Whether a declared file that was not there when it was last looked for is there now."""
        if key.path[0] != "raw" or name is None:
            return False
        stored = read_records(self.layout.folders.store / "cells" / name / "raw")
        return isinstance(stored, Unavailable) and not isinstance(raw_file(archive(self.layout), name), Unavailable)

    def _made_since(self, key: dg.AssetKey) -> bool:
        """Whether something it gathers was made after it, where Dagster does not look: from 100 partitions on."""
        from dagster._core.definitions.data_version import SKIP_PARTITION_DATA_VERSION_DEPENDENCY_THRESHOLD as UNSEEN

        many = []
        for parent in self._graph.get(key).parent_keys:
            definition = self._graph.get(parent).partitions_def
            if definition is not None:
                count = len(definition.get_partition_keys(dynamic_partitions_store=self.instance))
                many += [parent] if count >= UNSEEN else []
        made = {
            record.asset_entry.asset_key: record.asset_entry.last_materialization_storage_id or 0
            for record in self.instance.get_asset_records([key, *many])
        }
        return any(made.get(parent, 0) > made.get(key, 0) for parent in many)

    def _materialise(self, keys: Sequence[dg.AssetKey], partition: str | None, title: str = "") -> None:
        self._resolver = None
        subset = self._job.get_subset(asset_selection=set(keys))
        run_id = str(uuid4())
        with self._counted(title, len(keys), run_id):
            result = subset.execute_in_process(
                instance=self.instance,
                partition_key=partition,
                raise_on_error=False,
                run_config=QUIET,
                run_id=run_id,
                tags=self._tags(keys[0], partition),
            )
        self.progress.steps += [
            (event.asset_key.to_user_string(), partition)
            for event in result.get_asset_materialization_events()
            if event.asset_key is not None
        ]
        if not result.success:
            raise EvaluationError(_failure(result))

    @contextmanager
    def _counted(self, title: str, total: int, run_id: str) -> Iterator[None]:
        """While a run goes on, tell the bar of every step that has ended."""
        if self.progress.counting is None:
            yield
            return
        with self.progress.counting(title, total) as ended:

            def heard(entry: Any) -> None:
                event = entry.dagster_event
                if event is not None and event.is_step_success:
                    ended(str(event.step_key).replace("__", "/"))

            self.instance.add_event_listener(run_id, heard)
            yield

    def _tags(self, key: dg.AssetKey, partition: str | None) -> dict[str, str]:
        """Tags of a run at the command line: what it is for, and the process that carries it out."""
        definition = self._graph.get(key).partitions_def
        release = release_in(definition, partition) if definition is not None and partition is not None else None
        plain: Dimension = "release" if release else "study" if partition in self.layout.studies else "dataset"
        return {**run_tags(partition, "command", dimension=plain), **this_process()}


def _failure(result: Any) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            error = event.event_specific_data.error
            while error.cause is not None:
                error = error.cause
            return f"{event.step_key}: {error.message.strip()}"
    return "the run failed before its first step; see the run history"


def report_folder(layout: Layout, study: str, release: str) -> Path:
    """Folder of one release's results in one study."""
    return layout.folders.store / study / release
