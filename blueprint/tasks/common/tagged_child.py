"""A task's child process that `stop` and the next execution find if this one is killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from blueprint.core import child
from blueprint.core.files import PRIVATE_UMASK
from blueprint.core.task import TaskControl
from blueprint.processes.ownership import OwnershipTag
from blueprint.tasks.context import Context

_GRACE_SECONDS = 2.0


def end_leftovers(ctx: Context, name: str, control: TaskControl) -> None:
    """End what a killed execution left of a command.

    Raises:
        ProcessError: It cannot be ended.
    """
    ctx.services.stop(name, control, grace=_GRACE_SECONDS)


def run(
    ctx: Context,
    name: str,
    argv: Sequence[str | Path],
    control: TaskControl,
    *,
    env: Mapping[str, str],
    niceness: int,
    given: str = "",
) -> child.Finished:
    """Run a command in the project folder to its end.

    Args:
        ctx: Of the task.
        name: Its name in the ownership tag; no service has that name.
        argv: The program and its arguments.
        control: Gives the deadline and the wish to stop.
        env: Its environment, without the mark.
        niceness: Its niceness, 0 to 19; a higher one leaves the processor to others.
        given: Text for its standard input.

    Raises:
        TaskStopped: Interrupted, or out of time; the command has been killed.
    """
    tagged = {**env, **OwnershipTag(ctx.services.workspace, name).environment("")}
    cwd = ctx.workspace.root
    return child.run(argv, control, env=tagged, cwd=cwd, niceness=niceness, given=given, umask=PRIVATE_UMASK)
