"""A flow as plain data: what its code says of it, and of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from blueprint.config.deployment_settings import TaskExpectation
from blueprint.config.settings import Settings
from blueprint.core.errors import FlowError

if TYPE_CHECKING:
    from prefect import Flow


@dataclass(frozen=True)
class FlowDefinition:
    """A flow as its code defines it.

    Attributes:
        name: The flow's name.
        function: The qualified name of its function.
        file: The file that defines the function.
        schema: The JSON schema of its parameters.
        tasks: Retries and tags of the tasks that the flow's module holds, by name.
    """

    name: str
    function: str
    file: Path
    schema: Mapping[str, Any]
    tasks: Mapping[str, TaskExpectation]


DEFINITION = TypeAdapter(FlowDefinition)  # for its way between two processes


def folder_of(settings: Settings, root: Path) -> Path:
    """Return the folder that the flow's code is run from."""
    return (root / settings.source).resolve()


def describe(flow: Flow[..., Any]) -> FlowDefinition:
    """Return the flow as plain data.

    Raises:
        FlowError: A name in it has a character that acts on terminals instead of being shown.
    """
    from prefect import Task

    tasks = [task for task in flow.fn.__globals__.values() if isinstance(task, Task)]
    _require_printable("flow", [flow.name])
    _require_printable("task", [task.name for task in tasks])
    _require_printable("tag", [tag for task in tasks for tag in sorted(task.tags)])
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
    )


def _require_printable(what: str, names: Iterable[str]) -> None:
    for name in names:
        if not name.isprintable():
            raise FlowError(
                f"The name of the {what} {name!r} has a character that cannot be printed.",
                "Give it a name of printable characters, then run again.",
            )


def _delay(value: Any) -> float:
    if isinstance(value, list):
        value = value[0] if value else 0
    return float(value or 0) if not callable(value) else 0


def parameter_problems(flow: Flow[..., Any], parameters: Mapping[str, Any]) -> list[str]:
    """Return what the flow's own validation has against these parameters; empty if they fit."""
    from prefect.exceptions import ParameterBindError, ParameterTypeError, SignatureMismatchError

    schema = flow.parameters.model_dump(mode="json")
    unknown = sorted(set(parameters) - set(schema.get("properties", {})))
    if unknown:
        return [f"{name}: the flow has no such parameter" for name in unknown]
    missing = sorted(set(schema.get("required", ())) - set(parameters))
    if missing:
        return [f"{name}: has no default and is not given" for name in missing]
    try:
        flow.validate_parameters(dict(parameters))
    except (ParameterTypeError, ParameterBindError, SignatureMismatchError, ValueError) as error:
        return [" ".join(str(error).split())]
    return []


def server_refuses(schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Tell whether the server, which knows a flow's schema only, would refuse the values of these parameters."""
    from prefect.utilities.schema_tools.validation import validate

    return bool(validate(dict(parameters), dict(schema), ignore_required=True))
