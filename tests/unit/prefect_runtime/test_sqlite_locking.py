"""The server's event loop must not stand still because a failed cursor is freed while its connection waits."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from blueprint.prefect_runtime import server, sqlite_locking
from blueprint.prefect_runtime.sqlite_locking import ClosingConnection, ClosingCursor, wait_for_locks

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
    wait_for_locks()
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


# A transaction of Prefect's own that reads, then writes while another has written; the first argument says how.
CONFLICT = """
import asyncio, sqlite3, sys, time
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from blueprint.prefect_runtime import sqlite_locking

how, path = sys.argv[1:]
if how == "mended":
    sqlite_locking.wait_for_locks()
other = sqlite3.connect(path, timeout=0, isolation_level=None)
other.execute("PRAGMA journal_mode = WAL")
other.execute("CREATE TABLE runs (state)")

async def main():
    configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{path}")
    session = await configuration.session(await configuration.engine())
    async with session, configuration.begin_transaction(session):
        await session.execute(text("SELECT * FROM runs"))
        try:
            other.execute("INSERT INTO runs VALUES (1)")
        except sqlite3.OperationalError:
            print("the other waits")
        began = time.monotonic()
        try:
            await session.execute(text("INSERT INTO runs VALUES (2)"))
        except Exception as error:
            print("refused" if time.monotonic() - began < 5 else "refused late", "database is locked" in str(error))
            await session.rollback()
        else:
            print("written")

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("how", "said"), [("as Prefect has it", "refused True\n"), ("mended", "the other waits\nwritten\n")]
)
def test_prefect_still_needs_the_mend_and_the_mend_helps(tmp_path: Path, how: str, said: str) -> None:
    """When Prefect's own transactions are no longer refused, the mend can go."""
    done = subprocess.run(
        [sys.executable, "-c", CONFLICT, how, str(tmp_path / "server.db")],
        env={**os.environ, "PREFECT_HOME": str(tmp_path)},
        cwd=Path(sqlite_locking.__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == said, done.stderr


def test_the_mend_was_checked_with_the_installed_prefect() -> None:
    assert version("prefect") == sqlite_locking.CHECKED_WITH


@pytest.mark.parametrize(("checked_with", "applied"), [(sqlite_locking.CHECKED_WITH, True), ("3.8.7", False)])
def test_another_version_of_prefect_is_not_mended_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checked_with: str, *, applied: bool
) -> None:
    done: list[str] = []
    monkeypatch.setattr(sqlite_locking, "CHECKED_WITH", checked_with)
    monkeypatch.setattr(sqlite_locking, "wait_for_locks", lambda: done.append("mended"))
    monkeypatch.setattr("runpy.run_module", lambda *_args, **_more: done.append("started"))
    server.main()
    assert done == [*(["mended"] if applied else []), "started"]
    assert capsys.readouterr().err.count("sqlite_locking is not applied") == (not applied)
