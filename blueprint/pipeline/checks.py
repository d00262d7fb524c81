"""Proof that a flow run had its effect: its rows, counted in the warehouse itself.

Imports no Prefect: it is called by programs that watch the run from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from blueprint.pipeline.config import DEFAULT_BATCH_SIZE, DEFAULT_TARGET_TABLE
from blueprint.pipeline.errors import RowsMissing
from blueprint.pipeline.warehouse import landed


def rows_landed(flow_run_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check that the warehouse holds exactly the rows that this run was to land; return `warehouse.Landed` as JSON.

    Parameters that the run left to their defaults may be missing.

    Raises:
        RowsMissing: There are fewer or more rows than `batch_size`, or a record is there twice.
        BadTableName, WarehouseError: The table cannot be read.
    """
    expected = int(parameters.get("batch_size", DEFAULT_BATCH_SIZE))
    found = landed(str(parameters.get("target_table", DEFAULT_TARGET_TABLE)), str(flow_run_id))
    where = f"the table {found.table} ({found.database})"
    if found.rows != expected:
        raise RowsMissing(f"Flow run {flow_run_id} was to land {expected} rows, but {where} has {found.rows} of it.")
    if found.records != found.rows:
        raise RowsMissing(f"Flow run {flow_run_id} has {found.rows} rows but {found.records} records in {where}.")
    return asdict(found)
