"""How the run history in a store's sqlite files is written: without waiting for the disk at every event.

What belongs here: the connections to those files. What does not: Dagster's instance (`evaluate`), or other databases.

Dagster opens a connection for every event it stores and closes it again. The last connection to a database in
write-ahead mode copies the log back and waits for the disk, so that every event of a run cost two such waits. Here
one more connection to each of the files used last stays open, and a commit leaves the waiting to that copy. A process
that is killed loses nothing; a machine that loses its power may lose the last events, and what they told of is
computed again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

# The files of the run in progress, the index of all runs, runs, schedules; and the run before, whose end is still told.
KEPT_OPEN = 6


class OpenFiles:
    """One idle connection to each of the databases used last, oldest closed first."""

    def __init__(self, most: int = KEPT_OPEN) -> None:
        self._most = most
        self._open: OrderedDict[str, sqlite3.Connection] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, file: object) -> bool:
        return str(file) in self._open

    def __len__(self) -> int:
        return len(self._open)

    def touch(self, file: str) -> None:
        """Have a connection to ``file`` that has read it, so that no other one is the last to close."""
        with self._lock:
            if file not in self._open:
                self._open[file] = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._open.move_to_end(file)
            try:
                self._open[file].execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.OperationalError:  # locked by its maker for a moment: the next connection asks again
                return
            finally:
                while len(self._open) > self._most:
                    self._open.popitem(last=False)[1].close()

    def close(self) -> None:
        """Close all; sqlite then copies what lies in the logs."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def database_of(connection: sqlite3.Connection) -> str:
    """Path of the file behind a connection; empty for one in memory."""
    found = connection.execute("PRAGMA database_list").fetchall()
    return str(next((file for _, name, file in found if name == "main"), "") or "")


@cache
def keep_open(home: Path) -> OpenFiles:
    """From now on connect to the sqlite files below ``home`` in this way; once a process and folder.

    Other databases, PostgreSQL among them, are left alone.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    kept, folder = OpenFiles(), home.resolve()

    def connected(connection: Any, _: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        file = database_of(connection)
        if file and folder in Path(file).resolve().parents:
            connection.execute("PRAGMA synchronous=NORMAL")
            kept.touch(file)

    event.listen(Engine, "connect", connected)
    return kept
