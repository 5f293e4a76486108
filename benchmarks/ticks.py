"""How the cost of looking grows with the number of releases: ticks, stale checks, leaderboard and changes.

    INTERP_STUDIES=tiny INTERP_STORE=STORE python -m benchmarks.ticks ticks --release NAME --releases 10 100 300
    ... python -m benchmarks.ticks stale --release NAME --releases 10 100 1000
    ... python -m benchmarks.ticks reading --release NAME --releases 100 1000

STORE holds one evaluated release, NAME, with its history in sqlite; it is only read. Everything is measured on a copy
below ``--scratch``, where the events (or the judged folders) of NAME were written again under other names. Every size
runs in a process of its own, forked after the imports. What belongs here: the copies and the clock. What does not:
runs themselves (`benchmarks.scaling`), the daemon and gRPC around a tick.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import re
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.base import EventLogRecord
from dagster._serdes import deserialize_value, serialize_value

from interp_assets.automation import conditions
from interp_assets.comparison.history import history_text, snapshot_file
from interp_assets.comparison.snapshot import digest
from interp_assets.definitions import defs
from interp_assets.evaluate import Evaluator
from interp_assets.layout import CONTROLS, RELEASE, Layout, grid_key, read_layout
from interp_assets.stages import stages
from interp_assets.storage import canonical_json

POINTER = re.compile(r'("dagster/input_event_pointer/[^"]+": ?")(\d+)(")')
POINTER_TAG = "dagster/input_event_pointer/"
TWINS = ("", ".shuffled", ".random-weights")


def named(number: int) -> str:
    """Name of a copied release."""
    return f"copy-{number:05d}"


# --- copies ----------------------------------------------------------------------------------------------------------


def copied_history(store: Path, scratch: Path, release: str, copies: int) -> Path:
    """DAGSTER_HOME below ``scratch`` whose history says that ``copies`` more releases were judged like ``release``."""
    home = scratch / ".dagster"
    shutil.copytree(store / ".dagster", home)
    connection = sqlite3.connect(home / "history" / "runs" / "index.db")
    with connection:
        _copy_events(connection, release, copies)
        _point_to_the_last(connection)
    connection.close()
    return home


def _copy_events(connection: sqlite3.Connection, release: str, copies: int) -> None:
    """Events and their tags, with ids shifted by a whole history a copy; pointers to copied events are shifted too."""
    like = f"%{release}%"
    columns = "id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition"
    rows = connection.execute(f"select {columns} from event_logs where partition like ?", (like,)).fetchall()
    own = {row[0] for row in rows}
    step = connection.execute("select max(id) from event_logs").fetchone()[0] + 1
    tags = [
        row
        for row in connection.execute("select event_id, asset_key, key, value, event_timestamp from asset_event_tags")
        if row[0] in own
    ]

    def shifted(pointer: str, by: int) -> str:
        return str(int(pointer) + by) if int(pointer) in own else pointer

    for number in range(copies):
        name, by = named(number), step * (number + 1)
        connection.executemany(
            f"insert into event_logs ({columns}) values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row[0] + by,
                    row[1],
                    POINTER.sub(lambda m, by=by: m[1] + shifted(m[2], by) + m[3], row[2]).replace(release, name),
                    *row[3:7],
                    row[7].replace(release, name),
                )
                for row in rows
            ),
        )
        connection.executemany(
            "insert into asset_event_tags (event_id, asset_key, key, value, event_timestamp) values (?, ?, ?, ?, ?)",
            (
                (
                    row[0] + by,
                    *row[1:3],
                    shifted(row[3], by) if row[2].startswith(POINTER_TAG) else str(row[3]).replace(release, name),
                    row[4],
                )
                for row in tags
            ),
        )


def _point_to_the_last(connection: sqlite3.Connection) -> None:
    """Name the last copy as the last materialisation of each asset, as Dagster would have."""
    query = (
        "select asset_key, max(id), event from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION' "
        "group by asset_key"
    )
    for key, number, event in connection.execute(query).fetchall():
        record = EventLogRecord(storage_id=number, event_log_entry=deserialize_value(event, EventLogEntry))
        connection.execute(
            "update asset_keys set last_materialization = ?, cached_status_data = null where asset_key = ?",
            (serialize_value(record), key),
        )


def copied_results(store: Path, scratch: Path, study: str, release: str, copies: int) -> Path:
    """Store below ``scratch`` with the judged folders and histories of ``release`` (and twins) under other names."""
    result = scratch / "store"
    for number in range(copies):
        for twin in TWINS:
            for source in (store / study / (release + twin), store / "history" / study / (release + twin)):
                if source.is_dir():
                    target = result / source.relative_to(store).with_name(named(number) + twin)
                    shutil.copytree(source, target, copy_function=os.link)
    for path in (result / "history").glob("*/*/history.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()  # a link to the store that is only read
        entries = [*content["entries"], _otherwise(path.parent, content["entries"][-1])]
        path.write_bytes(history_text(content["study"], path.parent.name, entries))
    return result


def _otherwise(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """One judgement more of a copy, as if other weights had turned every claim and every criterion."""
    found = json.loads((folder / snapshot_file(entry["snapshot"])).read_text(encoding="utf-8"))
    for claim in found["claims"].values():
        claim["state"] = "inconclusive" if claim["state"] == "refuted" else "refuted"
    for criterion in found["criteria"].values():
        criterion["outcome"] = "undecided" if criterion["outcome"] == "fail" else "fail"
    found["lineage"]["weights"] = "other weights"
    text = canonical_json(found).encode()
    (folder / snapshot_file(digest(text))).write_bytes(text)
    return entry | {"snapshot": digest(text)}


# --- the clock -------------------------------------------------------------------------------------------------------


@contextmanager
def clock(point: dict[str, Any], name: str) -> Iterator[None]:
    """Seconds on the wall and of this processor, kept in ``point`` under ``name``."""
    wall, own = time.perf_counter(), time.process_time()
    yield
    point[name] = {"s": round(time.perf_counter() - wall, 2), "cpu": round(time.process_time() - own, 2)}


def peak() -> float:
    """Largest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- what is measured ------------------------------------------------------------------------------------------------


