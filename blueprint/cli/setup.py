"""The environment for commands that are no execution, such as `test` and `init`: tasks 1 to 4, without a journal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from blueprint import bootstrap
from blueprint.config.redaction import REDACTOR, redact_command
from blueprint.core import venv
from blueprint.core.task import Stage
from blueprint.core.workspace import Workspace
from blueprint.execution.events import Event, TaskFinished, Unit
from blueprint.execution.executor import Executor, UnitFunction
from blueprint.execution.lock import ExecutionLock
from blueprint.execution.plan import Mode, Plan, PlannedTask
from blueprint.prefect_runtime.visible import visible
from blueprint.tasks.context import SetupContext
from blueprint.tasks.registry import registry, specs


def take_lock(workspace: Workspace, argv: Sequence[str]) -> ExecutionLock:
    """Take the execution lock of a prepared workspace, or go on with the one taken before the change of Python."""
    handed = bootstrap.handover() or {}
    if "lock" in handed:
        return ExecutionLock.adopt(workspace, int(handed["lock"]))
    return ExecutionLock.acquire(workspace, redact_command(("run_blueprint.py", *argv)))


def setup_functions(ctx: SetupContext, *stages: Stage) -> dict[Unit, UnitFunction]:
    """Return the units of stages, each with its function; those of installed packages are there to be blocked."""
    tasks = registry().values()
    return {Unit(task.spec.number): partial(task.function, ctx) for task in tasks if task.spec.stage in stages}


def set_up(ctx: SetupContext, argv: Sequence[str], lock: ExecutionLock) -> bool:
    """Have the environment complete, and this process run in it; it may start anew in it and never return.

    Returns:
        Whether it is so; if not, what failed has been told.
    """
    if not venv.inside(ctx.workspace.venv):
        if not _prove(ctx, Stage.SYSTEM):
            return False
        bootstrap.reexec(ctx.workspace, argv, {"lock": str(lock.fd)})
    return _prove(ctx, Stage.BARE)


def _prove(ctx: SetupContext, stage: Stage) -> bool:
    """Carry out the tasks of a stage one after the other, with a line for each; False if one fails."""
    rows = [spec for spec in specs() if spec.stage is stage]
    plan = Plan(tuple(PlannedTask(spec, Mode.RUN, "it is part of the environment") for spec in rows))

    def show(event: Event) -> None:
        if not isinstance(event, TaskFinished):
            return
        outcome = event.outcome
        passed = outcome.status.passed
        title = plan.by_number[event.task].spec.title
        text = f"{title}: {'' if passed else f'{outcome.status.value}: '}{outcome.summary}"
        more = [f"Look at {outcome.where_to_look}." if outcome.where_to_look else "", outcome.hint]
        for line in filter(None, (text, " ".join(filter(None, more)))):
            print(visible(REDACTOR(line)), file=None if passed else sys.stderr, flush=True)

    executor = Executor(plan, show, tell=lambda _unit, _text: None, jobs=1)
    return executor.run(setup_functions(ctx, stage))
