"""The command `test`: installs the test tools and runs the project's tests with pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from blueprint.cli.options import Options
from blueprint.cli.setup import set_up, take_lock
from blueprint.core.errors import ExitCode
from blueprint.core.workspace import Workspace
from blueprint.tasks.context import SetupContext

LOCK = Path("tests") / "requirements.lock"
# Most tests wait for services and flow runs; tests/conftest.py keeps those together that share a platform.
WORKERS = ("-n", "3", "--dist", "loadgroup", "--no-loadscope-reorder")


def run(options: Options, workspace: Workspace) -> int:
    """Install what the tests need, run them, and return whether they passed as an exit code."""
    os.chdir(workspace.program)
    workspace.prepare()
    lock = take_lock(workspace, options.argv)
    try:
        if not set_up(SetupContext(workspace, str(LOCK)), options.argv, lock):
            return int(ExitCode.TASK_FAILED)
        code = subprocess.run([sys.executable, "-m", "pytest", *WORKERS, *options.rest], check=False).returncode
    finally:
        lock.release()
    return int(ExitCode.PROVEN if code == 0 else ExitCode.TASK_FAILED)
