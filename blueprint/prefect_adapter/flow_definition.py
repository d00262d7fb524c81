"""A flow as plain data: what its code says of it, without the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.config.deployment_settings import TaskExpectation
from blueprint.config.settings import Settings


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

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        tasks = {name: task.model_dump(mode="json") for name, task in self.tasks.items()}
        return {**vars(self), "file": str(self.file), "tasks": tasks}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FlowDefinition:
        """Build it from what `to_json` returned."""
        tasks = {name: TaskExpectation.model_validate(task) for name, task in values["tasks"].items()}
        return cls(**{**values, "file": Path(values["file"]), "tasks": tasks})


def folder_of(settings: Settings, root: Path) -> Path:
    """Return the folder that the flow's code is run from."""
    return (root / settings.source).resolve()
