"""`test`: sets up the environment with the test tools and runs the project's tests with pytest."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from blueprint import bootstrap
from blueprint.catalog import BY_NUMBER
from blueprint.errors import ExitCode
from blueprint.lock import ExecutionLock
from blueprint.options import Options
from blueprint.task import Evidence, Handle, TaskFailed, TaskStopped, within
from blueprint.workspace import Workspace

LOCK = Path("tests") / "requirements.lock"


def run(options: Options, workspace: Workspace) -> int:
    """Set up what the tests need, run them, and give back pytest's exit code (5, no tests, counts as failed)."""
    os.chdir(workspace.root)
    workspace.prepare()
    bootstrap.handover()
    if not bootstrap.inside(workspace):
        if not _prove(workspace, {1: bootstrap.verify_project, 2: bootstrap.ensure_environment}):
            return int(ExitCode.TASK_FAILED)
        bootstrap.reexec(workspace, options.argv, {})
    install = functools.partial(bootstrap.install, lock=str(LOCK))
    lock = ExecutionLock.acquire(workspace, " ".join(("run_blueprint.py", *options.argv)))
    try:
        if not _prove(workspace, {3: bootstrap.verify_activation, 4: install}):
            return int(ExitCode.TASK_FAILED)
    finally:
        lock.release()
    code = subprocess.run([sys.executable, "-m", "pytest", *options.rest], check=False).returncode
    return int(ExitCode.PROVEN if code == 0 else ExitCode.TASK_FAILED)


def _prove(workspace: Workspace, functions: Mapping[int, Callable[[Workspace, Handle], Evidence]]) -> bool:
    """Carry out tasks one after the other, with a line for each; False as soon as one fails."""
    for number, function in functions.items():
        spec = BY_NUMBER[number]
        try:
            evidence = function(workspace, within(spec.seconds, number))
        except (TaskFailed, TaskStopped) as error:
            print(f"{spec.title}: failed: {error}", file=sys.stderr)
            if isinstance(error, TaskFailed):
                print(f"Look at {error.where_to_look}. {error.what_to_do}".replace("Look at . ", ""), file=sys.stderr)
            return False
        print(f"{spec.title}: {evidence.summary}", flush=True)
    return True
