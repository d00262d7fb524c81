"""Task 3: from here on the executor itself runs in `.venv`, and children inherit it."""

from blueprint.tasks.registry import Evidence, SetupContext, Stage, TaskControl, task


@task(
    3,
    "Activate virtual environment",
    needs=(2,),
    timeout=10,
    stage=Stage.BARE,
    proof="the executor itself runs in .venv, and children inherit it",
)
def activate_virtual_environment(ctx: SetupContext, control: TaskControl) -> Evidence:
    """Prove that the executor runs in `.venv`, and that its children inherit it."""
    from blueprint.bootstrap.activation import verify_activation

    return verify_activation(ctx.workspace, control)
