"""The bundled pipeline: fetch readings over HTTP, compute daily metrics, load them exactly once.

As a script, with this project's Python:  PIPELINE_SOURCE_URL=… python blueprint/pipeline/data_pipeline.py
As a deployment, by its entrypoint:       blueprint/pipeline/data_pipeline.py:enterprise_data_pipeline

No `from __future__ import annotations` here: Prefect reads the parameters' bounds from the annotations.
"""
# ruff: noqa: E402  (the imports below must wait until the package can be found)

import sys
from pathlib import Path

_PROJECT = str(Path(__file__).resolve().parents[2])

if __name__ == "__main__":
    sys.path[0] = _PROJECT  # the script's own folder shadows no names
elif _PROJECT not in sys.path:
    sys.path.insert(0, _PROJECT)  # loaded by entrypoint, from wherever

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from blueprint.pipeline import source
from blueprint.pipeline.config import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_TARGET_TABLE,
    DEFAULT_TIMEOUT_SECONDS,
    BatchSize,
    ExtractConfig,
    TargetTable,
    TimeoutSeconds,
    chosen_source_url,
)
from blueprint.pipeline.metrics import DailyMetrics, daily_metrics


@task(
    name="extract-task",
    retries=3,
    retry_delay_seconds=2,
    tags={"layer:raw", "op:extract"},
    cache_policy=NO_CACHE,
    persist_result=False,
)
def extract_task(config: ExtractConfig) -> source.Readings:
    """Fetch a batch of records; see `source.fetch` for what it refuses."""
    logger = get_run_logger()
    logger.info("Extracting %d records from %s", config.batch_size, config.shown_url)
    readings = source.fetch(config)
    if readings.exhausted:
        logger.warning("The source has no more than %d of the %d records", len(readings.items), config.batch_size)
    logger.info("Extracted %d records in %d pages", len(readings.items), readings.pages)
    return readings


@task(name="transform-task", tags={"layer:silver", "op:transform"}, cache_policy=NO_CACHE, persist_result=False)
def transform_task(readings: source.Readings) -> DailyMetrics:
    """Compute the daily metrics; `metrics` defines them."""
    logger = get_run_logger()
    metrics = daily_metrics(readings.items)
    logger.info("Transformed into %d rows of %d daily metrics", metrics.row_count, metrics.group_count)
    return metrics


@task(name="load-task", tags={"layer:gold", "op:load"}, cache_policy=NO_CACHE, persist_result=False)
def load_task(metrics: DailyMetrics, target_table: str, flow_run_id: str) -> int:
    """Load the rows exactly once and return their number; see `warehouse.load`."""
    # Only a load pays for SQLAlchemy; who deploys or inspects this flow does not.
    from blueprint.pipeline import warehouse

    logger = get_run_logger()
    logger.info("Loading %d rows into %s", metrics.row_count, target_table)
    loaded = warehouse.load(target_table, flow_run_id, metrics.rows())
    if loaded.replaced:
        logger.warning("Replaced %d rows that an earlier attempt of this run had landed", loaded.replaced)
    logger.info("Loaded %d rows into %s", loaded.rows, target_table)
    return loaded.rows


@flow(name="Enterprise Data Pipeline", persist_result=False)
def enterprise_data_pipeline(
    source_url: str | None = None,
    batch_size: BatchSize = DEFAULT_BATCH_SIZE,
    timeout_seconds: TimeoutSeconds = DEFAULT_TIMEOUT_SECONDS,
    target_table: TargetTable = DEFAULT_TARGET_TABLE,
) -> int:
    """Fetch records from a JSON API, compute daily metrics, load them into the warehouse and return their number.

    Args:
        source_url: The JSON API; by default that of the environment variable PIPELINE_SOURCE_URL.
        batch_size: Number of records to fetch, at least 1.
        timeout_seconds: Seconds that one attempt to fetch them may take, all pages included.
        target_table: The table that the rows are loaded into, as database.schema.table.
    """
    config = ExtractConfig(
        source_url=chosen_source_url(source_url), batch_size=batch_size, timeout_seconds=timeout_seconds
    )
    metrics = transform_task(extract_task(config))
    return load_task(metrics, target_table, str(flow_run.id))


if __name__ == "__main__":
    enterprise_data_pipeline()
