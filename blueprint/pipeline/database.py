"""The warehouse's database: its address, and transactional connections that wait for other writers.

- By default an embedded SQLite file, `<database>.sqlite3` in the folder that `PIPELINE_WAREHOUSE_DIR` names, or else in
  `.blueprint/warehouse` of the current folder.
- `PIPELINE_DATABASE_URL` names another: `postgresql://user:password@host/database` or `sqlite:///path/database.sqlite3`.
  The `database` part of a table's name must be that database (for SQLite: the file's name without its suffix), so that
  a table name always says where its rows are. A relative path counts from the current folder.

SQLite has no schemas: the table `daily_metrics` of the schema `public` is the table `"public.daily_metrics"` there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from blueprint.pipeline.errors import WarehouseError
from blueprint.pipeline.table_name import TableName

DATABASE_URL_VARIABLE = "PIPELINE_DATABASE_URL"
WAREHOUSE_DIR_VARIABLE = "PIPELINE_WAREHOUSE_DIR"
LOCK_SECONDS = 60
CONNECT_SECONDS = 10

_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


@dataclass(frozen=True)
class Database:
    """Database of the warehouse; its text form hides the password."""

    url: URL = field(repr=False)

    @property
    def file(self) -> Path | None:
        """The SQLite file, None for PostgreSQL."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    @property
    def exists(self) -> bool:
        """Tell whether the database is there: False for an SQLite file that has not been created yet."""
        return self.file is None or self.file.exists()

    def __str__(self) -> str:
        return str(self.file) if self.file else self.url.set(query={}).render_as_string(hide_password=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a writing transaction: committed at the end of the block, rolled back by an exception.

        Waits up to `LOCK_SECONDS` for other writers.

        Raises:
            WarehouseError: In one sentence, what the database or the disk said.
        """
        with _explained(self):
            if self.file:
                _create_private(self.file)
            with self._engine(write=True).begin() as connection:
                if not self.file:
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection that reads one consistent state; creates no file, and raises as `writing` does."""
        with _explained(self), self._engine(write=False).connect() as connection:
            yield connection

    def _engine(self, *, write: bool) -> Engine:
        common: dict[str, Any] = {"poolclass": NullPool, "hide_parameters": True}
        if self.file is None:
            level = "READ COMMITTED" if write else "REPEATABLE READ"
            arguments: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS}
            return create_engine(self.url, isolation_level=level, connect_args=arguments, **common)
        # isolation_level None: Python's own transaction handling would start a write transaction too late, as a reader
        # first, and then fail with "database is locked" at once instead of waiting.
        arguments = {"timeout": LOCK_SECONDS, "isolation_level": None}
        engine = create_engine(self.url, connect_args=arguments, **common)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("PRAGMA synchronous = FULL")  # what landed must survive a power cut
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

        return engine


def database_for(table: TableName, url: str | None = None) -> Database:
    """Return the database that holds the table; its address is by default that of the environment.

    Raises:
        WarehouseError: The address cannot be used, or leads to another database than the table's name says.
    """
    text = url or os.environ.get(DATABASE_URL_VARIABLE)
    if not text:
        folder = Path(os.environ.get(WAREHOUSE_DIR_VARIABLE) or ".blueprint/warehouse")
        return Database(_file_url(folder / f"{table.database}.sqlite3"))
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        raise WarehouseError(
            f"{DATABASE_URL_VARIABLE} is not a database URL; expected for example postgresql://user@host/warehouse."
        ) from None
    backend, name = parsed.get_backend_name(), parsed.database or ""
    if backend not in _DRIVERS:
        raise WarehouseError(f"{DATABASE_URL_VARIABLE}: {backend!r} is neither sqlite nor postgresql.")
    database = Database(parsed.set(drivername=_DRIVERS[backend]))
    if backend == "sqlite":
        if not name or name.startswith((":memory:", "file:")):
            raise WarehouseError(
                f"{DATABASE_URL_VARIABLE}: an SQLite warehouse must be a file, sqlite:///path/name.sqlite3."
            )
        database, name = Database(_file_url(Path(name))), Path(name).stem
    if name != table.database:
        raise WarehouseError(
            f"The table {table} is in the database {table.database!r}, but {DATABASE_URL_VARIABLE} leads to {name!r}."
        )
    return database


def _file_url(path: Path) -> URL:
    return URL.create(_DRIVERS["sqlite"], database=str(path.expanduser().absolute()))


def _create_private(path: Path) -> None:
    """Make the file, and the folders that are missing on the way, for the user only."""
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


@contextmanager
def _explained(database: Database) -> Iterator[None]:
    """Turn what the database or the file system says into one sentence without a password."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        reason = error.orig if isinstance(error, DBAPIError) and error.orig else error
        text = " ".join(str(reason).split())[:500] or type(reason).__name__
        raise WarehouseError(f"The warehouse {database} refused: {_scrubbed(text, database.url)}.") from None
    except OSError as error:
        raise WarehouseError(f"The warehouse {database} cannot be used: {error.strerror or error}.") from None


def _scrubbed(text: str, url: URL) -> str:
    hidden = {str(url.password or ""), *(str(value) for key, value in url.query.items() if "pass" in key.lower())}
    for secret in (hidden | {quote(secret, safe="") for secret in hidden}) - {""}:
        text = text.replace(secret, "***")
    return text.rstrip(".")
