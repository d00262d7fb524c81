"""Task 1: the needed files are there, the folder is writable, Python and disk space are enough."""

from blueprint.tasks.registry import Evidence, SetupContext, Stage, TaskControl, task


@task(
    1,
    "Verify project directory",
    timeout=10,
    stage=Stage.SYSTEM,
    proof="needed files, writable folder, fitting Python, disk space",
)
def verify_project_directory(ctx: SetupContext, control: TaskControl) -> Evidence:
    """Prove that the checkout is whole and the machine fits."""
    from blueprint.bootstrap.project import verify_project

    return verify_project(ctx.workspace, control)
