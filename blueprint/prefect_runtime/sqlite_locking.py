"""Waiting for SQLite's lock, so that it neither fails the server's requests nor stops its event loop.

Prefect opens its transactions as readers (`BEGIN DEFERRED`). One that has read and then writes, while another has
written, is refused by SQLite at once and answered 503; Prefect's clients then sleep for 2, 4, 8, … seconds, and give
up after five times: under load a run was seen to take a minute longer, and may crash. So they are opened as writers
(`BEGIN IMMEDIATE`), which wait for their turn. Prefect's requests that only read open no transaction.

Python 3.11 keeps the statement of a cursor whose `execute` failed until the cursor is freed, and SQLAlchemy's aiosqlite
dialect leaves that cursor to the garbage collector, which runs in the event loop's thread. To free it there takes the
mutex of its connection. If another thread waits on that connection for the write lock (60 s, Prefect's busy_timeout),
the loop stands still, and with it the request that holds the lock: nothing moves for a minute. So a cursor that failed
is closed at once, in its own thread. Python 3.12 and later let go of the statement by themselves; there this changes
nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

CHECKED_WITH = "3.8.8"  # of Prefect; the tests say whether it still needs this
T = TypeVar("T")


class ClosingCursor(sqlite3.Cursor):
    """A cursor that lets go of its statement as soon as that fails."""

    def execute(self, sql: str, parameters: Any = (), /) -> ClosingCursor:
        """Execute a statement; close the cursor if it fails."""
        statement = "BEGIN IMMEDIATE" if sql == "BEGIN DEFERRED" else sql
        return self._or_close(lambda: super(ClosingCursor, self).execute(statement, parameters))

    def executemany(self, sql: str, parameters: Any, /) -> ClosingCursor:
        """Execute a statement for each set of parameters; close the cursor if it fails."""
        return self._or_close(lambda: super(ClosingCursor, self).executemany(sql, parameters))

    def _or_close(self, statement: Callable[[], T]) -> T:
        try:
            return statement()
        except BaseException:
            self.close()
            raise


class ClosingConnection(sqlite3.Connection):
    """A connection whose cursors are closed when they fail."""

    def cursor(self, factory: Any = ClosingCursor) -> Any:
        """Return a cursor that is closed when it fails."""
        return super().cursor(factory)


def wait_for_locks() -> None:
    """Open every SQLite connection of SQLAlchemy in this process as a `ClosingConnection`."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "do_connect")
    def use_factory(dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        if dialect.name == "sqlite":
            parameters.setdefault("factory", ClosingConnection)
