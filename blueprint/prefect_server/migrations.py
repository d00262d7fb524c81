"""Prefect's migrations of a SQLite database, run over a plain connection instead of an asynchronous one.

On an empty database there are more than a hundred, and each statement of them (34,000 steps of a cursor) is handed
from the event loop's thread to another one and back, while nothing else is going on. In one thread they are the same
statements in less than half of the time (measured on two busy cores: 2.9 s instead of 7.0). The order of the foreign
keys in a table that is made anew differs, as it does from one run of Prefect's own to the next.

What goes on as Prefect has it: its migration scripts and the environment that runs them, its settings of a connection,
its transactions; and all of it for databases in memory and for PostgreSQL.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.server.database.configurations import AioSqliteConfiguration
    from sqlalchemy import Connection


class PlainEngine:
    """What Prefect's migrations use of an asynchronous engine, without handing anything to another thread."""

    def __init__(self, configuration: AioSqliteConfiguration) -> None:
        """Prepare; nothing is opened yet."""
        from sqlalchemy import create_engine, event, make_url
        from sqlalchemy.pool import NullPool

        def set_up(connection: Any, record: Any) -> None:
            connection.isolation_level = None  # transactions begin and end as Prefect says, not as the driver guesses
            configuration.setup_sqlite(connection, record)

        self._engine = create_engine(
            make_url(configuration.connection_url).set(drivername="sqlite"),
            connect_args={} if configuration.timeout is None else {"timeout": configuration.timeout},
            paramstyle="named",
            poolclass=NullPool,
        )
        event.listen(self._engine, "connect", set_up)
        event.listen(self._engine, "begin", configuration.begin_sqlite_stmt)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[PlainEngine]:
        """As `AsyncEngine.connect`; the connection itself is opened and closed by `run_sync`."""
        yield self

    async def run_sync(self, function: Callable[[Connection], None]) -> None:
        """As `AsyncConnection.run_sync`."""
        with self._engine.connect() as connection:
            function(connection)


_MIGRATING: ContextVar[PlainEngine | None] = ContextVar("_MIGRATING", default=None)


def migrate_in_one_thread() -> None:
    """Have this process, a server, migrate a SQLite file over a plain connection."""
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.database.interface import PrefectDBInterface

    own_engine, own_upgrade = AioSqliteConfiguration.engine, PrefectDBInterface.run_migrations_upgrade

    async def engine(self: AioSqliteConfiguration) -> Any:
        return _MIGRATING.get() or await own_engine(self)

    async def run_migrations_upgrade(self: PrefectDBInterface) -> None:
        configuration = self.database_config
        if not isinstance(configuration, AioSqliteConfiguration) or configuration.is_inmemory():
            return await own_upgrade(self)
        token = _MIGRATING.set(PlainEngine(configuration))
        try:
            return await own_upgrade(self)
        finally:
            _MIGRATING.reset(token)

    AioSqliteConfiguration.engine = engine  # type: ignore[method-assign]
    PrefectDBInterface.run_migrations_upgrade = run_migrations_upgrade  # type: ignore[method-assign]
