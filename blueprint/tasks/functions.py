"""The tasks that need the installed environment, 5 to 30, by their numbers: of the platform or of each deployment."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

from blueprint.config.redaction import redact
from blueprint.config.settings import Settings
from blueprint.core.task import Evidence, TaskControl, TaskFailed, TaskSkipped
from blueprint.prefect_adapter.client import import_prefect
from blueprint.tasks import final, phase1_setup, phase2_deployment, phase3_monitoring, prefect_home
from blueprint.tasks.context import Context
from blueprint.tasks.per_deployment import in_turn, side_by_side

__all__ = ["FUNCTIONS", "Context", "extra_seconds"]

_Function = Callable[[Context, TaskControl], Evidence]
_FURTHER_SECONDS = 20.0  # what another deployment may take beside the others, with its processes on the same machine
_RUNS_AT_ONCE = 5  # of a deployment: those of tasks 21, 23, 24 and the two of task 28
_WITHOUT_PREFECT = {5, 6, 8}  # which prove it from outside, and need not wait until it is imported here
_WAITING = {9: 1, 22: 1, 23: 1, 24: 1, 28: 2}  # the tasks that wait for runs, and how many runs' time each is given


def _discreet(function: _Function) -> _Function:
    """The task, with no secret in anything that it returns, raises or tells."""

    @functools.wraps(function)
    def task(ctx: Context, control: TaskControl) -> Evidence:
        def tell(text: str) -> None:
            control.tell(redact(text, ctx.secrets()))

        try:
            found = function(ctx, dataclasses.replace(control, tell=tell))
        except TaskFailed as error:
            secrets = ctx.secrets()
            texts = {key: redact(getattr(error, key), secrets) for key in ("where_to_look", "hint", "details")}
            raise TaskFailed(redact(error.what, secrets), **texts) from error
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
    rounds = _rounds(_RUNS_AT_ONCE * len(each), settings.pool_concurrency_limit)
    rounds = max(rounds, *(_rounds(_RUNS_AT_ONCE, one.concurrency_limit) for one in each))
    extra = {number: longest * (times if number == 9 else times * rounds) for number, times in _WAITING.items()}
    if len(each) > 1:
        more = _FURTHER_SECONDS * (len(each) - 1)
        extra = {number: more + extra.get(number, 0.0) for number in OF_EACH}
    return extra


def _rounds(runs: int, limit: int | None) -> int:
    return math.ceil(runs / min(runs, limit or runs))


_OF_PLATFORM: dict[int, _Function] = {
    5: phase1_setup.validate_installation,
    6: prefect_home.configure_api_url,
    8: phase1_setup.start_server,
    11: phase2_deployment.create_pool,
    12: phase2_deployment.verify_pool,
    13: phase2_deployment.start_worker,
    19: phase2_deployment.verify_polling,
    27: phase3_monitoring.verify_monitoring,
}
OF_EACH: dict[int, _Function] = {
    7: in_turn(phase1_setup.verify_pipeline),
    9: side_by_side(phase1_setup.test_local_execution),
    10: side_by_side(phase1_setup.verify_flow_run),
    14: in_turn(phase2_deployment.verify_definition),
    15: in_turn(phase2_deployment.deploy_flow, first=phase2_deployment.serve_flows),
    16: in_turn(phase2_deployment.verify_registration),
    17: in_turn(phase2_deployment.check_listing, first=phase2_deployment.read_ui),
    18: side_by_side(phase2_deployment.verify_schedule),
    20: side_by_side(phase2_deployment.verify_deployment_ready, first=phase2_deployment.verify_platform_ready),
    21: in_turn(phase3_monitoring.trigger_default),
    22: side_by_side(phase3_monitoring.verify_completed),
    23: side_by_side(phase3_monitoring.trigger_overrides),
    24: side_by_side(phase3_monitoring.trigger_json),
    25: side_by_side(phase3_monitoring.verify_runs),
    26: side_by_side(phase3_monitoring.check_logs, first=phase3_monitoring.check_log_files),
    28: side_by_side(phase3_monitoring.document_failures),
    29: side_by_side(phase3_monitoring.verify_schedule_after_runs),
    30: side_by_side(final.verify_all, first=final.verify_platform),
}

FUNCTIONS: dict[int, _Function] = {
    number: _discreet(function if number in _WITHOUT_PREFECT else _with_prefect(function))
    for number, function in sorted((_OF_PLATFORM | OF_EACH).items())
}