def ticks(layout: Layout, scratch: Path, release: str, releases: int) -> dict[str, Any]:
    """First tick, ticks at rest, after a new release and after a change that all releases read."""
    point: dict[str, Any] = {"releases": releases, "MB before": round(peak())}
    home = copied_history(layout.folders.store, scratch, release, releases - 1)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions(RELEASE.name, [named(number) for number in range(releases - 1)])
        cursor = tick(point, "first, all judged", instance, None)
        cursor = tick(point, "second", instance, cursor)
        cursor = tick(point, "at rest", instance, cursor)
        instance.add_dynamic_partitions(RELEASE.name, ["arrived"])
        cursor = tick(point, "one release arrived", instance, cursor)
        study = next(iter(layout.studies))
        event = dg.AssetMaterialization("study_inputs", partition=study, tags={"dagster/data_version": "changed"})
        instance.report_runless_asset_event(event)
        cursor = tick(point, "a study changed", instance, cursor)
    return point


def arrivals(layout: Layout, scratch: Path, release: str, releases: int) -> dict[str, Any]:
    """Ticks where all but one release are registered and none of them has run."""
    point: dict[str, Any] = {"releases": releases, "MB before": round(peak())}
    home = copied_history(layout.folders.store, scratch, release, 0)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions(RELEASE.name, [named(number) for number in range(releases - 1)])
        cursor = tick(point, "first, none judged", instance, None)
        tick(point, "second", instance, cursor)
    return point


def tick(point: dict[str, Any], name: str, instance: dg.DagsterInstance, cursor: str | None) -> str:
    """One tick as the code server carries it out; the cursor for the next."""
    sensor = defs.resolve_sensor_def(conditions.SENSOR)
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=defs.get_repository_def())
    with clock(point, name):
        found = sensor.evaluate_tick(context)
    told = len(serialize_value(found)) / 1e6
    point[name] |= {
        "requests": len(found.run_requests),
        "cursor kB": round(len(found.cursor) / 1e3, 1),
        "answer MB": round(told, 2),
        "MB": round(peak()),
    }
    print(f"  {point['releases']} releases, {name}: {point[name]}", flush=True)
    return str(found.cursor)


