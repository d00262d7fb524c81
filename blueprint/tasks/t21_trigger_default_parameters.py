"""Task 21: a run of the deployment, default parameters."""

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
    from blueprint.tasks.common.runs import require_run
    from blueprint.tasks.common.triggering import trigger

    made, reason = trigger(ctx, control, 21, None)
    deployed = ctx.require_deployment()
    run = require_run(made.id)
    if run.deployment_id != deployed.id or dict(run.parameters) != dict(deployed.parameters):
        raise TaskFailed(
            f"Flow run {run.name} has parameters {dict(run.parameters)}, "
            f"the deployment's are {dict(deployed.parameters)}.",
            where_to_look=ctx.run_page(run),
        )
    details = {"flow_run_id": run.id, "name": run.name, "parameters": dict(run.parameters)}
    summary = f"run {run.name} with {dict(run.parameters)}"
    return Evidence(summary, details, changed=bool(reason), reason=reason)
