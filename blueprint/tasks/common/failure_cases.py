"""The cases of task 28: failures that are made to happen at the source, and the proof of each."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from blueprint.config.deployment_settings import RetryPolicy
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.prefect_adapter import flow_runs, schedules
from blueprint.prefect_adapter.client import Refused
from blueprint.prefect_adapter.models import Run, Transition
from blueprint.reports.failure_document import Case, Moment
from blueprint.tasks.common.runs import effect_summary, prove_completed, wait_for_end
from blueprint.tasks.context import Context

# Prefect dates the state AwaitingRetry after the moment from which it counts the delay; on a busy machine a tenth of a
# second was seen to pass between the two.
_DATED_LATE_SECONDS = 0.25


def retried_case(ctx: Context) -> Mapping[str, Any] | None:
    """Return the parameters of the retried case; None if it is not configured or cannot be made to happen."""
    parameters = ctx.settings.acceptance.retried
    names_source = "{source_url}" in str(parameters)
    return parameters if ctx.settings.data_source == "bundled" or not names_source else None


def fill(value: Any, places: Mapping[str, str]) -> Any:
    """Return JSON-like data with each place in its texts replaced, in nested lists and tables too."""
    if isinstance(value, str):
        for place, text in places.items():
            value = value.replace(place, text)
    elif isinstance(value, Mapping):
        return {name: fill(inner, places) for name, inner in value.items()}
    elif isinstance(value, list):
        return [fill(inner, places) for inner in value]
    return value


def _retry_history(run: Run, policy: RetryPolicy | None, *, exactly: bool) -> tuple[int, list[Moment]]:
    """Require the retries that the policy says, and as far apart.

    Args:
        run: A run that has ended.
        policy: The retries to expect; None if they are not known.
        exactly: Whether as many as the policy says, or at least one.

    Returns:
        The number of retries, and the states of the flow run and of the task run that was retried most.
    """
    flow = flow_runs.transitions(run.id)
    task_runs = [flow_runs.task_run_transitions(task_run.id) for task_run in flow_runs.task_runs(run.id)]
    history = max(filter(_waits, (flow, *task_runs)), key=len, default=[])
    waits = _waits(history)
    least = 0 if exactly else 1
    expected = policy.retries if exactly and policy else max(least, len(waits))
    if len(waits) != expected:
        raise TaskFailed(
            f"Flow run {run.name} was retried {len(waits)} times, expected {expected if exactly else 'at least once'}.",
            where_to_look="the retry policy of the flow's tasks",
            hint="Set retries and retry_delay_seconds there, or acceptance.failing_policy in [tool.blueprint].",
        )
    shortest = policy.retry_delay_seconds if policy else 0.0
    for index in waits:
        delay = retry_delay(history, index)
        if (delay + _DATED_LATE_SECONDS if delay else 0.0) < shortest:
            raise TaskFailed(
                f"Flow run {run.name} was retried after {delay:.1f} s, expected {shortest:g} s.",
                where_to_look="the retry policy of the flow's tasks",
            )
    moments = [Moment(state.at, f"flow run {state.name}", state.message) for state in flow]
    moments += [Moment(state.at, f"task run {state.name}", state.message) for state in history]
    return len(waits), sorted(moments)


def _waits(states: list[Transition]) -> list[int]:
    """Return where in the history a retry was decided: at AwaitingRetry, or at Retrying without a delay."""
    return [
        index
        for index, state in enumerate(states)
        if state.name == "AwaitingRetry" or (state.name == "Retrying" and states[index - 1].type == "RUNNING")
    ]


def retry_delay(history: list[Transition], index: int) -> float:
    """Return by how many seconds the retry decided at this state was put off; 0 if it did not wait."""
    waiting = history[index]
    following = history[index + 1] if index + 1 < len(history) else None
    if waiting.scheduled is None or following is None or following.at < waiting.scheduled:
        return 0.0
    return (waiting.scheduled - waiting.at).total_seconds()


def prove_retried(ctx: Context, run: Run, control: TaskControl) -> tuple[Case, dict[str, Any]]:
    """Prove that a run was retried and then completed."""
    run = wait_for_end(ctx, run, control)
    details = prove_completed(ctx, run, control)
    times, moments = _retry_history(run, ctx.settings.acceptance.failing_policy, exactly=False)
    outcome = f"retried {times} times, then Completed; {effect_summary(details)}"
    case = Case("A source that fails for a while", run.parameters, outcome, f"(a) {outcome}", moments)
    return case, details | {"retries": times}


def prove_failing(ctx: Context, run: Run, control: TaskControl) -> tuple[Case, dict[str, Any]]:
    """Prove that a run was retried as the policy says and then failed."""
    run = wait_for_end(ctx, run, control)
    if run.type != "FAILED":
        raise TaskFailed(
            f"Flow run {run.name} was meant to fail, and ended {run.state}.",
            where_to_look=ctx.run_page(run),
            hint="Run `python run_blueprint.py --resume`."
            if run.type == "CRASHED"
            else "Give parameters that must fail as acceptance.failing in [tool.blueprint].",
        )
    policy = ctx.settings.acceptance.failing_policy
    times, moments = _retry_history(run, policy, exactly=True)
    apart = f" {policy.retry_delay_seconds:g} s apart" if policy else ""
    outcome = f"{times} retries{apart}, then Failed: {run.message}"
    case = Case("A source that never answers", run.parameters, outcome, f"(b) {times} retries, then Failed", moments)
    return case, {"flow_run_id": run.id, "name": run.name, "retries": times, "message": run.message}


def prove_refused(ctx: Context, parameters: Mapping[str, Any]) -> Case:
    """Have the server refuse parameters at the trigger, and prove that no run was made."""
    tag = f"{ctx.tag('28-refused')}:{secrets.token_hex(4)}"
    deployed = ctx.require_deployment()
    shown = dict(parameters)
    try:
        made = flow_runs.create_run(deployed.id, parameters, tags=[tag], idempotency_key=tag)
    except Refused as error:
        message = str(error)
    else:
        schedules.delete_runs([made.id])
        raise TaskFailed(
            f"The server accepted {shown}, which must be refused, and made the flow run {made.name} "
            "(it has been deleted).",
            where_to_look=ctx.settings.entrypoint,
            hint="Declare the bound on the flow's own parameter, as in Annotated[int, Field(ge=1)].",
        )
    if flow_runs.runs(tags=[tag]):
        raise TaskFailed(f"The server refused {shown}, but made a flow run all the same.")
    if not message.strip():
        raise TaskFailed(f"The server refused {shown} without saying why.")
    return Case("Parameters that are not accepted", shown, f"refused: {message}", f"(c) {shown} refused")
