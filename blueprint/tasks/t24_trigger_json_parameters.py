"""Task 24: the run completed, its rows in the table it names."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, task


@task(
    24,
    "Trigger with JSON parameters",
    needs=(13, 15),
    timeout=180,
    scope=Scope.DEPLOYMENT,
    pool_runs=1,
    proof="triggered with --params JSON, the run completed, its rows in the table it names",
)
def trigger_json(ctx: Context, control: TaskControl) -> Evidence:
    """Trigger a run by `prefect deployment run … --params JSON`, and prove that it completed where that says."""
    from blueprint.tasks.common.triggering import run_case

    return run_case(ctx, control, 24, "json_parameters", as_json=True)
