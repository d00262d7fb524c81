"""One execution in one process: its lock, journal, log and plan; begun afresh or taken over after the change of Python.

Standard library only.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint import __version__
from blueprint.cli.options import Options
from blueprint.cli.planning import plan_for
from blueprint.core.errors import BlueprintError, ExitCode
from blueprint.core.workspace import Workspace, new_execution_id
from blueprint.execution import history, journal
from blueprint.execution.executor import Execution
from blueprint.execution.history import ExecutionRecord, remembered
from blueprint.execution.interruption import Interruption
from blueprint.execution.journal import Journal
from blueprint.execution.lock import ExecutionLock
from blueprint.execution.plan import Mode, Plan, PlannedTask
from blueprint.reports import record, summary
from blueprint.reports.lines import Lines
from blueprint.tasks.registry import specs


@dataclass(frozen=True)
class Session:
    """What an execution holds open.

    Attributes:
        id: The execution's id.
        origin: The id of the execution that it goes on from, or its own.
        log: Its log file.
        began: When it began, in monotonic seconds, which are the same before and after the change of Python.
        remembered: `key=value` for each setting that was given on its command line or the one before it.
    """

    workspace: Workspace
    id: str
    origin: str
    plan: Plan
    log: Path
    began: float
    remembered: tuple[str, ...]
    lock: ExecutionLock
    journal: Journal
    lines: Lines
    execution: Execution
    interruption: Interruption

    def handover(self) -> dict[str, str]:
        """What the next stage needs in order to take this session over."""
        return {"execution": self.id, "lock": str(self.lock.fd), "began": str(self.began)}

    def close(self) -> None:
        """Let go of everything but the lock."""
        self.lines.close()
        self.journal.close()

    def refuse_settings(self) -> None:
        """What the command line gave is not accepted: later commands go on with what was accepted last."""
        earlier = history.executions(journal.read(self.workspace.journal))
        kept = next((one.settings for one in reversed(earlier) if one.accepted_settings), ())
        self.journal.append("settings refused", settings=list(kept))

    def finish(self, url: str, error: Exception | None) -> int:
        """Write the end to the journal and the log.

        Args:
            url: The platform's address, if it is known.
            error: What ended the execution before its time; what is no `BlueprintError` is a bug of ours.

        Returns:
            The exit code.
        """
        execution = self.execution
        bug = error is not None and not isinstance(error, BlueprintError)
        interrupted = execution.interrupted and not bug
        ending = summary.Ending(self.plan, execution.statuses, time.monotonic() - self.began, interrupted)
        code = int(error.exit_code if isinstance(error, BlueprintError) else execution.exit_code)
        if bug or interrupted:
            code = int(ExitCode.BUG) if bug else self.interruption.exit_code
        self.lines.flush()
        status = "interrupted" if interrupted else "passed" if ending.passed and not error else "failed"
        used = resource.getrusage(resource.RUSAGE_SELF)  # of this process; an exec does not begin it anew
        fields: dict[str, Any] = {
            "counts": ending.counts,
            "seconds": round(ending.seconds, 3),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
            "peak_memory_mb": round(used.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)),
        }
        if error:
            fields["error"] = f"{type(error).__name__}: {error}" if bug else str(error)
        try:
            self.journal.append("execution finished", status=status, exit_code=code, **fields)
            finished = history.last_execution(self.workspace.journal)
            if finished is not None and finished.id == self.id:
                record.write(finished, self.log, {spec.number: spec.title for spec in specs()})
        except BlueprintError as raised:  # a full disk, most likely: the journal reads as interrupted, which is true
            error, code = error or raised, int(raised.exit_code)
        if error and not bug:  # the error boundary tells of a bug, and where it is kept whole
            self.lines.line(f"Error: {error}")
        for text in summary.lines(ending, self.log, self.workspace.root, url=url):
            self.lines.line(text)
        return code


def begin(options: Options, workspace: Workspace, interruption: Interruption) -> Session | None:
    """Start an execution; None if there is nothing left to resume.

    Raises:
        EnvironmentRefused: Another execution is at work, or the folder, the disk or the journal do not allow it.
        UsageError: There is nothing to resume.
    """
    workspace.prepare()
    command = " ".join(("run_blueprint.py", *options.argv))
    lock = ExecutionLock.acquire(workspace, command)
    plan = plan_for(options, workspace)
    if not plan.to_run:
        lock.release()
        return None
    before = _by_key(remembered(workspace))
    settings = before | _by_key(options.settings)
    execution_id = new_execution_id()
    written = Journal.open(workspace.journal, execution_id)
    begun = written.append(
        "execution started",
        origin=plan.origin or execution_id,
        command=command,
        pid=os.getpid(),
        boot_id=_boot_id(),
        version=__version__,
        log=str(workspace.new_log()),
        plan=plan.as_record(),
        settings=list(settings.values()),
    )
    started = history.executions([begun])[0]
    session = _session(workspace, started, plan, time.monotonic(), lock, written, interruption)
    session.lines.line(f"Blueprint {__version__}, execution {execution_id}: {command}")
    taken_over = [setting for key, setting in before.items() if settings[key] == setting]
    if taken_over:
        session.lines.line(f"As set on the command line before: {', '.join(taken_over)}")
    checks = [str(task.spec.number) for task in plan.tasks if task.mode is Mode.CHECK]
    if checks:
        session.lines.line(f"Checked first, and restored where it no longer holds: tasks {', '.join(checks)}")
    return session


def take_over(handed: dict[str, str], workspace: Workspace, interruption: Interruption) -> Session:
    """Go on with the execution that the system's Python began in this same process."""
    lock = ExecutionLock.adopt(workspace, int(handed["lock"]))
    started = history.last_execution(workspace.journal)
    if started is None or started.id != handed["execution"]:  # the lock is ours, so nobody else can have begun one
        raise RuntimeError(f"the journal does not end with execution {handed['execution']}")
    plan = Plan(
        tuple(PlannedTask(spec, Mode(started.plan[spec.number]), "as planned") for spec in specs()), started.origin
    )
    written = Journal.open(workspace.journal, started.id)
    return _session(workspace, started, plan, float(handed["began"]), lock, written, interruption)


def _session(
    workspace: Workspace,
    started: ExecutionRecord,
    plan: Plan,
    began: float,
    lock: ExecutionLock,
    written: Journal,
    interruption: Interruption,
) -> Session:
    done = {number: task.status for number, task in started.tasks.items()}
    log = Path(started.log)
    lines = Lines(plan, log, sys.stdout, shown=max(done, default=0))

    def keep(kind: str, **fields: Any) -> None:
        lock.require()
        lines.record(written.append(kind, **fields))

    execution = Execution(plan, keep, tell=lines.waiting, stop=interruption.stop, done=done)
    return Session(
        workspace=workspace,
        id=started.id,
        origin=started.origin,
        plan=plan,
        log=log,
        began=began,
        remembered=started.settings,
        lock=lock,
        journal=written,
        lines=lines,
        execution=execution,
        interruption=interruption,
    )


def _by_key(settings: Iterable[str]) -> dict[str, str]:
    return {setting.partition("=")[0].strip().replace("-", "_"): setting for setting in settings}


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
