"""The tasks that need the installed environment: 5 to 30, each under its number."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

from blueprint.secrecy import hidden
from blueprint.settings import Settings
from blueprint.task import Evidence, Handle, TaskFailed, TaskSkipped
from blueprint.tasks import final, phase1_setup, phase2_deployment, phase3_monitoring
from blueprint.tasks.context import Context

__all__ = ["FUNCTIONS", "Context", "extra_seconds"]

_Function = Callable[[Context, Handle], Evidence]
_RUNS_AT_ONCE = 5  # of tasks 21, 23, 24 and the two of task 28
_WAITING = {9: 1, 22: 1, 23: 1, 24: 1, 28: 2}  # the tasks that wait for runs, and how many runs' time each is given


def _discreet(function: _Function) -> _Function:
    """The task, with no secret in anything that it returns, raises or tells."""

    @functools.wraps(function)
    def task(ctx: Context, handle: Handle) -> Evidence:
        def tell(text: str) -> None:
            handle.tell(hidden(text, ctx.secrets()))

        try:
            found = function(ctx, dataclasses.replace(handle, tell=tell))
        except TaskFailed as error:
            secrets = ctx.secrets()
            texts = {key: hidden(getattr(error, key), secrets) for key in ("where_to_look", "what_to_do", "facts")}
            raise TaskFailed(hidden(error.what, secrets), **texts) from error
        except TaskSkipped as error:
            raise TaskSkipped(hidden(str(error), ctx.secrets())) from None
        secrets = ctx.secrets()
        return dataclasses.replace(
            found,
            summary=hidden(found.summary, secrets),
            facts=hidden(found.facts, secrets),
            why=hidden(found.why, secrets),
        )

    return task


def extra_seconds(settings: Settings) -> dict[int, float]:
    """By how much a flow that runs for long raises the deadlines; runs that have to queue wait for each other."""
    limits = [limit for limit in (settings.concurrency_limit, settings.pool_concurrency_limit) if limit]
    rounds = math.ceil(_RUNS_AT_ONCE / min([_RUNS_AT_ONCE, *limits]))
    return {
        number: settings.run_seconds * (times if number == 9 else times * rounds) for number, times in _WAITING.items()
    }


_TASKS: dict[int, _Function] = {
    5: phase1_setup.validate_installation,
    6: phase1_setup.configure_api_url,
    7: phase1_setup.verify_pipeline,
    8: phase1_setup.start_server,
    9: phase1_setup.test_local_execution,
    10: phase1_setup.verify_flow_run,
    11: phase2_deployment.create_pool,
    12: phase2_deployment.verify_pool,
    13: phase2_deployment.start_worker,
    14: phase2_deployment.verify_definition,
    15: phase2_deployment.deploy_flow,
    16: phase2_deployment.verify_registration,
    17: phase2_deployment.check_ui,
    18: phase2_deployment.verify_schedule,
    19: phase2_deployment.verify_polling,
    20: phase2_deployment.verify_phase2,
    21: phase3_monitoring.trigger_default,
    22: phase3_monitoring.verify_completed,
    23: phase3_monitoring.trigger_overrides,
    24: phase3_monitoring.trigger_json,
    25: phase3_monitoring.verify_runs,
    26: phase3_monitoring.check_logs,
    27: phase3_monitoring.verify_monitoring,
    28: phase3_monitoring.document_failures,
    29: phase3_monitoring.verify_schedule_after_runs,
    30: final.verify_all,
}

FUNCTIONS: dict[int, _Function] = {number: _discreet(function) for number, function in _TASKS.items()}
