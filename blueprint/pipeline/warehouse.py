"""The warehouse: load a flow run's rows exactly once, even if the loading process is killed.

One transaction deletes what an earlier attempt of the same flow run may have landed and inserts the rows. Killed before
the commit, nothing is there and the next attempt lands them; killed after it, but before it could report, the next
attempt replaces them. Two attempts at the same time are put one after the other by a lock, and the key
(flow_run_id, record_id) would refuse a doubled row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.schema import CreateSchema

from blueprint.pipeline.database import Database, database_for
from blueprint.pipeline.metrics import DailyMetric
from blueprint.pipeline.table_name import TableName

_CHUNK_ROWS = 2000


@dataclass(frozen=True)
class Landed:
    """Rows of one flow run in the warehouse.

    Attributes:
        database: The file's path, or the URL without its password.
        records: Number of different source records; fewer than `rows` would mean duplicated rows.
        first_observed, last_observed: ISO 8601 in UTC; None if there are no rows.
    """

    table: str
    database: str
    rows: int
    records: int
    metrics: int
    first_observed: str | None
    last_observed: str | None


class Loaded(NamedTuple):
    """Result of one load: rows inserted, and rows of an earlier attempt of the same flow run deleted first."""

    rows: int
    replaced: int


def load(table_name: str, flow_run_id: str, rows: Iterable[DailyMetric], *, url: str | None = None) -> Loaded:
    """Load a flow run's rows in place of earlier ones: all of them once, or none if it raises.

    The table is made if it is not there. For the database and its `url`, see `database.database_for`.

    Raises:
        BadTableName, WarehouseError: One sentence.
    """
    name = TableName.parse(table_name)
    database = database_for(name, url)
    table = _table(name, database)
    _ensure(database, table)
    with database.writing() as connection:
        _one_at_a_time(connection, f"{name} {flow_run_id}")
        replaced = connection.execute(delete(table).where(table.c.flow_run_id == flow_run_id)).rowcount
        inserted = 0
        of_load = {"flow_run_id": flow_run_id, "loaded_at": datetime.now(UTC)}
        source = iter(rows)
        while chunk := [row._asdict() | of_load for row in islice(source, _CHUNK_ROWS)]:
            connection.execute(insert(table), chunk)
            inserted += len(chunk)
    return Loaded(inserted, replaced)


def landed(table_name: str, flow_run_id: str, *, url: str | None = None) -> Landed:
    """Read back what the warehouse holds of one flow run; creates neither file nor table.

    Raises:
        BadTableName, WarehouseError: One sentence.
    """
    name = TableName.parse(table_name)
    database = database_for(name, url)
    table = _table(name, database)
    nothing = Landed(str(name), str(database), 0, 0, 0, None, None)
    if not database.exists:
        return nothing
    with database.reading() as connection:
        if not inspect(connection).has_table(table.name, schema=table.schema):
            return nothing
        row = connection.execute(
            select(
                func.count(),
                func.count(table.c.record_id.distinct()),
                func.count(table.c.metric.distinct()),
                func.min(table.c.observed_at),
                func.max(table.c.observed_at),
            ).where(table.c.flow_run_id == flow_run_id)
        ).one()
    return Landed(str(name), str(database), row[0], row[1], row[2], _iso(row[3]), _iso(row[4]))


def _table(name: TableName, database: Database) -> Table:
    embedded = database.file is not None
    return Table(
        f"{name.schema}.{name.table}" if embedded else name.table,
        MetaData(),
        Column("flow_run_id", String(64), primary_key=True),
        Column("record_id", String(200), primary_key=True),
        Column("metric_date", Date, nullable=False),
        Column("observed_at", DateTime(timezone=True), nullable=False),  # UTC; SQLite keeps no zone
        Column("host", String(200), nullable=False),
        Column("metric", String(200), nullable=False),
        Column("value", Double, nullable=False),
        Column("unit", String(50), nullable=False),
        Column("day_readings", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
        Column("day_mean", Double, nullable=False),
        Column("day_min", Double, nullable=False),
        Column("day_max", Double, nullable=False),
        Column("deviation", Double, nullable=False),
        Column("loaded_at", DateTime(timezone=True), nullable=False),
        schema=None if embedded else name.schema,
    )


def _ensure(database: Database, table: Table) -> None:
    """Create schema and table only where they are missing: a user without that right can still load."""
    if database.exists:
        with database.reading() as connection:
            if inspect(connection).has_table(table.name, schema=table.schema):
                return
    with database.writing() as connection:
        # PostgreSQL's IF NOT EXISTS fails when two create the same thing at once.
        _one_at_a_time(connection, "create schemas and tables")
        if table.schema and not inspect(connection).has_schema(table.schema):
            connection.execute(CreateSchema(table.schema))
        table.create(connection, checkfirst=True)


def _one_at_a_time(connection: Connection, what: str) -> None:
    """Keep others from the same work until the transaction ends; SQLite admits one writer anyway."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def _iso(at: datetime | None) -> str | None:
    if at is None:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
