"""Task 11: the pool exists with type process."""

from blueprint.tasks.registry import Context, Evidence, TaskControl, task


@task(11, "Create process work pool", needs=(8,), timeout=30, proof="the pool exists with type process")
def create_pool(ctx: Context, control: TaskControl) -> Evidence:
    """Have the work pool exist with type process."""
    from blueprint.prefect_adapter import pools
    from blueprint.tasks.common.proofs import require_process_pool

    ctx.skip_without_pool()
    settings = ctx.settings
    found = pools.pool(settings.pool)
    reason = ""
    if found is None:
        pools.create_process_pool(settings.pool, settings.pool_concurrency_limit)
        reason = "it did not exist"
    elif found.paused or found.concurrency_limit != settings.pool_concurrency_limit:
        reason = f"it was paused={found.paused}, concurrency limit={found.concurrency_limit}"
        pools.update_pool(settings.pool, paused=False, concurrency_limit=settings.pool_concurrency_limit)
    found = require_process_pool(ctx)
    return Evidence(f"{found.name} exists with type process", vars(found), changed=bool(reason), reason=reason)
