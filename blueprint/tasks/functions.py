"""The tasks that need the installed environment, 5 to 30, by their numbers: of the platform or of each deployment."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

from blueprint.config.redaction import redact
from blueprint.config.settings import Settings
from blueprint.core.errors import BlueprintError
from blueprint.core.task import Evidence, TaskControl, TaskFailed, TaskSkipped
from blueprint.prefect_adapter.client import import_prefect
from blueprint.tasks.context import Context
from blueprint.tasks.per_deployment import in_turn, side_by_side
from blueprint.tasks.registry import Scope, Stage, Task, registry, specs

__all__ = ["FUNCTIONS", "Context", "extra_seconds"]

_Function = Callable[[Context, TaskControl], Evidence]
_FURTHER_SECONDS = 20.0  # what another deployment may take beside the others, with its processes on the same machine
_IN_TURN = {7, 14, 15, 16, 17, 21}  # deployments would get into each other's way


def _discreet(function: _Function) -> _Function:
    """The task, with no secret in anything that it returns, raises or tells."""

    @functools.wraps(function)
    def task(ctx: Context, control: TaskControl) -> Evidence:
        def tell(text: str) -> None:
            control.tell(redact(text, ctx.secrets()))

        try:
            found = function(ctx, dataclasses.replace(control, tell=tell))
        except (TaskFailed, BlueprintError) as error:
            secrets = ctx.secrets()
            texts = {key: redact(getattr(error, key), secrets) for key in ("where_to_look", "hint", "details")}
            raise type(error)(redact(error.what, secrets), **texts) from error
        except TaskSkipped as error:
            raise TaskSkipped(redact(str(error), ctx.secrets())) from None
        secrets = ctx.secrets()
        return dataclasses.replace(
            found,
            summary=redact(found.summary, secrets),
            details=redact(found.details, secrets),
            reason=redact(found.reason, secrets),
        )

    return task


def _with_prefect(function: _Function) -> _Function:
    """The task, once Prefect is imported."""

    @functools.wraps(function)
    def task(ctx: Context, control: TaskControl) -> Evidence:
        import_prefect()
        return function(ctx, control)

    return task


def extra_seconds(settings: Settings) -> dict[int, float]:
    """By how much deadlines are raised: by flows that run for long or have to queue, and by further deployments."""
    each = settings.each()
    longest = max(one.run_seconds for one in each)
    at_once = sum(spec.pool_runs for spec in specs())
    rounds = _rounds(at_once * len(each), settings.pool_concurrency_limit)
    rounds = max(rounds, *(_rounds(at_once, one.concurrency_limit) for one in each))
    extra = {
        spec.number: longest * (spec.local_runs + spec.pool_runs * rounds)
        for spec in specs()
        if spec.local_runs or spec.pool_runs
    }
    if len(each) > 1:
        more = _FURTHER_SECONDS * (len(each) - 1)
        extra = {number: more + extra.get(number, 0.0) for number in OF_EACH}
    return extra


def _rounds(runs: int, limit: int | None) -> int:
    return math.ceil(runs / min(runs, limit or runs))


def _function(task: Task) -> _Function:
    function = task.function
    if task.spec.scope is Scope.DEPLOYMENT:
        over_each = in_turn if task.spec.number in _IN_TURN else side_by_side
        function = over_each(function, first=task.shared)
    return _discreet(_with_prefect(function) if task.spec.uses_prefect else function)


OF_EACH = {spec.number for spec in specs() if spec.scope is Scope.DEPLOYMENT}
FUNCTIONS: dict[int, _Function] = {
    number: _function(task) for number, task in registry().items() if task.spec.stage is Stage.INSTALLED
}
