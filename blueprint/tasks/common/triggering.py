"""Triggering a deployment once per case and execution, waiting for the run, and proving what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.core.waiting import wait_until
from blueprint.platform import specs
from blueprint.prefect_adapter import flow_runs
from blueprint.prefect_adapter.models import Run, Transition
from blueprint.tasks.common import orphans
from blueprint.tasks.context import Context

_ENDED_BADLY = ("CRASHED", "CANCELLED", "CANCELLING")
ORDER = ("SCHEDULED", "PENDING", "RUNNING", "COMPLETED")
SETTLING_SECONDS = 15.0


@dataclass(frozen=True)
class Triggered:
    """A run of this execution, whether it was made just now, and why."""

    run: Run
    created: bool
    reason: str = ""


def trigger(
    ctx: Context,
    control: TaskControl,
    case: int | str,
    parameters: Mapping[str, Any] | None,
    *,
    lost: tuple[str, ...] = ("FAILED",),
) -> Triggered:
    """Have one flow run for a case of this execution: the one that is there, or a new one.

    The key makes it exactly one, also when the executor is killed between asking and hearing the answer. A run that
    ended otherwise than it should (the states `lost`, a crash, a cancellation) is not counted, and another is made;
    so is one whose process is gone.

    Raises:
        Refused: The server does not accept the parameters.
    """
    earlier = ctx.runs_of(case)
    there = run_there(ctx, earlier, control, lost=lost)
    if there is not None:
        return Triggered(there, created=False)
    tag = ctx.tag(case)
    deployed = ctx.require_deployment()
    made = flow_runs.create_run(deployed.id, parameters, tags=ctx.tags(case), idempotency_key=f"{tag}:{len(earlier)}")
    return Triggered(made, created=True, reason=why_another(earlier))


def run_there(
    ctx: Context, earlier: list[Run], control: TaskControl, *, lost: tuple[str, ...] = ("FAILED",)
) -> Run | None:
    """Return the latest of these runs that counts: that did not end otherwise than it should, nor lost its process."""
    for run in reversed(earlier):
        if run.type not in (*lost, *_ENDED_BADLY) and not orphans.crash_if_lost(ctx, run, control):
            return run
    return None


def why_another(earlier: list[Run]) -> str:
    """Return why another run is made beside these."""
    if not earlier:
        return "no such run of this execution yet"
    last = require_run(earlier[-1].id)
    return f"the run before, {last.name}, ended {last.state}: {last.message or 'no message'}"


def wait_for_end(ctx: Context, run: Run, control: TaskControl) -> Run:
    """Wait until a run is final, well or not; one that loses its process becomes Crashed.

    Raises:
        TaskFailed: It did not end within the task's deadline, or there is nobody to execute it.
    """
    watch = orphans.Watch(ctx, control)

    def ended() -> Run:
        now = require_run(run.id)
        if not now.is_final:
            if watch.sees_lost(now):
                orphans.crash(now)
            raise NotReady(f"flow run {now.name} is {now.state}{_idle(ctx, now)}")
        return now

    return wait_until(control, ended, first=0.1, most=0.5)


def _idle(ctx: Context, run: Run) -> str:
    """Return why nobody takes a run that is due, to be said beside its state."""
    service = specs.RUNNER if ctx.settings.serves else specs.WORKER
    state = ctx.services.state(service)
    if state in ("running", "frozen"):
        return "" if state == "running" else f", and the {service} is frozen"
    if run.type != "SCHEDULED":
        return ""
    raise TaskFailed(
        f"The {service} that should execute flow run {run.name} is not running: {state}.",
        where_to_look="logs/worker.log",
        hint="Run `python run_blueprint.py --resume-from 13` to start it again.",
    )


def require_run(run_id: str) -> Run:
    """Read a run that must be there.

    Raises:
        TaskFailed: The server does not know it.
    """
    found = flow_runs.run(run_id)
    if found is None:
        raise TaskFailed(
            f"The server no longer knows the flow run {run_id}.",
            hint="It was deleted; run `python run_blueprint.py --phase 3` for new runs.",
        )
    return found


def prove_completed(ctx: Context, run: Run, control: TaskControl) -> dict[str, Any]:
    """Read a run back: Completed through the right states, with task runs, and its effect there.

    Args:
        ctx: Of the task.
        run: A run that has ended.
        control: Bounds the wait for the task runs, which reach the server as events, some after the flow run's end.

    Returns:
        The facts: id, name, states with times, task runs, and what the configured check found.

    Raises:
        TaskFailed: Any of it is not so.
    """
    where = f"{ctx.settings.server_url}/runs/flow-run/{run.id}"
    if run.type != "COMPLETED":
        raise TaskFailed(
            f"Flow run {run.name} ended {run.state}, not Completed: {run.message or 'no message'}",
            where_to_look=f"{where} and logs/worker.log",
            hint="Mend what the run's logs say, then run `python run_blueprint.py --resume`.",
            details={"flow_run_id": run.id, "parameters": dict(run.parameters)},
        )
    states = flow_runs.transitions(run.id)
    task_runs = settled_task_runs(ctx, run, control)
    expected = len(ctx.settings.tasks)
    # A flow that we know nothing of may live with a failed task and say so: it is the flow run that must be Completed.
    unfinished = [task.name for task in task_runs if task.type != "COMPLETED" and (expected or not task.is_final)]
    if unfinished or len(task_runs) < expected:
        raise TaskFailed(
            f"Flow run {run.name} has {len(task_runs)} task runs, {len(unfinished)} of them not Completed; "
            f"expected {expected or 'all'} Completed.",
            where_to_look=where,
        )
    return {
        "flow_run_id": run.id,
        "name": run.name,
        "parameters": dict(run.parameters),
        "states": [{"state": state.name, "at": state.at.isoformat()} for state in states],
        "task_runs": _by_name(task_runs),
        "effect": dict(ctx.effect(run, control)),
    }


def _by_name(task_runs: list[Run]) -> dict[str, str]:
    """Return each task run's state; names end in three hexadecimal digits, which 200 runs soon share."""
    states: dict[str, str] = {}
    for task in task_runs:
        states[task.name if task.name not in states else f"{task.name} ({task.id})"] = task.state
    return states


