"""Calls the tasks of a workspace in a process of its own, as the executor does after task 4: a program for the tests.

    python task_process.py FOLDER [key=value …]

reads one request a line on stdin, as JSON, and answers each with one line on stdout. The platform's code is that of the
folder, and Prefect is imported only after the folder's environment has been applied. What the tests learn of the
system besides these answers they read from the system itself, without Prefect's client.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blueprint.config.settings import Settings
    from blueprint.prefect_adapter.flow_host import FlowHost
    from blueprint.processes.manager import ServiceManager
    from blueprint.tasks.context import Context

_MOST_FLOWS = 5  # the tests deploy many files, and each has a process with Prefect in it


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a task prints is no answer
    root = Path(sys.argv[1])
    sys.path[0] = str(root)
    os.chdir(root)
    from blueprint.config import access, sources
    from blueprint.core.workspace import Workspace
    from blueprint.platform import environment

    settings = sources.load(root, {}, sys.argv[2:])
    Workspace(root).prepare()
    environment.apply_to_self(access.with_password(settings, Workspace(root), make=True), Workspace(root))
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line), root, settings)) + "\n")
        answers.flush()


def _answer(request: dict[str, Any], root: Path, settings: Settings) -> dict[str, Any]:
    from blueprint.config import access
    from blueprint.config.redaction import REDACTOR
    from blueprint.config.settings import Settings
    from blueprint.core.task import within
    from blueprint.core.workspace import Workspace
    from blueprint.execution.events import Event, TaskFinished
    from blueprint.execution.executor import Executor
    from blueprint.execution.outcome import TaskOutcome, combine
    from blueprint.execution.plan import Mode, Plan, PlannedTask
    from blueprint.tasks.registry import registry
    from blueprint.tasks.units import unit_functions

    if request["changes"]:
        settings = Settings.model_validate(settings.model_dump(mode="json") | request["changes"])
    ctx = _context(root, access.with_password(settings, Workspace(root), make=True), request["origin"])
    if request["task"] == "stop":
        return {"stopped": ctx.services.stop_all(within(request["seconds"]))}
    waited: list[str] = []
    outcomes: dict[str | None, TaskOutcome] = {}

    def record(event: Event) -> None:
        if isinstance(event, TaskFinished):
            outcomes[event.deployment] = event.outcome

    spec = registry()[request["task"]].spec
    alone = dataclasses.replace(spec, needs=(), timeout=request["seconds"])
    plan = Plan((PlannedTask(alone, Mode.RUN, "called by a test"),))
    executor = Executor(plan, record, tell=lambda _unit, text: waited.append(text))
    units = {unit: function for unit, function in unit_functions(ctx).items() if unit.task == spec.number}
    executor.run(units)
    if len(ctx.flows._processes) > _MOST_FLOWS:
        ctx.flows.close()
    told = combine({unit.deployment: outcomes[unit.deployment] for unit in units})
    answer: dict[str, Any] = REDACTOR(told.as_record() | {"exit_code": int(told.exit_code), "waited": waited})
    return answer


@functools.cache
def _services(root: Path) -> ServiceManager:
    """One for all calls, as for all tasks of an execution: what task 6 begins, task 8 waits for."""
    from blueprint.core.workspace import Workspace
    from blueprint.processes.manager import ServiceManager

    workspace = Workspace(root)
    return ServiceManager(workspace.services, workspace.identity())


@functools.cache
def _flows(root: Path) -> FlowHost:
    """One for all calls, as for all tasks of an execution; its processes end with this one."""
    from blueprint.core.workspace import Workspace
    from blueprint.prefect_adapter.flow_host import FlowHost

    return FlowHost(Workspace(root))


def _context(root: Path, settings: Settings, origin: str) -> Context:
    from blueprint.config.redaction import REDACTOR
    from blueprint.core.workspace import Workspace
    from blueprint.platform.local import local_platform
    from blueprint.processes.log import BEGINNING
    from blueprint.tasks.context import Context

    workspace = Workspace(root)

    def document(text: str, key: str) -> str:
        path = workspace.logs / f"failure_handling{key and '_'}{key}.md"
        path.write_text(REDACTOR(text), encoding="utf-8")
        return str(path.relative_to(root))

    services = _services(root)
    return Context(
        settings=settings,
        workspace=workspace,
        services=services,
        platform=local_platform(settings, workspace, services),
        flows=_flows(root),
        origin=origin,
        document=document,
        log_start=BEGINNING,
    )


if __name__ == "__main__":
    main()
