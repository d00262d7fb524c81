"""Phase 3, monitoring and triggering: tasks 21 to 29. Task 28's cases are in `blueprint.tasks.failures`, task 30 in
`blueprint.tasks.final`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from blueprint.core import http
from blueprint.core.http import NotReady
from blueprint.core.task import Evidence, TaskControl, TaskFailed, TaskSkipped
from blueprint.core.waiting import wait_until
from blueprint.platform import specs
from blueprint.prefect_adapter import flow_runs
from blueprint.prefect_adapter.client import Refused
from blueprint.prefect_adapter.models import Run
from blueprint.tasks import failures, run_logs
from blueprint.tasks.context import Context
from blueprint.tasks.schedules import require_active, upcoming
from blueprint.tasks.triggering import (
    Triggered,
    effect_summary,
    in_order,
    prove_completed,
    require_run,
    task_runs_summary,
    trigger,
    wait_for_end,
)


def trigger_default(ctx: Context, control: TaskControl) -> Evidence:
    """Task 21: a run is created by the deployment with its default parameters."""
    made = _trigger(ctx, control, 21, None)
    deployed = ctx.require_deployment()
    run = require_run(made.run.id)
    if run.deployment_id != deployed.id or dict(run.parameters) != dict(deployed.parameters):
        raise TaskFailed(
            f"Flow run {run.name} has parameters {dict(run.parameters)}, "
            f"the deployment's are {dict(deployed.parameters)}.",
            where_to_look=_page(ctx, run),
        )
    return Evidence(
        f"run {run.name} with {dict(run.parameters)}",
        {"flow_run_id": run.id, "name": run.name, "parameters": dict(run.parameters)},
        changed=made.created,
        reason=made.reason,
    )


def _trigger(ctx: Context, control: TaskControl, case: int, parameters: Mapping[str, Any] | None) -> Triggered:
    try:
        return trigger(ctx, control, case, parameters)
    except Refused as error:
        raise TaskFailed(
            f"The server refused the run's parameters: {error}",
            where_to_look="pyproject.toml [tool.blueprint]",
            hint="Correct the parameters there, then run `python run_blueprint.py --resume`.",
        ) from error


def _page(ctx: Context, run: Run) -> str:
    return f"{ctx.settings.server_url}/runs/flow-run/{run.id}"


def verify_completed(ctx: Context, control: TaskControl) -> Evidence:
    """Task 22: states in order Scheduled → Pending → Running → Completed, its task runs, its effect."""
    run = wait_for_end(ctx, _latest(ctx, 21), control)
    details = prove_completed(ctx, run, control)
    states = flow_runs.transitions(run.id)
    if not in_order(states):
        raise TaskFailed(
            f"Flow run {run.name} went {' → '.join(state.name for state in states)}, "
            "not Scheduled → Pending → Running → Completed.",
            where_to_look=_page(ctx, run),
        )
    seen = " → ".join(dict.fromkeys(state.name for state in states))
    return Evidence(f"{seen}; {task_runs_summary(details)}; {effect_summary(details)}", details)


def _latest(ctx: Context, case: int) -> Run:
    found = ctx.runs_of(case)
    if not found:
        raise TaskFailed(
            f"The server knows no flow run of task {case} of this execution.",
            where_to_look=f"{ctx.settings.server_url}/runs",
            hint=f"Run `python run_blueprint.py --resume-from {case}`.",
        )
    completed = [run for run in found if run.type == "COMPLETED"]
    return (completed or found)[-1]


def trigger_overrides(ctx: Context, control: TaskControl) -> Evidence:
    """Task 23: a run with parameter overrides completes, and its effect is there."""
    if ctx.settings.acceptance.overrides is None:
        raise TaskSkipped("no acceptance case `overrides` is configured")
    return _run_case(ctx, control, 23, ctx.settings.acceptance.overrides)


def trigger_json(ctx: Context, control: TaskControl) -> Evidence:
    """Task 24: a run with parameters given as JSON text completes, and its effect is where they say."""
    if ctx.settings.acceptance.json_parameters is None:
        raise TaskSkipped("no acceptance case `json_parameters` is configured")
    text = json.dumps(ctx.settings.acceptance.json_parameters)
    return _run_case(ctx, control, 24, json.loads(text))


def _run_case(ctx: Context, control: TaskControl, case: int, parameters: Mapping[str, Any]) -> Evidence:
    made = _trigger(ctx, control, case, parameters)
    run = wait_for_end(ctx, made.run, control)
    details = prove_completed(ctx, run, control)
    _require_parameters(ctx, run, parameters)
    return Evidence(
        f"run {run.name} with {dict(parameters)}: Completed, {effect_summary(details)}",
        details,
        changed=made.created,
        reason=made.reason,
    )


def _require_parameters(ctx: Context, run: Run, parameters: Mapping[str, Any]) -> None:
    expected = {**ctx.settings.parameters, **parameters}
    if dict(run.parameters) != expected:
        raise TaskFailed(
            f"Flow run {run.name} has parameters {dict(run.parameters)}, expected {expected}.",
            where_to_look=_page(ctx, run),
        )


def verify_runs(ctx: Context, control: TaskControl) -> Evidence:
    """Task 25: every run of this execution by its id, with its own parameters and its own effect."""
    details = {}
    for case, parameters in _cases(ctx).items():
        run = require_run(_latest(ctx, case).id)
        _require_parameters(ctx, run, parameters)
        details[str(case)] = prove_completed(ctx, run, control)
    ids = {one["flow_run_id"] for one in details.values()}
    if len(ids) != len(details):
        raise TaskFailed("Two cases of this execution share one flow run.", details=details)
    told = ", ".join(f"task {case}: {effect_summary(one)}" for case, one in details.items())
    return Evidence(f"{len(details)} runs, each its own; {told}", details)


def _cases(ctx: Context) -> dict[int, Mapping[str, Any]]:
    acceptance = ctx.settings.acceptance
    cases: dict[int, Mapping[str, Any] | None] = {21: {}, 23: acceptance.overrides, 24: acceptance.json_parameters}
    return {case: parameters for case, parameters in cases.items() if parameters is not None}


def check_log_files(ctx: Context, control: TaskControl) -> Evidence:
    """Task 26, once: server and worker logs are there."""
    logs = ctx.workspace.logs
    for name in ("server.log", "worker.log"):
        if not (logs / name).is_file() or (logs / name).stat().st_size == 0:
            raise TaskFailed(f"logs/{name} is missing or empty.", where_to_look=str(logs))
    return Evidence("server.log and worker.log are there")


def check_logs(ctx: Context, control: TaskControl) -> Evidence:
    """Task 26: the API holds the lines that each run wrote to the worker's output."""
    log = ctx.workspace.logs / "worker.log"
    runs = [_latest(ctx, case) for case in _cases(ctx)]
    tasks = run_logs.own_task_names(runs, flow_runs.runs(tags=[ctx.execution_mark]))
    details = {}
    for run in runs:
        written = run_logs.written(log, run.name, tasks[run.id])
        if not written:
            raise TaskFailed(
                f"The worker's log has no line of the flow run {run.name}.", where_to_look="logs/worker.log"
            )

        def held(run: Run = run, written: list[str] = written) -> int:
            messages = flow_runs.logs(run.id)
            first_lines = {message.split("\n", 1)[0].rstrip() for message in messages}
            lost = [line for line in written if line not in first_lines]
            if lost:
                raise NotReady(f"the API lacks {len(lost)} of {len(written)} lines of {run.name}, such as {lost[0]!r}")
            return len(messages)

        details[run.name] = {"flow_run_id": run.id, "written": len(written), "held": wait_until(control, held)}
    told = ", ".join(f"{name} {one['held']}" for name, one in details.items())
    return Evidence(f"the API holds every line the runs wrote: {told}", details)


