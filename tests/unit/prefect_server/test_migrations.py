"""A database that is made in one thread must be the one that Prefect itself makes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

MAKE = """
import asyncio, sys
from unittest import mock
import aiosqlite
from prefect.server.database import provide_database_interface

if sys.argv[1] == "ours":
    from blueprint.prefect_server.migrations import migrate_in_one_thread
    migrate_in_one_thread()

with mock.patch.object(aiosqlite.Cursor, "execute", autospec=True, side_effect=aiosqlite.Cursor.execute) as handed_over:
    database = provide_database_interface()
    asyncio.run(database.create_db())
    print(handed_over.call_count)
"""
FILE = "prefect.db"


def start(folder: Path, whose: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    database = {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / FILE}"}
    env = kept | {"PREFECT_HOME": str(folder)} | database
    return subprocess.run([sys.executable, "-c", MAKE, whose], env=env, capture_output=True, text=True, check=False)


def make(folder: Path, whose: str) -> int:
    """Make a database as the server does at its start; how many statements were handed to another thread."""
    done = start(folder, whose)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def contents(folder: Path) -> dict[tuple[str, str], list[str]]:
    """Each table and index with the lines of its definition, in any order: Prefect's own order of keys varies too."""
    with sqlite3.connect(folder / FILE) as connection:
        found = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
        tables = [name for kind, name, _ in found if kind == "table"]
        rows = {("rows", name): [repr(row) for row in connection.execute(f'SELECT * FROM "{name}"')] for name in tables}
        settings = {("pragma", "journal_mode"): [str(connection.execute("PRAGMA journal_mode").fetchone())]}
    return (
        {(kind, name): sorted(line.strip(" ,") for line in sql.splitlines()) for kind, name, sql in found}
        | rows
        | settings
    )


@pytest.fixture(scope="module")
def by_prefect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by_prefect")
    assert make(folder, "prefect's") > 1000, "what is counted is not what takes the time"
    return folder


def test_a_new_database_is_the_same_and_made_without_another_thread(by_prefect: Path, tmp_path: Path) -> None:
    assert make(tmp_path, "ours") == 0
    assert contents(tmp_path) == contents(by_prefect)
    assert len(contents(tmp_path)[("rows", "alembic_version")]) == 1


def test_a_database_that_is_there_keeps_its_rows(by_prefect: Path) -> None:
    with sqlite3.connect(by_prefect / FILE) as connection:
        connection.execute("INSERT INTO configuration (id, key, value) VALUES ('1', 'kept', '{}')")
    before = contents(by_prefect)
    assert make(by_prefect, "ours") == 0
    assert contents(by_prefect) == before


def test_a_migration_that_fails_is_told_and_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("CREATE TABLE flow (of_somebody_else TEXT)")
    done = start(tmp_path, "ours")
    assert done.returncode != 0
    assert "table flow already exists" in done.stderr
    with sqlite3.connect(tmp_path / FILE) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names <= {"flow", "alembic_version"}
