"""The run history in sqlite files: connections stay open, nothing waits for their end, the files are Dagster's own."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from interp_assets.run_history.embedded import Engines, EventLog, Runs, _placed, kept_open

NAMES = dg.DynamicPartitionsDefinition(name="name")


@dg.asset(partitions_def=NAMES)
def judged() -> int:
    """An asset with a partition for each name."""
    return 7


@pytest.fixture()
def history(tmp_path):
    """An instance over the kept connections, after one run."""
    overrides = kept_open(str(tmp_path), {})
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path), overrides=overrides)) as instance:
        instance.add_dynamic_partitions("name", ["one"])
        run = dg.materialize([judged], instance=instance, partition_key="one")
        yield tmp_path / "history", instance, run


def test_the_history_of_a_run_stays_open_and_a_strange_reader_sees_every_event(history):
    folder, instance, run = history
    events = folder / "runs" / f"{run.run_id}.db"
    assert (events.parent / f"{events.name}-wal").stat().st_size > 0  # the last connection to close copies it back
    with closing(sqlite3.connect(events)) as reader:
        told = [name for (name,) in reader.execute("SELECT dagster_event_type FROM event_logs ORDER BY id")]
    assert "PIPELINE_START" in told
    assert told[-1] == "PIPELINE_SUCCESS"
    with closing(sqlite3.connect(folder / "runs.db")) as reader:
        assert reader.execute("SELECT status FROM runs").fetchall() == [("SUCCESS",)]
    instance.dispose()
    assert not list(folder.rglob("*-wal"))


def test_a_history_is_one_that_dagster_reads_and_writes_in_its_own_way(history, tmp_path):
    _, _, run = history
    with dg.DagsterInstance.from_config(str(tmp_path)) as plain:
        assert type(plain.event_log_storage).__module__.startswith("dagster.")
        assert plain.get_run_by_id(run.run_id).is_success
        again = dg.materialize([judged], instance=plain, partition_key="one")
    _, kept, _ = history
    assert kept.get_run_by_id(again.run_id).is_success
    latest = kept.get_latest_materialization_event(judged.key)
    assert latest.run_id == again.run_id


def test_a_commit_leaves_the_waiting_for_the_disk_to_the_copy(history):
    _, instance, run = history
    log = instance.event_log_storage
    assert isinstance(log, EventLog)
    for opened in (log.index_connection(), log.run_connection(run.run_id)):
        with opened as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL


def test_threads_ask_one_history_side_by_side(history):
    _, instance, _ = history
    found = []
    asking = [
        threading.Thread(target=lambda: found.append(instance.has_dynamic_partition("name", "one"))) for _ in range(8)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert found == [True] * 8


def test_what_failed_in_a_transaction_is_undone_and_the_next_one_begins_clean(history):
    _, instance, _ = history
    log = instance.event_log_storage
    with pytest.raises(ZeroDivisionError), log.index_connection() as connection:
        connection.exec_driver_sql("DELETE FROM dynamic_partitions")
        1 / 0  # noqa: B018
    assert instance.get_dynamic_partitions("name") == ["one"]


def test_a_storage_that_a_deployment_names_is_left_alone(tmp_path):
    assert kept_open(str(tmp_path), {"storage": {"postgres": {}}}) == {}
    assert kept_open(str(tmp_path), {"event_log_storage": {}}) == {}
    chosen = kept_open(str(tmp_path), {"telemetry": {"enabled": False}})
    assert {entry["class"] for entry in chosen.values()} == {EventLog.__name__, Runs.__name__}


def test_only_the_files_used_last_stay_open(tmp_path):
    addresses = [f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(4)]
    engines = Engines(most=2)
    first = engines.of(addresses[0])
    assert engines.of(addresses[0]) is first
    for address in (*addresses[1:3], addresses[1], addresses[3]):
        engines.of(address)
    assert [address in engines for address in addresses] == [False, True, False, True]
    engines.close()
    assert not any(address in engines for address in addresses)


def schema(path) -> tuple:
    """Tables and indices of a history's file, the version they are of, its journal, and how many events it holds."""
    with closing(sqlite3.connect(path)) as reader:
        made = reader.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        version = reader.execute("SELECT version_num FROM alembic_version").fetchall()
        (journal,) = reader.execute("PRAGMA journal_mode").fetchone()
        (events,) = reader.execute("SELECT count(*) FROM event_logs").fetchone()
    return made, version, journal, events


def test_files_of_later_runs_are_copies_of_the_first_one_before_it_held_an_event(history, monkeypatch):
    folder, instance, first = history
    monkeypatch.setattr(EventLog, "_initdb", lambda *_: pytest.fail("the tables were made once more"))
    second = dg.materialize([judged], instance=instance, partition_key="one")
    (made, version, journal, events), other = (schema(folder / "runs" / f"{run.run_id}.db") for run in (first, second))
    assert (made, version, journal) == other[:3]
    assert journal == "wal"
    assert len(version) == 1
    assert {name for kind, name, _ in made if kind == "table"} >= {"event_logs", "asset_keys"}
    assert events == other[3] == len(instance.all_logs(second.run_id))


def test_a_file_that_is_there_is_left_alone(history):
    folder, instance, first = history
    path = folder / "runs" / f"{first.run_id}.db"
    again = EventLog(str(folder / "runs"))
    again._blank = b"not a database"
    assert [record.run_id for record in again.get_records_for_run(first.run_id).records][:1] == [first.run_id]
    again.dispose()
    assert schema(path)[3] == len(instance.all_logs(first.run_id))
    assert not list((folder / "runs").glob(".*"))


def test_where_no_file_can_be_linked_each_is_made_anew(history, monkeypatch):
    def refused(*_):
        raise PermissionError("links are not known here")

    folder, instance, first = history
    monkeypatch.setattr("os.link", refused)
    second = dg.materialize([judged], instance=instance, partition_key="one")
    assert schema(folder / "runs" / f"{second.run_id}.db")[0] == schema(folder / "runs" / f"{first.run_id}.db")[0]
    assert not list((folder / "runs").glob(".*"))


def test_a_file_that_somebody_else_has_open_is_not_copied(tmp_path, monkeypatch):
    """Its tables may still lie in the log beside it."""
    log = EventLog(str(tmp_path))
    made = EventLog._initdb
    opened = []

    def watched(self, engine, *more):
        made(self, engine, *more)
        opened.append(sqlite3.connect(tmp_path / "one.db"))
        opened[0].execute("SELECT count(*) FROM event_logs").fetchone()

    monkeypatch.setattr(EventLog, "_initdb", watched)
    with log.run_connection("one"):
        pass
    assert log._blank == b""
    opened[0].close()
    log.dispose()


def test_of_threads_that_make_one_file_at_once_one_does(tmp_path):
    content = bytes(range(256)) * 1000
    for number in range(20):
        path = tmp_path / f"{number}.db"
        with ThreadPoolExecutor(8) as pool:
            placed = list(pool.map(lambda _, path=path: _placed(content, path), range(8)))
        assert placed.count(True) == 1
        assert path.read_bytes() == content
    assert not list(tmp_path.glob(".*"))
