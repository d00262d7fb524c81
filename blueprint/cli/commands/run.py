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
from blueprint.cli.remembered import accept, refuse, remembered
from blueprint.cli.session import Session, begin, take_over
from blueprint.cli.setup import setup_functions
from blueprint.config import sources
from blueprint.config.entrypoint import validate_entrypoint
from blueprint.config.redaction import REDACTOR, configured, unjudged
from blueprint.core import venv
from blueprint.core.errors import BlueprintError, ExitCode, UsageError
from blueprint.core.files import write_whole
from blueprint.core.task import Stage
from blueprint.core.workspace import Workspace
from blueprint.execution.events import ServiceStarted
from blueprint.execution.interruption import Interruption
from blueprint.execution.plan import Mode
from blueprint.prefect_runtime.visible import visible
from blueprint.tasks.context import SetupContext

if TYPE_CHECKING:
    from blueprint.config.settings import Settings


def run(options: Options, workspace: Workspace) -> int:
    """Carry out the plan that was asked for; the exit code says how it ended."""
    interruption = Interruption()
    interruption.install()
    os.chdir(workspace.root)
    handed = bootstrap.handover() or {}
    values = _values(options, workspace)
    if "execution" in handed:
        session: Session | None = take_over(handed, workspace, interruption)
    else:
        if not venv.inside(workspace.venv) and not venv.problem(workspace.venv, start=True):
            interruption.pass_on()
            bootstrap.reexec(workspace, options.argv, {})
        if venv.inside(workspace.venv):
            with contextlib.suppress(ImportError):  # task 4 has yet to bring, or to mend, what judges the values
                _settings(workspace, options.settings)
        session = begin(options, workspace, interruption, sources.describe_flow(values))
    if session is None:
        print("Nothing to resume: the last execution passed everything that it was asked for.")
        return int(ExitCode.PROVEN)
    try:
        return _carry_out(session, options)
    finally:
        session.close()
        session.lock.release()


def _values(options: Options, workspace: Workspace) -> dict[str, Any]:
    """Read the settings without judging them; from here on the secrets among them are never written."""
    values, _ = sources.read(workspace.root, os.environ, options.settings, remembered(workspace))
    REDACTOR.learn(unjudged(values))
    return values


def _settings(workspace: Workspace, given: tuple[str, ...]) -> Settings:
    settings = sources.load(workspace.root, os.environ, given, remembered(workspace))
    for deployment in settings.each():
        folder = workspace.root / deployment.source
        further = bool(deployment.requirements or deployment.requirements_lock)
        validate_entrypoint(deployment.entrypoint, folder, may_be_installed=further)
    return settings


def _carry_out(session: Session, options: Options) -> int:
    workspace, executor = session.workspace, session.executor
    url, password, error = "", False, None
    try:
        given = (workspace.root, os.environ, options.settings, remembered(workspace))
        ctx = SetupContext(
            workspace, requirements=sources.requirements(*given), requirements_lock=sources.requirements_lock(*given)
        )
        if not venv.inside(workspace.venv) and executor.run(setup_functions(ctx, Stage.SYSTEM)):
            session.close()
            session.interruption.pass_on()
            bootstrap.reexec(workspace, options.argv, session.handover())
        if executor.run(setup_functions(ctx, Stage.SYSTEM, Stage.BARE)):
            importlib.invalidate_caches()
            from blueprint.config import access

            settings = _judged_settings(session)
            settings = access.with_password(settings, workspace, make=True)
            url = settings.public_url
            password = access.decide(settings, workspace).auth == "generated"
            _run_platform_tasks(session, settings)
        else:  # records each of them as blocked
            executor.run(setup_functions(ctx, Stage.INSTALLED))
    except BlueprintError as raised:
        error = raised
    except Exception as bug:
        session.finish(url, bug)
        raise
    return session.finish(url, error, has_password=password)


def _judged_settings(session: Session) -> Settings:
    try:
        settings = _settings(session.workspace, ())
    except UsageError:
        refuse(session.workspace)
        raise
    accept(session.workspace)
    for deployment in settings.each():
        REDACTOR.learn(configured(deployment, {}))
    return settings


def _run_platform_tasks(session: Session, settings: Settings) -> None:
    from blueprint.platform import environment

    environment.apply_to_self(settings, session.workspace)

    from blueprint.prefect_adapter.flow_host import FlowHost

    flows = FlowHost(session.workspace)
    for deployment in settings.each():
        flows.start(deployment)  # it imports Prefect beside this process and the server

    from blueprint.platform.local import local_platform
    from blueprint.processes.log import LogPosition
    from blueprint.processes.manager import ServiceManager
    from blueprint.tasks.context import Context
    from blueprint.tasks.units import extra_seconds, unit_functions

    def started(name: str, details: dict[str, Any]) -> None:
        session.journal.append(ServiceStarted(service=name, **details))

    workspace = session.workspace
    services = ServiceManager(workspace.services, workspace.identity(), started)
    context = Context(
        settings=settings,
        workspace=workspace,
        services=services,
        platform=local_platform(settings, workspace, services),
        flows=flows,
        origin=session.record.origin,
        document=functools.partial(_write_document, session),
        log_start=LogPosition(*session.record.started.worker_log),
        with_worker=session.plan.by_number[13].mode is not Mode.NOT_NEEDED,
    )
    session.executor.jobs = settings.jobs
    session.executor.extra_seconds = extra_seconds(settings)
    try:
        session.executor.run(unit_functions(context))
    finally:
        flows.close()


def _write_document(session: Session, text: str, key: str) -> str:
    """Keep task 28's document beside the log, under the deployment's key if there are several; return its name."""
    path = session.log.with_name(f"{session.log.stem}_failure_handling{f'_{key}' if key else ''}.md")
    write_whole(path, visible(REDACTOR(text)))
    return str(path.relative_to(session.workspace.root))
