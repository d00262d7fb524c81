"""Task 25: each run by its id: own parameters, own row count."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task


@task(
    25,
    "Verify multiple flow runs",
    needs=(22, 23, 24),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    proof="each run by its id: own parameters, own row count",
)
def verify_runs(ctx: Context, control: TaskControl) -> Evidence:
    """Every run of this execution by its id, with its own parameters and its own effect."""
    from blueprint.tasks.common import runs

    details = {}
    for case, parameters in runs.parameters_by_case(ctx).items():
        run = runs.require_run(runs.latest_run(ctx, case).id)
        runs.require_parameters(ctx, run, parameters)
        details[str(case)] = runs.prove_completed(ctx, run, control)
    if len({run["flow_run_id"] for run in details.values()}) != len(details):
        raise TaskFailed("Two cases of this execution share one flow run.", details=details)
    told = ", ".join(f"task {case}: {runs.effect_summary(run)}" for case, run in details.items())
    return Evidence(f"{len(details)} runs, each its own; {told}", details)