def verify_monitoring(ctx: Context, control: TaskControl) -> Evidence:
    """Task 27: health, ready, version, UI, API docs, server metrics, worker health."""
    settings = ctx.settings
    points = {
        "health": (f"{settings.api_url}/health", b""),
        "ready": (f"{settings.api_url}/ready", b"OK"),
        "version": (f"{settings.api_url}/admin/version", b'"'),
        "UI": (f"{settings.server_url}/ui-settings", settings.api_url.encode()),
        "API docs": (f"{settings.server_url}/docs", b"openapi"),
        "server metrics": (f"{settings.api_url}/metrics", b"# HELP"),
        "worker health": (f"{settings.worker_url}/health", b""),
    }
    details = {}
    for name, (url, expected) in points.items():
        try:
            answer = http.get(url, timeout=specs.PROBE_SECONDS, auth=specs.authorization(settings))
        except NotReady as error:
            raise TaskFailed(f"{name}: {error}.", where_to_look=url) from None
        if answer.status != 200 or expected not in answer.body:
            raise TaskFailed(f"{name}: {url} answers {answer.status}, not as expected.", where_to_look=url)
        details[name] = url
    return Evidence(f"{', '.join(details)} answer", details)


def document_failures(ctx: Context, control: TaskControl) -> Evidence:
    """Task 28: retried then Completed; retried then Failed; refused without a run. Written beside the log."""
    return failures.document(ctx, control)


def verify_schedule_after_runs(ctx: Context, control: TaskControl) -> Evidence:
    """Task 29: the schedule is still active, and the server has made the coming runs."""
    found, definition = require_active(ctx)
    coming = wait_until(control, lambda: upcoming(ctx, found.id))
    return Evidence(
        f"active, {len(coming)} coming runs made, next {coming[0]}",
        {"schedule": definition, "upcoming": coming[:5], "count": len(coming)},
    )
