"""`verify`: the quick check that the platform is up; never imports Prefect, changes nothing."""

from __future__ import annotations

import os

from blueprint.cli.options import Options
from blueprint.core import venv
from blueprint.core.errors import ExitCode
from blueprint.core.workspace import Workspace


def run(options: Options, workspace: Workspace) -> int:
    """Look at server, worker, UI and deployment; the exit code is 0 only if all are up."""
    venv.reexec_in_venv(workspace.venv, workspace.script, options.argv)
    venv.handed_over()
    problem = venv.problem(workspace.venv)
    if problem:
        print(f"down  environment: {problem}")
        print("Set it up with: python run_blueprint.py --phase all")
        return int(ExitCode.TASK_FAILED)
    from blueprint.cli.remembered import remembered
    from blueprint.config import sources
    from blueprint.platform import status

    settings = sources.load(workspace.root, os.environ, options.settings, remembered(workspace))
    checks = status.look(settings, workspace)
    for check in checks:
        print(f"{'up' if check.ok else 'DOWN':<5} {check.name}: {check.detail}")
    if all(check.ok for check in checks):
        return int(ExitCode.PROVEN)
    print("Restore it with: python run_blueprint.py --phase all")
    return int(ExitCode.TASK_FAILED)
