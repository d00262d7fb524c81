"""`run`: carries out a plan, first with the system's Python and then, as the same execution, in the environment's.

Standard library only at import; what the environment brings is imported once task 4 has proven it.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from blueprint import __version__, bootstrap, history, journal
from blueprint.errors import BlueprintError, ExitCode, UsageError
from blueprint.executor import Execution, TaskFunction
from blueprint.journal import Journal
from blueprint.lock import ExecutionLock
from blueprint.options import Options
from blueprint.plan import Plan, make_plan
from blueprint.reporting import summary
from blueprint.reporting.lines import Lines
from blueprint.workspace import Workspace, new_execution_id

if TYPE_CHECKING:
    from blueprint.settings import Settings

OUTSIDE = (1, 2)  # tasks of the system's Python
BARE = (3, 4)  # tasks of the environment's Python with nothing installed yet


@dataclass
class _Interruption:
    """Set by a signal: the execution stops, and a second signal ends the process at once."""

    stop: threading.Event
    signal: int = 0

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.stop.is_set():
            os._exit(128 + number)
        self.signal = number
        self.stop.set()


@dataclass(frozen=True)
class _Session:
    """One execution in one process."""

    workspace: Workspace
    options: Options
    id: str
    plan: Plan
    log: Path
    began: float
    lock: ExecutionLock
    journal: Journal
    lines: Lines
    execution: Execution
    interruption: _Interruption

    @property
    def origin(self) -> str:
        return self.plan.origin or self.id


def run(options: Options, workspace: Workspace) -> int:
    """Carry out what was asked for; the exit code says how it ended."""
    os.chdir(workspace.root)
    interruption = _Interruption(threading.Event())
    handed = bootstrap.handover()
    if handed is None:
        if not bootstrap.inside(workspace) and not bootstrap.environment_problem(workspace):
            bootstrap.reexec(workspace, options.argv, {})
        _refuse_bad_settings(options, workspace)
    interruption.install()
    session = _go_on(options, workspace, handed, interruption) if handed else None
    session = session or _begin(options, workspace, interruption)
    if session is None:
        return int(ExitCode.PROVEN)
    try:
        return _carry_out(session)
    finally:
        session.lines.close()
        session.journal.close()
        session.lock.release()


def _refuse_bad_settings(options: Options, workspace: Workspace) -> None:
    """Before anything is started, if what judges the settings is installed already; else after task 4."""
    if importlib.util.find_spec("pydantic") and bootstrap.inside(workspace):
        _settings(options, workspace)


def _settings(options: Options, workspace: Workspace) -> Settings:
    from blueprint import configuration

    return configuration.load(workspace.root, os.environ, options.settings)


def _begin(options: Options, workspace: Workspace, interruption: _Interruption) -> _Session | None:
    """Start an execution; None if there is nothing left to resume."""
    workspace.prepare()
    command = " ".join(("run_blueprint.py", *options.argv))
    lock = ExecutionLock.acquire(workspace, command)
    plan = _plan(options, workspace)
    if not plan.to_run:
        print("Nothing to resume: the last execution passed all that it was asked for.")
        lock.release()
        return None
    execution_id = new_execution_id()
    log = workspace.new_log()
    kept = Journal.open(workspace.journal, execution_id)
    kept.append(
        "execution started",
        origin=plan.origin or execution_id,
        command=command,
        pid=os.getpid(),
        boot_id=_boot_id(),
        version=__version__,
        log=str(log),
        plan=plan.as_record(),
    )
    session = _session(options, workspace, execution_id, plan, log, time.monotonic(), lock, kept, interruption, {})
    session.lines.line(f"Blueprint {__version__}, execution {execution_id}: {command}")
    _tell_checks(session)
    return session


def _tell_checks(session: _Session) -> None:
    plan = session.plan
    checks = [task.spec.number for task in plan.tasks if task.mode == "check first"]
    if checks:
        numbers = ", ".join(map(str, checks))
        session.lines.line(f"Checked first, and restored where it no longer holds: tasks {numbers}")


def _plan(options: Options, workspace: Workspace) -> Plan:
    if not (options.resume or options.resume_from):
        return make_plan(phase=options.phase)
    known = history.executions(journal.read(workspace.journal)) if workspace.journal.exists() else []
    last = known[-1] if known else None
    if options.resume and last is None:
        raise UsageError("There is no execution to resume.", "Run `python run_blueprint.py --phase all`.")
    return make_plan(resume_from=options.resume_from, resume=last)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _go_on(
    options: Options, workspace: Workspace, handed: Mapping[str, str], interruption: _Interruption
) -> _Session | None:
    """Take over the execution that the system's Python began."""
    if "execution" not in handed:
        _refuse_bad_settings(options, workspace)
        return None
    lock = ExecutionLock.adopt(workspace, int(handed["lock"]))
    found = next(one for one in history.executions(journal.read(workspace.journal)) if one.id == handed["execution"])
    done = {number: task.status for number, task in found.tasks.items()}
    modes = found.plan
    plan = _plan(options, workspace) if not (options.resume or options.resume_from) else _plan_of(modes, found.origin)
    kept = Journal.open(workspace.journal, found.id)
    log = Path(handed["log"])
    return _session(options, workspace, found.id, plan, log, float(handed["began"]), lock, kept, interruption, done)


def _plan_of(modes: Mapping[int, str], origin: str) -> Plan:
    """The plan that the journal has: planning again would see this very execution as the last."""
    from blueprint.catalog import TASKS
    from blueprint.plan import Mode, PlannedTask

    return Plan(tuple(PlannedTask(spec, Mode(modes[spec.number]), "as planned") for spec in TASKS), origin)


