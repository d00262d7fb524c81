"""Task 12: type, not paused, concurrency limit as configured."""

from blueprint.tasks.registry import Context, Evidence, TaskControl, TaskFailed, task


@task(12, "Verify work pool", needs=(11,), timeout=30, proof="type, not paused, concurrency limit as configured")
def verify_pool(ctx: Context, control: TaskControl) -> Evidence:
    """Prove the pool's type, that it is not paused, and its concurrency limit."""
    from blueprint.tasks.common.proofs import RESTORE_POOL, require_process_pool

    ctx.skip_without_pool()
    found = require_process_pool(ctx)
    limit = ctx.settings.pool_concurrency_limit
    if found.paused or found.concurrency_limit != limit:
        raise TaskFailed(
            f"The work pool is paused={found.paused} with concurrency limit {found.concurrency_limit}, "
            f"expected paused=False and {limit}.",
            where_to_look=f"{ctx.settings.server_url}/work-pools",
            hint=RESTORE_POOL,
        )
    return Evidence(f"type process, not paused, concurrency limit {limit or 'none'}", vars(found))
