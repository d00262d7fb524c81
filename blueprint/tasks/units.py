"""The units of the tasks that need the installed environment, and how much time each may take."""

from __future__ import annotations

import functools
import math

from blueprint.config.settings import Settings
from blueprint.core.task import Evidence, Scope, Stage, TaskControl
from blueprint.execution.events import Unit
from blueprint.execution.executor import UnitFunction
from blueprint.prefect_adapter.client import import_prefect
from blueprint.tasks.context import Context
from blueprint.tasks.registry import Task, TaskFunction, registry, specs

_FURTHER_SECONDS = 20.0  # that another deployment may take beside the others, with its processes on the same machine


def unit_functions(ctx: Context) -> dict[Unit, UnitFunction]:
    """Return each unit of tasks 5 to 30 with its function: once for the platform, or for each deployment."""
    deployments = ctx.each()
    functions: dict[Unit, UnitFunction] = {}
    for number, task in registry().items():
        if task.spec.stage is not Stage.INSTALLED:
            continue
        if task.spec.scope is Scope.PLATFORM:
            functions[Unit(number)] = functools.partial(_call, task, task.function, ctx)
            continue
        if task.shared:
            functions[Unit(number)] = functools.partial(_call, task, task.shared, ctx)
        for label, deployment in deployments.items():
            functions[Unit(number, label)] = functools.partial(_call, task, task.function, deployment)
    return functions


def _call(task: Task, function: TaskFunction, ctx: Context, control: TaskControl) -> Evidence:
    if task.spec.uses_prefect:
        import_prefect()
    return function(ctx, control)


def extra_seconds(settings: Settings) -> dict[int, float]:
    """Return by how many seconds deadlines are raised: by long runs, by those that queue, by further deployments."""
    deployments = settings.each()
    longest = max(deployment.run_seconds for deployment in deployments)
    at_once = sum(spec.pool_runs for spec in specs())
    rounds = _rounds(at_once * len(deployments), settings.pool_concurrency_limit)
    rounds = max(rounds, *(_rounds(at_once, deployment.concurrency_limit) for deployment in deployments))
    extra = {
        spec.number: longest * (spec.local_runs + spec.pool_runs * rounds)
        for spec in specs()
        if spec.local_runs or spec.pool_runs
    }
    if len(deployments) > 1:
        more = _FURTHER_SECONDS * (len(deployments) - 1)
        of_deployments = [spec.number for spec in specs() if spec.scope is Scope.DEPLOYMENT]
        extra = {number: more + extra.get(number, 0.0) for number in of_deployments}
    return extra


def _rounds(runs: int, limit: int | None) -> int:
    return math.ceil(runs / min(runs, limit or runs))
