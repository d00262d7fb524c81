"""What a flow is by its own code: its name, parameters, tasks and retries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.config.deployment_settings import RetryPolicy, TaskExpectation
from blueprint.config.settings import Settings
from blueprint.prefect_adapter import flow_loading


@dataclass(frozen=True)
class FlowDefinition:
    """A flow as its code defines it."""

    name: str
    function: str
    file: Path | None
    schema: Mapping[str, Any]
    tasks: Mapping[str, TaskExpectation]
    policy: RetryPolicy


def flow_definition(settings: Settings, root: Path) -> FlowDefinition:
    """Load the flow by its entrypoint and tell what it is.

    Raises:
        TaskFailed: It cannot be loaded, or is not a flow.
    """
    from prefect import Task

    flow = flow_loading.load(settings, root)
    tasks = [value for value in flow.fn.__globals__.values() if isinstance(value, Task)]
    return FlowDefinition(
        name=flow.name,
        function=getattr(flow.fn, "__qualname__", flow.fn.__name__),
        file=Path(flow.fn.__code__.co_filename),
        schema=flow.parameters.model_dump(mode="json"),
        tasks={
            task.name: TaskExpectation(
                retries=task.retries or 0,
                retry_delay_seconds=_delay(task.retry_delay_seconds),
                tags=frozenset(task.tags),
            )
            for task in tasks
        },
        policy=RetryPolicy(retries=flow.retries or 0, retry_delay_seconds=_delay(flow.retry_delay_seconds)),
    )


def _delay(value: Any) -> float:
    if isinstance(value, list):
        value = value[0] if value else 0
    return float(value or 0) if not callable(value) else 0


def loaded_schema(settings: Settings, root: Path) -> Mapping[str, Any]:
    """The parameter schema of the flow if it has been loaded; empty if not yet."""
    flow = flow_loading.loaded(settings, root)
    return flow.parameters.model_dump(mode="json") if flow else {}
