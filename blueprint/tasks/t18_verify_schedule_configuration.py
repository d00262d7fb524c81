"""Task 18: the server's copy, and runs on both sides of a clock change."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, task


@task(
    18,
    "Verify schedule configuration",
    needs=(15,),
    timeout=90,  # Prefect's scheduler looks once a minute which runs are missing
    scope=Scope.DEPLOYMENT,
    proof="the server's copy, and runs on both sides of a clock change",
)
def verify_schedule(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the server has the schedule and makes its runs, also on both sides of the next clock change."""
    from blueprint.tasks.common.schedules import prove_clock_change, prove_coming_runs, require_active

    deployment, definition = require_active(ctx)
    coming, times = prove_coming_runs(ctx, control, deployment, definition)
    change, details = prove_clock_change(ctx, deployment, definition)
    rule = definition.get("cron") or definition.get("rrule") or f"every {definition.get('interval')} s"
    return Evidence(
        f"active, {rule} {ctx.settings.timezone}, {coming}; {change}",
        {"schedule": definition, "upcoming": times, **details},
    )
