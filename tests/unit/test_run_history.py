"""Connections to the run history: which stay open, and that nothing written through them waits for their end."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from interp_assets.run_history import OpenFiles, keep_open


@pytest.fixture()
def home(tmp_path):
    folder = tmp_path / "history"
    folder.mkdir()
    kept = keep_open(folder)
    yield folder, kept
    kept.close()


def engine_of(file):
    engine = sqlalchemy.create_engine(f"sqlite:///{file}", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
        connection.execute(sqlalchemy.text("CREATE TABLE event (id INTEGER)"))
        connection.commit()
    return engine


def test_the_log_of_a_history_stays_and_a_strange_reader_sees_every_event(home):
    folder, kept = home
    engine = engine_of(folder / "run.db")
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar() == 1  # NORMAL
        connection.execute(sqlalchemy.text("INSERT INTO event VALUES (7)"))
        connection.commit()
    assert (folder / "run.db-wal").stat().st_size > 0  # the last connection to close would have copied it back
    with closing(sqlite3.connect(folder / "run.db")) as reader:
        assert reader.execute("SELECT id FROM event").fetchall() == [(7,)]
    kept.close()
    assert not (folder / "run.db-wal").exists()


def test_databases_elsewhere_are_left_alone(home, tmp_path):
    _, kept = home
    engine = engine_of(tmp_path / "other.db")
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar() == 2  # FULL
    assert len(kept) == 0
    assert not (tmp_path / "other.db-wal").exists()


def test_only_the_files_used_last_stay_open(tmp_path):
    files = [str(tmp_path / f"{number}.db") for number in range(4)]
    kept = OpenFiles(most=2)
    for file in (*files[:3], files[1], files[3]):
        kept.touch(file)
    assert [file in kept for file in files] == [False, True, False, True]
    kept.close()
    assert len(kept) == 0
