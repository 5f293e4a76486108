"""How the run history in PostgreSQL is written: in order, over connections that stay open.

What belongs here: the storage that `deploy/dagster.yaml` names. What does not: a store's sqlite files (`embedded`).

Dagster numbers a materialisation in one transaction and notes it as the latest of its asset in a second one. Of two
processes that materialise partitions of one asset at once, the second may so be noted first and the first last. A step
that reads the later partition then notes the earlier number as what it read, and counts as stale at once, whatever is
run again, until the asset is materialised once more. In sqlite both happen in one transaction.

Dagster also opens a connection for every statement and closes it. For each the server starts a process and checks the
password: a few evaluations side by side kept half a core busy with that alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dagster._core.event_api import EventLogRecord
from dagster._core.storage.event_log import AssetKeyTable
from dagster._serdes import ConfigurableClassData, deserialize_value
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config
from sqlalchemy import select

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry
    from sqlalchemy.engine import Connection


# Connections that a process keeps; what it needs more at once is closed after use, as Dagster does.
KEPT = 2


class EventLog(PostgresEventLogStorage):
    """Dagster's event log in PostgreSQL; the latest materialisation of an asset is the one of the highest number."""

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        told = event.dagster_event
        if told is not None and told.is_step_materialization and told.asset_key is not None:
            # The row stays locked until the transaction ends, so that no other process writes it in between.
            row = AssetKeyTable.c.asset_key == told.asset_key.to_string()
            noted = conn.execute(select(AssetKeyTable.c.last_materialization).where(row).with_for_update()).scalar()
            latest = deserialize_value(noted, NamedTuple) if noted else None
            if isinstance(latest, EventLogRecord) and latest.storage_id > event_id:
                return
        super()._store_asset_event(conn, event, event_id)

    def dispose(self) -> None:
        """Stop watching and close the connections that were kept."""
        super().dispose()
        self._engine.dispose()


class History(DagsterPostgresStorage):
    """Dagster's storage in PostgreSQL with this event log; configured like ``storage: postgres``.

    Its three parts share the connections that stay. Each is asked for a sign of life before it is used again, so that a
    server that was started anew is found. Dagster's web server makes pools of its own.
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: Any = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        self._event_log_storage = EventLog(postgres_url, False, token_provider=token_provider)
        engine = create_pg_engine(
            postgres_url,
            token_provider,
            isolation_level="AUTOCOMMIT",
            pool_size=KEPT,
            max_overflow=-1,
            pool_pre_ping=True,
        )
        for part in (self._run_storage, self._event_log_storage, self._schedule_storage):
            part._engine = engine

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> History:
        """Storage in the database that the configuration names."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )
