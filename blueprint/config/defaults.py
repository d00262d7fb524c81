"""The values of the pipeline that ships: only the default of the table, as long as no entrypoint is configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MADE_BY = "Made by Blueprint."  # the description of each deployment that we make: others are never touched
_TAGS = {"extract-task": ("raw", "extract"), "transform-task": ("silver", "transform"), "load-task": ("gold", "load")}

BUNDLED_DEFAULTS: Mapping[str, Any] = {
    "entrypoint": "blueprint/pipeline/data_pipeline.py:enterprise_data_pipeline",
    "deployment": "production-etl",
    "parameters": {"batch_size": 500},
    "cron": "0 9 * * *",
    "timezone": "America/Chicago",
    "tags": ("blueprint",),
    "data_source": "bundled",
    "check": "blueprint.pipeline.checks:rows_landed",
    "tasks": {
        name: {
            "tags": (f"layer:{layer}", f"op:{operation}"),
            "retries": 3 if operation == "extract" else 0,
            "retry_delay_seconds": 2 if operation == "extract" else 0,
        }
        for name, (layer, operation) in _TAGS.items()
    },
    "acceptance": {
        "overrides": {"batch_size": 50},
        "json_parameters": {"batch_size": 200, "target_table": "warehouse.test.metrics"},
        "retried": {"source_url": "{source_url}?fail_first=2&fail_key={key}"},
        "failing": {"source_url": "invalid://url"},
        "failing_policy": {"retries": 3, "retry_delay_seconds": 2},
        "refused": ({"batch_size": -1}, {"batch_size": "invalid"}),
    },
}
