"""The run history in PostgreSQL, on a real server: what two processes write at once stays in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.instance.ref import InstanceRef
from dagster._core.loader import LoadingContextForTest
from dagster_postgres.run_storage import PostgresRunStorage

from interp_assets.cli.doctor import _database
from interp_assets.run_history.postgres import EventLog
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
def server() -> Iterator[dict[str, str]]:
    """Environment of a PostgreSQL server of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ACCEPTANCE))
        from postgres import Postgres, programs

        found = programs()
        if found is None:
            absent("postgres", "PostgreSQL is not installed")
        with Postgres(found) as database:
            yield database.environment()


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


@pytest.mark.parametrize(("storage", "warned"), [(PLAIN, True), ("ours", False)])
def test_the_doctor_warns_of_dagsters_own_storage(tmp_path, server, storage, warned):
    with history(tmp_path / "home", server, storage) as instance:
        found = [check for check in _database(instance) if check.name == "database"]
    assert found[0].state == "ok"
    assert [check.remedy for check in found[1:]] == ["the `storage` section of deploy/dagster.yaml"] * warned
