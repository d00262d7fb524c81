"""`stop`: ends what this workspace started, and only that."""

from __future__ import annotations

import os

from blueprint.cli.options import Options
from blueprint.config.redaction import redact_command
from blueprint.core.errors import ExitCode
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
from blueprint.execution.lock import ExecutionLock
from blueprint.prefect_runtime.visible import visible

_SECONDS = 90.0


def run(options: Options, workspace: Workspace) -> int:
    """Stop the services and what they left behind; say what was stopped, and what was left alone."""
    if not workspace.state.is_dir():
        print("Nothing to stop: nothing was started in this folder.")
        return int(ExitCode.PROVEN)
    workspace.prepare()
    lock = ExecutionLock.acquire(workspace, redact_command(("run_blueprint.py", *options.argv)))
    from blueprint.processes.manager import ServiceManager

    try:
        os.chdir(workspace.root)
        identity = workspace.known_identity()
        stopped = ServiceManager(workspace.services, identity).stop_all(within(_SECONDS)) if identity else []
    finally:
        lock.release()
    for sentence in stopped:
        print(visible(sentence))
    print("Stopped." if stopped else "Nothing to stop: nothing of ours is running.")
    _name_orphans(workspace)
    return int(ExitCode.PROVEN)


def _name_orphans(workspace: Workspace) -> None:
    """Name the processes of the folder that this one was copied from, if that is gone: nobody else would."""
    from blueprint.processes.ownership import tagged_processes
    from blueprint.processes.table import folder

    original = workspace.copied_identity()
    if original is None:
        return
    tagged = [process for processes in tagged_processes(original[0]).values() for process in processes]
    left = [process for process in tagged if folder(process.pid) is None]  # the others' folder is there, or was moved
    if left:
        print(f"Still running, started in {original[1]}, which is gone: {', '.join(map(str, left))}.")
        print(f"End them with: kill {' '.join(str(process.pid) for process in left)}")
