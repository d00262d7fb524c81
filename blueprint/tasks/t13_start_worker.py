"""Task 13: our worker is online in that pool and its health endpoint answers."""

from blueprint.tasks.registry import Context, Evidence, TaskControl, task


@task(
    13,
    "Start worker",
    needs=(11,),
    timeout=90,
    proof="our worker is online in that pool and its health endpoint answers",
)
def start_worker(ctx: Context, control: TaskControl) -> Evidence:
    """Our worker is online in the pool and its health endpoint answers."""
    from blueprint.tasks.common import orphans
    from blueprint.tasks.common.deploying import because
    from blueprint.tasks.common.proofs import await_worker

    ctx.skip_without_pool()
    started = ctx.platform.worker.ensure(control)
    details = await_worker(ctx, control)
    details["marked_crashed"] = lost = orphans.crash_those_before_the_worker(ctx)
    pid = f", pid {details['pid']}" if "pid" in details else ""
    return Evidence(
        f"{details['name']} is online in {ctx.settings.pool}{pid}, health answers",
        details,
        changed=started.changed or bool(lost),
        reason=because(started.reason, lost),
    )