def stale(layout: Layout, scratch: Path, release: str, releases: int) -> dict[str, Any]:
    """What `interp evaluate` asks before it runs anything: is any asset behind one release stale?"""
    point: dict[str, Any] = {"releases": releases}
    home = copied_history(layout.folders.store, scratch, release, releases - 1)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions(RELEASE.name, [named(number) for number in range(releases - 1)])
        evaluator = Evaluator(defs, layout, instance)
        study = next(iter(layout.studies))
        asked = list(stages(layout, defs.resolve_asset_graph().materializable_asset_keys, study, [release]))
        *one, gathered = asked
        with clock(point, "one release"):
            found = [key.to_user_string() for stage in one for key in evaluator._stale(stage)]
        with clock(point, "changes and leaderboard"):
            evaluator._stale(gathered)
        for name in ("verdict_history", "report"):
            partition = grid_key(release=release, study=study)
            tags = {"dagster/data_version": "judged again"}
            instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=partition, tags=tags))
        evaluator._resolver = None
        noticed = [key.to_user_string() for key in evaluator._stale(gathered)]
        point |= {"stages": len(asked), "stale": found, "stale after a judgement": noticed, "MB": round(peak())}
    return point


def reading(layout: Layout, scratch: Path, release: str, releases: int) -> dict[str, Any]:
    """Leaderboard, claims board, changes and page over judged folders: what the two last assets do."""
    from interp_assets.comparison.changes import verdict_changes
    from interp_assets.comparison.history import histories
    from interp_assets.report.index import render_index
    from interp_assets.report.stored import stored_claims, stored_leaderboard

    study = next(iter(layout.studies))
    store = copied_results(layout.folders.store, scratch, study, release, releases)
    folders = len(list((store / study).iterdir()))
    point: dict[str, Any] = {"releases": releases, "folders": folders}
    order = [*CONTROLS, *(named(number) for number in range(releases))]
    with clock(point, "verdict_changes"):
        changes = verdict_changes([histories(store, study)], order)
    with clock(point, "leaderboard"):
        board = stored_leaderboard(store, (study,))
    with clock(point, "claims"):
        claims = stored_claims(store, (study,))
    with clock(point, "page"):
        page = render_index(board, claims, changes, {})
    sizes = {"changes": len(changes), "rows": len(board), "claim rows": len(claims), "page MB": len(page) / 1e6}
    return point | sizes | {"MB": round(peak())}


PARTS: dict[str, Callable[[Layout, Path, str, int], dict[str, Any]]] = {
    "ticks": ticks,
    "arrivals": arrivals,
    "stale": stale,
    "reading": reading,
}


def _point(part: str, scratch: str, release: str, releases: int) -> None:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=scratch, prefix="ticks-") as folder:
        point = PARTS[part](read_layout(), Path(folder), release, releases)
    load = os.getloadavg()[0]
    print(
        json.dumps({"part": part, **point, "whole s": round(time.perf_counter() - started), "load": load}), flush=True
    )


def main() -> None:
    """One part at every size asked for, each in a process of its own; one JSON line a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=tuple(PARTS))
    parser.add_argument("--release", required=True, help="the judged release that is copied")
    parser.add_argument("--releases", type=int, nargs="+", default=[10, 100, 300])
    parser.add_argument("--scratch", default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    parser.add_argument("--explained", type=int, default=conditions.MOST_EXPLAINED, help="partitions told with reasons")
    options = parser.parse_args()
    conditions.MOST_EXPLAINED = options.explained
    logging.disable(logging.INFO)  # a line an asset and tick
    for releases in options.releases:
        process = multiprocessing.get_context("fork").Process(
            target=_point, args=(options.part, options.scratch, options.release, releases)
        )
        process.start()
        process.join()
        if process.exitcode:
            parser.exit(1, f"{options.part} with {releases} releases ended with {process.exitcode}\n")


if __name__ == "__main__":
    main()