def settled_task_runs(ctx: Context, run: Run, control: TaskControl) -> list[Run]:
    """Return the task runs once all of them have arrived at the server and ended.

    Without any news for `SETTLING_SECONDS` they are given back as they are: it is for the caller to judge them.
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
        try:
            if moving or len(seen) < expected:
                raise NotReady(f"{moving} of {len(seen)} task runs of {run.name} have not ended for the server yet")
            missing = set() if expected else _logged_task_runs(run) - {task.id for task in seen}
            if missing:
                raise NotReady(f"the server has not heard of {len(missing)} task runs of {run.name} yet")
        except NotReady:
            if control.clock() - since < SETTLING_SECONDS:
                raise
        return seen

    return wait_until(control, settled, first=0.2, most=1.0)


def _logged_task_runs(run: Run) -> set[str]:
    """Return the ids of the task runs that wrote to the log, once the flow run's last line is there.

    How many task runs a flow makes is known to nobody before, and each of them logs how it ended.
    """
    lines = flow_runs.log_lines(run.id)
    if not any(line.task_run_id is None and line.message.startswith("Finished in state") for line in lines):
        raise NotReady(f"the last log line of {run.name} has not arrived yet")
    return {line.task_run_id for line in lines if line.task_run_id}


def in_order(states: list[Transition]) -> bool:
    """Tell whether the states are Scheduled → Pending → Running → Completed; Late is a Scheduled one.

    A crash that was told by us does not count when the run has completed: its process was there after all.
    """
    types = [state.type for state in states if state.message != orphans.MESSAGE]
    return tuple(dict.fromkeys(types)) == ORDER and types == sorted(types, key=ORDER.index)


def task_runs_summary(details: Mapping[str, Any]) -> str:
    """Return how many task runs there were, and those that did not complete."""
    states = [state for state in details["task_runs"].values() if state not in ("Completed", "Cached")]
    others = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{len(details['task_runs'])} task runs{f' ({others})' if others else ''}"


def effect_summary(details: Mapping[str, Any]) -> str:
    """Return the check's finding in a few words for a summary line."""
    effect = details.get("effect") or {}
    if "rows" in effect:
        return f"{effect['rows']} rows in {effect.get('table', 'the warehouse')}"
    return ", ".join(f"{key} {value}" for key, value in effect.items()) or "no check configured"
