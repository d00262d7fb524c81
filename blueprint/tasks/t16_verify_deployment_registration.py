"""Task 16: entrypoint, pool, parameters, schema, version by name."""

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, task


@task(
    16,
    "Verify deployment registration",
    needs=(15,),
    timeout=30,
    scope=Scope.DEPLOYMENT,
    proof="entrypoint, pool, parameters, schema, version by name",
)
def verify_registration(ctx: Context, control: TaskControl) -> Evidence:
    """Prove the registered deployment, read back by name, to be as defined."""
    from blueprint.tasks.common.proofs import prove_deployment

    found = prove_deployment(ctx)
    return Evidence(
        f"{found.entrypoint}, {found.pool or 'served, no pool'}, version {found.version}, "
        f"parameters {dict(found.parameters)}",
        vars(found) | {"tags": sorted(found.tags), "schedules": [vars(schedule) for schedule in found.schedules]},
    )
