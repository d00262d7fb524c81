"""Task 29: still active, coming runs made."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, task


@task(
    29,
    "Verify schedule configuration (after runs)",
    needs=(22, 23, 24, 28),
    timeout=90,  # Prefect's scheduler looks once a minute which runs are missing
    scope=Scope.DEPLOYMENT,
    proof="still active, coming runs made",
)
def verify_schedule_after_runs(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the schedule is still active and that the server has made its coming runs."""
    from blueprint.tasks.common.schedules import prove_coming_runs, require_active

    deployment, definition = require_active(ctx)
    coming, times = prove_coming_runs(ctx, control, deployment, definition)
    return Evidence(f"active, {coming}", {"schedule": definition, "upcoming": times})
