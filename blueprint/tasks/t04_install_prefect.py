"""Task 4: the installed set equals the lock, hashes checked, bytecode compiled."""

from blueprint.tasks.registry import Evidence, SetupContext, Stage, TaskControl, task


@task(
    4,
    "Install/upgrade Prefect 3",
    needs=(3,),
    timeout=900,
    stage=Stage.BARE,
    proof="the installed set equals requirements.lock, bytecode compiled",
)
def install_locked_set(ctx: SetupContext, control: TaskControl) -> Evidence:
    """Have the installed set equal to the lock, with the flows' further requirements."""
    from blueprint.bootstrap.install import install

    return install(ctx.workspace, control, lock=ctx.lock, extra=ctx.requirements, further=ctx.requirements_lock)
