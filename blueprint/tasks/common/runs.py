"""Reads back the flow runs of this execution: waits for their end, and proves what they did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.core.waiting import wait_until
from blueprint.platform import specs
from blueprint.prefect_adapter import flow_runs
from blueprint.prefect_adapter.models import Run
from blueprint.tasks.common import orphans
from blueprint.tasks.context import Context

_SETTLING_SECONDS = 15.0


def parameters_by_case(ctx: Context) -> dict[int, Mapping[str, Any]]:
    """Return the parameters of each configured case that tasks 21 to 26 share, by the number of its task."""
    acceptance = ctx.settings.acceptance
    cases: dict[int, Mapping[str, Any] | None] = {21: {}, 23: acceptance.overrides, 24: acceptance.json_parameters}
    return {case: parameters for case, parameters in cases.items() if parameters is not None}


def latest_run(ctx: Context, case: int) -> Run:
    """Return the case's last completed run of this execution, or its last run."""
    found = ctx.runs_of(case)
    if not found:
        raise TaskFailed(
            f"The server knows no flow run of task {case} of this execution.",
            where_to_look=f"{ctx.settings.server_url}/runs",
            hint=f"Run `python run_blueprint.py --resume-from {case}`.",
        )
    completed = [run for run in found if run.type == "COMPLETED"]
    return (completed or found)[-1]


def require_run(run_id: str) -> Run:
    """Read a run that must be there."""
    found = flow_runs.run(run_id)
    if found is None:
        raise TaskFailed(
            f"The server no longer knows the flow run {run_id}.",
            hint="It was deleted; run `python run_blueprint.py --phase 3` for new runs.",
        )
    return found


def require_parameters(ctx: Context, run: Run, parameters: Mapping[str, Any]) -> None:
    """Require that a run has the deployment's parameters with these in place of some."""
    expected = {**ctx.settings.parameters, **parameters}
    if dict(run.parameters) != expected:
        raise TaskFailed(
            f"Flow run {run.name} has parameters {dict(run.parameters)}, expected {expected}.",
            where_to_look=ctx.run_page(run),
        )


def wait_for_end(ctx: Context, run: Run, control: TaskControl) -> Run:
    """Wait until a run is final, well or not; one that loses its process becomes Crashed."""
    watch = orphans.Watch(ctx, control)

    def ended() -> Run:
        now = require_run(run.id)
        if not now.is_final:
            if watch.sees_lost(now):
                orphans.crash([now])
            raise NotReady(f"flow run {now.name} is {now.state}{_idle(ctx, now)}")
        return now

    return wait_until(control, ended, first=0.1, most=0.5)


def _idle(ctx: Context, run: Run) -> str:
    """Return why nobody takes a run that is due, to be said beside its state."""
    service = specs.RUNNER if ctx.settings.serves else specs.WORKER
    state = ctx.services.state(service)
    if state == "frozen":
        return f", and the {service} is frozen"
    if state == "running" or run.type != "SCHEDULED":
        return ""
    raise TaskFailed(
        f"The {service} that should execute flow run {run.name} is not running: {state}.",
        where_to_look="logs/worker.log",
        hint="Run `python run_blueprint.py --resume-from 13` to start it again.",
    )


def prove_completed(ctx: Context, run: Run, control: TaskControl) -> dict[str, Any]:
    """Read an ended run back: Completed, with task runs, and its effect there.

    Returns:
        The facts: id, name, states with times, task runs, and what the configured check found.
    """
    if run.type != "COMPLETED":
        raise TaskFailed(
            f"Flow run {run.name} ended {run.state}, not Completed: {run.message or 'no message'}",
            where_to_look=f"{ctx.run_page(run)} and logs/worker.log",
            hint="Mend what the run's logs say, then run `python run_blueprint.py --resume`.",
            details={"flow_run_id": run.id, "parameters": dict(run.parameters)},
        )
    task_runs = _settled_task_runs(ctx, run, control)
    expected = len(ctx.settings.tasks)
    # A flow that we know nothing of may live with a failed task and say so: it is the flow run that must be Completed.
    unfinished = [task.name for task in task_runs if task.type != "COMPLETED" and (expected or not task.is_final)]
    if unfinished or len(task_runs) < expected:
        raise TaskFailed(
            f"Flow run {run.name} has {len(task_runs)} task runs, {len(unfinished)} of them not Completed; "
            f"expected {expected or 'all'} Completed.",
            where_to_look=ctx.run_page(run),
        )
    return {
        "flow_run_id": run.id,
        "name": run.name,
        "parameters": dict(run.parameters),
        "states": [{"state": state.name, "at": state.at.isoformat()} for state in flow_runs.transitions(run.id)],
        "task_runs": [{"name": task.name, "state": task.state} for task in task_runs],
        "effect": dict(ctx.effect(run, control)),
    }


def _settled_task_runs(ctx: Context, run: Run, control: TaskControl) -> list[Run]:
    """Return the task runs once all have ended for the server, or nothing more is heard of them.

    They reach the server as events, some after the flow run's end. How many a flow makes is known to nobody before if
    the settings do not say; but each of them logs how it ended.
    """
    expected = len(ctx.settings.tasks)
    news: tuple[int, int] = (-1, -1)
    since = control.clock()

    def settled() -> list[Run]:
        nonlocal news, since
        seen = flow_runs.task_runs(run.id)
        moving = sum(not task.is_final for task in seen)
        if news != (len(seen), moving):
            news, since = (len(seen), moving), control.clock()
        lacking = f"{moving} of {len(seen)} task runs of {run.name} have not ended for the server yet"
        if not moving and len(seen) >= expected:
            lacking = "" if expected else _lacking_task_runs(run, seen)
        if lacking and control.clock() - since < _SETTLING_SECONDS:
            raise NotReady(lacking)
        return seen

    return wait_until(control, settled, first=0.2, most=1.0)


def _lacking_task_runs(run: Run, seen: list[Run]) -> str:
    """Say what is missing by the run's log, which ends with the flow run's last line; "" if nothing is."""
    lines = flow_runs.log_lines(run.id)
    if not any(line.task_run_id is None and line.message.startswith("Finished in state") for line in lines):
        return f"the last log line of {run.name} has not arrived yet"
    missing = {str(line.task_run_id) for line in lines if line.task_run_id} - {task.id for task in seen}
    return f"the server has not heard of {len(missing)} task runs of {run.name} yet" if missing else ""


def task_runs_summary(details: Mapping[str, Any]) -> str:
    """Return how many task runs there were, and those that did not complete."""
    states = [task["state"] for task in details["task_runs"] if task["state"] not in ("Completed", "Cached")]
    others = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{len(details['task_runs'])} task runs{f' ({others})' if others else ''}"


def effect_summary(details: Mapping[str, Any]) -> str:
    """Return the check's finding in a few words for a summary line."""
    effect = details["effect"]
    if "rows" in effect:
        return f"{effect['rows']} rows in {effect.get('table', 'the warehouse')}"
    return ", ".join(f"{key} {value}" for key, value in effect.items()) or "no check configured"
