"""`stop`: ends what this workspace started, and only that."""

from __future__ import annotations

import os

from blueprint.cli.options import Options
from blueprint.config.redaction import redact_command
from blueprint.core import venv
from blueprint.core.errors import ExitCode
from blueprint.core.task import within
from blueprint.core.workspace import Workspace
from blueprint.execution.lock import ExecutionLock

_SECONDS = 90.0


def run(options: Options, workspace: Workspace) -> int:
    """Stop the services and what they left behind; says what was stopped."""
    if not workspace.state.is_dir():
        print("Nothing to stop: nothing was started in this folder.")
        return int(ExitCode.PROVEN)
    venv.reexec_in_venv(workspace.venv, workspace.script, options.argv)
    venv.handed_over()

    from blueprint.processes.manager import ServiceManager

    workspace.prepare()
    lock = ExecutionLock.acquire(workspace, redact_command(("run_blueprint.py", *options.argv)))
    try:
        os.chdir(workspace.root)
        stopped = ServiceManager(workspace.services, workspace.identity()).stop_all(within(_SECONDS))
    finally:
        lock.release()
    for sentence in stopped:
        print(sentence)
    print("Stopped." if stopped else "Nothing to stop: nothing of ours is running.")
    return int(ExitCode.PROVEN)
