"""The registry of the 30 tasks, and the names that a task file needs.

Each task file registers its row, its action and its proof by the `task` decorator. All of them can be imported with
nothing installed: a task file imports only `core` and this module, and everything else inside its functions.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import blueprint.tasks
from blueprint.core.task import Evidence, Scope, Stage, TaskControl, TaskFailed, TaskSkipped, TaskSpec
from blueprint.tasks.context import Context, SetupContext

__all__ = ["Context", "Evidence", "Scope", "SetupContext", "Stage", "TaskControl", "TaskFailed", "TaskSkipped"]
__all__ += ["Task", "TaskFunction", "registry", "specs", "task"]

TaskFunction = Callable[[Any, TaskControl], Evidence]  # of `SetupContext` before the environment is complete

_TASK_FILE = re.compile(r"t\d\d_\w+")
_registered: dict[int, Task] = {}


@dataclass(frozen=True)
class Task:
    """A task's row and what carries it out.

    Attributes:
        function: Acts where it must and proves; called once, or once for each deployment.
        shared: The part of a deployment's task that is proven once for all deployments, before the others.
    """

    spec: TaskSpec
    function: TaskFunction
    shared: TaskFunction | None = None


def task(
    number: int, title: str, *, shared: TaskFunction | None = None, **row: Any
) -> Callable[[TaskFunction], TaskFunction]:
    """Register the decorated function as a task; `row` has the other fields of `TaskSpec`, but for the phase."""

    def register(function: TaskFunction) -> TaskFunction:
        phase = (number + 9) // 10
        _registered[number] = Task(TaskSpec(number, title, phase, **row), function, shared)
        return function

    return register


@functools.cache
def registry() -> Mapping[int, Task]:
    """Import every task file and return the tasks by their numbers, in order."""
    for module in pkgutil.iter_modules(blueprint.tasks.__path__):
        if _TASK_FILE.fullmatch(module.name):
            importlib.import_module(f"blueprint.tasks.{module.name}")
    return dict(sorted(_registered.items()))


@functools.cache
def specs() -> tuple[TaskSpec, ...]:
    """Return the rows of all tasks, by number."""
    return tuple(task.spec for task in registry().values())
