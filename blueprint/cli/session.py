"""One execution in one process: its lock, journal, log and plan.

It is begun afresh, or taken over after the change to the environment's Python. Standard library only.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from blueprint import __version__
from blueprint.cli import remembered
from blueprint.cli.options import Options
from blueprint.cli.planning import plan_for
from blueprint.config.redaction import REDACTOR, redact_command, redact_setting
from blueprint.core.errors import BlueprintError, ExitCode
from blueprint.core.workspace import Workspace, new_execution_id
from blueprint.execution.events import Event, ExecutionFinished, ExecutionStarted
from blueprint.execution.executor import Executor
from blueprint.execution.history import ExecutionRecord, History
from blueprint.execution.interruption import Interruption
from blueprint.execution.journal import Journal, rotate, scan
from blueprint.execution.lock import ExecutionLock
from blueprint.execution.plan import Mode, Plan, PlannedTask
from blueprint.processes.log import ServiceLog
from blueprint.reports import summary
from blueprint.reports.lines import Lines
from blueprint.tasks.registry import specs


@dataclass
class Session:
    """Lock, journal, log and plan of a running execution."""

    workspace: Workspace
    record: ExecutionRecord  # of what it has done so far
    plan: Plan
    began: float  # monotonic seconds, which are the same before and after the change of Python
    settings: tuple[str, ...]  # `key=value` for each that was given on this command line or one before it
    lock: ExecutionLock
    journal: Journal
    interruption: Interruption
    log: Path = field(init=False)
    lines: Lines = field(init=False)
    executor: Executor = field(init=False)

    def __post_init__(self) -> None:
        """Open the log, and let the executor go on from what is recorded."""
        self.log = Path(self.record.started.log)
        shown = max(self.record.tasks, default=0)
        self.lines = Lines(self.plan, self.log, sys.stdout, shown=shown, redact=REDACTOR)
        done = {unit: ended.outcome.status for unit, ended in self.record.units.items()}
        self.executor = Executor(self.plan, self._keep, tell=self.lines.waiting, stop=self.interruption.stop, done=done)

    def _keep(self, event: Event) -> None:
        self.lock.require()
        entry = self.journal.append(event)
        self.record.add(entry)
        self.lines.observe(entry)

    def handover(self) -> dict[str, str]:
        """Return the values that the next stage needs to take this session over."""
        return {"execution": self.record.id, "lock": str(self.lock.fd), "began": str(self.began)}

    def close(self) -> None:
        """Close everything but the lock."""
        self.lines.close()
        self.journal.close()

    def finish(self, url: str, error: Exception | None, *, has_password: bool = False) -> int:
        """Write the end to the journal, the log and the record, and return the exit code.

        Args:
            url: The platform's address, if it is known.
            error: Ended the execution before its time; one that is no `BlueprintError` is a bug.
            has_password: Whether the platform asks for a generated password.
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
            self.record.add(self.journal.append(finished))
            titles = {spec.number: spec.title for spec in specs()}
            summary.write_record(self.record, titles, [redact_setting(setting) for setting in self.settings])
        except BlueprintError as raised:  # a full disk, most likely: the journal reads as interrupted, which is true
            error, code = error or raised, int(raised.exit_code)
        if error and not bug:  # the error boundary tells of a bug, and where it is kept whole
            self.lines.line(f"Error: {error}")
        password = self.workspace.password if has_password else None
        for text in summary.lines(ending, self.log, self.workspace.root, url=url, password=password):
            self.lines.line(text)
        return code


def begin(options: Options, workspace: Workspace, interruption: Interruption, flow: str = "") -> Session | None:
    """Start an execution; None if there is nothing left to resume. `flow` names the flow to prove, for the log."""
    workspace.prepare()
    workspace.require_ours()
    command = str(REDACTOR(redact_command(("run_blueprint.py", *options.argv))))
    lock = ExecutionLock.acquire(workspace, command)
    scanned = scan(workspace.journal)
    if not scanned.torn and rotate(workspace.journal, workspace.archive):  # a torn end is sealed first, below
        scanned = scan(workspace.journal)
    last = History(scanned.records).last
    plan = plan_for(options, last)
    if not plan.to_run:
        lock.release()
        return None
    before = remembered.by_key(remembered.remembered(workspace))
    settings = remembered.propose(workspace, options.settings)
    execution = new_execution_id()
    journal = Journal(workspace.journal, execution, scanned=scanned, redact=REDACTOR)
    started = ExecutionStarted(
        origin=plan.origin or execution,
        command=command,
        pid=os.getpid(),
        version=__version__,
        log=str(workspace.new_log()),
        plan=plan.as_record(),
        worker_log=last.started.worker_log if plan.origin and last else ServiceLog(workspace.worker_log).position(),
    )
    record = ExecutionRecord(execution, started, journal.append(started).at)
    session = Session(workspace, record, plan, time.monotonic(), settings, lock, journal, interruption)
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
    own = next(record for record in History(scanned.records).executions if record.id == handed["execution"])
    tasks = (PlannedTask(spec, Mode(own.plan[spec.number]), "as planned") for spec in specs())
    plan = Plan(tuple(tasks), own.origin)
    journal = Journal(workspace.journal, own.id, scanned=scanned, redact=REDACTOR)
    settings = remembered.remembered(workspace)
    return Session(workspace, own, plan, float(handed["began"]), settings, lock, journal, interruption)
