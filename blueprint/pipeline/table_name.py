"""Names of warehouse tables: `database.schema.table`, validated so strictly that they cannot carry SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass

from blueprint.pipeline.errors import PipelineError

MAX_PART = 63  # PostgreSQL cuts longer identifiers off without an error: NAMEDATALEN - 1
_PART = f"[a-z_][a-z0-9_]{{0,{MAX_PART - 1}}}"
PATTERN = rf"^{_PART}\.{_PART}\.{_PART}$"
_RESERVED = ("pg_", "sqlite_", "information_schema")


class BadTableName(PipelineError, ValueError):
    """The name is not of the form `database.schema.table`."""


@dataclass(frozen=True)
class TableName:
    """A validated name; its parts are safe as identifiers in PostgreSQL and SQLite, and `database` as a file name."""

    database: str
    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read `database.schema.table`.

        Lower case only: PostgreSQL tells `Metrics` from `metrics`, SQLite and some file systems do not.

        Raises:
            BadTableName: Anything else, with what is accepted.
        """
        shown = repr(text if len(text) <= 100 else text[:100] + "…")
        if not re.fullmatch(PATTERN.strip("^$"), text):
            raise BadTableName(
                f"{shown} is not a table name: expected database.schema.table, each part of 1 to {MAX_PART} "
                "lower-case letters, digits and underscores, not starting with a digit."
            )
        name = cls(*text.split("."))
        for part in (name.schema, name.table):
            if part.startswith(_RESERVED):
                raise BadTableName(f"{shown} is not a table name: the database keeps {part!r} for itself.")
        return name

    def __str__(self) -> str:
        return f"{self.database}.{self.schema}.{self.table}"
