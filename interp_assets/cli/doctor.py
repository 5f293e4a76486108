"""`interp doctor`: every check of this machine and deployment, as lines or as JSON.

What belongs here: which checks there are, those that need Dagster (the run history, its daemon), and printing. What
does not: how the others look (`interp_assets.operations.checks`).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_assets.operations import checks
from interp_assets.operations.checks import Check
from interp_assets.settings import PROJECT, Folders

if TYPE_CHECKING:
    import dagster as dg

MARKS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
HEARTBEAT_SECONDS = 120.0  # a daemon writes one every 30 s


def add_doctor_command(commands: Any) -> None:
    """Register ``interp doctor``."""
    doctor = commands.add_parser("doctor", help="what this machine and deployment lack, and the way out")
    doctor.add_argument("--json", action="store_true", help="as one JSON document")
    doctor.add_argument("--deep", action="store_true", help="also hash data files; takes minutes")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    found = list(every_check(Folders.from_environment(), deep=options.deep))
    stopped = any(check.state == "problem" for check in found)
    if options.json:
        print(json.dumps({"problem": stopped, "checks": [check.as_record() for check in found]}, indent=1))
        return int(stopped)
    for check in found:
        print(f"{MARKS[check.state]} {check.name:<14} {check.found}")
        if check.remedy:
            print(f"{'':<7} {'':<14} -> {check.remedy}")
    return int(stopped)


def every_check(folders: Folders, *, deep: bool) -> Iterator[Check]:
    """All checks, cheap ones first; with ``deep`` files are held against their hashes."""
    from interp_assets import quarantine

    lock = PROJECT / "requirements.lock"
    yield from checks.looked("packages", lambda: checks.versions(checks.pinned(lock), checks.installed()))
    yield from checks.looked("store", lambda: checks.store(folders, checks.mount_table()))
    yield from checks.looked("clock", lambda: _store_clock(folders))
    yield from checks.looked("releases", lambda: checks.releases(folders, quarantine.read(folders.store)))
    yield from checks.looked("studies", lambda: _studies(folders))
    yield from checks.looked("data wheels", lambda: checks.wheels(folders, deep))
    yield from checks.looked("data mirror", lambda: _mirror(folders, deep))
    yield from checks.looked("gpu", checks.graphics)
    yield from checks.looked("platform.yaml", lambda: checks.settings_file(folders))
    yield from checks.looked("webhook", lambda: checks.webhook(os.environ, _variable(folders)))
    yield from checks.looked("database", lambda: _history(folders))
    yield from checks.looked("chromium", checks.browser)


def _store_clock(folders: Folders) -> Check:
    stamped = checks.stamped(checks.existing(folders.store))
    return checks.clock(time.time(), stamped, "store's file system")


def _studies(folders: Folders) -> Check:
    from interp_assets.layout import read_layout

    layout = read_layout(folders)
    return checks.ok("studies", f"{', '.join(layout.studies)}; {len(layout.grid)} datasets in use")


def _mirror(folders: Folders, deep: bool) -> Check:
    from interp_assets.cells.dataset_records import LOCKED, MirrorSource
    from interp_assets.cells.datasets import load_datasets

    named = os.environ.get("INTERP_DATA_MIRROR")
    root = Path(named) if named else None
    sources = [
        (name, source)
        for name, spec in load_datasets(folders.config).items()
        for source in spec.sources
        if isinstance(source, MirrorSource)
    ]
    base = root or Path()
    sizes = [(name, base / source.path, source.size) for name, source in sources]
    hashes = {base / source.path: source.sha256 for _, source in sources if source.sha256 != LOCKED} if deep else {}
    return checks.mirror(sizes, hashes, root)


def _variable(folders: Folders) -> str:
    """Name of the environment variable with the webhook's address; empty where nobody is to be told.

    Read by the notices' own rules: an address that was written where the name belongs is refused, not printed.
    """
    from interp_assets.deployment import read_deployment
    from interp_assets.notices.records import read_settings

    deployment = read_deployment(folders)
    settings = read_settings(deployment.section("notify"), deployment.path)
    return "" if settings is None else settings.webhook_from


def _history(folders: Folders) -> Iterator[Check]:
    """The run history: where it is kept, whether it answers, what is in it, and whether a daemon is alive."""
    if not (folders.dagster_home / "dagster.yaml").is_file() and not os.environ.get("INTERP_DAGSTER_YAML"):
        yield checks.ok("database", "none yet; made by the first `interp evaluate` or `interp ui`")
        return
    from interp_assets.evaluate import dagster_instance
    from interp_assets.layout import read_layout

    with dagster_instance(read_layout(folders)) as instance:
        yield from _database(instance)
        yield _heartbeats(instance, time.time())


def _database(instance: dg.DagsterInstance) -> Iterator[Check]:
    import dagster as dg
    from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

    kind = type(instance.run_storage).__name__.removesuffix("RunStorage")
    reached = instance.get_runs_count()
    waiting = instance.get_runs_count(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))
    found = f"{kind}, {reached} runs, {waiting} not finished"
    behind = _behind(instance)
    yield (
        checks.problem("database", f"{found}; {behind}", "DAGSTER_HOME=STORE/.dagster dagster instance migrate")
        if behind
        else checks.ok("database", found)
    )
    if type(instance.event_log_storage).__module__.startswith("dagster_postgres"):
        told = "Dagster's own PostgreSQL storage: of what two processes write at once, one part may count as stale"
        yield checks.note("database", told, "the `storage` section of deploy/dagster.yaml")
    if (skew := _database_clock(instance)) is not None:
        yield checks.clock(0.0, skew, "database's clock")


def _behind(instance: dg.DagsterInstance) -> str:
    """What is not migrated, or an empty text."""
    storages = {
        "runs": instance.run_storage,
        "events": instance.event_log_storage,
        "schedules": instance.schedule_storage,
    }
    late = [name for name, storage in storages.items() if _revision_differs(storage)]
    return f"the schema of {', '.join(late)} is of another Dagster version" if late else ""


def _revision_differs(storage: Any) -> bool:
    versions = getattr(storage, "alembic_version", None)
    found = versions() if callable(versions) else None
    return isinstance(found, tuple) and found[0] is not None and found[0] != found[1]


def _database_clock(instance: dg.DagsterInstance) -> float | None:
    """Seconds that the database's clock is ahead, None for sqlite, which has none of its own."""
    if "Postgres" not in type(instance.run_storage).__name__:
        return None
    import sqlalchemy

    before = time.time()
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        theirs = float(connection.execute(sqlalchemy.text("select extract(epoch from clock_timestamp())")).scalar())
    return theirs - (before + time.time()) / 2


def _heartbeats(instance: dg.DagsterInstance, now: float) -> Check:
    """Whether a daemon is alive; without one nothing happens by itself, and `interp evaluate` works all the same."""
    beats = {name: each.timestamp for name, each in instance.get_daemon_heartbeats().items()}
    if not beats:
        return checks.note("daemon", "has never run here; nothing is evaluated by itself", "interp ui")
    late = {name: now - stamp for name, stamp in beats.items() if now - stamp > HEARTBEAT_SECONDS}
    if len(late) == len(beats):
        told = f"last heard of {min(late.values()) / 60:.0f} min ago; nothing is evaluated by itself"
        return checks.note("daemon", told, "interp ui, or start the daemon's service")
    if late:
        return checks.note("daemon", f"parts that stopped: {', '.join(sorted(late))}", "read the daemon's log")
    return checks.ok("daemon", f"alive, {len(beats)} parts")
