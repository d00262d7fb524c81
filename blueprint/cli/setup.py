"""Tasks 1 to 4 for commands that are no execution, such as `test` and `init`: a line for each, and no journal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from blueprint.bootstrap.activation import inside, reexec
from blueprint.core.task import TaskFailed, TaskStopped, within
from blueprint.core.workspace import Workspace
from blueprint.execution.lock import ExecutionLock
from blueprint.tasks.registry import registry
from blueprint.tasks.setup_context import SetupContext


def set_up(
    workspace: Workspace, argv: Sequence[str], *, lock: str = "requirements.lock", extra: Sequence[str] = ()
) -> bool:
    """Have the environment complete, and this process run in it; it may start anew in it and never return.

    Args:
        workspace: Its state is prepared.
        argv: The words after the program's name, to start anew with.
        lock: The lock file to install, from the root.
        extra: Further requirements.

    Returns:
        Whether it is so; if not, what failed has been told.

    Raises:
        BlueprintError: The environment refuses, or another execution is at work.
    """
    if not inside(workspace):
        if not _prove(SetupContext(workspace), (1, 2)):
            return False
        reexec(workspace, argv, {})
    held = ExecutionLock.acquire(workspace, " ".join(("run_blueprint.py", *argv)))
    try:
        return _prove(SetupContext(workspace, lock, tuple(extra)), (3, 4))
    finally:
        held.release()


def _prove(ctx: SetupContext, numbers: Sequence[int]) -> bool:
    """Carry out tasks one after the other, with a line for each; False as soon as one fails."""
    for number in numbers:
        task = registry()[number]
        spec = task.spec
        try:
            evidence = task.function(ctx, within(spec.timeout, number))
        except (TaskFailed, TaskStopped) as error:
            print(f"{spec.title}: failed: {error}", file=sys.stderr)
            if isinstance(error, TaskFailed):
                print(f"Look at {error.where_to_look}. {error.hint}".replace("Look at . ", ""), file=sys.stderr)
            return False
        print(f"{spec.title}: {evidence.summary}", flush=True)
    return True
