"""The cases of task 28: failures that are made to happen at the source, and the proof of each."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from blueprint.config.deployment_settings import RetryPolicy
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.prefect_adapter import flow_runs
from blueprint.prefect_adapter.client import Refused
from blueprint.prefect_adapter.models import Run, Transition
from blueprint.reports.failure_document import Case, Moment
from blueprint.tasks.common.triggering import Triggered, effect_summary, prove_completed, trigger, wait_for_end
from blueprint.tasks.context import Context

RETRIED, FAILING, REFUSED = "28-retried", "28-failing", "28-refused"
# Prefect dates the state AwaitingRetry after the moment from which it counts the delay; on a busy machine a tenth of a
# second was seen to pass between the two.
_DATED_LATE_SECONDS = 0.25


def retried_case(ctx: Context) -> Mapping[str, Any] | None:
    """Return the parameters of the retried case; None if it is not configured or cannot be made to happen."""
    parameters = ctx.settings.acceptance.retried
    names_source = "{source_url}" in str(parameters)
    return parameters if ctx.settings.data_source == "bundled" or not names_source else None


def trigger_failure(
    ctx: Context, control: TaskControl, case: str, parameters: Mapping[str, Any], *, lost: tuple[str, ...]
) -> Triggered:
    """Trigger a case with its places filled: the source's address, and a key that no other run has.

    Raises:
        TaskFailed: The server refused its parameters.
    """
    places = {"{source_url}": ctx.settings.source_url or "", "{key}": secrets.token_hex(8)}
    filled = fill(parameters, places)
    try:
        return trigger(ctx, control, case, filled, lost=lost)
    except Refused as error:
        raise TaskFailed(
            f"The server refused the case {case}, whose run was to start: {error}",
            where_to_look="pyproject.toml [tool.blueprint.acceptance]",
        ) from error


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


def _retries(run: Run) -> list[list[Transition]]:
    """For the flow run and each task run that was retried: its states, in order."""
    histories = [flow_runs.transitions(run.id)]
    histories += [flow_runs.task_run_transitions(task_run.id) for task_run in flow_runs.task_runs(run.id)]
    return [states for states in histories if _waits(states)]


def _waits(states: list[Transition]) -> list[int]:
    """Return where in the history a retry was decided: at AwaitingRetry, or at Retrying without a delay."""
    return [
        index
        for index, state in enumerate(states)
        if state.name == "AwaitingRetry" or (state.name == "Retrying" and states[index - 1].type == "RUNNING")
    ]


def _require_policy(run: Run, policy: RetryPolicy | None, exactly: bool) -> list[Transition]:
    """Return the history that shows as many retries as the policy says, and as far apart.

    Raises:
        TaskFailed: It shows others.
    """
    histories = _retries(run)
    history = max(histories, key=len) if histories else []
    waits = _waits(history)
    expected = policy.retries if policy else 1
    if len(waits) != expected if exactly and policy else not waits:
        raise TaskFailed(
            f"Flow run {run.name} was retried {len(waits)} times, expected {expected if exactly else 'at least once'}.",
            where_to_look="the retry policy of the flow's tasks",
            hint="Set retries and retry_delay_seconds there, or acceptance.failing_policy in [tool.blueprint].",
        )
    for index in waits:
        delay = retry_delay(history, index)
        longest = delay + _DATED_LATE_SECONDS if delay else 0.0
        if policy and longest < policy.retry_delay_seconds:
            raise TaskFailed(
                f"Flow run {run.name} was retried after {delay:.1f} s, expected {policy.retry_delay_seconds:g} s.",
                where_to_look="the retry policy of the flow's tasks",
            )
    return history


def retry_delay(history: list[Transition], index: int) -> float:
    """Return for how many seconds the retry decided at this state was put off.

    0 if it did not wait for them.
    """
    waiting = history[index]
    following = history[index + 1] if index + 1 < len(history) else None
    if waiting.scheduled is None or following is None or following.at < waiting.scheduled:
        return 0.0
    return (waiting.scheduled - waiting.at).total_seconds()


def _moments(history: list[Transition], run: Run) -> list[Moment]:
    flow = [Moment(state.at, f"flow run {state.name}", state.message) for state in flow_runs.transitions(run.id)]
    return sorted(flow + [Moment(state.at, f"task run {state.name}", state.message) for state in history])


def prove_retried(ctx: Context, run: Run, control: TaskControl) -> tuple[Case, dict[str, Any]]:
    """Prove that a run was retried and then completed.

    Raises:
        TaskFailed: It did not, or its retries are not as the policy says.
    """
    run = wait_for_end(ctx, run, control)
    details = prove_completed(ctx, run, control)
    history = _require_policy(run, ctx.settings.acceptance.failing_policy, exactly=False)
    times = len(_waits(history))
    outcome = f"retried {times} times, then Completed; {effect_summary(details)}"
    case = Case(
        "A source that fails for a while", dict(run.parameters), outcome, f"(a) {outcome}", _moments(history, run)
    )
    return case, details | {"retries": times}


def prove_failing(ctx: Context, run: Run, control: TaskControl) -> tuple[Case, dict[str, Any]]:
    """Prove that a run was retried as the policy says and then failed.

    Raises:
        TaskFailed: It did not.
    """
    run = wait_for_end(ctx, run, control)
    if run.type != "FAILED":
        raise TaskFailed(
            f"Flow run {run.name} was meant to fail, and ended {run.state}.",
            where_to_look=f"{ctx.settings.server_url}/runs/flow-run/{run.id}",
            hint="Run `python run_blueprint.py --resume`."
            if run.type == "CRASHED"
            else "Give parameters that must fail as acceptance.failing in [tool.blueprint].",
        )
    policy = ctx.settings.acceptance.failing_policy
    if policy and policy.retries:
        history = _require_policy(run, policy, exactly=True)
    else:
        history = max(_retries(run), key=len, default=[])
    if policy and not policy.retries and history:
        raise TaskFailed(
            f"Flow run {run.name} was retried, expected no retries.", where_to_look="the flow's retry policy"
        )
    times = len(_waits(history))
    outcome = (
        f"{times} retries{f' {policy.retry_delay_seconds:g} s apart' if policy else ''}, then Failed: {run.message}"
    )
    short = f"(b) {times} retries, then Failed"
    case = Case("A source that never answers", dict(run.parameters), outcome, short, _moments(history, run))
    return case, {"flow_run_id": run.id, "name": run.name, "retries": times, "message": run.message}


def prove_refused(ctx: Context, parameters: Mapping[str, Any]) -> Case:
    """Have the server refuse parameters at the trigger, and prove that no run was made.

    Raises:
        TaskFailed: It accepted them, gave no reason, or made a run all the same.
    """
    tag = f"{ctx.tag(REFUSED)}:{secrets.token_hex(4)}"
    deployed = ctx.require_deployment()
    try:
        made = flow_runs.create_run(deployed.id, parameters, tags=[tag], idempotency_key=tag)
    except Refused as error:
        message = str(error)
    else:
        flow_runs.delete_run(made.id)
        raise TaskFailed(
            f"The server accepted {dict(parameters)}, which must be refused, and made the flow run {made.name} "
            "(it has been deleted).",
            where_to_look=ctx.settings.entrypoint,
            hint="Declare the bound on the flow's own parameter, as in Annotated[int, Field(ge=1)].",
        )
    if flow_runs.runs(tags=[tag]):
        raise TaskFailed(f"The server refused {dict(parameters)}, but made a flow run all the same.")
    if not message.strip():
        raise TaskFailed(f"The server refused {dict(parameters)} without saying why.")
    return Case(
        "Parameters that are not accepted",
        dict(parameters),
        f"refused: {message}",
        f"(c) {dict(parameters)} refused",
        [],
    )
