"""Task 4: the installed set equals the lock, hashes checked, bytecode compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.core.task import Evidence, TaskControl
from blueprint.tasks.registry import Stage, task

if TYPE_CHECKING:
    from blueprint.tasks.setup_context import SetupContext


@task(
    4,
    "Install/upgrade Prefect 3",
    phase=1,
    needs=(3,),
    timeout=900,
    stage=Stage.BARE,
    proof="the installed set equals requirements.lock, bytecode compiled",
)
def install_locked_set(ctx: SetupContext, control: TaskControl) -> Evidence:
    """Have the installed set equal to the lock, with the flows' further requirements."""
    from blueprint.bootstrap.install import install

    return install(ctx.workspace, control, lock=ctx.lock, extra=ctx.requirements)
