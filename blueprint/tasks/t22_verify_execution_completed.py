"""Task 22: states in order, task runs, the rows landed."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task

_ORDER = ("SCHEDULED", "PENDING", "RUNNING", "COMPLETED")  # a Late run is a Scheduled one


@task(
    22,
    "Verify execution completed",
    needs=(21,),
    timeout=180,
    scope=Scope.DEPLOYMENT,
    pool_runs=1,
    proof="states in order, task runs, the rows landed",
)
def verify_completed(ctx: Context, control: TaskControl) -> Evidence:
    """States in order Scheduled → Pending → Running → Completed, its task runs, its effect."""
    from blueprint.prefect_adapter import flow_runs
    from blueprint.tasks.common import orphans, runs

    run = runs.wait_for_end(ctx, runs.latest_run(ctx, 21), control)
    details = runs.prove_completed(ctx, run, control)
    states = flow_runs.transitions(run.id)
    # A crash that was told by us does not count when the run has completed: its process was there after all.
    types = [state.type for state in states if state.message != orphans.MESSAGE]
    if tuple(dict.fromkeys(types)) != _ORDER or types != sorted(types, key=_ORDER.index):
        raise TaskFailed(
            f"Flow run {run.name} went {' → '.join(state.name for state in states)}, "
            "not Scheduled → Pending → Running → Completed.",
            where_to_look=ctx.run_page(run),
        )
    seen = " → ".join(dict.fromkeys(state.name for state in states))
    return Evidence(f"{seen}; {runs.task_runs_summary(details)}; {runs.effect_summary(details)}", details)
