"""`run`: carries out a plan, first with the system's Python and then, as the same execution, in the environment's.

Standard library only at import; what the environment brings is imported once task 4 has proven it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from typing import TYPE_CHECKING, Any

from blueprint import bootstrap
from blueprint.cli.options import Options
from blueprint.cli.session import Session, begin, take_over
from blueprint.config import sources
from blueprint.config.entrypoint import validate_entrypoint
from blueprint.core.errors import BlueprintError, ExitCode, UsageError
from blueprint.core.files import write_whole
from blueprint.core.workspace import Workspace
from blueprint.execution.executor import TaskFunction
from blueprint.execution.history import remembered
from blueprint.execution.interruption import Interruption
from blueprint.execution.plan import Mode
from blueprint.tasks.registry import registry
from blueprint.tasks.setup_context import SetupContext

if TYPE_CHECKING:
    from blueprint.config.settings import Settings

OUTSIDE = (1, 2)  # tasks that any Python can do
BARE = (3, 4)  # tasks of the environment's Python with nothing installed yet
PLATFORM = range(5, 31)


def run(options: Options, workspace: Workspace) -> int:
    """Carry out what was asked for; the exit code says how it ended."""
    interruption = Interruption()
    interruption.install()
    os.chdir(workspace.root)
    handed = bootstrap.handover() or {}
    if "execution" in handed:
        session: Session | None = take_over(handed, workspace, interruption)
    else:
        if not bootstrap.inside(workspace) and not bootstrap.environment_problem(workspace):
            interruption.pass_on()
            bootstrap.reexec(workspace, options.argv, {})
        # Bad settings are refused before anything is started; without Pydantic, those whose names are wrong.
        sources.read(workspace.root, os.environ, options.settings, remembered(workspace))
        if bootstrap.inside(workspace):
            with contextlib.suppress(ImportError):  # task 4 has yet to bring, or to mend, what judges the values
                _settings(options, workspace, remembered(workspace))
        session = begin(options, workspace, interruption)
    if session is None:
        print("Nothing to resume: the last execution passed all that it was asked for.")
        return int(ExitCode.PROVEN)
    try:
        return _carry_out(session, options)
    finally:
        session.close()
        session.lock.release()


def _settings(options: Options, workspace: Workspace, before: tuple[str, ...]) -> Settings:
    settings = sources.load(workspace.root, os.environ, options.settings, before)
    for one in settings.each():
        folder, further = workspace.root / one.source, bool(one.requirements)
        validate_entrypoint(one.entrypoint, folder, may_be_installed=further)
    return settings


def _carry_out(session: Session, options: Options) -> int:
    workspace, execution = session.workspace, session.execution
    url, error = "", None
    try:
        if not bootstrap.inside(workspace):
            execution.run(_bare_functions(workspace, options, OUTSIDE))
            if _passed(session, 2):
                session.close()
                session.interruption.pass_on()
                bootstrap.reexec(workspace, options.argv, session.handover())
        execution.run(_bare_functions(workspace, options, (*OUTSIDE, *BARE)))
        if _passed(session, 4):
            importlib.invalidate_caches()
            settings = _judged_settings(session, options)
            url = settings.server_url
            _run_platform_tasks(session, settings)
        else:
            execution.run(dict.fromkeys(PLATFORM, _never))  # records each of them as blocked
    except BlueprintError as raised:
        error = raised
    except Exception as bug:
        session.finish(url, bug)
        raise
    return session.finish(url, error)


def _judged_settings(session: Session, options: Options) -> Settings:
    try:
        return _settings(options, session.workspace, session.remembered)
    except UsageError:
        session.refuse_settings()
        raise


def _passed(session: Session, number: int) -> bool:
    status = session.execution.statuses.get(number)
    return status is not None and status.passed and not session.interruption.stop.is_set()


def _never(_handle: object) -> Any:
    raise AssertionError("a task ran although what it needs had failed")


def _bare_functions(workspace: Workspace, options: Options, numbers: tuple[int, ...]) -> dict[int, TaskFunction]:
    extra = sources.requirements(workspace.root, os.environ, options.settings, remembered(workspace))
    ctx = SetupContext(workspace, requirements=extra)
    return {number: functools.partial(registry()[number].function, ctx) for number in numbers}


def _run_platform_tasks(session: Session, settings: Settings) -> None:
    from blueprint.platform import environment

    environment.apply_to_self(settings, session.workspace)

    from blueprint.prefect_adapter.flow_host import FlowHost

    flows = FlowHost(session.workspace)
    for deployment in settings.each():
        flows.start(deployment)  # it imports Prefect beside this process and the server

    from blueprint.platform.local import local_platform
    from blueprint.processes.manager import ServiceManager
    from blueprint.tasks.functions import FUNCTIONS, Context, extra_seconds

    def started(name: str, details: dict[str, Any]) -> None:
        session.journal.append("service started", service=name, **details)

    workspace = session.workspace
    services = ServiceManager(workspace.services, workspace.identity(), started)
    context = Context(
        settings=settings,
        workspace=workspace,
        services=services,
        platform=local_platform(settings, workspace, services),
        flows=flows,
        origin=session.origin,
        document=functools.partial(_write_document, session),
        with_worker=session.plan.mode_of(13) is not Mode.NOT_NEEDED,
    )
    session.execution.jobs = settings.jobs
    session.execution.extra_seconds = extra_seconds(settings)
    try:
        session.execution.run({number: functools.partial(function, context) for number, function in FUNCTIONS.items()})
    finally:
        flows.close()


def _write_document(session: Session, text: str, key: str) -> str:
    """Keep task 28's document beside the log, under the deployment's key if there are several; returns its name."""
    path = session.log.with_name(f"{session.log.stem}_failure_handling{f'_{key}' if key else ''}.md")
    write_whole(path, text)
    return str(path.relative_to(session.workspace.root))
