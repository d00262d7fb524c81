"""Task 21: a run of the deployment, default parameters."""

from __future__ import annotations

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task


@task(
    21,
    "Trigger deployment (default parameters)",
    needs=(13, 15),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    proof="a run of the deployment, default parameters",
)
def trigger_default(ctx: Context, control: TaskControl) -> Evidence:
    """Trigger a run of the deployment with its default parameters."""
    from blueprint.tasks.common.cases import run_page, trigger_case
    from blueprint.tasks.common.triggering import require_run

    made = trigger_case(ctx, control, 21, None)
    deployed = ctx.require_deployment()
    run = require_run(made.run.id)
    if run.deployment_id != deployed.id or dict(run.parameters) != dict(deployed.parameters):
        raise TaskFailed(
            f"Flow run {run.name} has parameters {dict(run.parameters)}, "
            f"the deployment's are {dict(deployed.parameters)}.",
            where_to_look=run_page(ctx, run),
        )
    return Evidence(
        f"run {run.name} with {dict(run.parameters)}",
        {"flow_run_id": run.id, "name": run.name, "parameters": dict(run.parameters)},
        changed=made.created,
        reason=made.reason,
    )
