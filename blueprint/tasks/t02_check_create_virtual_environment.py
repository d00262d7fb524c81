"""Task 2: there is a healthy `.venv` of a fitting Python."""

from blueprint.tasks.registry import Evidence, SetupContext, Stage, TaskControl, task


@task(
    2,
    "Check/create virtual environment",
    needs=(1,),
    timeout=120,
    stage=Stage.SYSTEM,
    proof="a healthy .venv of a fitting Python",
)
def check_virtual_environment(ctx: SetupContext, control: TaskControl) -> Evidence:
    """Have a healthy `.venv`; a broken one is rebuilt."""
    from blueprint.bootstrap.environment import ensure_environment

    return ensure_environment(ctx.workspace, control)
