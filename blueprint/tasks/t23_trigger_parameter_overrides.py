"""Task 23: the overridden run completed, its rows landed."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, task


@task(
    23,
    "Trigger with parameter overrides",
    needs=(13, 15),
    timeout=180,
    scope=Scope.DEPLOYMENT,
    pool_runs=1,
    proof="triggered with --param, the run completed, its rows landed",
)
def trigger_overrides(ctx: Context, control: TaskControl) -> Evidence:
    """Trigger a run by `prefect deployment run … --param`, and prove that it completed as it was told."""
    from blueprint.tasks.common.triggering import run_case

    return run_case(ctx, control, 23, "overrides", as_json=False)
