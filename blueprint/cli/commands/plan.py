"""`plan`: the 30 tasks, what each needs and proves, and what a run would do now. Touches nothing, needs no Prefect."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blueprint.cli.options import Options
from blueprint.cli.planning import plan_for
from blueprint.cli.remembered import remembered
from blueprint.core import venv
from blueprint.core.errors import ExitCode
from blueprint.core.task import PHASES
from blueprint.core.workspace import Workspace
from blueprint.execution import history
from blueprint.execution.plan import Mode

if TYPE_CHECKING:
    from blueprint.platform.status import Check


def run(options: Options, workspace: Workspace) -> int:
    """Print the plan that the same arguments without `plan` would carry out."""
    plan = plan_for(options, history.load(workspace.journal).last)
    found = _found(options, workspace)
    phase = 0
    for task in plan.tasks:
        spec = task.spec
        if spec.phase != phase:
            phase = spec.phase
            print(f"Phase {phase}: {PHASES[phase]}")
        now = "would skip" if task.mode is Mode.NOT_NEEDED else found.get(spec.number, "would run")
        mode = task.mode.value if task.mode is Mode.RUN else f"{task.mode.value}: {task.reason}"
        needs = ", ".join(map(str, spec.needs)) or "nothing"
        print(f"{spec.number:>3}  {spec.title:<44} {now}")
        print(f"     {mode}; needs {needs}; proves: {spec.proof}")
    count = len(plan.planned)
    print(f"{count} of {len(plan.tasks)} tasks: {len(plan.to_run)} to run, {count - len(plan.to_run)} to check first.")
    return int(ExitCode.PROVEN)


def _found(options: Options, workspace: Workspace) -> dict[int, str]:
    """Return what a run would do with a task, where that can be seen; it would run the others."""
    unseen = dict.fromkeys(range(5, 31), "unknown")
    problem = venv.problem(workspace.venv, start=True)
    if problem:
        return {2: f"would run ({problem})"} | unseen

    from blueprint import bootstrap
    from blueprint.config import sources

    found = {2: "would skip (it is healthy)"}
    given = (workspace.root, os.environ, options.settings, remembered(workspace))
    extra, further = sources.requirements(*given), sources.requirements_lock(*given)
    problem = bootstrap.installation_problem(workspace, extra=extra, further=further, files=False)
    if problem:
        return found | {4: f"would run ({problem})"} | unseen
    found[4] = "would skip if all files are whole (packages and versions are the lock's)"

    from blueprint.config import access
    from blueprint.platform import environment, status

    settings = sources.load(workspace.root, os.environ, options.settings, remembered(workspace))
    settings = access.with_password(settings, workspace)
    toml = workspace.root / "prefect.toml"
    same = toml.is_file() and toml.read_text(encoding="utf-8", errors="replace") == environment.prefect_toml(
        settings, workspace
    )
    same = same and (settings.api_auth_string is not None or access.decide(settings, workspace).auth == "none")
    found[6] = "would skip (prefect.toml says so)" if same else "would run (prefect.toml does not say so)"
    checks = {check.name: check for check in status.look(settings, workspace)}
    found[8] = _would(checks["server"])
    found[13] = _would(checks["worker"]) if "worker" in checks else "would skip (flow.serve needs no worker)"
    deployments = [check for name, check in checks.items() if name.startswith(status.DEPLOYMENT)]
    found[15] = _would(*deployments)
    return found


def _would(*checks: Check) -> str:
    """Say what a run would do about these and why, as far as it can be seen."""
    for state, action in (("down", "would run"), ("unknown", "unknown")):
        reasons = [check.detail for check in checks if check.state == state]
        if reasons:
            return f"{action} ({'; '.join(reasons)})"
    return f"would skip ({'; '.join(check.detail for check in checks)})"
