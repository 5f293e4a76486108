"""The run history in PostgreSQL, on a real server: what two processes write at once stays in order."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.instance.ref import InstanceRef
from dagster._core.loader import LoadingContextForTest
from dagster_postgres.run_storage import PostgresRunStorage

from interp_assets.cli.doctor import _database
from interp_assets.run_history.postgres import KEPT, EventLog
from tests.conftest import absent

ACCEPTANCE = Path(__file__).resolve().parents[2] / "acceptance"
PLAIN = "dagster_postgres"
NAMES = dg.StaticPartitionsDefinition(["first", "second"])


@dg.asset(partitions_def=NAMES, code_version="1")
def release(context) -> dg.Output[str]:
    """What is read."""
    return dg.Output(context.partition_key, data_version=dg.DataVersion(context.partition_key))


@dg.asset(partitions_def=NAMES, deps=[release], code_version="1")
def judged() -> int:
    """What reads it."""
    return 7


DEFINITIONS = dg.Definitions(assets=[release, judged], resources={"io_manager": dg.mem_io_manager})


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    """A PostgreSQL server of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ACCEPTANCE))
        from postgres import Postgres, programs

        found = programs()
        if found is None:
            absent("postgres", "PostgreSQL is not installed")
        with Postgres(found) as running:
            yield running


@pytest.fixture
def server(database) -> dict[str, str]:
    """Environment in which it is reached."""
    return database.environment()


@contextmanager
def history(folder: Path, server: dict[str, str], storage: str) -> Iterator[dg.DagsterInstance]:
    """An instance over that server, by the deployment's file or by Dagster's own short form."""
    reached = "".join(
        f"      {key}: {{env: INTERP_DB_{name}}}\n"
        for key, name in (("hostname", "HOST"), ("port", "PORT"), ("db_name", "NAME"), ("username", "USER"))
    )
    plain = "storage:\n  postgres:\n    postgres_db:\n      scheme: postgresql+psycopg2\n" + reached
    plain += "      password: {env: INTERP_DB_PASSWORD}\n"
    ours = Path(server["INTERP_DAGSTER_YAML"]).read_text(encoding="utf-8")
    folder.mkdir()
    (folder / "dagster.yaml").write_text(plain if storage == PLAIN else ours, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            yield instance


def both_at_once(instance: dg.DagsterInstance) -> None:
    """Materialise both partitions; the one that was numbered first is noted as the latest after the other."""
    for partition in ("first", "second"):
        materialise(instance, release, partition)
    second, first = instance.fetch_materializations(release.key, limit=2).records
    assert (first.partition_key, second.partition_key) == ("first", "second")
    assert first.storage_id < second.storage_id
    instance.event_log_storage.store_asset_event(first.event_log_entry, first.storage_id)


def materialise(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, partition: str) -> None:
    job = DEFINITIONS.resolve_implicit_global_asset_job_def().get_subset(asset_selection={asset.key})
    assert job.execute_in_process(instance=instance, partition_key=partition).success


def status(instance: dg.DagsterInstance, partition: str) -> StaleStatus:
    graph = DEFINITIONS.resolve_asset_graph()
    return CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance)).get_status(
        judged.key, partition
    )


@pytest.mark.parametrize(("storage", "fresh"), [(PLAIN, False), ("ours", True)])
def test_what_reads_the_later_of_two_at_once_is_fresh(tmp_path, server, storage, fresh):
    """The day on which Dagster's own storage keeps them in order too, ours is no longer needed."""
    with history(tmp_path / "home", server, storage) as instance:
        assert isinstance(instance.event_log_storage, EventLog) is (storage == "ours")
        instance.wipe_assets([release.key, judged.key])
        both_at_once(instance)
        for partition in ("first", "second"):
            materialise(instance, judged, partition)
        assert status(instance, "first") is StaleStatus.FRESH
        assert status(instance, "second") is (StaleStatus.FRESH if fresh else StaleStatus.STALE)


def test_the_latest_materialisation_is_the_one_of_the_highest_number(tmp_path, server):
    def latest() -> int:
        (kept,) = instance.get_asset_records([release.key])
        return kept.asset_entry.last_materialization_storage_id

    with history(tmp_path / "home", server, "ours") as instance:
        both_at_once(instance)
        before = latest()
        assert before == instance.fetch_materializations(release.key, limit=1).records[0].storage_id
        materialise(instance, release, "first")
        assert latest() > before


def test_the_process_of_a_run_writes_in_the_same_way(tmp_path, server, monkeypatch):
    """It makes its instance of what the daemon hands it, with the secrets of its own environment."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    with history(tmp_path / "home", server, "ours") as instance:
        told = instance.get_ref().to_dict()
        assert server["INTERP_DB_PASSWORD"] not in str(told)
        with dg.DagsterInstance.from_ref(InstanceRef.from_dict(told)) as handed:
            assert isinstance(handed.event_log_storage, EventLog)
            assert isinstance(handed.run_storage, PostgresRunStorage)
            assert handed.get_runs_count() == instance.get_runs_count()


def connected(database) -> set[str]:
    """Processes of the server that serve somebody else, once those have ended whose connections were closed."""
    ask = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    found, before = set(database.sql(ask).split()), None
    while found != before:
        time.sleep(0.3)
        found, before = set(database.sql(ask).split()), found
    return found


def test_connections_stay_open_until_the_instance_is_disposed_of(tmp_path, database, server):
    with history(tmp_path / "plain", server, PLAIN) as instance:
        materialise(instance, release, "first")
        assert connected(database) == set()  # one for each statement, closed after it
    with history(tmp_path / "ours", server, "ours") as instance:
        materialise(instance, release, "first")
        first = connected(database)
        materialise(instance, release, "first")
        assert first
        assert first <= connected(database)
        assert len(connected(database)) <= KEPT
    assert connected(database) == set()


def test_a_server_that_was_started_anew_is_found(tmp_path, database, server):
    with history(tmp_path / "home", server, "ours") as instance:
        materialise(instance, release, "first")
        before = instance.get_runs_count()
        database.crash_and_start_again()
        assert instance.get_runs_count() == before
        materialise(instance, release, "first")
        assert instance.get_runs_count() == before + 1


def test_more_threads_than_kept_connections_are_served(tmp_path, server):
    with (
        history(tmp_path / "home", server, "ours") as instance,
        contextlib.ExitStack() as open_ones,
        ThreadPoolExecutor(8) as pool,
    ):
        for _ in range(2 * KEPT):
            open_ones.enter_context(instance.event_log_storage.index_connection())
        assert len(set(pool.map(lambda _: instance.get_runs_count(), range(16)))) == 1


@pytest.mark.parametrize(("storage", "warned"), [(PLAIN, True), ("ours", False)])
def test_the_doctor_warns_of_dagsters_own_storage(tmp_path, server, storage, warned):
    with history(tmp_path / "home", server, storage) as instance:
        found = [check for check in _database(instance) if check.name == "database"]
    assert found[0].state == "ok"
    assert [check.remedy for check in found[1:]] == ["the `storage` section of deploy/dagster.yaml"] * warned