def _session(
    options: Options,
    workspace: Workspace,
    execution_id: str,
    plan: Plan,
    log: Path,
    began: float,
    lock: ExecutionLock,
    kept: Journal,
    interruption: _Interruption,
    done: Mapping[int, Any],
) -> _Session:
    lines = Lines(plan, log, sys.stdout, shown=max(done, default=0))

    def record(kind: str, **fields: Any) -> None:
        lines.record(kept.append(kind, **fields))

    execution = Execution(plan, record, tell=lines.waiting, stop=interruption.stop, done=done)
    return _Session(workspace, options, execution_id, plan, log, began, lock, kept, lines, execution, interruption)


def _carry_out(session: _Session) -> int:
    workspace, execution = session.workspace, session.execution
    settings: Settings | None = None
    error: BlueprintError | None = None
    try:
        if not all(number in execution.statuses for number in OUTSIDE):
            execution.run(_bootstrap_functions(workspace, OUTSIDE))
            if execution.statuses.get(2, None) and execution.statuses[2].passed and not bootstrap.inside(workspace):
                _change_over(session)
        execution.run(_bootstrap_functions(workspace, BARE, session.options))
        if not execution.interrupted and execution.statuses.get(4) and execution.statuses[4].passed:
            importlib.invalidate_caches()
            settings = _settings(session.options, workspace)
            _run_platform_tasks(session, settings)
        else:
            execution.run(dict.fromkeys(range(5, 31), _never))
    except BlueprintError as raised:
        error = raised
    return _finish(session, settings, error)


def _never(_handle: object) -> Any:
    raise AssertionError("a task ran although what it needs had failed")


def _bootstrap_functions(
    workspace: Workspace, numbers: tuple[int, ...], options: Options | None = None
) -> dict[int, TaskFunction]:
    functions = {
        1: functools.partial(bootstrap.verify_project, workspace),
        2: functools.partial(bootstrap.ensure_environment, workspace),
        3: functools.partial(bootstrap.verify_activation, workspace),
        4: functools.partial(bootstrap.install, workspace, extra=_requirements(workspace, options)),
    }
    return {number: functions[number] for number in numbers}


def _requirements(workspace: Workspace, options: Options | None) -> tuple[str, ...]:
    """The flow's further packages, read before there is anything to judge the settings with."""
    import json
    import tomllib

    if options is None:
        return ()
    found: Any = ()
    try:
        document = tomllib.loads((workspace.root / "pyproject.toml").read_text(encoding="utf-8"))
        found = document.get("tool", {}).get("blueprint", {}).get("requirements", ())
        found = json.loads(os.environ["BLUEPRINT_REQUIREMENTS"]) if "BLUEPRINT_REQUIREMENTS" in os.environ else found
        for setting in options.settings:
            if setting.startswith("requirements="):
                found = json.loads(setting.partition("=")[2])
    except (OSError, ValueError, AttributeError):
        return ()
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, (list, tuple)) else ()


def _change_over(session: _Session) -> None:
    """Go on in the environment's Python: same process, same execution, same lock."""
    session.lines.close()
    session.journal.close()
    handed = {
        "execution": session.id,
        "lock": str(session.lock.fd),
        "log": str(session.log),
        "began": str(session.began),
    }
    bootstrap.reexec(session.workspace, session.options.argv, handed)


def _run_platform_tasks(session: _Session, settings: Settings) -> None:
    from blueprint import prefect_env

    workspace = session.workspace
    prefect_env.apply_to_self(settings, workspace)

    from blueprint.services.manager import ServiceManager
    from blueprint.tasks import FUNCTIONS, Context

    def started(name: str, facts: dict[str, Any]) -> None:
        session.journal.append("service started", service=name, **facts)

    context = Context(
        settings=settings,
        workspace=workspace,
        services=ServiceManager(workspace.services, workspace.identity(), started),
        origin=session.origin,
        document=functools.partial(_write_document, session),
    )
    session.execution.jobs = settings.jobs
    functions = {number: functools.partial(function, context) for number, function in FUNCTIONS.items()}
    session.execution.run(functions)


def _write_document(session: _Session, text: str) -> str:
    """Keep the document of task 28 beside the log; returns its name."""
    from blueprint.files import write_whole

    path = session.log.with_name(session.log.stem + "_failure_handling.md")
    write_whole(path, text)
    return str(path.relative_to(session.workspace.root))


def _finish(session: _Session, settings: Settings | None, error: BlueprintError | None) -> int:
    """Write the end to the journal and the log, and tell the exit code."""
    execution = session.execution
    interrupted = execution.interrupted
    ending = summary.Ending(session.plan, execution.statuses, time.monotonic() - session.began, interrupted)
    code = int(error.exit_code if error else execution.exit_code)
    if interrupted and session.interruption.signal == signal.SIGTERM:
        code = int(ExitCode.TERMINATED)
    session.lines.flush()
    status = "interrupted" if interrupted else "passed" if ending.passed and not error else "failed"
    try:
        session.journal.append(
            "execution finished",
            status=status,
            exit_code=code,
            counts=ending.counts,
            seconds=round(ending.seconds, 3),
            **({"error": str(error)} if error else {}),
        )
    except BlueprintError as raised:  # a full disk, most likely; the journal reads as interrupted, which is true
        error, code = error or raised, int(raised.exit_code)
    if error:
        session.lines.line(f"Error: {error}")
    url = settings.server_url if settings else ""
    for text in summary.lines(ending, session.log, session.workspace.root, url=url):
        session.lines.line(text)
    return code
