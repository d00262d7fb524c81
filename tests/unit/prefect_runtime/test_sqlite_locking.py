"""The server's event loop must not stand still because a failed cursor is freed while its connection waits."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from blueprint.prefect_runtime.sqlite_locking import ClosingConnection, ClosingCursor, close_failed_cursors

BUSY_SECONDS = 4.0


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, factory=ClosingConnection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    return connection


def test_freeing_a_failed_cursor_does_not_wait_for_the_lock_that_its_connection_waits_for(tmp_path: Path) -> None:
    waiting, holding = connect(tmp_path / "server.db"), connect(tmp_path / "server.db")
    waiting.execute("CREATE TABLE runs (state)")
    waiting.execute("INSERT INTO runs VALUES (1)")
    waiting.execute("BEGIN DEFERRED")
    waiting.execute("SELECT * FROM runs").fetchall()
    holding.execute("INSERT INTO runs VALUES (2)")
    cursor = waiting.cursor()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        cursor.execute("INSERT INTO runs VALUES (3)")
    waiting.rollback()
    holding.execute("BEGIN IMMEDIATE")

    def wait_for_the_lock() -> None:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            waiting.execute("UPDATE runs SET state = 9")

    thread = threading.Thread(target=wait_for_the_lock)
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    del cursor
    gc.collect()
    assert time.monotonic() - began < BUSY_SECONDS / 2
    thread.join()
    holding.rollback()


def test_every_sqlite_connection_of_sqlalchemy_closes_its_failed_cursors(tmp_path: Path) -> None:
    close_failed_cursors()
    seen: list[object] = []

    async def fail() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'server.db'}")
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            assert driver is not None
            seen.append(driver._conn)
            with pytest.raises(OperationalError):
                await connection.execute(text("SELECT * FROM nowhere"))
        await engine.dispose()

    asyncio.run(fail())
    assert isinstance(seen[0], ClosingConnection)
    cursor = sqlite3.connect(":memory:", factory=ClosingConnection).cursor()
    assert isinstance(cursor, ClosingCursor)
    with pytest.raises(sqlite3.OperationalError):
        cursor.execute("SELECT * FROM nowhere")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        cursor.fetchall()


def test_who_means_to_write_waits_for_its_turn_instead_of_failing_halfway(tmp_path: Path) -> None:
    first, second = connect(tmp_path / "server.db"), connect(tmp_path / "server.db")
    first.execute("CREATE TABLE runs (state)")
    first.cursor().execute("BEGIN DEFERRED")
    first.execute("SELECT * FROM runs").fetchall()
    written: list[int] = []

    def write() -> None:
        second.cursor().execute("BEGIN DEFERRED")
        second.execute("SELECT * FROM runs").fetchall()
        second.execute("INSERT INTO runs VALUES (2)")
        second.commit()
        written.append(2)

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(0.2)
    assert not written
    first.execute("INSERT INTO runs VALUES (1)")
    first.commit()
    thread.join()
    assert first.execute("SELECT count(*) FROM runs").fetchone() == (2,)


def test_prefects_own_transactions_are_opened_as_writers(tmp_path: Path) -> None:
    """It depends on the words with which Prefect opens them: a new version of it may use others."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    close_failed_cursors()
    database = tmp_path / "server.db"

    async def another_can_write() -> bool:
        configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{database}")
        session = await configuration.session(await configuration.engine())
        async with session, configuration.begin_transaction(session):
            await session.execute(text("SELECT 1"))  # only now does it begin
            with sqlite3.connect(database, timeout=0, isolation_level=None) as another:
                try:
                    another.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    return False
                return True

    assert not asyncio.run(another_can_write())
