"""`verify`: the quick check that the platform is up; never imports Prefect, changes nothing."""

from __future__ import annotations

import os

from blueprint import bootstrap
from blueprint.errors import ExitCode
from blueprint.options import Options
from blueprint.workspace import Workspace


def run(options: Options, workspace: Workspace) -> int:
    """Look at server, worker, UI and deployment; the exit code is 0 only if all are up."""
    problem = bootstrap.environment_problem(workspace)
    if problem:
        print(f"down  environment: {problem}")
        print("Set it up with: python run_blueprint.py --phase all")
        return int(ExitCode.TASK_FAILED)
    if not bootstrap.inside(workspace):
        bootstrap.reexec(workspace, options.argv, {})
    bootstrap.handover()

    from blueprint import configuration, health
    from blueprint.session import remembered

    settings = configuration.load(workspace.root, os.environ, options.settings, remembered(workspace))
    checks = health.look(settings, workspace)
    for check in checks:
        print(f"{'up' if check.ok else 'DOWN':<5} {check.name}: {check.detail}")
    if all(check.ok for check in checks):
        return int(ExitCode.PROVEN)
    print("Restore it with: python run_blueprint.py --phase all")
    return int(ExitCode.TASK_FAILED)
