"""One execution in one process: its lock, journal, log and plan.

It is begun afresh, or taken over after the change to the environment's Python.

Standard library only.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blueprint import __version__
from blueprint.cli import remembered
from blueprint.cli.options import Options
from blueprint.cli.planning import plan_for
from blueprint.config.redaction import REDACTOR, redact_command, redact_setting
from blueprint.core.errors import BlueprintError, ExitCode
from blueprint.core.workspace import Workspace, new_execution_id
from blueprint.execution.archive import rotate
from blueprint.execution.events import Event, ExecutionFinished, ExecutionStarted
from blueprint.execution.executor import Executor
from blueprint.execution.history import ExecutionRecord, History
from blueprint.execution.interruption import Interruption
from blueprint.execution.journal import Journal, scan
from blueprint.execution.lock import ExecutionLock
from blueprint.execution.plan import Mode, Plan, PlannedTask
from blueprint.processes.log import ServiceLog
from blueprint.reports import record, summary
from blueprint.reports.lines import Lines
from blueprint.tasks.registry import specs


@dataclass(frozen=True)
class Session:
    """Lock, journal, log and plan of a running execution.

    Attributes:
        id: The execution's id.
        origin: The id of the execution that it goes on from, or its own.
        log: Its log file.
        began: The start in monotonic seconds, which are the same before and after the change of Python.
        settings: `key=value` for each setting that was given on its command line or one before it.
        worker_log: The end of the worker's log when its origin began.
        history: This execution's events, and maybe those of earlier ones.
    """

    workspace: Workspace
    id: str
    origin: str
    plan: Plan
    log: Path
    began: float
    settings: tuple[str, ...]
    worker_log: Sequence[int]
    lock: ExecutionLock
    journal: Journal
    history: History
    lines: Lines
    executor: Executor
    interruption: Interruption

    def handover(self) -> dict[str, str]:
        """Return the values that the next stage needs to take this session over."""
        return {"execution": self.id, "lock": str(self.lock.fd), "began": str(self.began)}

    def close(self) -> None:
        """Close everything but the lock."""
        self.lines.close()
        self.journal.close()

    def finish(self, url: str, error: Exception | None) -> int:
        """Write the end to the journal, the log and the record.

        Args:
            url: The platform's address, if it is known.
            error: The error that ended the execution before its time; one that is no `BlueprintError` is a bug.

        Returns:
            The exit code.
        """
        bug = error is not None and not isinstance(error, BlueprintError)
        interrupted = self.executor.interrupted and not bug
        ending = summary.Ending(self.plan, self.executor.statuses, time.monotonic() - self.began, interrupted)
        code = int(error.exit_code if isinstance(error, BlueprintError) else self.executor.exit_code)
        if bug or interrupted:
            code = int(ExitCode.BUG) if bug else self.interruption.exit_code
        self.lines.flush()
        used = resource.getrusage(resource.RUSAGE_SELF)  # of this process; an exec does not begin it anew
        finished = ExecutionFinished(
            status="interrupted" if interrupted else "passed" if ending.passed and not error else "failed",
            exit_code=code,
            counts=ending.counts,
            seconds=round(ending.seconds, 3),
            cpu_seconds=round(used.ru_utime + used.ru_stime, 2),
            peak_memory_mb=round(used.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)),
            error=f"{type(error).__name__}: {error}" if bug else str(error or ""),
        )
        try:
            self.history.add(self.journal.append(finished))
            own = self.history.last
            if own is not None and own.id == self.id:
                titles = {spec.number: spec.title for spec in specs()}
                record.write(own, titles, [redact_setting(setting) for setting in self.settings])
        except BlueprintError as raised:  # a full disk, most likely: the journal reads as interrupted, which is true
            error, code = error or raised, int(raised.exit_code)
        if error and not bug:  # the error boundary tells of a bug, and where it is kept whole
            self.lines.line(f"Error: {error}")
        for text in summary.lines(ending, self.log, self.workspace.root, url=url):
            self.lines.line(text)
        return code


def begin(options: Options, workspace: Workspace, interruption: Interruption, flow: str = "") -> Session | None:
    """Start an execution; None if there is nothing left to resume.

    Args:
        options: The parsed command line.
        workspace: The folder to work in.
        interruption: Tells when to stop.
        flow: A line that names the flow to prove, for the log.

    Raises:
        EnvironmentRefused: Another execution is at work, or the folder, the disk or the journal do not allow it.
        UsageError: There is nothing to resume.
    """
    workspace.prepare()
    command = redact_command(("run_blueprint.py", *options.argv))
    lock = ExecutionLock.acquire(workspace, command)
    scanned = scan(workspace.journal)
    if rotate(workspace.journal, workspace.archive):
        scanned = scan(workspace.journal)
    past = History(scanned.records)
    plan = plan_for(options, past)
    if not plan.to_run:
        lock.release()
        return None
    before = remembered.by_key(remembered.remembered(workspace))
    settings = remembered.propose(workspace, options.settings)
    execution = new_execution_id()
    journal = Journal.open(workspace.journal, execution, scanned=scanned, redact=REDACTOR)
    started = ExecutionStarted(
        origin=plan.origin or execution,
        command=command,
        pid=os.getpid(),
        boot_id=_boot_id(),
        version=__version__,
        log=str(workspace.new_log()),
        plan=plan.as_record(),
        worker_log=past.last.started.worker_log
        if plan.origin and past.last
        else ServiceLog(workspace.worker_log).position(),
    )
    past = History()
    past.add(journal.append(started))
    own = ExecutionRecord(execution, started)
    session = _session(workspace, own, plan, time.monotonic(), settings, lock, journal, past, interruption)
    session.lines.line(f"Blueprint {__version__}, execution {execution}: {command}")
    if flow:
        session.lines.line(flow)
    kept = [redact_setting(setting) for setting in before.values() if setting in settings]
    if kept:
        session.lines.line(f"As set on the command line before: {', '.join(kept)}")
    checks = [str(task.spec.number) for task in plan.tasks if task.mode is Mode.CHECK]
    if checks:
        session.lines.line(f"Checked first, and restored where it no longer holds: tasks {', '.join(checks)}")
    return session


def take_over(handed: dict[str, str], workspace: Workspace, interruption: Interruption) -> Session:
    """Continue the execution that the system's Python began in this same process."""
    lock = ExecutionLock.adopt(workspace, int(handed["lock"]))
    scanned = scan(workspace.journal)
    past = History(scanned.records)
    own = past.last
    if own is None or own.id != handed["execution"]:  # the lock is ours, so nobody else can have begun one
        raise RuntimeError(f"the journal does not end with execution {handed['execution']}")
    tasks = (PlannedTask(spec, Mode(own.plan[spec.number]), "as planned") for spec in specs())
    plan = Plan(tuple(tasks), own.origin)
    journal = Journal.open(workspace.journal, own.id, scanned=scanned, redact=REDACTOR)
    settings = remembered.remembered(workspace)
    return _session(workspace, own, plan, float(handed["began"]), settings, lock, journal, past, interruption)


def _session(
    workspace: Workspace,
    own: ExecutionRecord,
    plan: Plan,
    began: float,
    settings: tuple[str, ...],
    lock: ExecutionLock,
    journal: Journal,
    past: History,
    interruption: Interruption,
) -> Session:
    log = Path(own.started.log)
    lines = Lines(plan, log, sys.stdout, shown=max(own.tasks, default=0), redact=REDACTOR)

    def keep(event: Event) -> None:
        lock.require()
        entry = journal.append(event)
        past.add(entry)
        lines.observe(entry)

    return Session(
        workspace=workspace,
        id=own.id,
        origin=own.origin,
        plan=plan,
        log=log,
        began=began,
        settings=settings,
        worker_log=own.started.worker_log,
        lock=lock,
        journal=journal,
        history=past,
        lines=lines,
        executor=Executor(plan, keep, tell=lines.waiting, stop=interruption.stop, done=own.unit_statuses),
        interruption=interruption,
    )


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
