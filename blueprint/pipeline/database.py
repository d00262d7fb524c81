"""The warehouse's database: its address, and transactional connections that wait for other writers.

- By default an embedded SQLite file, `.blueprint/warehouse/<database>.sqlite3` in the project's folder
  (`PIPELINE_WAREHOUSE_DIR` names another folder).
- `PIPELINE_DATABASE_URL` names another: `postgresql://user:password@host/database` or `sqlite:///path/database.sqlite3`.
  The `database` part of a table's name must be that database (for SQLite: the file's name without its suffix), so that
  a table name always says where its rows are. A relative path counts from the project's folder.

SQLite has no schemas: the table `daily_metrics` of the schema `public` is the table `"public.daily_metrics"` there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from blueprint.pipeline.errors import WarehouseError
from blueprint.pipeline.table_name import TableName

DATABASE_URL_VARIABLE = "PIPELINE_DATABASE_URL"
WAREHOUSE_DIR_VARIABLE = "PIPELINE_WAREHOUSE_DIR"
LOCK_SECONDS = 60
CONNECT_SECONDS = 10

_PROJECT = Path(__file__).resolve().parents[2]
_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


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
        """Open a connection that reads one consistent state; creates no file.

        Raises:
            WarehouseError: In one sentence, what the database or the disk said.
        """
        with _explained(self), self._engine(write=False).connect() as connection:
            yield connection

    def _engine(self, *, write: bool) -> Engine:
        if self.file is None:
            return create_engine(
                self.url,
                poolclass=NullPool,
                hide_parameters=True,
                isolation_level="READ COMMITTED" if write else "REPEATABLE READ",
                connect_args={"connect_timeout": CONNECT_SECONDS},
            )
        # isolation_level None: Python's own transaction handling would start a write transaction too late, as a reader
        # first, and then fail with "database is locked" at once instead of waiting.
        engine = create_engine(
            self.url,
            poolclass=NullPool,
            hide_parameters=True,
            connect_args={"timeout": LOCK_SECONDS, "isolation_level": None},
        )

        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

        def connected(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous = FULL")  # what a run reports as landed must survive a power cut
            cursor.close()

        event.listen(engine, "begin", begin)
        event.listen(engine, "connect", connected)
        return engine


def database_for(table: TableName, url: str | None = None) -> Database:
    """Return the database that holds the table.

    Args:
        table: Its `database` part must name the database that the address leads to.
        url: An address; by default that of the environment, or else the embedded file.

    Raises:
        WarehouseError: The address cannot be used, or leads to another database.
    """
    text = url or os.environ.get(DATABASE_URL_VARIABLE)
    if not text:
        folder = Path(os.environ.get(WAREHOUSE_DIR_VARIABLE) or _PROJECT / ".blueprint" / "warehouse")
        return Database(_sqlite_url(folder / f"{table.database}.sqlite3"))
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        raise WarehouseError(
            f"{DATABASE_URL_VARIABLE} is not a database URL; expected for example postgresql://user@host/warehouse."
        ) from None
    if parsed.drivername not in _DRIVERS:
        raise WarehouseError(f"{DATABASE_URL_VARIABLE}: {parsed.drivername!r} is neither sqlite nor postgresql.")
    parsed = parsed.set(drivername=_DRIVERS[parsed.drivername])
    database = Database(_file_url(parsed) if parsed.get_backend_name() == "sqlite" else parsed)
    name = database.file.stem if database.file else (parsed.database or "")
    if name != table.database:
        raise WarehouseError(
            f"The table {table} is in the database {table.database!r}, but {DATABASE_URL_VARIABLE} leads to {name!r}."
        )
    return database


def _file_url(url: URL) -> URL:
    if not url.database or url.database.startswith((":memory:", "file:")):
        raise WarehouseError(
            f"{DATABASE_URL_VARIABLE}: an SQLite warehouse must be a file, sqlite:///path/name.sqlite3."
        )
    return _sqlite_url(Path(url.database))


def _sqlite_url(path: Path) -> URL:
    return URL.create("sqlite+pysqlite", database=str(_PROJECT / path.expanduser()))


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
