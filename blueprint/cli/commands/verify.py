"""`verify`: the quick check that the platform is up; never imports Prefect, changes nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blueprint.cli.options import Options
from blueprint.cli.remembered import remembered
from blueprint.core import venv
from blueprint.core.errors import ExitCode
from blueprint.core.workspace import Workspace
from blueprint.prefect_runtime.visible import visible

if TYPE_CHECKING:
    from blueprint.platform.status import Check


def run(options: Options, workspace: Workspace) -> int:
    """Look at server, worker, UI and deployments; the exit code is 0 only if all are up."""
    problem = venv.problem(workspace.venv, start=True)
    checks: list[Check] = []
    if not problem:
        try:
            from blueprint.config import access, sources
            from blueprint.platform import status

            settings = sources.load(workspace.root, os.environ, options.settings, remembered(workspace))
            settings = access.with_password(settings, workspace)
            checks = status.look(settings, workspace)
            if options.deep:
                from blueprint import bootstrap

                wrong, seen = bootstrap.examine(workspace)
                state = status.State.DOWN if wrong else status.State.UP
                checks.insert(0, status.Check("environment", state, wrong or seen))
        except ImportError as error:  # an installation that failed leaves nothing, or a part
            if (error.name or "").startswith("blueprint"):
                raise
            problem = "not installed"
    if problem:
        print(f"down environment: {problem}")
        print("Set it up with: python run_blueprint.py --phase all")
        return ExitCode.TASK_FAILED
    for check in checks:
        print(visible(f"{check.state:<7} {check.name}: {check.detail}"))
    if options.password:
        found = access.decide(settings, workspace)
        secret = settings.api_auth_string.get_secret_value() if settings.api_auth_string else "not made yet"
        print(f"password: {'none' if found.auth == 'none' else secret} ({found.reason})")
    if all(check.state == "up" for check in checks):
        return ExitCode.PROVEN
    print("Restore it with: python run_blueprint.py --phase all")
    return ExitCode.TASK_FAILED
