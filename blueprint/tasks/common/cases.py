"""The runs that tasks 21 to 26 trigger and read back: one for each configured case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from blueprint.core.task import Evidence, TaskControl, TaskFailed

if TYPE_CHECKING:
    from blueprint.prefect_adapter.models import Run
    from blueprint.tasks.common.triggering import Triggered
    from blueprint.tasks.context import Context


def trigger_case(ctx: Context, control: TaskControl, case: int, parameters: Mapping[str, Any] | None) -> Triggered:
    """Trigger a case, or return its run of this execution; a refusal of the parameters fails the task."""
    from blueprint.prefect_adapter.client import Refused
    from blueprint.tasks.common.triggering import trigger

    try:
        return trigger(ctx, control, case, parameters)
    except Refused as error:
        raise TaskFailed(
            f"The server refused the run's parameters: {error}",
            where_to_look="pyproject.toml [tool.blueprint]",
            hint="Correct the parameters there, then run `python run_blueprint.py --resume`.",
        ) from error


def run_page(ctx: Context, run: Run) -> str:
    """Return the address of a run's page in the UI."""
    return f"{ctx.settings.server_url}/runs/flow-run/{run.id}"


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


def run_case(
    ctx: Context, control: TaskControl, case: int, parameters: Mapping[str, Any], *, as_json: bool
) -> Evidence:
    """Trigger a run by Prefect's command, wait for its end, and prove what it did with which parameters."""
    from blueprint.tasks.common.command_trigger import trigger_by_command
    from blueprint.tasks.common.triggering import effect_summary, prove_completed, wait_for_end

    made, command = trigger_by_command(ctx, control, case, parameters, as_json=as_json)
    run = wait_for_end(ctx, made.run, control)
    details = prove_completed(ctx, run, control)
    require_parameters(ctx, run, parameters)
    return Evidence(
        f"run {run.name} with {dict(parameters)}: Completed, {effect_summary(details)}",
        {"command": str(command), "through_stdin": bool(command.given), **details},
        changed=made.created,
        reason=made.reason,
    )


def require_parameters(ctx: Context, run: Run, parameters: Mapping[str, Any]) -> None:
    """Require that a run has the deployment's parameters with these in place of some."""
    expected = {**ctx.settings.parameters, **parameters}
    if dict(run.parameters) != expected:
        raise TaskFailed(
            f"Flow run {run.name} has parameters {dict(run.parameters)}, expected {expected}.",
            where_to_look=run_page(ctx, run),
        )


def parameters_by_case(ctx: Context) -> dict[int, Mapping[str, Any]]:
    """Return the parameters of each configured case by the number of its task."""
    acceptance = ctx.settings.acceptance
    cases: dict[int, Mapping[str, Any] | None] = {21: {}, 23: acceptance.overrides, 24: acceptance.json_parameters}
    return {case: parameters for case, parameters in cases.items() if parameters is not None}
