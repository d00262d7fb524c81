"""The environment for commands that are no execution, such as `test` and `init`: tasks 1 to 4, without a journal."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence

from blueprint import bootstrap
from blueprint.config.redaction import REDACTOR, redact_command
from blueprint.core.task import Stage
from blueprint.core.workspace import Workspace
from blueprint.execution.events import Event, TaskFinished, Unit
from blueprint.execution.executor import Executor
from blueprint.execution.lock import ExecutionLock
from blueprint.execution.plan import Mode, Plan, PlannedTask
from blueprint.tasks.context import SetupContext
from blueprint.tasks.registry import registry


def take_lock(workspace: Workspace, argv: Sequence[str], handed: Mapping[str, str]) -> ExecutionLock:
    """Take the execution lock, or go on with the one that this process took before the change of Python.

    Args:
        workspace: Its state is prepared.
        argv: The words after the program's name.
        handed: The values of `bootstrap.handover`.

    Raises:
        EnvironmentRefused: Another execution is at work.
    """
    if "lock" in handed:
        return ExecutionLock.adopt(workspace, int(handed["lock"]))
    return ExecutionLock.acquire(workspace, redact_command(("run_blueprint.py", *argv)))


def set_up(ctx: SetupContext, argv: Sequence[str], lock: ExecutionLock) -> bool:
    """Have the environment complete, and this process run in it; it may start anew in it and never return.

    Args:
        ctx: The packages to install.
        argv: The words after the program's name, to start anew with.
        lock: Goes over to the process that starts anew.

    Returns:
        Whether it is so; if not, what failed has been told.

    Raises:
        BlueprintError: The environment refuses.
    """
    if not bootstrap.inside(ctx.workspace):
        if not _prove(ctx, Stage.SYSTEM):
            return False
        bootstrap.reexec(ctx.workspace, argv, {"lock": str(lock.fd)})
    return _prove(ctx, Stage.BARE)


def _prove(ctx: SetupContext, stage: Stage) -> bool:
    """Carry out the tasks of a stage one after the other, with a line for each; False if one fails."""
    tasks = [task for task in registry().values() if task.spec.stage is stage]
    plan = Plan(tuple(PlannedTask(task.spec, Mode.RUN, "it is part of the environment") for task in tasks))
    titles = {task.spec.number: task.spec.title for task in tasks}

    def show(event: Event) -> None:
        if not isinstance(event, TaskFinished):
            return
        outcome = event.outcome
        passed = outcome.status.passed
        text = f"{titles[event.task]}: {'' if passed else f'{outcome.status.value}: '}{outcome.summary}"
        more = [f"Look at {outcome.where_to_look}." if outcome.where_to_look else "", outcome.hint]
        for line in (text, " ".join(filter(None, more))):
            if line:
                print(REDACTOR(line), file=None if passed else sys.stderr, flush=True)

    executor = Executor(plan, show, tell=lambda _unit, _text: None, jobs=1)
    executor.run({Unit(task.spec.number): functools.partial(task.function, ctx) for task in tasks})
    return all(executor.statuses[task.spec.number].passed for task in tasks)
