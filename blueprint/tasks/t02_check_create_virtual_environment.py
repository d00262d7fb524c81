"""Task 2: there is a healthy `.venv` of a fitting Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.core.task import Evidence, TaskControl
from blueprint.tasks.registry import Stage, task

if TYPE_CHECKING:
    from blueprint.tasks.setup_context import SetupContext


@task(
    2,
    "Check/create virtual environment",
    phase=1,
    needs=(1,),
    timeout=120,
    stage=Stage.SYSTEM,
    proof="a healthy .venv of a fitting Python",
)
def check_virtual_environment(ctx: SetupContext, control: TaskControl) -> Evidence:
    """Have a healthy `.venv`; a broken one is rebuilt."""
    from blueprint.bootstrap.environment import ensure_environment

    return ensure_environment(ctx.workspace, control)
