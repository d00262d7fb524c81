"""A child process of a task that `stop` and the next execution find, if this one is killed while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blueprint.core import child
from blueprint.core.task import TaskControl
from blueprint.processes.ownership import OwnershipTag
from blueprint.tasks.context import Context

_GRACE_SECONDS = 2.0


def run(
    ctx: Context, name: str, argv: Sequence[str], control: TaskControl, *, env: Mapping[str, str], niceness: int
) -> child.Finished:
    """Run a command in the project folder to its end, once what a killed execution left of it is ended.

    Args:
        ctx: Of the task.
        name: What it is marked as; no service has that name.
        argv: The program and its arguments.
        control: Gives the deadline and the wish to stop.
        env: Its environment, without the mark.
        niceness: How far it stands back for others that need the processor, 0 to 19.

    Raises:
        TaskFailed: What was left cannot be ended.
        TaskStopped: Interrupted, or out of time; the command has been killed.
    """
    ctx.services.stop(name, control, grace=_GRACE_SECONDS)
    tagged_processes = {**env, **OwnershipTag(ctx.services.workspace, name).environment("")}
    return child.run(argv, control, env=tagged_processes, cwd=ctx.workspace.root, niceness=niceness)
