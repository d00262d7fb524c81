"""Task 15: deployed; deploying again keeps the same deployment id."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, task


def serve_flows(ctx: Context, control: TaskControl) -> Evidence:
    """Task 15 in `serve` mode, once: one process serves all deployments, and has registered what is wanted."""
    from blueprint.tasks.common.deploying import serve

    reason = serve(ctx, control) if ctx.settings.serves else ""
    return Evidence("", changed=bool(reason), reason=reason)


@task(
    15,
    "Deploy flow",
    needs=(8, 11, 14),
    timeout=90,
    scope=Scope.DEPLOYMENT,
    shared=serve_flows,
    proof="deployed; deploying again keeps the same deployment id",
)
def deploy_flow(ctx: Context, control: TaskControl) -> Evidence:
    """Deployed with flow.deploy or served with flow.serve; deploying again keeps the same id."""
    from blueprint.tasks.common.deploying import deploy, wait_as_wanted

    target = ctx.desired_deployment(control)
    reason = "" if ctx.settings.serves else deploy(ctx, target, control)
    found = wait_as_wanted(ctx, target, control)
    how = "served" if ctx.settings.serves else "deployed"
    return Evidence(
        f"{target.flow_name}/{target.name} {how}, id {found.id}", {"id": found.id}, changed=bool(reason), reason=reason
    )
