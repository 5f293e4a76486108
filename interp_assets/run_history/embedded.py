"""How the run history in a store's sqlite files is written: over connections that stay open, to files made once.

What belongs here: those files, and the connections to them. What does not: Dagster's instance (`evaluate`), or other
databases (`postgres`).

Dagster's own storages make an engine and a connection for every event they store and every question they ask, and throw
both away. Each engine compiles its statements anew and each connection reads the schema anew, a seventh of the
processor time of a small evaluation; and the last connection to a database in write-ahead mode copies the log back and
waits for the disk, so that every event of a run cost two such waits. Here the engines of the files used last stay, and
a commit leaves the waiting to that copy. A process that is killed loses nothing; a machine that loses its power may
lose the last events, and what they told of is computed again. The files are Dagster's own: web server and daemon read
and write the same ones in their way.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine, event
from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

# The index of all runs, the run in progress, and the one before, whose end is still told.
KEPT = 3
STORAGES = ("storage", "run_storage", "event_log_storage", "schedule_storage")


class Engines:
    """Engines of the sqlite files used last, the oldest closed first; a connection is lent to one user at a time."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._open: OrderedDict[str, Engine] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, address: object) -> bool:
        return address in self._open

    def of(self, address: str) -> Engine:
        """The engine of a database."""
        with self._lock:
            if address not in self._open:
                self._open[address] = _engine(address)
            self._open.move_to_end(address)
            while len(self._open) > self._most:
                self._open.popitem(last=False)[1].dispose()
            return self._open[address]

    def close(self) -> None:
        """Close all; sqlite then copies what lies in the logs."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].dispose()


def _engine(address: str) -> Engine:
    engine = create_engine(address, poolclass=QueuePool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))
    return engine


def _placed(content: bytes, path: Path) -> bool:
    """Put a new file where none is, whole or not at all; whether that went."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        draft.write_bytes(content)
        os.link(draft, path)
    except OSError:  # it is there already, or the file system knows no links: Dagster's way finds out
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


class EventLog(SqliteEventLogStorage):
    """Dagster's event log in sqlite files, over engines that stay."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = Engines()
        self._blank = b""
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> EventLog:
        """Event log in the folder that the configuration names."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if shard not in self._initialized_dbs:
            self._make(shard)
        with self._db_lock, self._engines.of(self.conn_string_for_shard(shard)).begin() as connection:
            yield connection

    def _make(self, shard: str) -> None:
        """Make the file of a run and its tables: the first one in Dagster's way, others as copies of it.

        Its way takes 55 ms of processor time and waits for the disk a dozen times, for each run anew.
        """
        path = Path(self.path_for_shard(shard))
        if self._blank and _placed(self._blank, path):
            self._initialized_dbs.add(shard)
            return
        new = shard != INDEX_SHARD_NAME and not path.exists()
        with super()._connect(shard):
            pass
        if new and not path.with_name(f"{path.name}-wal").exists():  # else somebody else has it open
            self._blank = path.read_bytes()

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; asked within transactions too, so over a connection of its own."""
        engine = self._engines.of(self.conn_string_for_shard(INDEX_SHARD_NAME))
        with engine.connect() as connection:
            return bool(engine.dialect.has_table(connection, table_name))

    def dispose(self) -> None:
        """Stop watching and close every file."""
        super().dispose()
        self._engines.close()


class Runs(SqliteRunStorage):
    """Dagster's list of runs in a sqlite file, over an engine that stays."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = Engines()
        super().__init__(conn_string, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Runs:
        """List of runs in the folder that the configuration names."""
        return cls.from_local(inst_data=inst_data, **config_value)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection within a transaction."""
        with self._engines.of(self._conn_string).begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the file."""
        super().dispose()
        self._engines.close()


def kept_open(home: str, configured: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides of an instance's configuration that make these the storages of ``home``, in Dagster's own places.

    Empty where ``configured`` names a storage: a server's PostgreSQL is left alone.
    """
    from dagster._core.instance.ref import InstanceRef

    if any(name in configured for name in STORAGES):
        return {}
    defaults = InstanceRef.config_defaults(home)
    classes = {"event_log_storage": EventLog, "run_storage": Runs}
    return {
        name: {
            "module": kind.__module__,
            "class": kind.__name__,
            "config": cast("ConfigurableClassData", defaults[name]).config_dict,
        }
        for name, kind in classes.items()
    }
